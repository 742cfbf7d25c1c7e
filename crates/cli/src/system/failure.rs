//! How the program speaks and ends: lines on stdout and stderr that may fail to be written, and the
//! exit codes.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use sip_authz_config::ConfigErrors;

/// The most errors of one configuration that are printed.
const MAX_ERRORS: usize = 20;

/// Why the program ends without having done what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, the configuration or the address to listen on cannot be used: exit code 2.
    Setup(String),
    /// The configuration has errors: exit code 2.
    Config(ConfigErrors),
    /// Something failed on the way: exit code 1.
    Runtime(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Setup(_) | Self::Config(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(1),
        }
    }

    /// Prints it on stderr.
    pub(crate) fn report(&self) {
        match self {
            Self::Setup(_) | Self::Runtime(_) => complain(self),
            Self::Config(errors) => config_lines(errors).iter().for_each(complain),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(text) | Self::Runtime(text) => f.write_str(text),
            Self::Config(errors) => errors.fmt(f),
        }
    }
}

/// Prints to stdout, in colour if it is a terminal that wants it.
pub(crate) fn say(text: impl fmt::Display) {
    // whoever reads may have gone; that is no reason to stop
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

/// Prints a line of what was asked for to stdout.
///
/// # Errors
///
/// What keeps it from being written.
pub(crate) fn print(text: impl fmt::Display) -> std::io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Prints one line to stderr, with the program's name.
pub(crate) fn complain(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "sip-authz: {text}");
}

/// The errors of a configuration, one for each line; several are counted at the end.
pub(crate) fn config_lines(errors: &ConfigErrors) -> Vec<String> {
    let mut lines: Vec<_> = errors.iter().take(MAX_ERRORS).map(ToString::to_string).collect();
    let count = errors.len();
    if count > MAX_ERRORS {
        lines.push(format!("and {} more", count - MAX_ERRORS));
    }
    if count > 1 {
        lines.push(format!("{count} errors in {}", errors.first().file()));
    }
    lines
}

/// Prints each warning of a configuration on stderr.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        complain(format_args!("warning: {warning}"));
    }
}
