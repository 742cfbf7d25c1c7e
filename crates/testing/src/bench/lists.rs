//! Lists of prefixes of any size, the same in every run, and addresses inside and outside them.
//!
//! - `random`: prefixes with lengths of 8 to 32 anywhere (IPv6: 16 to 128 in 2000::/3). Long lists omit
//!   the shortest, which would cover the whole range. Misses are anywhere else.
//! - `crowded`: hosts and small networks in a few /16 (IPv6: /32). Misses are in the same networks.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sip_authz::acl::{Prefix, PrefixError, PrefixTable};

/// SplitMix64, so that the lists are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn name(self) -> &'static str {
        if self == Self::V4 { "v4" } else { "v6" }
    }

    /// The address with these leading bits.
    pub fn addr(self, bits: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
            Self::V6 => Ipv6Addr::from_bits(bits).into(),
        }
    }

    pub fn anywhere(self, random: &mut Random) -> u128 {
        match self {
            Self::V4 => random.wide(),
            Self::V6 => random.wide() >> 3 | 1 << 125,
        }
    }
}

pub fn leading(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A list, with addresses inside and outside it.
pub struct List {
    pub prefixes: Vec<Prefix>,
    pub hits: Vec<IpAddr>,
    pub misses: Vec<IpAddr>,
}

impl List {
    pub fn new(family: Family, crowded: bool, size: usize) -> Self {
        let random = &mut Random(size as u64 ^ u64::from(crowded) << 40);
        let (crowd_len, max) = if family == Family::V4 { (16, 32_u8) } else { (32, 128) };
        let crowds: Vec<u128> = (0..(size / 200).clamp(3, 500))
            .map(|_| family.anywhere(random) & !(u128::MAX >> crowd_len))
            .collect();
        let inside = |random: &mut Random| {
            let crowd = crowds[random.below(crowds.len())];
            crowd | random.wide() >> crowd_len
        };
        let shortest = if family == Family::V4 { 8.max(size.ilog2() as usize - 2) } else { 16 };
        let mut prefixes = BTreeSet::new();
        while prefixes.len() < size {
            let (bits, len) = match (crowded, family) {
                (false, _) => (
                    family.anywhere(random),
                    (shortest + random.below(usize::from(max) + 1 - shortest)) as u8,
                ),
                (true, Family::V4) => (inside(random), [32, 32, 32, 32, 30, 29][random.below(6)]),
                (true, Family::V6) => (inside(random), [64, 64, 128, 128, 56][random.below(5)]),
            };
            prefixes.insert(match Prefix::new(family.addr(bits), len) {
                Ok(prefix) | Err(PrefixError::HostBits { prefix, .. }) => prefix,
                Err(other) => panic!("{other}"),
            });
        }
        let mut prefixes: Vec<_> = prefixes.into_iter().collect();
        for i in (1..prefixes.len()).rev() {
            prefixes.swap(i, random.below(i + 1));
        }

        let asked = if size < 100_000 { 4_096 } else { 262_144 };
        let hits = (0..asked).map(|_| {
            let prefix = prefixes[random.below(size)];
            let host = random.wide().checked_shr(u32::from(prefix.len())).unwrap_or(0);
            family.addr(leading(prefix.addr()) | host)
        });
        let hits = hits.collect();
        let table = PrefixTable::build(prefixes.iter().copied()).unwrap();
        let misses = std::iter::repeat_with(|| match (crowded, random.below(2)) {
            (false, _) => family.addr(family.anywhere(random)),
            (true, 0) => family.addr(inside(random)),
            // close to a listed address
            (true, _) => {
                let near = leading(prefixes[random.below(size)].addr());
                let bits = if family == Family::V4 { 118 } else { 80 };
                family.addr(near ^ random.wide() >> (128 - bits))
            }
        });
        let misses = misses.filter(|addr| !table.contains(*addr)).take(asked).collect();
        Self { prefixes, hits, misses }
    }
}
