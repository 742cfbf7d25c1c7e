//! Compares the prefix table with similar crates in one run: `cargo bench --bench prefix`, with `--
//! --quick` for about two minutes.
//!
//! After criterion's output it prints tables: the nanoseconds of a lookup in the fastest rounds, and
//! the ratio to the fastest of prefix-trie, ip_network_table and its treebitmap. Then bytes per prefix
//! and the time to build. Absolute times depend on the machine; compare the ratios.
//!
//! - `random`: prefixes with lengths of 8 to 32 anywhere (IPv6: 16 to 128 in 2000::/3). Long lists omit
//!   the shortest, which would cover the whole range. Misses are anywhere else.
//! - `crowded`: hosts and small networks in a few /16 (IPv6: /32). Misses are in the same networks.
//!
//! The lookups use 4,096 addresses in random order, or 262,144 for a million prefixes, so that the
//! cache of the processor holds what it would hold in service.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use ipnet::{Ipv4Net, Ipv6Net};
use sip_authz::acl::PrefixTable;
use sip_authz_testing::bench::lists::{Family, List};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 1_000_000];
const OURS: [&str; 2] = ["contains", "longest"];
/// The crates that define the target.
const RIVALS: [&str; 3] = ["prefix-trie", "ip_network_table", "treebitmap"];
const OTHERS: [&str; 1] = ["iptrie"];
/// The number of lookups timed at once. Few, so that many rounds have no interruption.
const BLOCK: usize = 1_024;

/// The results for one list.
struct Row {
    family: &'static str,
    list: &'static str,
    size: usize,
    /// By name: nanoseconds of a hit and of a miss, bytes per prefix, milliseconds to build.
    figures: Vec<(&'static str, [f64; 4])>,
}

struct Bench<'a> {
    criterion: &'a mut Criterion,
    rows: Vec<Row>,
}

impl Bench<'_> {
    /// Nanoseconds per lookup: the mean over blocks of addresses of each block's fastest round.
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
                    // a value for the root stands for no match
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
        ["ns, hit", "ns, miss", "bytes per prefix", "ms to build"].into_iter().enumerate()
    {
        print!("\n{title:<20}");
        for name in OURS.into_iter().chain(RIVALS).chain(OTHERS) {
            print!("{:>12}", name.trim_start_matches("ip_"));
        }
        println!("{:>9}", "ratio");
        rows.iter().for_each(|row| row.print(figure));
    }
}
