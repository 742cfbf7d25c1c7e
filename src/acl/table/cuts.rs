//! Cuts the address space of one family where the most specific prefix changes.

use std::cmp::Reverse;

use super::address::Address;

/// The owner of an interval outside every prefix.
pub(super) const NOBODY: u32 = u32::MAX;

/// The first and last address of a prefix, and its number.
#[derive(Clone, Copy)]
pub(super) struct Range<A> {
    pub(super) first: A,
    pub(super) last: A,
    pub(super) owner: u32,
}

/// The start of an interval and its owner; it ends where the next cut starts. Both fields are
/// stored together, because a lookup usually reads both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut<A: Address> {
    start: A::Kept,
    pub(super) owner: u32,
}

impl<A: Address> Cut<A> {
    #[inline]
    pub(super) fn start(&self) -> A {
        A::kept(self.start)
    }
}

/// Cuts the address space. The first cut is at the lowest address, starts are strictly ascending,
/// and neighbours have different owners. Without prefixes there are no cuts.
pub(super) fn cut<A: Address>(mut ranges: Vec<Range<A>>) -> Vec<Cut<A>> {
    if ranges.is_empty() {
        return Vec::new();
    }
    // outer prefixes first; of equal prefixes keep the first given
    ranges.sort_unstable_by_key(|range| (range.first, Reverse(range.last), range.owner));
    ranges.dedup_by_key(|range| (range.first, range.last));

    let mut cuts = Cuts(Vec::with_capacity(ranges.len().saturating_mul(2).saturating_add(1)));
    cuts.0.push(Cut { start: A::ZERO.keep(), owner: NOBODY });
    // stack of the prefixes around the current address, most specific on top; prefixes nest or are
    // disjoint, so the top ends first
    let mut open: Vec<Range<A>> = Vec::new();
    for range in ranges {
        while let Some(ended) = open.pop_if(|outer| outer.last < range.first) {
            cuts.end(ended, &open);
        }
        cuts.cut(range.first, range.owner);
        open.push(range);
    }
    while let Some(ended) = open.pop() {
        cuts.end(ended, &open);
    }
    cuts.0
}

/// The cuts so far.
struct Cuts<A: Address>(Vec<Cut<A>>);

impl<A: Address> Cuts<A> {
    /// Makes `owner` the owner from `start` on. Starts must not descend. A second cut at one
    /// address replaces the first, and a cut with the same owner is dropped.
    fn cut(&mut self, start: A, owner: u32) {
        self.0.pop_if(|last| last.start() == start);
        if self.0.last().is_none_or(|last| last.owner != owner) {
            self.0.push(Cut { start: start.keep(), owner });
        }
    }

    /// After `ended`, the innermost open prefix is the owner again.
    fn end(&mut self, ended: Range<A>, open: &[Range<A>]) {
        if let Some(after) = ended.last.next() {
            self.cut(after, open.last().map_or(NOBODY, |outer| outer.owner));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::acl::Prefix;
    use crate::acl::prefix::Bounds;

    fn cuts_v4(prefixes: &[&str]) -> Vec<(String, u32)> {
        let ranges = prefixes.iter().zip(0..).map(|(text, owner)| {
            match text.parse::<Prefix>().unwrap().bounds() {
                Bounds::V4 { first, last } => Range { first, last, owner },
                Bounds::V6 { .. } => panic!("{text}"),
            }
        });
        let cuts = cut(ranges.collect::<Vec<Range<u32>>>());
        cuts.iter().map(|cut| (Ipv4Addr::from_bits(cut.start()).to_string(), cut.owner)).collect()
    }

    /// The expected cuts after the leading one without owner.
    fn cuts(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        let all = [("0.0.0.0", NOBODY)].into_iter().chain(expected.iter().copied());
        all.map(|(start, owner)| (start.to_owned(), owner)).collect()
    }

    #[test]
    fn cuts_only_where_the_owner_changes() {
        assert_eq!(cuts_v4(&["0.0.0.0/0"]), cuts(&[("0.0.0.0", 0)])[1..]);
        assert_eq!(cuts_v4(&["255.255.255.255"]), cuts(&[("255.255.255.255", 0)]));
        assert_eq!(cuts_v4(&["0.0.0.0"]), cuts(&[("0.0.0.0", 0), ("0.0.0.1", NOBODY)])[1..]);
        // adjacent prefixes leave no gap, in any order
        assert_eq!(
            cuts_v4(&["10.0.0.2/31", "10.0.0.0/31"]),
            cuts(&[("10.0.0.0", 1), ("10.0.0.2", 0), ("10.0.0.4", NOBODY)]),
        );
        // a prefix fully covered by longer ones owns nothing
        assert_eq!(
            cuts_v4(&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"]),
            cuts(&[("0.0.0.0", 1), ("128.0.0.0", 2)])[1..],
        );
        // three prefixes that end at the same address
        assert_eq!(
            cuts_v4(&["10.0.0.0/24", "10.0.0.128/25", "10.0.0.255"]),
            cuts(&[("10.0.0.0", 0), ("10.0.0.128", 1), ("10.0.0.255", 2), ("10.0.1.0", NOBODY)]),
        );
        // three prefixes that begin at the same address
        assert_eq!(
            cuts_v4(&["10.0.0.0", "10.0.0.0/24", "10.0.0.0/25"]),
            cuts(&[("10.0.0.0", 0), ("10.0.0.1", 2), ("10.0.0.128", 1), ("10.0.1.0", NOBODY)]),
        );
    }

    #[test]
    fn a_cut_that_changes_nothing_is_left_out() {
        let mut cuts = Cuts(vec![Cut { start: u32::ZERO.keep(), owner: NOBODY }]);
        for (start, owner) in [(1_u32, NOBODY), (2, 7), (3, 7), (4, 8), (4, 7), (5, NOBODY)] {
            cuts.cut(start, owner);
        }
        let cuts: Vec<_> = cuts.0.iter().map(|cut| (cut.start(), cut.owner)).collect();
        assert_eq!(cuts, [(0, NOBODY), (2, 7), (5, NOBODY)]);
    }
}
