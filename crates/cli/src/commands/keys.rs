//! `sip-authz keys`: makes and rotates the key file of forwarded calls.

use std::process::ExitCode;

use crate::args::{KeysArgs, KeysCommand};
use crate::system::key_file::{create, load, new_keys, random_secret, replace};
use crate::system::output::{ProgramError, say};

pub(crate) fn run(args: &KeysArgs) -> Result<ExitCode, ProgramError> {
    match &args.command {
        KeysCommand::New { file } => {
            let keys = new_keys().map_err(ProgramError::Runtime)?;
            create(file, &keys).map_err(ProgramError::Runtime)?;
            say(format_args!("{}: key 1 is current", file.display()));
        }
        KeysCommand::Rotate { file } => {
            let old = load(file).map_err(ProgramError::Setup)?;
            let keys = old.rotated(&*random_secret().map_err(ProgramError::Runtime)?);
            replace(file, &keys).map_err(ProgramError::Runtime)?;
            let (current, previous) = keys.numbers();
            let previous = previous.unwrap_or_default();
            let file = file.display();
            say(format_args!("{file}: key {current} is current, key {previous} is still accepted"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
