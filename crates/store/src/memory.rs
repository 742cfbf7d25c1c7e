//! A store in memory, for tests and for servers that keep nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::{Collection, Lookup};
use super::recent::{LocalFeed, Recent};
use super::records::Records;
use super::{CommitEntry, CommitOutcome, Format, Head, Store, StoreError, StoreSnapshot};
use sip_authz::model::{Commit, Key, Record};

/// A store in memory. Clones are the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    records: Mutex<Records>,
    recent: Arc<Recent>,
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
        Self::from(Records::starting_at(number))
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // no code panics while it holds the lock, so a poisoned lock guards intact records
        self.inner.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a commit if the head is still `head`.
    fn write(
        &self,
        head: Head,
        after: impl FnOnce(&Records) -> Result<(Records, CommitEntry), StoreError>,
    ) -> Result<CommitOutcome, StoreError> {
        let mut records = self.lock();
        if records.head() != head {
            return Ok(CommitOutcome::Conflict);
        }
        let (after, entry) = after(&records)?;
        *records = after;
        // under the lock, so that feeds get commits in their order
        self.inner.recent.push(entry);
        Ok(CommitOutcome::Committed(records.head().number))
    }

    fn records(&self) -> Records {
        self.lock().clone()
    }
}

/// A store with these records, which its feeds do not deliver.
impl From<Records> for MemoryStore {
    fn from(records: Records) -> Self {
        let recent = Arc::new(Recent::from(records.head()));
        Self { inner: Arc::new(Inner { records: Mutex::new(records), recent }) }
    }
}

impl Store for MemoryStore {
    type Feed = LocalFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.lock().head())
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        Ok(self.lock().get(key).cloned())
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Record>, StoreError> {
        Ok(self.lock().find(&lookup).cloned())
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        Ok(self.records().range(collection, after).take(limit).cloned().collect())
    }

    async fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        Ok(self.lock().count(collection))
    }

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.write(head, |records| {
            head.next_format().check_writes(&commit)?;
            records.after(&Arc::new(commit))
        })
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.write(head, |records| {
            head.check_raise(format)?;
            Ok(records.raised(format))
        })
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        let records = self.records();
        StoreSnapshot::new(records.head(), records.iter().cloned().collect())
    }

    /// Shares the records with the store.
    async fn load_records(&self) -> Result<Records, StoreError> {
        Ok(self.records())
    }

    async fn follow(&self, from: Head) -> Result<LocalFeed, StoreError> {
        Ok(LocalFeed::new(&self.inner.recent, from.number))
    }
}
