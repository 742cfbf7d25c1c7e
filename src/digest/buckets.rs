//! The common base of the replay, retransmission and guess tables: fixed memory under many short
//! locks. A keyed hash selects a bucket of eight entries. If it is full, a new entry replaces the
//! one with the lowest rank.

use std::mem;

use arrayvec::ArrayVec;

use super::sync::{Mutex, MutexGuard, PoisonError, prefetch};

/// Entries in a bucket.
pub(super) const WAYS: usize = 8;

/// The minimum number of buckets, so that two threads seldom wait for the same lock.
const MIN_BUCKETS: usize = 64;

/// The maximum number of buckets, about 134 million entries in all.
const MAX_BUCKETS: usize = 1 << 24;

/// An entry of a bucket, found by its id.
pub(super) trait Entry {
    /// The type of the id.
    type Id: PartialEq;

    /// The id of this entry.
    fn id(&self) -> Self::Id;
}

/// The account with the most of the places that `held` names, if `newcomer` takes one more. Of equals,
/// the newcomer.
pub(super) fn largest_account<A: PartialEq + Copy, I: Iterator<Item = A>>(
    held: impl Fn() -> I,
    newcomer: A,
) -> A {
    let places =
        |account: A| held().filter(|it| *it == account).count() + usize::from(account == newcomer);
    held().fold(newcomer, |most, it| if places(it) > places(most) { it } else { most })
}

/// The entries of one bucket.
pub(super) struct Ways<E>(ArrayVec<E, WAYS>);

impl<E> Default for Ways<E> {
    fn default() -> Self {
        Self(ArrayVec::new())
    }
}

impl<E: Entry> Ways<E> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.is_full()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.0.iter()
    }

    pub(super) fn find(&self, id: &E::Id) -> Option<&E> {
        self.0.iter().find(|held| held.id() == *id)
    }

    pub(super) fn find_mut(&mut self, id: &E::Id) -> Option<&mut E> {
        self.0.iter_mut().find(|held| held.id() == *id)
    }

    /// The rank of the entry that the next new one replaces; `None` if a place is free.
    pub(super) fn next_out(&self, rank: impl Fn(&E) -> u64) -> Option<u64> {
        if self.0.is_full() { self.0.iter().map(rank).min() } else { None }
    }

    /// Stores `entry`: replaces the entry with the same id, else takes a free place, else replaces
    /// the entry with the lowest rank. Returns an entry that it evicted by rank.
    pub(super) fn put(&mut self, entry: E, rank: impl Fn(&E) -> u64) -> Option<E> {
        let id = entry.id();
        if let Some(held) = self.0.iter_mut().find(|held| held.id() == id) {
            *held = entry;
            return None;
        }
        self.add(entry, rank)
    }

    /// Stores `entry`, whose id no entry has: takes a free place, else replaces the entry with the
    /// lowest rank, which it returns.
    pub(super) fn add(&mut self, entry: E, rank: impl Fn(&E) -> u64) -> Option<E> {
        let full = self.0.try_push(entry).err()?;
        let lowest = self.0.iter_mut().min_by_key(|held| rank(held))?;
        Some(mem::replace(lowest, full.element()))
    }
}

/// A power of two of buckets, each with its own lock. `new` allocates all of them.
pub(super) struct Buckets<B> {
    /// All buckets but the last, which is a separate field so that selecting one cannot fail.
    others: Box<[Mutex<B>]>,
    last: Mutex<B>,
}

impl<B: Default> Buckets<B> {
    /// Creates buckets for at least `entries` entries, between `MIN_BUCKETS` and `MAX_BUCKETS`.
    pub(super) fn new(entries: usize) -> Self {
        let others = (1..bucket_count(entries)).map(|_| Mutex::default()).collect();
        Self { others, last: Mutex::default() }
    }
}

impl<B> Buckets<B> {
    /// The number of places for entries.
    pub(super) fn capacity(&self) -> usize {
        (self.others.len() + 1) * WAYS
    }

    /// Locks the bucket of a keyed hash, selected by its low bits.
    pub(super) fn lock(&self, hash: u128) -> MutexGuard<'_, B> {
        take(self.bucket(hash))
    }

    /// Prefetches the bucket's cache lines. The tables are larger than the CPU caches, so without
    /// it most decisions would wait for memory.
    pub(super) fn prefetch(&self, hash: u128) {
        prefetch(self.bucket(hash));
    }

    /// The number of the bucket of a hash.
    #[inline]
    pub(super) fn number(&self, hash: u128) -> usize {
        // The count is a power of two and `others` has one bucket less: its length is the mask.
        let number = hash & self.others.len() as u128;
        usize::try_from(number).unwrap_or_default()
    }

    #[inline]
    fn bucket(&self, hash: u128) -> &Mutex<B> {
        self.others.get(self.number(hash)).unwrap_or(&self.last)
    }

    /// Locks every bucket in turn, one at a time.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, B>> {
        self.others.iter().chain([&self.last]).map(take)
    }
}

fn bucket_count(entries: usize) -> usize {
    entries.div_ceil(WAYS).clamp(MIN_BUCKETS, MAX_BUCKETS).next_power_of_two()
}

/// Locks a bucket and ignores poisoning. The code that changes a bucket cannot panic. Only a
/// caller's closure can, and it runs before any change, so the bucket is always consistent.
fn take<B>(bucket: &Mutex<B>) -> MutexGuard<'_, B> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Pair(u8, u64);

    impl Entry for Pair {
        type Id = u8;

        fn id(&self) -> u8 {
            self.0
        }
    }

    #[test]
    fn bucket_counts_are_powers_of_two_within_bounds() {
        for (entries, capacity) in [(0, 512), (1, 512), (512, 512), (513, 1024), (5000, 8192)] {
            let buckets = Buckets::<u8>::new(entries);
            assert_eq!(buckets.capacity(), capacity, "{entries} entries");
            assert_eq!(buckets.each().count() * WAYS, capacity, "{entries} entries");
        }
        // A request beyond any memory is limited instead of overflowing.
        assert_eq!(bucket_count(usize::MAX), MAX_BUCKETS);
    }

    #[test]
    fn each_hash_selects_one_bucket() {
        let buckets = Buckets::<u128>::new(1000);
        for hash in (0..1280).chain([u128::MAX]) {
            *buckets.lock(hash) += 1;
        }
        let counts: Vec<_> = buckets.each().map(|bucket| *bucket).collect();
        assert_eq!(counts.len(), 128);
        assert!(counts[..127].iter().all(|count| *count == 10), "{counts:?}");
        assert_eq!(counts[127], 11);
    }

    #[test]
    fn a_poisoned_bucket_stays_usable() {
        let buckets = Buckets::<u8>::new(0);
        *buckets.lock(7) = 5;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _held = buckets.lock(7);
            panic!("while holding the lock");
        }));
        assert!(outcome.is_err());
        assert_eq!(*buckets.lock(7), 5);
    }

    proptest! {
        #[test]
        fn ways_agree_with_a_sorted_list(
            pairs in proptest::collection::vec((0u8..24, 0u64..1000), 0..200),
        ) {
            let mut ways = Ways::default();
            let mut list: Vec<Pair> = Vec::new();
            for (number, (id, rank)) in pairs.into_iter().enumerate() {
                // Unique ranks, so that exactly one is the lowest.
                let pair = Pair(id, rank * 1000 + number as u64);
                list.sort_by_key(|held| held.1);
                prop_assert_eq!(ways.next_out(|held: &Pair| held.1), list.get(WAYS - 1).map(|_| list[0].1));
                let before = list.len();
                list.retain(|held| held.0 != id);
                let dropped = (list.len() == WAYS && before == WAYS).then(|| list.remove(0));
                list.push(pair);
                prop_assert_eq!(ways.put(pair, |held| held.1), dropped);
                prop_assert_eq!(ways.len(), list.len());
                for id in 0..24 {
                    let held = list.iter().find(|held| held.0 == id);
                    prop_assert_eq!(ways.find(&id), held);
                }
            }
        }
    }
}
