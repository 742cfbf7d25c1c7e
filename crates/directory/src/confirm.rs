//! Waiting until no edge of a fleet decides by an older state.

use std::time::Duration;

use super::{Directory, DirectoryError};
use sip_authz_store::Store;

/// How often the reports of edges are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether all edges go by what was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Confirmation {
    /// Every edge has applied it, or refuses all calls until it has.
    Everywhere,
    /// These edges may still go by an older state.
    NotBy(Vec<String>),
}

impl<S: Store> Directory<S> {
    /// Waits until every edge decides by what this process has changed so far, or by something newer:
    /// it has reported so, or the lease that it had before is over, after which it refuses all calls
    /// until it has caught up ([`Lease`](crate::Lease)). To be called after a command whose outcome
    /// must hold everywhere, such as the removal of a user.
    ///
    /// After `limit` it tells which edges have not said so. An edge without a lease can only be
    /// waited for.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`] if the store cannot be asked. The change stands all the same.
    pub async fn confirm(&self, limit: Duration) -> Result<Confirmation, DirectoryError> {
        let store = &self.store;
        let number = store.head().await?.number;
        // counted by what was slept, which is never longer than what has passed
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
