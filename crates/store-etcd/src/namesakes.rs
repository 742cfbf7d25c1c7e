//! The other processes that report under the name of this one.
//!
//! Two edges may share a name by mistake, for example on machines made from one image. Each process has its own
//! keys, so the report of one never counts for the other. A killed process leaves its keys behind; the next
//! process with the same name removes them.
//!
//! A live process whose state does not change writes nothing, so silence alone does not show that it has ended.
//! Another process asks it: it deletes the applied head of the process, and writes its report without a commit. A
//! live process notices that at its next report, and writes all its keys again. One that has not done so within
//! its lease has refused all calls since, and its keys are removed.
//!
//! An etcd without space refuses the answer to such a question, so it must refuse the question and the removal too.
//! Each has a put in its transaction for this.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::layout::EdgeKey;

/// A process without a lease that was asked counts as gone after this silence, if it has not reported since this
/// process started. Edges without a lease report every ten seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// The keys that a process writes, in the order of [`EdgeKey::ALL`].
pub(super) type Keys = [Vec<u8>; EdgeKey::ALL.len()];

/// The keys of a process, and their values.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) keys: Keys,
    /// None if there is no such key.
    pub(super) values: [Option<Vec<u8>>; EdgeKey::ALL.len()],
    pub(super) lease_ms: Option<u64>,
}

/// The report of another process with the same name.
pub(super) struct Other {
    pub(super) keys: Keys,
    /// The report that asks it for another one.
    pub(super) question: Vec<u8>,
    pub(super) revision: i64,
    pub(super) lease: Option<Duration>,
    /// Whether it has no applied head: it was asked to report again. Earlier versions write none, and write a
    /// report each time.
    pub(super) is_asked: bool,
}

impl Other {
    /// The transaction of a step by the process `own`, if there is one.
    pub(super) fn txn(&self, step: Step, own: &Report) -> Option<Txn> {
        // it has not reported since it was read
        let is_silent =
            Compare::mod_revision(self.report_key().clone(), CompareOp::Equal, self.revision);
        let [report, applied, ..] = self.keys.clone();
        match step {
            Step::Wait => None,
            // begins the time of its silence
            Step::Ask => {
                let put = TxnOp::put(report, self.question.clone(), None);
                let writes = [put, TxnOp::delete(applied, None)];
                Some(Txn::new().when([is_silent]).and_then(writes))
            }
            Step::Remove => {
                let [own_key, ..] = &own.keys;
                let [own_report, ..] = &own.values;
                // a late copy of this request must not bring back the report of a process that has ended
                let is_own = Compare::version(own_key.clone(), CompareOp::Greater, 0);
                let put = TxnOp::put(own_key.clone(), own_report.clone().unwrap_or_default(), None);
                let deletes = self.keys.clone().map(|key| TxnOp::delete(key, None));
                let writes: Vec<_> = deletes.into_iter().chain([put]).collect();
                Some(Txn::new().when([is_silent, is_own]).and_then(writes))
            }
        }
    }

    fn report_key(&self) -> &Vec<u8> {
        let [report, ..] = &self.keys;
        report
    }
}

/// The last report of another process.
struct LastReport {
    revision: i64,
    /// When its silence began: this process first read it, or asked.
    since: Instant,
    is_asked: bool,
    /// Whether it was written since this process started.
    is_concurrent: bool,
}

/// The other processes that report under the same name.
#[derive(Default)]
pub(super) struct Namesakes {
    /// The keys of this process.
    pub(super) own: Option<Keys>,
    /// The last report that this process has written.
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

    /// Notes the answer to the transaction of a step: its revision if it took effect. Its time is `now`.
    pub(super) fn done(&mut self, other: &Other, step: Step, revision: Option<i64>, now: Instant) {
        let Some(last) = self.last_reports.get_mut(other.report_key()) else { return };
        match (step, revision) {
            (Step::Ask, Some(revision)) => {
                (last.revision, last.since, last.is_asked) = (revision, now, true);
            }
            // It may have been unable to answer, as etcd had no space: its silence begins again.
            (Step::Remove, None) => last.since = now,
            _ => {}
        }
    }

    fn step(&mut self, first: i64, other: &Other, now: Instant) -> Step {
        let last = self.last_reports.get(other.report_key());
        let is_first_look = last.is_none();
        let is_same =
            |last: &LastReport| (last.revision, last.is_asked) == (other.revision, other.is_asked);
        if !last.is_some_and(is_same) {
            let was_concurrent = last.is_some_and(|last| last.is_concurrent);
            // an asker writes the report again, too
            let has_reported = !other.is_asked && other.revision > first;
            self.has_conflict |= has_reported;
            let is_concurrent =
                has_reported || was_concurrent || (is_first_look && other.revision > first);
            let (revision, is_asked) = (other.revision, other.is_asked);
            let last = LastReport { revision, since: now, is_asked, is_concurrent };
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
            let other = self.other(other);
            let now = self.start + Duration::from_secs(seconds);
            let mut steps = self.namesakes.steps(revision, &[other], now);
            (steps.remove(0), std::mem::take(&mut self.namesakes.has_conflict))
        }

        fn other(&self, (revision, is_asked): (i64, bool)) -> Other {
            Other {
                keys: ["report", "applied", "api", "format"].map(|key| key.as_bytes().to_vec()),
                question: Vec::new(),
                revision,
                lease: self.is_leased.then_some(LEASE),
                is_asked,
            }
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
    fn a_process_that_could_not_answer_has_its_time_again() {
        let mut fixture = Fixture::new(true);
        assert_eq!(fixture.report(0, 10, (4, false)), (Ask, false));
        assert_eq!(fixture.report(1, 20, (11, true)), (Wait, false));
        assert_eq!(fixture.report(21, 20, (11, true)), (Remove, false));
        // etcd has refused it
        let now = fixture.start + Duration::from_secs(22);
        fixture.namesakes.done(&fixture.other((11, true)), Remove, None, now);
        assert_eq!(fixture.report(41, 20, (11, true)), (Wait, false));
        assert_eq!(fixture.report(42, 20, (11, true)), (Remove, false));
        // the applied head of an answer is deleted alone, such as by a late copy of a request
        assert_eq!(fixture.report(43, 30, (25, false)), (Wait, true));
        assert_eq!(fixture.report(62, 30, (25, true)), (Wait, false));
        assert_eq!(fixture.report(81, 30, (25, true)), (Wait, false));
        assert_eq!(fixture.report(82, 30, (25, true)), (Remove, false));
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
