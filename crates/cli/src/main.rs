//! The program: `sip-authz serve` is a small SIP edge that lets INVITEs in or turns them away, with
//! the HTTP surface beside it; `sip-authz check` explains the decision on one of them; the other
//! commands speak to a running `serve`.

mod account;
mod api;
mod args;
mod audit;
mod backup;
mod check;
mod client;
mod config;
mod demo;
mod edge;
mod export;
mod failure;
mod faults;
#[cfg(feature = "etcd")]
mod fleet;
mod follow;
mod import;
mod log;
mod metrics;
mod places;
mod process;
mod progress;
mod resources;
mod respond;
mod route;
mod sdp;
mod secure;
mod serve;
mod signals;
mod sockets;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod totals;
mod udp;
mod via;
mod watch;
mod writer;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use failure::complain;

fn main() -> ExitCode {
    process::keep_private();
    let ended = match Args::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Account(args) => account::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Backup(args) => backup::run(&args),
    };
    ended.unwrap_or_else(|failure| {
        complain(&failure);
        failure.exit_code()
    })
}
