//! The store of sip-authz: records, and the numbered commits that change them.
//!
//! Commits have one order and numbers without gaps, and each takes effect as a whole. A [`Store`] checks
//! one condition only: a commit names the head that the caller read, and is written if the head is still
//! the same. The rules on records are checked by the crate `sip-authz-directory`.
//!
//! - [`Store`] is the trait, [`MemoryStore`] the simplest implementation. The crates
//!   `sip-authz-store-sqlite` and `sip-authz-store-etcd` keep records on disk.
//! - [`SharedStore`] has the further methods that a fleet of edges needs.
//! - [`Follower`] keeps an authorizer at the head of a store, and [`Lease`] makes an edge of a fleet
//!   refuse calls once it has lost contact with the store.
//! - [`StoreError`] distinguishes the kinds of failures.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod encoding;
mod error;
mod follower;
mod format;
mod head;
mod incarnation;
mod index;
mod memory;
#[cfg(feature = "metrics")]
pub mod metrics;
mod recent;
mod records;
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
pub use format::Format;
pub use head::{Head, Sum};
pub use incarnation::Incarnation;
pub use index::{Collection, ListKey, Lookup, collections, lookup, references};
pub use memory::MemoryStore;
pub use recent::{LocalFeed, Recent};
pub use records::Records;
pub use shared::{Edge, SharedStore};

use sip_authz::model::{Commit, Key, Record};

/// The result of a commit that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CommitOutcome {
    /// The commit is durable and has this number.
    Committed(u64),
    /// The head has changed since the caller read it; nothing was written.
    Conflict,
}

/// A commit as a feed delivers it, with the checksums that let a follower detect a gap.
///
/// A follower updates its checksum with the hash of each replaced record. It does not store those hashes:
/// for ten million records they would take more than half a gigabyte. The store has the old value in
/// memory when it writes the new one, so it puts 32 bytes for each write into the feed.
///
/// A commit that raises the [`Format`] of the store has no writes.
#[derive(Clone, Debug)]
pub struct CommitEntry {
    /// The head after the commit. Its number is one more than that of the previous commit.
    pub head: Head,
    /// The writes.
    pub commit: Arc<Commit>,
    /// For each write, the checksum of the record that it puts, as the store has it; `None` for a deletion. It can
    /// differ from the checksum of the decoded record, which lacks the fields that this version ignores.
    pub put: Arc<[Option<Sum>]>,
    /// For each write, the checksum of the record that it replaced or deleted, if any.
    pub replaced: Arc<[Option<Sum>]>,
}

/// All records as of one head. Their count and checksum were computed and match the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSnapshot {
    /// The head.
    pub head: Head,
    /// Every record, in the order of the keys.
    pub records: Vec<Record>,
}

impl StoreSnapshot {
    /// These records, if their count and checksum match `head`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if they do not match.
    pub fn new(head: Head, records: Vec<Record>) -> Result<Self, StoreError> {
        let mut sum = Sum::ZERO;
        for record in &records {
            sum = sum.plus(Sum::of(record)?);
        }
        head.check(records.len() as u64, sum)?;
        Ok(Self { head, records })
    }
}

/// A store of records. Futures may be dropped at any time: a commit then takes effect as a whole or not
/// at all.
///
/// With the feature `conformance`, `conformance::conforms` tests an implementation.
pub trait Store: Send + Sync + 'static {
    /// The commits that [`Self::follow`] delivers.
    type Feed: Feed;

    /// The number of the last commit, with the count and the checksum of all records.
    fn head(&self) -> impl Future<Output = Result<Head, StoreError>> + Send;

    /// A cheap check whether the store can be read and written, for frequent health probes. By default
    /// it reads the head.
    fn health(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { self.head().await.map(drop) }
    }

    /// The record with this key.
    fn get(&self, key: Key) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// The record with this unique name.
    fn find(
        &self,
        lookup: Lookup,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Up to `limit` records of a collection with keys above `after`, in key order.
    fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// The number of records in a collection.
    fn count(
        &self,
        collection: Collection,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Writes `commit` if the head is still `head`. Any difference is a conflict: after a restore, other
    /// commits have the same numbers. The first commit of a store draws its [`Format`].
    fn commit(
        &self,
        head: Head,
        commit: Commit,
    ) -> impl Future<Output = Result<CommitOutcome, StoreError>> + Send;

    /// Raises the format of the store, as a commit without writes, if the head is still `head`.
    ///
    /// The caller has checked that all edges support it; one that has reported since and does not is a conflict. The
    /// format of the head or an earlier one is refused.
    fn raise_format(
        &self,
        head: Head,
        format: Format,
    ) -> impl Future<Output = Result<CommitOutcome, StoreError>> + Send;

    /// Every record as of one head, checked against the count and checksum of the head.
    fn load(&self) -> impl Future<Output = Result<StoreSnapshot, StoreError>> + Send;

    /// As [`Self::load`], with the indexes of the records, to keep them in memory.
    fn load_records(&self) -> impl Future<Output = Result<Records, StoreError>> + Send {
        async { self.load().await.map(Records::from) }
    }

    /// The commits after the head `from`, in order: the existing ones and then new ones as they are made. The
    /// feed ends with [`StoreError::Restored`] if the store is of another incarnation, or becomes so.
    fn follow(&self, from: Head) -> impl Future<Output = Result<Self::Feed, StoreError>> + Send;

    /// The number of records that the current [load](Self::load) has read so far, for progress reports.
    /// The head holds the total.
    fn load_progress(&self) -> u64 {
        0
    }

    /// The time in which edges that [`Self::edges`] does not show may still decide. A backup lacks the reports
    /// of edges that joined later. So after a restore this is the rest of the longest lease that an edge of the
    /// store ever had. Zero without a restore.
    fn unlisted_for(&self) -> impl Future<Output = Result<Duration, StoreError>> + Send {
        std::future::ready(Ok(Duration::ZERO))
    }

    /// The last report of each edge. A store that serves one process has none; for one that serves more
    /// see [`SharedStore`].
    fn edges(&self) -> impl Future<Output = Result<Vec<Edge>, StoreError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Asks the edges that have applied commit `number` to report it soon, since a change waits for that.
    /// Otherwise they report at their own intervals. By default nothing: a store of one process has no reports.
    fn await_reports(&self, number: u64) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = number;
        std::future::ready(Ok(()))
    }

    /// Waits before a caller retries a commit after a conflict. A store that several processes share
    /// waits on its runtime's clock; a store of one process has no conflicts and returns at once.
    fn pause(&self, time: Duration) -> impl Future<Output = ()> + Send {
        let _ = time;
        std::future::ready(())
    }
}

/// A stream of commits.
pub trait Feed: Send {
    /// The next commit. After an error the feed has ended and may have missed commits; the follower
    /// starts a new feed or reloads all records.
    fn next(&mut self) -> impl Future<Output = Result<CommitEntry, StoreError>> + Send;
}
