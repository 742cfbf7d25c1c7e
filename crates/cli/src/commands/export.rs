//! `sip-authz export`: all records of a running program, as JSON.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::args::ExportArgs;
use crate::commands::client::Client;
use crate::commands::progress::Progress;
use crate::system::failure::{Failure, complain};

pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    if args.with_secrets && args.output.is_none() && io::stdout().is_terminal() {
        let message = "--with-secrets: hashes are not shown on a terminal; name a file with -o";
        return Err(Failure::Setup(message.to_owned()));
    }
    let client = Client::new(&args.server)?;
    let path = if args.with_secrets { "/admin/export?secrets=true" } else { "/admin/export" };
    let answer = client.download(path)?;
    match &args.output {
        Some(output) => write_file(answer, output, args.with_secrets)?,
        None => {
            let mut stdout = io::stdout().lock();
            let written = copy(answer, &mut stdout).and_then(|()| {
                stdout.write_all(b"\n")?;
                stdout.flush()
            });
            written.map_err(|error| Failure::Runtime(format!("stdout: {error}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file beside the one that is wanted, and gives it its name when it is complete.
fn write_file(answer: impl Read, output: &Path, private: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Runtime(format!("{}: {error}", output.display()));
    let Some(name) = output.file_name() else {
        return Err(Failure::Setup(format!("{}: not the name of a file", output.display())));
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
        complain(format_args!("{} holds hashes that are as good as passwords", output.display()));
    }
    Ok(())
}

/// A file that is removed unless it is finished.
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
