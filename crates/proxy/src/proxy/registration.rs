//! REGISTER: the Path by which requests come back to the phone (RFC 3327, RFC 5626 §5.1).

use sip_authz::message::{Field, Header, Message};
use sip_authz::uri::name_addr;

use super::{Admitted, Arrival, Surroundings, put_uri_end};
use crate::Leg;
use crate::fields::{Values, quoted_len};
use crate::flow_token::FlowToken;
use crate::keys::Keys;
use crate::strict::Strict;

/// The value of the Path of a REGISTER that goes to `hop`; `issued` is the time of its token. None if the user or the permissions are too
/// long to be carried.
pub(super) fn path(
    keys: &Keys,
    strict: &Strict<'_>,
    issued: u32,
    arrival: &Arrival,
    admitted: &Admitted<'_>,
    hop: &Leg,
    around: &dyn Surroundings,
) -> Option<Vec<u8>> {
    let token = FlowToken {
        issued,
        account: admitted.account,
        target: admitted.target,
        leg: arrival.from,
        user: admitted.user,
        permits: admitted.permits,
    };
    let mut value = b"<sip:".to_vec();
    if !token.seal(keys, &mut value) {
        return None;
    }
    put_uri_end(hop, &around.own_address(hop), &mut value);
    if uses_outbound(strict) {
        value.extend_from_slice(b";ob");
    }
    value.push(b'>');
    Some(value)
}

/// Whether a phone sends this REGISTER itself and asks for a flow of its own (RFC 5626 §4.2.1, §5.1). It
/// would refuse `ob` from a proxy that is not its first one.
fn uses_outbound(strict: &Strict<'_>) -> bool {
    let is_flow = |value| {
        name_addr(value).is_some_and(|contact| {
            has_param(contact.params, b"reg-id") && has_param(contact.params, b"+sip.instance")
        })
    };
    let fields = strict.message().fields().filter(|field| field.header == Header::Contact);
    strict.via_count() == 1 && fields.flat_map(|field| Values::new(field.value)).any(is_flow)
}

/// Whether one of these parameters has this name.
fn has_param(params: &[u8], name: &[u8]) -> bool {
    let mut rest = params;
    while !rest.is_empty() {
        let (param, after) = rest.split_at_checked(param_len(rest)).unwrap_or((rest, &[]));
        let found = param.split(|byte| *byte == b'=').next().unwrap_or_default();
        if found.trim_ascii().eq_ignore_ascii_case(name) {
            return true;
        }
        rest = after.get(1..).unwrap_or_default();
    }
    false
}

/// The length of the first parameter. A `;` within quotes does not end it.
fn param_len(params: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = params.get(at) {
        at += match byte {
            b';' => break,
            b'"' => params.get(at..).and_then(quoted_len).unwrap_or(1),
            _ => 1,
        };
    }
    at
}

/// Whether a request says that its sender knows Path: else a registrar can refuse it (RFC 3327 §5.3).
pub(super) fn supports_path(message: &Message<'_>) -> bool {
    let is_supported = |field: &Field<'_>| {
        field.name.eq_ignore_ascii_case(b"Supported") || field.name.eq_ignore_ascii_case(b"k")
    };
    let mut options = message
        .fields()
        .filter(is_supported)
        .flat_map(|field| field.value.split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(fields: &str) -> String {
        format!(
            "REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@a.example>;tag=1\r\nTo: <sip:a@a.example>\r\nCall-ID: 1\r\n\
             CSeq: 1 REGISTER\r\n{fields}\r\n"
        )
    }

    #[test]
    fn outbound_needs_an_instance_a_flow_and_a_phone_that_is_next() {
        for (fields, expected) in [
            ("Contact: <sip:a@x>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"", true),
            ("m: <sip:b@x>\r\nm: <sip:b@x>, <sip:a@x>;+SIP.Instance=\"<u>\" ; REG-ID = 2", true),
            ("Contact: <sip:a@x>;x=\"\\\";\";reg-id=1;+sip.instance=\"<u>\"", true),
            ("Contact: <sip:a@x>;reg-id=1", false),
            ("Contact: <sip:a@x>;+sip.instance=\"<urn:uuid:1;reg-id=1>\"", false),
            ("Contact: <sip:a@x>;+sip.instance=\"\\\";reg-id=1\"", false),
            ("Contact: <sip:a@x>;reg-id=1, <sip:b@x>;+sip.instance=\"<u>\"", false),
            ("Contact: <sip:a@x;reg-id=1;+sip.instance=x>", false),
            ("Contact: *", false),
            ("X: y", false),
            ("Via: SIP/2.0/UDP b\r\nContact: <sip:a@x>;reg-id=1;+sip.instance=\"<u>\"", false),
        ] {
            let text = register(&format!("{fields}\r\n"));
            let message = Message::scan(text.as_bytes()).unwrap();
            let strict = Strict::request(&message).unwrap();
            assert_eq!(uses_outbound(&strict), expected, "{fields}");
        }
    }

    #[test]
    fn the_option_tag_is_found_in_any_spelling() {
        for (fields, expected) in [
            ("Supported: path", true),
            ("supported: 100rel,\r\n PATH\r\n , outbound", true),
            ("K: outbound\r\nk:path", true),
            ("X: y", false),
            ("Supported:", false),
            ("Supported: paths, xpath, pa th", false),
            ("Require: path", false),
            ("X: y\r\n Supported: path", false),
        ] {
            let text = register(&format!("{fields}\r\n"));
            let message = Message::scan(text.as_bytes()).unwrap();
            assert_eq!(supports_path(&message), expected, "{fields}");
        }
    }
}
