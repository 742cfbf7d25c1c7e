//! IP prefixes, validated on creation: the length fits the family and no host bit is set. Ambiguous
//! texts are rejected.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An IP prefix, such as `192.0.2.0/24` or `2001:db8::/32`. A single address is a prefix of full
/// length.
///
/// Prefixes match addresses of their own family only. IPv4-mapped IPv6 (`::ffff:192.0.2.1`) counts
/// as IPv4, in prefixes and in sources, so `::ffff:192.0.2.0/120` is `192.0.2.0/24`. A mapped
/// address with a length under 96 is rejected, because it may be meant as an IPv4 length
/// (`::ffff:192.0.2.0/24`) or an IPv6 one. IPv6 prefixes that contain the mapped range, such as
/// `::/0`, are valid; they match IPv6 sources only.
///
/// Prefixes are ordered by family (IPv4 first), then address, then length.
///
/// ```
/// use sip_authz::acl::Prefix;
///
/// let office: Prefix = "192.0.2.0/24".parse()?;
/// assert!(office.contains("192.0.2.7".parse()?));
/// assert!(office.contains("::ffff:192.0.2.7".parse()?));
/// assert_eq!(
///     "192.0.2.1/24".parse::<Prefix>().unwrap_err().to_string(),
///     "host bits are set in `192.0.2.1/24`; the prefix is `192.0.2.0/24`",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Prefix(IpNet);

impl Prefix {
    /// Creates the prefix of `len` bits at `addr`.
    ///
    /// # Errors
    ///
    /// [`PrefixError`] if the length exceeds the family's, a host bit is set, or an IPv4-mapped
    /// address has a length under 96.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let net = match (addr, addr.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) => {
                if len > V6_BITS {
                    return Err(length_error(addr, len.into()));
                }
                let len = len.checked_sub(MAPPED_BITS).ok_or(PrefixError::AmbiguousLength {
                    addr,
                    len,
                    ipv4: mapped,
                })?;
                Ipv4Net::new(mapped, len).map(IpNet::V4)
            }
            (_, IpAddr::V4(v4)) => Ipv4Net::new(v4, len).map(IpNet::V4),
            (_, IpAddr::V6(v6)) => Ipv6Net::new(v6, len).map(IpNet::V6),
        }
        .map_err(|_| length_error(addr, len.into()))?;

        let prefix = Self(net.trunc());
        if prefix.0 == net { Ok(prefix) } else { Err(PrefixError::HostBits { addr, len, prefix }) }
    }

    /// The first address of the prefix.
    #[must_use]
    pub fn addr(self) -> IpAddr {
        self.0.addr()
    }

    /// Length in bits: at most 32 for IPv4, 128 for IPv6.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length in bits; no prefix is empty")]
    pub fn len(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the prefix matches its whole family: `0.0.0.0/0` or `::/0`.
    #[must_use]
    pub fn is_whole_internet(self) -> bool {
        self.len() == 0
    }

    /// Whether the prefix contains `addr`. An IPv4-mapped address counts as IPv4.
    ///
    /// To match many prefixes at once, use [`PrefixTable`](super::PrefixTable).
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        self.0.contains(&addr.to_canonical())
    }

    /// The first and last address as numbers.
    pub(super) fn bounds(self) -> Bounds {
        match self.0 {
            IpNet::V4(net) => {
                Bounds::V4 { first: net.network().to_bits(), last: net.broadcast().to_bits() }
            }
            IpNet::V6(net) => {
                Bounds::V6 { first: net.network().to_bits(), last: net.broadcast().to_bits() }
            }
        }
    }
}

/// Converts an address to its prefix of full length: `/32`, or `/128` for IPv6.
impl From<IpAddr> for Prefix {
    fn from(addr: IpAddr) -> Self {
        Self(addr.to_canonical().into())
    }
}

/// Parses `192.0.2.0/24`, `2001:db8::/32`, or a single address as a prefix of full length. Rejects
/// spaces, signs, leading zeros in decimal numbers, zones and host names.
impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || PrefixError::Syntax { input: quotable(text) };
        let Some((addr, len)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| syntax());
        };
        let addr: IpAddr = addr.parse().map_err(|_| syntax())?;
        let len = parse_len(len).ok_or_else(syntax)?;
        Self::new(addr, u8::try_from(len).map_err(|_| length_error(addr, len))?)
    }
}

/// Always prints the length: `192.0.2.1/32`.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(feature = "serde")]
impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(feature = "serde")]
impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

/// A reason why a value is not a [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// The text is neither an address nor an address, a slash and a length.
    #[error("`{input}` is not an IP address or prefix")]
    Syntax {
        /// The text, with control characters escaped and truncated to 64 characters.
        input: String,
    },
    /// The length exceeds the bits of the address.
    #[error("the length of `{addr}/{len}` is over {max}")]
    Length {
        /// The address as given.
        addr: IpAddr,
        /// The length as given.
        len: u16,
        /// The maximum length for this address.
        max: u8,
    },
    /// Bits after the length are set; either the address or the length is wrong.
    #[error("host bits are set in `{addr}/{len}`; the prefix is `{prefix}`")]
    HostBits {
        /// The address as given.
        addr: IpAddr,
        /// The length as given.
        len: u8,
        /// The prefix of that length which contains the address.
        prefix: Prefix,
    },
    /// An IPv4-mapped address with a length under 96; it may be meant as an IPv4 length.
    #[error("the length of `{addr}/{len}` is under 96; write an IPv4 prefix at `{ipv4}`")]
    AmbiguousLength {
        /// The address as given.
        addr: IpAddr,
        /// The length as given.
        len: u8,
        /// The mapped IPv4 address.
        ipv4: Ipv4Addr,
    },
}

/// The first and last address of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    V4 { first: u32, last: u32 },
    V6 { first: u128, last: u128 },
}

const V4_BITS: u8 = 32;
const V6_BITS: u8 = 128;
/// Number of bits before the IPv4 address in an IPv4-mapped address.
const MAPPED_BITS: u8 = 96;
/// Maximum length of a malformed text in an error; the longest valid text has 49 characters.
const QUOTED_CHARS: usize = 64;

fn length_error(addr: IpAddr, len: u16) -> PrefixError {
    PrefixError::Length { addr, len, max: if addr.is_ipv4() { V4_BITS } else { V6_BITS } }
}

/// Parses one to three digits without a leading zero; `str::parse` alone accepts `+8` and `032`.
fn parse_len(text: &str) -> Option<u16> {
    let plain = matches!(text.len(), 1..=3)
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Escapes and truncates untrusted text, because errors end up in logs.
fn quotable(text: &str) -> String {
    let mut chars = text.chars();
    let mut quoted: String =
        chars.by_ref().take(QUOTED_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
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
            "192.0.2.0/255.255.255.0",
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
        for text in
            ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::ffff:0.0.0.0", "::ffff:192.0.2.1"]
        {
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
        let ordered = [
            "0.0.0.0/0",
            "0.0.0.0/8",
            "10.0.0.0/8",
            "10.0.0.0/9",
            "::/0",
            "::/128",
            "2001:db8::/32",
        ];
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
}
