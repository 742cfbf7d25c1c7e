//! Sources whose guess counters were evicted, and until when they owe tokens; in fixed memory.

use std::sync::atomic::{AtomicU64, Ordering};

/// Cells of a set.
const WAYS: usize = 4;
/// The low half of a cell is a time in seconds, the high half a part of the source's id.
const HALF: u32 = 32;

/// A time for each evicted source. A source has four cells; a new source takes the cell with the
/// earliest time, which is forgotten.
///
/// Two sources are taken for one with a probability of 2^-30. Each change is one atomic exchange,
/// so no time is lost to another thread.
pub(super) struct Evicted {
    sets: Box<[[AtomicU64; WAYS]]>,
}

impl Evicted {
    /// Creates a table for at least `entries` sources. Allocates all memory here, eight bytes for
    /// each.
    pub(super) fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).max(1).next_power_of_two();
        let sets: Box<[[AtomicU64; WAYS]]> = (0..sets).map(|_| Default::default()).collect();
        // the system hands out a page when it is first written: now, and not during a flood
        sets.iter().flatten().for_each(|cell| cell.store(0, Ordering::Relaxed));
        Self { sets }
    }

    /// Records that the source owes tokens until `until_ms`, unless a later time is known.
    pub(super) fn put(&self, id: u128, until_ms: u64) {
        let Some(set) = self.set(id) else { return };
        let seconds = until_ms.div_ceil(1_000).min(u64::from(u32::MAX));
        loop {
            let cells = set.each_ref().map(|cell| cell.load(Ordering::Acquire));
            let held = cells.iter().position(|cell| cell >> HALF == tag(id));
            let earliest = || {
                let times = cells.iter().enumerate();
                times.min_by_key(|(_, cell)| time(**cell)).map_or(0, |(at, _)| at)
            };
            let at = held.unwrap_or_else(earliest);
            let (Some(cell), Some(old)) = (set.get(at), cells.get(at).copied()) else { return };
            if held.is_some() && time(old) >= seconds {
                return;
            }
            let new = tag(id) << HALF | seconds;
            // another thread may have changed the cell; each failure is another's success
            if cell.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    /// The time until which the source owes tokens; 0 if it was not evicted or is forgotten.
    pub(super) fn until_ms(&self, id: u128) -> u64 {
        let cells = self.set(id).into_iter().flatten();
        let held = cells.map(|cell| cell.load(Ordering::Acquire));
        held.filter(|cell| cell >> HALF == tag(id)).map(time).max().unwrap_or(0) * 1_000
    }

    /// Forgets the source.
    pub(super) fn forget(&self, id: u128) {
        for cell in self.set(id).into_iter().flatten() {
            let held = cell.load(Ordering::Acquire);
            if held >> HALF == tag(id) {
                // a source that another thread put there meanwhile stays
                let _ = cell.compare_exchange(held, 0, Ordering::AcqRel, Ordering::Acquire);
            }
        }
    }

    fn set(&self, id: u128) -> Option<&[AtomicU64; WAYS]> {
        // the low bits select the bucket of the counters; the number of sets is a power of two
        let at = (id >> 64) & (self.sets.len() as u128).saturating_sub(1);
        self.sets.get(usize::try_from(at).ok()?)
    }
}

/// The part of an id that a cell holds; never zero, which stands for an empty cell.
fn tag(id: u128) -> u64 {
    u64::try_from(id >> 96).unwrap_or_default().max(1)
}

fn time(cell: u64) -> u64 {
    cell & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_kept_rounded_up_and_never_earlier() {
        let evicted = Evicted::new(0);
        assert_eq!(evicted.until_ms(5 << 96), 0);
        evicted.put(5 << 96, 1_001);
        assert_eq!(evicted.until_ms(5 << 96), 2_000);
        evicted.put(5 << 96, 500);
        assert_eq!(evicted.until_ms(5 << 96), 2_000);
        evicted.put(5 << 96, u64::MAX);
        assert!(evicted.until_ms(5 << 96) > 4_000_000_000);
        assert_eq!(evicted.until_ms(6 << 96), 0);
    }

    #[test]
    fn a_fifth_source_of_a_set_replaces_the_earliest() {
        let evicted = Evicted::new(0);
        for number in 1..=5_u128 {
            evicted.put(number << 96, u64::try_from(number).unwrap() * 1_000);
        }
        let times = [1_u128, 2, 3, 4, 5].map(|number| evicted.until_ms(number << 96));
        assert_eq!(times, [0, 2_000, 3_000, 4_000, 5_000]);
    }

    #[test]
    fn a_source_takes_one_cell_however_often_it_leaves() {
        let evicted = Evicted::new(0);
        for until_ms in [8_000, 9_000] {
            evicted.put(5 << 96, until_ms);
        }
        (1..=3_u64).for_each(|number| evicted.put(u128::from(number) << 96, number * 1_000));
        let times = [5_u128, 1, 2, 3].map(|number| evicted.until_ms(number << 96));
        assert_eq!(times, [9_000, 1_000, 2_000, 3_000]);
    }

    #[test]
    fn a_forgotten_source_owes_nothing_and_others_keep_their_times() {
        let evicted = Evicted::new(0);
        (1..=4_u128).for_each(|number| evicted.put(number << 96, 9_000));
        evicted.forget(2 << 96);
        evicted.forget(7 << 96);
        let times = [1_u128, 2, 3, 4].map(|number| evicted.until_ms(number << 96));
        assert_eq!(times, [9_000, 0, 9_000, 9_000]);
    }

    #[test]
    fn sources_of_different_sets_leave_each_others_times() {
        let evicted = Evicted::new(64);
        let ids: Vec<u128> = (1..=64).map(|number| number << 96 | number << 64).collect();
        ids.iter().for_each(|id| evicted.put(*id, 9_000));
        assert!(ids.iter().all(|id| evicted.until_ms(*id) == 9_000));
    }

    #[test]
    fn threads_lose_no_source_while_there_is_room() {
        for _ in 0..200 {
            let evicted = Evicted::new(0);
            std::thread::scope(|scope| {
                for number in 1..=4_u128 {
                    let evicted = &evicted;
                    scope.spawn(move || evicted.put(number << 96, 9_000));
                }
            });
            assert!((1..=4_u128).all(|number| evicted.until_ms(number << 96) == 9_000));
        }
    }
}
