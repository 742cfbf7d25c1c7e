//! The lease of an edge: it reports to the store, and decides only while its reports are recent.
//!
//! An edge writes a report, and the store answers with the head as of that write. Once the edge has
//! applied that head, it has every commit that was made before it sent the report. So it may decide until
//! the time of sending plus the length of its lease, less a margin.
//!
//! A later commit does not extend that time: the next report counts only once its head, which includes
//! the commit, is applied. The writer of a revocation therefore waits until each edge has reported the
//! commit, or until the lease of the edge has passed. Then no edge decides by the old state. This holds
//! for delayed, repeated and lost messages. Each side uses its own clock, and the clocks need to agree in
//! speed only, to within the margin.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::timer::first;
use super::{Applied, Timer};
use crate::{Edge, Head, SharedStore, StoreError};
use sip_authz::Authorizer;

/// The number of reports during one lease.
const REPORTS_PER_LEASE: u32 = 4;
/// The interval of reports of an edge without a lease while nothing changes.
const UNLEASED_INTERVAL: Duration = Duration::from_secs(10);
/// The minimum time between two reports.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// The maximum number of answers that wait for their head to be applied.
const MAX_PENDING: usize = 64;

/// A change in the state of a [`Lease`], for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseEvent {
    /// A report failed. The lease tries again.
    Unreported(StoreError),
    /// After a failure, the store accepted a report again.
    Reported,
}

/// Reports the progress of an edge, and sets the deadline until which its authorizer decides.
pub struct Lease<S: SharedStore> {
    store: S,
    authorizer: Arc<Authorizer>,
    applied: Applied,
    edge: Edge,
    start: Instant,
    /// The time of the newest report whose head is applied, in milliseconds since `start`.
    confirmed_ms: Arc<AtomicU64>,
}

/// The age of the last confirmation by the store, for metrics. Clones show the same lease.
#[derive(Clone)]
pub struct Confirmed {
    start: Instant,
    confirmed_ms: Arc<AtomicU64>,
}

impl Confirmed {
    /// The age, at the time `now`, of the newest state that the store has confirmed for this edge.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        let confirmed = Duration::from_millis(self.confirmed_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.start).saturating_sub(confirmed)
    }
}

impl<S: SharedStore> Lease<S> {
    /// The lease of the edge `name`, which must be unique in the fleet.
    ///
    /// With a `length` of at least one second, the authorizer refuses every INVITE once nine tenths of
    /// that time have passed since the last confirmation. Without a length it keeps deciding, and a
    /// change that waits for all edges waits for the report of this one. In both cases it refuses every
    /// INVITE until the store has confirmed its snapshot for the first time.
    #[must_use]
    pub fn new(
        store: S,
        authorizer: Arc<Authorizer>,
        applied: Applied,
        name: String,
        length: Option<Duration>,
        timer: &impl Timer,
    ) -> Self {
        let edge = Edge { lease: length, ..Edge::new(name, applied.head()) };
        let start = timer.now();
        // no report is stored yet, so no change waits for this edge
        authorizer.refuse_from(Some(start));
        Self { store, authorizer, applied, edge, start, confirmed_ms: Arc::default() }
    }

    /// Reports `api` as the base URL under which other edges reach the API of this one. Default: none.
    #[must_use]
    pub fn with_api(mut self, api: Option<String>) -> Self {
        self.edge.api = api;
        self
    }

    /// A handle on the age of the last confirmation.
    #[must_use]
    pub fn confirmed(&self) -> Confirmed {
        Confirmed { start: self.start, confirmed_ms: Arc::clone(&self.confirmed_ms) }
    }

    /// Sends reports without end. Run it as a task of its own, beside the follower's task.
    pub async fn run<T: Timer>(
        mut self,
        timer: T,
        mut on_event: impl FnMut(LeaseEvent) + Send,
    ) -> Infallible {
        let interval =
            self.edge.lease.map_or(UNLEASED_INTERVAL, |length| length / REPORTS_PER_LEASE);
        let mut failing = false;
        // for each report, the time of sending and the head that must be applied before the report
        // counts
        let mut answered = VecDeque::<(Instant, Head)>::new();
        // the head in the last report that succeeded
        let mut reported = Head::default();
        loop {
            let sent = timer.now();
            self.edge.applied = self.applied.head();
            let reporting = self.store.report(self.edge.clone());
            let answer = first(reporting, timer.sleep(interval * 2)).await;
            // a store that is behind what it had before cannot confirm that
            let applied = self.edge.applied;
            let went_back = |head: Head| {
                head.incarnation == applied.incarnation
                    && (head.number < applied.number
                        || (head.number == applied.number && head != applied))
            };
            match answer {
                Some(Ok(head)) if !went_back(head) => {
                    reported = applied;
                    answered.push_back((sent, head));
                    // an edge that lags this far needs only the newest reports
                    if answered.len() > MAX_PENDING {
                        answered.pop_front();
                    }
                    if std::mem::take(&mut failing) {
                        on_event(LeaseEvent::Reported);
                    }
                }
                failed => {
                    failing = true;
                    on_event(LeaseEvent::Unreported(match failed {
                        Some(Ok(head)) => StoreError::restored(head.number),
                        Some(Err(error)) => error,
                        None => StoreError::Unreachable(
                            "the store did not answer a report in time".to_owned(),
                        ),
                    }));
                }
            }
            self.extend(&mut answered);
            // An answer counts as soon as its head is applied. If a change waits for a commit, the edge reports
            // it soon, but waits at least `MIN_INTERVAL` between reports.
            let due = sent + interval;
            while let Some(left) = due.checked_duration_since(timer.now())
                && !left.is_zero()
            {
                let applied = self.applied.head();
                let awaited = self.store.awaited();
                let pause = if Self::is_awaited(awaited, &applied, &reported) {
                    let soon = sent + MIN_INTERVAL;
                    match soon.checked_duration_since(timer.now()) {
                        Some(rest) if !rest.is_zero() => rest.min(left),
                        _ => break,
                    }
                } else {
                    left
                };
                let changed =
                    first(self.applied.changed(applied), self.store.awaited_changed(awaited));
                first(changed, timer.sleep(pause)).await;
                self.extend(&mut answered);
            }
        }
    }

    /// Whether a change waits for a commit that is not yet reported, and commits were applied since the report.
    fn is_awaited(awaited: u64, applied: &Head, reported: &Head) -> bool {
        let is_reported = reported.incarnation == applied.incarnation && reported.number >= awaited;
        awaited > 0 && applied != reported && !is_reported
    }

    /// Extends the deadline by the answers whose head is applied.
    fn extend(&self, answered: &mut VecDeque<(Instant, Head)>) {
        let applied = self.applied.head();
        let is_other = |head: &Head| head.incarnation != applied.incarnation;
        let mut newest = None;
        // within one incarnation, the heads in the queue never decrease
        while let Some((sent, head)) = answered.front().copied() {
            if is_other(&head) {
                // The store was restored since. The older of the two heads is no part of its history.
                if head.incarnation > applied.incarnation {
                    break;
                }
            } else if head.number < applied.number || head == applied {
                newest = Some(sent);
            } else {
                break;
            }
            answered.pop_front();
        }
        let Some(sent) = newest else { return };
        let ms = sent.saturating_duration_since(self.start).as_millis();
        self.confirmed_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.authorizer.refuse_from(self.edge.lease.map(|length| sent + length - margin(length)));
    }
}

/// The part of a lease that an edge leaves unused because clocks differ in speed: a tenth.
fn margin(length: Duration) -> Duration {
    length / 10
}
