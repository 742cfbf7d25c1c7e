//! Waiting until every edge of a fleet has applied a change.

use std::time::Duration;

use super::{Directory, DirectoryError};
use sip_authz_store::Store;

/// The interval between two reads of the edge reports.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Whether all edges have applied a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Confirmation {
    /// Every edge has applied the change or refuses all calls until it has.
    Everywhere,
    /// These edges may still decide by an older state.
    NotBy(Vec<String>),
}

impl<S: Store> Directory<S> {
    /// Waits until every edge decides by the current head of the store or a newer one. Call it after a
    /// command that must take effect everywhere, such as the removal of a user.
    ///
    /// An edge has confirmed once it reports the head, or once its [lease](sip_authz_store::Lease) has
    /// expired: then it refuses all calls until it has caught up. An edge without a lease must report.
    /// After `limit`, the result names the edges that have not confirmed.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`] if the reports cannot be read. The change is still in force.
    pub async fn confirm(&self, limit: Duration) -> Result<Confirmation, DirectoryError> {
        let store = &self.store;
        let number = store.head().await?.number;
        // the sum of the pauses, a lower bound of the time that has passed
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
            store.pause(POLL_INTERVAL).await;
            waited += POLL_INTERVAL;
        }
    }
}
