//! Where records are kept: commits in one order, numbered without a gap, each taking effect whole.
//!
//! A store knows no rule but the condition of a commit: that the head is still the one the caller
//! has checked it at. Which commits are made is the directory's affair.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod encoding;
mod error;
mod follower;
mod head;
mod index;
mod memory;
#[cfg(feature = "metrics")]
pub mod metrics;
mod recent;
mod shared;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use encoding::EncodingError;
pub use error::StoreError;
pub use follower::{
    Applied, Confirmed, Follower, FollowerError, FollowerEvent, FollowerState, Lease, LeaseEvent,
    Timer,
};
pub use head::{Head, Sum};
pub use index::{Collection, ListKey, Lookup, collections, lookup, references};
pub use memory::MemoryStore;
pub use recent::{LocalFeed, Recent};
pub use shared::{Edge, SharedStore};

use sip_authz::model::{Commit, Key, Record};

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CommitOutcome {
    /// It took effect, durably, with this number.
    Committed(u64),
    /// The head is another one by now; nothing was written.
    Conflict,
}

/// A commit of a feed, with all that whoever follows needs to know that nothing was missed.
///
/// The sum over one's own state is kept up by what each write took away. A follower of ten million
/// records would need more than half a gigabyte to remember a hash of each; the store has the old
/// value at hand when it writes the new one, and 32 bytes for each write in the feed do the same.
#[derive(Clone, Debug)]
pub struct CommitEntry {
    /// The head after it; its number is one more than that of the commit before.
    pub head: Head,
    /// What it writes.
    pub commit: Arc<Commit>,
    /// For each write, the sum over the one record that was there under its key before, if any.
    pub replaced: Arc<[Option<Sum>]>,
}

/// All records, as of one head. Count and sum were computed anew and are those of the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSnapshot {
    /// The head.
    pub head: Head,
    /// Every record, in the order of the keys.
    pub records: Vec<Record>,
}

impl StoreSnapshot {
    /// These records, if they are those that `head` tells of.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they are not.
    pub fn new(head: Head, records: Vec<Record>) -> Result<Self, StoreError> {
        let mut sum = Sum::ZERO;
        for record in &records {
            sum = sum.plus(Sum::of(record)?);
        }
        head.check(records.len() as u64, sum)?;
        Ok(Self { head, records })
    }
}

/// A place where records are kept. Futures may be dropped at any time: a commit then has taken
/// effect whole or not at all.
///
/// With the feature `conformance`, `conformance::conforms` tries whether a store does what it must.
pub trait Store: Send + Sync + 'static {
    /// What [`Self::follow`] gives.
    type Feed: Feed;

    /// Where the store stands.
    fn head(&self) -> impl Future<Output = Result<Head, StoreError>> + Send;

    /// Whether it can be read and written, as far as can be told with little work, for whoever watches
    /// the program and asks often. Unless a store knows better, it is whether the head can be read.
    fn health(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { self.head().await.map(drop) }
    }

    /// The record with this key.
    fn get(&self, key: Key) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// The record that a unique name leads to.
    fn find(
        &self,
        lookup: Lookup,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Up to `limit` records of a collection whose keys are above `after`, in the order of the keys.
    fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// How many records a collection has.
    fn count(
        &self,
        collection: Collection,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Writes `commit` if the number of the head is still `head`.
    fn commit(
        &self,
        head: u64,
        commit: Commit,
    ) -> impl Future<Output = Result<CommitOutcome, StoreError>> + Send;

    /// Every record as of one head, which they are checked against by count and sum.
    fn load(&self) -> impl Future<Output = Result<StoreSnapshot, StoreError>> + Send;

    /// The commits after number `from`, in order, as they come.
    fn follow(&self, from: u64) -> impl Future<Output = Result<Self::Feed, StoreError>> + Send;

    /// How many records the current [load](Self::load) has read so far, for progress reports. The head
    /// tells how many there are.
    fn load_progress(&self) -> u64 {
        0
    }

    /// The last report of each edge. A store that serves one process has none; for one that serves more
    /// see [`SharedStore`].
    fn edges(&self) -> impl Future<Output = Result<Vec<Edge>, StoreError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Waits before a commit is tried again. A store that is shared between processes waits on its
    /// own runtime's clock; one that is not has no conflict to wait for.
    fn pause(&self, time: Duration) -> impl Future<Output = ()> + Send {
        let _ = time;
        std::future::ready(())
    }
}

/// Commits as they come.
pub trait Feed: Send {
    /// The next commit. An error ends the feed: commits may have been missed, and the follower has
    /// to load afresh.
    fn next(&mut self) -> impl Future<Output = Result<CommitEntry, StoreError>> + Send;
}
