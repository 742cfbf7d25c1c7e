//! A cache of recent requests that recognizes UDP retransmissions, in fixed memory.
//! A client retransmits an INVITE for up to 64*T1, 32 s (RFC 3261 §17.1.1.2, timer B).

use super::buckets::{Buckets, Entry, Ways, largest_account};

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
/// original. Its low bits select one of at least 64 buckets of eight. In a full bucket an expired entry
/// is replaced, else the oldest one of the account with the most entries, the new one included. So the
/// calls of one account displace no entries of others. All times are milliseconds of one clock. A `now_ms` before the time of an
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

    /// Inserts the `fingerprint` of a request of `account` atomically if it is absent and `admit`
    /// returns true.
    ///
    /// `admit` admits the nonce count. Of identical requests on several threads, one is then
    /// inserted and the others are present. In two separate steps, some would find the nonce count
    /// used and the fingerprint still absent. `admit` runs under the bucket's lock: it may lock a
    /// replay bucket but must not call this cache.
    pub(crate) fn insert_if(
        &self,
        fingerprint: u128,
        account: u32,
        now_ms: u64,
        admit: impl FnOnce() -> bool,
    ) -> Insertion {
        let mut bucket = self.buckets.lock(fingerprint);
        let new = Accepted { fingerprint, account, put_ms: now_ms };
        // one search for both: the entry may be present, or expired
        if let Some(held) = bucket.find_mut(&fingerprint) {
            if held.is_live(now_ms) {
                return Insertion::Present;
            }
            if !admit() {
                return Insertion::Refused;
            }
            *held = new;
        } else if !admit() {
            return Insertion::Refused;
        } else if bucket.is_full() {
            replace(&mut bucket, new);
        } else {
            bucket.add(new, |held| held.put_ms);
        }
        Insertion::Inserted
    }
}

struct Accepted {
    fingerprint: u128,
    /// The number of the account in the snapshot. If another account gets it later, the two share
    /// their entries for 32 s.
    account: u32,
    put_ms: u64,
}

impl Accepted {
    fn is_live(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.put_ms) < WINDOW_MS
    }
}

/// Puts an entry into a full bucket.
#[inline(never)]
fn replace(bucket: &mut Ways<Accepted>, new: Accepted) {
    let now_ms = new.put_ms;
    let live = || bucket.iter().filter(|held| held.is_live(now_ms)).map(|held| held.account);
    let most = largest_account(live, new.account);
    // expired entries first, then those of the account with the most
    let is_kept = |held: &Accepted| held.is_live(now_ms) && held.account != most;
    bucket.add(new, |held| held.put_ms.min(u64::MAX >> 1) | u64::from(is_kept(held)) << 63);
}

impl Entry for Accepted {
    type Id = u128;

    fn id(&self) -> u128 {
        self.fingerprint
    }
}

fn is_live(bucket: &Ways<Accepted>, fingerprint: u128, now_ms: u64) -> bool {
    bucket.find(&fingerprint).is_some_and(|held| held.is_live(now_ms))
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
        let _ = cache.insert_if(fingerprint, 1, now_ms, || true);
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
        assert_eq!(cache.insert_if(1, 1, 0, || false), Refused);
        assert!(!cache.contains(1, 0));
        assert_eq!(cache.insert_if(1, 1, 0, || true), Inserted);
        assert_eq!(cache.insert_if(1, 1, 0, || panic!("asked")), Present);
        assert_eq!(cache.insert_if(1, 1, WINDOW_MS, || false), Refused);
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
    fn the_calls_of_one_account_displace_no_entries_of_others() {
        let cache = RetransmissionCache::new(0);
        let put = |number: u64, account, now_ms| {
            let _ = cache.insert_if(u128::from(number) << 64, account, now_ms, || true);
        };
        let held = |numbers: std::ops::Range<u64>, now_ms| -> Vec<u64> {
            numbers.filter(|it| cache.contains(u128::from(*it) << 64, now_ms)).collect()
        };
        // seven of one account, one of another, then many of the first
        put(0, 2, 1_000);
        (1..8).for_each(|number| put(number, 1, 1_000 + number));
        (8..100).for_each(|number| put(number, 1, 1_000 + number));
        assert_eq!(held(0..100, 1_100), [vec![0], (93..100).collect()].concat());
        // a quiet account takes a place of the loud one, its oldest entry
        put(100, 3, 1_200);
        assert_eq!(held(0..101, 1_200), [vec![0], (94..101).collect()].concat());
        // expired entries go first, those of quiet accounts too
        put(101, 1, 33_000);
        assert_eq!(held(0..102, 33_000), (94..102).collect::<Vec<_>>());
        // of nine accounts with one each, the oldest goes
        let now_ms = 100_000;
        (200..209).for_each(|number| put(number, u32::try_from(number).unwrap(), now_ms + number));
        assert_eq!(held(0..209, now_ms + 300), (201..209).collect::<Vec<_>>());
        // the times of a clock that steps back
        put(300, 7, 0);
        assert_eq!(held(300..301, 0), [300]);
    }

    #[test]
    fn of_identical_concurrent_requests_one_is_inserted_and_the_others_are_present() {
        let (repeats, replays) = (RetransmissionCache::new(0), ReplayTable::new(0, &[7; 16]));
        let tally = Mutex::new(HashMap::new());
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for nc in 1..=500 {
                        let answer = repeats.insert_if(u128::from(nc), 1, 0, || {
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
