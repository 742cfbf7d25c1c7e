//! Compares the prefix table with the fastest of other crates on the same lists.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::{Ipv4Net, Ipv6Net};
use sip_authz::acl::PrefixTable;

use crate::report::{Comparison, Report, Target, Unit, median, ns_each};
use sip_authz_testing::bench::lists::{Family, List};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
const MILLION: usize = 1_000_000;
/// The number of lookups timed at once. Few, so that many rounds have no interruption.
const BLOCK: usize = 1_024;

macro_rules! rivals {
    ($report:expr, $list:expr, $table:expr, $ip:ident, $net:ty) => {{
        let both = ($list, $table);
        let numbered = || {
            $list.prefixes.iter().zip(0_u32..).map(|(prefix, number)| match prefix.addr() {
                IpAddr::$ip(addr) => (addr, prefix.len(), number),
                other => panic!("{other}"),
            })
        };
        let of = |addr: IpAddr| match addr {
            IpAddr::$ip(addr) => Some(addr),
            _ => None,
        };
        let nets = numbered().map(|(a, len, n)| (<$net>::new(a, len).unwrap(), n));
        let trie = nets.collect::<prefix_trie::PrefixMap<$net, u32>>();
        let mut table = ip_network_table::IpNetworkTable::new();
        let mut bitmap = ip_network_table_deps_treebitmap::IpLookupTable::new();
        for (addr, len, number) in numbered() {
            table.insert(ip_network::IpNetwork::new(addr, len).unwrap(), number);
            bitmap.insert(addr, u32::from(len), number);
        }
        [
            Rival::new($report, "prefix-trie", both, |addr| {
                of(addr).is_some_and(|addr| trie.get_lpm(&<$net>::from(addr)).is_some())
            }),
            Rival::new($report, "ip_network_table", both, |addr| {
                table.longest_match(addr).is_some()
            }),
            Rival::new($report, "treebitmap", both, |addr| {
                of(addr).is_some_and(|addr| bitmap.longest_match(addr).is_some())
            }),
        ]
    }};
}

pub(crate) fn measure(report: &mut Report) {
    for family in [Family::V4, Family::V6] {
        for size in SIZES {
            lookups(report, family, size);
        }
        million(report, family);
    }
}

/// Nanoseconds per lookup, of the next block each time.
fn rounds(addrs: &[IpAddr], look_up: impl Fn(IpAddr) -> bool, hit: bool) -> impl FnMut() -> f64 {
    let mut blocks = addrs.chunks_exact(BLOCK).cycle();
    move || {
        let block = blocks.next().unwrap();
        let begun = Instant::now();
        let found = block.iter().filter(|addr| look_up(*black_box(*addr))).count();
        let took = begun.elapsed();
        assert_eq!(found, if hit { block.len() } else { 0 });
        ns_each(took, BLOCK)
    }
}

fn lookups(report: &mut Report, family: Family, size: usize) {
    let name = |what: &str| format!("prefix-{}-{size}-{what}", family.name());
    let kinds = ["hit", "miss"].map(name);
    let bytes = name("bytes");
    let mut names: Vec<&str> = kinds.iter().map(String::as_str).collect();
    if size >= 1_000 {
        names.push(&bytes);
    }
    if !report.wants(&names) {
        return;
    }
    // the worse of the two lists counts
    let mut worst = [(f64::INFINITY, String::new()), (f64::INFINITY, String::new())];
    let mut most: f64 = 0.0;
    for crowded in [false, true] {
        let list = List::new(family, crowded, size);
        let table = PrefixTable::build(list.prefixes.iter().copied()).unwrap();
        most = most.max(table.heap_bytes() as f64 / size as f64);
        let rivals = match family {
            Family::V4 => rivals!(report, &list, &table, V4, Ipv4Net),
            Family::V6 => rivals!(report, &list, &table, V6, Ipv6Net),
        };
        for (at, worst) in worst.iter_mut().enumerate() {
            let ratio = |rival: &&Rival| rival.longest[at].ratio;
            let fastest = rivals.iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap();
            if ratio(&fastest) < worst.0 {
                let Comparison { first, second, ratio } = fastest.longest[at];
                let note = format!(
                    "{second:.1} ns, {} {first:.1} ns, {} list; contains: {:.2}x",
                    fastest.name,
                    if crowded { "crowded" } else { "random" },
                    fastest.contains[at],
                );
                *worst = (ratio, note);
            }
        }
    }
    for (name, (ratio, note)) in kinds.iter().zip(worst) {
        report.line(name, Unit::Ratio, ratio, Target::AtLeast(2.0), &note);
    }
    if size >= 1_000 {
        report.line(&bytes, Unit::Bytes, most, most_bytes(family), "per prefix, on the heap");
    }
}

fn most_bytes(family: Family) -> Target {
    Target::AtMost(if family == Family::V4 { 24.0 } else { 48.0 })
}

/// Absolute times, since a table of this size does not stay in the cache.
fn million(report: &mut Report, family: Family) {
    let name = |what: &str| format!("prefix-{}-1000000-{what}", family.name());
    let (hit, bytes, build) = (name("hit"), name("bytes"), name("build"));
    if !report.wants(&[&hit, &bytes, &build]) {
        return;
    }
    let size = if report.options.small { 1_000 } else { MILLION };
    let (mut slowest, mut most, mut longest) = (0.0_f64, 0.0_f64, 0.0_f64);
    for crowded in [false, true] {
        let list = List::new(family, crowded, size);
        let build = || {
            let begun = Instant::now();
            let table = PrefixTable::build(list.prefixes.iter().copied()).unwrap();
            (begun.elapsed().as_secs_f64(), table)
        };
        let times = (0..3).map(|_| build().0).collect();
        let table = build().1;
        longest = longest.max(median(times));
        most = most.max(table.heap_bytes() as f64 / size as f64);
        let mut look_up = rounds(&list.hits, |addr| table.longest(addr).is_some(), true);
        // each block twice; the other blocks evict its data before the second time
        let blocks = list.hits.len() / BLOCK * 2;
        slowest = slowest.max(median((0..blocks).map(|_| look_up()).collect()));
    }
    let note = "the slower of a random and a crowded list";
    report.line(&hit, Unit::Ns, slowest, Target::AtMost(50.0), note);
    report.line(&bytes, Unit::Bytes, most, most_bytes(family), "per prefix, on the heap");
    report.line(&build, Unit::Seconds, longest, Target::AtMost(0.5), note);
}

/// Compares another crate's table with ours, for hits and misses. One comparison uses the longest
/// prefix, as decisions do, the other only whether a prefix matches.
struct Rival {
    name: &'static str,
    longest: [Comparison; 2],
    contains: [f64; 2],
}

impl Rival {
    fn new(
        report: &Report,
        name: &'static str,
        (list, table): (&List, &PrefixTable),
        theirs: impl Fn(IpAddr) -> bool,
    ) -> Self {
        let kinds = [(true, &list.hits), (false, &list.misses)];
        let longest = |addr| table.longest(addr).is_some();
        let contains = |addr| table.contains(addr);
        Self {
            name,
            longest: kinds.map(|(hit, addrs)| {
                report.compare(rounds(addrs, &theirs, hit), rounds(addrs, longest, hit))
            }),
            contains: kinds.map(|(hit, addrs)| {
                report.compare(rounds(addrs, &theirs, hit), rounds(addrs, contains, hit)).ratio
            }),
        }
    }
}
