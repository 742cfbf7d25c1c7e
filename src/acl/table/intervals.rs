//! The prefix table of one family.

use std::hint::select_unpredictable;

use super::address::Address;
use super::cuts::{Cut, NOBODY, Range, cut};
use super::index::{CutIndex, Index, Slot, WINDOW};

/// The cuts and the index over them.
#[derive(Clone)]
pub(super) struct Intervals<A: Address> {
    index: Index<A>,
    /// The last cut is repeated so that every window is complete.
    cuts: Box<[Cut<A>]>,
}

impl<A: Address> Intervals<A> {
    pub(super) fn build(ranges: Vec<Range<A>>) -> Self {
        let mut cuts = cut(ranges);
        let index = Index::build(&cuts);
        if let Some(&last) = cuts.last() {
            cuts.resize(cuts.len() + WINDOW - 1, last);
        }
        Self { index, cuts: cuts.into() }
    }

    #[inline]
    pub(super) fn owner(&self, addr: A) -> Option<u32> {
        let slot = self.index.slot(addr)?;
        match slot.window() {
            Some(from) => self.owner_in_window(from, addr),
            // kept out of line: the loop needs more registers than the window comparison
            None if A::NARROW => self.owner_beyond_apart(slot, addr),
            None => self.owner_beyond(slot, addr),
        }
    }

    #[inline]
    fn owner_in_window(&self, from: usize, addr: A) -> Option<u32> {
        let window = self.cuts.get(from..from.wrapping_add(WINDOW))?.first_chunk::<WINDOW>()?;
        let [before, cuts @ ..] = window;
        let owner = if A::NARROW {
            // comparing is cheap: counting takes fewer instructions than selecting
            let begun = cuts
                .iter()
                .fold(WINDOW - 1, |begun, cut| begun.wrapping_sub(usize::from(addr < cut.start())));
            window.get(begun)?.owner
        } else {
            cuts.iter().fold(before.owner, |owner, cut| {
                select_unpredictable(cut.start() <= addr, cut.owner, owner)
            })
        };
        (owner != NOBODY).then_some(owner)
    }

    #[inline(never)]
    fn owner_beyond_apart(&self, slot: Slot, addr: A) -> Option<u32> {
        self.owner_beyond(slot, addr)
    }

    #[inline]
    fn owner_beyond(&self, slot: Slot, addr: A) -> Option<u32> {
        match self.index.find(slot, addr)? {
            CutIndex::Window(from) => self.owner_in_window(from, addr),
            CutIndex::Run { from, len } => {
                let run = self.cuts.get(from..)?.get(..len)?;
                let begun = run.partition_point(|cut| cut.start() <= addr);
                let owner = run.get(begun.checked_sub(1)?)?.owner;
                (owner != NOBODY).then_some(owner)
            }
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.index.heap_bytes().saturating_add(size_of_val(&*self.cuts))
    }
}

// written out, because the derive would require `A: Default`
impl<A: Address> Default for Intervals<A> {
    fn default() -> Self {
        Self { index: Index::default(), cuts: Box::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The two kinds of search.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Form {
        Window,
        Run,
    }

    /// Compares with a linear scan around every cut. Returns the kinds of search used.
    fn check<A: Address>(ranges: Vec<Range<A>>, before: impl Fn(A) -> Option<A>) -> BTreeSet<Form> {
        let cuts = cut(ranges.clone());
        let table = Intervals::build(ranges);
        let around = cuts.iter().flat_map(|cut| {
            let start = cut.start();
            [before(start), Some(start), start.next()].into_iter().flatten()
        });
        let mut forms = BTreeSet::new();
        for addr in around {
            let last = cuts.iter().take_while(|cut| cut.start() <= addr).last().unwrap();
            let owner = (last.owner != NOBODY).then_some(last.owner);
            assert_eq!(table.owner(addr), owner, "{addr:?} of {}", cuts.len());
            forms.insert(
                match table.index.slot(addr).and_then(|slot| table.index.find(slot, addr)).unwrap()
                {
                    CutIndex::Window(_) => Form::Window,
                    CutIndex::Run { .. } => Form::Run,
                },
            );
        }
        forms
    }

    /// Single addresses.
    fn hosts<A: Address>(starts: impl Iterator<Item = A>) -> Vec<Range<A>> {
        starts.zip(0..).map(|(first, owner)| Range { first, last: first, owner }).collect()
    }

    #[test]
    fn an_empty_table_has_no_owner() {
        let none = Intervals::<u32>::build(Vec::new());
        assert_eq!((none.owner(0), none.owner(u32::MAX)), (None, None));
    }

    #[test]
    fn table_sizes_around_the_window() {
        for size in (1..14_u32).chain([31, 32, 33, 64, 65, 139]) {
            for step in [1, 2, 3, 0x100, 0x0101_0101] {
                let v4 = hosts((0..size).map(|i| i.wrapping_mul(step)));
                check(v4, |addr| addr.checked_sub(1));
                // in the low half, across the middle, and in the high half
                for shift in [0, 60, 96] {
                    let v6 = (0..size).map(|i| u128::from(i.wrapping_mul(step)) << shift);
                    check(hosts(v6), |addr| addr.checked_sub(1));
                }
            }
        }
    }

    #[test]
    fn distant_clusters_need_windows_only() {
        let crowds = (0..600_u32).map(|i| ((i % 5) << 29) | (i * 4));
        let forms = check(hosts(crowds), |addr| addr.checked_sub(1));
        assert_eq!(forms, [Form::Window].into());
    }

    #[test]
    fn clusters_are_separated_in_either_half() {
        for shared in [0x9abc_def1_u128 << 32, 0x9abc_def1 << 64] {
            let crowds = (0..600_u128).map(|i| ((i % 5) << 125) | shared | (i * 4));
            let forms = check(hosts(crowds), |addr| addr.checked_sub(1));
            assert_eq!(forms, [Form::Window].into());
        }
    }

    #[test]
    fn deep_nests_end_in_runs() {
        let nest = |root: u128| {
            (0..=120).map(move |len: u32| Range {
                first: root,
                last: root | u128::MAX.unbounded_shr(len + 8),
                owner: len,
            })
        };
        let nests = (0..12_u128).flat_map(|i| nest(i << 120)).collect();
        let forms = check(nests, |addr| addr.checked_sub(1));
        assert_eq!(forms, [Form::Window, Form::Run].into());
    }
}
