//! Counts and limits for each reason of a decision, and for each cause of another outcome, so that lines
//! for one of them cannot take the place of others in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sip_authz::{Decision, Reason};

use crate::observe::cause::Cause;
use crate::observe::lines::LinesInSecond;
use crate::observe::record::Verdict;

/// The reasons of decisions that are not rejections, in the order of their slots.
const OTHERS: [&str; 4] = ["passed", "repeat", "asked", "stale"];
/// The number of reasons of decisions.
const DECISIONS: usize = OTHERS.len() + Reason::ALL.len();
/// The number of reasons and causes.
const COUNT: usize = DECISIONS + Cause::ALL.len();
/// The slot of `passed`.
const PASSED: usize = 0;

/// A count for each reason.
pub(super) type PerReason = [u64; COUNT];
/// No decisions.
pub(super) const NONE: PerReason = [0; COUNT];

/// The texts of [`Decision::reason`] and of the causes, in the order of their slots.
pub(super) fn reasons() -> impl Iterator<Item = &'static str> {
    let rejections = Reason::ALL.iter().map(|reason| reason.as_str());
    OTHERS.into_iter().chain(rejections).chain(Cause::ALL.map(Cause::as_str))
}

/// The slot of the decision's reason.
pub(super) fn slot(decision: &Decision) -> usize {
    slot_of_verdict(Verdict::of(decision))
}

/// The slot of the reason or cause of an outcome.
pub(super) fn slot_of_verdict(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Accept { repeat } => PASSED + usize::from(repeat),
        Verdict::Challenge { stale, .. } => 2 + usize::from(stale),
        Verdict::Reject(reason) => OTHERS.len() + reason.index(),
        Verdict::Other(cause) => slot_of(cause),
    }
}

/// The slot of a cause.
pub(super) fn slot_of(cause: Cause) -> usize {
    DECISIONS + cause.index()
}

/// Counters that several threads add to, one for each reason.
pub(super) struct Counters([AtomicU64; COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNT])
    }
}

impl Counters {
    pub(super) fn add(&self, slot: usize, count: u64) {
        if let Some(counter) = self.0.get(slot) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self) -> PerReason {
        self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }

    pub(super) fn total(&self) -> u64 {
        self.get().iter().sum()
    }
}

/// The differences of two counts.
pub(super) fn since(now: &PerReason, before: &PerReason) -> PerReason {
    std::array::from_fn(|slot| match (now.get(slot), before.get(slot)) {
        (Some(now), Some(before)) => now.saturating_sub(*before),
        _ => 0,
    })
}

/// Limits the lines a second for each reason.
pub(super) struct RateLimit {
    /// `None` is unlimited.
    rate: Option<u32>,
    /// For each reason.
    seconds: [LinesInSecond; COUNT],
}

impl RateLimit {
    pub(super) fn new(rate: Option<u32>) -> Self {
        Self { rate, seconds: std::array::from_fn(|_| LinesInSecond::default()) }
    }

    /// Whether a decision of this slot may have a line; counts the line.
    pub(super) fn admits(&self, slot: usize, time: SystemTime) -> bool {
        let (Some(rate), Some(counted)) = (self.rate, self.seconds.get(slot)) else { return true };
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        counted.admits(since.as_secs(), rate)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sip_authz::Reject;

    use super::*;

    #[test]
    fn each_reason_has_a_slot_of_its_own() {
        let names: Vec<_> = reasons().collect();
        assert_eq!(names.len(), COUNT);
        for reason in Reason::ALL {
            let decision = Decision::Reject(Reject::new(None, *reason));
            assert_eq!(names[slot(&decision)], decision.reason());
        }
        assert!(Cause::ALL.iter().all(|cause| names[slot_of(*cause)] == cause.as_str()));
        let counters = Counters::default();
        for (slot, count) in [(0, 2), (COUNT - 1, 3), (COUNT, 5)] {
            counters.add(slot, count);
        }
        let before = counters.get();
        assert_eq!((before[0], before[COUNT - 1], counters.total()), (2, 3, 5));
        counters.add(0, 7);
        let more = since(&counters.get(), &before);
        assert_eq!((more[0], more.iter().sum::<u64>()), (7, 7));
    }

    #[test]
    fn a_limit_is_for_one_reason_and_one_second() {
        let at = |millis: u64| {
            SystemTime::UNIX_EPOCH + Duration::from_millis(1_900_000_000_000 + millis)
        };
        let limit = RateLimit::new(Some(3));
        let admitted = |slot, millis| (0..10).filter(|_| limit.admits(slot, at(millis))).count();
        assert_eq!([admitted(1, 0), admitted(1, 999), admitted(2, 999)], [3, 0, 3]);
        assert_eq!([admitted(1, 1_000), admitted(1, 1_500)], [3, 0]);
        // a delayed thread does not start the second again
        assert_eq!([admitted(1, 999), admitted(1, 1_999), admitted(1, 2_000)], [0, 0, 3]);
        // the clock was set back by an hour
        let hour = Duration::from_secs(3_600);
        let earlier = (0..10).filter(|_| limit.admits(1, at(0) - hour)).count();
        assert_eq!(earlier, 3);

        let unlimited = RateLimit::new(None);
        assert!((0..100_000).all(|_| unlimited.admits(5, at(0))));
        assert!(RateLimit::new(Some(1)).admits(2, SystemTime::UNIX_EPOCH - hour));
    }
}
