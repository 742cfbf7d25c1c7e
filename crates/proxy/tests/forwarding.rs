//! Messages of all sorts as a proxy forwards them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use proptest::sample::{Index, select};

use sip_authz::message::Message;
use sip_authz_proxy::{ForwardedRequest, ForwardedResponse, IdentityFields, Strict, named_realms};
use sip_authz_testing::fuzzing::fuzz_forward;

const REQUEST: &str = "INVITE sip:100@pbx.example SIP/2.0\r\n\
    Max-Forwards: 20\r\n\
    v:SIP/2.0/UDP  phone.example ;rport; branch=z9hG4bKa;received=1.2.3.4 , SIP/2.0/TLS b\r\n\
    Via: SIP/2.0/TCP c\r\n\
    f: \"A\" <sip:a@pbx.example>;tag=1\r\n\
    To: <sip:100@pbx.example>\r\n\
    x-authz-USER: root\r\n\
    Call-ID: c1\r\n\
    Route: <sip:t@192.0.2.1;lr>\r\n\
    ROUTE:  <sip:u@192.0.2.1;lr> ,  <sip:192.0.2.9;lr>\r\n\
    CSeq: 1 INVITE\r\n\
    Record-Route: <sip:192.0.2.8;lr>\r\n\
    Proxy-Authorization: Digest realm=\"ours.example\", username=\"a\"\r\n\
    Proxy-Authorization: Digest realm=\"theirs.example\", username=\"a\"\r\n\
    Authorization: Digest\r\n realm = \"ours.example\"\r\n\
    X_Authz_Account:\r\n folded\r\n\
    Subject: one\r\n\ttwo \r\n three\r\n\
    Organization: x\r\n X-Authz-User: root\r\n\
    P-Asserted-Identity: <sip:ceo@pbx.example>\r\n\
    remote-party-id: <sip:ceo@pbx.example>\r\n\
    P-Preferred-Identity: <sip:ceo@pbx.example>\r\n\
    PATH: <sip:victim.example;lr>\r\n , <sip:x>\r\n\
    Content-Length :5\r\n\
    \r\n\
    bodies";

#[test]
fn a_request_changes_where_it_must() {
    let text = REQUEST.replace("Length :", "Length:");
    let message = Message::scan(text.as_bytes()).unwrap();
    let strict = Strict::request(&message).unwrap();
    let identity = IdentityFields::default();
    let mut out = b"x".to_vec();
    let is_ours = |value: &[u8]| named_realms(value).any(|realm| realm == "ours.example");
    let request = ForwardedRequest {
        message: &strict,
        source: "192.0.2.7:1024".parse().unwrap(),
        via: b"SIP/2.0/UDP edge;branch=z9hG4bKb",
        record_routes: &[b"<sip:one;lr>", b"<sip:two;lr>"],
        routes_removed: 2,
        drop_credentials: &|field| is_ours(field.value),
        identity: &identity,
        add: &[("X-Authz-User", b"a"), ("X-Authz-Permits", b"a\r\nVia: b\0")],
        strip_asserted: true,
        to_stream: true,
    };
    request.write(&mut out);
    let expected = "xINVITE sip:100@pbx.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP edge;branch=z9hG4bKb\r\n\
        Record-Route: <sip:one;lr>\r\n\
        Record-Route: <sip:two;lr>\r\n\
        X-Authz-User: a\r\n\
        X-Authz-Permits: aVia: b\r\n\
        Max-Forwards: 19\r\n\
        v:SIP/2.0/UDP  phone.example;branch=z9hG4bKa;received=192.0.2.7;rport=1024, SIP/2.0/TLS b\r\n\
        Via: SIP/2.0/TCP c\r\n\
        f: \"A\" <sip:a@pbx.example>;tag=1\r\n\
        To: <sip:100@pbx.example>\r\n\
        Call-ID: c1\r\n\
        ROUTE:  <sip:192.0.2.9;lr>\r\n\
        CSeq: 1 INVITE\r\n\
        Record-Route: <sip:192.0.2.8;lr>\r\n\
        Proxy-Authorization: Digest realm=\"theirs.example\", username=\"a\"\r\n\
        Subject: one\r\n\ttwo \r\n three\r\n\
        P-Preferred-Identity: <sip:ceo@pbx.example>\r\n\
        Content-Length:5\r\n\
        \r\n\
        bodie";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    let asserting = identity.clone().with_asserted(true);
    let mut out = Vec::new();
    ForwardedRequest { identity: &asserting, ..request }.write(&mut out);
    assert!(!String::from_utf8(out).unwrap().contains("ceo"));
    let mut out = Vec::new();
    ForwardedRequest { strip_asserted: false, identity: &asserting, ..request }.write(&mut out);
    assert_eq!(String::from_utf8(out).unwrap().matches("ceo").count(), 3);
}

#[test]
fn fields_that_are_missing_are_added() {
    let text = "ACK tel:1 SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: tel:1\r\nFrom: tel:2\r\nCall-ID: 1\r\n\
                CSeq: 1 ACK\r\n\r\nbody";
    let message = Message::scan(text.as_bytes()).unwrap();
    let strict = Strict::request(&message).unwrap();
    let identity = IdentityFields::default();
    let request = ForwardedRequest {
        message: &strict,
        source: "[2001:db8::7]:1024".parse().unwrap(),
        via: b"V",
        record_routes: &[],
        routes_removed: 1,
        drop_credentials: &|_| true,
        identity: &identity,
        add: &[],
        strip_asserted: false,
        to_stream: true,
    };
    let head = "ACK tel:1 SIP/2.0\r\nVia: V\r\nMax-Forwards: 70\r\n\
                Via: SIP/2.0/UDP h;received=2001:db8::7\r\nTo: tel:1\r\nFrom: tel:2\r\nCall-ID: 1\r\n\
                CSeq: 1 ACK\r\n";
    for (to_stream, length) in [(true, "Content-Length: 4\r\n"), (false, "")] {
        let mut out = Vec::new();
        ForwardedRequest { to_stream, ..request }.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{head}{length}\r\nbody"));
    }
}

#[test]
fn a_response_loses_its_first_via() {
    let with = |vias: &str| {
        format!(
            "SIP/2.0 183 {{\u{e9}}}\r\nX-AUTHZ-DOMAIN: x\r\n{vias}From: sip:a;tag=1\r\n\
             To: sip:b\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nP-Asserted-Identity: sip:c\r\n\
             S: a\r\n b\r\n\r\nbody"
        )
    };
    let identity = IdentityFields::default();
    for (vias, left) in [
        ("Via: SIP/2.0/UDP a, SIP/2.0/UDP b\r\n", Some("Via: SIP/2.0/UDP b\r\n")),
        (
            "v:SIP/2.0/UDP a;x=\",\" ,SIP/2.0/UDP b ,\tSIP/2.0/UDP c\r\nVia: SIP/2.0/UDP d\r\n",
            Some("v:SIP/2.0/UDP b ,\tSIP/2.0/UDP c\r\nVia: SIP/2.0/UDP d\r\n"),
        ),
        ("Via: SIP/2.0/UDP a\r\nv: SIP/2.0/UDP b\r\n", Some("v: SIP/2.0/UDP b\r\n")),
        ("Via: SIP/2.0/UDP a\r\n", None),
    ] {
        let text = with(vias);
        let message = Message::scan(text.as_bytes()).unwrap();
        let strict = Strict::response(&message).unwrap();
        for (strip_asserted, to_stream) in [(false, false), (false, true), (true, true)] {
            let mut out = Vec::new();
            let response = ForwardedResponse {
                message: &strict,
                identity: &identity,
                strip_asserted,
                to_stream,
            };
            assert_eq!(response.write(&mut out), left.is_some());
            let mut expected = left.map(with).unwrap_or_default();
            expected = expected.replace("X-AUTHZ-DOMAIN: x\r\n", "");
            if strip_asserted {
                expected = expected.replace("P-Asserted-Identity: sip:c\r\n", "");
            }
            if to_stream {
                expected = expected.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\n");
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

/// A name in one of several cases.
fn name(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(names), 0..3).prop_map(|(name, case)| match case {
        0 => name.to_owned(),
        1 => name.to_uppercase(),
        _ => name.to_lowercase(),
    })
}

/// A list of one to three values.
fn list(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let comma = select(&[",", ", ", " ,\t"][..]);
    prop::collection::vec((value, comma), 1..4).prop_map(|values| {
        let text: String = values.iter().map(|(value, comma)| format!("{value}{comma}")).collect();
        text.trim_end_matches([',', ' ', '\t']).to_owned()
    })
}

/// A line of a field: a colon with or without space, the value, and white space at the end.
fn line(
    names: &'static [&'static str],
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let (colon, end) = (select(&[":", ": ", ":\t "][..]), select(&["", " ", "\t"][..]));
    (name(names), colon, value, end)
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}\r\n"))
}

fn via() -> impl Strategy<Value = String> {
    let head = select(&["SIP/2.0/UDP ", "SIP / 2.0/ TLS\t", "sip/2.0/x  "][..]);
    let host = select(
        &[
            "192.0.2.1",
            "192.0.2.1:5061",
            "h.example : 5060",
            "[2001:db8::1]:5060",
            "[::ffff:192.0.2.1]",
        ][..],
    );
    let param = select(
        &[
            "rport",
            "RPORT=5",
            "received=1.2.3.4",
            "branch=z9hG4bK1",
            "x=\"a,;\\\"b\"",
            "ttl = 1",
            "y=a/==",
        ][..],
    );
    let mark = select(&[";", " ; "][..]);
    (head, host, prop::sample::subsequence((0..7).collect::<Vec<_>>(), 0..5), mark).prop_flat_map(
        move |(head, host, which, mark)| {
            prop::collection::vec(param.clone(), which.len()).prop_map(move |params| {
                let mut text = format!("{head}{host}");
                for param in params {
                    if !(param.starts_with("branch") && text.contains("branch")) {
                        text += &format!("{mark}{param}");
                    }
                }
                text
            })
        },
    )
}

fn address() -> impl Strategy<Value = String> {
    let display = select(&["", "A ", "\"a, \\\" <b>\" ", "\u{e9} "][..]);
    let uri = select(
        &["sip:a@b.example", "sips:a;b?c@[::1]:5061;x=y", "tel:+1;ext=2", "sip:a,b@c;lr?d=e"][..],
    );
    (display, uri).prop_map(|(display, uri)| format!("{display}<{uri}>"))
}

fn route() -> impl Strategy<Value = String> {
    let uris = ["<sip:a@b.example;lr>", "P <sips:[::1]:5061;x=y>;z", "<sip:a,b@c;lr>;x=\"y\""];
    select(uris.to_vec()).prop_map(str::to_owned)
}

/// A field that is passed on or stripped, with folds.
fn other() -> impl Strategy<Value = String> {
    let names = &[
        "Subject",
        "s",
        "X-Authz-User",
        "X_Authz-account",
        "X-Authz-Users",
        "P-Asserted-Identity",
        "P-Preferred-Identity",
        "Remote-Party-ID",
        "Path",
        "pATH",
        "Paths",
        "Authorization",
        "Proxy-Authorization",
        "Require",
        "Content-Type",
        "k",
        "!%*_+`'~.",
    ];
    let part = select(
        &[
            "",
            "a",
            "\u{e9}\u{30c4}",
            "\"",
            "<,;",
            "Digest realm=\"ours.example\"",
            "realm = ours.example ,",
            "realm=\"theirs.example\"",
            "X-Authz-User: a",
            "Via: b",
            "\t",
            ":",
            "REALM=\"ours\\.example\"",
        ][..],
    );
    let join = select(&[" ", "\r\n ", "\r\n\t", ","][..]);
    let value = prop::collection::vec((part, join), 0..5).prop_map(|parts| {
        let mut text = String::new();
        for (part, join) in parts {
            // a folded line is never blank
            let part = if join.contains('\n') && part.trim().is_empty() { "x" } else { part };
            text += &format!("{join}{part}");
        }
        text
    });
    line(names, value)
}

/// A well-formed message, as bytes.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let many = |field: BoxedStrategy<String>, count| prop::collection::vec(field, count);
    let tag = select(&["", ";tag=1", " ; x=\"tag=2\";tag=1"][..]);
    let tagged = move || (address(), tag.clone()).prop_map(|(address, tag)| address + tag);
    let fields = (
        many(line(&["Via", "v"], list(via())).boxed(), 1..4),
        (line(&["From", "f"], tagged()), line(&["To", "t"], tagged())),
        (
            line(&["Call-ID", "i"], "[!-+.-~]{1,9}"),
            line(&["Max-Forwards"], "0{0,2}(0|7|70|255)"),
            any::<bool>(),
        ),
        many(line(&["Route"], list(route())).boxed(), 0..3),
        many(line(&["Record-Route"], list(route())).boxed(), 0..3),
        many(line(&["Contact", "m"], address()).boxed(), 0..2),
        many(other().boxed(), 0..8),
    );
    let body = prop::collection::vec(any::<u8>(), 0..40);
    let start = select(
        &["INVITE sip:a@b SIP/2.0", "X tel:1 SIP/2.0", "SIP/2.0 200 ", "SIP/2.0 404 N F"][..],
    );
    let length = (select(&["Content-Length", "l"][..]), prop::option::of(any::<Index>()));
    (start, fields, body, length, any::<[Index; 32]>()).prop_map(
        |(start, fields, body, (length, cut), order)| {
            let (vias, (from, to), (call_id, hops, has_hops), routes, records, contacts, others) =
                fields;
            let method = if start.starts_with('X') { "X" } else { "INVITE" };
            let mut lines = [vias, routes, records, contacts, others].concat();
            lines.extend([from, to, call_id, format!("CSEQ: 7 {method}\r\n")]);
            if has_hops {
                lines.push(hops);
            }
            if let Some(cut) = cut {
                lines.push(format!("{length}: {}\r\n", cut.index(body.len() + 1)));
            }
            // the order of the fields is mixed
            for (at, other) in order.iter().enumerate() {
                let (at, other) = (at % lines.len(), other.index(lines.len()));
                lines.swap(at, other);
            }
            [format!("{start}\r\n{}\r\n", lines.concat()).as_bytes(), &body].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The checks are those of [`fuzz_forward`].
    #[test]
    fn well_formed_messages_are_forwarded(bytes in message()) {
        let outcome = fuzz_forward(&bytes);
        let is_request = !bytes.starts_with(b"SIP");
        prop_assert!(outcome == "request" || !is_request, "{}", bytes.escape_ascii());
        prop_assert!(is_request || ["response", "last"].contains(&outcome), "{}", bytes.escape_ascii());
    }

    #[test]
    fn edited_messages_are_refused_or_forwarded(
        bytes in message(),
        edits in prop::collection::vec((any::<Index>(), 0..3_usize, edit()), 1..4),
    ) {
        let mut bytes = bytes;
        for (at, len, text) in edits {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + len);
            bytes.splice(at..end, text);
        }
        fuzz_forward(&bytes);
    }
}

fn edit() -> impl Strategy<Value = Vec<u8>> {
    let texts = select(
        &[
            "", " ", "\t", "\r\n", "\n", "\r", "\0", "\r\n ", ":", ";", ",", "\"", "\\", "<", ">",
            "=", "?",
        ][..],
    );
    let lines = select(
        &["\r\nl: 1", "\r\nVia: SIP/2.0/UDP x", "\r\nRoute: <sip:x>", "\r\nX-Authz-User: x"][..],
    );
    prop_oneof![
        4 => texts.prop_map(|text| text.as_bytes().to_vec()),
        2 => lines.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ]
}
