//! Many prefixes compiled into one immutable table that finds the longest match for an address.
//! Each family has a table of its own, so an address never meets a prefix of the other.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;

use super::prefix::{Bounds, Prefix};

/// A set of prefixes, built once, that answers whether an address falls under any and which is
/// the most specific.
///
/// An empty table matches nothing. An IPv4-mapped IPv6 source is the IPv4 address; `::/0` matches
/// no IPv4 source and `0.0.0.0/0` no IPv6 one. A lookup allocates nothing.
///
/// ```
/// use sip_authz::acl::PrefixTable;
///
/// let table = PrefixTable::build(["198.51.100.0/24".parse()?, "198.51.100.9".parse()?])?;
/// assert_eq!(table.longest("198.51.100.8".parse()?), Some(0));
/// assert_eq!(table.longest("198.51.100.9".parse()?), Some(1));
/// assert!(!table.contains("203.0.113.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct PrefixTable {
    entries: usize,
    v4: Intervals<u32>,
    v6: Intervals<u128>,
}

impl PrefixTable {
    /// Compiles the prefixes, which are numbered from 0 in the order given; they may nest, repeat
    /// and mix families. Takes time in O(n log n).
    ///
    /// # Errors
    ///
    /// If there are more than `u32::MAX` prefixes; none is ever dropped.
    pub fn build(entries: impl IntoIterator<Item = Prefix>) -> Result<Self, TooManyPrefixes> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, prefix) in entries.into_iter().enumerate() {
            let owner = number(index)?;
            match prefix.bounds() {
                Bounds::V4 { first, last } => v4.push(Range { first, last, owner }),
                Bounds::V6 { first, last } => v6.push(Range { first, last, owner }),
            }
        }
        // Vectors of these sizes exist, so the sum fits.
        let entries = v4.len().saturating_add(v6.len());
        Ok(Self { entries, v4: Intervals::build(v4), v6: Intervals::build(v6) })
    }

    /// Whether `addr` falls under any of the prefixes.
    #[must_use]
    #[inline]
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.owner(addr).is_some()
    }

    /// The number of the most specific prefix that `addr` falls under; where that prefix was given
    /// more than once, the first.
    #[must_use]
    #[inline]
    pub fn longest(&self, addr: IpAddr) -> Option<usize> {
        // Each number was a `usize` once.
        self.owner(addr).and_then(|owner| usize::try_from(owner).ok())
    }

    /// How many prefixes it was built from, repeated ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it was built from no prefix, so that it matches nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The heap memory it holds, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.v4.heap_bytes().saturating_add(self.v6.heap_bytes())
    }

    #[inline]
    fn owner(&self, addr: IpAddr) -> Option<u32> {
        match addr.to_canonical() {
            IpAddr::V4(v4) => self.v4.owner(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.owner(v6.to_bits()),
        }
    }
}

/// Sizes only: a list may hold a million addresses, and addresses do not belong in logs.
impl fmt::Debug for PrefixTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixTable")
            .field("len", &self.len())
            .field("heap_bytes", &self.heap_bytes())
            .finish_non_exhaustive()
    }
}

/// More prefixes than a [`PrefixTable`] can number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a prefix table holds at most {} prefixes", u32::MAX)]
#[non_exhaustive]
pub struct TooManyPrefixes;

/// The owner of an interval that no prefix covers.
const NOBODY: u32 = u32::MAX;

fn number(index: usize) -> Result<u32, TooManyPrefixes> {
    u32::try_from(index).ok().filter(|&owner| owner != NOBODY).ok_or(TooManyPrefixes)
}

/// An address as a number.
trait Address: Copy + Ord {
    /// The address after this one, unless this is the last.
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// A prefix by its first and last address, with its number.
#[derive(Clone, Copy)]
struct Range<A> {
    first: A,
    last: A,
    owner: u32,
}

/// The address space of one family, cut where the most specific prefix changes.
///
/// `starts` ascends strictly; `owners` has for each start the prefix that owns the addresses from
/// there up to the next start. Before the first start there is nobody.
#[derive(Clone)]
struct Intervals<A> {
    starts: Box<[A]>,
    owners: Box<[u32]>,
}

impl<A: Address> Intervals<A> {
    fn build(mut ranges: Vec<Range<A>>) -> Self {
        // A prefix comes before those nested in it, and of equal ones the first given stays.
        ranges.sort_unstable_by_key(|range| (range.first, Reverse(range.last), range.owner));
        ranges.dedup_by_key(|range| (range.first, range.last));

        let mut cuts = Cuts { starts: Vec::new(), owners: Vec::new() };
        // The prefixes around the current address, the most specific on top. Prefixes nest or are
        // disjoint, so they end in the reverse of the order in which they began.
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
        Self { starts: cuts.starts.into(), owners: cuts.owners.into() }
    }

    #[inline]
    fn owner(&self, addr: A) -> Option<u32> {
        let begun = self.starts.partition_point(|&start| start <= addr);
        let owner = *self.owners.get(begun.checked_sub(1)?)?;
        (owner != NOBODY).then_some(owner)
    }

    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.starts).saturating_add(size_of_val(&*self.owners))
    }
}

// Derived, it would ask for `A: Default`.
impl<A> Default for Intervals<A> {
    fn default() -> Self {
        Self { starts: Box::default(), owners: Box::default() }
    }
}

/// The intervals so far, while a table is built.
struct Cuts<A> {
    starts: Vec<A>,
    owners: Vec<u32>,
}

impl<A: Address> Cuts<A> {
    /// From `start` on the owner is `owner`. Starts never descend; of two cuts at one address the
    /// later holds, and a cut that changes nothing is left out.
    fn cut(&mut self, start: A, owner: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.owners.pop();
        }
        if self.owners.last().copied().unwrap_or(NOBODY) != owner {
            self.starts.push(start);
            self.owners.push(owner);
        }
    }

    /// After `ended` the innermost of the prefixes still open owns the addresses again.
    fn end(&mut self, ended: Range<A>, open: &[Range<A>]) {
        if let Some(after) = ended.last.next() {
            self.cut(after, open.last().map_or(NOBODY, |outer| outer.owner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(prefixes: &[&str]) -> PrefixTable {
        PrefixTable::build(prefixes.iter().map(|text| text.parse().unwrap())).unwrap()
    }

    fn longest(table: &PrefixTable, addr: &str) -> Option<usize> {
        table.longest(addr.parse().unwrap())
    }

    fn cuts_v4(prefixes: &[&str]) -> Vec<(String, u32)> {
        let intervals = table(prefixes).v4;
        assert_eq!(intervals.starts.len(), intervals.owners.len());
        intervals
            .starts
            .iter()
            .zip(&intervals.owners)
            .map(|(&start, &owner)| (std::net::Ipv4Addr::from_bits(start).to_string(), owner))
            .collect()
    }

    fn cuts(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        expected.iter().map(|&(start, owner)| (start.to_owned(), owner)).collect()
    }

    #[test]
    fn an_empty_table_matches_nothing_and_holds_nothing() {
        for table in [PrefixTable::default(), table(&[])] {
            assert!(table.is_empty());
            assert_eq!((table.len(), table.heap_bytes()), (0, 0));
            for addr in ["0.0.0.0", "255.255.255.255", "::", "::ffff:0.0.0.0", "2001:db8::1"] {
                assert_eq!(longest(&table, addr), None, "{addr}");
            }
        }
    }

    #[test]
    fn cuts_only_where_the_owner_changes() {
        assert_eq!(cuts_v4(&["0.0.0.0/0"]), cuts(&[("0.0.0.0", 0)]));
        assert_eq!(cuts_v4(&["255.255.255.255"]), cuts(&[("255.255.255.255", 0)]));
        assert_eq!(cuts_v4(&["0.0.0.0"]), cuts(&[("0.0.0.0", 0), ("0.0.0.1", NOBODY)]));
        // Neighbours leave no gap between them, in whatever order they come.
        assert_eq!(
            cuts_v4(&["10.0.0.2/31", "10.0.0.0/31"]),
            cuts(&[("10.0.0.0", 1), ("10.0.0.2", 0), ("10.0.0.4", NOBODY)]),
        );
        // A prefix hidden whole by longer ones owns nothing.
        assert_eq!(
            cuts_v4(&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"]),
            cuts(&[("0.0.0.0", 1), ("128.0.0.0", 2)]),
        );
        // Three that end at the same address.
        assert_eq!(
            cuts_v4(&["10.0.0.0/24", "10.0.0.128/25", "10.0.0.255"]),
            cuts(&[("10.0.0.0", 0), ("10.0.0.128", 1), ("10.0.0.255", 2), ("10.0.1.0", NOBODY)]),
        );
        // Three that begin at the same address.
        assert_eq!(
            cuts_v4(&["10.0.0.0", "10.0.0.0/24", "10.0.0.0/25"]),
            cuts(&[("10.0.0.0", 0), ("10.0.0.1", 2), ("10.0.0.128", 1), ("10.0.1.0", NOBODY)]),
        );
    }

    #[test]
    fn of_equal_prefixes_the_first_given_owns() {
        let table = table(&["10.0.0.0/8", "192.0.2.0/24", "10.0.0.0/8", "::ffff:192.0.2.0/120"]);
        assert_eq!(table.len(), 4);
        assert_eq!(longest(&table, "10.1.2.3"), Some(0));
        assert_eq!(longest(&table, "192.0.2.255"), Some(1));
    }

    #[test]
    fn a_cut_that_changes_nothing_is_left_out() {
        let mut cuts = Cuts { starts: Vec::new(), owners: Vec::new() };
        for (start, owner) in [(1_u32, NOBODY), (2, 7), (3, 7), (4, 8), (4, 7), (5, NOBODY)] {
            cuts.cut(start, owner);
        }
        assert_eq!((cuts.starts, cuts.owners), (vec![2, 5], vec![7, NOBODY]));
    }

    #[test]
    fn the_last_number_is_one_below_nobody() {
        assert_eq!(number(0), Ok(0));
        let limit = usize::try_from(NOBODY).unwrap();
        assert_eq!(number(limit - 1), Ok(NOBODY - 1));
        assert_eq!(number(limit), Err(TooManyPrefixes));
        assert_eq!(number(usize::MAX), Err(TooManyPrefixes));
        assert_eq!(TooManyPrefixes.to_string(), "a prefix table holds at most 4294967295 prefixes");
    }

    #[test]
    fn memory_stays_within_the_budget() {
        // Every second address, so that no two intervals touch: the most cuts there can be.
        let v4 = (0..1000_u32).map(|i| IpAddr::from(std::net::Ipv4Addr::from_bits(i * 2 + 1)));
        let v6 = (0..1000_u128).map(|i| IpAddr::from(std::net::Ipv6Addr::from_bits(i * 2 + 1)));
        assert_eq!(PrefixTable::build(v4.map(Prefix::from)).unwrap().heap_bytes(), 16 * 1000);
        assert_eq!(PrefixTable::build(v6.map(Prefix::from)).unwrap().heap_bytes(), 40 * 1000);
    }

    #[test]
    fn debug_shows_no_address() {
        assert_eq!(
            format!("{:?}", table(&["10.0.0.0/8"])),
            "PrefixTable { len: 1, heap_bytes: 16, .. }",
        );
    }
}
