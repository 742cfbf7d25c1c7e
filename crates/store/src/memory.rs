//! A store in memory, for tests and for servers that keep nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::{Collection, Lookup, collections, lookup};
use super::recent::{LocalFeed, Recent};
use super::{CommitEntry, CommitOutcome, Head, Store, StoreError, StoreSnapshot, Sum};
use sip_authz::model::{Commit, Key, Record, Write};

/// A store in memory. Clones are the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    contents: Mutex<Contents>,
    recent: Arc<Recent>,
}

#[derive(Default)]
struct Contents {
    head: Head,
    records: BTreeMap<Key, Record>,
    members: BTreeSet<(Collection, Key)>,
    counts: BTreeMap<Collection, usize>,
    names: BTreeMap<Lookup, Key>,
}

impl MemoryStore {
    /// An empty store with head 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose head has this number, so that its first commit gets the next one. For a
    /// program that replaces all records and counts on.
    #[must_use]
    pub fn starting_at(number: u64) -> Self {
        let head = Head { number, ..Head::default() };
        let contents = Mutex::new(Contents { head, ..Contents::default() });
        Self { inner: Arc::new(Inner { contents, recent: Arc::new(Recent::from(head)) }) }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // no code panics while it holds the lock, so a poisoned lock guards intact contents
        self.inner.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    type Feed = LocalFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.contents().head)
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        Ok(self.contents().records.get(&key).cloned())
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Record>, StoreError> {
        let contents = self.contents();
        let key = contents.names.get(&lookup);
        Ok(key.and_then(|key| contents.records.get(key)).cloned())
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let contents = self.contents();
        let first = match after {
            Some(after) => Bound::Excluded((collection, after)),
            None => Bound::Included((collection, Key::FIRST)),
        };
        let members = contents.members.range((first, Bound::Unbounded));
        Ok(members
            .take_while(|(other, _)| *other == collection)
            .take(limit)
            .filter_map(|(_, key)| contents.records.get(key).cloned())
            .collect())
    }

    async fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        Ok(self.contents().counts.get(&collection).copied().unwrap_or_default())
    }

    async fn commit(&self, head: u64, commit: Commit) -> Result<CommitOutcome, StoreError> {
        let mut contents = self.contents();
        if contents.head.number != head {
            return Ok(CommitOutcome::Conflict);
        }
        // under the lock, so that feeds get commits in their order
        self.inner.recent.push(contents.write(commit)?);
        Ok(CommitOutcome::Committed(contents.head.number))
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        let (head, records) = {
            let contents = self.contents();
            (contents.head, contents.records.values().cloned().collect())
        };
        StoreSnapshot::new(head, records)
    }

    async fn follow(&self, from: u64) -> Result<LocalFeed, StoreError> {
        Ok(LocalFeed::new(&self.inner.recent, from))
    }
}

impl Contents {
    /// On an error nothing has changed.
    fn write(&mut self, commit: Commit) -> Result<CommitEntry, StoreError> {
        let mut replaced = Vec::with_capacity(commit.writes().len());
        for write in commit.writes() {
            replaced.push(self.records.get(&write.key()).map(Sum::of).transpose()?);
        }
        self.head = self.head.after(&commit, &replaced)?;
        for write in commit.writes() {
            if let Some(previous) = self.records.remove(&write.key()) {
                self.index(&previous, false);
            }
        }
        for write in commit.writes() {
            if let Write::Put(record) = write {
                self.index(record, true);
                self.records.insert(record.key(), record.clone());
            }
        }
        Ok(CommitEntry { head: self.head, commit: Arc::new(commit), replaced: replaced.into() })
    }

    fn index(&mut self, record: &Record, present: bool) {
        let key = record.key();
        for collection in collections(record) {
            let count = self.counts.entry(collection).or_default();
            if present {
                *count += usize::from(self.members.insert((collection, key)));
            } else {
                *count -= usize::from(self.members.remove(&(collection, key)));
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
