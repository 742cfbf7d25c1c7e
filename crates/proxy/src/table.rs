//! A table of fixed size from message authentication codes to small values.
//!
//! The buckets of a shard share a lock, which is held for one probe of one bucket. In a full bucket the
//! oldest entry is replaced. The memory is allocated once.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::keys::Mac;

/// Number of entries in a bucket.
const WAYS: usize = 8;
/// Maximum number of shards.
const MAX_SHARDS: usize = 64;

/// A table of fixed size.
pub(crate) struct Table<V> {
    shards: Box<[Mutex<Shard<V>>]>,
}

type Shard<V> = Box<[Bucket<V>]>;
type Bucket<V> = [Option<Entry<V>>; WAYS];

#[derive(Clone, Copy)]
struct Entry<V> {
    key: Mac,
    /// The time and one, so that an empty slot takes no more space.
    time: NonZeroU32,
    value: V,
}

impl<V: Copy> Table<V> {
    /// Creates a table of at least this many entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(WAYS).max(1);
        let shards = buckets.min(MAX_SHARDS);
        let shard = || Mutex::new(vec![[None; WAYS]; buckets.div_ceil(shards)].into_boxed_slice());
        Self { shards: std::iter::repeat_with(shard).take(shards).collect() }
    }

    /// Sets the value and the time of a key. Replaces the oldest entry of a full bucket.
    pub(crate) fn put(&self, key: Mac, value: V, time: u32) {
        let Some((mut shard, at)) = self.lock(&key) else { return };
        let Some(bucket) = shard.get_mut(at) else { return };
        let is_key = |slot: &Option<Entry<V>>| slot.is_some_and(|entry| entry.key == key);
        let found = bucket.iter().position(is_key);
        // an empty slot is older than all entries
        let age = |(_, slot): &(usize, &Option<Entry<V>>)| slot.map(|entry| entry.time);
        let oldest = || bucket.iter().enumerate().min_by_key(age).map(|(at, _)| at);
        if let Some(slot) = found.or_else(oldest).and_then(|at| bucket.get_mut(at)) {
            *slot = Some(Entry { key, time: NonZeroU32::MIN.saturating_add(time), value });
        }
    }

    /// The value and the time of a key.
    pub(crate) fn get(&self, key: &Mac) -> Option<(V, u32)> {
        let (shard, at) = self.lock(key)?;
        let entry = shard.get(at)?.iter().flatten().find(|entry| entry.key == *key)?;
        Some((entry.value, entry.time.get() - 1))
    }

    /// Locks the shard of a key, and finds the index of its bucket. The codes are under a secret key, so
    /// a stranger cannot fill a bucket of his choice.
    fn lock(&self, key: &Mac) -> Option<(MutexGuard<'_, Shard<V>>, usize)> {
        let [shard, bucket] = [0, 8].map(|from| {
            let word = key.get(from..).and_then(|bytes| bytes.first_chunk().copied());
            word.map(u64::from_le_bytes).unwrap_or_default()
        });
        let shard = self.shards.get(index(shard, self.shards.len())?)?;
        // an entry is copied as a whole, so a panic elsewhere leaves none half written
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = index(bucket, shard.len())?;
        Some((shard, bucket))
    }
}

/// The index below `len` for a uniform number. None if `len` is zero.
fn index(number: u64, len: usize) -> Option<usize> {
    usize::try_from(number.checked_rem(u64::try_from(len).ok()?)?).ok()
}

#[cfg(test)]
pub(crate) const fn entry_size<V>() -> usize {
    size_of::<Option<Entry<V>>>()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// A key whose bucket is that of `place`.
    fn key(number: u8, place: u8) -> Mac {
        let mut key = Mac::default();
        (key[0], key[8], key[15]) = (place, place, number);
        key
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(Mac, u16),
        Get(Mac),
    }

    fn steps(keys: impl Strategy<Value = Mac> + Clone) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (keys.clone(), any::<u16>()).prop_map(|(key, value)| Step::Put(key, value)),
            keys.prop_map(Step::Get),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn a_table_without_full_buckets_is_a_map(
            // each of 64 shards has at most eight of the keys
            capacity in 2_000_usize..3_000,
            steps in steps((0..8_u8, 0..64_u8).prop_map(|(number, place)| key(number, place))),
        ) {
            let (table, mut map) = (Table::new(capacity), HashMap::new());
            for (time, step) in (0..).zip(steps) {
                match step {
                    Step::Put(key, value) => {
                        table.put(key, value, time);
                        map.insert(key, (value, time));
                    }
                    Step::Get(key) => prop_assert_eq!(table.get(&key), map.get(&key).copied()),
                }
            }
        }

        #[test]
        fn a_full_bucket_keeps_the_newest(
            capacity in 0..=8_usize,
            steps in steps((0..20_u8, any::<u8>()).prop_map(|(number, place)| key(number, place))),
        ) {
            // the newest last
            let (table, mut list) = (Table::new(capacity), Vec::<(Mac, u16, u32)>::new());
            for (time, step) in (0..).zip(steps) {
                match step {
                    Step::Put(key, value) => {
                        table.put(key, value, time);
                        list.retain(|entry| entry.0 != key);
                        list.push((key, value, time));
                        list.drain(..list.len().saturating_sub(WAYS));
                    }
                    Step::Get(key) => {
                        let expected = list.iter().find(|entry| entry.0 == key);
                        prop_assert_eq!(table.get(&key), expected.map(|entry| (entry.1, entry.2)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_table_has_its_capacity() {
        for capacity in [0, 1, 8, 9, 511, 512, 513, 100_000] {
            let table = Table::<u8>::new(capacity);
            let slots: usize =
                table.shards.iter().map(|shard| shard.lock().unwrap().len() * WAYS).sum();
            assert!(
                (capacity..capacity + MAX_SHARDS * WAYS).contains(&slots),
                "{capacity}: {slots}"
            );
        }
    }

    #[test]
    fn the_end_of_time_is_a_time() {
        let table = Table::new(8);
        table.put(key(0, 0), 1, u32::MAX);
        assert_eq!(table.get(&key(0, 0)), Some((1, u32::MAX - 1)));
    }

    #[test]
    fn a_poisoned_lock_is_still_used() {
        let table = Table::new(1);
        table.put(key(0, 0), 1, 0);
        std::thread::scope(|scope| {
            let poison = || {
                let _guard = table.shards[0].lock().unwrap();
                panic!("poisons the lock");
            };
            assert!(scope.spawn(poison).join().is_err());
        });
        assert!(table.shards[0].is_poisoned());
        assert_eq!(table.get(&key(0, 0)), Some((1, 0)));
        table.put(key(1, 0), 2, 0);
        assert_eq!(table.get(&key(1, 0)), Some((2, 0)));
    }
}
