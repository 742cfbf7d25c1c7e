//! All records of a store in memory, as of one head.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::index::{Collection, Lookup, collections, lookup};
use super::{CommitEntry, Format, Head, StoreError, StoreSnapshot, Sum};
use sip_authz::model::{Commit, Key, Record, Write};

/// All records as of one head, with the indexes of a store.
///
/// A value never changes: a commit makes the next value, which shares all unchanged parts with this one.
/// A clone costs a few reference counts.
#[derive(Clone, Default)]
pub struct Records {
    head: Head,
    records: OrdMap<Key, Arc<Record>>,
    members: OrdSet<(Collection, Key)>,
    counts: OrdMap<Collection, usize>,
    names: OrdMap<Lookup, Key>,
}

impl Records {
    /// No records, at the head with this number.
    #[must_use]
    pub fn starting_at(number: u64) -> Self {
        let format = if number == 0 { Format::FIRST } else { Format::NEWEST };
        Self { head: Head { number, format, ..Head::default() }, ..Self::default() }
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The record with this key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Record> {
        self.records.get(&key).map(Arc::as_ref)
    }

    /// The record with this unique name.
    #[must_use]
    pub fn find(&self, lookup: &Lookup) -> Option<&Record> {
        self.get(*self.names.get(lookup)?)
    }

    /// The records of a collection with keys above `after`, in key order.
    pub fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
    ) -> impl Iterator<Item = &Record> {
        let first = match after {
            Some(after) => Bound::Excluded((collection, after)),
            None => Bound::Included((collection, Key::FIRST)),
        };
        let members = self.members.range((first, Bound::Unbounded));
        members
            .take_while(move |(other, _)| *other == collection)
            .filter_map(|(_, key)| self.get(*key))
    }

    /// The number of records in a collection.
    #[must_use]
    pub fn count(&self, collection: Collection) -> usize {
        self.counts.get(&collection).copied().unwrap_or_default()
    }

    /// Every record, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(Arc::as_ref)
    }

    /// The records after one more commit, and its entry for feeds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a record cannot be encoded.
    pub fn after(&self, commit: &Arc<Commit>) -> Result<(Self, CommitEntry), StoreError> {
        let (mut put, mut replaced) = (Vec::new(), Vec::new());
        for write in commit.writes() {
            put.push(Sum::of_write(write)?);
            replaced.push(self.get(write.key()).map(Sum::of).transpose()?);
        }
        let head = self.head.after(commit, &put, &replaced)?;
        let after = Self { head, ..self.with(commit) };
        let (commit, put, replaced) = (Arc::clone(commit), put.into(), replaced.into());
        Ok((after, CommitEntry { head, commit, put, replaced }))
    }

    /// The same records after a commit that raises the format, and its entry for feeds.
    #[must_use]
    pub fn raised(&self, format: Format) -> (Self, CommitEntry) {
        let head = Head { number: self.head.number.saturating_add(1), format, ..self.head };
        let (commit, put, replaced) = (Arc::default(), [].into(), [].into());
        (Self { head, ..self.clone() }, CommitEntry { head, commit, put, replaced })
    }

    /// The same records under this head, if it has their number, count and checksum.
    #[must_use]
    pub fn renamed(&self, head: Head) -> Option<Self> {
        self.head.has_records_of(head).then(|| Self { head, ..self.clone() })
    }

    /// The same records under the head that the store has for them. The checksum of a predicted head differs if the
    /// commit replaced a record with fields that this version ignores.
    #[must_use]
    pub fn under(&self, head: Head) -> Self {
        Self { head, ..self.clone() }
    }

    /// The records after some writes that are not yet a commit of their own. The head stays the same, so it
    /// does not describe these records.
    #[must_use]
    pub fn with(&self, commit: &Commit) -> Self {
        let mut after = self.clone();
        after.write(commit);
        after
    }

    /// The records after a commit of a feed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if the commit does not follow this head by number, count and checksum.
    pub fn after_entry(&self, entry: &CommitEntry) -> Result<Self, StoreError> {
        entry.check(self.head)?;
        Ok(Self { head: entry.head, ..self.with(&entry.commit) })
    }

    fn write(&mut self, commit: &Commit) {
        // Removes first, so that a name can pass from one record to another in any order.
        for write in commit.writes() {
            if let Some(previous) = self.records.remove(&write.key()) {
                self.index(&previous, false);
            }
        }
        for write in commit.writes() {
            if let Write::Put(record) = write {
                self.put(record.clone());
            }
        }
    }

    fn put(&mut self, record: Record) {
        self.index(&record, true);
        self.records.insert(record.key(), Arc::new(record));
    }

    fn index(&mut self, record: &Record, present: bool) {
        let key = record.key();
        for collection in collections(record) {
            let count = self.counts.entry(collection).or_default();
            if present {
                *count += usize::from(self.members.insert((collection, key)).is_none());
            } else {
                *count -= usize::from(self.members.remove(&(collection, key)).is_some());
            }
            if *count == 0 {
                self.counts.remove(&collection);
            }
        }
        if let Some(name) = lookup(record) {
            if present {
                self.names.insert(name, key);
            } else {
                self.names.remove(&name);
            }
        }
    }
}

impl From<StoreSnapshot> for Records {
    fn from(StoreSnapshot { head, records }: StoreSnapshot) -> Self {
        let mut all = Self { head, ..Self::default() };
        for record in records {
            all.put(record);
        }
        all
    }
}
