//! The refused calls among the decisions that a server keeps.

use std::collections::{HashMap, HashSet};

use sip_authz_rest::decisions::DecisionRecord;

/// The number of decisions of each outcome that are asked for: the longest page of the API.
pub(super) const MAX_PAGE: usize = 1_000;

/// The cause of a first challenge.
const FIRST_CHALLENGE: &str = "no-credentials";

/// A refused call.
pub(super) struct Refusal {
    /// Its last decision.
    pub(super) record: DecisionRecord,
    /// The number of decisions of this call with the same cause.
    pub(super) times: usize,
}

/// The last refusals, newest first: refused messages, and challenges that nothing of their call followed.
///
/// A challenge is chosen only if there are fewer refused messages than `last`: its call may be accepted, and
/// the record of that left out, where many calls are accepted. First challenges, with which most calls begin,
/// come after the others.
pub(super) fn last_refusals(
    refused: Vec<DecisionRecord>,
    challenged: Vec<DecisionRecord>,
    accepted: &[DecisionRecord],
    last: usize,
) -> Vec<Refusal> {
    let ids = refused.iter().chain(accepted).filter_map(|record| record.call_id.clone());
    let decided: HashSet<_> = ids.collect();
    let mut seen = HashSet::new();
    let is_end = |record: &DecisionRecord| match &record.call_id {
        // newest first, so the first challenge of a call in this list is its last
        Some(id) => !decided.contains(id) && seen.insert(id.clone()),
        None => true,
    };
    let all_challenged = challenged.clone();
    let ended: Vec<_> = challenged.into_iter().filter(is_end).collect();
    let (first, others): (Vec<_>, Vec<_>) =
        ended.into_iter().partition(|record| record.cause.as_deref() == Some(FIRST_CHALLENGE));

    let mut times = HashMap::<_, usize>::new();
    for record in refused.iter().chain(&all_challenged) {
        *times.entry(same(record)).or_default() += 1;
    }
    let counted = |record: DecisionRecord| {
        let times = match record.call_id {
            Some(_) => times.get(&same(&record)).copied().unwrap_or(1),
            None => 1,
        };
        Refusal { record, times }
    };
    let mut known = HashSet::new();
    let mut is_new =
        |record: &DecisionRecord| record.call_id.is_none() || known.insert(same(record));
    // each of the three is sorted, newest first
    let ranked = refused.into_iter().chain(others).chain(first);
    let mut chosen: Vec<_> = ranked.filter(|record| is_new(record)).take(last).collect();
    chosen.sort_by_key(|record| std::cmp::Reverse(record.micros()));
    chosen.into_iter().map(counted).collect()
}

/// The key of decisions that repeat each other: a client sends a request again until it has an answer.
fn same(record: &DecisionRecord) -> [Option<String>; 4] {
    let address = record.source_address().map(|source| source.ip().to_string());
    [record.call_id.clone(), record.cause.clone(), Some(record.reason.clone()), address]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: u8, call: &str, cause: &str) -> DecisionRecord {
        let mut record = DecisionRecord::default();
        record.time = format!("2026-11-29T14:03:{second:02}Z");
        record.call_id = Some(call.to_owned()).filter(|call| !call.is_empty());
        record.cause = Some(cause.to_owned());
        record
    }

    /// Each refusal as `second cause times`.
    fn chosen(
        refused: &[DecisionRecord],
        challenged: &[DecisionRecord],
        accepted: &[DecisionRecord],
        last: usize,
    ) -> Vec<String> {
        last_refusals(refused.to_vec(), challenged.to_vec(), accepted, last)
            .into_iter()
            .map(|Refusal { record, times }| {
                format!("{} {} {times}", &record.time[17..19], record.cause.unwrap())
            })
            .collect()
    }

    #[test]
    fn a_challenge_counts_only_at_the_end_of_its_call() {
        let challenged = [
            record(9, "gave-up", "no-credentials"),
            record(8, "stale", "nonce-expired"),
            record(7, "stale", "no-credentials"),
            record(6, "accepted", "no-credentials"),
            record(5, "refused", "no-credentials"),
        ];
        let refused = [record(6, "refused", "wrong-password")];
        let accepted = [record(7, "accepted", "")];
        assert_eq!(
            chosen(&refused, &challenged, &accepted, 5),
            ["09 no-credentials 1", "08 nonce-expired 1", "06 wrong-password 1"]
        );
    }

    #[test]
    fn first_challenges_never_displace_other_refusals() {
        let many: Vec<_> =
            (20..40).rev().map(|at| record(at, &at.to_string(), "no-credentials")).collect();
        let refused = [record(2, "b", "wrong-password"), record(1, "a", "user-unknown")];
        assert_eq!(
            chosen(&refused, &many, &[], 3),
            ["39 no-credentials 1", "02 wrong-password 1", "01 user-unknown 1"]
        );
        assert_eq!(chosen(&refused, &many, &[], 1), ["02 wrong-password 1"]);
    }

    #[test]
    fn challenges_whose_accept_is_not_kept_never_displace_rejections() {
        for cause in ["nonce-expired", "nonce-reused", "no-matching-realm", "no-credentials"] {
            let many: Vec<_> =
                (20..40).rev().map(|at| record(at, &at.to_string(), cause)).collect();
            let refused = [record(2, "b", "wrong-password"), record(1, "a", "user-unknown")];
            let rejections = ["02 wrong-password 1", "01 user-unknown 1"];
            assert_eq!(chosen(&refused, &many, &[], 2), rejections, "{cause}");
            let newest = format!("39 {cause} 1");
            assert_eq!(
                chosen(&refused, &many, &[], 3),
                [&*newest, rejections[0], rejections[1]],
                "{cause}"
            );
        }
    }

    #[test]
    fn other_challenges_come_before_first_ones() {
        let challenged = [record(9, "b", "no-credentials"), record(8, "a", "nonce-expired")];
        assert_eq!(chosen(&[], &challenged, &[], 1), ["08 nonce-expired 1"]);
    }

    #[test]
    fn repetitions_of_a_call_are_counted_and_shown_once() {
        let refused = [
            record(4, "a", "wrong-password"),
            record(3, "a", "wrong-password"),
            record(2, "a", "guess-limit"),
            record(1, "", "not-sip"),
            record(1, "", "not-sip"),
        ];
        assert_eq!(
            chosen(&refused, &[], &[], 9),
            ["04 wrong-password 2", "02 guess-limit 1", "01 not-sip 1", "01 not-sip 1"]
        );
    }
}
