use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn message(text: &str) -> String {
    text.parse::<Prefix>().unwrap_err().to_string()
}

/// Compares bit by bit, independent of the tested code.
fn oracle_contains(prefix: Prefix, addr: IpAddr) -> bool {
    fn bits(addr: IpAddr) -> Vec<bool> {
        let octets = match addr {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => match v6.octets() {
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, v4 @ ..] => v4.to_vec(),
                octets => octets.to_vec(),
            },
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |i| octet >> i & 1 == 1)).collect()
    }
    let (ours, theirs) = (bits(prefix.addr()), bits(addr));
    let len = usize::from(prefix.len());
    ours.len() == theirs.len() && ours[..len] == theirs[..len]
}

fn any_addr() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from_bits(bits).to_ipv6_mapped())),
        any::<u128>().prop_map(|bits| std::net::Ipv6Addr::from_bits(bits).into()),
    ]
}

/// Any prefix: random address and length, with the host bits cleared.
fn any_prefix() -> impl Strategy<Value = Prefix> {
    (any_addr(), any::<u8>()).prop_map(|(addr, len)| {
        let addr = addr.to_canonical();
        let max = if addr.is_ipv4() { 32 } else { 128 };
        match Prefix::new(addr, len % (max + 1)) {
            Ok(prefix) | Err(PrefixError::HostBits { prefix, .. }) => prefix,
            Err(other) => panic!("{other}"),
        }
    })
}

#[test]
fn reads_and_writes_the_canonical_form() {
    for (text, canonical) in [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.1/32", "192.0.2.1/32"),
        ("192.0.2.2/31", "192.0.2.2/31"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.1/255.255.255.255", "192.0.2.1/32"),
        ("0.0.0.0/0.0.0.0", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:db8::2/127", "2001:db8::2/127"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:c000:200/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        // these contain the mapped range or look like it, but are IPv6
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("::/80", "::/80"),
        ("::192.0.2.0/120", "::c000:200/120"),
        ("64:ff9b::192.0.2.0/120", "64:ff9b::c000:200/120"),
    ] {
        assert_eq!(prefix(text).to_string(), canonical, "{text}");
        assert_eq!(prefix(canonical), prefix(text));
    }
}

#[test]
fn refuses_what_is_not_exactly_a_prefix() {
    for text in [
        "",
        "/",
        "/24",
        "192.0.2.0/",
        "192.0.2.0/24/",
        "192.0.2.0/24/24",
        "192.0.2.0//24",
        "192.0.2.0/032",
        "192.0.2.0/00",
        "192.0.2.0/+8",
        "192.0.2.0/-8",
        "192.0.2.0/ 8",
        "192.0.2.0/8 ",
        " 192.0.2.0/24",
        "192.0.2.0 /24",
        "192.0.2.0/24\n",
        "192.0.2.0/0x18",
        "192.0.2.0/255.255.255",
        "192.0.2.0/255.255.255.256",
        "192.0.2.0/255.255.255.00",
        "192.0.2.0/255.255.255.0/24",
        "192.0.2.0/255.255.255.0 ",
        "192.0.2.0/ 255.255.255.0",
        "192.0.2.0/+255.255.255.0",
        "192.0.2.0/0xff.0.0.0",
        "192.0.2.0/ffff::",
        "2001:db8::/255.255.0.0",
        "2001:db8::/ffff:ffff::",
        "::ffff:192.0.2.0/255.255.255.0",
        "/255.0.0.0",
        "192.0.2.0/1000",
        "192.0.2.0/65560",
        "192.0.2.0/٢٤",
        "192.0.02.0/24",
        "192.0.2.00/24",
        "0300.0.2.0/24",
        "0xc0.0.2.0/24",
        "192.0.2/24",
        "192.0.2.256/32",
        "3221225984/24",
        "192.0.2.0.0/24",
        "192.0.2.0:5060",
        "192.0.2.*",
        "192.0.2.1-192.0.2.9",
        "+192.0.2.0/24",
        "[2001:db8::]/32",
        "[2001:db8::1]",
        "2001:db8::1%eth0",
        "2001:db8::%1/64",
        "2001:db8::/32%eth0",
        "2001::db8::/32",
        "2001:db8/32",
        ":/0",
        ":::/0",
        "::ffff:192.0.02.1",
        "::ffff:192.0.2.0/0120",
        "02001:db8::/32",
        "example.org",
        "localhost/8",
        "*",
        "any",
        "192.0.2.0/24\0",
    ] {
        let error = text.parse::<Prefix>().unwrap_err();
        assert!(matches!(error, PrefixError::Syntax { .. }), "{text:?}: {error}");
    }
}

#[test]
fn a_netmask_stands_for_its_length() {
    for len in 0..=32_u8 {
        let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        let first = Ipv4Addr::from_bits(0xc0a8_0101 & mask);
        let text = format!("{first}/{}", Ipv4Addr::from_bits(mask));
        assert_eq!(text.parse(), Prefix::new(first.into(), len), "{text}");
    }
}

#[test]
fn refuses_a_netmask_that_is_not_contiguous() {
    // a wildcard mask, as of routers, is the inverse
    for mask in ["0.255.255.255", "0.0.0.1", "255.0.255.0", "255.255.255.1", "127.0.0.0"] {
        assert_eq!(
            message(&format!("10.0.0.0/{mask}")),
            format!(
                "the netmask of `10.0.0.0/{mask}` is not contiguous; expected ones and then \
                 zeros, such as `255.255.255.0`"
            ),
        );
    }
}

#[test]
fn refuses_lengths_that_the_family_does_not_have() {
    for (text, max) in [
        ("192.0.2.0/33", 32),
        ("192.0.2.0/128", 32),
        ("192.0.2.0/255", 32),
        ("192.0.2.0/256", 32),
        ("192.0.2.0/280", 32), // 24 if it wrapped
        ("2001:db8::/129", 128),
        ("2001:db8::/288", 128),
        ("::ffff:192.0.2.0/129", 128),
        ("::ffff:192.0.2.0/999", 128),
    ] {
        assert_eq!(message(text), format!("the length of `{text}` is over {max}"));
    }
}

#[test]
fn refuses_host_bits_and_names_the_prefix() {
    for (text, corrected) in [
        ("192.0.2.1/24", "192.0.2.0/24"),
        ("192.0.2.1/31", "192.0.2.0/31"),
        ("0.0.0.1/0", "0.0.0.0/0"),
        ("128.0.0.0/0", "0.0.0.0/0"),
        ("255.255.255.255/1", "128.0.0.0/1"),
        ("2001:db8::1/127", "2001:db8::/127"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("8000::/0", "::/0"),
        ("::ffff:192.0.2.1/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1/96", "0.0.0.0/0"),
    ] {
        assert_eq!(
            message(text),
            format!("host bits are set in `{text}`; the prefix is `{corrected}`"),
        );
        let Err(PrefixError::HostBits { prefix: found, .. }) = text.parse::<Prefix>() else {
            panic!("{text}")
        };
        assert_eq!(found, prefix(corrected));
    }
    assert_eq!(
        message("10.1.2.3/255.0.0.0"),
        "host bits are set in `10.1.2.3/8`; the prefix is `10.0.0.0/8`",
    );
}

#[test]
fn refuses_a_mapped_address_with_a_length_under_96() {
    for len in 0..96 {
        for text in ["::ffff:0.0.0.0", "::ffff:192.0.2.0", "::ffff:255.255.255.255"] {
            let error = Prefix::new(addr(text), len).unwrap_err();
            assert!(matches!(error, PrefixError::AmbiguousLength { .. }), "{text}/{len}");
        }
    }
    assert_eq!(
        message("::ffff:192.0.2.0/24"),
        "the length of `::ffff:192.0.2.0/24` is under 96; write an IPv4 prefix at `192.0.2.0`",
    );
}

#[test]
fn a_refused_text_is_quoted_short_and_without_control_characters() {
    assert_eq!(
        message("192.0.2.0/24\r\nx"),
        "`192.0.2.0/24\\r\\nx` is not an IP address or prefix"
    );
    assert_eq!(message("a"), "`a` is not an IP address or prefix");
    let long = "é".repeat(10_000);
    assert_eq!(message(&long), format!("`{}…` is not an IP address or prefix", "é".repeat(64)));
}

#[test]
fn every_length_covers_its_first_and_last_address_and_no_neighbour() {
    for len in 0..=32 {
        let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        let first = 0xc000_0200 & mask;
        let last = first | !mask;
        let prefix = Prefix::new(Ipv4Addr::from_bits(first).into(), len).unwrap();
        assert_eq!(prefix.bounds(), Bounds::V4 { first, last });
        let hit = |bits| prefix.contains(Ipv4Addr::from_bits(bits).into());
        assert!(hit(first) && hit(last), "{prefix}");
        assert!(first.checked_sub(1).is_none_or(|bits| !hit(bits)), "{prefix}");
        assert!(last.checked_add(1).is_none_or(|bits| !hit(bits)), "{prefix}");
    }
    for len in 0..=128 {
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        let first = 0x2001_0db8_0000_0000_0000_0000_0000_0002 & mask;
        let last = first | !mask;
        let prefix = Prefix::new(std::net::Ipv6Addr::from_bits(first).into(), len).unwrap();
        assert_eq!(prefix.bounds(), Bounds::V6 { first, last });
        let hit = |bits| prefix.contains(std::net::Ipv6Addr::from_bits(bits).into());
        assert!(hit(first) && hit(last), "{prefix}");
        assert!(first.checked_sub(1).is_none_or(|bits| !hit(bits)), "{prefix}");
        assert!(last.checked_add(1).is_none_or(|bits| !hit(bits)), "{prefix}");
    }
}

#[test]
fn families_never_match_each_other() {
    let (v4, v6) = (prefix("0.0.0.0/0"), prefix("::/0"));
    for text in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::ffff:0.0.0.0", "::ffff:192.0.2.1"] {
        assert!(v4.contains(addr(text)) && !v6.contains(addr(text)), "{text}");
        assert!(!prefix("::fffe:0:0/95").contains(addr(text)), "{text}");
    }
    for text in ["::", "::1", "::192.0.2.1", "::fffe:ffff:ffff", "::1:0:0:0", "2001:db8::1"] {
        assert!(v6.contains(addr(text)) && !v4.contains(addr(text)), "{text}");
    }
    // the first 32 bits are equal
    assert!(!prefix("2001:db8::/32").contains(addr("32.1.13.184")));
    assert!(!prefix("32.1.13.184/32").contains(addr("2001:db8::")));
    assert!(v4.is_whole_internet() && v6.is_whole_internet());
    assert!(prefix("::ffff:0:0/96").is_whole_internet());
    assert!(!prefix("0.0.0.0/1").is_whole_internet() && !prefix("::/1").is_whole_internet());
}

#[test]
fn one_address_is_a_prefix_of_full_length() {
    assert_eq!(Prefix::from(addr("192.0.2.1")), prefix("192.0.2.1/32"));
    assert_eq!(Prefix::from(addr("::ffff:192.0.2.1")), prefix("192.0.2.1/32"));
    assert_eq!(Prefix::from(addr("2001:db8::1")), prefix("2001:db8::1/128"));
}

#[test]
fn ordered_by_family_address_length() {
    let ordered =
        ["0.0.0.0/0", "0.0.0.0/8", "10.0.0.0/8", "10.0.0.0/9", "::/0", "::/128", "2001:db8::/32"];
    let sorted: Vec<_> = ordered
        .iter()
        .rev()
        .map(|text| prefix(text))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(sorted, ordered.map(prefix));
}

proptest! {
    #[test]
    fn display_is_read_back(prefix in any_prefix()) {
        prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        prop_assert_eq!(Prefix::new(prefix.addr(), prefix.len()), Ok(prefix));
    }

    #[test]
    fn contains_agrees_with_the_bits(prefix in any_prefix(), other in any_addr()) {
        prop_assert_eq!(prefix.contains(other), oracle_contains(prefix, other));
        prop_assert!(prefix.contains(prefix.addr()));
        prop_assert!(oracle_contains(prefix, prefix.addr()));
    }

    /// An accepted prefix keeps its address and length, in IPv4 or IPv4-mapped form.
    #[test]
    fn new_keeps_address_and_length(addr in any_addr(), len: u8) {
        if let Ok(prefix) = Prefix::new(addr, len) {
            prop_assert_eq!(prefix.addr(), addr.to_canonical());
            let dropped = if addr == addr.to_canonical() { 0 } else { 96 };
            prop_assert_eq!(prefix.len() + dropped, len);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*|[0-9a-f:./]{0,50}") {
        if let Ok(prefix) = text.parse::<Prefix>() {
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn serde_goes_through_the_same_constructor() {
    use serde::de::value::{Error, StrDeserializer};
    use serde::de::{Deserialize, IntoDeserializer};

    struct Written(Prefix);
    impl fmt::Display for Written {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            serde::Serialize::serialize(&self.0, f)
        }
    }
    let read = |text: &'static str| {
        let source: StrDeserializer<'_, Error> = text.into_deserializer();
        Prefix::deserialize(source).map_err(|error| error.to_string())
    };
    assert_eq!(read("192.0.2.0/24"), Ok(prefix("192.0.2.0/24")));
    assert_eq!(read("::ffff:192.0.2.0/120"), Ok(prefix("192.0.2.0/24")));
    assert_eq!(read("192.0.2.1/24"), Err(message("192.0.2.1/24")));
    assert_eq!(read("192.0.2.0/33"), Err(message("192.0.2.0/33")));
    assert_eq!(Written(prefix("192.0.2.1")).to_string(), "192.0.2.1/32");
}
