//! `sip-authz export`: writes all records of a running server as JSON.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::args::ExportArgs;
use crate::commands::client::Client;
use crate::commands::progress::Progress;
use crate::system::json::AsciiWriter;
use crate::system::output::{ProgramError, warn};

pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode, ProgramError> {
    if args.with_secrets && args.output.is_none() && io::stdout().is_terminal() {
        let message = "--with-secrets: refusing to print hashes on a terminal; use -o FILE";
        return Err(ProgramError::Setup(message.to_owned()));
    }
    let client = Client::new(&args.server)?;
    let path = if args.with_secrets { "/admin/export?secrets=true" } else { "/admin/export" };
    let answer = client.download(path)?;
    match &args.output {
        Some(output) => write_file(answer, output, args.with_secrets)?,
        None => {
            let mut stdout = AsciiWriter::new(io::stdout().lock());
            // an export that was not read to its end is no copy of the records, so a closed pipe is an error
            let written = copy(answer, &mut stdout).and_then(|()| {
                stdout.write_all(b"\n")?;
                stdout.flush()
            });
            written.map_err(|error| ProgramError::Runtime(format!("stdout: {error}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a temporary file in the same folder and renames it to `output` once it is complete.
fn write_file(answer: impl Read, output: &Path, private: bool) -> Result<(), ProgramError> {
    let failed = |error: io::Error| ProgramError::Runtime(format!("{}: {error}", output.display()));
    let Some(name) = output.file_name() else {
        return Err(ProgramError::Setup(format!("{}: expected a file name", output.display())));
    };
    let mut part = name.to_owned();
    part.push(format!(".part-{}", std::process::id()));
    let unfinished = Unfinished(output.with_file_name(part));
    let mut file = create(&unfinished.0, private).map_err(failed)?;
    copy(answer, &mut file).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&unfinished.0, output).map_err(failed)?;
    std::mem::forget(unfinished);
    if private {
        warn(format_args!("warning: {} holds hashes that work like passwords", output.display()));
    }
    Ok(())
}

/// A temporary file, removed on drop.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn create(path: &Path, private: bool) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    options.open(path)
}

fn copy(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut progress = Progress::begin("bytes written", 0);
    let mut buffer = vec![0; 64 << 10];
    let mut done = 0;
    loop {
        let count = from.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else {
            return Ok(());
        };
        to.write_all(part)?;
        done += count;
        progress.at(done);
    }
}
