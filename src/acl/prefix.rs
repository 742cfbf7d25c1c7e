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

/// Parses `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/32`, or a single address as a
/// prefix of full length. Rejects spaces, signs, leading zeros in decimal numbers, zones, host names
/// and netmasks that are not contiguous.
impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || PrefixError::Syntax { input: quotable(text) };
        let Some((addr, len)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| syntax());
        };
        let addr: IpAddr = addr.parse().map_err(|_| syntax())?;
        if let (IpAddr::V4(addr), Ok(mask)) = (addr, len.parse()) {
            return Self::new(addr.into(), mask_len(addr, mask)?);
        }
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
    /// The netmask has a one after a zero.
    #[error(
        "the netmask of `{addr}/{mask}` is not contiguous; expected ones and then zeros, such as \
         `255.255.255.0`"
    )]
    Netmask {
        /// The address as given.
        addr: Ipv4Addr,
        /// The netmask as given.
        mask: Ipv4Addr,
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

/// The length that a contiguous netmask stands for.
fn mask_len(addr: Ipv4Addr, mask: Ipv4Addr) -> Result<u8, PrefixError> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    match u8::try_from(ones) {
        Ok(len) if ones == bits.count_ones() => Ok(len),
        _ => Err(PrefixError::Netmask { addr, mask }),
    }
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
mod tests;
