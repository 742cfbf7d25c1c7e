//! What ties an edge to its store: it says how far it has come, and takes the answer for leave to
//! decide for a while longer.
//!
//! An edge writes a report into the store, which answers with its head as of that write. Once the edge
//! has applied that head, nothing that was committed before the report was sent is missing, so it may
//! decide until the time of sending and the length of its lease, less a margin. A commit that comes
//! after a report lets the report's leave run out, and no later report gives leave before the commit
//! is applied. So whoever has committed a revocation and waits until each edge has reported it, or the
//! length of its lease has passed, knows that no edge goes by the old state any longer. That holds
//! whatever is delayed, repeated or lost between them: each side measures with its own clock, and only
//! how fast clocks run must agree, to within the margin.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::timer::first;
use super::{Applied, Timer};
use crate::{Edge, Store, StoreError};
use sip_authz::Authorizer;

/// Reports for each length of a lease.
const REPORTS: u32 = 4;
/// How often an edge without a lease reports when nothing changes.
const UNLEASED: Duration = Duration::from_secs(10);
/// The least time between two reports.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Answers that wait for their head to be applied.
const KEPT: usize = 64;

/// What a [`Lease`] tells of itself, for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseEvent {
    /// The store could not be told; it goes on trying. Told after each attempt.
    Unreported(StoreError),
    /// After that, it could be told again.
    Reported,
}

/// Reports how far an edge has come, and keeps the deadline of its authorizer.
pub struct Lease<S: Store> {
    store: S,
    authorizer: Arc<Authorizer>,
    applied: Applied,
    edge: Edge,
    start: Instant,
    /// The time of the newest report whose head is applied, in milliseconds since `start`.
    confirmed_ms: Arc<AtomicU64>,
}

/// How long nobody has confirmed a snapshot, for metrics. Clones tell of the same one.
#[derive(Clone)]
pub struct Confirmed {
    start: Instant,
    confirmed_ms: Arc<AtomicU64>,
}

impl Confirmed {
    /// How old, at the time `now`, the newest state of the store is that decisions surely go by.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        let confirmed = Duration::from_millis(self.confirmed_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.start).saturating_sub(confirmed)
    }
}

impl<S: Store> Lease<S> {
    /// For the edge called `name`, unlike all others. With a `length`, from a second up,
    /// the authorizer refuses every INVITE once the store has confirmed nothing for so long, less a
    /// tenth. Without one it does not, and whoever waits for all edges waits for this one's word.
    /// Either way it refuses until the store has confirmed its snapshot for the first time.
    #[must_use]
    pub fn new(
        store: S,
        authorizer: Arc<Authorizer>,
        applied: Applied,
        name: String,
        length: Option<Duration>,
        timer: &impl Timer,
    ) -> Self {
        let edge = Edge { name, applied: applied.number(), lease: length };
        let start = timer.now();
        // no report has been answered yet, so nobody waits for this edge
        authorizer.refuse_from(Some(start));
        Self { store, authorizer, applied, edge, start, confirmed_ms: Arc::default() }
    }

    /// Tells how long nobody has confirmed the snapshot.
    #[must_use]
    pub fn confirmed(&self) -> Confirmed {
        Confirmed { start: self.start, confirmed_ms: Arc::clone(&self.confirmed_ms) }
    }

    /// Reports for good. To be run as a task of its own, beside the follower's.
    pub async fn run<T: Timer>(
        mut self,
        timer: T,
        mut tell: impl FnMut(LeaseEvent) + Send,
    ) -> Infallible {
        let every = self.edge.lease.map_or(UNLEASED, |length| length / REPORTS);
        let mut failing = false;
        // when each report was sent, and the head that has to be applied for it to count
        let mut answered = VecDeque::<(Instant, u64)>::new();
        loop {
            let sent = timer.now();
            self.edge.applied = self.applied.number();
            let reporting = self.store.report(self.edge.clone());
            match first(reporting, timer.sleep(every * 2)).await {
                Some(Ok(head)) => {
                    answered.push_back((sent, head));
                    // of an edge that does not come up to the head, the newest will do
                    if answered.len() > KEPT {
                        answered.pop_front();
                    }
                    if std::mem::take(&mut failing) {
                        tell(LeaseEvent::Reported);
                    }
                }
                failed => {
                    failing = true;
                    let late = StoreError("a report was not answered in time".to_owned());
                    let error = failed.and_then(Result::err).unwrap_or(late);
                    tell(LeaseEvent::Unreported(error));
                }
            }
            self.take(&mut answered);
            // what is answered counts as soon as its head is applied, and what is applied is told
            // soon, but not more often than the store should be bothered
            let due = sent + every;
            while let Some(left) = due.checked_duration_since(timer.now())
                && !left.is_zero()
            {
                let number = self.applied.number();
                let news = number > self.edge.applied;
                let pause = if news {
                    let soon = sent + REPORT_EVERY;
                    match soon.checked_duration_since(timer.now()) {
                        Some(rest) if !rest.is_zero() => rest.min(left),
                        _ => break,
                    }
                } else {
                    left
                };
                first(self.advanced(number.saturating_add(1)), timer.sleep(pause)).await;
                self.take(&mut answered);
            }
        }
    }

    /// Waits for a commit, for ever if none will be applied.
    async fn advanced(&self, number: u64) {
        if !self.applied.wait(number).await {
            std::future::pending::<()>().await;
        }
    }

    /// Takes leave from those answers whose head is applied.
    fn take(&self, answered: &mut VecDeque<(Instant, u64)>) {
        let number = self.applied.number();
        let mut newest = None;
        // heads only grow
        while let Some((sent, _)) = answered.pop_front_if(|(_, head)| *head <= number) {
            newest = Some(sent);
        }
        let Some(sent) = newest else { return };
        let ms = sent.saturating_duration_since(self.start).as_millis();
        self.confirmed_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.authorizer.refuse_from(self.edge.lease.map(|length| sent + length - margin(length)));
    }
}

/// What an edge takes off its lease, for clocks that run at different speeds: a tenth.
fn margin(length: Duration) -> Duration {
    length / 10
}
