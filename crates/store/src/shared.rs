//! A store that several processes share.

use std::future::Future;
use std::time::Duration;

use super::{Format, Head, Incarnation, MemoryStore, Store, StoreError};

/// The last report of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The name of the edge. If two edges share a name by mistake, they count as two.
    pub name: String,
    /// The head that it has applied. An earlier version reports its number alone; the rest is then that of the
    /// default head.
    pub applied: Head,
    /// How long it keeps deciding after a report without sending another; without end if `None`.
    pub lease: Option<Duration>,
    /// The base URL under which other edges reach its API; `None` if it cannot be asked.
    pub api: Option<String>,
    /// The newest format that it supports. Versions that report none support the first one.
    pub newest_format: Format,
}

impl Edge {
    /// The report of an edge of this version without a lease, which no other edge can ask.
    #[must_use]
    pub fn new(name: impl Into<String>, applied: Head) -> Self {
        let (lease, api, newest_format) = (None, None, Format::NEWEST);
        Self { name: name.into(), applied, lease, api, newest_format }
    }

    /// The newest format that all of these edges and this process support.
    #[must_use]
    pub fn common_format(edges: &[Self]) -> Format {
        edges.iter().map(|edge| edge.newest_format).fold(Format::NEWEST, Format::min)
    }

    /// Whether it reports the number of its commit alone, as earlier versions do, and that number counts in this
    /// incarnation: before a restore, other commits had these numbers.
    #[must_use]
    pub fn counts_by_number(&self, incarnation: Incarnation) -> bool {
        let is_bare = self.applied == Head { number: self.applied.number, ..Head::default() };
        is_bare && incarnation.generation <= 1
    }
}

/// A store that several edges share: the methods that a fleet needs besides those of [`Store`].
///
/// An edge [reports](Self::report) the commit that it has applied, and [`Store::edges`] returns the
/// last report of each. [`Lease`](crate::Lease) sends the reports.
pub trait SharedStore: Store + Clone {
    /// Waits until the head can be read. Calls `on_failure` with the reason after each failed attempt.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if another attempt would fail too, such as after a wrong password.
    fn wait_until_ready(
        &self,
        on_failure: impl FnMut(&StoreError) + Send,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores the report of an edge, and returns the head as of that write: every earlier commit is included
    /// in it, and the writer of a later commit finds the report.
    fn report(&self, edge: Edge) -> impl Future<Output = Result<Head, StoreError>> + Send;

    /// The number of the last commit that a change [waits for](Store::await_reports), as far as this process knows; 0
    /// if there is none. It only decides when an edge reports.
    fn awaited(&self) -> u64;

    /// Waits until [`Self::awaited`] is another number than `number`.
    fn awaited_changed(&self, number: u64) -> impl Future<Output = ()> + Send;

    /// Removes the report of this process, so that no change waits for it. Call it after the last
    /// [report](Self::report), once the process decides nothing more.
    fn withdraw_report(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes the reports of all edges with this name. An edge that is still running reports again.
    fn forget(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether another process has reported under the name of this one since the last call. A change
    /// that waits for all edges waits for both.
    #[must_use]
    fn take_name_conflict(&self) -> bool;
}

/// The null object: a store in memory serves one process, so it keeps no reports.
impl SharedStore for MemoryStore {
    async fn wait_until_ready(&self, _: impl FnMut(&StoreError) + Send) -> Result<(), StoreError> {
        Ok(())
    }

    async fn report(&self, _: Edge) -> Result<Head, StoreError> {
        self.head().await
    }

    fn awaited(&self) -> u64 {
        0
    }

    async fn awaited_changed(&self, _: u64) {
        std::future::pending().await
    }

    async fn withdraw_report(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn forget(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn take_name_conflict(&self) -> bool {
        false
    }
}
