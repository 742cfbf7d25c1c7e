//! Waiting until every edge of a fleet has applied a change.

use std::time::Duration;

use super::{Directory, DirectoryError};
use sip_authz_store::Store;

/// The interval between two reads of the reports of edges.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether all edges have applied a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Confirmation {
    /// Every edge has applied the change, or refuses all calls until it has.
    Everywhere,
    /// These edges may still decide by an older state.
    NotBy(Vec<String>),
}

impl<S: Store> Directory<S> {
    /// Waits until every edge decides by the current head of the store or a newer one. Call it after a
    /// command that must take effect everywhere, such as the removal of a user.
    ///
    /// An edge counts once it has reported the head, or once its [lease](sip_authz_store::Lease) has
    /// passed: then it refuses all calls until it has caught up. An edge without a lease has to report.
    /// After `limit` the edges that do not count are returned.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`] if the reports cannot be read. The change is still in force.
    pub async fn confirm(&self, limit: Duration) -> Result<Confirmation, DirectoryError> {
        let store = &self.store;
        let number = store.head().await?.number;
        // the sum of the sleeps, which is never longer than the time that has passed
        let mut waited = Duration::ZERO;
        loop {
            let behind = store.edges().await?.into_iter().filter(|edge| {
                let lapsed = edge.lease.is_some_and(|lease| lease <= waited);
                edge.applied < number && !lapsed
            });
            let mut behind: Vec<_> = behind.map(|edge| edge.name).collect();
            if behind.is_empty() {
                return Ok(Confirmation::Everywhere);
            }
            if waited >= limit {
                behind.sort_unstable();
                behind.dedup();
                return Ok(Confirmation::NotBy(behind));
            }
            store.pause(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }
}
