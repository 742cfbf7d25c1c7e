//! The check of a configuration file alone, for people and for scripts.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use sip_authz_config::{ConfigError, ConfigWarning, Options};

use crate::serving::summary::Counts;
use crate::system::json::json_line;
use crate::system::output::{ProgramError, print, say, warn_all};

/// The maximum number of errors, and of warnings, in the JSON of one file.
const MAX_ENTRIES: usize = 1_000;

/// Checks a file, and prints its errors, or its warnings and a summary.
pub(super) fn run(path: &Path, options: Options, json: bool) -> Result<ExitCode, ProgramError> {
    // the command line that serves the file is unknown, so a listener for TLS is one that the file names
    let loaded = sip_authz_config::load(path, &options.tls(false));
    if json {
        let file = path.display().to_string();
        let (report, code) = match &loaded {
            Ok(config) => {
                let warnings = config.warnings();
                let report = Report {
                    file,
                    valid: true,
                    errors: Vec::new(),
                    warnings: warnings.iter().take(MAX_ENTRIES).map(Entry::from).collect(),
                    omitted: warnings.len().saturating_sub(MAX_ENTRIES),
                    summary: Some(Counts::of(&config.commit)),
                };
                (report, ExitCode::SUCCESS)
            }
            Err(errors) => {
                let report = Report {
                    file,
                    valid: false,
                    errors: errors.iter().take(MAX_ENTRIES).map(Entry::from).collect(),
                    warnings: Vec::new(),
                    omitted: errors.len().saturating_sub(MAX_ENTRIES),
                    summary: None,
                };
                (report, ExitCode::from(2))
            }
        };
        print(json_line(&report)?)?;
        return Ok(code);
    }
    let config = loaded.map_err(ProgramError::Config)?;
    let warnings = config.warnings();
    warn_all(warnings);
    let counted = match warnings.len() {
        0 => String::new(),
        1 => "; 1 warning".to_owned(),
        count => format!("; {count} warnings"),
    };
    say(format_args!("{} is valid: {}{counted}", path.display(), Counts::of(&config.commit)));
    Ok(ExitCode::SUCCESS)
}

/// The result of the check.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    valid: bool,
    errors: Vec<Entry<'a>>,
    warnings: Vec<Entry<'a>>,
    /// The number of errors or warnings that the lists leave out.
    omitted: usize,
    summary: Option<Counts>,
}

/// An error or a warning. Line, column and key are null if it concerns the file as a whole.
#[derive(Serialize)]
struct Entry<'a> {
    line: Option<usize>,
    column: Option<usize>,
    key: Option<&'a str>,
    message: &'a str,
}

impl<'a> From<&'a ConfigError> for Entry<'a> {
    fn from(error: &'a ConfigError) -> Self {
        let (line, column) = (error.line(), error.column());
        Self { line, column, key: error.key(), message: error.message() }
    }
}

impl<'a> From<&'a ConfigWarning> for Entry<'a> {
    fn from(warning: &'a ConfigWarning) -> Self {
        let (line, column) = (warning.line(), warning.column());
        Self { line, column, key: warning.key(), message: warning.message() }
    }
}
