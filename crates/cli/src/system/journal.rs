//! Whether stderr is the journal of systemd, and the priorities of the lines there.

use std::sync::OnceLock;

/// The priority of a line, as in syslog (RFC 5424 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    Error,
    Warning,
    Notice,
    Info,
}

impl Priority {
    /// The mark at the start of a line in the journal (sd-daemon(3)); empty if stderr is something else.
    pub(crate) fn mark(self) -> &'static str {
        if !is_stderr() {
            return "";
        }
        match self {
            Self::Error => "<3>",
            Self::Warning => "<4>",
            Self::Notice => "<5>",
            Self::Info => "<6>",
        }
    }
}

/// Whether stderr is connected to the journal, which gives each line its time.
pub(crate) fn is_stderr() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| find().unwrap_or(false))
}

/// Compares stderr with `JOURNAL_STREAM` (systemd.exec(5)): the variable stays in the environment of programs
/// whose stderr was redirected.
#[cfg(unix)]
fn find() -> Option<bool> {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let (device, inode) = stream.split_once(':')?;
    let (device, inode): (u64, u64) = (device.parse().ok()?, inode.parse().ok()?);
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
    let found = std::fs::File::from(stderr).metadata().ok()?;
    Some((found.dev(), found.ino()) == (device, inode))
}

/// There is no journal elsewhere.
#[cfg(not(unix))]
fn find() -> Option<bool> {
    None
}
