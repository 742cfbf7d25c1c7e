//! The program: `sip-authz serve` is a small SIP edge that lets INVITEs in or turns them away, with
//! the HTTP surface beside it; `sip-authz check` explains the decision on one of them; the other
//! commands speak to a running `serve`.

mod args;
mod commands;
mod observe;
mod serving;
mod sip;
mod system;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use commands::{account, backup, check, export, import, serve};
use system::process;

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
        failure.report();
        failure.exit_code()
    })
}
