//! The source of a request that a trusted proxy sends on.
//!
//! A request from any other address has the source of its packet or connection, whatever it says. A
//! source that cannot be read for certain is unknown. Otherwise a caller's own text could make an access
//! list admit it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sip_authz::acl::Prefix;
use sip_authz::message::{Header, Message};
use sip_authz_proxy::via::ViaParts;

use crate::sip::peer::{Caller, Peer, Source};

/// The proxies that name the sources of their callers.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies {
    prefixes: Vec<Prefix>,
    place: SourcePlace,
}

/// The place in which a trusted proxy names the source of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SourcePlace {
    /// The header field with this name.
    Header(String),
    /// The Via below that of the proxy, with `received` and `rport` (RFC 3261 §18.2.1, RFC 3581 §4).
    #[default]
    Via,
}

impl TrustedProxies {
    pub(crate) fn new(prefixes: Vec<Prefix>, place: SourcePlace) -> Self {
        Self { prefixes, place }
    }

    /// Whether requests from this address name their source.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(ip))
    }

    /// Whether there is a trusted proxy at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The caller whose message `peer` sent. Without a message, the bytes are none.
    pub(crate) fn caller(&self, message: Option<&Message<'_>>, peer: Peer) -> Caller {
        if !self.trusts(peer.source.ip()) {
            return Caller::of(peer);
        }
        let source = match (message, &self.place) {
            (None, _) => Source::Unknown,
            (Some(message), SourcePlace::Header(name)) => in_header(message, name),
            (Some(message), SourcePlace::Via) => self.in_vias(message),
        };
        Caller { source, ..Caller::of(peer) }
    }

    /// The source in the first Via that no trusted proxy has put there.
    fn in_vias(&self, message: &Message<'_>) -> Source {
        // the first is the sender's own
        for via in vias(message).skip(1) {
            let Some(via) = via else { return Source::Unknown };
            match stamped(&via) {
                Source::Known(source) if self.trusts(source.ip()) => {}
                source => return source,
            }
        }
        Source::Unknown
    }
}

/// The source in the only header field with this name.
fn in_header(message: &Message<'_>, name: &str) -> Source {
    let is_it = |name_sent: &[u8]| name_sent.eq_ignore_ascii_case(name.as_bytes());
    let mut found = message.fields().filter(|field| is_it(field.name));
    match (found.next(), found.next()) {
        (Some(field), None) => named(field.value).map_or(Source::Unknown, Source::Known),
        // of two, one may be the caller's own
        _ => Source::Unknown,
    }
}

/// Parses `IPv4[:port]` or `[IPv6][:port]`; the port is 0 if it is missing.
///
/// An IPv6 address without brackets is refused: with a port behind it, it can be another address.
fn named(value: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(value).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (ip.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (ip, port) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            (ip.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => number(digits.as_bytes())?,
        None if port.is_empty() => 0,
        None => return None,
    };
    source(ip, port)
}

/// The source that a proxy has put into a Via that it received: `received` and `rport`, or the
/// address of sent-by if it added no `received`.
fn stamped(via: &ViaParts<'_>) -> Source {
    let mut both = [b"received".as_slice(), b"rport"].map(|name| via.values(name));
    let [received, rport] = both.each_mut().map(Iterator::next);
    if both.iter_mut().any(|values| values.next().is_some()) {
        // a caller sent one, and the proxy added its own
        return Source::Repeated;
    }
    let (ip, port) = match (received, rport) {
        (Some(ip), Some(port)) => (literal(ip), number(port).unwrap_or(0)),
        (Some(ip), None) => (literal(ip), 0),
        // `rport` needs `received` (RFC 3581 §4), so this one is the caller's
        (None, _) => (via.host_literal(), 0),
    };
    ip.and_then(|ip| source(ip, port)).map_or(Source::Unknown, Source::Known)
}

/// The address of a `received`, with or without brackets around IPv6.
fn literal(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => text.parse().ok(),
    }
}

/// The source, unless it is an address that no packet can come from.
fn source(ip: IpAddr, port: u16) -> Option<SocketAddr> {
    let ip = ip.to_canonical();
    let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    let is_one_host = !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast;
    is_one_host.then(|| SocketAddr::new(ip, port))
}

fn number(digits: &[u8]) -> Option<u16> {
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    sound.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// The values of all Via fields, in order. Ends with a none at a field that parsers could split in
/// different ways.
fn vias<'a>(message: &Message<'a>) -> impl Iterator<Item = Option<ViaParts<'a>>> {
    let fields = message.vias();
    let mut ended = !message.is_well_formed(Header::Via);
    let flawed = ended.then_some(None);
    let mut fields = fields.fuse();
    let mut rest: Option<&[u8]> = None;
    let values = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let text = match rest.take() {
            Some(text) => text,
            None => fields.next()?,
        };
        let via = if is_plain(text) { ViaParts::read(text) } else { None };
        rest = via.and_then(|via| via.next_values());
        ended = via.is_none();
        Some(via)
    });
    flawed.into_iter().chain(values)
}

/// Whether a field has neither quoted strings, escapes, comments, brackets of a name-addr nor folds. A
/// proxy that ends these elsewhere than this program would put `received` behind another value.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| match byte {
        b'"' | b'\\' | b'(' | b')' | b'<' | b'>' => false,
        b'\t' | b' '..=b'~' => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests;
