//! A persistent table: entries in slots that do not move, with an index by key.
//!
//! References between records hold the slot number. Following one takes no hashing, and changing an
//! entry leaves all references valid.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU32;

use siphasher::sip::SipHasher13;

use super::array::Array;
use super::index::{Index, fold, random_key};

/// An entry of a table. Its key is unique and never changes.
pub(crate) trait Entry: Clone {
    type Key: Hash + Eq;

    fn key(&self) -> Self::Key;

    /// The hash of a key, given a hasher with the table's random key.
    fn hash(key: &Self::Key, mut hasher: SipHasher13) -> u32 {
        key.hash(&mut hasher);
        fold(hasher.finish())
    }
}

/// Index of an entry in its table, valid until the entry is removed.
pub(crate) struct Slot<E>(NonZeroU32, PhantomData<fn() -> E>);

impl<E> Slot<E> {
    /// None for zero.
    #[inline]
    pub(super) fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(|number| Self(number, PhantomData))
    }

    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.0.get()
    }

    /// A part of the number.
    #[inline]
    pub(crate) fn low_byte(self) -> u8 {
        let [low, ..] = self.0.get().to_le_bytes();
        low
    }
}

// written out, because derives would require the same traits of `E`
impl<E> Clone for Slot<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Slot<E> {}

impl<E> PartialEq for Slot<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<E> Eq for Slot<E> {}

impl<E> Hash for Slot<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<E> fmt::Debug for Slot<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

/// Entries by slot and by key; fewer than 2^32 of them.
#[derive(Clone)]
pub(crate) struct Table<E> {
    entries: Array<E>,
    by_key: Index,
    hash_key: SipHasher13,
    /// Stack of free slots.
    free: Array<u32>,
    free_count: u32,
    /// Number of slots ever used.
    used: u32,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self {
            entries: Array::default(),
            by_key: Index::default(),
            hash_key: random_key(),
            free: Array::default(),
            free_count: 0,
            used: 0,
        }
    }
}

impl<E: Entry> Table<E> {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    #[inline]
    pub(crate) fn at(&self, slot: Slot<E>) -> Option<&E> {
        self.entries.get(slot.number())
    }

    pub(crate) fn slot(&self, key: &E::Key) -> Option<Slot<E>> {
        self.by_key.find(self.hash(key), |number| {
            let is_it = self.entries.get(number).is_some_and(|entry| entry.key() == *key);
            Slot::new(number).filter(|_| is_it)
        })
    }

    pub(crate) fn get(&self, key: &E::Key) -> Option<&E> {
        self.at(self.slot(key)?)
    }

    /// The entry with this key and true, or another entry and false; none if the table is empty.
    pub(crate) fn get_or_near(&self, key: &E::Key) -> Option<(&E, bool)> {
        self.by_key.find_or_near(self.hash(key), |number| {
            let entry = self.entries.get(number)?;
            Some((entry, entry.key() == *key))
        })
    }

    /// The index of the entries and the hasher that [`Entry::hash`] gets, for lookups of many keys.
    pub(super) fn index(&self) -> (&Index, SipHasher13) {
        (&self.by_key, self.hash_key)
    }

    /// The entry that the index has under this number.
    #[inline]
    pub(super) fn numbered(&self, number: u32) -> Option<&E> {
        self.entries.get(number)
    }

    /// All entries, in no particular order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &E> {
        self.entries.values()
    }

    /// Adds an entry, or replaces the one with the same key.
    pub(crate) fn put(&mut self, entry: E) -> Option<Slot<E>> {
        let key = entry.key();
        let slot = match self.slot(&key) {
            Some(slot) => slot,
            None => {
                let slot = self.free_slot()?;
                self.by_key.insert(self.hash(&key), slot.number());
                slot
            }
        };
        self.entries.set(slot.number(), entry);
        Some(slot)
    }

    /// Removes an entry and frees its slot for reuse.
    pub(crate) fn remove(&mut self, key: &E::Key) -> Option<E> {
        let slot = self.slot(key)?;
        self.by_key.remove(self.hash(key), slot.number());
        self.free.set(self.free_count, slot.number());
        self.free_count += 1;
        self.entries.take(slot.number())
    }

    /// Changes an entry in place. Clones of the table are not affected.
    pub(crate) fn change<R>(
        &mut self,
        slot: Slot<E>,
        change: impl FnOnce(&mut E) -> R,
    ) -> Option<R> {
        self.entries.change(slot.number(), change)
    }

    fn free_slot(&mut self) -> Option<Slot<E>> {
        if let Some(last) = self.free_count.checked_sub(1) {
            self.free_count = last;
            return Slot::new(self.free.take(last)?);
        }
        self.used = self.used.checked_add(1)?;
        Slot::new(self.used)
    }

    fn hash(&self, key: &E::Key) -> u32 {
        E::hash(key, self.hash_key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Pair(u16, u8);

    impl Entry for Pair {
        type Key = u16;

        fn key(&self) -> u16 {
            self.0
        }
    }

    #[test]
    fn changes_do_not_affect_clones() {
        let mut table = Table::default();
        let slots: Vec<_> = (0..10_000).map(|n| table.put(Pair(n, 1)).unwrap()).collect();
        let before = table.clone();
        for n in 0..5_000 {
            assert_eq!(table.remove(&n), Some(Pair(n, 1)));
            assert!(table.put(Pair(n + 5_000, 0)).is_some());
        }
        assert_eq!((before.len(), table.len()), (10_000, 5_000));
        assert!((0..10_000).all(|n| before.get(&n) == Some(&Pair(n, 1))));
        assert_eq!(table.values().filter(|pair| pair.1 == 0).count(), 5_000);
        // remaining entries keep their slots, and freed slots are reused
        assert!((5_000..10_000).all(|n| table.slot(&n) == slots.get(usize::from(n)).copied()));
        assert!((0..5_000).all(|n| table.put(Pair(n, 2)).is_some()));
        assert_eq!((table.len(), table.used), (10_000, 10_000));
    }

    proptest! {
        #[test]
        fn does_what_a_hash_map_does(
            steps in prop::collection::vec((0..8_u8, 0_u16..300, any::<u8>()), 0..2_000)
        ) {
            let mut table = Table::<Pair>::default();
            let mut oracle = HashMap::new();
            let mut kept = Vec::new();
            for (n, (step, key, value)) in steps.into_iter().enumerate() {
                if n % 300 == 299 {
                    kept.push((table.clone(), oracle.clone()));
                }
                match step {
                    0..=2 => {
                        prop_assert_eq!(table.remove(&key).map(|p| p.1), oracle.remove(&key));
                    }
                    3 => {
                        let slot = table.slot(&key);
                        let changed = slot.and_then(|slot| table.change(slot, |p| p.1 = value));
                        prop_assert_eq!(changed, oracle.get_mut(&key).map(|p| *p = value));
                    }
                    _ => {
                        prop_assert!(table.put(Pair(key, value)).is_some());
                        oracle.insert(key, value);
                    }
                }
                prop_assert_eq!(table.len(), oracle.len());
                match (table.get_or_near(&key), oracle.get(&key)) {
                    (near, Some(value)) => prop_assert_eq!(near, Some((&Pair(key, *value), true))),
                    (Some((near, is_hit)), None) => {
                        prop_assert!(!is_hit && oracle.get(&near.0) == Some(&near.1));
                    }
                    (None, None) => {}
                }
            }
            kept.push((table, oracle));
            for (table, oracle) in kept {
                for key in 0..300 {
                    prop_assert_eq!(table.get(&key).map(|pair| pair.1), oracle.get(&key).copied());
                }
                let mut values: Vec<_> = table.values().map(|pair| (pair.0, pair.1)).collect();
                values.sort_unstable();
                let mut expected: Vec<_> = oracle.into_iter().collect();
                expected.sort_unstable();
                prop_assert_eq!(values, expected);
            }
        }
    }
}
