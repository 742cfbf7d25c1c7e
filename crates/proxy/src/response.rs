//! Writes a response as it is relayed (RFC 3261 §16.7, §16.11).

use sip_authz::message::Header;

use crate::fields::raw_fields;
use crate::identity::IdentityFields;
use crate::request::{is_stripped, put_body, put_start_line, put_without_first};
use crate::strict::Strict;

/// A response to relay, whose first Via value is of this side.
///
/// Everything but that value and the identity fields goes byte for byte, and the fields stay in their
/// order.
#[derive(Clone, Copy, Debug)]
pub struct ForwardedResponse<'a> {
    /// The response.
    pub message: &'a Strict<'a>,
    /// The identity fields. Those of the response come out.
    pub identity: &'a IdentityFields,
    /// Whether P-Asserted-Identity, Remote-Party-ID and Path come out, as is right for a phone. If
    /// [`is_asserted`](IdentityFields::is_asserted), so does P-Preferred-Identity.
    pub strip_asserted: bool,
    /// Whether the response goes over a stream: Content-Length is added if it is missing.
    pub to_stream: bool,
}

impl ForwardedResponse<'_> {
    /// Appends the response without its first Via value.
    ///
    /// Returns false, and appends nothing, if it has no other: it is for this side (RFC 3261 §16.7 step
    /// 3).
    #[must_use]
    pub fn write(&self, out: &mut Vec<u8>) -> bool {
        if self.message.via_count() < 2 {
            return false;
        }
        let message = self.message.message();
        put_start_line(message.bytes(), out);
        let mut vias = 1;
        for raw in raw_fields(message) {
            if raw.field.header == Header::Via && vias > 0 {
                put_without_first(raw, &mut vias, out);
            } else if !is_stripped(raw, self.identity, self.strip_asserted) {
                out.extend_from_slice(raw.raw);
            }
        }
        put_body(self.message, self.to_stream, out);
        true
    }
}
