//! The configuration file: TOML, refused whole with the file, line and key of what is wrong.

mod compile;
mod file;
mod place;

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use sip_authz::Snapshot;
use sip_authz::model::{Commit, Dates};
use zeroize::Zeroizing;

pub use compile::Around;

/// A configuration that can be used.
pub struct Config {
    /// All records of the file.
    pub commit: Commit,
    /// What they come to.
    pub snapshot: Snapshot,
    /// The names in the file of everything that has a SID.
    pub names: Names,
    /// What is allowed and should not be so.
    warnings: Vec<String>,
}

/// What the things are called that have SIDs.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

/// Why a file cannot be used, and where.
#[derive(Debug)]
pub struct ConfigError {
    file: String,
    line: Option<usize>,
    key: Option<String>,
    message: String,
}

/// What is wrong with a part of the text.
#[derive(Debug)]
struct Problem {
    span: Option<Range<usize>>,
    message: String,
}

impl Config {
    /// Reads a file, whose records have the file's own date.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_for(path, &Around { dates: dates_of(path), ..Around::default() })
    }

    /// Reads a file.
    pub fn load_for(path: &Path, around: &Around) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let failed = |message| ConfigError { file: file.clone(), line: None, key: None, message };
        // it may hold passwords
        let mut bytes = Zeroizing::new(Vec::new());
        let opened = std::fs::File::open(path).and_then(|mut file| {
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            // at once in its full size, since a buffer that grows leaves copies behind
            let size = usize::try_from(metadata.len()).unwrap_or_default();
            bytes.reserve_exact(size.saturating_add(1));
            file.read_to_end(&mut bytes)?;
            Ok(is_readable_by_others(&metadata))
        });
        let readable_by_others = match opened {
            Ok(readable) => readable,
            Err(error) => return Err(failed(io_text(&error))),
        };
        let text = match str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = bytes.get(..error.valid_up_to()).map(place::count_lines);
                return Err(ConfigError { line, ..failed("not UTF-8".to_owned()) });
            }
        };
        let mut config = Self::parse(text, &file, around)?;
        if readable_by_others && has_secrets(text) {
            config.warnings.insert(0, format!("{file} holds passwords, and everyone may read it"));
        }
        Ok(config)
    }

    /// Reads the text of a file called `file`.
    pub fn parse(text: &str, file: &str, around: &Around) -> Result<Self, ConfigError> {
        let compiled = file::parse(text).and_then(|file| compile::compile(file, around));
        let compile::Compiled { commit, snapshot, names } = compiled.map_err(|problem| {
            let offset = problem.span.map(|span| span.start);
            ConfigError {
                file: file.to_owned(),
                line: offset.and_then(|at| text.as_bytes().get(..at)).map(place::count_lines),
                key: offset.and_then(|at| place::key_at(text, at)),
                message: problem.message,
            }
        })?;
        let warning =
            |text: &sip_authz::Warning| format!("{file}: {}", names.annotate(&text.to_string()));
        let warnings = snapshot.warnings().iter().map(warning).collect();
        Ok(Self { commit, snapshot, names, warnings })
    }

    /// What is allowed and probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Names {
    /// Puts its name behind every SID in `text`.
    pub fn annotate(&self, text: &str) -> String {
        let mut annotated = String::with_capacity(text.len());
        for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            annotated.push_str(word);
            if let Some(name) = self.0.get(word) {
                annotated.push_str(" (");
                annotated.push_str(name);
                annotated.push(')');
            }
            annotated.push_str(part.get(word.len()..).unwrap_or_default());
        }
        annotated
    }

    /// Notes the name of a SID.
    pub fn insert(&mut self, sid: impl fmt::Display, name: impl fmt::Display) {
        self.0.insert(sid.to_string(), name.to_string());
    }

    fn get(&self, sid: impl fmt::Display) -> String {
        let sid = sid.to_string();
        self.0.get(&sid).cloned().unwrap_or(sid)
    }
}

impl Problem {
    fn at(span: Range<usize>, message: impl fmt::Display) -> Self {
        Self { span: Some(span), message: message.to_string() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        // one line, also where the TOML parser says it in more
        write!(f, ": {}", self.message.trim_end().replace('\n', "; "))
    }
}

impl std::error::Error for ConfigError {}

/// When the file was changed, as far as the system tells.
fn dates_of(path: &Path) -> Dates {
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = changed.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let seconds = since.map_or(0, |since| since.as_secs());
    Dates { created: seconds, updated: seconds }
}

fn has_secrets(text: &str) -> bool {
    // a word in a comment warns too, which does no harm
    text.contains("password") || text.contains("ha1")
}

fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "a directory, not a file".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether every user of the machine may read a file.
#[cfg(unix)]
#[must_use]
pub fn is_readable_by_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.is_file() && metadata.permissions().mode() & 0o004 != 0
}

/// Whether every user of the machine may read a file: unknown here.
#[cfg(not(unix))]
#[must_use]
pub fn is_readable_by_others(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests;
