//! `sip-authz import`: sends the records of a file to a running server, in one request.

mod address;
mod format;
mod subscriber;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::process::ExitCode;

use sip_authz::model::{Commit, Record, Write};
use sip_authz_rest::bulk::{Document, ImportAnswer};
use zeroize::Zeroizing;

use crate::args::{FileFormat, ImportArgs};
use crate::commands::client::Client;
use crate::commands::progress::Progress;
use crate::system::output::{ProgramError, say, warn, warn_all};
use crate::system::words::file_error;
use sip_authz_config::{Names, Options};

/// A file converted to an import request.
struct Prepared {
    /// The document as JSON.
    body: Zeroizing<Vec<u8>>,
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
    let Prepared { body, names, notes, repeats } = prepare(args, &file)?;
    for note in notes {
        warn(format_args!("{file}: {note}"));
    }
    warn_all(&repeats);
    let path = if args.dry_run { "/admin/import?dry_run=true" } else { "/admin/import" };
    let total = body.len();
    let mut body = Counted {
        body: Cursor::new(body.as_slice()),
        progress: Progress::begin("sending", total),
        done: 0,
    };
    let answer = client.post_json(path, &mut body);
    drop(body);
    let answer: ImportAnswer = answer.map_err(|error| match error {
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

/// Reads the file and makes all checks that need no server.
fn prepare(args: &ImportArgs, file: &str) -> Result<Prepared, ProgramError> {
    let wrong = |error: FileError| ProgramError::Setup(error.describe(file));
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
        FileFormat::Json => {
            let document = format::json(text).map_err(wrong)?;
            let repeats = repeats(&document, file);
            // repeats the server's checks, so that an error names the place in the file
            document.into_incoming().map_err(|error| {
                wrong(FileError { place: Some(error.place), ..FileError::new(error.message) })
            })?;
            Ok(Prepared {
                body: text.as_bytes().to_vec().into(),
                names: Names::default(),
                notes: Vec::new(),
                repeats,
            })
        }
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

/// Warnings about addresses that a list of the document has twice. JSON has no useful lines, since an
/// export is one line; the places are those of the errors about a document.
fn repeats(document: &Document, file: &str) -> Vec<String> {
    let mut first = HashMap::new();
    let mut repeats = Vec::new();
    for (at, entry) in document.ip_addresses.iter().enumerate() {
        let earlier = *first.entry((entry.ip_access_control_list_sid, entry.address)).or_insert(at);
        if earlier != at {
            let prefix = entry.address;
            repeats.push(format!(
                "{file}: ip_addresses[{at}]: `{prefix}` is in the list twice, first in \
                 ip_addresses[{earlier}]"
            ));
        }
    }
    repeats
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
    let body = serde_json::to_vec(&document);
    let body = body.map_err(|error| ProgramError::Runtime(error.to_string()))?.into();
    Ok(Prepared { body, names, notes, repeats })
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
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        FileError { line: u64::try_from(lines + 1).ok(), ..FileError::new("expected UTF-8") }
    })
}

/// A request body that reports its progress.
struct Counted<'b> {
    body: Cursor<&'b [u8]>,
    progress: Progress,
    done: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.done += count;
        self.progress.at(self.done);
        Ok(count)
    }
}
