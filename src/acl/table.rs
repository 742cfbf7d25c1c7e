//! An immutable longest-prefix-match table. Each family has its own table, so an address never
//! matches a prefix of the other.

mod address;
mod cuts;
mod index;
mod intervals;

use std::fmt;
use std::net::IpAddr;

use super::prefix::{Bounds, Prefix};
use cuts::Range;
use intervals::Intervals;

/// A set of prefixes, built once, that finds the most specific prefix for an address.
///
/// An empty table matches nothing. An IPv4-mapped IPv6 source counts as IPv4. `::/0` matches no
/// IPv4 source, and `0.0.0.0/0` no IPv6 source. Lookups do not allocate.
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
    /// Builds the table. The prefixes are numbered from 0 in the given order; they may nest, repeat
    /// and mix families.
    ///
    /// Takes O(n log n) time. From 1,000 prefixes up, it takes at most 24 bytes for each IPv4
    /// prefix and 48 for each IPv6 prefix.
    ///
    /// # Errors
    ///
    /// [`TooManyPrefixes`] for 2<sup>29</sup> prefixes or more.
    pub fn build(entries: impl IntoIterator<Item = Prefix>) -> Result<Self, TooManyPrefixes> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, prefix) in entries.into_iter().enumerate() {
            let owner = number(index)?;
            match prefix.bounds() {
                Bounds::V4 { first, last } => v4.push(Range { first, last, owner }),
                Bounds::V6 { first, last } => v6.push(Range { first, last, owner }),
            }
        }
        // vectors of these sizes exist, so the sum cannot overflow
        let entries = v4.len().saturating_add(v6.len());
        Ok(Self { entries, v4: Intervals::build(v4), v6: Intervals::build(v6) })
    }

    /// Whether a prefix of the table contains `addr`.
    #[must_use]
    #[inline]
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.owner(addr).is_some()
    }

    /// The number of the most specific prefix that contains `addr`; of repeated prefixes, the
    /// first.
    #[must_use]
    #[inline]
    pub fn longest(&self, addr: IpAddr) -> Option<usize> {
        // every number was created from a `usize`
        self.owner(addr).and_then(|owner| usize::try_from(owner).ok())
    }

    /// Number of prefixes it was built from, including repeated ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it was built from no prefixes; it then matches nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Heap memory of the table, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.v4.heap_bytes().saturating_add(self.v6.heap_bytes())
    }

    #[inline]
    fn owner(&self, addr: IpAddr) -> Option<u32> {
        match addr {
            IpAddr::V4(v4) => self.v4.owner(v4.to_bits()),
            IpAddr::V6(v6) => self.owner_v6(v6.to_bits()),
        }
    }

    /// Not inlined: a combined function would set up the 128-bit registers for IPv4 addresses too.
    #[inline(never)]
    fn owner_v6(&self, bits: u128) -> Option<u32> {
        match u32::try_from(bits ^ MAPPED) {
            Ok(v4) => self.v4.owner(v4),
            Err(_) => self.v6.owner(bits),
        }
    }
}

/// Shows sizes only: a list can hold a million addresses, and addresses do not belong in logs.
impl fmt::Debug for PrefixTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixTable")
            .field("len", &self.len())
            .field("heap_bytes", &self.heap_bytes())
            .finish_non_exhaustive()
    }
}

/// More prefixes than a [`PrefixTable`] supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a prefix table holds at most {MAX_PREFIXES} prefixes")]
#[non_exhaustive]
pub struct TooManyPrefixes;

/// The upper 96 bits of an IPv4-mapped address.
const MAPPED: u128 = 0xffff << 32;

/// A prefix makes at most two cuts, and the index numbers cuts with 30 bits.
const MAX_PREFIXES: u32 = (1 << 29) - 1;

fn number(index: usize) -> Result<u32, TooManyPrefixes> {
    u32::try_from(index).ok().filter(|&owner| owner < MAX_PREFIXES).ok_or(TooManyPrefixes)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn table(prefixes: &[&str]) -> PrefixTable {
        PrefixTable::build(prefixes.iter().map(|text| text.parse().unwrap())).unwrap()
    }

    fn longest(table: &PrefixTable, addr: &str) -> Option<usize> {
        table.longest(addr.parse().unwrap())
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
    fn of_equal_prefixes_the_first_given_owns() {
        let table = table(&["10.0.0.0/8", "192.0.2.0/24", "10.0.0.0/8", "::ffff:192.0.2.0/120"]);
        assert_eq!(table.len(), 4);
        assert_eq!(longest(&table, "10.1.2.3"), Some(0));
        assert_eq!(longest(&table, "192.0.2.255"), Some(1));
    }

    #[test]
    fn the_last_number_is_one_below_the_limit() {
        assert_eq!(number(0), Ok(0));
        let limit = usize::try_from(MAX_PREFIXES).unwrap();
        assert_eq!(number(limit - 1), Ok(MAX_PREFIXES - 1));
        assert_eq!(number(limit), Err(TooManyPrefixes));
        assert_eq!(number(usize::MAX), Err(TooManyPrefixes));
        assert_eq!(TooManyPrefixes.to_string(), "a prefix table holds at most 536870911 prefixes");
    }

    #[test]
    fn memory_stays_within_the_budget() {
        // no two prefixes touch, which makes the most cuts; evenly spread, clustered, or with
        // growing gaps
        let spreads: [fn(u32) -> u32; 3] =
            [|i| i.wrapping_mul(4_294_000), |i| ((i % 7) << 24) | (i * 2), |i| (i * i) << 1];
        for spread in spreads {
            for size in [1_000, 1_024, 1_500, 10_000] {
                let v4 = (0..size).map(|i| Ipv4Addr::from_bits(spread(i) | 1).into());
                let v6 =
                    (0..size).map(|i| Ipv6Addr::from_bits(u128::from(spread(i)) << 70 | 1).into());
                let bytes = |addrs: &mut dyn Iterator<Item = IpAddr>| {
                    PrefixTable::build(addrs.map(Prefix::from)).unwrap().heap_bytes()
                };
                let (v4, v6) = (bytes(&mut { v4 }), bytes(&mut { v6 }));
                let size = usize::try_from(size).unwrap();
                assert!(v4 <= 24 * size && v6 <= 48 * size, "{v4} and {v6} for {size}");
            }
        }
        // a single address
        assert_eq!(table(&["192.0.2.1"]).heap_bytes(), 60);
    }

    #[test]
    fn debug_shows_no_address() {
        assert_eq!(
            format!("{:?}", table(&["10.0.0.0/8"])),
            "PrefixTable { len: 1, heap_bytes: 60, .. }",
        );
    }
}
