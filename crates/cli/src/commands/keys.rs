//! `sip-authz keys`: makes and rotates the key file of forwarded calls.

use std::process::ExitCode;

use sip_authz_proxy::KeyFile;
use zeroize::Zeroizing;

use crate::args::{KeysArgs, KeysCommand};
use crate::system::key_file::{create, load, replace};
use crate::system::output::{ProgramError, say};

pub(crate) fn run(args: &KeysArgs) -> Result<ExitCode, ProgramError> {
    match &args.command {
        KeysCommand::New { file } => {
            create(file, &KeyFile::new(&*random()?)).map_err(ProgramError::Runtime)?;
            say(format_args!("{}: key 1 is current", file.display()));
        }
        KeysCommand::Rotate { file } => {
            let keys = load(file).map_err(ProgramError::Setup)?.rotated(&*random()?);
            replace(file, &keys).map_err(ProgramError::Runtime)?;
            let (current, previous) = keys.numbers();
            let previous = previous.unwrap_or_default();
            let file = file.display();
            say(format_args!("{file}: key {current} is current, key {previous} is still accepted"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn random() -> Result<Zeroizing<[u8; 32]>, ProgramError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice())
        .map_err(|error| ProgramError::Runtime(format!("random source: {error}")))?;
    Ok(secret)
}
