//! The errors of a task and their exit codes.

use std::io;

/// Why a task ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A check found something, or its input is not as expected.
    #[error("{0}")]
    Check(String),
    /// Tools are missing; the text has one line for each.
    #[error("missing tools:\n{0}")]
    MissingTools(String),
    /// A command ended with a failure.
    #[error("command failed ({status}): {command}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
    },
    /// The operating system refused a call.
    #[error("cannot {action}: {source}")]
    Io {
        /// The failed action, as an infinitive.
        action: String,
        /// The cause.
        source: io::Error,
    },
    /// `cargo metadata` failed.
    #[error("cannot read the workspace: {0}")]
    Metadata(#[from] cargo_metadata::Error),
}

impl Error {
    /// Returns an adapter for `map_err` that names the failed action.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// The exit code of the process: 2 for a wrong command line, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }
}
