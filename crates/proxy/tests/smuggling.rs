//! Messages that another server could read in another way, which are not forwarded; and odd ones that are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::message::{Message, StartLine};
use sip_authz_proxy::Strict;
use sip_authz_testing::fuzzing::fuzz_forward;

const REQUEST: &str = "INVITE sip:100@pbx.example SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKa;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"A\" <sip:a@pbx.example>;tag=1\r\n\
    To: <sip:100@pbx.example>\r\n\
    Call-ID: c1@192.0.2.7\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:a@192.0.2.7:5060>\r\n\
    Route: <sip:192.0.2.9;lr>\r\n\
    Record-Route: <sip:192.0.2.8;lr>\r\n\
    Subject: s\r\n\
    Content-Length: 4\r\n\
    \r\n\
    body";

const RESPONSE: &str = "SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKb, SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKa\r\n\
    From: \"A\" <sip:a@pbx.example>;tag=1\r\n\
    To: <sip:100@pbx.example>;tag=2\r\n\
    Call-ID: c1@192.0.2.7\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:100@192.0.2.9:5060>\r\n\
    Record-Route: <sip:192.0.2.8;lr>\r\n\
    Content-Length: 4\r\n\
    \r\n\
    body";

fn flaw_of(bytes: &[u8]) -> Option<String> {
    let Some(message) = Message::scan(bytes) else { return Some("not sip".to_owned()) };
    let strict = match message.start_line() {
        StartLine::Request { .. } => Strict::request(&message),
        StartLine::Response { .. } => Strict::response(&message),
    };
    strict.err().map(|flaw| flaw.to_string())
}

/// Replaces the only occurrence of a text.
fn edited(base: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(base.matches(from).count(), 1, "{from:?}");
    base.replace(from, to).into_bytes()
}

/// A text of [`REQUEST`], its replacement, and the flaw.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str)] = &[
    // the start line
    (" SIP/2.0\r\nVia", " sip/2.0\r\nVia", "bad start line"),
    (" SIP/2.0\r\nVia", " SIP/2.0 \r\nVia", "spaces of the request line"),
    (" SIP/2.0\r\nVia", "\tSIP/2.0\r\nVia", "not sip"),
    (" SIP/2.0\r\nVia", "  SIP/2.0\r\nVia", "spaces of the request line"),
    (" SIP/2.0\r\nVia", " SIP/2.0\nVia", "bare cr or lf in the head"),
    (" SIP/2.0\r\nVia", " SIP/2.0\r\r\nVia", "bare cr or lf in the head"),
    (" SIP/2.0\r\nVia", " SIP/3.0\r\nVia", "unsupported sip version"),
    (" SIP/2.0\r\nVia", " SIP/2.0\r\n\r\nVia", "missing header `Via`"),
    ("INVITE sip:100", "INVITE  sip:100", "spaces of the request line"),
    ("INVITE sip:100", "\r\nINVITE sip:100", "not sip"),
    ("INVITE sip:100", " INVITE sip:100", "not sip"),
    ("INVITE sip:100", "INV\0ITE sip:100", "not sip"),
    ("INVITE sip:100", "invite sip:100", "cseq method is not the request's"),
    // the Request-URI
    ("100@pbx.example S", "100@pbx.example?Route=%3Csip:evil%3E S", "headers in the request-uri"),
    ("100@pbx.example S", "100@pbx.example? S", "headers in the request-uri"),
    ("100@pbx.example S", "100@pbx.example;user=phone?a=b S", "headers in the request-uri"),
    ("sip:100@pbx.example S", "tel:+1?a=b S", "headers in the request-uri"),
    ("100@pbx.example S", "100@pbx.example;maddr=203.0.113.1 S", "maddr in the request-uri"),
    ("100@pbx.example S", "100@pbx.example;lr;MADDR=203.0.113.1 S", "maddr in the request-uri"),
    ("100@pbx.example S", "100@pbx.example;m%61ddr=203.0.113.1 S", "maddr in the request-uri"),
    ("100@pbx.example S", "100@pbx.example;%4d%41%44%44%52 S", "maddr in the request-uri"),
    ("100@pbx.example S", "100@evil@pbx.example S", "bad request-uri"),
    ("100@pbx.example S", "100@pbx.example;x=@evil S", "bad request-uri"),
    ("100@pbx.example S", "100@pbx.example\\evil S", "bad request-uri"),
    ("100@pbx.example S", "100@pbx.example evil S", "bad character in the request-uri"),
    ("sip:100@pbx.example S", "<sip:100@pbx.example> S", "bad character in the request-uri"),
    ("sip:100@pbx.example S", "100@pbx.example S", "bad request-uri"),
    // line ends and control characters anywhere
    ("Subject: s", "Subject: s\rVia: x", "bare cr or lf in the head"),
    ("Subject: s", "Subject: s\nVia: x", "bare cr or lf in the head"),
    ("Subject: s", "Subject: s\n\r\nVia: x", "bare cr or lf in the head"),
    ("Subject: s", "Subject: s\0", "control character in the head"),
    ("Subject: s", "Subject: s\u{b}Via: x", "control character in the head"),
    ("Subject: s", "Subject: s\u{c}X-Authz-User: root", "control character in the head"),
    ("Subject: s", "Subject: s\u{7f}", "control character in the head"),
    ("Subject: s", "Subject: s\r\n \r\nVia: x", "blank folded line"),
    ("Subject: s", "Subject: s\r\n\u{1} x", "control character in the head"),
    // names
    ("Subject: s", "Subject : s", "space before the colon of a header field"),
    ("Subject: s", "X-Authz-User : root", "space before the colon of a header field"),
    ("Subject: s", "Subject\t: s", "space before the colon of a header field"),
    ("Subject: s", "Subject\r\n : s", "line is not a header field"),
    ("Subject: s", "Sub ject: s", "line is not a header field"),
    ("Subject: s", "\"Via\": s", "line is not a header field"),
    ("Subject: s", "Sub\u{e9}ct: s", "line is not a header field"),
    ("Subject: s", ": s", "line is not a header field"),
    ("Subject: s", "Subject", "line is not a header field"),
    ("Via: SIP", "Via : SIP", "space before the colon of a header field"),
    ("Content-Length: 4", "Content-Length : 4", "space before the colon of a header field"),
    ("Content-Length: 4", "l\t: 4", "space before the colon of a header field"),
    // folds
    ("Via: SIP/2.0/UDP ", "Via: SIP/2.0/UDP\r\n ", "folded header `Via`"),
    ("Max-Forwards: 70", "Max-Forwards:\r\n 70", "folded header `Max-Forwards`"),
    ("\"A\" <", "\"A\"\r\n\t<", "folded header `From`"),
    ("To: <", "To:\r\n <", "folded header `To`"),
    ("Call-ID: c1", "Call-ID:\r\n c1", "folded header `Call-ID`"),
    ("1 INVITE\r", "1\r\n INVITE\r", "folded header `CSeq`"),
    ("Contact: <", "m:\r\n <", "folded header `Contact`"),
    ("Route: <sip:192.0.2.9;lr>", "Route: <sip:192.0.2.9;lr>,\r\n <sip:192.0.2.9>", "folded header `Route`"),
    ("192.0.2.8;lr>", "192.0.2.8;lr>\r\n ;x", "folded header `Record-Route`"),
    ("Content-Length: 4", "Content-Length:\r\n 4", "bad content-length"),
    // Via
    ("branch=z9hG4bKa;", "branch=\"z9hG4bKa;", "bad header `Via`"),
    ("branch=z9hG4bKa;", "branch=z9hG4bKa\", SIP/2.0/UDP evil;x=\";", "bad header `Via`"),
    ("branch=z9hG4bKa;", "branch=z9hG4bKa (, SIP/2.0/UDP evil);", "bad header `Via`"),
    ("branch=z9hG4bKa;", "branch=<a,b>;", "bad header `Via`"),
    ("branch=z9hG4bKa;", "branch=z9hG4bKa;branch=z9hG4bKb;", "bad header `Via`"),
    ("branch=z9hG4bKa;", "branch=;", "bad header `Via`"),
    ("branch=z9hG4bKa;", "branch=a b;", "bad header `Via`"),
    ("branch=z9hG4bKa;", ";branch=z9hG4bKa;", "bad header `Via`"),
    ("branch=z9hG4bKa;", "branch=z9hG4bKa,;", "bad header `Via`"),
    ("branch=z9hG4bKa;", "br\"an\"ch=z9hG4bKa;", "bad header `Via`"),
    ("rport\r", "rport,\r", "bad header `Via`"),
    ("rport\r", "rport, SIP/2.0/UDP\r", "bad header `Via`"),
    ("rport\r", "rport\r\nVia: x\r", "bad header `Via`"),
    ("rport\r", "rport\r\nv:\r", "bad header `Via`"),
    ("SIP/2.0/UDP 192", "SIP/3.0/UDP 192", "bad header `Via`"),
    ("192.0.2.7:5060;b", "192.0.2.7:5060 evil;b", "bad header `Via`"),
    // From, To, Call-ID, CSeq
    ("\"A\" <", "\"A <", "bad header `From`"),
    ("\"A\" <", "\"A\\\" <", "bad header `From`"),
    ("tag=1\r", "tag=1;tag=2\r", "bad header `From`"),
    ("tag=1\r", "tag=1,<sip:b@c>;tag=2\r", "bad header `From`"),
    ("tag=1\r", "tag=1\r\nf: <sip:b@c>;tag=2\r", "repeated header `From`"),
    ("To: <sip:100@pbx.example>", "To: <sip:100@pbx.example>>", "bad header `To`"),
    ("To: <sip:100@pbx.example>", "To: sip:100@pbx.example?a=b", "bad header `To`"),
    ("To: <sip:100@pbx.example>", "To: ", "bad header `To`"),
    ("To: <sip:100@pbx.example>", "To: <sip:1>\r\nt: <sip:2>", "repeated header `To`"),
    ("c1@192.0.2.7\r", "\r", "bad header `Call-ID`"),
    ("c1@192.0.2.7\r", "c1 c2\r", "bad header `Call-ID`"),
    ("c1@192.0.2.7\r", "c1,c2\r", "bad header `Call-ID`"),
    ("c1@192.0.2.7\r", "c\u{e9}\r", "bad header `Call-ID`"),
    ("c1@192.0.2.7\r", "c1\r\ni: c2\r", "repeated header `Call-ID`"),
    ("1 INVITE\r", "1 ACK\r", "cseq method is not the request's"),
    ("1 INVITE\r", "4294967296 INVITE\r", "bad cseq"),
    ("1 INVITE\r", "1 INVITE x\r", "bad cseq"),
    ("1 INVITE\r", "1 INVITE\r\nCSEQ: 2 INVITE\r", "repeated header `CSeq`"),
    // Max-Forwards
    ("Max-Forwards: 70", "Max-Forwards: 256", "bad header `Max-Forwards`"),
    ("Max-Forwards: 70", "Max-Forwards: +7", "bad header `Max-Forwards`"),
    ("Max-Forwards: 70", "Max-Forwards: 0x7", "bad header `Max-Forwards`"),
    ("Max-Forwards: 70", "Max-Forwards: 7, 7", "bad header `Max-Forwards`"),
    ("Max-Forwards: 70", "Max-Forwards: ", "bad header `Max-Forwards`"),
    ("Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 70", "bad header `Max-Forwards`"),
    // Route, Record-Route, Contact
    ("<sip:192.0.2.9;lr>", "sip:192.0.2.9;lr", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "<sip:192.0.2.9;lr>,", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", ",<sip:192.0.2.9;lr>", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "<sip:192.0.2.9;lr", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "<sip:192.0.2.9;lr><sip:evil>", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "<tel:+1>", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "<sip:192.0.2.9;lr?a=b>", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "\"<sip:evil;lr>\" <sip:192.0.2.9;lr>", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "\"a, b\" <sip:192.0.2.9;lr>", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "\"a\\\" <sip:192.0.2.9;lr>", "bad header `Route`"),
    ("<sip:192.0.2.9;lr>", "<sip:192.0.2.9;lr>;x=\"<sip:evil>\"", "bad header `Route`"),
    ("<sip:192.0.2.8;lr>", "sip:192.0.2.8", "bad header `Record-Route`"),
    ("<sip:192.0.2.8;lr>", "<sip:[192.0.2.8;lr>", "bad header `Record-Route`"),
    ("<sip:192.0.2.8;lr>", "<sip:192.0.2.8;lr>;", "bad header `Record-Route`"),
    ("<sip:a@192.0.2.7:5060>", "<sip:a@192.0.2.7:5060>;;x", "bad header `Contact`"),
    ("<sip:a@192.0.2.7:5060>", "*", "bad header `Contact`"),
    ("<sip:a@192.0.2.7:5060>", "", "bad header `Contact`"),
    ("<sip:a@192.0.2.7:5060>", "<sip:a@192.0.2.7>, <sip:evil>", "repeated header `Contact`"),
    ("<sip:a@192.0.2.7:5060>", "<sip:a@192.0.2.7>\r\nm: <sip:evil>", "repeated header `Contact`"),
    // Content-Length
    ("Content-Length: 4", "Content-Length: 5", "body shorter than its content-length"),
    ("Content-Length: 4", "Content-Length: 4\r\nl: 4", "repeated header `Content-Length`"),
    ("Content-Length: 4", "Content-Length: 4, 4", "bad content-length"),
    ("Content-Length: 4", "Content-Length: +4", "bad content-length"),
    ("Content-Length: 4", "Content-Length: 0x4", "bad content-length"),
    ("Content-Length: 4", "Content-Length: -1", "bad content-length"),
    ("Content-Length: 4", "Content-Length: 4 4", "bad content-length"),
    ("Content-Length: 4", "Content-Length: ", "bad content-length"),
    ("Content-Length: 4", "Content-Length: 18446744073709551620", "body shorter than its content-length"),
    ("Content-Length: 4\r\n\r\n", "Content-Length: 4\n\r\n", "bare cr or lf in the head"),
    ("Content-Length: 4\r\n\r\n", "Content-Length: 4\r\n\n", "bare cr or lf in the head"),
];

/// Edits a message that passes, and compares the flaw of each result.
fn assert_refused(message: &str, edits: &[(&str, &str, &str)]) {
    assert_eq!(flaw_of(message.as_bytes()), None);
    let mut wrong = Vec::new();
    for (from, to, expected) in edits {
        let bytes = edited(message, from, to);
        let flaw = flaw_of(&bytes);
        if flaw.as_deref() != Some(expected) {
            wrong.push((to, flaw, expected));
        }
        fuzz_forward(&bytes);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_smuggling_form_is_refused() {
    assert_refused(REQUEST, REFUSED);
}

#[rustfmt::skip]
const REFUSED_RESPONSES: &[(&str, &str, &str)] = &[
    ("SIP/2.0 200 OK", "sip/2.0 200 OK", "bad start line"),
    ("SIP/2.0 200 OK", "SIP/2.1 200 OK", "unsupported sip version"),
    ("SIP/2.0 200 OK", "SIP/2.0  200 OK", "not sip"),
    ("SIP/2.0 200 OK", "SIP/2.0 200", "bad status line"),
    ("SIP/2.0 200 OK", "SIP/2.0 700 OK", "bad status line"),
    ("SIP/2.0 200 OK", "SIP/2.0 200 O\0K", "control character in the head"),
    ("SIP/2.0 200 OK\r\n", "SIP/2.0 200 OK\n", "bare cr or lf in the head"),
    ("z9hG4bKb, ", "z9hG4bKb (, ) ", "bad header `Via`"),
    ("z9hG4bKb, ", "z9hG4bKb,,", "bad header `Via`"),
    ("z9hG4bKb, ", "z9hG4bKb,\r\n ", "folded header `Via`"),
    ("z9hG4bKb, ", "\"z9hG4bKb, ", "bad header `Via`"),
    ("Via: ", "Via : ", "space before the colon of a header field"),
    ("tag=2\r", "tag=2;tag=3\r", "bad header `To`"),
    ("<sip:100@192.0.2.9:5060>", "*", "bad header `Contact`"),
    ("<sip:192.0.2.8;lr>", "<sip:192.0.2.8;lr>, x", "bad header `Record-Route`"),
    ("1 INVITE", "1 INVITE,", "bad cseq"),
    ("Content-Length: 4", "Content-Length: 4\r\nContent-Length: 4", "repeated header `Content-Length`"),
];

#[test]
fn each_smuggling_form_of_a_response_is_refused() {
    assert_refused(RESPONSE, REFUSED_RESPONSES);
}

/// Odd forms that all servers read alike, and oddities in fields that decide nothing.
#[rustfmt::skip]
const FORWARDED: &[(&str, &str)] = &[
    ("Subject: s", "Subject: s\r\n folded\r\n\tmore"),
    ("Subject: s", "Subject:\r\n s"),
    ("Subject: s", "Subject:s"),
    ("Subject: s", "Subject: \u{e9}\t\"<,;"),
    ("Subject: s", "S!%*_+`'~.-: "),
    ("Subject: s", "Require: a,,b"),
    ("Via: SIP", "v:SIP"),
    ("Via: SIP", "vIA: SIP"),
    ("Via: SIP/2.0/UDP 1", "Via: SIP / 2.0 / UDP 1"),
    ("branch=z9hG4bKa;", "branch=z9hG4bKa/b+c==;"),
    ("branch=z9hG4bKa;", "x=\"a, ; b\";branch=1;"),
    ("rport\r", "rport ,SIP/2.0/TLS [2001:db8::1]:5061;received=2001:db8::2\r"),
    ("rport\r", "rport\r\nv: SIP/2.0/SCTP a_b.example\r"),
    ("Max-Forwards: 70", "Max-Forwards: 000255"),
    ("Max-Forwards: 70\r\n", ""),
    ("\"A\" <sip:a@pbx.example>;tag=1", "sip:a@pbx.example;tag=1"),
    ("\"A\" <", "\"<sip:x@y>, \\\" \u{e9}\" <"),
    ("tag=1\r", "tag=1;x=\"a;tag=2\"\r"),
    ("tag=1\r", "x\r"),
    ("c1@192.0.2.7", "{c1}:()<>\"/[]?=;\\"),
    ("1 INVITE\r", "4294967295\tINVITE\r"),
    ("<sip:192.0.2.9;lr>", "P <sip:a,b@192.0.2.9;lr;x=y> ;z , <sips:c@[2001:db8::1]:5061>"),
    ("Route: <sip:192.0.2.9;lr>", "Route: <sip:192.0.2.9;lr>\r\nrOUTE:<sip:b;lr>"),
    ("<sip:a@192.0.2.7:5060>", "sip:a@192.0.2.7;expires=5"),
    ("<sip:a@192.0.2.7:5060>", "\"A, B\" <sip:a@192.0.2.7?x=y>;+sip.instance=\"<urn:uuid:1>\""),
    ("Contact: <sip:a@192.0.2.7:5060>\r\n", ""),
    ("Content-Length: 4", "Content-Length: 0000"),
    ("Content-Length: 4", "l:2"),
    ("Content-Length: 4\r\n", ""),
    ("Content-Length: 4", "\r\nContent-Length: 5"),
    ("body", "body\0\r\n\r\nINVITE sip:evil SIP/2.0\r\nVia: x\r\n\r\n"),
    ("100@pbx.example S", "a?b;c@pbx.example;user=phone;;x= S"),
    ("100@pbx.example S", "100@pbx.example;x=maddr;maddrs=1;y%zz S"),
    ("sip:100@pbx.example S", "tel:+1;phone-context=a S"),
    ("sip:100@pbx.example S", "urn:service:sos S"),
];

#[test]
fn odd_but_clear_forms_are_forwarded() {
    for (from, to) in FORWARDED {
        let bytes = edited(REQUEST, from, to);
        assert_eq!(flaw_of(&bytes), None, "{to:?}");
        assert_eq!(fuzz_forward(&bytes), "request", "{to:?}");
    }
    for (from, to) in [
        ("SIP/2.0 200 OK", "SIP/2.0 180 "),
        ("SIP/2.0 200 OK", "SIP/2.0 302 \u{e9}t\u{e9}"),
        ("z9hG4bKb, ", "z9hG4bKb\r\nVia: "),
        ("<sip:100@192.0.2.9:5060>", "<sip:a>, <sip:b>;q=0.5"),
        ("Via: SIP", "Max-Forwards: x\r\nv: SIP"),
    ] {
        let bytes = edited(RESPONSE, from, to);
        assert_eq!(flaw_of(&bytes), None, "{to:?}");
        assert_eq!(fuzz_forward(&bytes), "response", "{to:?}");
    }
    let last = edited(RESPONSE, ", SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKa", "");
    assert_eq!(fuzz_forward(&last), "last");
}

#[test]
fn contacts_are_counted_by_method() {
    let with = |method: &str, contact: &str| {
        let text = REQUEST.replace("INVITE", method);
        flaw_of(&edited(&text, "<sip:a@192.0.2.7:5060>", contact))
    };
    for (method, contact, is_refused) in [
        ("REGISTER", "*", false),
        ("REGISTER", "<sip:a>, <sip:b>", false),
        ("REGISTER", "*\r\nContact: <sip:a>", true),
        ("REGISTER", "*\r\nContact: *", true),
        ("REGISTER", "*, *", true),
        ("REGISTER", "*;expires=0", true),
        ("OPTIONS", "<sip:a>, <sip:b>", false),
        ("OPTIONS", "*", true),
        ("SUBSCRIBE", "<sip:a>, <sip:b>", true),
        ("REFER", "<sip:a>\r\nm: <sip:b>", true),
    ] {
        assert_eq!(with(method, contact).is_some(), is_refused, "{method} {contact}");
    }
}

/// No limit of values is lower than that of the head.
#[test]
fn a_head_full_of_values_is_read() {
    let vias = ["SIP/2.0/UDP a"; 4_000].join(",");
    let routes = ["<sip:a>"; 400].join(",");
    let text = REQUEST.replace("rport\r", &format!("rport,{vias}\r"));
    let text = text.replace("<sip:192.0.2.9;lr>", &routes);
    let message = Message::scan(text.as_bytes()).unwrap();
    let strict = Strict::request(&message).unwrap();
    assert_eq!((strict.via_count(), strict.vias().count()), (4_001, 4_001));
    assert_eq!(strict.routes().count(), 400);
}

#[test]
fn the_parts_are_those_of_the_message() {
    let text = edited(REQUEST, "lr>\r\nRecord", "lr>, \"P\" <sip:b;lr>;x\r\nRecord");
    let message = Message::scan(&text).unwrap();
    let strict = Strict::request(&message).unwrap();
    assert_eq!((strict.method(), strict.request_uri()), ("INVITE", "sip:100@pbx.example"));
    assert_eq!((strict.status(), strict.max_forwards()), (None, Some(70)));
    assert_eq!((strict.call_id(), strict.cseq_number()), (&b"c1@192.0.2.7"[..], 1));
    assert_eq!((strict.from_tag(), strict.to_tag()), (Some(&b"1"[..]), None));
    let routes: Vec<_> = strict.routes().map(|route| (route.uri, route.value)).collect();
    let expected: [(_, &[u8]); 2] =
        [("sip:192.0.2.9;lr", b"<sip:192.0.2.9;lr>"), ("sip:b;lr", b"\"P\" <sip:b;lr>;x")];
    assert_eq!(routes, expected);
    assert_eq!(strict.top_via().only_value(b"branch"), Some(&b"z9hG4bKa"[..]));

    let message = Message::scan(RESPONSE.as_bytes()).unwrap();
    let strict = Strict::response(&message).unwrap();
    assert_eq!((strict.method(), strict.request_uri()), ("INVITE", ""));
    assert_eq!((strict.status(), strict.max_forwards()), (Some(200), None));
    assert_eq!((strict.from_tag(), strict.to_tag()), (Some(&b"1"[..]), Some(&b"2"[..])));
    let branches: Vec<_> = strict.vias().filter_map(|via| via.only_value(b"branch")).collect();
    assert_eq!(branches, [&b"z9hG4bKb"[..], b"z9hG4bKa"]);
    assert!(Strict::request(&message).is_err());
}
