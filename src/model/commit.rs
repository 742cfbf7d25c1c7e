//! An atomic batch of record writes.

use super::record::{Key, Record};

/// One write of a [`Commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
// nearly all writes are `Put`, so a box would save no memory
#[allow(clippy::large_enum_variant)]
pub enum Write {
    /// Creates the record, or replaces the record with the same key.
    Put(Record),
    /// Deletes the record. It is an error if it does not exist.
    Delete(Key),
}

impl Write {
    /// The key of the written record.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Put(record) => record.key(),
            Self::Delete(key) => *key,
        }
    }
}

/// An atomic batch of writes. It writes each key at most once, so the order of the writes has no
/// effect. The records must satisfy the [`rules`](super::rules) after the whole batch. In addition,
/// a record that existed before may refer to a deleted record only if the batch deletes both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    writes: Vec<Write>,
}

impl Commit {
    /// Creates an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write that creates or replaces a record.
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

    /// Whether the batch has no writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// Creates or replaces each of the records.
impl From<Vec<Record>> for Commit {
    fn from(records: Vec<Record>) -> Self {
        // `Write` has the size of `Record`, so the vector of millions of records is reused
        Self { writes: records.into_iter().map(Write::Put).collect() }
    }
}
