//! A bounded ring of records, whose holders share its slots fairly.
//!
//! In a full ring, a new record replaces the oldest record of the holder with the most records. So a
//! holder with fewer records than its share, the slots divided by the number of holders, loses none.

use std::collections::TryReserveError;
use std::hash::Hash;
use std::ops::Range;

use super::holders::{Holders, NONE};

/// Set in [`Ring::order`] if the record is gone; the other bits are the number of its holder.
const GONE: u32 = 1 << 31;

/// Records of type `T`, each of a holder that `K` names. All memory is reserved at the start, and used as
/// the ring fills.
pub(super) struct Ring<K, T> {
    capacity: usize,
    /// The sequence number of the next record.
    next: u64,
    slots: Vec<T>,
    /// Facts of the slot of the same index.
    marks: Vec<Mark>,
    /// The slot of each of the last `capacity` records, at the index of its sequence number modulo the
    /// capacity.
    order: Vec<u32>,
    holders: Holders<K>,
}

#[derive(Clone, Copy)]
struct Mark {
    sequence: u64,
    /// The slot of the next record of this holder.
    newer: u32,
}

/// The record of a sequence number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'r, K, T> {
    Kept(&'r T),
    /// It was replaced. Its holder, if it is still known; a holder without records can be another one
    /// by now.
    Gone(Option<&'r K>),
}

impl<K: Copy + Eq + Hash, T> Ring<K, T> {
    /// A ring of `capacity` records; one without capacity keeps none.
    pub(super) fn new(capacity: usize) -> Result<Self, TryReserveError> {
        let capacity = capacity.min(GONE as usize);
        let (mut slots, mut marks) = (Vec::new(), Vec::new());
        slots.try_reserve_exact(capacity)?;
        marks.try_reserve_exact(capacity)?;
        let (order, holders) = (vec![0; capacity], Holders::new(capacity)?);
        Ok(Self { capacity, next: 0, slots, marks, order, holders })
    }

    /// Keeps a record of this holder.
    pub(super) fn push(&mut self, key: K, record: T) {
        let sequence = self.next;
        self.next += 1;
        if self.capacity == 0 {
            return;
        }
        let known = self.holders.find(&key);
        let freed = if self.slots.len() < self.capacity { None } else { self.evict(known) };
        let holder = known.unwrap_or_else(|| self.holders.add(key));
        let mark = Mark { sequence, newer: NONE };
        let slot = match freed {
            Some(slot) => {
                let at = slot as usize;
                if let (Some(place), Some(old)) = (self.slots.get_mut(at), self.marks.get_mut(at)) {
                    (*place, *old) = (record, mark);
                }
                slot
            }
            None => {
                self.slots.push(record);
                self.marks.push(mark);
                // the capacity is below the largest number
                u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
            }
        };
        if let Some(before) = self.holders.append(holder, slot)
            && let Some(before) = self.marks.get_mut(before as usize)
        {
            before.newer = slot;
        }
        self.note(sequence, slot);
    }

    /// Frees a slot for a record of the holder `pushing`.
    fn evict(&mut self, pushing: Option<u32>) -> Option<u32> {
        let victim = self.holders.largest(pushing)?;
        let marks = &self.marks;
        let next = |slot: u32| marks.get(slot as usize).map_or(NONE, |mark| mark.newer);
        let slot = self.holders.remove_oldest(victim, next)?;
        let sequence = self.marks.get(slot as usize)?.sequence;
        if self.next - sequence <= self.capacity as u64 {
            self.note(sequence, GONE | victim);
        }
        Some(slot)
    }

    fn note(&mut self, sequence: u64, slot: u32) {
        if let Some(at) = self.order_index(sequence)
            && let Some(entry) = self.order.get_mut(at)
        {
            *entry = slot;
        }
    }

    fn order_index(&self, sequence: u64) -> Option<usize> {
        usize::try_from(sequence.checked_rem(self.capacity as u64)?).ok()
    }

    /// The sequence number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first sequence number whose [`Self::entry`] is known.
    pub(super) fn first_known(&self) -> u64 {
        self.next.saturating_sub(self.capacity as u64)
    }

    /// The record of a sequence number from [`Self::first_known`] to [`Self::next`].
    pub(super) fn entry(&self, sequence: u64) -> Entry<'_, K, T> {
        let entry = self.order_index(sequence).and_then(|at| self.order.get(at));
        match entry {
            Some(entry) if entry & GONE != 0 => Entry::Gone(self.holders.key(entry & !GONE)),
            Some(slot) => self.at(*slot as usize, sequence).map_or(Entry::Gone(None), Entry::Kept),
            None => Entry::Gone(None),
        }
    }

    /// The number of slots in use.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The record in a slot, if it has this sequence number.
    pub(super) fn at(&self, slot: usize, sequence: u64) -> Option<&T> {
        let mark = self.marks.get(slot)?;
        self.slots.get(slot).filter(|_| mark.sequence == sequence)
    }

    /// The records in a range of slots with their slots and sequence numbers, in no order.
    pub(super) fn slots(&self, range: Range<usize>) -> impl Iterator<Item = (usize, u64, &T)> {
        let start = range.start.min(self.len());
        let end = range.end.clamp(start, self.len());
        let (slots, marks) = (self.slots.get(start..end), self.marks.get(start..end));
        let both = slots.unwrap_or_default().iter().zip(marks.unwrap_or_default());
        (start..).zip(both).map(|(slot, (record, mark))| (slot, mark.sequence, record))
    }

    /// The records in a range of slots, to change them in place.
    pub(super) fn slots_mut(&mut self, range: Range<usize>) -> impl Iterator<Item = &mut T> {
        let start = range.start.min(self.len());
        let end = range.end.clamp(start, self.len());
        self.slots.get_mut(start..end).unwrap_or_default().iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The plain model: records in the order of their sequence numbers.
    #[derive(Default)]
    struct Model {
        capacity: usize,
        next: u64,
        kept: Vec<(u64, u8)>,
    }

    impl Model {
        fn counts(&self) -> BTreeMap<u8, usize> {
            let mut counts = BTreeMap::new();
            self.kept.iter().for_each(|(_, key)| *counts.entry(*key).or_default() += 1);
            counts
        }

        /// Keeps a record; returns the holders that may lose one for it.
        fn push(&mut self, key: u8) -> Vec<u8> {
            let counts = self.counts();
            let most = counts.values().max().copied().unwrap_or_default();
            let may_lose = if self.kept.len() < self.capacity {
                Vec::new()
            } else if counts.get(&key) == Some(&most) {
                vec![key]
            } else {
                counts.iter().filter(|(_, count)| **count == most).map(|(key, _)| *key).collect()
            };
            self.kept.push((self.next, key));
            self.next += 1;
            may_lose
        }
    }

    fn kept(ring: &Ring<u8, u8>) -> Vec<(u64, u8)> {
        let mut kept: Vec<_> =
            ring.slots(0..usize::MAX).map(|(_, sequence, key)| (sequence, *key)).collect();
        kept.sort_unstable();
        kept
    }

    proptest! {
        #[test]
        fn a_ring_keeps_what_the_plain_model_keeps(
            capacity in 1..40_usize,
            // some holders are noisier than others
            keys in prop::collection::vec(prop_oneof![8 => Just(0_u8), 4 => 1..4_u8, 3 => 4..60_u8], 0..400),
        ) {
            let mut ring = Ring::new(capacity).unwrap();
            let mut model = Model { capacity, ..Model::default() };
            for key in keys {
                let may_lose = model.push(key);
                ring.push(key, key);
                let kept = kept(&ring);
                // the model does not say which of equal holders loses; the ring chooses, the model follows
                let lost: Vec<_> =
                    model.kept.iter().filter(|entry| !kept.contains(entry)).copied().collect();
                prop_assert_eq!(lost.len(), usize::from(!may_lose.is_empty()));
                for (sequence, key) in lost {
                    prop_assert!(may_lose.contains(&key));
                    let oldest = model.kept.iter().find(|(_, other)| *other == key);
                    prop_assert_eq!(oldest, Some(&(sequence, key)));
                    model.kept.retain(|(other, _)| *other != sequence);
                }
                prop_assert_eq!(&kept, &model.kept);
                prop_assert!(kept.len() <= capacity);
                prop_assert_eq!(ring.next(), model.next);
                for sequence in ring.first_known()..ring.next() {
                    let known = model.kept.iter().find(|(other, _)| *other == sequence);
                    match (ring.entry(sequence), known) {
                        (Entry::Kept(key), Some((_, expected))) => prop_assert_eq!(key, expected),
                        (Entry::Gone(holder), None) => prop_assert!(holder.is_some()),
                        (entry, known) => prop_assert!(false, "{entry:?} {known:?}"),
                    }
                }
            }
        }

        #[test]
        fn a_holder_under_its_share_loses_nothing(
            quiet in prop::collection::vec(0..5_usize, 1..6),
            noise in 100..2_000_usize,
            position in 0..100_usize,
        ) {
            let holders = quiet.len() + 1;
            let share = 5;
            let mut ring = Ring::new(share * holders).unwrap();
            let noisy = |ring: &mut Ring<u8, u8>, count| (0..count).for_each(|_| ring.push(0, 0));
            noisy(&mut ring, noise * position / 100);
            for (key, count) in (1..).zip(&quiet) {
                (0..*count).for_each(|_| ring.push(key, key));
            }
            noisy(&mut ring, noise - noise * position / 100);
            let kept = kept(&ring);
            for (key, count) in (1..).zip(&quiet) {
                prop_assert_eq!(kept.iter().filter(|(_, other)| *other == key).count(), *count);
            }
            // the noisy one has the rest, and its newest records
            let rest = share * holders - quiet.iter().sum::<usize>();
            let own: Vec<_> = kept.iter().filter(|(_, key)| *key == 0).collect();
            prop_assert_eq!(own.len(), rest.min(noise));
        }
    }

    #[test]
    fn a_ring_without_capacity_keeps_nothing() {
        let mut ring = Ring::new(0).unwrap();
        ring.push(1_u8, 1_u8);
        assert_eq!((ring.next(), ring.first_known(), ring.len()), (1, 1, 0));
        assert_eq!(ring.entry(0), Entry::Gone(None));
    }

    #[test]
    fn more_holders_than_slots_replace_each_other() {
        let mut ring = Ring::new(3).unwrap();
        for key in 0..=u8::MAX {
            ring.push(key, key);
        }
        let kept = kept(&ring);
        assert_eq!(kept.len(), 3);
        assert!(kept.contains(&(255, 255)));
        ring.slots_mut(0..10).for_each(|key| *key = 7);
        assert_eq!(ring.slots(1..9).map(|(.., key)| *key).collect::<Vec<_>>(), [7, 7]);
        let (slot, sequence, _) = ring.slots(2..3).next().unwrap();
        assert_eq!((ring.at(slot, sequence), ring.at(slot, sequence + 9)), (Some(&7), None));
    }
}
