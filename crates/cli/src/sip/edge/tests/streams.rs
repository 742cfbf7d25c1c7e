//! After a defect of the head nothing more of a stream is read.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sip_authz::message::{Frame, frame};

use super::*;

const REQUEST: &str = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nFrom: <sip:a@b>\r\nTo: <sip:a>\r\n\
    Call-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

fn peer() -> Peer {
    Peer { transport: Transport::Tcp, ..super::peer("192.0.2.1:9", "192.0.2.2:5060") }
}

/// The outcome, the answer, and whether the stream ends.
fn on_a_stream(edge: &Edge, bytes: &[u8]) -> (Option<Outcome>, String, bool) {
    let (mut out, now) = (Vec::new(), Instant::now());
    let (outcome, ends) = match frame(bytes) {
        Ok(None) => (None, false),
        Ok(Some(Frame { head, body })) => {
            let Some(message) = bytes.get(..head + body) else {
                return (None, String::new(), false);
            };
            let Answered { outcome, ends_stream, .. } = edge.answer(message, peer(), now, &mut out);
            (Some(outcome), ends_stream)
        }
        Err(error) => {
            edge.answer_uncut(bytes, error, peer(), now, &mut out);
            (None, true)
        }
    };
    (outcome, String::from_utf8_lossy(&out).into_owned(), ends)
}

#[test]
fn an_answer_names_the_defect_that_ends_a_stream() {
    let edge = edge();
    let with = |from: &str, to: &str| REQUEST.replacen(from, to, 1);
    let sound = "SIP/2.0 200 OK";
    for (bytes, expected, ends) in [
        (REQUEST.to_owned(), sound, false),
        (with("To:", "To \t:"), sound, false),
        (with("Content-Length: 0", "Content-Length\r\n : 0"), "400 Bad Request (line is not", true),
        (with("Via", " x: y\r\nVia"), "400 Bad Request (line is not", true),
        (with("Call", "\"X\": y\r\nCall"), "400 Bad Request (line is not", true),
        (with("Call", "X\u{e9}: y\r\nCall"), "400 Bad Request (line is not", true),
        (with("Call", "X y: z\r\nCall"), "400 Bad Request (line is not", true),
        (with("c\r\n", "c\n"), "400 Bad Request (bare cr or lf", true),
        (with("c\r\n", "c\r\n \t\r\n"), "400 Bad Request (blank folded line", true),
        (with("c\r\n", "c\0\r\n"), "400 Bad Request (control character", true),
        (with("/2.0\r\n", "/2.0 \r\n"), "400 Bad Request (spaces of the request line", true),
        (with("Content-Length: 0\r\n", ""), "400 Bad Request (missing content-length)", true),
        (with("h: 0", "h: -1"), "400 Bad Request (bad content-length)", true),
        (with("h: 0", "h: 0\r\nl: 1"), "400 Bad Request (repeated header", true),
        (with("h: 0", "h: 70000"), "513 Message Too Large", true),
        (with("Call", &("X: y\r\n".repeat(300) + "Call")), "513 Message Too Large", true),
        (with("CSeq: 1", "CSeq: x"), "400 Bad Request (bad cseq)", true),
        (with("a SIP/2.0", "a SIP/3.0"), "505 ", true),
    ] {
        let (_, answer, ended) = on_a_stream(&edge, bytes.as_bytes());
        assert!(answer.contains(expected), "{bytes:.400} {answer}");
        assert!(
            expected == sound || answer.starts_with("SIP/2.0 ") && answer.contains("\r\nVia: ")
        );
        assert_eq!(ended, ends, "{bytes:.400}");
    }
    // without a Via, and for messages that never get an answer, the stream ends in silence
    for bytes in [
        with("Via", "Viax"),
        with("Via", " x: y\r\nViax"),
        with("OPTIONS", "ACK").replacen("Call", "X y: z\r\nCall", 1),
        "SIP/2.0 200 OK\r\nX y: z\r\nl: 0\r\n\r\n".to_owned(),
        "SIP/2.0 99 OK\r\nl: 0\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n".to_owned(),
    ] {
        let (_, answer, ended) = on_a_stream(&edge, bytes.as_bytes());
        assert_eq!((answer.as_str(), ended), ("", true), "{bytes}");
    }
    // fields that a response lacks do not move its end
    let (_, answer, ended) = on_a_stream(&edge, b"SIP/2.0 200 OK\r\nl: 0\r\n\r\n");
    assert_eq!((answer.as_str(), ended), ("", false));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_048,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Two requests in a row, the first of them damaged: unless the scan finds no defect in it, the
    /// second is never read.
    #[test]
    fn a_stream_goes_on_only_after_a_head_without_a_defect(
        damages in vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = REQUEST.as_bytes().to_vec();
        for (at, byte, kind) in damages {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes.insert(at, byte),
                1 => _ = bytes.remove(at),
                _ => bytes[at] = byte,
            }
        }
        bytes.extend(REQUEST.as_bytes());
        let (outcome, _, ends) = on_a_stream(&edge(), &bytes);
        if let Ok(Some(Frame { head, body })) = frame(&bytes)
            && let Some(message) = bytes.get(..head + body)
        {
            let defect = Message::scan(message).unwrap().stream_defect();
            prop_assert_eq!(ends, defect.is_some(), "{:?}", outcome);
        } else {
            prop_assert!(ends || outcome.is_none());
        }
    }
}
