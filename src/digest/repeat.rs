//! Which accepted requests may still come again as UDP retransmissions, in fixed memory.
//! A client sends an INVITE again for up to 64*T1, 32 s (RFC 3261 §17.1.1.2, timer B).

use super::buckets::{Buckets, Entry, Ways};

/// How long after its acceptance a request may come again, in milliseconds: 64*T1 with T1 at
/// 500 ms.
pub(crate) const WINDOW_MS: u64 = 32_000;

/// What [`RepeatTable::insert_if`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Insertion {
    /// The fingerprint was there: a retransmission. The caller's condition was not asked.
    Present,
    /// The fingerprint was not there, the condition held, and it is there now.
    Inserted,
    /// The fingerprint was not there and the condition did not hold. Nothing changed.
    Refused,
}

/// The fingerprints of requests accepted in the last 32 s.
///
/// A fingerprint is a keyed 128-bit hash of all that a retransmission has in common with its
/// original, so its own low bits choose one of at least 64 buckets of eight; a ninth costs the
/// bucket the one put first. Times are milliseconds of any one clock; a `now_ms` before the time of
/// a put counts as no time after it.
///
/// A false negative (a fingerprint that was dropped early) costs a challenge: the retransmission is
/// then a nonce count used twice. A false positive would pass a request without a look at nonce age
/// and nonce count, though not without a right digest; it takes two equal keyed hashes.
pub(crate) struct RepeatTable {
    buckets: Buckets<Ways<Accepted>>,
}

impl RepeatTable {
    /// A table for `entries` fingerprints, rounded up to a power of two of at least 512 and at most
    /// 134,217,728. All memory is taken here, about 36 bytes for each. Enough is 32 times the
    /// accepted requests in a second.
    #[must_use]
    pub(crate) fn new(entries: usize) -> Self {
        Self { buckets: Buckets::new(entries) }
    }

    /// Has brought into the cache what is known of `fingerprint`.
    pub(crate) fn prefetch(&self, fingerprint: u128) {
        self.buckets.prefetch(fingerprint);
    }

    /// Whether `fingerprint` was put less than [`WINDOW_MS`] ago.
    #[must_use]
    pub(crate) fn contains(&self, fingerprint: u128, now_ms: u64) -> bool {
        is_live(&self.buckets.lock(fingerprint), fingerprint, now_ms)
    }

    /// Puts `fingerprint` if it is not there and `admit` says so, all as one step.
    ///
    /// With the nonce count admitted in `admit`, of identical requests on many threads one is
    /// inserted and the others are present; in two steps, some would find the nonce count used and
    /// the fingerprint not yet there. `admit` runs under the bucket's lock: it may take the lock of
    /// a replay bucket and must not come back to this table.
    pub(crate) fn insert_if(
        &self,
        fingerprint: u128,
        now_ms: u64,
        admit: impl FnOnce() -> bool,
    ) -> Insertion {
        let mut bucket = self.buckets.lock(fingerprint);
        if is_live(&bucket, fingerprint, now_ms) {
            return Insertion::Present;
        }
        if !admit() {
            return Insertion::Refused;
        }
        bucket.put(Accepted { fingerprint, put_ms: now_ms }, |held| held.put_ms);
        Insertion::Inserted
    }
}

struct Accepted {
    fingerprint: u128,
    put_ms: u64,
}

impl Entry for Accepted {
    type Id = u128;

    fn id(&self) -> u128 {
        self.fingerprint
    }
}

fn is_live(bucket: &Ways<Accepted>, fingerprint: u128, now_ms: u64) -> bool {
    bucket
        .find(&fingerprint)
        .is_some_and(|accepted| now_ms.saturating_sub(accepted.put_ms) < WINDOW_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Insertion::{Inserted, Present, Refused};
    use super::*;
    use crate::digest::buckets::WAYS;
    use crate::digest::replay::{Admission, ReplayTable};

    fn put(table: &RepeatTable, fingerprint: u128, now_ms: u64) {
        let _ = table.insert_if(fingerprint, now_ms, || true);
    }

    #[test]
    fn a_fingerprint_lives_for_the_window() {
        let table = RepeatTable::new(0);
        put(&table, 1, 1000);
        assert!(!table.contains(2, 1000));
        for (now_ms, expected) in
            [(0, true), (1000, true), (32_999, true), (33_000, false), (u64::MAX, false)]
        {
            assert_eq!(table.contains(1, now_ms), expected, "at {now_ms}");
        }
    }

    #[test]
    fn a_second_insert_extends_nothing_until_the_first_has_run_out() {
        let table = RepeatTable::new(0);
        put(&table, 1, 1000);
        put(&table, 1, 30_000);
        assert!(!table.contains(1, 33_000));
        put(&table, 1, 33_000);
        assert!(table.contains(1, 64_999));
        assert!(!table.contains(1, 65_000));
    }

    #[test]
    fn the_condition_decides_only_for_what_is_not_there() {
        let table = RepeatTable::new(0);
        assert_eq!(table.insert_if(1, 0, || false), Refused);
        assert!(!table.contains(1, 0));
        assert_eq!(table.insert_if(1, 0, || true), Inserted);
        assert_eq!(table.insert_if(1, 0, || panic!("asked")), Present);
        assert_eq!(table.insert_if(1, WINDOW_MS, || false), Refused);
    }

    #[test]
    fn a_ninth_costs_the_oldest() {
        let table = RepeatTable::new(0);
        let same_bucket = |number: u64| u128::from(number) << 64;
        for number in 0..=WAYS as u64 {
            put(&table, same_bucket(number), number);
        }
        assert!(!table.contains(same_bucket(0), 10));
        assert!((1..=WAYS as u64).all(|number| table.contains(same_bucket(number), 10)));
    }

    #[test]
    fn of_identical_requests_on_threads_one_is_new_and_the_others_repeat() {
        let (repeats, replays) = (RepeatTable::new(0), ReplayTable::new(0, &[7; 16]));
        let tally = Mutex::new(HashMap::new());
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for nc in 1..=500 {
                        let answer = repeats.insert_if(u128::from(nc), 0, || {
                            replays.admit(1, 1, nc) == Admission::Fresh
                        });
                        *tally.lock().unwrap().entry((nc, answer == Inserted)).or_insert(0) += 1;
                        assert_ne!(answer, Refused, "{nc}");
                    }
                });
            }
        });
        let tally = tally.into_inner().unwrap();
        assert!((1..=500).all(|nc| tally[&(nc, true)] == 1 && tally[&(nc, false)] == 7));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_while_there_is_room(
            steps in vec((0u128..8, 0u64..20_000, any::<bool>()), 0..200),
        ) {
            let (table, mut map) = (RepeatTable::new(0), HashMap::<u128, u64>::new());
            let mut now_ms = 0;
            for (number, later_ms, insert) in steps {
                now_ms += later_ms;
                let fingerprint = number << 100;
                let live = map.get(&fingerprint).is_some_and(|put_ms| now_ms - put_ms < 32_000);
                prop_assert_eq!(table.contains(fingerprint, now_ms), live);
                if insert {
                    put(&table, fingerprint, now_ms);
                    if !live {
                        map.insert(fingerprint, now_ms);
                    }
                }
            }
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_flood_keeps_the_newest_and_makes_nothing_up(
            fingerprints in vec(any::<u128>(), 2000),
            others in vec(any::<u128>(), 20),
        ) {
            let table = RepeatTable::new(0);
            for (fingerprint, now_ms) in fingerprints.iter().zip(0..) {
                put(&table, *fingerprint, now_ms);
                prop_assert!(table.contains(*fingerprint, now_ms));
            }
            // The last of a flood are the newest eight of their bucket at least.
            for fingerprint in fingerprints.iter().rev().take(WAYS) {
                prop_assert!(table.contains(*fingerprint, 2000));
            }
            for other in others.iter().filter(|other| !fingerprints.contains(other)) {
                prop_assert!(!table.contains(*other, 2000));
            }
        }
    }
}
