//! The table of targets: exact counts of those with a row, and estimates of how busy the others are.
//!
//! A target has a few places, those of the set that its hash selects. If all are taken, a new target
//! replaces the one without a row that had the fewest decisions, and takes over that number, as in the
//! space-saving algorithm. A comparison of targets subtracts the number that was taken over.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sip_authz::model::Target;

use super::{Counts, OUTCOMES};

/// The number of places of a set.
const WAYS: usize = 8;
/// The number of sets for each row.
const SETS_PER_ROW: usize = 8;
/// The minimum number of sets.
const MIN_SETS: usize = 128;

type Set = [Slot; WAYS];

/// The table.
pub(super) struct Table {
    rows: usize,
    /// The number of rows without a target.
    free: AtomicUsize,
    // keyed by a secret, so that no choice of SIDs fills a set
    hasher: RandomState,
    sets: Box<[Mutex<Set>]>,
}

/// The place of one target.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// `None` marks an empty place.
    target: Option<Target>,
    /// Its recent decisions, and the ones that it took over.
    recent: u32,
    /// The number that it took over.
    taken_over: u32,
    /// Whether it has a row.
    is_shown: bool,
    /// Its decisions while it has a row.
    counts: Counts,
}

/// A target of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) target: Target,
    /// The recent decisions that certainly were for this target.
    pub(super) certain: u32,
    pub(super) counts: Counts,
}

impl Table {
    pub(super) fn new(rows: usize) -> Self {
        let sets = rows.saturating_mul(SETS_PER_ROW).max(MIN_SETS);
        let sets = (0..sets).map(|_| Mutex::default()).collect();
        Self { rows, free: AtomicUsize::new(rows), hasher: RandomState::new(), sets }
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of rows without a target.
    pub(super) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }

    /// Counts decisions for a target, which gets a row if one is free. Returns whether it has a row.
    pub(super) fn count(&self, target: Target, counts: [u32; OUTCOMES.len()]) -> bool {
        let Some(mut set) = self.set(target) else { return false };
        let Some(slot) = slot_of(&mut set, target) else { return false };
        let sum = counts.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
        slot.recent = slot.recent.saturating_add(sum);
        if !slot.is_shown {
            self.give_row(slot);
        }
        if slot.is_shown {
            slot.counts.iter_mut().zip(counts).for_each(|(total, count)| {
                *total = total.saturating_add(count.into());
            });
        }
        slot.is_shown
    }

    /// Gives a row to a target of the table if one is free.
    pub(super) fn show(&self, target: Target) {
        self.with(target, |slot| {
            if !slot.is_shown {
                self.give_row(slot);
            }
        });
    }

    /// Takes the row of a target, and returns its counts. None if it has no row.
    pub(super) fn hide(&self, target: Target) -> Option<Counts> {
        let counts = self.with(target, |slot| {
            std::mem::take(&mut slot.is_shown).then(|| std::mem::take(&mut slot.counts))
        });
        let counts = counts.flatten();
        if counts.is_some() {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
        counts
    }

    /// Adds the counts that a target with a row had before, and returns the sum.
    pub(super) fn restore(&self, target: Target, before: Counts) -> Option<Counts> {
        self.with(target, |slot| {
            slot.counts.iter_mut().zip(before).for_each(|(total, count)| {
                *total = total.saturating_add(count);
            });
            slot.counts
        })
    }

    /// The targets with a row.
    pub(super) fn shown(&self) -> Vec<Place> {
        self.places(true)
    }

    /// The targets without a row that have recent decisions.
    pub(super) fn hidden(&self) -> Vec<Place> {
        let mut places = self.places(false);
        places.retain(|place| place.certain > 0);
        places
    }

    /// Halves all recent numbers.
    pub(super) fn age(&self) {
        for set in &self.sets {
            for slot in locked(set).iter_mut() {
                slot.recent /= 2;
                slot.taken_over /= 2;
            }
        }
    }

    fn places(&self, is_shown: bool) -> Vec<Place> {
        let mut places = Vec::new();
        for set in &self.sets {
            let set = *locked(set);
            let slots = set.iter().filter(|slot| slot.is_shown == is_shown);
            places.extend(slots.filter_map(|slot| {
                let certain = slot.recent.saturating_sub(slot.taken_over);
                Some(Place { target: slot.target?, certain, counts: slot.counts })
            }));
        }
        places
    }

    fn give_row(&self, slot: &mut Slot) {
        let one_less = |free: usize| free.checked_sub(1);
        if self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            slot.is_shown = true;
        }
    }

    fn with<T>(&self, target: Target, with: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut set = self.set(target)?;
        set.iter_mut().find(|slot| slot.target == Some(target)).map(with)
    }

    fn set(&self, target: Target) -> Option<MutexGuard<'_, Set>> {
        let count = u64::try_from(self.sets.len()).ok()?;
        let at = self.hasher.hash_one(target).checked_rem(count)?;
        self.sets.get(usize::try_from(at).ok()?).map(locked)
    }
}

/// The slot of a target, which takes one from the target without a row that has the fewest decisions. None
/// if all targets of the set have rows.
fn slot_of(set: &mut Set, target: Target) -> Option<&mut Slot> {
    if let Some(at) = set.iter().position(|slot| slot.target == Some(target)) {
        return set.get_mut(at);
    }
    let slots = set.iter_mut().filter(|slot| !slot.is_shown);
    let slot = slots.min_by_key(|slot| (slot.target.is_some(), slot.recent))?;
    let taken_over = slot.target.map_or(0, |_| slot.recent);
    *slot = Slot { target: Some(target), recent: taken_over, taken_over, ..Slot::default() };
    Some(slot)
}

fn locked(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
