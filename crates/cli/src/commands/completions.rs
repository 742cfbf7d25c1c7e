//! `sip-authz completions` and `sip-authz man`: the files that packages install beside the program.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::system::output::{ProgramError, printed};

/// Prints the completion script of a shell to stdout.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitCode, ProgramError> {
    let mut script = Vec::new();
    // writes to a Vec, as the generator ends the program if its output is closed
    clap_complete::generate(args.shell, &mut Args::command(), "sip-authz", &mut script);
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(&script).and_then(|()| stdout.flush());
    printed(written)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for the program and for each command into a folder.
pub(crate) fn man(args: &ManArgs) -> Result<ExitCode, ProgramError> {
    let folder = &args.folder;
    clap_mangen::generate_to(Args::command(), folder)
        .map_err(|error| ProgramError::Runtime(format!("{}: {error}", folder.display())))?;
    Ok(ExitCode::SUCCESS)
}
