//! Compares what the proxy forwards with a slow second writer and with rsip.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ::rsip::prelude::HeadersExt as _;
use ::rsip::{Request, Response};
use sip_authz::digest::{Parsed, parse, split};
use sip_authz::message::{Frame, Header, Message, StartLine, frame};
use sip_authz_proxy::{ForwardedRequest, ForwardedResponse, IdentityFields, Strict, named_realms};

use crate::forward_oracle::{Changes, forwarded};

/// The source of all requests.
pub const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5061);
/// The realm whose credentials come out.
pub const REALM: &str = "ours.example";

const VIA: &str = "SIP/2.0/UDP edge.example:5060;branch=z9hG4bK0123;loop=45;leg=AbC-_";
const ROUTES: [&str; 2] =
    ["<sip:in@192.0.2.9:5060;transport=udp;lr>", "<sip:out@[2001:db8::9]:5061;transport=tls;lr>"];
const ADDED: [(&str, &str); 2] = [("X-Authz-User", "alice%20b"), ("X-Authz-Domain", "a.example")];
const OWN: [&str; 4] = ["x-authz-account", "x-authz-domain", "x-authz-user", "x-authz-permits"];
const ASSERTED: [&str; 4] =
    ["p-asserted-identity", "remote-party-id", "path", "p-preferred-identity"];

/// Checks a message and forwards it in several ways. Returns `none` for bytes that are not SIP,
/// `refused` for a message that is not forwarded, `last` for a response that has no second Via,
/// otherwise `request` or `response`.
///
/// The forwarded message equals that of the second writer. It is well-formed again, with the same
/// Request-URI, Call-ID, tags and body, and [`frame`] finds its end. If rsip reads the message, it reads
/// the forwarded one too. Credentials that the library reads as those of a realm are known by
/// [`named_realms`].
pub fn fuzz_forward(bytes: &[u8]) -> &'static str {
    let Some(message) = Message::scan(bytes) else { return "none" };
    check_realms(&message);
    match message.start_line() {
        StartLine::Request { .. } => {
            assert!(Strict::response(&message).is_err());
            let Ok(strict) = Strict::request(&message) else { return "refused" };
            for way in 0..4 {
                forward_request(bytes, &strict, way);
            }
            "request"
        }
        StartLine::Response { .. } => {
            assert!(Strict::request(&message).is_err());
            let Ok(strict) = Strict::response(&message) else { return "refused" };
            let [outcome, ..] = [0, 1, 2, 3].map(|way| relay_response(bytes, &strict, way));
            outcome
        }
    }
}

fn check_realms(message: &Message<'_>) {
    for field in message.fields() {
        if matches!(field.header, Header::Authorization | Header::ProxyAuthorization) {
            let is_ours = |part| !matches!(parse(part, REALM), Parsed::Ignored);
            let wide = named_realms(field.value).any(|realm| realm == REALM);
            assert!(wide || !split(field.value).any(is_ours), "credentials got through");
        }
    }
}

/// The names of the fields that come out, and the settings for it.
fn identity(way: usize) -> (Vec<&'static str>, IdentityFields) {
    let asserted = match way {
        0 => 0,
        1 => 3,
        _ => 4,
    };
    let names = OWN.iter().chain(&ASSERTED[..asserted]).copied().collect();
    (names, IdentityFields::default().with_asserted(way > 1))
}

fn forward_request(bytes: &[u8], strict: &Strict<'_>, way: usize) {
    let (stripped, identity) = identity(way);
    let is_ours = |value: &[u8]| named_realms(value).any(|realm| realm == REALM);
    let record_routes = ROUTES.map(str::as_bytes);
    let add = ADDED.map(|(name, value)| (name, value.as_bytes()));
    let mut out = b"before".to_vec();
    ForwardedRequest {
        message: strict,
        source: SOURCE,
        via: VIA.as_bytes(),
        record_routes: record_routes.get(..way.min(2)).unwrap_or_default(),
        routes_removed: way,
        drop_credentials: &|field| is_ours(field.value),
        identity: &identity,
        add: add.get(way..).unwrap_or_default(),
        strip_asserted: way > 0,
        to_stream: way.is_multiple_of(2),
    }
    .write(&mut out);
    let expected = forwarded(
        bytes,
        &Changes {
            source: Some(SOURCE),
            via: VIA,
            record_routes: ROUTES.get(..way.min(2)).unwrap_or_default(),
            routes_removed: way,
            drops: &is_ours,
            stripped: &stripped,
            added: ADDED.get(way..).unwrap_or_default(),
            to_stream: way.is_multiple_of(2),
        },
    );
    let out = out.strip_prefix(b"before").unwrap_or_default();
    assert_same(out, &expected);

    let message = Message::scan(out).expect("a message");
    let again = Strict::request(&message).expect("a well-formed message");
    assert_same_facts(strict, &again, out, way.is_multiple_of(2));
    assert_eq!(again.request_uri(), strict.request_uri());
    assert_eq!(again.via_count(), strict.via_count() + 1);
    let hops = strict.max_forwards().map_or(70, |hops| hops.saturating_sub(1));
    assert_eq!(again.max_forwards(), Some(hops));
    let routes: Vec<_> = strict.routes().skip(way).map(|route| route.value).collect();
    assert_eq!(again.routes().map(|route| route.value).collect::<Vec<_>>(), routes);

    if let Ok(before) = Request::try_from(bytes) {
        let after = Request::try_from(out).expect("rsip reads it");
        assert_eq!((before.method, &before.uri), (after.method, &after.uri));
        assert_eq!(before.call_id_header().ok(), after.call_id_header().ok());
        assert!(before.body.starts_with(&after.body));
    }
}

fn relay_response(bytes: &[u8], strict: &Strict<'_>, way: usize) -> &'static str {
    let (stripped, identity) = identity(way);
    let mut out = Vec::new();
    let response = ForwardedResponse {
        message: strict,
        identity: &identity,
        strip_asserted: way > 0,
        to_stream: way.is_multiple_of(2),
    };
    let is_relayed = response.write(&mut out);
    assert_eq!(is_relayed, strict.vias().nth(1).is_some());
    if !is_relayed {
        assert!(out.is_empty());
        return "last";
    }
    let expected = forwarded(
        bytes,
        &Changes {
            source: None,
            via: "",
            record_routes: &[],
            routes_removed: 0,
            drops: &|_| false,
            stripped: &stripped,
            added: &[],
            to_stream: way.is_multiple_of(2),
        },
    );
    assert_same(&out, &expected);
    let message = Message::scan(&out).expect("a message");
    let again = Strict::response(&message).expect("a well-formed message");
    assert_same_facts(strict, &again, &out, way.is_multiple_of(2));
    assert_eq!(again.via_count(), strict.via_count() - 1);
    assert_eq!(again.status(), strict.status());
    if let Ok(before) = Response::try_from(bytes) {
        let after = Response::try_from(&*out).expect("rsip reads it");
        assert_eq!(before.status_code, after.status_code);
        assert_eq!(before.call_id_header().ok(), after.call_id_header().ok());
        assert!(before.body.starts_with(&after.body));
    }
    "response"
}

/// Compares what no hop may change.
fn assert_same_facts(before: &Strict<'_>, after: &Strict<'_>, out: &[u8], to_stream: bool) {
    assert_eq!(before.method(), after.method());
    assert_eq!(before.call_id(), after.call_id());
    assert_eq!(before.cseq_number(), after.cseq_number());
    assert_eq!((before.from_tag(), before.to_tag()), (after.from_tag(), after.to_tag()));
    let body = before.message().body();
    assert_eq!(body, after.message().body());
    // nothing follows the body
    assert!(out.ends_with(body));
    let head = out.len() - body.len();
    assert!(out.get(..head).is_some_and(|head| head.ends_with(b"\r\n\r\n")));
    if to_stream && body.len() <= sip_authz::message::MAX_BODY {
        assert_eq!(frame(out), Ok(Some(Frame { head, body: body.len() })));
    }
}

fn assert_same(out: &[u8], expected: &[u8]) {
    assert!(out == expected, "\n{}\n{}", out.escape_ascii(), expected.escape_ascii());
}
