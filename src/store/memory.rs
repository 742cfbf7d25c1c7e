//! A store that keeps records in memory, for as long as the process lives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;

use super::index::{Collection, Lookup, collections, lookup};
use super::{Feed, Head, Loaded, Numbered, Outcome, Store, StoreError, Sum};
use crate::model::{Commit, Key, Record, Write};

/// How many commits are kept for feeds that lag behind, and how many writes in all of them; the last
/// commit is kept however many it has.
const KEPT: usize = 4_096;
const KEPT_WRITES: usize = 65_536;

/// A store in memory. Clones are the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    contents: Mutex<Contents>,
    /// Wakes the feeds that wait for a commit.
    committed: Event,
}

#[derive(Default)]
struct Contents {
    head: Head,
    records: BTreeMap<Key, Record>,
    members: BTreeSet<(Collection, Key)>,
    counts: BTreeMap<Collection, usize>,
    names: BTreeMap<Lookup, Key>,
    /// The newest commits, oldest first; the last one has the head's number.
    recent: VecDeque<Numbered>,
    /// How many writes these have.
    recent_writes: usize,
}

impl MemoryStore {
    /// An empty store with head 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // nothing that is done under the lock panics, so a poisoned one guards whole contents
        self.inner.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    type Feed = MemoryFeed;

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

    async fn commit(&self, head: u64, commit: Commit) -> Result<Outcome, StoreError> {
        let number = {
            let mut contents = self.contents();
            if contents.head.number != head {
                return Ok(Outcome::Conflict);
            }
            contents.write(commit)?;
            contents.head.number
        };
        self.inner.committed.notify(usize::MAX);
        Ok(Outcome::Committed(number))
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        let (head, records) = {
            let contents = self.contents();
            (contents.head, contents.records.values().cloned().collect())
        };
        Loaded::new(head, records)
    }

    async fn follow(&self, from: u64) -> Result<MemoryFeed, StoreError> {
        Ok(MemoryFeed { store: self.clone(), applied: from })
    }
}

impl Contents {
    /// On an error nothing has changed.
    fn write(&mut self, commit: Commit) -> Result<(), StoreError> {
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
        self.recent_writes += commit.writes().len();
        let (commit, replaced) = (Arc::new(commit), replaced.into());
        self.recent.push_back(Numbered { head: self.head, commit, replaced });
        while self.recent.len() > KEPT
            || (self.recent_writes > KEPT_WRITES && self.recent.len() > 1)
        {
            if let Some(oldest) = self.recent.pop_front() {
                self.recent_writes -= oldest.commit.writes().len();
            }
        }
        Ok(())
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

    /// The commit with this number, if it is still kept.
    fn recent(&self, number: u64) -> Option<Numbered> {
        let behind = usize::try_from(self.head.number.checked_sub(number)?).ok()?;
        let place = self.recent.len().checked_sub(behind + 1)?;
        self.recent.get(place).cloned()
    }
}

/// The commits of a [`MemoryStore`] as they come.
pub struct MemoryFeed {
    store: MemoryStore,
    applied: u64,
}

impl Feed for MemoryFeed {
    async fn next(&mut self) -> Result<Numbered, StoreError> {
        let number = self.applied + 1;
        loop {
            // listened first, so that a commit between the look and the wait is not missed
            let committed = self.store.inner.committed.listen();
            {
                let contents = self.store.contents();
                if let Some(commit) = contents.recent(number) {
                    self.applied = number;
                    return Ok(commit);
                }
                if contents.head.number >= number {
                    return Err(StoreError(format!("commit {number} is no longer kept")));
                }
            }
            committed.await;
        }
    }
}
