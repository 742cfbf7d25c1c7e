//! The format of a store: the kinds of records and the fields that it can have.

use std::fmt;

use super::StoreError;
use sip_authz::model::{Commit, Record, Write};

/// The format of a store, a number from 1 on. A store of a format can have all that earlier formats can.
///
/// | format | adds |
/// |---|---|
/// | 1 | |
/// | 2 | the secondary auth token of an account; fields that a reader may ignore |
///
/// A program reads and writes all formats up to [`Self::NEWEST`]. It writes only what the store's format can
/// have. A new store begins with the newest format, and an operator raises that of an older store once all edges
/// support the new one. The format never falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Format(u32);

impl Format {
    /// The format of the versions that did not know formats.
    pub const FIRST: Self = Self(1);
    /// The newest format that this version supports.
    pub const NEWEST: Self = Self(2);

    /// The format with this number, which can be newer than [`Self::NEWEST`]. None for 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number, from 1 on.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The first format that can have this record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        match record {
            Record::Account(account) if account.secondary_token.is_some() => Self(2),
            _ => Self::FIRST,
        }
    }

    /// Checks that this version supports the format of a store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] if it does not.
    pub fn check_supported(self) -> Result<(), StoreError> {
        if self <= Self::NEWEST {
            return Ok(());
        }
        Err(StoreError::Newer(format!(
            "it has format {self}, and this version supports formats up to {}; upgrade this edge",
            Self::NEWEST
        )))
    }

    /// Checks that a store of this format can have all records of a commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Format`] with the key of the first record that it cannot have.
    pub fn check_writes(self, commit: &Commit) -> Result<(), StoreError> {
        for write in commit.writes() {
            if let Write::Put(record) = write
                && Self::of(record) > self
            {
                let (needed, key) = (Self::of(record), record.key());
                return Err(StoreError::Format(format!(
                    "`{key}` needs format {needed}, and the store has format {self}"
                )));
            }
        }
        Ok(())
    }
}

/// The first format, that of an empty store.
impl Default for Format {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
