//! `Invite::from_fields`, beside the same parts written as a datagram: the same facts, the same
//! refusals and the same decisions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::select;

use sip_authz::message::{Defect as D, Header, MAX_FIELDS, MAX_HEAD};
use sip_authz::{CredentialsField, Invite, InviteError, Transport};
use sip_authz_testing::fuzzing::fields::{
    Request, Stack, TRANSPORTS, compare_with_bytes, compare_with_datagram, facts, of_bytes,
};
use sip_authz_testing::kit::{self, INSIDE, PASSWORD, World, accepted, challenged};
use sip_authz_testing::torture::CASES;

const STREAMS: [Transport; 4] = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

fn pairs(fields: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

/// An INVITE with credentials and a body.
fn invite() -> Request {
    Request {
        method: "INVITE".to_owned(),
        uri: "sip:+14155550100@pbx.example.com".to_owned(),
        fields: pairs(&[
            ("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1"),
            ("Max-Forwards", "70"),
            ("From", "<sip:alice@example.com>;tag=1"),
            ("To", "<sip:+14155550100@pbx.example.com>"),
            ("Call-ID", "one@192.0.2.7"),
            ("CSeq", "7 INVITE"),
            ("Proxy-Authorization", "Digest one"),
            ("Content-Length", "4"),
        ]),
        body: b"v=0\n".to_vec(),
    }
}

/// The INVITE with another name and value for the field `name`.
fn with(name: &str, other: &str, value: &str) -> Request {
    let mut request = invite();
    let field = request.fields.iter_mut().find(|field| field.0 == name.as_bytes()).unwrap();
    *field = pairs(&[(other, value)]).remove(0);
    request
}

/// The INVITE with another value of a field.
fn valued(name: &str, value: &str) -> Request {
    with(name, name, value)
}

/// The INVITE with a further field.
fn and(name: &str, value: &str) -> Request {
    let mut request = invite();
    request.fields.extend(pairs(&[(name, value)]));
    request
}

fn error(request: &Request, transport: Transport) -> Option<InviteError> {
    request.invite(transport).err()
}

#[test]
fn equivalent_spellings_are_read_the_same() {
    let plain = facts(&invite().invite(Transport::Udp).unwrap());
    for (name, other) in [
        ("Via", "v"),
        ("Via", "vIA"),
        ("From", "f"),
        ("From", "FROM"),
        ("To", "T"),
        ("Call-ID", "i"),
        ("Call-ID", "Call-ID \t "),
        ("CSeq", "cseq"),
        ("Proxy-Authorization", "pROXY-aUTHORIZATION\t"),
        ("Content-Length", "l"),
        ("Content-Length", "L "),
    ] {
        let mut request = invite();
        request.fields.iter_mut().find(|field| field.0 == name.as_bytes()).unwrap().0 =
            other.as_bytes().to_vec();
        for transport in TRANSPORTS {
            let read = request.invite(transport).map(|invite| facts(&invite));
            assert_eq!(read.as_ref(), Ok(&plain), "{other}");
        }
        compare_with_datagram(&request);
    }
    for request in [
        valued("From", "  <sip:alice@example.com>;tag=1\t "),
        valued("From", "\r\n <sip:alice@example.com>;tag=1"),
        valued("CSeq", "7\r\n INVITE"),
        valued("Max-Forwards", "seventy"),
        and("X", "goes\r\n\ton"),
        and("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2"),
        and("X", "Proxy-Authorization: Digest two"),
    ] {
        let read = request.invite(Transport::Udp).map(|invite| facts(&invite));
        assert_eq!(read.as_ref(), Ok(&plain), "{request:?}");
        compare_with_datagram(&request);
    }
}

#[test]
fn each_part_is_returned_and_borrowed_on_streams() {
    let parsed = [
        ("Via", "SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK1"),
        ("t", "<sip:alice@example.com>"),
        ("f", "<sip:alice@example.com>;tag=1"),
        ("i", "one"),
        ("CSeq", "7 REGISTER"),
        ("Authorization", " Digest one"),
        ("proxy-authorization", "Digest two"),
        ("l", "3"),
    ];
    for transport in STREAMS.into_iter().chain([Transport::Udp]) {
        let (source, uri) = (INSIDE.parse().unwrap(), "sip:example.com");
        let read = Invite::from_fields("REGISTER", uri, parsed, b"a=1b", source, transport);
        let read = read.unwrap();
        assert_eq!((read.method(), read.request_uri()), ("REGISTER", uri));
        assert_eq!((read.source(), read.transport()), (source, transport));
        assert_eq!(read.from().unwrap().as_ptr(), parsed[2].1.as_ptr());
        assert_eq!(read.to().unwrap().as_ptr(), parsed[1].1.as_ptr());
        let expected = [
            (CredentialsField::Authorization, &b"Digest one"[..]),
            (CredentialsField::ProxyAuthorization, b"Digest two"),
        ];
        assert_eq!(read.credentials(), expected);
        assert_eq!(read.body(), b"a=1");
        assert_eq!(read.received().is_some(), transport == Transport::Udp);
    }
    // owned and borrowed names, values and URIs
    let owned: Vec<(String, Vec<u8>)> = parsed
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    let fields = owned.iter().map(|(name, value)| (name, value));
    let uri = "sip:example.com".to_owned();
    let source = INSIDE.parse().unwrap();
    let read = Invite::from_fields("REGISTER", uri, fields, b"a=1", source, Transport::Tcp);
    assert_eq!(read.unwrap().request_uri(), "sip:example.com");
}

#[test]
fn every_method_but_ack_and_cancel_is_read() {
    for method in ["INVITE", "OPTIONS", "REGISTER", "MESSAGE", "BYE", "invite", "x-%!~'", "ack"] {
        let mut request = valued("CSeq", &format!("7 {method}"));
        method.clone_into(&mut request.method);
        let read = request.invite(Transport::Udp).unwrap();
        assert_eq!((read.method(), read.to().is_some()), (method, method == "REGISTER"));
        compare_with_datagram(&request);
    }
    for method in ["ACK", "CANCEL"] {
        let mut request = valued("CSeq", &format!("7 {method}"));
        method.clone_into(&mut request.method);
        assert_eq!(error(&request, Transport::Udp), Some(InviteError::NotDecided));
        compare_with_datagram(&request);
    }
    for method in
        ["", " ", "IN VITE", "INVITE ", " INVITE", "INVITE\r\n", "SIP/2.0", "\u{e9}", "a\0"]
    {
        let request = Request { method: method.to_owned(), ..invite() };
        assert_eq!(error(&request, Transport::Udp), Some(InviteError::NotSip), "{method:?}");
        compare_with_datagram(&request);
    }
}

#[test]
fn a_request_uri_with_characters_that_none_has_is_refused() {
    for (uri, defect) in [
        ("<sip:a@b>", D::RequestUri),
        ("sip:a b@c", D::RequestUri),
        ("sip:a@b SIP/2.0", D::RequestUri),
        (" sip:a@b", D::RequestUri),
        ("sip:a@b\t", D::RequestUri),
        ("sip:\u{e9}@b", D::RequestUri),
        ("sip:\"a\"@b", D::RequestUri),
        ("sip:a@b\0", D::Control),
        ("sip:\x7f@b", D::Control),
        ("sip:a@b\r\nX: y", D::LineEnd),
        ("sip:a@b\n", D::LineEnd),
        ("sip:a@b\r", D::LineEnd),
        ("sip:a@b\r\n ;x", D::RequestUri),
    ] {
        let request = Request { uri: uri.to_owned(), ..invite() };
        for transport in TRANSPORTS {
            assert_eq!(error(&request, transport), Some(InviteError::Defect(defect)), "{uri:?}");
        }
        compare_with_datagram(&request);
    }
    let request = Request { uri: String::new(), ..invite() };
    assert_eq!(error(&request, Transport::Udp), Some(InviteError::NotSip));
    // the decision refuses these, as it does for a datagram
    for uri in ["sip:a@b@host", "sip:@host", "sip:a@127.1", "tel:1", "x"] {
        let request = Request { uri: uri.to_owned(), ..invite() };
        assert_eq!(error(&request, Transport::Udp), None);
        compare_with_datagram(&request);
    }
}

#[test]
fn ambiguous_fields_are_refused_on_every_transport() {
    let without = |name: &str| {
        let mut request = invite();
        request.fields.retain(|field| field.0 != name.as_bytes());
        request
    };
    for (request, defect) in [
        (and("", "x"), D::FieldName),
        (and("X Y", "x"), D::FieldName),
        (and(" X", "x"), D::FieldName),
        (and("X:", "x"), D::FieldName),
        (and("To: <sip:b@c>\r\nX", "x"), D::LineEnd),
        (and("X\r\n", "x"), D::LineEnd),
        (and("X\r", "x"), D::LineEnd),
        (and("X\u{e9}", "x"), D::FieldName),
        (with("To", "T\0", "<sip:a@b>"), D::Control),
        (with("Proxy-Authorization", "Proxy-Authorization\0", "Digest one"), D::Control),
        (and("X", "y\r\nTo: <sip:b@c>"), D::LineEnd),
        (and("X", "y\r\n\r\n"), D::LineEnd),
        (and("X", "y\r\n"), D::LineEnd),
        (and("X", "\r\n"), D::LineEnd),
        (and("X", "y\r"), D::LineEnd),
        (and("X", "y\n"), D::LineEnd),
        (and("X", "y\n z"), D::LineEnd),
        (and("X", "y\r z"), D::LineEnd),
        (and("X", "y\r\r\n z"), D::LineEnd),
        (and("X", "y\r\n z\r\nw"), D::LineEnd),
        (and("X", "y\r\n "), D::Fold),
        (and("X", "y\r\n\t\r\n z"), D::Fold),
        (and("X", "y\r\n \x01"), D::Fold),
        (valued("Proxy-Authorization", "Digest\n one"), D::LineEnd),
        (valued("CSeq", "7 \0INVITE"), D::Control),
        (valued("Content-Length", "4\x0b"), D::Control),
        (and("t", "<sip:b@c>"), D::Repeated(Header::To)),
        (and("FROM", "<sip:b@c>"), D::Repeated(Header::From)),
        (and("i", "one@192.0.2.7"), D::Repeated(Header::CallId)),
        (and("Cseq", "7 INVITE"), D::Repeated(Header::CSeq)),
        (and("l ", "4"), D::Repeated(Header::ContentLength)),
        (without("Via"), D::Missing(Header::Via)),
        (without("From"), D::Missing(Header::From)),
        (without("To"), D::Missing(Header::To)),
        (without("Call-ID"), D::Missing(Header::CallId)),
        (without("CSeq"), D::Missing(Header::CSeq)),
        (valued("CSeq", "7 BYE"), D::CSeqMethod),
        (valued("CSeq", "7 invite"), D::CSeqMethod),
        (valued("CSeq", ""), D::CSeq),
        (valued("CSeq", "7"), D::CSeq),
        (valued("CSeq", "7INVITE"), D::CSeq),
        (valued("CSeq", "INVITE 7"), D::CSeq),
        (valued("CSeq", "-7 INVITE"), D::CSeq),
        (valued("CSeq", "7 INVITE, 7 INVITE"), D::CSeq),
        (valued("CSeq", "4294967296 INVITE"), D::CSeq),
        (valued("Content-Length", "5"), D::BodyTooShort),
        (valued("Content-Length", "18446744073709551616"), D::BodyTooShort),
        (valued("Content-Length", "+4"), D::ContentLength),
        (valued("Content-Length", "4, 4"), D::ContentLength),
        (valued("Content-Length", "0x4"), D::ContentLength),
        (valued("Content-Length", ""), D::ContentLength),
        (Request { method: "invite".to_owned(), ..invite() }, D::CSeqMethod),
        (Request { method: "OPTIONS".to_owned(), ..invite() }, D::CSeqMethod),
    ] {
        for transport in STREAMS.into_iter().chain([Transport::Udp]) {
            let expected = Some(InviteError::Defect(defect));
            assert_eq!(error(&request, transport), expected, "{request:?}");
        }
        compare_with_datagram(&request);
    }
}

#[test]
fn flaws_that_do_not_decide_are_refused_on_streams_only() {
    for (request, defect) in [
        (and("X", "\x07"), Some(D::Control)),
        (valued("Proxy-Authorization", "Digest \0one"), Some(D::Control)),
        (valued("From", "\x0b<sip:alice@example.com>"), Some(D::Control)),
        (valued("Content-Length", "\r\n 4"), Some(D::ContentLength)),
        (valued("Content-Length", "\r\n\t4"), Some(D::ContentLength)),
        (and("MAX-FORWARDS", "70"), None),
        (valued("Call-ID", ""), None),
        (valued("Via", "\t"), None),
        (valued("CSeq", "4294967295 INVITE"), None),
        (and("X", ""), None),
        (and("X", "\u{e9}\t"), None),
    ] {
        assert_eq!(error(&request, Transport::Udp), None, "{request:?}");
        for transport in STREAMS {
            let expected = defect.map(InviteError::Defect);
            assert_eq!(error(&request, transport), expected, "{request:?}");
        }
        compare_with_datagram(&request);
    }
}

#[test]
fn the_limits_of_a_head_are_those_of_a_datagram() {
    let mut request = invite();
    request.fields.resize(MAX_FIELDS, pairs(&[("X", "y")]).remove(0));
    assert_eq!(error(&request, Transport::Udp), None);
    compare_with_datagram(&request);
    request.fields.extend(pairs(&[("X", "y")]));
    let too_many = Some(InviteError::Defect(D::TooManyFields));
    assert_eq!(error(&request, Transport::Udp), too_many);
    compare_with_datagram(&request);

    let body = Request { body: vec![b'b'; 4 + MAX_HEAD], ..invite() };
    assert_eq!(error(&body, Transport::Udp), None, "the body is not limited");
    let len = invite().datagram().len() - invite().body.len();
    let room = MAX_HEAD - len - "X: \r\n".len();
    for (fill, fits) in [(room, true), (room + 1, false), (room + 2, false), (1 << 17, false)] {
        let too_long = Some(InviteError::Defect(D::HeadTooLong));
        let expected = too_long.clone().filter(|_| !fits);
        let value = and("X", &"y".repeat(fill));
        assert_eq!(error(&value, Transport::Udp), expected, "{fill}");
        compare_with_datagram(&value);
        let name = and(&"X".repeat(fill + 1), "");
        assert_eq!(error(&name, Transport::Tls), expected, "{fill}");
        compare_with_datagram(&name);
        let uri = Request { uri: "x".repeat(fill + invite().uri.len() + 5), ..invite() };
        assert_eq!(error(&uri, Transport::Udp), expected, "{fill}");
    }
}

/// A stack that never stops, and one with too much: neither is read to its end.
#[test]
fn fields_beyond_the_limits_are_not_read() {
    let read = |value: &'static str| {
        let mut read = 0;
        let fields = std::iter::repeat(("X", value)).inspect(|_| read += 1);
        let source = INSIDE.parse().unwrap();
        let error = Invite::from_fields("INVITE", "sip:a@b", fields, b"", source, Transport::Udp);
        (error.err().unwrap(), read)
    };
    assert_eq!(read("y"), (InviteError::Defect(D::TooManyFields), MAX_FIELDS + 1));
    let long: &'static str = "y".repeat(MAX_HEAD / 2).leak();
    assert_eq!(read(long), (InviteError::Defect(D::HeadTooLong), 2));
}

#[test]
fn too_many_credentials_are_marked() {
    for (count, too_many) in [(15, false), (16, true)] {
        let mut request = invite();
        for _ in 0..count {
            request.fields.extend(pairs(&[("authorization", "Digest x")]));
        }
        let read = request.invite(Transport::Udp).unwrap();
        assert_eq!((read.credentials().len(), read.has_too_many_credentials()), (16, too_many));
        compare_with_datagram(&request);
    }
}

/// A retransmission has the same parts. Every other part makes it a new request, which needs a nonce
/// of its own.
#[test]
fn a_retransmission_is_recognised_by_all_its_parts() {
    let world = World::new();
    let bytes = world.answered(&kit::Request::to(kit::HOST), INSIDE, "alice", PASSWORD).bytes();
    let first = Stack::Exact.split(&bytes).unwrap();
    let send = |request: &Request| {
        let invite = request.invite_from(INSIDE.parse().unwrap(), Transport::Udp).unwrap();
        world.authorizer.authorize(&invite, world.start)
    };
    assert!(!accepted(send(&first)).repeat);
    assert!(accepted(send(&first)).repeat);
    let mut others = vec![first.clone(); 5];
    others[0].fields.swap(0, 1);
    others[1].fields.extend(pairs(&[("X", "")]));
    others[2].body.push(b'x');
    others[3].fields[0].1.push(b'x');
    others[4].fields[1].0 = b"MAX-FORWARDS".to_vec();
    for other in &others {
        assert!(challenged(send(other)), "{other:?}");
    }
    assert!(accepted(send(&first)).repeat);
}

/// Parts whose bytes are the same in a row are still other parts.
#[test]
fn the_border_between_two_parts_is_a_part_of_the_copy() {
    let request = and("X", "yz");
    let mut moved = and("Xy", "z");
    let received = |request: &Request| {
        request.invite(Transport::Udp).unwrap().received().map(<[u8]>::to_vec).unwrap()
    };
    assert_ne!(received(&request), received(&moved));
    moved = and("X", "yz");
    assert_eq!(received(&request), received(&moved));
    moved.uri.push('x');
    assert_ne!(received(&request), received(&moved));
}

/// All files of `tests/torture`, and messages that are well-formed, odd or hostile.
fn messages() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = ["request", "from_datagram", "forward"].map(|it| root.join("fuzz/seeds").join(it));
    let mut folders: Vec<PathBuf> = seeds.into_iter().chain([root.join("tests/torture")]).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|ending| ending != "md") {
                files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    files
}

/// The parts of a message pass only if the bytes do, or if the stack hides the flaw. Exact parts are
/// decided like the bytes.
#[test]
fn parts_of_torture_messages_are_read_like_the_bytes() {
    let (mut read, mut all) = (0, 0);
    for (_, bytes) in messages() {
        all += 1;
        for stack in [Stack::Exact, Stack::Careless] {
            compare_with_bytes(stack, &bytes);
            let Some(request) = stack.split(&bytes) else { continue };
            compare_with_datagram(&request);
            read += usize::from(request.invite(Transport::Udp).is_ok());
        }
        // cut off, as a datagram can be
        for length in (0..bytes.len()).step_by(bytes.len() / 12 + 1) {
            compare_with_bytes(Stack::Exact, &bytes[..length]);
        }
    }
    assert!(all >= CASES.len() && read > 100, "{read} of {all}");
}

/// The same with a published parser: a request of rsip passes only if its bytes do.
#[test]
fn torture_messages_that_rsip_has_parsed_are_read_like_the_bytes() {
    let source = INSIDE.parse().unwrap();
    let mut read = 0;
    for (file, bytes) in messages() {
        let Ok(request) = rsip::Request::try_from(&bytes[..]) else { continue };
        for transport in TRANSPORTS {
            let Ok(ours) = Invite::from_rsip(&request, source, transport) else { continue };
            let theirs = match Invite::from_datagram(&bytes, source, transport) {
                Ok(theirs) => theirs,
                // rsip does not keep the case of a method
                Err(InviteError::NotInvite) if !bytes.starts_with(b"INVITE ") => continue,
                Err(error) => panic!("{error}: {file}"),
            };
            assert_eq!((ours.from(), ours.body()), (theirs.from(), theirs.body()), "{file}");
            assert_eq!(ours.credentials(), theirs.credentials(), "{file}");
            read += 1;
        }
    }
    assert!(read > 80, "{read}");
}

/// The reasons in the documentation that are left with exact parts: the bytes are refused, and the parts
/// pass.
#[test]
fn what_exact_parts_hide_is_what_the_documentation_says() {
    let bytes = invite().datagram();
    let text = String::from_utf8(bytes).unwrap();
    let hidden = |text: &str, transport| {
        let request = Stack::Exact.split(text.as_bytes()).unwrap();
        let theirs = of_bytes(text.as_bytes(), transport).err();
        assert!(request.invite(transport).is_ok(), "{text:?}");
        theirs
    };
    for (text, defect) in [
        (text.replace("SIP/2.0\r\n", "SIP/3.0\r\n"), D::Version),
        (text.replace(" SIP/2.0\r\n", "  SIP/2.0\r\n"), D::RequestLine),
        (text.replace("INVITE sip", "INVITE\t sip").replace("INVITE\t", "INVITE "), D::RequestLine),
        (text.replace("Content-Length: 4\r\n\r\nv=0\n", ""), D::NoBlankLine),
    ] {
        for transport in TRANSPORTS {
            assert_eq!(hidden(&text, transport), Some(InviteError::Defect(defect)), "{text:?}");
        }
    }
    let spaced = text.replace("SIP/2.0\r\n", "SIP/2.0 \t\r\n");
    assert_eq!(hidden(&spaced, Transport::Udp), None);
    let defect = InviteError::Defect(D::RequestLine);
    assert_eq!(hidden(&spaced, Transport::Tcp), Some(defect));
}

/// A piece of a name or value: sound, odd or hostile.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 34] = [
        "",
        " ",
        "\t",
        "\r\n ",
        "\r\n\t",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\x01",
        "\x7f",
        ":",
        ",",
        ";",
        "a",
        "To",
        "x: y",
        "7 INVITE",
        "7 BYE",
        "7",
        "INVITE",
        "4",
        "0",
        "10",
        "+4",
        "4294967296",
        "<sip:a@b>",
        "sip:a@h",
        "@",
        "\"",
        "Digest x",
        "\u{e9}",
        "\r\n \r\n",
        "\r\n\r\n",
    ];
    prop_oneof![
        8 => select(&PIECES[..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ]
}

fn pieces(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..=most).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: [&str; 22] = [
        "Via",
        "v",
        "From",
        "f",
        "To",
        "t",
        "Call-ID",
        "i",
        "CSeq",
        "cseq",
        "Content-Length",
        "l",
        "Authorization",
        "Proxy-Authorization",
        "Max-Forwards",
        "Contact",
        "X",
        "x-\u{7f}",
        "To ",
        "From\t",
        " To",
        "CALL-ID  ",
    ];
    prop_oneof![
        9 => select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
        1 => pieces(3),
    ]
}

/// A method or URI.
fn start(usual: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        9 => select(usual).prop_map(str::to_owned),
        1 => pieces(3).prop_map(|text| String::from_utf8_lossy(&text).into_owned()),
    ]
}

/// A change of a request that has all mandatory fields.
#[derive(Clone, Debug)]
enum Edit {
    Value(prop::sample::Index, Vec<u8>),
    Name(prop::sample::Index, Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>, Vec<u8>),
    Remove(prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        3 => (at(), pieces(3)).prop_map(|(at, value)| Edit::Value(at, value)),
        2 => (at(), name()).prop_map(|(at, name)| Edit::Name(at, name)),
        3 => (at(), name(), pieces(3)).prop_map(|(at, name, value)| Edit::Insert(at, name, value)),
        1 => at().prop_map(Edit::Remove),
    ]
}

proptest! {
    #[test]
    fn any_parts_are_read_like_the_datagram_of_them(
        method in start(&["INVITE", "OPTIONS", "REGISTER", "ACK", "invite", "SIP/2.0"]),
        uri in start(&["sip:100@h", "sip:h", "sip:a@b@h", "tel:1", "sip:100@known.example.com"]),
        edits in prop::collection::vec(edit(), 0..4),
        follows in any::<bool>(),
        body in pieces(3),
    ) {
        let mut request = Request { uri, body, ..invite() };
        if follows {
            request.fields[5].1 = format!("7 {method}").into_bytes();
            request.fields[7].1 = request.body.len().to_string().into_bytes();
        }
        request.method = method;
        for edit in edits {
            let fields = &mut request.fields;
            match edit {
                _ if fields.is_empty() => {}
                Edit::Value(at, value) => at.get_mut(fields).1 = value,
                Edit::Name(at, name) => at.get_mut(fields).0 = name,
                Edit::Insert(at, name, value) => {
                    fields.insert(at.index(fields.len()), (name, value));
                }
                Edit::Remove(at) => {
                    fields.remove(at.index(fields.len()));
                }
            }
        }
        compare_with_datagram(&request);
        compare_with_bytes(Stack::Exact, &request.datagram());
        compare_with_bytes(Stack::Careless, &request.datagram());
    }
}
