//! `sip-authz backup`: copies the database of a data folder, also while a server uses it.

use std::process::ExitCode;

use crate::args::BackupArgs;
use crate::commands::progress::Progress;
use crate::system::output::{ProgramError, say};

pub(crate) fn run(args: &BackupArgs) -> Result<ExitCode, ProgramError> {
    let mut progress = None;
    let copied = sip_authz_store_sqlite::backup(&args.data, &args.file, |done, of| {
        progress.get_or_insert_with(|| Progress::begin("copying", of)).at(done);
    });
    drop(progress);
    let head = copied.map_err(|error| ProgramError::Runtime(error.reason().to_owned()))?;
    let (file, number, records) = (args.file.display(), head.number, head.records);
    say(format_args!("{file}: {records} records, as of commit {number}"));
    Ok(ExitCode::SUCCESS)
}
