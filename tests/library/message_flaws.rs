//! Flaws that refuse no datagram, which the scan records for each header.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::message::{Defect, Header, Message, StartLine, frame};

use crate::message::{INVITE, plus, with};

/// A flaw in a field that does not decide is no defect, but the scan records its header.
#[test]
fn flaws_that_do_not_decide_are_recorded_for_each_header() {
    use Header::*;
    let credentials = "Proxy-Authorization: Digest realm=\"\0\"";
    let control = Some(Defect::Control);
    for (message, flawed, on_a_stream) in [
        (INVITE.to_owned(), vec![], None),
        (plus("X:"), vec![], None),
        (plus("X: a\0b"), vec![Other], control),
        (plus("X: \x7f"), vec![Other], control),
        (plus("X: \x1b[2J"), vec![Other], control),
        (plus("X: \"\\\0\""), vec![Other], control),
        (plus("X: a\r\n b\x0bc"), vec![Other], control),
        (plus("Route: <sip:x>\x08\r\nX: \x01"), vec![Route, Other], control),
        (plus("Via: a\x01"), vec![Via], control),
        (plus(credentials), vec![ProxyAuthorization], control),
        (with("Bob", "B\0b"), vec![To], control),
        (with("Alice", "\"\x02\""), vec![From], control),
        (with("a84b4c76e66710", "\x02"), vec![CallId], control),
        (with(": 70", ": 7\x000"), vec![MaxForwards], control),
        (with("Bob <sip:bob@biloxi.com>", "\x01"), vec![To], control),
        (with(" Bob <sip:bob@biloxi.com>", " "), vec![To], None),
        (with("Alice <sip:alice@atlanta.com>;tag=1928301774", ""), vec![From], None),
        (with(" a84b4c76e66710@pc33.atlanta.com", ""), vec![CallId], None),
        (plus("v: \t"), vec![Via], None),
        (plus("max-forwards: 70"), vec![MaxForwards], None),
        (plus("max-forwards: 0\r\nMax-Forwards: 1"), vec![MaxForwards], None),
        (with(": 70", ": 255"), vec![], None),
        (with(": 70", ": 256"), vec![MaxForwards], None),
        (with(": 70", ": -1"), vec![MaxForwards], None),
        (with(": 70", ": 7 0"), vec![MaxForwards], None),
        (with(": 70", ": "), vec![MaxForwards], None),
        (with(": 70", ": 99999999999999999999999"), vec![MaxForwards], None),
        (with("Length: 4", "Length:\r\n 4"), vec![], Some(Defect::ContentLength)),
        (with("Content-Length: 4", "l : \r\n\t4"), vec![], Some(Defect::ContentLength)),
    ] {
        let scanned = Message::scan(message.as_bytes()).unwrap();
        let known = [
            (Via, "Via"),
            (From, "From"),
            (To, "To"),
            (CallId, "Call-ID"),
            (CSeq, "CSeq"),
            (Contact, "Contact"),
            (ContentLength, "Content-Length"),
            (ProxyAuthorization, "Proxy-Authorization"),
            (MaxForwards, "Max-Forwards"),
            (Route, "Route"),
            (Other, "other"),
        ];
        let text = message.escape_debug();
        assert_eq!((scanned.defect(), scanned.stream_defect()), (None, on_a_stream), "{text}");
        for (header, name) in known {
            assert_eq!(scanned.is_well_formed(header), !flawed.contains(&header), "{name}: {text}");
        }
        assert!(!scanned.has_trailing_space());
        let framed = frame(message.as_bytes());
        assert_eq!(framed.is_err(), on_a_stream.is_some(), "{text}");
    }
}

#[test]
fn white_space_at_the_end_of_the_request_line_is_a_defect_on_a_stream_only() {
    for spaces in ["", " ", "\t", " \t  "] {
        let text = with("SIP/2.0\r\n", &format!("SIP/2.0{spaces}\r\n"));
        let message = Message::scan(text.as_bytes()).unwrap();
        assert_eq!(message.defect(), None, "{spaces:?}");
        let on_a_stream = (!spaces.is_empty()).then_some(Defect::RequestLine);
        assert_eq!(message.stream_defect(), on_a_stream, "{spaces:?}");
        assert_eq!(message.has_trailing_space(), !spaces.is_empty(), "{spaces:?}");
        let sip_uri = StartLine::Request { method: "INVITE", uri: "sip:bob@biloxi.com" };
        assert_eq!(message.start_line(), sip_uri);
    }
    // the reason phrase of a response may end in spaces
    let response = Message::scan(b"SIP/2.0 200 OK \r\n\r\n").unwrap();
    assert!(!response.has_trailing_space());
}
