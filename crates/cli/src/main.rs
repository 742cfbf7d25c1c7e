//! The program `sip-authz`. `serve` is a small SIP edge that accepts, challenges or rejects INVITEs,
//! with a REST API; `check` explains the decision on one request; `backup` copies a data folder;
//! `keys` writes key files. The other commands send requests to the API of a running `serve`.

mod args;
mod commands;
mod decide;
mod hops;
mod observe;
mod serving;
mod sip;
mod system;

use std::process::ExitCode;

use args::Command;
use commands::{
    account, backup, check, completions, export, import, keys, limits, resources, serve, status,
    tail, upgrade, why,
};
use system::process;

fn main() -> ExitCode {
    process::keep_private();
    let result = match args::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Account(args) => account::run(&args),
        Command::Domain(args) => resources::domain(&args),
        Command::Trunk(args) => resources::trunk(&args),
        Command::List(args) => resources::list(&args),
        Command::User(args) => resources::user(&args),
        Command::Role(args) => resources::role(&args),
        Command::Map(args) => resources::map(&args),
        Command::Unmap(args) => resources::unmap(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Limits(args) => limits::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
    };
    result.unwrap_or_else(|error| {
        error.report();
        error.exit_code()
    })
}
