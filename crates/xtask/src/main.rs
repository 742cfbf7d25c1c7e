//! Runs the tasks of the repository. `cargo xtask` lists them.
#![forbid(unsafe_code)]

mod bench;
mod command;
mod crates;
mod cycles;
mod error;
mod help;
mod hot_path;
mod needs;
mod package;
mod print;
mod readme;
mod run;
mod setup;
mod task;
mod tasks;
mod workspace;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Error;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match start(env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs the task that the arguments name.
fn start(args: impl Iterator<Item = OsString>) -> Result<(), Error> {
    let not_unicode = |arg: OsString| Error::Usage(format!("expected UTF-8, got {arg:?}"));
    let args: Vec<String> =
        args.map(|arg| arg.into_string().map_err(not_unicode)).collect::<Result<_, _>>()?;
    let Some((name, args)) = args.split_first() else {
        help::overview();
        return Ok(());
    };
    match (name.as_str(), args) {
        ("help" | "-h" | "--help", []) => help::overview(),
        ("help" | "-h" | "--help", [task, ..]) => help::task(&Workspace::find()?, task)?,
        (_, args) => run::task(&Workspace::find()?, tasks::find(name)?, args)?,
    }
    Ok(())
}
