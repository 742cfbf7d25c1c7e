//! Writes a request as it is forwarded (RFC 3261 §16.6).

use std::io::Write as _;
use std::net::SocketAddr;

use sip_authz::message::{Field, Header};

use crate::fields::{RawField, Values, raw_fields};
use crate::identity::IdentityFields;
use crate::put::{put_line, put_number};
use crate::strict::Strict;

/// Max-Forwards of a request that came without it (RFC 3261 §16.6).
const MAX_FORWARDS: u16 = 70;

/// A request to forward, with all that changes.
///
/// Everything else goes byte for byte, and the fields stay in their order.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it has a closure")]
pub struct ForwardedRequest<'a> {
    /// The request.
    pub message: &'a Strict<'a>,
    /// The address that the request came from. It goes into `received` and `rport` of the top Via (RFC
    /// 3261 §18.2.1, RFC 3581 §4).
    pub source: SocketAddr,
    /// The Via value that goes on top.
    pub via: &'a [u8],
    /// The Record-Route values that go on top, each in a field of its own. The first one is topmost.
    pub record_routes: &'a [&'a [u8]],
    /// The number of Route values that come off, from the top.
    pub routes_removed: usize,
    /// Whether an Authorization or Proxy-Authorization field comes out. Called for these fields only. A
    /// field with several credentials comes out as a whole.
    pub drop_credentials: &'a dyn Fn(&Field<'_>) -> bool,
    /// The identity fields. Those of the request come out.
    pub identity: &'a IdentityFields,
    /// The fields that are added, as name and value. Control characters of a value are left out.
    pub add: &'a [(&'a str, &'a [u8])],
    /// Whether P-Asserted-Identity, Remote-Party-ID and Path come out, as is right for a phone. If
    /// [`is_asserted`](IdentityFields::is_asserted), so does P-Preferred-Identity.
    pub strip_asserted: bool,
    /// Whether the request goes over a stream: Content-Length is added if it is missing.
    pub to_stream: bool,
}

impl ForwardedRequest<'_> {
    /// Appends the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let message = self.message.message();
        put_start_line(message.bytes(), out);
        put_field("Via", self.via, out);
        for value in self.record_routes {
            put_field("Record-Route", value, out);
        }
        if self.message.max_forwards().is_none() {
            out.extend_from_slice(b"Max-Forwards: ");
            put_number(MAX_FORWARDS, out);
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in self.add {
            put_field(name, value, out);
        }
        let (mut is_top, mut routes) = (true, self.routes_removed);
        for raw in raw_fields(message) {
            match raw.field.header {
                Header::Via if is_top => {
                    is_top = false;
                    let (before, after) = raw.around_value();
                    out.extend_from_slice(before);
                    self.message.top_via().write(self.source, out);
                    out.extend_from_slice(after);
                }
                Header::MaxForwards => {
                    let (before, after) = raw.around_value();
                    let hops = self.message.max_forwards().unwrap_or_default();
                    out.extend_from_slice(before);
                    put_number(u16::from(hops.saturating_sub(1)), out);
                    out.extend_from_slice(after);
                }
                Header::Route if routes > 0 => put_without_first(raw, &mut routes, out),
                Header::Authorization | Header::ProxyAuthorization
                    if (self.drop_credentials)(&raw.field) => {}
                _ if is_stripped(raw, self.identity, self.strip_asserted) => {}
                _ => out.extend_from_slice(raw.raw),
            }
        }
        put_body(self.message, self.to_stream, out);
    }
}

/// Appends the first line.
pub(crate) fn put_start_line(message: &[u8], out: &mut Vec<u8>) {
    let after = crate::fields::after_line(message);
    out.extend_from_slice(message.get(..message.len() - after.len()).unwrap_or_default());
}

/// Appends a field of this side.
fn put_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    put_line(name.as_bytes(), out);
    out.extend_from_slice(b": ");
    put_line(value, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field without its first `count` values, and counts those that were there. A field without a
/// value that stays is left out.
pub(crate) fn put_without_first(raw: RawField<'_>, count: &mut usize, out: &mut Vec<u8>) {
    let mut values = Values::new(raw.field.value);
    while *count > 0 && values.next().is_some() {
        *count -= 1;
    }
    if let Some(rest) = values.rest() {
        let (before, after) = raw.around_value();
        for part in [before, rest, after] {
            out.extend_from_slice(part);
        }
    }
}

/// Whether a field claims an identity, which only this side may send.
pub(crate) fn is_stripped(raw: RawField<'_>, identity: &IdentityFields, asserted: bool) -> bool {
    identity.is_removed(raw.field.name, asserted)
        || (raw.is_folded()
            && raw.folded_lines().any(|line| identity.is_removed_line(line, asserted)))
}

/// Appends the end of the head, and the body without the bytes after it.
pub(crate) fn put_body(message: &Strict<'_>, to_stream: bool, out: &mut Vec<u8>) {
    let message = message.message();
    let body = message.body();
    if to_stream && message.first(Header::ContentLength).is_none() {
        // writing to a Vec does not fail
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}
