//! Waiting until every edge of a fleet has applied a change.

use std::time::Duration;

use super::{Directory, DirectoryError};
use sip_authz_store::{Head, Incarnation, Store, StoreError};

/// The interval between two reads of the edge reports.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The interval between two requests for reports.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

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
    /// The incarnation of the store, as of the last read or command of this process.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.mirror.current().head().incarnation
    }

    /// Waits until every edge decides by the current head of the store or a newer one. Call it after a
    /// command that must take effect everywhere, such as the removal of a user.
    ///
    /// An edge has confirmed once it reports that head or a later one of the same history, or once its
    /// [lease](sip_authz_store::Lease) has expired: then it refuses all calls until it has caught up. An edge
    /// without a lease must report. A store that was restored from a backup lacks the reports of edges that
    /// joined later, so after a restore nothing is confirmed before their leases have expired. After `limit`,
    /// the result names the edges that have not confirmed; it names none if only such edges are left.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`] if the reports cannot be read: the change is still in force. Also if the store
    /// is restored from a backup meanwhile, which may lack the change.
    pub async fn confirm(&self, limit: Duration) -> Result<Confirmation, DirectoryError> {
        self.confirm_since(Incarnation::default(), limit).await
    }

    /// As [`Self::confirm`], for a command that ran after [`Self::incarnation`] was `since`. If the store was
    /// restored after the command, it may lack the change. The default incarnation is that of a store before
    /// its first commit, and stands for any.
    ///
    /// # Errors
    ///
    /// As [`Self::confirm`].
    pub async fn confirm_since(
        &self,
        since: Incarnation,
        limit: Duration,
    ) -> Result<Confirmation, DirectoryError> {
        let store = &self.store;
        let begin = self.mirror.at_head(store).await?.head();
        let Head { incarnation, number, .. } = begin;
        if since != Incarnation::default() && since != incarnation {
            return Err(StoreError::restored(begin.number).into());
        }
        // the sum of the pauses, a lower bound of the time that has passed
        let mut waited = Duration::ZERO;
        let mut asked: Option<Duration> = None;
        loop {
            let edges = store.edges().await?;
            let newest = edges.iter().map(|edge| edge.applied.number).max().unwrap_or_default();
            if newest > self.mirror.current().head().number {
                // the commits that these edges have applied
                self.mirror.at_head(store).await?;
            }
            let behind = edges.into_iter().filter(|edge| {
                let lapsed = edge.lease.is_some_and(|lease| lease <= waited);
                // a number alone says nothing: before a restore, other commits had these numbers
                let is_known = self.mirror.had(&edge.applied) || edge.counts_by_number(incarnation);
                let has_applied = edge.applied.number >= number && is_known;
                !has_applied && !lapsed
            });
            let mut behind: Vec<_> = behind.map(|edge| edge.name).collect();
            if behind.is_empty() {
                // after the reports, which a restored store may lack
                let head = self.mirror.at_head(store).await?.head();
                if head.incarnation != incarnation && number > 0 {
                    return Err(StoreError::restored(head.number).into());
                }
                if store.unlisted_for().await?.is_zero() {
                    return Ok(Confirmation::Everywhere);
                }
            }
            let is_due = asked.is_none_or(|asked| waited >= asked + ASK_INTERVAL);
            if !behind.is_empty() && is_due {
                asked = Some(waited);
                // without it, they report later
                let _ = store.await_reports(number).await;
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
