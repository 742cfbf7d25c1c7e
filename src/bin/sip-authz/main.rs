//! The program: `sip-authz serve` is a small SIP edge that lets INVITEs in or turns them away,
//! `sip-authz check` explains the decision on one of them.

mod args;
mod check;
mod config;
mod demo;
mod edge;
mod failure;
mod log;
mod respond;
mod sdp;
mod serve;
mod signals;
mod tcp;
mod totals;
mod udp;
mod via;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use failure::complain;

fn main() -> ExitCode {
    let ended = match Args::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
    };
    ended.unwrap_or_else(|failure| {
        complain(&failure);
        failure.exit_code()
    })
}
