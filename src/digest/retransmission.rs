//! A cache of recent requests that recognizes UDP retransmissions, in fixed memory.
//! A client retransmits an INVITE for up to 64*T1, 32 s (RFC 3261 §17.1.1.2, timer B).

use super::buckets::{Buckets, Entry, Ways};

/// The time after its acceptance in which a request can be retransmitted, in milliseconds: 64*T1
/// with T1 at 500 ms.
pub(crate) const WINDOW_MS: u64 = 32_000;

/// The result of [`RetransmissionCache::insert_if`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Insertion {
    /// The fingerprint was present: a retransmission. The condition was not evaluated.
    Present,
    /// The fingerprint was absent and the condition held. It is present now.
    Inserted,
    /// The fingerprint was absent and the condition did not hold. Nothing changed.
    Refused,
}

/// The fingerprints of the requests inserted in the last 32 s.
///
/// A fingerprint is a keyed 128-bit hash of every part that a retransmission has in common with its
/// original. Its low bits select one of at least 64 buckets of eight; in a full bucket the oldest
/// entry is replaced. All times are milliseconds of one clock. A `now_ms` before the time of an
/// insertion counts as zero time after it.
///
/// A false negative (a fingerprint that was evicted early) costs a challenge, because the nonce
/// count of the retransmission is already used. A false positive would skip the checks of nonce age
/// and nonce count, though not of the digest; it needs two equal keyed hashes.
pub(crate) struct RetransmissionCache {
    buckets: Buckets<Ways<Accepted>>,
}

impl RetransmissionCache {
    /// Creates a cache for `entries` fingerprints, rounded up to a power of two between 512 and
    /// 134,217,728. Allocates all memory here, about 36 bytes for each. A sufficient size is 32
    /// times the accepted requests per second.
    #[must_use]
    pub(crate) fn new(entries: usize) -> Self {
        Self { buckets: Buckets::new(entries) }
    }

    /// Prefetches the cache lines for `fingerprint`.
    pub(crate) fn prefetch(&self, fingerprint: u128) {
        self.buckets.prefetch(fingerprint);
    }

    /// Whether `fingerprint` was inserted less than [`WINDOW_MS`] ago.
    #[must_use]
    pub(crate) fn contains(&self, fingerprint: u128, now_ms: u64) -> bool {
        is_live(&self.buckets.lock(fingerprint), fingerprint, now_ms)
    }

    /// Inserts `fingerprint` atomically if it is absent and `admit` returns true.
    ///
    /// `admit` admits the nonce count. Of identical requests on several threads, one is then
    /// inserted and the others are present. In two separate steps, some would find the nonce count
    /// used and the fingerprint still absent. `admit` runs under the bucket's lock: it may lock a
    /// replay bucket but must not call this cache.
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

    fn put(cache: &RetransmissionCache, fingerprint: u128, now_ms: u64) {
        let _ = cache.insert_if(fingerprint, now_ms, || true);
    }

    #[test]
    fn a_fingerprint_expires_after_the_window() {
        let cache = RetransmissionCache::new(0);
        put(&cache, 1, 1000);
        assert!(!cache.contains(2, 1000));
        for (now_ms, expected) in
            [(0, true), (1000, true), (32_999, true), (33_000, false), (u64::MAX, false)]
        {
            assert_eq!(cache.contains(1, now_ms), expected, "at {now_ms}");
        }
    }

    #[test]
    fn a_second_insertion_does_not_extend_the_window() {
        let cache = RetransmissionCache::new(0);
        put(&cache, 1, 1000);
        put(&cache, 1, 30_000);
        assert!(!cache.contains(1, 33_000));
        put(&cache, 1, 33_000);
        assert!(cache.contains(1, 64_999));
        assert!(!cache.contains(1, 65_000));
    }

    #[test]
    fn the_condition_is_evaluated_only_for_absent_fingerprints() {
        let cache = RetransmissionCache::new(0);
        assert_eq!(cache.insert_if(1, 0, || false), Refused);
        assert!(!cache.contains(1, 0));
        assert_eq!(cache.insert_if(1, 0, || true), Inserted);
        assert_eq!(cache.insert_if(1, 0, || panic!("asked")), Present);
        assert_eq!(cache.insert_if(1, WINDOW_MS, || false), Refused);
    }

    #[test]
    fn a_full_bucket_evicts_the_oldest() {
        let cache = RetransmissionCache::new(0);
        let same_bucket = |number: u64| u128::from(number) << 64;
        for number in 0..=WAYS as u64 {
            put(&cache, same_bucket(number), number);
        }
        assert!(!cache.contains(same_bucket(0), 10));
        assert!((1..=WAYS as u64).all(|number| cache.contains(same_bucket(number), 10)));
    }

    #[test]
    fn of_identical_concurrent_requests_one_is_inserted_and_the_others_are_present() {
        let (repeats, replays) = (RetransmissionCache::new(0), ReplayTable::new(0, &[7; 16]));
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
            let (cache, mut map) = (RetransmissionCache::new(0), HashMap::<u128, u64>::new());
            let mut now_ms = 0;
            for (number, later_ms, insert) in steps {
                now_ms += later_ms;
                let fingerprint = number << 100;
                let live = map.get(&fingerprint).is_some_and(|put_ms| now_ms - put_ms < 32_000);
                prop_assert_eq!(cache.contains(fingerprint, now_ms), live);
                if insert {
                    put(&cache, fingerprint, now_ms);
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
        fn a_flood_keeps_the_newest_and_invents_nothing(
            fingerprints in vec(any::<u128>(), 2000),
            others in vec(any::<u128>(), 20),
        ) {
            let cache = RetransmissionCache::new(0);
            for (fingerprint, now_ms) in fingerprints.iter().zip(0..) {
                put(&cache, *fingerprint, now_ms);
                prop_assert!(cache.contains(*fingerprint, now_ms));
            }
            // The last eight of the flood are among the newest eight of their buckets.
            for fingerprint in fingerprints.iter().rev().take(WAYS) {
                prop_assert!(cache.contains(*fingerprint, 2000));
            }
            for other in others.iter().filter(|other| !fingerprints.contains(other)) {
                prop_assert!(!cache.contains(*other, 2000));
            }
        }
    }
}
