//! Lock-free counters of an authorizer.
//!
//! Each thread adds to one of a few stripes. Each stripe has its own cache lines, so threads do not
//! contend; a reader sums the stripes. A batch is tallied on the stack and added at its end.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::decision::{Decision, Reason};

/// With more threads than stripes, some share one: slower, but no count is lost.
const STRIPES: usize = 16;

// the slot of each kind of decision; reject reasons follow in the order of `Reason::ALL`
const PASSED: usize = 0;
const REPEAT: usize = 1;
const ASKED: usize = 2;
const STALE: usize = 3;
const REJECTED: usize = 4;
const SLOTS: usize = REJECTED + Reason::ALL.len();

/// Outcome and reason of each slot, as from [`Decision::outcome`] and [`Decision::reason`].
fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others: [_; REJECTED] = [
        ("accept", "passed"),
        ("accept", "repeat"),
        ("challenge", "asked"),
        ("challenge", "stale"),
    ];
    others.into_iter().chain(Reason::ALL.iter().map(|reason| ("reject", reason.as_str())))
}

fn slot(decision: &Decision) -> usize {
    match decision {
        Decision::Accept(accept) if accept.repeat => REPEAT,
        Decision::Accept(_) => PASSED,
        Decision::Challenge(challenge) if challenge.stale => STALE,
        Decision::Challenge(_) => ASKED,
        Decision::Reject(reject) => REJECTED + reject.reason.index(),
    }
}

/// The decision counters and two event counters.
#[derive(Default)]
pub(crate) struct Counters {
    stripes: [Stripe; STRIPES],
    /// Credentials with a nonce that this authorizer did not issue for their source and host.
    pub(crate) foreign_nonces: AtomicU64,
    /// Credentials refused unverified because a guess limit was reached.
    pub(crate) guesses_refused: AtomicU64,
}

/// Aligned to 128 bytes, because processors fetch cache lines in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; SLOTS]);

impl Counters {
    pub(super) fn count(&self, decision: &Decision) {
        if let Some(count) = self.stripe().and_then(|stripe| stripe.0.get(slot(decision))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a batch.
    pub(super) fn count_all(&self, decisions: &[Decision]) {
        if let [decision] = decisions {
            return self.count(decision);
        }
        let mut tally = [0_u64; SLOTS];
        for decision in decisions {
            if let Some(count) = tally.get_mut(slot(decision)) {
                *count += 1;
            }
        }
        let Some(stripe) = self.stripe() else { return };
        for (total, count) in stripe.0.iter().zip(tally) {
            if count > 0 {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut slots = [0; SLOTS];
        for stripe in &self.stripes {
            for (sum, count) in slots.iter_mut().zip(&stripe.0) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        Counts { slots }
    }

    /// The stripe of this thread.
    fn stripe(&self) -> Option<&Stripe> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let at = STRIPE.try_with(|stripe| {
            if stripe.get() == usize::MAX {
                stripe.set(THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES);
            }
            stripe.get()
        });
        self.stripes.get(at.unwrap_or(0))
    }
}

/// Number of INVITEs that an [`Authorizer`](crate::Authorizer) has decided, by outcome and reason.
/// The numbers never decrease.
#[derive(Clone, PartialEq, Eq)]
pub struct Counts {
    slots: [u64; SLOTS],
}

impl Counts {
    /// Outcome, reason and count of every kind of decision, zero counts included. The texts are
    /// those of [`Decision::outcome`] and [`Decision::reason`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        texts().zip(self.slots).map(|((outcome, reason), count)| (outcome, reason, count))
    }

    /// Number of decisions with this outcome: `accept`, `challenge` or `reject`.
    #[must_use]
    pub fn of(&self, outcome: &str) -> u64 {
        self.iter().filter(|(of, ..)| *of == outcome).map(|(.., count)| count).sum()
    }

    /// Number of all decisions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.slots.iter().sum()
    }
}

/// Shows only the counts above zero.
impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = self.iter().filter(|(.., count)| *count > 0);
        f.debug_map()
            .entries(some.map(|(outcome, reason, count)| ((outcome, reason), count)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::decision::{Challenge, Reject};
    use crate::model::{ChallengeKind, Target};
    use crate::sid::DomainSid;

    fn decisions() -> Vec<Decision> {
        let target = Target::Domain(DomainSid::from_name(&["d"]));
        let challenge = |stale| {
            let kind = ChallengeKind::Proxy;
            Decision::Challenge(Challenge { target, kind, values: Vec::new(), stale })
        };
        let reject = |reason: &Reason| Decision::Reject(Reject { target: None, reason: *reason });
        let rejects = Reason::ALL.iter().map(reject);
        [challenge(false), challenge(true)].into_iter().chain(rejects).collect()
    }

    #[test]
    fn each_decision_is_counted_under_its_own_texts() {
        let counters = Counters::default();
        let decisions = decisions();
        for (number, decision) in decisions.iter().enumerate() {
            let before = counters.counts();
            let many = vec![decision.clone(); number % 3];
            match &many[..] {
                [] => counters.count(decision),
                many => counters.count_all(many),
            }
            let after = counters.counts();
            let grown: Vec<_> = after
                .iter()
                .zip(before.iter())
                .filter(|(after, before)| after.2 != before.2)
                .map(|(after, before)| (after.0, after.1, after.2 - before.2))
                .collect();
            let count = many.len().max(1) as u64;
            assert_eq!(grown, [(decision.outcome(), decision.reason(), count)]);
        }
        let total: usize = (0..decisions.len()).map(|number| (number % 3).max(1)).sum();
        assert_eq!(counters.counts().total(), total as u64);
        let of = |outcome| counters.counts().of(outcome);
        assert_eq!(of("accept") + of("challenge") + of("reject"), total as u64);
        assert_eq!(texts().collect::<BTreeSet<_>>().len(), SLOTS);
    }

    #[test]
    fn no_count_is_lost_over_many_short_threads() {
        let (counters, decisions) = (Counters::default(), decisions());
        let threads = STRIPES * STRIPES + 1;
        for _ in 0..threads {
            std::thread::scope(|scope| {
                scope.spawn(|| counters.count(&decisions[0]));
            });
        }
        assert_eq!(counters.counts().total(), threads as u64);
    }

    #[test]
    fn no_count_is_lost_between_threads() {
        let (counters, decisions) = (Counters::default(), decisions());
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counters.count_all(&decisions);
                        decisions.iter().for_each(|decision| counters.count(decision));
                    }
                });
            }
        });
        let counts = counters.counts();
        let each = 2 * STRIPES as u64 * 200;
        assert_eq!(counts.total(), each * decisions.len() as u64);
        assert!(counts.iter().all(|(outcome, _, count)| outcome == "accept" || count == each));
    }
}
