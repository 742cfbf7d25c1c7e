//! `sip-authz import`: sends the records of a file to a running server, and goes on after a lost connection.

mod address;
mod format;
mod meter;
mod source;
mod subscriber;
mod table;

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sip_authz::model::{Commit, Record, Write};
use sip_authz_rest::bulk::{Document, ImportAnswer, ImportProgress};
use zeroize::Zeroizing;

use self::meter::Meter;
use self::source::Source;
use crate::args::{FileFormat, ImportArgs};
use crate::commands::client::Client;
use crate::commands::client::upload::UploadError;
use crate::system::output::{ProgramError, say, warn, warn_all};
use crate::system::words::file_error;
use sip_authz_config::{Names, Options};

/// The most attempts in a row that apply nothing.
const ATTEMPTS: u32 = 8;
/// The wait before the second attempt, doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// A file converted to an import request.
struct Prepared {
    document: Source,
    /// The name in the file of each SID, with its line if it is a table, for messages.
    names: Names,
    /// Notes about the file for the user.
    notes: Vec<String>,
    /// Warnings about entries that the file repeats, each with its place.
    repeats: Vec<String>,
}

/// An error in a file, with its place.
#[derive(Debug, PartialEq, Eq)]
struct FileError {
    line: Option<u64>,
    /// The column or the key.
    place: Option<String>,
    message: String,
}

impl FileError {
    fn new(message: impl fmt::Display) -> Self {
        Self { line: None, place: None, message: message.to_string() }
    }

    fn at(line: u64, column: &str, message: impl fmt::Display) -> Self {
        Self { line: Some(line), place: Some(column.to_owned()), message: message.to_string() }
    }

    fn describe(&self, file: &str) -> String {
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        let place = self.place.as_ref().map_or_else(String::new, |place| format!(": {place}"));
        format!("{file}{line}{place}: {}", self.message)
    }
}

pub(crate) fn run(args: &ImportArgs) -> Result<ExitCode, ProgramError> {
    let client = Client::new(&args.server)?;
    let file = args.file.display().to_string();
    let Prepared { document, names, notes, repeats } = prepare(args, &file)?;
    for note in notes {
        warn(format_args!("{file}: {note}"));
    }
    warn_all(&repeats);
    let answer = send(&client, args, &file, &document).map_err(|error| match error {
        ProgramError::Runtime(text) => {
            ProgramError::Runtime(format!("{file}: {}", names.annotate(&text)))
        }
        other @ (ProgramError::Setup(_) | ProgramError::Config(_)) => other,
    })?;
    for warning in &answer.warnings {
        warn(format_args!("warning: {}", names.annotate(warning)));
    }
    let ImportAnswer { new, changed, unchanged, dry_run, .. } = answer;
    let all = new + changed + unchanged;
    let head = if dry_run { "would import" } else { "imported" };
    say(format_args!("{head} {all} records: {new} new, {changed} changed, {unchanged} unchanged"));
    Ok(ExitCode::SUCCESS)
}

/// Sends the document. After a lost connection it goes on behind the entries that the server has reported as
/// applied. Without such a report it is not known what was applied, so the user decides.
fn send(
    client: &Client,
    args: &ImportArgs,
    file: &str,
    document: &Source,
) -> Result<ImportAnswer, ProgramError> {
    let unreadable =
        |error: io::Error| ProgramError::Setup(FileError::new(file_error(&error)).describe(file));
    let mut resume = args.resume.clone();
    let mut earlier = ImportProgress::default();
    let mut attempt = 0;
    loop {
        let path = match &resume {
            Some(token) => format!("/admin/import?resume={token}"),
            None if args.dry_run => "/admin/import?dry_run=true".to_owned(),
            None => "/admin/import".to_owned(),
        };
        let (body, size) = document.open().map_err(unreadable)?;
        let mut meter = Meter::new(size);
        let sent = Arc::clone(&meter.sent);
        let error = match client.import(&path, body, &sent, &mut meter) {
            Ok(mut answer) => {
                answer.new += earlier.new;
                answer.changed += earlier.changed;
                answer.unchanged += earlier.unchanged;
                return Ok(answer);
            }
            Err(error) => error,
        };
        if let Some(progress) = meter.applied.take() {
            if progress.applied > earlier.applied {
                attempt = 0;
            }
            earlier.applied = progress.applied;
            earlier.new += progress.new;
            earlier.changed += progress.changed;
            earlier.unchanged += progress.unchanged;
            resume = Some(progress.resume);
        }
        drop(meter);
        let (is_lost, why) = match error {
            UploadError::File(error) => return Err(unreadable(error)),
            UploadError::Lost(why) => (true, why),
            UploadError::Refused(why) => (false, why),
        };
        let Some(token) = &resume else { return Err(ProgramError::Runtime(why)) };
        attempt += 1;
        if is_lost && attempt < ATTEMPTS {
            warn(format_args!("{why}; going on after {} records", earlier.applied));
            std::thread::sleep(FIRST_WAIT * 2_u32.pow(attempt - 1));
            continue;
        }
        let before = if is_lost { "" } else { "after a correction of the rest, " };
        return Err(ProgramError::Runtime(format!(
            "{why}; the entries before it are applied: {before}go on with --resume {token}"
        )));
    }
}

/// Reads the file and makes all checks that need no server.
fn prepare(args: &ImportArgs, file: &str) -> Result<Prepared, ProgramError> {
    let wrong = |error: FileError| ProgramError::Setup(error.describe(file));
    let unreadable = |error: io::Error| wrong(FileError::new(file_error(&error)));
    if source::is_json(&args.file, args.format).map_err(unreadable)? {
        check_options(args, FileFormat::Json)?;
        return checked(Source::File(args.file.clone()), file);
    }
    let bytes = read(&args.file).map_err(|error| wrong(FileError::new(file_error(&error))))?;
    let text = text_of(&bytes).map_err(wrong)?;
    let format = match args.format {
        FileFormat::Auto => format::detect(&args.file, text).map_err(wrong)?,
        known => known,
    };
    check_options(args, format)?;
    match format {
        FileFormat::Toml | FileFormat::Auto => {
            let mut options = Options::new().file(file);
            if let Some(owner) = args.account {
                options = options.owner(owner);
            }
            if let Some(realm) = &args.realm {
                options = options.realm(realm.clone());
            }
            let config = sip_authz_config::parse(text, &options).map_err(ProgramError::Config)?;
            let repeats = config.repeats().to_vec();
            let rows = Rows {
                records: records(&config.commit),
                names: config.names,
                repeats,
                notes: Vec::new(),
            };
            prepared(rows)
        }
        FileFormat::Json => checked(Source::of(text.as_bytes().to_vec()), file),
        FileFormat::Subscriber => prepared(subscriber::read(text, args).map_err(wrong)?),
        FileFormat::Address => {
            let mut rows = address::read(text, args).map_err(wrong)?;
            rows.repeats.iter_mut().for_each(|repeat| repeat.insert_str(0, &format!("{file}:")));
            prepared(rows)
        }
    }
}

/// Reads the output of `sip-authz export`.
pub(crate) fn document(path: &Path) -> Result<Document, ProgramError> {
    let wrong = |error: FileError| ProgramError::Setup(error.describe(&path.display().to_string()));
    let bytes = read(path).map_err(|error| wrong(FileError::new(file_error(&error))))?;
    text_of(&bytes).and_then(format::json).map_err(wrong)
}

/// The records of a table.
#[derive(Default)]
struct Rows {
    records: Vec<Record>,
    names: Names,
    notes: Vec<String>,
    repeats: Vec<String>,
}

fn records(commit: &Commit) -> Vec<Record> {
    let put = |write: &Write| match write {
        Write::Put(record) => Some(record.clone()),
        Write::Delete(_) => None,
    };
    commit.writes().iter().filter_map(put).collect()
}

fn prepared(rows: Rows) -> Result<Prepared, ProgramError> {
    let Rows { records, names, notes, repeats } = rows;
    let document = Document::of(&records, true).without_dates();
    let document = serde_json::to_vec(&document);
    let document = document.map_err(|error| ProgramError::Runtime(error.to_string()))?;
    Ok(Prepared { document: Source::of(document), names, notes, repeats })
}

/// A JSON document, after the checks that need no server.
fn checked(document: Source, file: &str) -> Result<Prepared, ProgramError> {
    let repeats = document.check(file);
    let repeats = repeats.map_err(|error| ProgramError::Setup(error.describe(file)))?;
    Ok(Prepared { document, names: Names::default(), notes: Vec::new(), repeats })
}

/// Refuses options that have no effect for the format.
fn check_options(args: &ImportArgs, format: FileFormat) -> Result<(), ProgramError> {
    let table = matches!(format, FileFormat::Subscriber | FileFormat::Address);
    let (name, scope) = match format {
        _ if table && args.account.is_none() => {
            let message = "--account SID is required: it names the owner of the table's records";
            return Err(ProgramError::Setup(message.to_owned()));
        }
        FileFormat::Json if args.account.is_some() => {
            ("--account", "tables and for TOML files without accounts")
        }
        FileFormat::Json | FileFormat::Address if args.realm.is_some() => {
            ("--realm", "TOML files and subscriber tables")
        }
        _ if args.with_ha1b && format != FileFormat::Subscriber => {
            ("--with-ha1b", "subscriber tables")
        }
        _ if args.widen && format != FileFormat::Address => ("--widen", "address tables"),
        _ if args.allow_all && format != FileFormat::Address => ("--allow-all", "address tables"),
        _ => return Ok(()),
    };
    Err(ProgramError::Setup(format!("{name} is only for {scope}")))
}

/// Reads the whole file into a buffer that is wiped, since it may hold passwords.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // reserve the full size: a buffer that grows leaves copies in memory
    let size = usize::try_from(metadata.len()).unwrap_or_default();
    bytes.reserve_exact(size.saturating_add(1));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file as text, without a byte order mark.
fn text_of(bytes: &[u8]) -> Result<&str, FileError> {
    let bytes = bytes.strip_prefix(source::BYTE_ORDER_MARK).unwrap_or(bytes);
    str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        FileError { line: u64::try_from(lines + 1).ok(), ..FileError::new("expected UTF-8") }
    })
}
