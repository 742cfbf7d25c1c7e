//! Writes the responses of a stateless user agent server (RFC 3261 §8.2.6, §8.2.7).
//!
//! A response contains only those values of the request that must be echoed, without their folds and
//! other control characters. A malformed value is echoed too.

use std::fmt::{self, Write as _};
use std::hash::Hasher as _;
use std::io::Write as _;
use std::net::SocketAddr;

use sip_authz::Transport;
use sip_authz::message::{Header, Message, StartLine};
use sip_authz::uri::name_addr;
use sip_authz_proxy::Proxy;
use sip_authz_proxy::put::{is_removed, put_line, put_number};
use sip_authz_proxy::via::TopVia;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::args::ReplyPort;
use crate::sip::peer::Peer;

/// The values of a request that its response echoes.
pub(crate) struct Echo<'a> {
    message: Message<'a>,
    via: TopVia<'a>,
    source: SocketAddr,
    /// The destination of the response.
    destination: SocketAddr,
    to: ToTag,
    key: &'a TagKey,
    proxy: Option<&'a Proxy>,
}

/// Whether the To of a request has a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToTag {
    None,
    Some,
    /// The value is malformed. It may or may not have a tag.
    Unreadable,
}

/// The length of our To tags, in bytes.
const TAG_LEN: usize = 32;

/// The key for To tags of an edge that does not forward, and for requests without the fields from
/// which a forwarding edge makes its tags. A request and its retransmissions get the same tag, and the ACK of a failure
/// is known by it.
pub(crate) struct TagKey([u8; 16]);

impl TagKey {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    fn tag(&self, message: &Message<'_>) -> u128 {
        let mut hash = SipHasher24::new_with_key(&self.0);
        let mut take = |part: &[u8]| {
            hash.write_usize(part.len());
            hash.write(part);
        };
        // only what the ACK of a failure repeats (RFC 3261 §17.1.1.3)
        if let StartLine::Request { uri, .. } = message.start_line() {
            take(uri.as_bytes());
        }
        for header in [Header::Via, Header::From, Header::CallId] {
            take(message.first(header).unwrap_or_default());
        }
        let cseq = message.first(Header::CSeq).unwrap_or_default();
        take(cseq.split(u8::is_ascii_whitespace).next().unwrap_or_default());
        hash.finish128().as_u128()
    }
}

impl<'a> Echo<'a> {
    /// `None` if the request has no Via: its sender could not match a response (RFC 3261 §17.1.3).
    pub(crate) fn of(
        message: Message<'a>,
        peer: Peer,
        reply: ReplyPort,
        key: &'a TagKey,
    ) -> Option<Self> {
        let via = TopVia::read(message.first(Header::Via)?);
        let source = peer.source;
        let destination = match peer.transport {
            Transport::Udp => via.destination(source, reply.into()),
            // the connection on which the request came
            _ => source,
        };
        let to = match message.first(Header::To).and_then(name_addr) {
            None => ToTag::Unreadable,
            Some(to) if to.tag().is_some() => ToTag::Some,
            Some(_) => ToTag::None,
        };
        Some(Self { message, via, source, destination, to, key, proxy: None })
    }

    /// Takes the tags of a forwarding edge: they stay the same over a restart and in a fleet.
    pub(crate) fn with_tags_of(self, proxy: Option<&'a Proxy>) -> Self {
        Self { proxy, ..self }
    }

    /// The request.
    pub(crate) fn message(&self) -> &Message<'a> {
        &self.message
    }

    /// The destination of the response: the source of the request, over UDP perhaps with another
    /// port.
    pub(crate) fn destination(&self) -> SocketAddr {
        self.destination
    }

    pub(crate) fn to_tag(&self) -> ToTag {
        self.to
    }

    /// Whether the To tag is the one that this side gives to the request.
    pub(crate) fn has_own_tag(&self) -> bool {
        let tag = self.message.first(Header::To).and_then(name_addr).and_then(|to| to.tag());
        // a tag of another length is of a PBX
        let Some(tag) = tag.filter(|tag| tag.len() == TAG_LEN) else { return false };
        let source = self.source.ip();
        self.proxy.is_some_and(|proxy| proxy.is_own_tag(&self.message, source))
            || tag == self.own_tag()
    }

    /// The tag that this side adds to To.
    fn own_tag(&self) -> [u8; TAG_LEN] {
        let mut digits = [0; TAG_LEN];
        let proxied = self.proxy.and_then(|it| it.to_tag(&self.message, self.source.ip()));
        if let Some(tag) = proxied {
            // it has as many digits
            let _ = write!(digits.as_mut_slice(), "{tag}");
            return digits;
        }
        // there are two digits for each byte
        let _ = hex::encode_to_slice(self.key.tag(&self.message).to_be_bytes(), &mut digits);
        digits
    }

    /// Begins a response at the end of `out`: writes the status line and the echoed fields.
    pub(crate) fn respond<'o>(
        &self,
        status: u16,
        phrase: &str,
        out: &'o mut Vec<u8>,
    ) -> Response<'o> {
        out.extend_from_slice(b"SIP/2.0 ");
        put_number(status, out);
        for part in [" ", phrase, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        for (at, via) in self.message.vias().enumerate() {
            if at == 0 {
                out.extend_from_slice(b"Via: ");
                self.via.write(self.source, out);
                out.extend_from_slice(b"\r\n");
            } else {
                put_field("Via", via, out);
            }
        }
        // a request that lacks one of these is answered without it
        if let Some(from) = self.message.first(Header::From) {
            put_field("From", from, out);
        }
        if let Some(to) = self.message.first(Header::To) {
            out.extend_from_slice(b"To: ");
            put_line(to, out);
            if self.to == ToTag::None || (self.to == ToTag::Unreadable && !mentions_tag(to)) {
                out.extend_from_slice(b";tag=");
                out.extend_from_slice(&self.own_tag());
            }
            out.extend_from_slice(b"\r\n");
        }
        for header in [Header::CallId, Header::CSeq] {
            if let Some(value) = self.message.first(header) {
                put_field(header.name(), value, out);
            }
        }
        Response { out }
    }
}

/// A response under construction. Call `end` or `end_with` to complete it.
#[must_use]
pub(crate) struct Response<'o> {
    out: &'o mut Vec<u8>,
}

impl Response<'_> {
    /// Adds a header field. `value` is text of the program and has no line ends.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        for part in [name, ": ", value, "\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        self
    }

    /// Adds a header field with a formatted value. It is text of the program and has no line ends.
    pub(crate) fn header(self, name: &str, value: impl fmt::Display) -> Self {
        let _ = write!(self.out, "{name}: {value}\r\n");
        self
    }

    /// Adds a header field with a value of the request.
    pub(crate) fn echo(self, name: &str, value: &[u8]) -> Self {
        put_field(name, value, self.out);
        self
    }

    pub(crate) fn end(self) {
        self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }

    pub(crate) fn end_with(self, content_type: &str, body: &[u8]) {
        let length = body.len();
        let _ =
            write!(self.out, "Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
        self.out.extend_from_slice(body);
    }
}

/// A reason phrase with the detail of an error. Backticks, which §25.1 does not allow, become quotes.
pub(crate) fn phrase(start: &str, detail: impl fmt::Display) -> String {
    let mut text = start.to_owned();
    let _ = write!(text, " ({detail})");
    text.replace('`', "'")
}

fn put_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    put_line(value, out);
    out.extend_from_slice(b"\r\n");
}

/// Whether a malformed To may have a tag, as [`put_line`] writes it: `tag` and an equal sign.
fn mentions_tag(to: &[u8]) -> bool {
    let mut matched = 0;
    for byte in to.iter().filter(|byte| !is_removed(**byte)) {
        matched = match (matched, byte.to_ascii_lowercase()) {
            (3, b'=') => return true,
            (3, b' ' | b'\t') => 3,
            (1, b'a') => 2,
            (2, b'g') => 3,
            (_, b't') => 1,
            _ => 0,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_malformed_to() {
        for value in ["x;tag=1", "x;TAG =1", "\"x;tag\t = 1", "x;t\0ag=", "ttag=1", "tatag=1"] {
            assert!(mentions_tag(value.as_bytes()), "{value:?}");
        }
        for value in ["", "tag", "x;tags=1", "Bond, James <sip:a@b>", "ta g=", "t;ag=1", "tag;="] {
            assert!(!mentions_tag(value.as_bytes()), "{value:?}");
        }
    }
}
