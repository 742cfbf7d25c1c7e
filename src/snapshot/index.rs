//! A persistent hash index that maps the hash of a key to the entry's number.
//!
//! The cells of a page are sorted by hash. Hashes are uniform, so interpolation finds a cell within
//! a few steps. Pages have no gaps, so a miss ends at a neighbour's cell after as many steps as a
//! hit: timing does not reveal a miss.
//!
//! Pages are added and removed one at a time (linear hashing, Litwin 1980), so a change moves the
//! cells of at most one page.
//!
//! The hash is SipHash-1-3 with a random key for each index that is never exported, so an attacker
//! cannot choose names that collide.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::array::Array;

/// Maximum mean number of cells in a page.
const FULL: usize = 96;

/// The hash in the upper half and the number in the lower, so that cells sort by hash.
type Cell = u64;

/// A random SipHash key.
pub(super) fn random_key() -> SipHasher13 {
    let random = || RandomState::new().hash_one(0);
    SipHasher13::new_with_keys(random(), random())
}

/// Maps hashes to numbers. One hash can have several numbers; the caller compares the keys.
#[derive(Clone, Default)]
pub(super) struct Index {
    pages: Array<Arc<[Cell]>>,
    page_count: u32,
    len: usize,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Calls `look` for each number under `hash` and returns its first result.
    #[inline]
    pub(super) fn find<R>(&self, hash: u32, mut look: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let page = self.page(hash)?;
        let cells = page.get(lower_bound(page, hash)..)?.iter();
        cells.take_while(|cell| hash_of(**cell) == hash).find_map(|cell| look(number_of(*cell)))
    }

    /// Finds the number under `hash` that `look` reports as a hit. On a miss returns the result for
    /// a neighbour, and none if the index is empty. `look` runs once unless two keys share a hash.
    #[inline]
    pub(super) fn find_or_near<R>(
        &self,
        hash: u32,
        mut look: impl FnMut(u32) -> Option<(R, bool)>,
    ) -> Option<(R, bool)> {
        let page = self.page(hash).filter(|page| !page.is_empty());
        let page =
            page.or_else(|| self.pages.values().map(|page| &**page).find(|p| !p.is_empty()))?;
        let start = lower_bound(page, hash);
        let first = page.get(start).or_else(|| page.last())?;
        let near = look(number_of(*first))?;
        if near.1 {
            return Some(near);
        }
        let others = page.get(start..)?.iter().skip(1).take_while(|cell| hash_of(**cell) == hash);
        let hit = others.filter_map(|cell| look(number_of(*cell))).find(|(_, is_hit)| *is_hit);
        Some(hit.unwrap_or(near))
    }

    /// Calls `look` with the number of each cell under `hash`, and if there is none, returns the
    /// number of a neighbour's cell; none if the page of `hash` is empty.
    #[inline]
    pub(super) fn each_or_near(&self, hash: u32, mut look: impl FnMut(u32)) -> Option<u32> {
        let page = self.page(hash)?;
        let start = lower_bound(page, hash);
        let first = page.get(start).or_else(|| page.last())?;
        if hash_of(*first) != hash {
            return Some(number_of(*first));
        }
        let same = page.get(start..)?.iter().take_while(|cell| hash_of(**cell) == hash);
        same.for_each(|cell| look(number_of(*cell)));
        None
    }

    /// Reads the first cell of a search for `hash` into the cache. Returns the number in it, which
    /// may be another key's.
    #[inline]
    pub(super) fn prefetch(&self, hash: u32) -> Option<u32> {
        let page = self.page(hash)?;
        page.get(lower_bound(page, hash)).map(|cell| number_of(*cell))
    }

    /// Adds `number` under `hash`. The pair must not be present.
    pub(super) fn insert(&mut self, hash: u32, number: u32) {
        let cell = u64::from(hash) << 32 | u64::from(number);
        if self.page_count == 0 {
            self.page_count = 1;
            self.pages.set(0, Arc::new([]));
        }
        self.pages.change(self.page_of(hash), |page| {
            let (before, after) = page.split_at(page.partition_point(|other| *other < cell));
            *page = before.iter().chain([&cell]).chain(after).copied().collect();
        });
        self.len += 1;
        if self.len > self.room(self.page_count) {
            self.split();
        }
    }

    /// Removes `number` from under `hash`.
    pub(super) fn remove(&mut self, hash: u32, number: u32) {
        let cell = u64::from(hash) << 32 | u64::from(number);
        let found = self.page(hash).and_then(|page| page.binary_search(&cell).ok());
        let Some(at) = found else { return };
        self.pages.change(self.page_of(hash), |page| {
            let rest = page.iter().enumerate().filter(|(n, _)| *n != at);
            *page = rest.map(|(_, cell)| *cell).collect();
        });
        self.len = self.len.saturating_sub(1);
        if self.page_count > 1 && self.len < self.room(self.page_count - 1) / 2 {
            self.merge();
        }
    }

    /// Number of cells that `pages` pages hold before one is added.
    fn room(&self, pages: u32) -> usize {
        usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(FULL)
    }

    #[inline]
    fn page(&self, hash: u32) -> Option<&[Cell]> {
        self.pages.get(self.page_of(hash)).map(|page| &**page)
    }

    /// The page selected by the low bits of `hash`, or its parent if that page does not exist yet.
    #[inline]
    fn page_of(&self, hash: u32) -> u32 {
        let mask = self.page_count.next_power_of_two().wrapping_sub(1);
        let page = hash & mask;
        if page < self.page_count { page } else { page & (mask >> 1) }
    }

    /// Adds a page and moves its cells from the parent page.
    fn split(&mut self) {
        let new = self.page_count;
        let old = self.page_of(new);
        self.page_count += 1;
        let Some(page) = self.pages.get(old).cloned() else { return };
        let (moved, stay): (Vec<Cell>, Vec<Cell>) =
            page.iter().partition(|cell| self.page_of(hash_of(**cell)) == new);
        self.pages.set(new, moved.into());
        self.pages.set(old, stay.into());
    }

    /// Removes the last page and moves its cells to the parent page.
    fn merge(&mut self) {
        self.page_count -= 1;
        let Some(moved) = self.pages.take(self.page_count) else { return };
        self.pages.change(self.page_of(self.page_count), |page| {
            let mut all: Vec<Cell> = page.iter().chain(&*moved).copied().collect();
            all.sort_unstable();
            *page = all.into();
        });
    }
}

/// Index of the first cell whose hash is at least `hash`.
#[inline]
fn lower_bound(page: &[Cell], hash: u32) -> usize {
    let wanted = u64::from(hash) << 32;
    // interpolate: always less than the length
    let share = (u64::from(hash) * page.len() as u64) >> 32;
    let guess = usize::try_from(share).unwrap_or_default();
    let (before, after) = page.split_at_checked(guess).unwrap_or_default();
    match before.iter().rev().take_while(|cell| **cell >= wanted).count() {
        0 => guess + after.iter().take_while(|cell| **cell < wanted).count(),
        back => guess - back,
    }
}

#[inline]
fn hash_of(cell: Cell) -> u32 {
    // the upper half is a `u32`
    u32::try_from(cell >> 32).unwrap_or_default()
}

#[inline]
fn number_of(cell: Cell) -> u32 {
    // the lower half is a `u32`
    u32::try_from(cell & u64::from(u32::MAX)).unwrap_or_default()
}

/// Derives the hash of a key of two parts from the hash of the first part and the second. As cheap
/// as a few instructions, so a text is hashed once for many second parts.
///
/// Each step is a bijection of `first` (the finalizer of MurmurHash3), so a random `first` gives a
/// random hash for each `second`.
#[inline]
pub(super) fn combine(first: u64, second: u32) -> u32 {
    let mut hash = first ^ u64::from(second).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    fold(hash)
}

/// The upper 32 bits of a hash.
#[inline]
pub(super) fn fold(hash: u64) -> u32 {
    hash_of(hash)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Scatters small numbers over the hash range; numbers that differ by 200 collide.
    fn hash(number: u32) -> u32 {
        (number % 200).wrapping_mul(0x9e37_79b9)
    }

    impl Index {
        fn cells(&self) -> impl Iterator<Item = Cell> {
            self.pages.values().flat_map(|page| page.iter().copied())
        }
    }

    fn has(index: &Index, hash: u32, number: u32) -> bool {
        let same = |found: u32| (found == number).then_some(());
        index.find(hash, same).is_some()
    }

    #[test]
    fn pages_are_added_and_removed_with_cells() {
        let key = random_key();
        let hash = |number: u32| fold(key.hash(&number.to_le_bytes()));
        let mut index = Index::default();
        for number in 0..50_000 {
            index.insert(hash(number), number);
        }
        assert_eq!((index.len(), index.page_count), (50_000, 521));
        let longest = index.pages.values().map(|page| page.len()).max().unwrap();
        assert!(longest < 4 * FULL, "{longest} cells in one page");
        let far = |page: &[Cell]| {
            let guess =
                |cell: Cell| ((u64::from(hash_of(cell)) * page.len() as u64) >> 32) as usize;
            page.iter().enumerate().map(|(at, cell)| at.abs_diff(guess(*cell))).max()
        };
        let far = index.pages.values().filter_map(|page| far(page)).max().unwrap();
        assert!(far < FULL / 2, "a cell {far} away from its share of the page");
        for number in 0..50_000 {
            assert!(has(&index, hash(number), number));
            index.remove(hash(number), number);
            index.remove(hash(number), number);
            assert!(!has(&index, hash(number), number));
        }
        assert_eq!((index.len(), index.page_count), (0, 1));
        assert_eq!(index.find_or_near(0, |number| Some((number, true))), None);
    }

    #[test]
    fn combined_hashes_spread_over_the_pages() {
        let mut index = Index::default();
        let first = random_key();
        for name in 0..50_u32 {
            let first = first.hash(&name.to_le_bytes());
            for second in 0..1_000 {
                index.insert(combine(first, second), name * 1_000 + second);
            }
        }
        let longest = index.pages.values().map(|page| page.len()).max().unwrap();
        assert!(longest < 4 * FULL, "{longest} cells in one page");
        let hashes: BTreeSet<u32> = index.cells().map(hash_of).collect();
        // of 50,000 random hashes less than one pair collides on average
        assert!(hashes.len() > 49_990, "{} hashes", hashes.len());
    }

    #[test]
    fn random_keys_differ() {
        assert_ne!(random_key().hash(b""), random_key().hash(b""));
    }

    #[test]
    fn a_miss_in_an_empty_page_returns_a_cell_of_another_page() {
        let mut index = Index::default();
        for number in 0..100 {
            index.insert(number << 1, number);
        }
        assert!(index.pages.values().any(|page| page.is_empty()), "all hashes are even");
        assert!(index.find_or_near(1, |number| Some((number, false))).is_some());
    }

    #[test]
    fn a_miss_returns_a_neighbour() {
        let mut index = Index::default();
        for number in 0..1_000_u32 {
            index.insert(number.wrapping_mul(0x9e37_79b9), number);
        }
        for number in 1_000..10_000_u32 {
            let mut asked = 0;
            let near = index.find_or_near(number.wrapping_mul(0x9e37_79b9), |near| {
                asked += 1;
                Some((near, near == number))
            });
            assert!(near.is_some_and(|(near, is_hit)| near < 1_000 && !is_hit));
            assert_eq!(asked, 1);
        }
    }

    proptest! {
        /// Compares with a set of pairs; earlier clones must stay unchanged.
        #[test]
        fn does_what_a_set_of_pairs_does(
            growing in 2..8_u32,
            steps in prop::collection::vec((0..10_u32, 0..400_u32), 0..2_000)
        ) {
            let mut index = Index::default();
            let mut oracle = BTreeSet::new();
            let mut kept = Vec::new();
            for (n, (step, number)) in steps.into_iter().enumerate() {
                let pair = (hash(number), number);
                if n % 500 == 499 {
                    kept.push((index.clone(), oracle.clone()));
                }
                if step < growing {
                    index.remove(pair.0, pair.1);
                    oracle.remove(&pair);
                } else if oracle.insert(pair) {
                    index.insert(pair.0, pair.1);
                }
            }
            kept.push((index, oracle));
            for (index, oracle) in kept {
                prop_assert_eq!(index.len(), oracle.len());
                let mut cells: Vec<_> = index.cells().collect();
                cells.sort_unstable();
                let pairs = cells.iter().map(|cell| (hash_of(*cell), number_of(*cell)));
                prop_assert!(pairs.eq(oracle.iter().copied()));
                for number in 0..400 {
                    let there = oracle.contains(&(hash(number), number));
                    prop_assert_eq!(has(&index, hash(number), number), there);
                    let mut same = BTreeSet::new();
                    let near = index.each_or_near(hash(number), |n| _ = same.insert(n));
                    prop_assert_eq!(same.contains(&number), there);
                    prop_assert_eq!(
                        same,
                        oracle.range((hash(number), 0)..=(hash(number), u32::MAX)).map(|p| p.1).collect()
                    );
                    if let Some(near) = near {
                        prop_assert!(oracle.iter().any(|(_, number)| *number == near));
                    }
                    let near = index.find_or_near(hash(number), |n| Some((n, n == number)));
                    match near {
                        Some((found, is_hit)) => {
                            prop_assert_eq!(is_hit, there);
                            prop_assert!(oracle.contains(&(hash(found), found)));
                        }
                        None => prop_assert!(oracle.is_empty()),
                    }
                }
            }
        }
    }
}
