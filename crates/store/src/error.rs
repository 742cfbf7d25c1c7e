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
    /// The store can be read but takes no commits: a full disk, a quota, missing permissions, or a
    /// failure after which it protects the data.
    #[error("the store: {0}")]
    ReadOnly(String),
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
            | Self::Other(reason) => reason,
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
            Self::Other(_) => Self::Other(reason),
        }
    }
}

impl From<EncodingError> for StoreError {
    fn from(error: EncodingError) -> Self {
        Self::Corrupt(error.to_string())
    }
}
