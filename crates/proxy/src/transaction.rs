//! The identity of a transaction, computed from each message instead of kept (RFC 3261 §16.11).
//!
//! It is the branch of our Via, the To tag of our answers, and the mark by which a loop is found.
//!
//! Branch and To tag are the same for an INVITE, its retransmissions, its CANCEL, and the ACK of a
//! failure.

use std::fmt;
use std::net::IpAddr;

use arrayvec::ArrayVec;
use sip_authz::message::{Header, Message, StartLine};
use sip_authz::uri::name_addr;

use crate::fields::Values;
use crate::keys::{Keys, Mac, Purpose};
use crate::via::ViaParts;

/// The start of a branch that is unique (RFC 3261 §8.1.1.7).
const MAGIC_COOKIE: &[u8] = b"z9hG4bK";
/// The maximum number of Via values that are searched for a loop mark. Max-Forwards ends longer ways
/// (RFC 3261 §8.1.1.6 begins with 70).
const MAX_VIAS: usize = 70;

/// The branch of our Via. Its display is the branch parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Branch(Mac);

impl Branch {
    /// The branches for a request under all keys, the current one first: a CANCEL may come after the
    /// key of its INVITE has changed. `via` is its topmost Via, and `source` the address that it came from.
    ///
    /// The method, the To tag and the credentials do not count. Empty if From or CSeq cannot be read, or
    /// if there is no Call-ID.
    pub(crate) fn candidates(
        keys: &Keys,
        message: &Message<'_>,
        via: &ViaParts<'_>,
        source: IpAddr,
    ) -> impl Iterator<Item = Self> + use<> {
        let parts = Parts::read(message, via, source);
        let found: ArrayVec<_, { Keys::MAX }> = parts.map_or_else(ArrayVec::new, |parts| {
            keys.macs(Purpose::Branch, &parts.list()).map(Self).collect()
        });
        found.into_iter()
    }

    /// Reads the value of a branch parameter. None if it does not have the form of our branches.
    #[cfg(test)]
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let digits = value.strip_prefix(MAGIC_COOKIE)?;
        let is_ours = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let mut mac = Mac::default();
        hex::decode_to_slice(digits, &mut mac).ok()?;
        digits.iter().all(is_ours).then_some(Self(mac))
    }

    /// The code in the branch, for tables.
    #[must_use]
    pub(crate) const fn as_bytes(&self) -> &Mac {
        &self.0
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "z9hG4bK{}", Hex(self.0))
    }
}

/// The To tag of an answer that this side gives. Its display is the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToTagText(Mac);

impl fmt::Display for ToTagText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(self.0).fmt(f)
    }
}

/// The To tag for our answer to a request. None as for [`Branch::of`].
#[must_use]
pub(crate) fn to_tag(
    keys: &Keys,
    message: &Message<'_>,
    via: &ViaParts<'_>,
    source: IpAddr,
) -> Option<ToTagText> {
    let parts = Parts::read(message, via, source)?;
    Some(ToTagText(keys.mac(Purpose::Tag, &parts.list())))
}

/// Whether the To tag of an ACK is the one that [`to_tag`] gave its INVITE under any key: the ACK
/// confirms our own answer, and goes nowhere.
#[must_use]
pub(crate) fn is_own_tag(
    keys: &Keys,
    message: &Message<'_>,
    via: &ViaParts<'_>,
    source: IpAddr,
) -> bool {
    let is_own = || {
        let tag = name_addr(message.first(Header::To)?)?.tag();
        // a tag of another length is of a PBX
        let tag = tag.filter(|tag| tag.len() == 2 * size_of::<Mac>())?;
        let parts = Parts::read(message, via, source)?;
        let digits = |mac: Mac| {
            let mut digits = [0; 32];
            hex::encode_to_slice(mac, &mut digits).ok().map(|()| digits)
        };
        Some(keys.macs(Purpose::Tag, &parts.list()).filter_map(digits).any(|own| own == tag))
    };
    is_own().unwrap_or(false)
}

/// The mark in our Via by which a loop is found (RFC 3261 §16.3 item 4). Its display is the value of
/// the parameter `loop`.
///
/// It covers the Request-URI, the Route fields and the side on which the request came. A request that
/// comes back with another Request-URI or other Routes is a spiral, not a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoopMark([u8; 8]);

impl LoopMark {
    /// The mark for a request as it came, under the current key.
    #[must_use]
    pub(crate) fn of(keys: &Keys, message: &Message<'_>, from_inside: bool) -> Self {
        let mut macs = keys.macs_of(Purpose::Loop, loop_parts(message, from_inside));
        Self::new(&macs.next().unwrap_or_default())
    }

    fn new(mac: &Mac) -> Self {
        Self(mac.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for LoopMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(self.0).fmt(f)
    }
}

/// Whether one of the first 70 Via values of a request carries its [`LoopMark`] under any key: this
/// side has forwarded the same request before.
#[must_use]
pub(crate) fn loops(keys: &Keys, message: &Message<'_>, from_inside: bool) -> bool {
    let values = message.vias().flat_map(Values::new).take(MAX_VIAS);
    let mut found = values
        .filter_map(ViaParts::read)
        .flat_map(|via| via.values(b"loop"))
        .filter_map(read_mark)
        .peekable();
    if found.peek().is_none() {
        return false;
    }
    let parts = loop_parts(message, from_inside);
    let own: ArrayVec<_, { Keys::MAX }> =
        keys.macs_of(Purpose::Loop, parts).map(|mac| LoopMark::new(&mac)).collect();
    found.any(|mark| own.contains(&mark))
}

fn read_mark(value: &[u8]) -> Option<LoopMark> {
    let mut mark = [0; 8];
    hex::decode_to_slice(value, &mut mark).ok()?;
    Some(LoopMark(mark))
}

/// The parts under a loop mark: the side, the Request-URI, and the values of all Route fields.
fn loop_parts<'a>(
    message: &Message<'a>,
    from_inside: bool,
) -> impl Iterator<Item = &'a [u8]> + Clone {
    let side: &[u8] = if from_inside { b"inside" } else { b"outside" };
    // without a Route the fields are not read again
    let fields = message.first(Header::Route).map(|_| message.fields());
    let routes = fields.into_iter().flatten().filter(|field| field.header == Header::Route);
    [side, request_uri(message)].into_iter().chain(routes.map(|field| field.value))
}

fn request_uri<'a>(message: &Message<'a>) -> &'a [u8] {
    match message.start_line() {
        StartLine::Request { uri, .. } => uri.as_bytes(),
        StartLine::Response { .. } => &[],
    }
}

/// The parts of a request that identify its transaction.
struct Parts<'a> {
    /// With the magic cookie the branch, sent-by and nothing; without it the topmost Via and the
    /// Request-URI. A Via begins with `SIP`, so neither is taken for the other.
    via: [&'a [u8]; 3],
    source: [u8; 16],
    call_id: &'a [u8],
    from_tag: &'a [u8],
    /// The digits of the CSeq number without leading zeros.
    number: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(message: &Message<'a>, via: &ViaParts<'a>, source: IpAddr) -> Option<Self> {
        let cookie = via.only_value(b"branch").filter(|branch| branch.starts_with(MAGIC_COOKIE));
        let via = match (cookie, via.head_and_params()) {
            (Some(branch), _) => [branch, via.sent_by(), &[]],
            (None, [head, params]) => [head, params, request_uri(message)],
        };
        let source = match source.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let cseq = message.first(Header::CSeq)?;
        let end = cseq.iter().position(u8::is_ascii_whitespace)?;
        let digits = cseq.get(..end).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        Some(Self {
            via,
            source: source.octets(),
            call_id: message.first(Header::CallId)?,
            // phones of RFC 2543 have none
            from_tag: name_addr(message.first(Header::From)?)?.tag().unwrap_or_default(),
            number: digits.get(zeros..)?,
        })
    }

    fn list(&self) -> [&[u8]; 7] {
        let [first, second, third] = self.via;
        [first, second, third, &self.source, self.call_id, self.from_tag, self.number]
    }
}

/// At most 16 bytes, whose display is lower-case hexadecimal digits.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 2 * size_of::<Mac>()];
        let digits = digits.get_mut(..2 * N).ok_or(fmt::Error)?;
        hex::encode_to_slice(self.0, digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(digits).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests;
