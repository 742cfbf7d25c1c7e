//! Lock-free counters of an authorizer.
//!
//! Each thread adds to one of a few stripes. Each stripe has its own cache lines, so threads do not
//! contend; a reader sums the stripes. In a batch, decisions of one kind in a row are added at once.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::decision::{Cause, Decision, Reason};

/// With more threads than stripes, some share one: slower, but no count is lost.
const STRIPES: usize = 16;

// the slot of each kind of decision: the causes of wrong credentials, once for rejections and once for
// challenges, then accepts, then the other causes in the order of `Cause::ALL`
const WRONG_REJECTED: usize = 0;
const WRONG_CHALLENGED: usize = 16;
const PASSED: usize = 32;
const REPEAT: usize = 33;
const OTHERS: usize = 34;
const SLOTS: usize = OTHERS + Cause::ALL.len() - Cause::WRONG;

/// The causes that depend on the claimed user are counted in one cache line, so that the time of a
/// count does not reveal which of them was counted last.
const _: () = {
    let [first, .., last] = Cause::USER;
    assert!(Cause::WRONG <= WRONG_CHALLENGED - WRONG_REJECTED);
    assert!(Cause::WRONG <= PASSED - WRONG_CHALLENGED);
    assert!(first.index() / 8 == last.index() / 8 && WRONG_CHALLENGED.is_multiple_of(8));
    assert!(align_of::<Stripe>().is_multiple_of(64));
};

// the row of each outcome and reason; reject reasons follow in the order of `Reason::ALL`
const ASKED_ROW: usize = 2;
const STALE_ROW: usize = 3;
const REJECTED_ROW: usize = 4;
const ROWS: usize = REJECTED_ROW + Reason::ALL.len();

/// Outcome and reason of each row, as from [`Decision::outcome`] and [`Decision::reason`].
fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others: [_; REJECTED_ROW] = [
        ("accept", "passed"),
        ("accept", "repeat"),
        ("challenge", "asked"),
        ("challenge", "stale"),
    ];
    others.into_iter().chain(Reason::ALL.iter().map(|reason| ("reject", reason.as_str())))
}

fn slot(decision: &Decision) -> usize {
    let (cause, wrong) = match decision {
        Decision::Accept(accept) if accept.repeat => return REPEAT,
        Decision::Accept(_) => return PASSED,
        Decision::Challenge(challenge) => (challenge.cause.index(), WRONG_CHALLENGED),
        Decision::Reject(reject) => (reject.cause.index(), WRONG_REJECTED),
    };
    match cause.checked_sub(Cause::WRONG) {
        None => wrong + cause,
        Some(other) => OTHERS + other,
    }
}

/// Each cause with the slot and the row of its challenges or of its rejections.
fn causes() -> impl Iterator<Item = (&'static str, Cause, usize, usize)> {
    Cause::ALL.iter().flat_map(|cause| {
        let index = cause.index();
        let rejected = cause.reason().map(|reason| REJECTED_ROW + reason.index());
        let asked = if cause.is_stale() { STALE_ROW } else { ASKED_ROW };
        let all = match (index.checked_sub(Cause::WRONG), rejected) {
            (None, Some(rejected)) => [
                Some(("challenge", WRONG_CHALLENGED + index, asked)),
                Some(("reject", WRONG_REJECTED + index, rejected)),
            ],
            (Some(other), Some(rejected)) => [None, Some(("reject", OTHERS + other, rejected))],
            (Some(other), None) => [Some(("challenge", OTHERS + other, asked)), None],
            (None, None) => [None, None],
        };
        all.into_iter().flatten().map(|(outcome, slot, row)| (outcome, *cause, slot, row))
    })
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
#[repr(align(128))]
struct Stripe([AtomicU64; SLOTS]);

impl Default for Stripe {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; SLOTS])
    }
}

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
        let Some(stripe) = self.stripe() else { return };
        let add = |slot: usize, count| {
            if let Some(total) = stripe.0.get(slot) {
                total.fetch_add(count, Ordering::Relaxed);
            }
        };
        // accepted calls often come in a row; refusals are counted one by one, because the number of
        // additions must not depend on the claimed users
        let (mut last, mut count) = (0, 0);
        for decision in decisions {
            let slot = slot(decision);
            if !decision.is_accept() {
                add(slot, 1);
                continue;
            }
            if slot != last && count > 0 {
                add(last, std::mem::take(&mut count));
            }
            last = slot;
            count += 1;
        }
        if count > 0 {
            add(last, count);
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
        let mut rows = [0; ROWS];
        let accepts = [PASSED, REPEAT].into_iter().enumerate().map(|(row, slot)| (slot, row));
        let others = causes().map(|(.., slot, row)| (slot, row));
        for (slot, row) in accepts.chain(others) {
            if let Some(sum) = rows.get_mut(row) {
                *sum += self.at(slot);
            }
        }
        texts().zip(rows).map(|((outcome, reason), count)| (outcome, reason, count))
    }

    /// Outcome, cause and count of every kind of challenge and rejection, zero counts included. For
    /// operators only, like the causes themselves.
    pub fn causes(&self) -> impl Iterator<Item = (&'static str, Cause, u64)> {
        causes().map(|(outcome, cause, slot, _)| (outcome, cause, self.at(slot)))
    }

    fn at(&self, slot: usize) -> u64 {
        self.slots.get(slot).copied().unwrap_or_default()
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

    /// A decision of each cause and outcome.
    fn decisions() -> Vec<Decision> {
        let target = Target::Domain(DomainSid::from_name(&["d"]));
        let of = |(outcome, cause, ..): (&str, Cause, usize, usize)| match cause.reason() {
            Some(reason) if outcome == "reject" => {
                Decision::Reject(Reject::new(None, reason).with_cause(cause))
            }
            _ => Decision::Challenge(Challenge {
                target,
                kind: ChallengeKind::Proxy,
                values: Vec::new(),
                stale: cause.is_stale(),
                cause,
                claimed: None,
            }),
        };
        causes().map(of).collect()
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
            let grown: Vec<_> = after
                .causes()
                .zip(before.causes())
                .filter(|(after, before)| after.2 != before.2)
                .map(|(after, before)| (after.0, Some(after.1), after.2 - before.2))
                .collect();
            assert_eq!(grown, [(decision.outcome(), decision.cause(), count)]);
        }
        let total: usize = (0..decisions.len()).map(|number| (number % 3).max(1)).sum();
        assert_eq!(counters.counts().total(), total as u64);
        let of = |outcome| counters.counts().of(outcome);
        assert_eq!(of("accept") + of("challenge") + of("reject"), total as u64);
        assert_eq!(texts().collect::<BTreeSet<_>>().len(), ROWS);
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
        assert!(counts.causes().all(|(.., count)| count == each));
    }
}
