//! The holders of the slots of a ring, ranked by the number of their records.

use std::collections::HashMap;
use std::collections::TryReserveError;
use std::hash::Hash;

/// The end of a chain of slots.
pub(super) const NONE: u32 = u32::MAX;

/// A holder of slots, which form a chain from the oldest record to the newest.
struct Holder<K> {
    key: K,
    count: u32,
    /// Its index in [`Holders::ranked`].
    rank: u32,
    oldest: u32,
    newest: u32,
}

/// All holders. Each operation takes constant time and, within the capacity, allocates nothing.
pub(super) struct Holders<K> {
    numbers: HashMap<K, u32>,
    all: Vec<Holder<K>>,
    /// The numbers of the holders, those with the most records first. Holders without records stay at the
    /// end, until another one takes the number.
    ranked: Vec<u32>,
    /// For each count, the number of holders with more records. So the holders with equal counts stand in
    /// `ranked` between two of these numbers.
    above: Vec<u32>,
}

impl<K: Copy + Eq + Hash> Holders<K> {
    /// Holders of up to `slots` slots.
    pub(super) fn new(slots: usize) -> Result<Self, TryReserveError> {
        let (mut numbers, mut all, mut ranked) = (HashMap::new(), Vec::new(), Vec::new());
        numbers.try_reserve(slots)?;
        all.try_reserve_exact(slots)?;
        ranked.try_reserve_exact(slots)?;
        Ok(Self { numbers, all, ranked, above: vec![0; slots.saturating_add(1)] })
    }

    pub(super) fn find(&self, key: &K) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    pub(super) fn key(&self, number: u32) -> Option<&K> {
        self.get(number).map(|holder| &holder.key)
    }

    /// The holder with the most records: `preferred`, if no other one has more.
    pub(super) fn largest(&self, preferred: Option<u32>) -> Option<u32> {
        let first = self.ranked.first().copied();
        let count = |number: Option<u32>| {
            number.and_then(|number| self.get(number)).map_or(0, |holder| holder.count)
        };
        if count(preferred) >= count(first) { preferred.or(first) } else { first }
    }

    /// Adds a holder that [`Self::find`] does not find. There must be fewer records than slots.
    pub(super) fn add(&mut self, key: K) -> u32 {
        let holding = self.above.first().copied().unwrap_or_default();
        let idle = self.ranked.get(holding as usize).copied();
        let number = match idle.and_then(|number| Some((number, self.get_mut(number)?))) {
            Some((number, holder)) => {
                let former = std::mem::replace(&mut holder.key, key);
                self.numbers.remove(&former);
                number
            }
            None => {
                // there are as many ranks as holders, and fewer than slots
                let number = u32::try_from(self.all.len()).unwrap_or(NONE);
                let (oldest, newest) = (NONE, NONE);
                self.all.push(Holder { key, count: 0, rank: number, oldest, newest });
                self.ranked.push(number);
                number
            }
        };
        self.numbers.insert(key, number);
        number
    }

    /// Appends a slot to the chain of a holder. Returns the slot that was the newest one.
    pub(super) fn append(&mut self, number: u32, slot: u32) -> Option<u32> {
        let holder = self.get_mut(number)?;
        let (count, before) = (holder.count, holder.newest);
        holder.newest = slot;
        if count == 0 {
            holder.oldest = slot;
        }
        // the first one of those with this count
        let above = self.above.get_mut(count as usize)?;
        let rank = *above;
        *above += 1;
        self.move_to(number, rank);
        self.get_mut(number)?.count = count + 1;
        (count > 0).then_some(before)
    }

    /// Removes the oldest slot from the chain of a holder. `next` is the slot that follows a slot.
    pub(super) fn remove_oldest(
        &mut self,
        number: u32,
        next: impl FnOnce(u32) -> u32,
    ) -> Option<u32> {
        let holder = self.get_mut(number)?;
        let (count, oldest) = (holder.count, holder.oldest);
        let fewer = count.checked_sub(1)?;
        holder.oldest = next(oldest);
        // the last one of those with this count
        let above = self.above.get_mut(fewer as usize)?;
        *above = above.checked_sub(1)?;
        let rank = *above;
        self.move_to(number, rank);
        self.get_mut(number)?.count = fewer;
        Some(oldest)
    }

    /// Exchanges the ranks of a holder and of the one with this rank.
    fn move_to(&mut self, number: u32, rank: u32) {
        let Some(former) = self.get(number).map(|holder| holder.rank) else { return };
        if former == rank {
            return;
        }
        self.ranked.swap(former as usize, rank as usize);
        if let Some(other) = self.ranked.get(former as usize).copied()
            && let Some(other) = self.get_mut(other)
        {
            other.rank = former;
        }
        if let Some(holder) = self.get_mut(number) {
            holder.rank = rank;
        }
    }

    fn get(&self, number: u32) -> Option<&Holder<K>> {
        self.all.get(number as usize)
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Holder<K>> {
        self.all.get_mut(number as usize)
    }
}
