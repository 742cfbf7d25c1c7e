//! The message scan, framing and URIs, with hostile bytes and well-formed messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::collection::vec;
use proptest::prelude::*;
use sip_authz::message::*;
use sip_authz::uri::*;

pub(crate) const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n\
Max-Forwards: 70\r\n\
To: Bob <sip:bob@biloxi.com>\r\n\
From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n\
Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:alice@pc33.atlanta.com>\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 4\r\n\
\r\n\
v=0\n";

/// The torture test `wsinv` of RFC 4475 §3.1.1.1, with a shortened body.
const WSINV: &str = "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
MaX-fOrWaRdS: 0068\r\n\
Call-ID: wsinv.ndaksdj@192.0.2.1\r\n\
Content-Length   : 5\r\n\
cseq: 0009\r\n  INVITE\r\n\
Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n\
s :\r\n\
NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n\
Content-Type: application/sdp\r\n\
Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n\
v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n \
SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\
m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  \
secondparam ; q = 0.33\r\n\
\r\n\
v=0\r\n";

fn defect(bytes: impl AsRef<[u8]>) -> Option<Defect> {
    let bytes = bytes.as_ref();
    Message::scan(bytes).unwrap_or_else(|| panic!("not sip: {}", bytes.escape_ascii())).defect()
}

/// INVITE with `from` replaced by `to`; `from` must occur.
pub(crate) fn with(from: &str, to: &str) -> String {
    assert!(INVITE.contains(from), "{from}");
    INVITE.replacen(from, to, 1)
}

/// INVITE with a line before its Max-Forwards.
pub(crate) fn plus(line: &str) -> String {
    with("Max-Forwards", &format!("{line}\r\nMax-Forwards"))
}

#[test]
fn a_plain_invite() {
    let message = Message::scan(INVITE.as_bytes()).unwrap();
    assert_eq!(message.defect(), None);
    let StartLine::Request { method, uri } = message.start_line() else { panic!() };
    assert_eq!((method, uri), ("INVITE", "sip:bob@biloxi.com"));
    assert_eq!(message.body(), b"v=0\n");
    assert_eq!(message.first(Header::MaxForwards), Some(&b"70"[..]));
    assert_eq!(message.first(Header::Route), None);
    assert_eq!(message.first(Header::Other), None);
    let names: Vec<_> = message.fields().map(|field| field.header.name()).collect();
    let expected = "Via Max-Forwards To From Call-ID CSeq Contact Content-Type Content-Length";
    assert_eq!(names.join(" "), expected);
    let logged = format!("{message:?} {:?}", message.fields().next());
    assert!(!logged.contains("bob") && !logged.contains("atlanta"), "{logged}");
}

#[test]
fn torture_by_white_space_folds_compact_names_and_case() {
    let message = Message::scan(WSINV.as_bytes()).unwrap();
    assert_eq!(message.defect(), None);
    assert_eq!(message.fields().filter(|field| field.header == Header::Via).count(), 2);
    assert_eq!(message.first(Header::CSeq), Some(&b"0009\r\n  INVITE"[..]));
    assert!(message.first(Header::Contact).unwrap().starts_with(b"\"Quoted"));
    let to = name_addr(message.first(Header::To).unwrap()).unwrap();
    assert_eq!(
        (to.uri, to.tag().unwrap()),
        ("sip:vivekg@chair-dnrc.example.com", &b"1918181833n"[..])
    );
    let from = name_addr(message.first(Header::From).unwrap()).unwrap();
    assert_eq!((from.uri, from.tag().unwrap()), ("sip:jdrosen@example.com", &b"98asjd8"[..]));
    let compact = INVITE
        .replace("Via", "v")
        .replace("From", "f")
        .replace("To", "T")
        .replace("Call-ID", "I")
        .replace("Contact", "m")
        .replace("Content-Type", "c")
        .replace("Content-Length", "L");
    let compact = Message::scan(compact.as_bytes()).unwrap();
    let plain = Message::scan(INVITE.as_bytes()).unwrap();
    let values = |message: &Message<'static>| -> Vec<_> {
        message.fields().map(|field| (field.header, field.value)).collect()
    };
    let compact: Vec<_> = compact.fields().map(|field| (field.header, field.value)).collect();
    assert_eq!(compact, values(&plain));
}

#[test]
fn start_lines() {
    let line = |line: &str| {
        Message::scan(with("INVITE sip:bob@biloxi.com SIP/2.0", line).as_bytes())
            .map(|m| m.defect())
    };
    for (text, expected) in [
        ("INVITE sip:x sip/2.0", None),
        ("INVITE tel:+1\\ SIP/2.0", None), // the URI's own reader refuses it
        ("INVITE sip:x SIP/7.0", Some(Defect::Version)),
        ("INVITE sip:x SIP/2.0x", Some(Defect::Version)),
        ("INVITE  sip:x SIP/2.0", Some(Defect::RequestLine)),
        ("INVITE sip:x  SIP/2.0", Some(Defect::RequestLine)),
        ("INVITE sip:x SIP/2.0 ", None),
        ("INVITE sip:x SIP/2.0\t \t", None),
        ("INVITE  sip:x SIP/2.0 ", Some(Defect::RequestLine)),
        ("INVITE sip:x\t SIP/2.0", Some(Defect::RequestLine)),
        ("INVITE sip:x; lr SIP/2.0", Some(Defect::RequestUri)),
        ("INVITE <sip:x> SIP/2.0", Some(Defect::RequestUri)),
        ("INVITE sip:\"x\" SIP/2.0", Some(Defect::RequestUri)),
        ("INVITE sip:\u{fc} SIP/2.0", Some(Defect::RequestUri)),
        ("INVITE sip:\0 SIP/2.0", Some(Defect::Control)),
        ("INVITE sip:x\r SIP/2.0", Some(Defect::LineEnd)),
        ("INVITE sip:x SIP/2.0\r", Some(Defect::LineEnd)),
        ("invite sip:x SIP/2.0", Some(Defect::CSeqMethod)),
        ("SIP/2.0 200 OK", None),
        ("SIP/2.0 180 \u{fc}", None),
        ("SIP/2.0 200", Some(Defect::StatusLine)),
        ("SIP/2.0 099 x", Some(Defect::StatusLine)),
        ("SIP/2.0 700 x", Some(Defect::StatusLine)),
        ("SIP/3.0 200 OK", Some(Defect::Version)),
    ] {
        assert_eq!(line(text), Some(expected), "{text:?}");
    }
    for text in [
        "",
        " ",
        "INVITE",
        "INVITE sip:x",
        "INVITE  SIP/2.0",
        "INVITE SIP/2.0",
        "GET / HTTP/1.1",
        " INVITE sip:x SIP/2.0",
        "INV(TE sip:x SIP/2.0",
        "INVITE\tsip:x\tSIP/2.0",
        "INVITE sip:x\tSIP/2.0 ",
        "INVITE sip:x SIP/2.0 x",
        "SIP/2.0 2000 x",
        "SIP/2.0  200 x",
        "SIP/2.0 +20 x",
        "SIP/2.0",
        "\u{fc} sip:x SIP/2.0",
        "\r\nINVITE sip:x SIP/2.0",
    ] {
        assert_eq!(line(text), None, "{text:?}");
    }
    let response = Message::scan(b"SIP/2.0 487 Request Terminated\r\n\r\n").unwrap();
    assert_eq!(response.start_line(), StartLine::Response { status: 487 });
}

#[test]
fn defects_of_the_head() {
    use Defect::*;
    let longest = format!("X: {}", "a".repeat(MAX_HEAD));
    let many = "a: b\r\n".repeat(MAX_FIELDS) + "a: b";
    for (message, expected) in [
        (with("70\r\n", "70\n"), LineEnd),
        (with("70\r\n", "70\r"), LineEnd),
        (with("70\r\n", "70\r\r\n"), LineEnd),
        (INVITE.replace("\r\n", "\n"), LineEnd),
        (with("\r\n\r\n", "\r\n\n"), LineEnd),
        (with("\r\n\r\n", "\n\n"), LineEnd),
        (plus("X: a\rb"), LineEnd),
        (plus("X: a\r\n b\n c"), LineEnd),
        (plus("X\0: a"), Control),
        (with("314159 INVITE", "314159 INVITE\x01"), Control),
        (with("314159 INVITE", "314159\r\n \x01INVITE"), Control),
        (with("Length: 4", "Length: \x7f4"), Control),
        (plus("no colon\0"), Control),
        (plus("\x01\x02"), Control),
        (plus("X: a\x01\n b"), LineEnd),
        (plus("X: a\x01\r\n b\n c"), LineEnd),
        (plus("X: a\r\n \t\r\n b"), Fold),
        (plus("X: a\r\n \x0b\r\n b"), Fold),
        (plus("X: a\r\n \0\t\x7f\r\n b"), Fold),
        (plus("X: a\x01\r\n \r\n b"), Fold),
        (plus("To\x01: x"), Control),
        (plus("To\x0b : x"), Control),
        (plus("no colon"), FieldName),
        (plus(": x"), FieldName),
        (plus("a b: x"), FieldName),
        (plus("To\r\n : x"), FieldName),
        (plus("a(b: x"), FieldName),
        (plus("\u{fc}: x"), FieldName),
        (with("Via", " Via"), FieldName),
        (plus(&longest), HeadTooLong),
        (plus(&many), TooManyFields),
        (plus("to : x"), Repeated(Header::To)),
        (plus("FROM: x"), Repeated(Header::From)),
        (plus("i: x"), Repeated(Header::CallId)),
        (plus("cSEQ: 314159 INVITE"), Repeated(Header::CSeq)),
        (plus("l: 4"), Repeated(Header::ContentLength)),
        (with(" Bob <sip:bob@biloxi.com>", "\r\n "), Fold),
        (with("Via", "Vib"), Missing(Header::Via)),
        (with("From", "Fron"), Missing(Header::From)),
        (with("To", "Too"), Missing(Header::To)),
        (with("Call-ID", "Call_ID"), Missing(Header::CallId)),
        (with("CSeq", "Cseqq"), Missing(Header::CSeq)),
        (with("314159 INVITE", ""), CSeq),
        (with("314159 INVITE", "4294967296 INVITE"), CSeq),
        (with("314159 INVITE", "99999999999999999999999 INVITE"), CSeq),
        (with("314159 INVITE", "-1 INVITE"), CSeq),
        (with("314159 INVITE", "1INVITE"), CSeq),
        (with("314159 INVITE", "INVITE"), CSeq),
        (with("314159 INVITE", "1"), CSeq),
        (with("314159 INVITE", "1 INVITE x"), CSeq),
        (with("314159 INVITE", "1 BYE"), CSeqMethod),
        (with("314159 INVITE", "1 invite"), CSeqMethod),
        (with("Length: 4", "Length: 5"), BodyTooShort),
        (with("Length: 4", "Length: 18446744073709551616"), BodyTooShort),
        (with("Length: 4", "Length: 18446744073709551620"), BodyTooShort),
        (with("Length: 4", "Length: 99999999999999999999999999"), BodyTooShort),
        (with("Length: 4", "Length: -1"), ContentLength),
        (with("Length: 4", "Length: +4"), ContentLength),
        (with("Length: 4", "Length: 0x4"), ContentLength),
        (with("Length: 4", "Length: 4\r\n 4"), ContentLength),
        (with("Length: 4", "Length:"), ContentLength),
    ] {
        assert_eq!(defect(&message), Some(expected), "{:.2000}", message.escape_debug());
    }
    let texts = [
        (LineEnd, "bare cr or lf in the head"),
        (Missing(Header::CallId), "missing header `Call-ID`"),
    ];
    for (defect, text) in texts {
        assert_eq!(defect.to_string(), text);
    }
}

#[test]
fn unusual_heads_without_a_defect() {
    for message in [
        plus("X:"),
        plus("X: \u{fc}"),
        plus("X: a\tb"),
        plus("Via: SIP/2.0/TCP second"),
        plus("X\t : b"),
        with("314159 INVITE", "2147483647\tINVITE"),
        with("314159 INVITE", "2147483648 INVITE"),
        with("314159 INVITE", "4294967295 INVITE"),
        with("314159 INVITE", "0000004294967295 INVITE"),
        with("314159 INVITE", "00000000000000000000001 INVITE"),
        with("Length: 4", "Length: 0000000000000000000000000000004"),
        with("Length: 4", "Length: 0"),
        with("Max-Forwards: 70\r\n", ""),
        plus("a: b\r\n".repeat(MAX_FIELDS - 10).trim_end()),
        format!("{INVITE}more than was announced"),
    ] {
        assert_eq!(defect(&message), None, "{}", message.escape_debug());
    }
    let text = plus("X: ");
    let (before, after) = text.split_at(text.find("X: ").unwrap() + 3);
    let latin1 = [before.as_bytes(), b"\xe4\xff", after.as_bytes()].concat();
    assert_eq!(defect(&latin1), None);
    // a control character before the colon makes another header name, so the value is not used
    let foreign = plus("Proxy-Authorization\x01: Digest x");
    let message = Message::scan(foreign.as_bytes()).unwrap();
    assert_eq!(message.first(Header::ProxyAuthorization), None);
    let spaced = plus("Proxy-Authorization\t : Digest x");
    let message = Message::scan(spaced.as_bytes()).unwrap();
    assert_eq!(message.first(Header::ProxyAuthorization), Some(&b"Digest x"[..]));
}

#[test]
fn bodies() {
    let body = "To: x\r\nVia: y\r\n\r\n\0\n";
    let whole = with("Content-Length: 4\r\n", "").replace("v=0\n", body);
    let message = Message::scan(whole.as_bytes()).unwrap();
    assert_eq!((message.defect(), message.body()), (None, body.as_bytes()));
    assert_eq!(message.fields().count(), 8);
    let spaced = with("v=0\n", " v=0");
    let message = Message::scan(spaced.as_bytes()).unwrap();
    assert_eq!(
        (message.defect(), message.body()),
        (None, &b" v=0"[..]),
        "no fold of the blank line"
    );
    let longer = format!("{INVITE}Route: <sip:x>\r\n");
    assert_eq!(Message::scan(longer.as_bytes()).unwrap().body(), b"v=0\n");
    let none = with("Length: 4", "Length: 0");
    assert_eq!(Message::scan(none.as_bytes()).unwrap().body(), b"");
}

#[test]
fn truncated_at_every_length() {
    for text in [INVITE, WSINV] {
        let whole = Message::scan(text.as_bytes()).unwrap();
        let head = text.len() - whole.body().len();
        for len in 0..text.len() {
            let part = &text.as_bytes()[..len];
            if let Some(message) = Message::scan(part) {
                assert!(message.defect().is_some(), "{len}");
                let same = message.fields().zip(whole.fields()).all(|(a, b)| a == b);
                // folds of the last field may be missing
                let known = message.fields().count().saturating_sub(1);
                assert!(
                    same || message.fields().take(known).eq(whole.fields().take(known)),
                    "{len}"
                );
            }
            let framed = frame(part).unwrap_or_else(|error| panic!("{len}: {error}"));
            assert_eq!(framed.is_some(), len >= head, "{len}");
        }
        let framed = frame(text.as_bytes()).unwrap().unwrap();
        assert_eq!(framed, Frame { head, body: text.len() - head });
    }
}

#[test]
fn frames() {
    let pipelined = format!("{INVITE}{INVITE}");
    let Frame { head, body } = frame(pipelined.as_bytes()).unwrap().unwrap();
    assert_eq!(&pipelined[head + body..], INVITE);
    for (message, expected) in [
        ("GET / HTTP/1.1\r\n".to_owned(), FrameError::NotSip),
        ("\r\n\r\n".to_owned(), FrameError::NotSip),
        (with("Content-Length", "X"), FrameError::NoContentLength),
        (with("Content-Length", "Content-Length\x01"), FrameError::Garbled),
        (plus("l: 4"), FrameError::ContentLength),
        (with("Length: 4", "Length: -4"), FrameError::ContentLength),
        (with("Length: 4", "Length: 4, 4"), FrameError::ContentLength),
        (with("Length: 4", "Length: 65536"), FrameError::TooLong),
        (with("Length: 4", "Length: 18446744073709551620"), FrameError::TooLong),
        (plus(&"a: b\r\n".repeat(9)), FrameError::NoContentLength), // a blank line before it
        (plus("a: b\r\n".repeat(MAX_FIELDS).trim_end()), FrameError::TooLong),
        (plus(&format!("X: {}", "a".repeat(MAX_HEAD))), FrameError::TooLong),
        ("a".repeat(MAX_HEAD + 1), FrameError::TooLong),
        (with("70\r\n", "70\n"), FrameError::Garbled),
        (with("\r\n\r\n", "\r\n\n"), FrameError::Garbled),
        (with("\r\n\r\n", "\r\n \r\n"), FrameError::Garbled),
        (plus("X: a\r\rb"), FrameError::Garbled),
        (plus("no colon"), FrameError::Garbled),
        (plus("Content-Length\r\n : 4"), FrameError::Garbled),
        (plus("\"l\": 4"), FrameError::Garbled),
        (plus("l\u{a0}: 4"), FrameError::Garbled),
        (with(" SIP/2.0\r\n", " SIP/2.0\r\n l: 4\r\n"), FrameError::Garbled),
    ] {
        assert_eq!(frame(message.as_bytes()), Err(expected), "{:.900}", message.escape_debug());
    }
    assert_eq!(frame(b"").unwrap(), None);
    assert_eq!(
        frame(with("Length: 4", "Length: 65535").as_bytes()).unwrap().unwrap().body,
        MAX_BODY
    );
    for (bytes, skipped) in [("", 0), ("\r\n\r\nI", 4), ("\r\n\r", 2), ("\n\r\n", 0), ("\r\n\n", 2)]
    {
        assert_eq!(skip_keepalive(bytes.as_bytes()), skipped, "{bytes:?}");
    }
}

#[test]
fn heads_at_the_limit() {
    let base = INVITE.len() - 4;
    for (len, expected) in [(MAX_HEAD, None), (MAX_HEAD + 1, Some(Defect::HeadTooLong))] {
        let message = plus(&format!("X: {}", "a".repeat(len - base - "X: \r\n".len())));
        assert_eq!(message.len(), len + 4);
        assert_eq!(defect(&message), expected);
        assert_eq!(frame(message.as_bytes()).is_ok(), expected.is_none());
    }
}

/// Bytes that are mostly close to SIP.
fn near_sip() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "INVITE ",
        "sip:a@b",
        " SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "Via: x\r\n",
        "To",
        "f: <sip:a@b>",
        ":",
        " ",
        "\t",
        "\r\n",
        "\r",
        "\n",
        "\0",
        "l: ",
        "5",
        "\"",
        "\\",
        "<",
        ">",
        ";tag=",
        "@",
        "[",
        "]",
        "%4",
        "%",
        "?",
        "&",
        "=",
        ";",
        "sips:",
        "CSeq: 1 INVITE\r\n",
        "\r\n\r\n",
        "é",
        ".",
        "-",
    ]);
    let piece = prop_oneof![
        4 => pieces.prop_map(|piece: &str| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn check_all(bytes: &[u8]) {
    let message = Message::scan(bytes);
    if let Some(message) = message {
        for header in [Header::Via, Header::To, Header::ContentLength, Header::Other] {
            let found = message.fields().find(|field| field.header == header);
            let known = found.filter(|field| field.header != Header::Other);
            assert_eq!(message.first(header), known.map(|field| field.value));
        }
        assert!(message.fields().count() <= MAX_FIELDS);
    }
    if let Ok(Some(Frame { head, body })) = frame(bytes) {
        let message = message.unwrap();
        if let Some(rest) = bytes.get(head..head + body) {
            assert_eq!(message.body(), rest);
        } else {
            assert!(message.defect().is_some());
        }
    } else if message
        .is_some_and(|m| m.stream_defect().is_none() && m.first(Header::ContentLength).is_some())
    {
        panic!("well-formed but not framed: {}", bytes.escape_ascii());
    }
    if let Some(read) = name_addr(bytes) {
        assert!(!read.uri.is_empty());
        let _ = read.tag();
    }
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = Host::parse(text);
        if let Ok(uri) = SipUri::parse(text) {
            assert!(uri.equivalent(&uri));
            assert!(Host::parse(uri.host).is_ok());
        }
    }
}

fn any_case(name: &'static str) -> impl Strategy<Value = String> {
    vec(any::<bool>(), name.len()).prop_map(move |upper| {
        let case = |(c, upper): (char, bool)| {
            if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
        };
        name.chars().zip(upper).map(case).collect()
    })
}

fn named(header: Header, compact: Option<&'static str>) -> impl Strategy<Value = (Header, String)> {
    let long = any_case(header.name());
    let compact = any_case(compact.unwrap_or(header.name()));
    prop_oneof![long, compact].prop_map(move |name| (header, name))
}

/// White space allowed inside a value.
fn lws() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![" ", "\t", "  ", "\r\n ", " \r\n\t"])
}

prop_compose! {
    /// Well-formed header fields in any order, and their expected values.
    fn fields()(
        mandatory in (
            (named(Header::Via, Some("v")), "SIP/2\\.0/UDP [a-z]{1,9};branch=z9hG4bK[a-z0-9]{1,9}"),
            (named(Header::From, Some("f")), "\"[a-z ;,<>]{0,9}\" <sip:[a-z]{1,5}@[a-z]{1,5}>;tag=[a-z]{1,5}"),
            (named(Header::To, Some("t")), "<sip:[a-z]{1,5}@[a-z]{1,5}>"),
            (named(Header::CallId, Some("i")), "[a-z0-9@]{1,20}"),
            (named(Header::CSeq, None), any::<u32>(), lws()),
        ),
        more in vec(
            prop_oneof![
                (named(Header::Via, Some("v")), "[!-~]{1,9}"),
                (named(Header::Contact, Some("m")), "[!-~]{0,9}"),
                (named(Header::ProxyAuthorization, None), "Digest [ -~]{0,40}[!-~]"),
                (named(Header::Authorization, None), "[!-~]{0,9}"),
                (named(Header::Route, None), "[!-~]{1,5}\r\n [!-~]{1,5}"),
                (("[A-Z]{1,3}-[!%*_+`'~.a-z0-9]{1,9}").prop_map(|name| (Header::Other, name)), "[!-~é]{0,9}"),
            ],
            0..20,
        ),
    )(
        fields in {
            let (via, from, to, call_id, (cseq, number, space)) = mandatory;
            let cseq = (cseq, format!("{number}{space}INVITE"));
            Just([vec![via, from, to, call_id, cseq], more].concat()).prop_shuffle()
        },
    ) -> Vec<((Header, String), String)> { fields }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..600)) {
        check_all(&bytes);
    }

    #[test]
    fn nothing_near_sip_panics(bytes in near_sip()) {
        check_all(&bytes);
        check_all(&[b"INVITE sip:a SIP/2.0\r\n", &bytes[..]].concat());
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0..INVITE.len(), to: u8, wide: bool) {
        let mut bytes = if wide { WSINV } else { INVITE }.as_bytes().to_vec();
        bytes[at] = to;
        check_all(&bytes);
    }

    #[test]
    fn well_formed_invites_scan_as_they_were_made(
        fields in fields(),
        space in vec(prop::sample::select(vec!["", " ", "\t "]), 25),
        pads in vec(prop_oneof![Just(""), lws()], 25),
        body in vec(any::<u8>(), 0..50),
        sized: bool,
    ) {
        let mut text = "INVITE sip:b@h SIP/2.0\r\n".to_owned();
        for (((_, name), value), (space, pad)) in fields.iter().zip(space.iter().zip(&pads)) {
            // a fold before an empty value would be a blank fold
            let pad = if value.is_empty() { "" } else { pad };
            text += &format!("{name}{space}:{pad}{value}\r\n");
        }
        let mut expected: Vec<_> =
            fields.iter().map(|((header, name), value)| (*header, name.as_bytes(), value.as_bytes())).collect();
        let length = body.len().to_string();
        if sized {
            text += &format!("Content-Length: {length}\r\n");
            expected.push((Header::ContentLength, b"Content-Length", length.as_bytes()));
        }
        text += "\r\n";
        let bytes = [text.as_bytes(), &body].concat();
        let message = Message::scan(&bytes).unwrap();
        prop_assert_eq!(message.defect(), None, "{}", text);
        prop_assert_eq!(message.start_line(), StartLine::Request { method: "INVITE", uri: "sip:b@h" });
        let read: Vec<_> = message.fields().map(|field| (field.header, field.name, field.value)).collect();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(message.body(), &body[..]);
        let framed = frame(&bytes);
        let whole = Frame { head: text.len(), body: body.len() };
        prop_assert_eq!(framed, if sized { Ok(Some(whole)) } else { Err(FrameError::NoContentLength) });
        let from = name_addr(message.first(Header::From).unwrap());
        prop_assert!(from.is_some_and(|from| from.tag().is_some() && SipUri::parse(from.uri).is_ok()));
    }

    #[test]
    fn an_escape_changes_no_uri(user in "[a-zA-Z0-9._!~*'()-]{1,9}", at: prop::sample::Index, upper: bool) {
        let at = at.index(user.len());
        let byte = user.as_bytes()[at];
        let hex = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        let escaped = format!("sip:{}{hex}{}@h", &user[..at], &user[at + 1..]);
        let plain = format!("sip:{user}@h");
        let (a, b) = (SipUri::parse(&plain).unwrap(), SipUri::parse(&escaped).unwrap());
        prop_assert!(a.equivalent(&b) && b.equivalent(&a));
    }

    #[test]
    fn equivalence_is_symmetric(a in "sip:([aA%41b]@)?h(;[abAlrtl]{1,3}(=[xX])?){0,3}(\\?a=[xX])?", b in "sip:([aAb]@)?H(;[abAlrtl]{1,3}(=[xX])?){0,3}") {
        if let (Ok(a), Ok(b)) = (SipUri::parse(&a), SipUri::parse(&b)) {
            prop_assert_eq!(a.equivalent(&b), b.equivalent(&a));
        }
    }

    #[test]
    fn hosts_read_back_as_themselves(text in "[a-zA-Z0-9.:\\[\\]_-]{1,30}") {
        if let Ok(host) = Host::parse(&text) {
            let again = Host::parse(host.as_str());
            prop_assert_eq!(again, Ok(host));
        }
    }
}
