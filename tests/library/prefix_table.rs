//! Compares the prefix table with a bitwise linear scan, and checks the cases that other access
//! lists got wrong: /0 as a shift by the full width, and one family read as the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use proptest::prelude::*;
use sip_authz::acl::{Prefix, PrefixError, PrefixTable};
use sip_authz_testing::fuzzing::fuzz_prefix_table;

#[test]
fn the_whole_internet_is_one_family() {
    for (prefixes, v4, v6) in [
        (&["0.0.0.0/0"][..], Some(0), None),
        (&["::/0"], None, Some(0)),
        (&["::ffff:0:0/96"], Some(0), None),
        (&["0.0.0.0/0", "::/0"], Some(0), Some(1)),
        (&["::/0", "0.0.0.0/0"], Some(1), Some(0)),
        (&["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0"], Some(1), None),
    ] {
        let table = table(prefixes);
        check(&table, "192.0.2.1", v4);
        check(&table, "255.255.255.255", v4);
        check(&table, "::ffff:192.0.2.1", v4);
        check(&table, "2001:db8::1", v6);
        check(&table, "::", v6);
        check(&table, "::192.0.2.1", v6);
        check(&table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", v6);
    }
}

#[test]
fn zero_length_is_not_one_address() {
    let all = table(&["0.0.0.0/0"]);
    check(&all, "0.0.0.0", Some(0));
    check(&all, "0.0.0.1", Some(0));
    let one = table(&["0.0.0.0"]);
    check(&one, "0.0.0.0", Some(0));
    check(&one, "0.0.0.1", None);
    let one = table(&["::"]);
    check(&one, "::", Some(0));
    check(&one, "::1", None);
    check(&one, "0.0.0.0", None);
}

#[test]
fn a_32_is_one_address_in_ipv4_and_a_network_in_ipv6() {
    let v6 = table(&["2001:db8::/32"]);
    check(&v6, "2001:db8::", Some(0));
    check(&v6, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some(0));
    check(&v6, "2001:db9::", None);
    check(&v6, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", None);
    check(&v6, "32.1.13.184", None); // the same 32 bits
    check(&v6, "::32.1.13.184", None);
    let v4 = table(&["32.1.13.184/32"]);
    check(&v4, "32.1.13.184", Some(0));
    check(&v4, "32.1.13.185", None);
    check(&v4, "2001:db8::", None);
    check(&v4, "::32.1.13.184", None);
}

#[test]
fn the_longest_lengths_have_one_and_two_addresses() {
    let table = table(&["192.0.2.2/31", "192.0.2.7/32", "2001:db8::2/127", "2001:db8::7/128"]);
    for (addr, expected) in [
        ("192.0.2.1", None),
        ("192.0.2.2", Some(0)),
        ("192.0.2.3", Some(0)),
        ("192.0.2.4", None),
        ("192.0.2.6", None),
        ("192.0.2.7", Some(1)),
        ("192.0.2.8", None),
        ("2001:db8::1", None),
        ("2001:db8::2", Some(2)),
        ("2001:db8::3", Some(2)),
        ("2001:db8::4", None),
        ("2001:db8::6", None),
        ("2001:db8::7", Some(3)),
        ("2001:db8::8", None),
    ] {
        check(&table, addr, expected);
    }
}

#[test]
fn families_may_come_in_either_order() {
    let v4_first = table(&["192.0.2.0/24", "2001:db8::/32"]);
    let v6_first = table(&["2001:db8::/32", "192.0.2.0/24"]);
    for addr in ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"] {
        check(&v4_first, addr, Some(0));
        check(&v6_first, addr, Some(1));
    }
    for addr in ["2001:db8::", "2001:db8::9"] {
        check(&v4_first, addr, Some(1));
        check(&v6_first, addr, Some(0));
    }
    for addr in ["192.0.3.0", "192.0.1.255", "2001:db9::", "::192.0.2.1", "::"] {
        check(&v4_first, addr, None);
        check(&v6_first, addr, None);
    }
}

#[test]
fn ipv6_around_the_mapped_range_matches_no_ipv4_source() {
    let table = table(&["::fffe:0:0/95", "::/64", "192.0.2.1"]);
    check(&table, "::fffe:ffff:ffff", Some(0));
    check(&table, "::ffff:0.0.0.0", None);
    check(&table, "::ffff:192.0.2.1", Some(2));
    check(&table, "::ffff:255.255.255.255", None);
    check(&table, "::1:0:0:0", Some(1));
}

#[test]
fn the_ends_of_the_address_space() {
    let table = table(&[
        "255.255.255.255",
        "255.255.255.254/31",
        "0.0.0.0",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "ffff::/16",
        "::",
    ]);
    for (addr, expected) in [
        ("255.255.255.255", Some(0)),
        ("255.255.255.254", Some(1)),
        ("255.255.255.253", None),
        ("0.0.0.0", Some(2)),
        ("0.0.0.1", None),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(3)),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", Some(4)),
        ("fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
        ("::", Some(5)),
        ("::1", None),
    ] {
        check(&table, addr, expected);
    }
}

#[test]
fn every_length_nested_in_every_shorter_one() {
    for reversed in [false, true] {
        for (addr, bits) in [("170.170.170.170", 32), ("aaaa:5555:aaaa:5555::5555", 128_u8)] {
            let addr: IpAddr = addr.parse().unwrap();
            let mut prefixes: Vec<_> = (0..=bits).map(|len| covering(addr, len)).collect();
            if reversed {
                prefixes.reverse();
            }
            agree_around(&prefixes, []);
        }
    }
}

#[test]
fn a_hundred_thousand_prefixes_are_all_there() {
    // every second /24 from 1.0.0.0 on, and as many /48
    let v4 = (0..50_000_u32)
        .map(|i| Prefix::new(Ipv4Addr::from_bits(0x0100_0000 + (i << 9)).into(), 24).unwrap());
    let v6 = (0..50_000_u128).map(|i| {
        Prefix::new(Ipv6Addr::from_bits((0x2001_0000_0000 + 2 * i) << 80).into(), 48).unwrap()
    });
    let mut prefixes: Vec<_> = v6.zip(v4).flat_map(|(v6, v4)| [v6, v4]).collect();
    prefixes.reverse();
    let table = PrefixTable::build(prefixes.iter().copied()).unwrap();
    assert_eq!(table.len(), 100_000);
    for (index, &prefix) in prefixes.iter().enumerate() {
        let [before, first, last, after] = edges(prefix);
        assert_eq!((table.longest(first), table.longest(last)), (Some(index), Some(index)));
        assert!(!table.contains(before) && !table.contains(after), "{prefix}");
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/prefix_table");
    let seeds: Vec<_> = fs::read_dir(folder).unwrap().collect();
    assert!(seeds.len() >= 10);
    for seed in seeds {
        fuzz_prefix_table(&fs::read(seed.unwrap().path()).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_a_linear_scan(
        prefixes in prop::collection::vec(any_prefix(), 0..40),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        others in prop::collection::vec(any_addr(), 0..20),
    ) {
        let mut list = prefixes;
        for index in repeated {
            if !list.is_empty() {
                list.insert(index.index(list.len()), list[index.index(list.len())]);
                list.push(list[index.index(list.len())]);
            }
        }
        agree_around(&list, others);
    }

    /// The order of a list does not affect which prefix matches.
    #[test]
    fn order_changes_numbers_only(
        prefixes in prop::collection::vec(any_prefix(), 1..20),
        addr in any_addr(),
    ) {
        let forward = PrefixTable::build(prefixes.iter().copied()).unwrap();
        let backward = PrefixTable::build(prefixes.iter().rev().copied()).unwrap();
        let matched = forward.longest(addr).map(|index| prefixes[index]);
        prop_assert_eq!(
            backward.longest(addr).map(|index| prefixes[prefixes.len() - 1 - index]),
            matched
        );
    }

    #[test]
    fn display_is_read_back(prefix in any_prefix()) {
        prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Lists long enough for every form of the table; clustered prefixes nest, touch and repeat.
    #[test]
    fn long_lists_agree_with_a_linear_scan(bytes in prop::collection::vec(any::<u8>(), 0..18 * 120),
        crowd in 0..4_usize)
    {
        let mut bytes = bytes;
        for entry in bytes.chunks_mut(18) {
            // the leading octets of the address
            for (octet, same) in entry.iter_mut().skip(2).zip([10, 0, 7]).take(crowd) {
                *octet = same;
            }
        }
        fuzz_prefix_table(&bytes);
    }
}

fn table(prefixes: &[&str]) -> PrefixTable {
    PrefixTable::build(prefixes.iter().map(|text| text.parse().unwrap())).unwrap()
}

#[track_caller]
fn check(table: &PrefixTable, addr: &str, expected: Option<usize>) {
    let addr = addr.parse().unwrap();
    assert_eq!(table.longest(addr), expected, "{addr}");
    assert_eq!(table.contains(addr), expected.is_some(), "{addr}");
}

/// Compares table, `Prefix::contains` and reference at the edges of every prefix, at their
/// lookalikes in the other family, and at `others`.
#[track_caller]
fn agree_around(prefixes: &[Prefix], others: impl IntoIterator<Item = IpAddr>) {
    let table = PrefixTable::build(prefixes.iter().copied()).unwrap();
    assert_eq!((table.len(), table.is_empty()), (prefixes.len(), prefixes.is_empty()));
    let as_bits: Vec<_> = prefixes.iter().map(|p| (bits(p.addr()), p.len())).collect();
    let edges = prefixes.iter().flat_map(|&prefix| edges(prefix)).flat_map(lookalikes);
    for addr in edges.chain(others) {
        let expected = oracle_longest(&as_bits, addr);
        assert_eq!(table.longest(addr), expected, "{addr} in {prefixes:?}");
        assert_eq!(table.contains(addr), expected.is_some(), "{addr} in {prefixes:?}");
        assert_eq!(prefixes.iter().any(|prefix| prefix.contains(addr)), expected.is_some());
    }
}

fn oracle_longest(prefixes: &[(Vec<bool>, u8)], addr: IpAddr) -> Option<usize> {
    let addr = bits(addr);
    let mut best: Option<(usize, u8)> = None;
    for (index, (ours, len)) in prefixes.iter().enumerate() {
        let covered = usize::from(*len);
        let matches = ours.len() == addr.len() && ours[..covered] == addr[..covered];
        if matches && best.is_none_or(|(_, longest)| *len > longest) {
            best = Some((index, *len));
        }
    }
    best.map(|(index, _)| index)
}

/// 32 or 128 bits; a mapped address has 32.
fn bits(addr: IpAddr) -> Vec<bool> {
    let octets = match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => match v6.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, v4 @ ..] => v4.to_vec(),
            octets => octets.to_vec(),
        },
    };
    octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
}

/// The address before a prefix, its first, its last and the one after, with wrap-around.
fn edges(prefix: Prefix) -> [IpAddr; 4] {
    let len = u32::from(prefix.len());
    match prefix.addr() {
        IpAddr::V4(first) => {
            let first = first.to_bits();
            let last = first | u32::MAX.checked_shr(len).unwrap_or(0);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(first) => {
            let first = first.to_bits();
            let last = first | u128::MAX.checked_shr(len).unwrap_or(0);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}

/// The address, and addresses of the other family with the same bits.
fn lookalikes(addr: IpAddr) -> Vec<IpAddr> {
    match addr {
        IpAddr::V4(v4) => vec![
            addr,
            v4.to_ipv6_mapped().into(),
            Ipv6Addr::from_bits(v4.to_bits().into()).into(),
            Ipv6Addr::from_bits(u128::from(v4.to_bits()) << 96).into(),
        ],
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let (quads, _) = octets.as_chunks::<4>();
            vec![addr, Ipv4Addr::from(quads[0]).into(), Ipv4Addr::from(quads[3]).into()]
        }
    }
}

/// The prefix of this length that contains `addr`.
fn covering(addr: IpAddr, len: u8) -> Prefix {
    match Prefix::new(addr, len) {
        Ok(prefix) | Err(PrefixError::HostBits { prefix, .. }) => prefix,
        Err(other) => panic!("{other}"),
    }
}

/// Half of the addresses share most of their bits, so that prefixes nest and touch.
fn any_addr() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![
        any::<u32>(),
        any::<u8>().prop_map(|low| 0xc000_0200 | u32::from(low)),
        Just(0),
        Just(u32::MAX),
    ];
    let v6 = prop_oneof![
        any::<u128>(),
        any::<u8>().prop_map(|low| (0x2001_0db8 << 96) | u128::from(low)),
        // inside the mapped range and on both sides of it
        any::<u32>().prop_map(|low| 0xfffe_0000_0000 | u128::from(low)),
        any::<u32>().prop_map(|low| 0xffff_0000_0000 | u128::from(low)),
        any::<u32>().prop_map(u128::from),
        Just(0),
        Just(u128::MAX),
    ];
    prop_oneof![
        v4.clone().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        v4.prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()),
        v6.prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
    ]
}

/// Any length, with the shortest and longest more often.
fn any_prefix() -> impl Strategy<Value = Prefix> {
    let from_end = prop_oneof![Just(0_u8), Just(1), 0..=8_u8, 0..=128_u8];
    (any_addr(), from_end, any::<bool>()).prop_map(|(addr, from_end, long)| {
        let addr = addr.to_canonical();
        let max = if addr.is_ipv4() { 32 } else { 128 };
        let from_end = from_end.min(max);
        covering(addr, if long { max - from_end } else { from_end })
    })
}
