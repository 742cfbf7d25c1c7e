//! Lines on stdout and stderr, and errors with their exit codes.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use sip_authz::escape_line;
use sip_authz_config::ConfigErrors;

use crate::system::journal::Priority;

/// The maximum number of errors printed for one file.
const MAX_ERRORS: usize = 100;
/// The maximum number of warnings printed for one file.
const MAX_WARNINGS: usize = 20;

/// An error that ends the program.
#[derive(Debug)]
pub(crate) enum ProgramError {
    /// The command line, a file or the listen address is invalid: exit code 2.
    Setup(String),
    /// The configuration has errors: exit code 2.
    Config(ConfigErrors),
    /// An error at run time: exit code 1.
    Runtime(String),
}

impl ProgramError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Setup(_) | Self::Config(_) => ExitCode::from(2),
            Self::Runtime(_) => ExitCode::from(1),
        }
    }

    /// Prints the error to stderr.
    pub(crate) fn report(&self) {
        match self {
            Self::Setup(_) | Self::Runtime(_) => write(Priority::Error, self),
            Self::Config(errors) => {
                config_lines(errors).iter().for_each(|line| write(Priority::Error, line));
            }
        }
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(text) | Self::Runtime(text) => f.write_str(text),
            Self::Config(errors) => errors.fmt(f),
        }
    }
}

/// Prints a line to stdout. Characters that would control a terminal are escaped, since the text may
/// contain names that tenants chose. A closed pipe is not an error.
pub(crate) fn say(text: impl fmt::Display) {
    say_styled(escape_line(&text.to_string()));
}

/// Prints text of the program to stdout as it is, in colour on a terminal.
pub(crate) fn say_styled(text: impl fmt::Display) {
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

/// Prints the result of a command to stdout. A reader that has gone is no error: it has seen enough.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), ProgramError> {
    printed(try_print(text))
}

/// Prints the result of a command to stdout, and returns the error of a write that fails, also of a closed
/// pipe.
pub(crate) fn try_print(text: impl fmt::Display) -> std::io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// The error of a write to stdout, unless the reader has gone.
pub(crate) fn printed(written: std::io::Result<()>) -> Result<(), ProgramError> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(ProgramError::Runtime(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Whether the reader of stdout has gone: a closed pipe or terminal.
#[cfg(target_os = "linux")]
pub(crate) fn is_stdout_closed() -> bool {
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let stdout = std::io::stdout();
    // these two conditions are reported without being asked for
    let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
        && polled.iter().any(|fd| fd.revents().is_some_and(|found| found.intersects(gone)))
}

/// Other systems tell it at the next write.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_stdout_closed() -> bool {
    false
}

/// Prints one line to stderr, after the program's name. Escapes it as [`say`] does. In the journal its
/// priority follows from its start.
pub(crate) fn warn(text: impl fmt::Display) {
    let text = text.to_string();
    let is_warning = text.starts_with("warning: ");
    write(if is_warning { Priority::Warning } else { Priority::Notice }, text);
}

fn write(priority: Priority, text: impl fmt::Display) {
    let (mark, text) = (priority.mark(), text.to_string());
    let _ = writeln!(anstream::stderr().lock(), "{mark}sip-authz: {}", escape_line(&text));
}

/// The errors of a configuration, one per line, and their number at the end if there are several.
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

/// Prints the warnings about a file to stderr.
pub(crate) fn warn_all<T: fmt::Display>(warnings: &[T]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        warn(format_args!("warning: {warning}"));
    }
    if let Some(more) = warnings.len().checked_sub(MAX_WARNINGS).filter(|more| *more > 0) {
        warn(format_args!("warning: and {more} more"));
    }
}
