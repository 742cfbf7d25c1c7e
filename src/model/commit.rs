//! A batch of record writes that takes effect whole or not at all.

use super::record::{Key, Record};

/// One write of a [`Commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
// nearly all writes put a record, so a box for it would save nothing
#[allow(clippy::large_enum_variant)]
pub enum Write {
    /// The record is made, or replaces the one with the same key.
    Put(Record),
    /// The record is gone; it must have been there.
    Delete(Key),
}

impl Write {
    /// The key that is written.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Put(record) => record.key(),
            Self::Delete(key) => *key,
        }
    }
}

/// A batch of writes. Each key is written at most once, so the order of the writes means nothing:
/// what must hold ([`rules`](super::rules)) must hold of the whole batch's outcome. What is deleted must
/// moreover not be named by what was there before, unless that is deleted too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    writes: Vec<Write>,
}

impl Commit {
    /// A batch without a write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the making or replacing of a record.
    pub fn put(&mut self, record: Record) -> &mut Self {
        self.writes.push(Write::Put(record));
        self
    }

    /// Adds a deletion.
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// The writes, in the order they were added.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// The making or replacing of these records.
impl From<Vec<Record>> for Commit {
    fn from(records: Vec<Record>) -> Self {
        // millions of them stay where they are: a write has the size of its record
        Self { writes: records.into_iter().map(Write::Put).collect() }
    }
}
