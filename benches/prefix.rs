//! The prefix table beside the crates that one would pick instead, in one run:
//! `cargo bench --bench prefix`, with `-- --quick` for about two minutes.
//!
//! Prints, after criterion's own lines, a table with the nanoseconds of a lookup, in the fastest
//! rounds, and how many times as long the fastest of prefix-trie, ip_network_table and its treebitmap
//! takes; then bytes a prefix and the time to build. Absolute times are worth little on another
//! machine; the ratios hold.
//!
//! - `random`: prefixes of lengths 8 to 32 (IPv6: 16 to 128 in 2000::/3) anywhere. In long lists
//!   the shortest are left out, as they would cover all there is. Misses are anywhere else.
//! - `crowded`: hosts and small networks in a few /16 (IPv6: /32). Misses are in the same ones.
//!
//! The addresses asked for come in random order, 4,096 of them, or 262,144 for a million prefixes, so
//! that the processor's cache holds what it would hold in service.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use ipnet::{Ipv4Net, Ipv6Net};
use sip_authz::acl::{Prefix, PrefixError, PrefixTable};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 1_000_000];
const OURS: [&str; 2] = ["contains", "longest"];
/// What the target is set by.
const RIVALS: [&str; 3] = ["prefix-trie", "ip_network_table", "treebitmap"];
const OTHERS: [&str; 1] = ["iptrie"];
/// How many lookups are timed at once: few enough that a round without an interruption is likely.
const BLOCK: usize = 1_024;

/// SplitMix64: the same lists in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn name(self) -> &'static str {
        if self == Self::V4 { "v4" } else { "v6" }
    }

    /// The address of these leading bits.
    fn addr(self, bits: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
            Self::V6 => Ipv6Addr::from_bits(bits).into(),
        }
    }

    fn anywhere(self, random: &mut Random) -> u128 {
        match self {
            Self::V4 => random.wide(),
            Self::V6 => random.wide() >> 3 | 1 << 125,
        }
    }
}

fn leading(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A list, and addresses on it and off it.
struct List {
    prefixes: Vec<Prefix>,
    hits: Vec<IpAddr>,
    misses: Vec<IpAddr>,
}

impl List {
    fn new(family: Family, crowded: bool, size: usize) -> Self {
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
            // close to one that is listed
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

/// What was measured of one list.
struct Row {
    family: &'static str,
    list: &'static str,
    size: usize,
    /// By name: nanoseconds of a hit and a miss, bytes a prefix, milliseconds to build.
    figures: Vec<(&'static str, [f64; 4])>,
}

struct Bench<'a> {
    criterion: &'a mut Criterion,
    rows: Vec<Row>,
}

impl Bench<'_> {
    /// Nanoseconds a lookup: the mean over blocks of addresses of the fastest round of each.
    fn lookups<R>(&mut self, id: String, addrs: &[IpAddr], look_up: impl Fn(IpAddr) -> R) -> f64 {
        let mut best = vec![f64::INFINITY; addrs.len().div_ceil(BLOCK)];
        let mut turns = (0..best.len()).cycle();
        self.criterion.benchmark_group("prefix").bench_function(
            BenchmarkId::from_parameter(id),
            |b| {
                b.iter_custom(|times| {
                    let (mut left, mut took) = (times as usize, Duration::ZERO);
                    while left > 0 {
                        let turn = turns.next().unwrap();
                        let block = &addrs[turn * BLOCK..][..BLOCK.min(left)];
                        let begun = Instant::now();
                        for addr in block {
                            black_box(look_up(*black_box(addr)));
                        }
                        let elapsed = begun.elapsed();
                        if block.len() == BLOCK {
                            let each = elapsed.as_nanos() as f64 / BLOCK as f64;
                            best[turn] = best[turn].min(each);
                        }
                        took += elapsed;
                        left -= block.len();
                    }
                    took
                });
            },
        );
        let measured: Vec<_> = best.into_iter().filter(|each| each.is_finite()).collect();
        measured.iter().sum::<f64>() / measured.len() as f64
    }

    fn measure<T, R>(
        &mut self,
        name: &'static str,
        row: &mut Row,
        asked: [&[IpAddr]; 2],
        build: impl FnOnce() -> T,
        look_up: impl Fn(&T, IpAddr) -> R,
    ) {
        let mut built = None;
        let begun = Instant::now();
        let memory = allocation_counter::measure(|| built = Some(build()));
        let build_ms = begun.elapsed().as_secs_f64() * 1e3;
        let table = built.unwrap();
        let bytes = memory.bytes_current as f64 / row.size as f64;
        let [hit, miss] = [("hit", asked[0]), ("miss", asked[1])].map(|(kind, addrs)| {
            let id = format!("{}/{}/{}/{kind}/{name}", row.family, row.list, row.size);
            self.lookups(id, addrs, |addr| look_up(&table, addr))
        });
        row.figures.push((name, [hit, miss, bytes, build_ms]));
    }
}

macro_rules! family {
    ($function:ident, $family:expr, $ip:ident, $net:ty, $theirs:ty) => {
        fn $function(bench: &mut Bench<'_>, crowded: bool, size: usize) {
            let list = List::new($family, crowded, size);
            let mut row = Row {
                family: $family.name(),
                list: if crowded { "crowded" } else { "random" },
                size,
                figures: Vec::new(),
            };
            let of = |addr: IpAddr| match addr {
                IpAddr::$ip(addr) => Some(addr),
                _ => None,
            };
            let all = [&*list.hits, &*list.misses];
            let numbered = || {
                list.prefixes.iter().zip(0_u32..).map(|(prefix, number)| match prefix.addr() {
                    IpAddr::$ip(addr) => (addr, prefix.len(), number),
                    other => panic!("{other}"),
                })
            };

            let ours = || PrefixTable::build(list.prefixes.iter().copied()).unwrap();
            bench.measure("contains", &mut row, all, ours, |table, addr| table.contains(addr));
            bench.measure("longest", &mut row, all, ours, |table, addr| table.longest(addr));
            bench.measure(
                "prefix-trie",
                &mut row,
                all,
                || {
                    let nets = numbered().map(|(a, len, n)| (<$net>::new(a, len).unwrap(), n));
                    nets.collect::<prefix_trie::PrefixMap<$net, u32>>()
                },
                |map, addr| of(addr).and_then(|addr| Some(*map.get_lpm(&<$net>::from(addr))?.1)),
            );
            bench.measure(
                "ip_network_table",
                &mut row,
                all,
                || {
                    let mut table = ip_network_table::IpNetworkTable::new();
                    for (addr, len, number) in numbered() {
                        let net = ip_network::IpNetwork::new(addr, len).unwrap();
                        table.insert(net, number);
                    }
                    table
                },
                |table, addr| table.longest_match(addr).map(|(_, number)| *number),
            );
            bench.measure(
                "treebitmap",
                &mut row,
                all,
                || {
                    let mut table = ip_network_table_deps_treebitmap::IpLookupTable::new();
                    for (addr, len, number) in numbered() {
                        table.insert(addr, u32::from(len), number);
                    }
                    table
                },
                |table, addr| of(addr).and_then(|addr| Some(*table.longest_match(addr)?.2)),
            );
            bench.measure(
                "iptrie",
                &mut row,
                all,
                || {
                    // it has no way to say nobody but a value for the root
                    let mut map = iptrie::map::RTrieMap::<$theirs, u32>::with_root(u32::MAX);
                    for (addr, len, number) in numbered() {
                        map.insert(<$theirs>::new(addr, len).unwrap(), number);
                    }
                    map.compress()
                },
                |map, addr| of(addr).map(|addr| *map.lookup(&addr).1),
            );
            bench.rows.push(row);
        }
    };
}

family!(v4, Family::V4, V4, Ipv4Net, iptrie::Ipv4Prefix);
family!(v6, Family::V6, V6, Ipv6Net, iptrie::Ipv6Prefix);

impl Row {
    fn print(&self, figure: usize) {
        let of = |name: &str| {
            self.figures.iter().find(|(it, _)| *it == name).map_or(f64::NAN, |(_, it)| it[figure])
        };
        let rival = RIVALS.into_iter().map(of).fold(f64::INFINITY, f64::min);
        print!("{:<3}{:<8}{:>9}", self.family, self.list, self.size);
        for name in OURS.into_iter().chain(RIVALS).chain(OTHERS) {
            print!("{:>12.1}", of(name));
        }
        println!("{:>9.2}", rival / of("contains"));
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .configure_from_args();
    let mut bench = Bench { criterion: &mut criterion, rows: Vec::new() };
    for size in SIZES {
        for crowded in [false, true] {
            v4(&mut bench, crowded, size);
            v6(&mut bench, crowded, size);
        }
    }
    let rows = bench.rows;
    criterion.final_summary();
    for (figure, title) in
        ["ns, hit", "ns, miss", "bytes a prefix", "ms to build"].into_iter().enumerate()
    {
        print!("\n{title:<20}");
        for name in OURS.into_iter().chain(RIVALS).chain(OTHERS) {
            print!("{:>12}", name.trim_start_matches("ip_"));
        }
        println!("{:>9}", "ratio");
        rows.iter().for_each(|row| row.print(figure));
    }
}
