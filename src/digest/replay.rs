//! Used nonces and nonce counts (RFC 7616 §3.4.5 and §5.5), in fixed memory.
//! A forgotten nonce is refused; a nonce newer than all forgotten ones is accepted.

use siphasher::sip::SipHasher13;

use super::buckets::{Buckets, Entry, Ways};
use super::framed::{Key, words};
use super::sync::MutexGuard;

/// Whether a verified response is the first with its nonce and nonce count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admission {
    /// The first use.
    Fresh,
    /// Used before: challenge with stale=true.
    Replayed,
    /// Too old to decide, because the table no longer holds its age: challenge with stale=true.
    Forgotten,
}

/// The nonces of verified responses, and the nonce counts used with each.
///
/// A nonce is identified by its stamp and its tag (its MAC). The stamp is the order of issue: time
/// in the high bits, a counter below. It must increase with each nonce while the table
/// exists. For each nonce the table keeps the highest nonce count and which of the 63 below were
/// used. Lower counts are treated as used.
///
/// A keyed hash of stamp and tag selects one of at least 64 buckets of eight nonces, so an attacker
/// cannot target the bucket of another nonce. If a ninth nonce arrives, the bucket drops its
/// oldest, which may be the new one, and raises its floor to the stamp of the dropped nonce. A
/// nonce at or below the floor passes only if the bucket still holds it. It follows:
///
/// - An admitted use is never admitted again: the bucket holds the nonce, or the floor is at or
///   above it.
/// - A nonce newer than all dropped ones passes. Too small a table therefore shortens the lives of
///   nonces (one more challenge for each) and never admits a replay.
///
/// Admit only a response with a verified digest, so that a flood of wrong ones changes nothing
/// here. The table needs no clock, because it drops the oldest nonces first.
pub(crate) struct ReplayTable {
    buckets: Buckets<Bucket>,
    key: Key,
}

impl ReplayTable {
    /// Creates a table for `entries` nonces, rounded up to a power of two between 512 and
    /// 134,217,728. Allocates all memory here, about 36 bytes for each nonce.
    ///
    /// `key` must be random and secret.
    #[must_use]
    pub(crate) fn new(entries: usize, key: &[u8; 16]) -> Self {
        Self { buckets: Buckets::new(entries), key: words(key) }
    }

    /// Admits nonce count `nc` of a nonce, once. Only for a response with a verified digest.
    ///
    /// The use is replayed if `nc` is zero, was admitted before, or is 64 or more below the highest
    /// admitted one, or if [`admit_once`](Self::admit_once) admitted the nonce. It is forgotten if the
    /// nonce is unknown and not newer than those that its bucket has dropped.
    pub(crate) fn admit(&self, stamp: u64, tag: u64, nc: u32) -> Admission {
        self.bucket(stamp, tag).admit(stamp, tag, Some(nc))
    }

    /// Admits a nonce for a response without a nonce count (RFC 2069). Such a response equals every
    /// copy of it, so the nonce must be unused and is spent afterwards, in both forms. Only for a
    /// response with a verified digest.
    pub(crate) fn admit_once(&self, stamp: u64, tag: u64) -> Admission {
        self.bucket(stamp, tag).admit(stamp, tag, None)
    }

    /// The result that [`admit`](Self::admit), or without an `nc` [`admit_once`](Self::admit_once),
    /// would have now. Changes nothing.
    pub(crate) fn would_admit(&self, stamp: u64, tag: u64, nc: Option<u32>) -> Admission {
        self.bucket(stamp, tag)
            .window_after(stamp, tag, nc)
            .map_or_else(|no| no, |_| Admission::Fresh)
    }

    /// The maximum number of nonces.
    #[must_use]
    pub(crate) fn capacity(&self) -> usize {
        self.buckets.capacity()
    }

    /// The number of nonces held. Locks every bucket in turn: for metrics only.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.buckets.each().map(|bucket| bucket.nonces.len()).sum()
    }

    fn bucket(&self, stamp: u64, tag: u64) -> MutexGuard<'_, Bucket> {
        self.buckets.lock(self.hash(stamp, tag))
    }

    fn hash(&self, stamp: u64, tag: u64) -> u128 {
        let name = u128::from(stamp) << 64 | u128::from(tag);
        let [low, high] = *self.key;
        SipHasher13::new_with_keys(low, high).hash(&name.to_le_bytes()).into()
    }
}

#[derive(Default)]
struct Bucket {
    nonces: Ways<Nonce>,
    /// The highest stamp of the admitted nonces that were dropped; `None`, which is below every
    /// stamp, if there is none.
    floor: Option<u64>,
}

impl Bucket {
    fn admit(&mut self, stamp: u64, tag: u64, nc: Option<u32>) -> Admission {
        let window = match self.window_after(stamp, tag, nc) {
            Ok(window) => window,
            Err(no) => return no,
        };
        let is_oldest =
            self.nonces.next_out(|held| held.stamp).is_some_and(|oldest| stamp < oldest);
        let forgotten = if is_oldest {
            // Admitted and dropped at once. The bucket cannot hold it: its nonces are all newer.
            Some(stamp)
        } else {
            self.nonces
                .put(Nonce { stamp, tag, window }, |held| held.stamp)
                .map(|dropped| dropped.stamp)
        };
        self.floor = self.floor.max(forgotten);
        Admission::Fresh
    }

    /// The nonce's window after this use, or why the use is not admitted.
    fn window_after(&self, stamp: u64, tag: u64, nc: Option<u32>) -> Result<Window, Admission> {
        match (self.nonces.find(&(stamp, tag)), nc) {
            (_, Some(0)) | (Some(_), None) => Err(Admission::Replayed),
            (Some(nonce), Some(nc)) => nonce.window.with(nc).ok_or(Admission::Replayed),
            (None, _) if Some(stamp) <= self.floor => Err(Admission::Forgotten),
            (None, Some(nc)) => Ok(Window { highest: nc, used: 1 }),
            (None, None) => Ok(Window::SPENT),
        }
    }
}

struct Nonce {
    stamp: u64,
    tag: u64,
    window: Window,
}

impl Entry for Nonce {
    type Id = (u64, u64);

    fn id(&self) -> (u64, u64) {
        (self.stamp, self.tag)
    }
}

/// The nonce counts used with one nonce.
#[derive(Clone, Copy)]
struct Window {
    highest: u32,
    /// Bit i: `highest - i` was used.
    used: u64,
}

impl Window {
    /// All nonce counts are used.
    const SPENT: Self = Self { highest: u32::MAX, used: u64::MAX };

    /// The window with `nc` used too; `None` if it was used or is below the window.
    fn with(self, nc: u32) -> Option<Self> {
        if nc > self.highest {
            let kept = self.used.checked_shl(nc - self.highest).unwrap_or(0);
            return Some(Self { highest: nc, used: kept | 1 });
        }
        let bit = 1u64.checked_shl(self.highest - nc)?;
        (self.used & bit == 0).then_some(Self { used: self.used | bit, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Admission::{Forgotten, Fresh, Replayed};
    use super::*;
    use crate::digest::buckets::WAYS;

    /// The admitted nonce counts, without any limit; `None` stands for the form without a count.
    #[derive(Default)]
    struct Oracle(HashMap<(u64, u64), BTreeSet<Option<u32>>>);

    impl Oracle {
        fn admit(&mut self, stamp: u64, tag: u64, nc: Option<u32>) -> Admission {
            let used = self.0.entry((stamp, tag)).or_default();
            let highest = used.last().copied().flatten().unwrap_or(0);
            let fresh = match nc {
                Some(0) => false,
                Some(nc) => !used.contains(&None) && u64::from(nc) + 64 > u64::from(highest),
                None => used.is_empty(),
            };
            if fresh && used.insert(nc) { Fresh } else { Replayed }
        }
    }

    fn table() -> ReplayTable {
        ReplayTable::new(0, b"0123456789abcdef")
    }

    fn admit(table: &ReplayTable, stamp: u64, tag: u64, nc: Option<u32>) -> Admission {
        nc.map_or_else(|| table.admit_once(stamp, tag), |nc| table.admit(stamp, tag, nc))
    }

    /// Nonce counts at the edges of the window, and the form without a count.
    fn nonce_count() -> impl Strategy<Value = Option<u32>> {
        prop_oneof![
            20 => (0u32..200).prop_map(Some),
            4 => (0u32..80).prop_map(|below| Some(u32::MAX - below)),
            1 => any::<u32>().prop_map(Some),
            1 => Just(None),
        ]
    }

    #[test]
    fn each_nonce_count_is_admitted_once() {
        let table = table();
        assert_eq!(table.len(), 0);
        for (nc, expected) in [
            (0, Replayed),
            (1, Fresh),
            (1, Replayed),
            (0xff, Fresh),
            (0x100, Fresh),
            (0xff, Replayed),
            (2, Replayed),
            (0x100 - 63, Fresh),
            (0x100 - 63, Replayed),
            (0x100 - 64, Replayed),
            (0xffff_ff00, Fresh),
            (0x101, Replayed),
            (0xffff_ffff, Fresh),
            (0xffff_fffe, Fresh),
            (0xffff_ffff, Replayed),
            (0xffff_ff00, Replayed),
            (0, Replayed),
        ] {
            assert_eq!(table.would_admit(5, 9, Some(nc)), expected, "{nc:08x} asked");
            assert_eq!(table.admit(5, 9, nc), expected, "{nc:08x}");
        }
        assert_eq!(table.len(), 1);
        assert_eq!(table.admit(5, 8, 1), Fresh, "the tag is part of the name");
    }

    #[test]
    fn without_a_nonce_count_a_nonce_is_admitted_once_in_all() {
        let table = table();
        // Zero is a valid stamp and a valid tag.
        assert_eq!(table.admit_once(0, 0), Fresh);
        assert_eq!(table.admit_once(0, 0), Replayed);
        for nc in [0, 1, 2, u32::MAX - 1, u32::MAX] {
            assert_eq!(table.admit(0, 0, nc), Replayed, "{nc}");
        }
        assert_eq!(table.admit(1, 0, 1), Fresh);
        assert_eq!(table.admit_once(1, 0), Replayed);
        assert_eq!(table.admit(1, 0, 2), Fresh);
    }

    #[test]
    fn no_nonce_with_an_equal_stamp_is_admitted_twice() {
        let mut bucket = Bucket::default();
        let admitted: Vec<u64> =
            (0..20).filter(|tag| bucket.admit(7, *tag, Some(1)) == Fresh).collect();
        assert!(admitted.len() > WAYS);
        assert!((0..20).all(|tag| bucket.admit(7, tag, Some(1)) != Fresh));
        assert_eq!(bucket.admit(8, 0, Some(1)), Fresh);
    }

    #[test]
    fn of_concurrent_uses_of_one_nonce_count_one_is_admitted() {
        let table = table();
        let fresh = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let admitted = (1..=5000).filter(|nc| table.admit(1, 1, *nc) == Fresh);
                    fresh.fetch_add(admitted.count() as u64, Ordering::Relaxed);
                });
            }
        });
        // The first thread to use a count finds it above all others, so each count is admitted.
        assert_eq!(fresh.into_inner(), 5000);
    }

    #[test]
    fn concurrent_overflow_admits_no_nonce_again() {
        let table = table();
        let stamps = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let stamp = stamps.fetch_add(1, Ordering::Relaxed);
                        let _ = table.admit(stamp, 0, 1);
                    }
                });
            }
        });
        assert_eq!(table.len(), table.capacity());
        let answers: Vec<_> =
            (0..16_000).map(|stamp| table.would_admit(stamp, 0, Some(1))).collect();
        let count = |answer| answers.iter().filter(|it| **it == answer).count();
        assert_eq!(count(Replayed), table.capacity(), "those that it holds");
        assert_eq!(count(Forgotten), 16_000 - table.capacity());
        assert_eq!(table.admit(16_000, 0, 1), Fresh);
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle_while_nothing_is_forgotten(
            uses in vec((0u64..8, nonce_count()), 0..300),
        ) {
            let (table, mut oracle) = (table(), Oracle::default());
            for (nonce, nc) in uses {
                let (stamp, tag) = (nonce / 2, nonce % 2);
                let expected = oracle.admit(stamp, tag, nc);
                prop_assert_eq!(table.would_admit(stamp, tag, nc), expected);
                prop_assert_eq!(admit(&table, stamp, tag, nc), expected);
            }
        }

        /// A bucket holds the eight newest nonces that it admitted; its floor is the ninth.
        #[test]
        fn a_bucket_holds_its_eight_newest(uses in vec((0u64..40, nonce_count()), 0..300)) {
            let (mut bucket, mut oracle) = (Bucket::default(), Oracle::default());
            let mut admitted = BTreeMap::new();
            for (stamp, nc) in uses {
                let tag = stamp * 31;
                let newest: Vec<u64> = admitted.keys().rev().copied().collect();
                let held = newest.iter().take(WAYS).any(|held| *held == stamp);
                let forgotten = !held && newest.get(WAYS).is_some_and(|floor| stamp <= *floor);
                let expected = match (forgotten, nc) {
                    (true, Some(0)) => Replayed,
                    (true, _) => Forgotten,
                    (false, _) => oracle.admit(stamp, tag, nc),
                };
                prop_assert_eq!(bucket.admit(stamp, tag, nc), expected);
                if expected == Fresh {
                    admitted.insert(stamp, tag);
                }
            }
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_flood_admits_nothing_twice_and_refuses_no_new_nonce(
            uses in vec((0u64..4000, 0u64..2, proptest::option::weighted(0.9, 1u32..4)), 3000),
        ) {
            let (table, mut admitted, mut newest) = (table(), HashSet::new(), None);
            for (stamp, tag, nc) in uses {
                let asked = table.would_admit(stamp, tag, nc);
                let answer = admit(&table, stamp, tag, nc);
                prop_assert_eq!(asked, answer);
                if Some(stamp) > newest {
                    newest = Some(stamp);
                    prop_assert_eq!(answer, Fresh);
                }
                if answer == Fresh {
                    prop_assert!(admitted.insert((stamp, tag, nc)), "admitted twice");
                }
            }
            for (stamp, tag, nc) in admitted {
                prop_assert_ne!(admit(&table, stamp, tag, nc), Fresh);
            }
            prop_assert_eq!(table.admit(4000, 0, 1), Fresh);
        }
    }
}
