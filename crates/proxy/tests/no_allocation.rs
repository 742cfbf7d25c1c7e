//! Checking and writing a message allocates nothing; measured by a counting allocator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::message::Message;
use sip_authz_proxy::{
    ForwardedRequest, ForwardedResponse, IdentityFields, Strict, named_realms,
    put_asserted_identity, put_identity,
};

const REQUEST: &[u8] = b"INVITE sip:100@pbx.example;x SIP/2.0\r\n\
    Via: SIP/2.0/UDP a.example;branch=z9hG4bKa;rport, SIP/2.0/UDP b\r\n\
    From: \"A\" <sip:a@pbx.example>;tag=1\r\nTo: <sip:100@pbx.example>\r\nCall-ID: c1\r\n\
    CSeq: 1 INVITE\r\nRoute: <sip:a;lr>, <sip:b;lr>\r\nContact: <sip:a>\r\n\
    Authorization: Digest realm=\"ours.example\"\r\nX-Authz-User: a\r\nSubject: a\r\n b\r\n\r\nbody";

const RESPONSE: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a, SIP/2.0/UDP b\r\n\
    From: \"A\" <sip:a@pbx.example>;tag=1\r\nTo: <sip:100@pbx.example>\r\nCall-ID: c1\r\n\
    CSeq: 1 INVITE\r\nContact: <sip:a>\r\n\r\nbody";

#[test]
fn nothing_is_allocated_but_the_output() {
    let (identity, mut out) = (IdentityFields::default(), Vec::with_capacity(10_000));
    let source = "192.0.2.7:1024".parse().unwrap();
    let info = allocation_counter::measure(|| {
        let message = Message::scan(REQUEST).unwrap();
        let strict = Strict::request(&message).unwrap();
        assert_eq!((strict.routes().count(), strict.vias().count()), (2, 2));
        let request = ForwardedRequest {
            message: &strict,
            source,
            via: b"SIP/2.0/UDP edge",
            record_routes: &[b"<sip:one;lr>"],
            routes_removed: 1,
            drop_credentials: &|field| named_realms(field.value).any(|it| it == "ours.example"),
            identity: &identity,
            add: &[("X-Authz-User", b"a")],
            strip_asserted: true,
            to_stream: true,
        };
        request.write(&mut out);
        put_identity("a b\u{e9}", &mut out);
        put_asserted_identity(Some("a b"), "c.example", &mut out);
        let message = Message::scan(RESPONSE).unwrap();
        let strict = Strict::response(&message).unwrap();
        let response = ForwardedResponse {
            message: &strict,
            identity: &identity,
            strip_asserted: true,
            to_stream: true,
        };
        assert!(response.write(&mut out));
    });
    assert_eq!((info.count_total, info.count_current), (0, 0));
    assert!(!out.is_empty());
}
