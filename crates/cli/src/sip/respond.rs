//! Writes the responses of a stateless user agent server (RFC 3261 §8.2.6, §8.2.7).
//!
//! A response contains only those values of the request that must be echoed. Their folds are removed,
//! and a value with any other control character is not echoed.

use std::fmt::{self, Write as _};
use std::hash::Hasher as _;
use std::io::Write as _;
use std::net::SocketAddr;

use sip_authz::message::{Header, Message, StartLine};
use sip_authz::uri::name_addr;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::sip::put::{is_echoable, put_number, put_unfolded};
use crate::sip::via::TopVia;

/// The values of a request that its response echoes.
pub(crate) struct Echo<'a> {
    message: Message<'a>,
    via: TopVia<'a>,
    source: SocketAddr,
    to: ToTag,
    key: &'a TagKey,
}

/// Whether the To of a request has a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToTag {
    None,
    Some,
    /// The value is malformed.
    Unreadable,
}

/// The key for To tags. A request and its retransmissions get the same tag.
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
        if let StartLine::Request { method, uri } = message.start_line() {
            take(method.as_bytes());
            take(uri.as_bytes());
        }
        for header in [Header::Via, Header::From, Header::To, Header::CallId, Header::CSeq] {
            take(message.first(header).unwrap_or_default());
        }
        hash.finish128().as_u128()
    }
}

impl<'a> Echo<'a> {
    /// `None` if no response can be addressed: the topmost Via is malformed, or a value to echo has
    /// control characters.
    pub(crate) fn of(message: Message<'a>, source: SocketAddr, key: &'a TagKey) -> Option<Self> {
        let via = TopVia::read(message.first(Header::Via)?)?;
        // a message without a defect has no control characters outside of its folds
        if message.defect().is_some() {
            let single = [Header::From, Header::To, Header::CallId, Header::CSeq];
            let mut echoed = single.into_iter().filter_map(|header| message.first(header));
            if !echoed.all(is_echoable) || !message.vias().all(is_echoable) {
                return None;
            }
        }
        let to = match message.first(Header::To).and_then(name_addr) {
            None => ToTag::Unreadable,
            Some(to) if to.tag().is_some() => ToTag::Some,
            Some(_) => ToTag::None,
        };
        Some(Self { message, via, source, to, key })
    }

    /// The request.
    pub(crate) fn message(&self) -> &Message<'a> {
        &self.message
    }

    /// Whether the topmost Via field is well-formed in the parts that a response does not need, too.
    pub(crate) fn is_via_whole(&self) -> bool {
        self.via.is_whole()
    }

    pub(crate) fn to_tag(&self) -> ToTag {
        self.to
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
            put_unfolded(to, out);
            if self.to == ToTag::None || (self.to == ToTag::Unreadable && !mentions_tag(to)) {
                let mut digits = [0; 32];
                let tag = self.key.tag(&self.message).to_be_bytes();
                // there are two digits for each byte
                let _ = hex::encode_to_slice(tag, &mut digits);
                out.extend_from_slice(b";tag=");
                out.extend_from_slice(&digits);
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

    /// Adds a header field with a value of the request, unless it has control characters.
    pub(crate) fn echo(self, name: &str, value: &[u8]) -> Self {
        if is_echoable(value) {
            put_field(name, value, self.out);
        }
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
    put_unfolded(value, out);
    out.extend_from_slice(b"\r\n");
}

fn mentions_tag(to: &[u8]) -> bool {
    to.windows(4).any(|part| part.eq_ignore_ascii_case(b"tag="))
}
