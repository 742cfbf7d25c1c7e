//! The other processes that report under the name of this one.
//!
//! Two edges may share a name by mistake, for example on machines made from one image. Each process has its own
//! keys, so the report of one never counts for the other. A killed process leaves its keys behind; the next
//! process with the same name removes them.
//!
//! A live process whose state does not change writes nothing, so silence alone does not show that it has ended.
//! Another process asks it: it deletes the applied head of the process. A live process misses that head at its
//! next report, and writes all its keys again. One that has not done so within its lease has refused all calls
//! since, and its keys are removed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, TxnOp};

/// A process without a lease that was asked counts as gone after this silence, if it has not reported since this
/// process started. Edges without a lease report every ten seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// The keys that a process writes, in the order of [`EdgeKey::ALL`](super::layout::EdgeKey::ALL).
pub(super) type Keys = [Vec<u8>; 3];

/// What a process writes under its keys.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) keys: Keys,
    /// None if there is no such key.
    pub(super) values: [Option<Vec<u8>>; 3],
    pub(super) lease_ms: Option<u64>,
}

/// The report of another process with the same name.
pub(super) struct Other {
    pub(super) keys: Keys,
    /// The value of the report.
    pub(super) report: Vec<u8>,
    pub(super) revision: i64,
    pub(super) lease: Option<Duration>,
    /// Whether it has no applied head: it was asked to report again. Earlier versions write none, and write a
    /// report each time.
    pub(super) is_asked: bool,
}

impl Other {
    /// The writes of a step.
    pub(super) fn writes(&self, step: Step) -> Vec<TxnOp> {
        let [report, applied, _] = self.keys.clone();
        match step {
            Step::Wait => Vec::new(),
            // Writes the report again, so that the time of its silence begins. An etcd without space refuses
            // this, since it would refuse the answer too.
            Step::Ask => {
                vec![TxnOp::put(report, self.report.clone(), None), TxnOp::delete(applied, None)]
            }
            Step::Remove => self.keys.clone().map(|key| TxnOp::delete(key, None)).to_vec(),
        }
    }

    fn report_key(&self) -> &Vec<u8> {
        let [report, _, _] = &self.keys;
        report
    }

    /// The condition that it has not reported since it was read.
    pub(super) fn is_silent(&self) -> Compare {
        Compare::mod_revision(self.report_key().clone(), CompareOp::Equal, self.revision)
    }
}

/// The last report of another process.
struct LastReport {
    revision: i64,
    /// When this process first read it.
    since: Instant,
    /// Whether it was written since this process started.
    is_concurrent: bool,
}

/// The other processes that report under the same name.
#[derive(Default)]
pub(super) struct Namesakes {
    /// The keys of this process.
    pub(super) own: Option<Keys>,
    /// What this process has written last.
    pub(super) written: Option<Report>,
    /// The revision of the first report of this process.
    first: Option<i64>,
    /// By the key of the report.
    last_reports: HashMap<Vec<u8>, LastReport>,
    /// Whether another process has reported since this one started.
    pub(super) has_conflict: bool,
}

/// The next step with another process of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// Ask it to report again.
    Ask,
    /// It decides nothing more: remove its keys.
    Remove,
}

impl Namesakes {
    /// Forgets what rests on revisions: a restored store has other ones.
    pub(super) fn forget_revisions(&mut self) {
        self.first = None;
        self.last_reports.clear();
    }

    /// Updates the last reports of others, as of `revision`, and returns the next step with each.
    pub(super) fn steps(&mut self, revision: i64, others: &[Other], now: Instant) -> Vec<Step> {
        let first = *self.first.get_or_insert(revision);
        self.last_reports.retain(|key, _| others.iter().any(|other| other.report_key() == key));
        others.iter().map(|other| self.step(first, other, now)).collect()
    }

    /// Notes that `other` was asked, by a write of this revision.
    pub(super) fn was_asked(&mut self, other: &Other, revision: i64, now: Instant) {
        if let Some(last) = self.last_reports.get_mut(other.report_key()) {
            (last.revision, last.since) = (revision, now);
        }
    }

    fn step(&mut self, first: i64, other: &Other, now: Instant) -> Step {
        let last = self.last_reports.get(other.report_key());
        let is_first_look = last.is_none();
        if last.is_none_or(|last| last.revision != other.revision) {
            let was_concurrent = last.is_some_and(|last| last.is_concurrent);
            // an asker writes the report again, too
            let has_reported = !other.is_asked && other.revision > first;
            self.has_conflict |= has_reported;
            let is_concurrent =
                has_reported || was_concurrent || (is_first_look && other.revision > first);
            let last = LastReport { revision: other.revision, since: now, is_concurrent };
            self.last_reports.insert(other.report_key().clone(), last);
        }
        let Some(last) = self.last_reports.get(other.report_key()) else { return Step::Wait };
        let is_silent =
            now.saturating_duration_since(last.since) >= other.lease.unwrap_or(SILENCE_LIMIT);
        if !other.is_asked {
            return if is_first_look || is_silent { Step::Ask } else { Step::Wait };
        }
        // With a lease it has refused all calls since, and reports before it decides again. Without one it
        // may be cut off, unless it is a predecessor.
        let can_end = other.lease.is_some() || !last.is_concurrent;
        if is_silent && can_end { Step::Remove } else { Step::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::Step::{Ask, Remove, Wait};
    use super::*;

    const LEASE: Duration = Duration::from_secs(20);

    struct Fixture {
        namesakes: Namesakes,
        start: Instant,
        is_leased: bool,
    }

    impl Fixture {
        fn new(is_leased: bool) -> Self {
            Self { namesakes: Namesakes::default(), start: Instant::now(), is_leased }
        }

        /// The step with another process at a report of this time and revision, and whether there is a conflict.
        /// The other has this revision and is asked or not.
        fn report(&mut self, seconds: u64, revision: i64, other: (i64, bool)) -> (Step, bool) {
            let (its_revision, is_asked) = other;
            let other = Other {
                keys: ["report", "applied", "api"].map(|key| key.as_bytes().to_vec()),
                report: Vec::new(),
                revision: its_revision,
                lease: self.is_leased.then_some(LEASE),
                is_asked,
            };
            let now = self.start + Duration::from_secs(seconds);
            let mut steps = self.namesakes.steps(revision, &[other], now);
            (steps.remove(0), std::mem::take(&mut self.namesakes.has_conflict))
        }
    }

    #[test]
    fn a_predecessor_is_asked_and_removed_after_its_lease_or_a_silence() {
        for (is_leased, silence) in [(true, 20), (false, 60)] {
            let mut fixture = Fixture::new(is_leased);
            assert_eq!(fixture.report(0, 10, (4, false)), (Ask, false));
            // the request to ask failed
            assert_eq!(fixture.report(1, 20, (4, false)), (Wait, false));
            assert_eq!(fixture.report(silence, 30, (4, false)), (Ask, false));
            assert_eq!(fixture.report(silence + 1, 40, (31, true)), (Wait, false));
            assert_eq!(fixture.report(2 * silence, 50, (31, true)), (Wait, false));
            assert_eq!(fixture.report(2 * silence + 1, 60, (31, true)), (Remove, false));
        }
    }

    #[test]
    fn a_report_of_an_earlier_version_counts_as_asked() {
        let mut fixture = Fixture::new(true);
        assert_eq!(fixture.report(0, 10, (4, true)), (Wait, false));
        assert_eq!(fixture.report(19, 20, (4, true)), (Wait, false));
        assert_eq!(fixture.report(20, 30, (4, true)), (Remove, false));
    }

    #[test]
    fn a_live_process_answers_is_a_conflict_and_stays() {
        for is_leased in [true, false] {
            // it started before this process, or later
            for first in [4, 12] {
                let mut fixture = Fixture::new(is_leased);
                let is_later = first > 10;
                if is_later {
                    fixture.namesakes.first = Some(10);
                }
                assert_eq!(fixture.report(0, 15, (first, false)), (Ask, is_later));
                assert_eq!(fixture.report(5, 20, (16, true)), (Wait, false));
                // it has reported again
                assert_eq!(fixture.report(10, 30, (25, false)), (Wait, true));
                assert_eq!(fixture.report(15, 40, (25, false)), (Wait, false));
                // once more after a silence
                assert_eq!(fixture.report(70, 50, (25, false)), (Ask, false));
                assert_eq!(fixture.report(75, 60, (51, true)), (Wait, false));
                assert_eq!(fixture.report(80, 70, (65, false)), (Wait, true));
                // then it is cut off: without a lease it may still decide
                assert_eq!(fixture.report(140, 80, (65, false)), (Ask, false));
                assert_eq!(fixture.report(141, 90, (81, true)), (Wait, false));
                let last = if is_leased { Remove } else { Wait };
                assert_eq!(fixture.report(3_600, 100, (81, true)), (last, false));
            }
        }
    }

    #[test]
    fn a_third_process_that_asks_is_no_report() {
        let mut fixture = Fixture::new(false);
        assert_eq!(fixture.report(0, 10, (4, false)), (Ask, false));
        assert_eq!(fixture.report(1, 20, (11, true)), (Wait, false));
        assert_eq!(fixture.report(2, 30, (21, true)), (Wait, false));
        assert_eq!(fixture.report(61, 40, (21, true)), (Wait, false));
        assert_eq!(fixture.report(62, 50, (21, true)), (Remove, false));
    }
}
