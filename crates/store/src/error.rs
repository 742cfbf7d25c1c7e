//! Errors of stores.

use std::fmt::Display;

use super::EncodingError;

/// A failed operation of a store. Each variant holds the reason in words.
///
/// A commit that ends with an error may or may not have taken effect, except where the variant says
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store does not answer, or another program has locked it. Trying again later may help.
    #[error("the store: {0}")]
    Unreachable(String),
    /// Another writer interfered with a commit, which was not written. Trying again may help.
    #[error("the store: {0}")]
    Conflict(String),
    /// The stored data cannot be decoded, or does not match its head. Trying again does not help.
    #[error("the store: {0}")]
    Corrupt(String),
    /// The store was restored from a backup, so it has another history of commits. A reload of all records
    /// helps.
    #[error("the store: {0}")]
    Restored(String),
    /// A record or a commit exceeds a size limit of the store. It was not written.
    #[error("the store: {0}")]
    TooLarge(String),
    /// The store can be read but takes no commits: missing permissions, or a failure after which it protects
    /// the data.
    #[error("the store: {0}")]
    ReadOnly(String),
    /// The store can be read but has no space for commits: a full disk, or a quota. Nothing was written.
    #[error("the store: {0}")]
    NoSpace(String),
    /// The store, or a record in it, has a format that this version does not support. An upgrade helps; nothing was
    /// written.
    #[error("the store: {0}")]
    Newer(String),
    /// The format of the store cannot have a record, which was not written. See [`Format`](super::Format).
    #[error("the store: {0}")]
    Format(String),
    /// Any other reason.
    #[error("the store: {0}")]
    Other(String),
}

impl StoreError {
    /// The reason in words, without the prefix that `Display` adds.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Unreachable(reason)
            | Self::Conflict(reason)
            | Self::Corrupt(reason)
            | Self::Restored(reason)
            | Self::TooLarge(reason)
            | Self::ReadOnly(reason)
            | Self::NoSpace(reason)
            | Self::Newer(reason)
            | Self::Format(reason)
            | Self::Other(reason) => reason,
        }
    }

    /// The kinds that [`Self::kind`] returns.
    pub const KINDS: [&'static str; 10] = [
        "unreachable",
        "conflict",
        "corrupt",
        "restored",
        "too-large",
        "read-only",
        "no-space",
        "newer",
        "format",
        "other",
    ];

    /// A stable text for the kind of error, for health checks and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Conflict(_) => "conflict",
            Self::Corrupt(_) => "corrupt",
            Self::Restored(_) => "restored",
            Self::TooLarge(_) => "too-large",
            Self::ReadOnly(_) => "read-only",
            Self::NoSpace(_) => "no-space",
            Self::Newer(_) => "newer",
            Self::Format(_) => "format",
            Self::Other(_) => "other",
        }
    }

    /// The kind in words, without the reason, which can have addresses and names of files.
    #[must_use]
    pub const fn summary(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "the store does not answer",
            Self::Conflict(_) => "another writer interferes",
            Self::Corrupt(_) => "the stored data is damaged",
            Self::Restored(_) => "the store was restored from a backup",
            Self::TooLarge(_) => "a change is too large for the store",
            Self::ReadOnly(_) => "the store takes no changes",
            Self::NoSpace(_) => {
                "the store has no space for changes: a full disk, or the quota of etcd (alarm NOSPACE)"
            }
            Self::Newer(_) => {
                "the store is of a newer format than this version supports; upgrade this edge"
            }
            Self::Format(_) => "the format of the store is too old for a change",
            Self::Other(_) => "the store fails; the log of the program has the reason",
        }
    }

    /// The error of a reader that followed the history before a restore. The restored store is at commit
    /// `number`.
    #[must_use]
    pub fn restored(number: u64) -> Self {
        Self::Restored(format!("it was restored from a backup, and is at commit {number}"))
    }

    /// The same error with `context`, such as a file name, in front of its reason.
    #[must_use]
    pub fn context(self, context: impl Display) -> Self {
        let reason = format!("{context}: {}", self.reason());
        match self {
            Self::Unreachable(_) => Self::Unreachable(reason),
            Self::Conflict(_) => Self::Conflict(reason),
            Self::Corrupt(_) => Self::Corrupt(reason),
            Self::Restored(_) => Self::Restored(reason),
            Self::TooLarge(_) => Self::TooLarge(reason),
            Self::ReadOnly(_) => Self::ReadOnly(reason),
            Self::NoSpace(_) => Self::NoSpace(reason),
            Self::Newer(_) => Self::Newer(reason),
            Self::Format(_) => Self::Format(reason),
            Self::Other(_) => Self::Other(reason),
        }
    }
}

impl From<EncodingError> for StoreError {
    fn from(error: EncodingError) -> Self {
        if error.is_newer() {
            Self::Newer(error.to_string())
        } else {
            Self::Corrupt(error.to_string())
        }
    }
}
