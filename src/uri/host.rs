//! Host names and addresses (RFC 3261 §25.1 `host`) and their canonical form. Tolerates
//! underscores, because deployed names have them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayString;

/// A canonical host: lower case, no trailing dot, canonical addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(ArrayString<253>);

impl Host {
    /// Parses a DNS name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`HostError`] for any other text. A name whose last label is a number (including `0x7f`)
    /// must be an IPv4 address in dotted-decimal form.
    pub fn parse(text: &str) -> Result<Host, HostError> {
        let mut host = Host::empty();
        host.write(&read_host(text)?)?;
        Ok(host)
    }

    /// An empty buffer for [`Self::written`].
    pub(crate) fn empty() -> Host {
        Host(ArrayString::new())
    }

    fn write(&mut self, host: &HostKind<'_>) -> Result<(), HostError> {
        self.0.clear();
        let written = match host {
            HostKind::Name(name) => self.0.try_push_str(name).is_ok(),
            HostKind::Ipv6(address) => write!(self.0, "[{address}]").is_ok(),
        };
        self.0.make_ascii_lowercase();
        if written { Ok(()) } else { Err(HostError::TooLong) }
    }

    /// The canonical text. A text that is canonical as sent is returned; any other is written into
    /// `self`.
    pub(super) fn written<'t>(&'t mut self, host: &HostKind<'t>) -> Result<&'t str, HostError> {
        match host {
            HostKind::Name(name)
                if !name.bytes().fold(false, |any, b| any | b.is_ascii_uppercase()) =>
            {
                Ok(name)
            }
            host => {
                self.write(host)?;
                Ok(&self.0)
            }
        }
    }

    /// The canonical text; at most 253 bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A reason why a text is not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[rustfmt::skip]
pub enum HostError {
    /// Empty, or only a dot.
    #[error("empty host")] Empty,
    /// Longer than 253 bytes without the trailing dot, or a label longer than 63.
    #[error("host or label too long")] TooLong,
    /// An empty label, or one that starts or ends with a hyphen.
    #[error("malformed label")] Label,
    /// A byte other than ASCII letters, digits, `-`, `_` and `.`.
    #[error("bad character in the host")] Character,
    /// The last label is a number, but the host is not an IPv4 address.
    #[error("malformed ipv4 address")] Ipv4,
    /// Not an IPv6 address in brackets, or no closing bracket.
    #[error("malformed ipv6 address")] Ipv6,
    /// An IPv6 address with a zone, which is meaningless on another machine.
    #[error("ipv6 address with a zone")] Zone,
}

/// A parsed host, before it is written in canonical form.
pub(super) enum HostKind<'a> {
    /// A DNS name or an IPv4 address, without the trailing dot.
    Name(&'a str),
    Ipv6(Ipv6Addr),
}

impl HostKind<'_> {
    pub(super) fn same(&self, other: &HostKind<'_>) -> bool {
        match (self, other) {
            (HostKind::Name(a), HostKind::Name(b)) => a.eq_ignore_ascii_case(b),
            (HostKind::Ipv6(a), HostKind::Ipv6(b)) => a == b,
            _ => false,
        }
    }
}

pub(super) fn read_host(text: &str) -> Result<HostKind<'_>, HostError> {
    if let Some(rest) = text.strip_prefix('[') {
        let address = rest.strip_suffix(']').ok_or(HostError::Ipv6)?;
        if address.contains('%') {
            return Err(HostError::Zone);
        }
        return address.parse().map(HostKind::Ipv6).map_err(|_| HostError::Ipv6);
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > 253 {
        return Err(HostError::TooLong);
    }
    if is_host_name_fast(name.as_bytes()) {
        return Ok(HostKind::Name(name));
    }
    let mut last = "";
    for label in name.split('.') {
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(HostError::Character);
        }
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return Err(HostError::Label);
        }
        if label.len() > 63 {
            return Err(HostError::TooLong);
        }
        last = label;
    }
    // a text that `inet_aton` would read as an address must be one in dotted-decimal form
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if numeric && (name.len() < text.len() || name.parse::<Ipv4Addr>().is_err()) {
        return Err(HostError::Ipv4);
    }
    Ok(HostKind::Name(name))
}

/// Fast path: whether this is a well-formed name of at most 63 bytes whose last label starts with a
/// letter. Most host names are; the full parser decides about the others.
#[inline]
pub(super) fn is_host_name_fast(name: &[u8]) -> bool {
    // Each byte has a weight. Letters and digits have 0, a hyphen 1, a dot 2. The sum of two
    // neighbours exceeds 2 for a dot beside a dot or hyphen, and for a bad byte. Both ends count as
    // dots.
    let (mut before, mut most, mut last) = (DOT, 0, 0);
    for (at, byte) in name.iter().enumerate() {
        let weight = WEIGHTS.get(usize::from(*byte)).copied().unwrap_or(BAD);
        most = most.max(before.wrapping_add(weight));
        if weight == DOT {
            last = at + 1;
        }
        before = weight;
    }
    most.max(before + DOT) <= 2
        && name.len() <= 63
        && name.get(last).is_some_and(u8::is_ascii_alphabetic)
}

const DOT: u8 = 2;
const BAD: u8 = 9;

/// The byte weights of [`is_host_name_fast`].
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static WEIGHTS: [u8; 256] = {
    let mut weights = [BAD; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        weights[byte as usize] = match byte {
            b'.' => DOT,
            b'-' => 1,
            _ if byte.is_ascii_alphanumeric() || byte == b'_' => 0,
            _ => BAD,
        };
        byte += 1;
    }
    weights
};

#[cfg(test)]
mod tests {
    use super::*;

    /// All short texts over a small alphabet: the fast path agrees with the full parser.
    #[test]
    fn fast_and_full_check_agree() {
        let bytes = b"a-._0xZ%";
        let mut texts = vec![vec![]];
        for _ in 0..5 {
            texts = texts
                .iter()
                .flat_map(|text: &Vec<u8>| {
                    let more = bytes.iter().map(|byte| [&text[..], &[*byte]].concat());
                    more.chain([text.clone()]).collect::<Vec<_>>()
                })
                .collect();
        }
        for text in texts {
            let labels = || text.split(|byte| *byte == b'.');
            let sound = |label: &[u8]| {
                let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
                !label.is_empty()
                    && label.iter().all(fits)
                    && !label.starts_with(b"-")
                    && !label.ends_with(b"-")
            };
            let last = labels().next_back().unwrap();
            let expected = labels().all(sound) && last[0].is_ascii_alphabetic();
            assert_eq!(is_host_name_fast(&text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn canonical_form_or_an_error() {
        let long = format!("{}.{}", ["a"; 63].concat(), [["b"; 63].concat().as_str(); 3].join("."));
        let (most, label) = (&long[..253], &long[..63]);
        for (text, expected) in [
            ("Sip.Example.COM", Ok("sip.example.com")),
            ("sip.example.com.", Ok("sip.example.com")),
            ("a_b.1-2.x3", Ok("a_b.1-2.x3")),
            ("192.0.2.1", Ok("192.0.2.1")),
            ("[2001:DB8:0:0::1]", Ok("[2001:db8::1]")),
            ("[::FFFF:192.0.2.1]", Ok("[::ffff:192.0.2.1]")),
            (most, Ok(most)),
            (&format!("{most}."), Ok(most)),
            (&long, Err(HostError::TooLong)),
            (label, Ok(label)),
            (&format!("{label}a"), Err(HostError::TooLong)),
            ("", Err(HostError::Empty)),
            (".", Err(HostError::Empty)),
            ("a..", Err(HostError::Label)),
            (".a", Err(HostError::Label)),
            ("a-.b", Err(HostError::Label)),
            ("a.-b", Err(HostError::Label)),
            ("a b", Err(HostError::Character)),
            ("a\0", Err(HostError::Character)),
            ("a%62", Err(HostError::Character)),
            ("b\u{fc}ro.example", Err(HostError::Character)),
            ("::1", Err(HostError::Character)),
            ("a]", Err(HostError::Character)),
            ("127.1", Err(HostError::Ipv4)),
            ("2130706433", Err(HostError::Ipv4)),
            ("0x7f000001", Err(HostError::Ipv4)),
            ("192.0.2.01", Err(HostError::Ipv4)),
            ("192.0.2.256", Err(HostError::Ipv4)),
            ("192.0.2.1.", Err(HostError::Ipv4)),
            ("a.example.5", Err(HostError::Ipv4)),
            ("[]", Err(HostError::Ipv6)),
            ("[::1", Err(HostError::Ipv6)),
            ("[192.0.2.1]", Err(HostError::Ipv6)),
            ("[[::1]]", Err(HostError::Ipv6)),
            ("[fe80::1%eth0]", Err(HostError::Zone)),
        ] {
            let read = Host::parse(text);
            assert_eq!(read.as_ref().map(Host::as_str), expected.as_ref().copied(), "{text}");
        }
    }
}
