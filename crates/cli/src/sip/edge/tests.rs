mod bounds;
mod forwarding;
mod redirects;
mod streams;

use sip_authz::Snapshot;
use sip_authz::message::Message;
use sip_authz::model::OnAccept;
use sip_authz::uri::SipUri;

use super::request::{ACCEPT, ALLOW};
use super::*;
use crate::observe::cause::Handling;

fn edge() -> Edge {
    let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
    let tags = TagKey::random().unwrap();
    let observers = DecisionObservers::default();
    Edge::new(authorizer, tags, OnAccept::Ok, ReplyPort::Auto, observers)
}

fn peer(source: &str, local: &str) -> Peer {
    let (source, local) = (source.parse().unwrap(), local.parse().unwrap());
    Peer { source, local, transport: Transport::Udp }
}

#[test]
fn an_answer_is_appended_to_the_buffer() {
    let edge = edge();
    let peer = peer("192.0.2.1:9", "192.0.2.2:5060");
    let request = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@b>\r\n\
        To: <sip:a@b>;tag=x\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let mut out = b"before".to_vec();
    let answered = edge.answer(request, peer, Instant::now(), &mut out);
    assert_eq!(answered.outcome, Outcome::Other(Cause::Ok));
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        format!(
            "beforeSIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@b>\r\n\
             To: <sip:a@b>;tag=x\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nAllow: {ALLOW}\r\n\
             Accept: {ACCEPT}\r\nContent-Length: 0\r\n\r\n"
        )
    );
    for length in 0..request.len() {
        let mut out = Vec::new();
        let outcome = edge.answer(&request[..length], peer, Instant::now(), &mut out).outcome;
        let Outcome::Other(cause) = outcome else { panic!("{outcome:?}") };
        let is_answered = matches!(cause.handling(), Handling::Answered(_));
        assert_eq!(!out.is_empty(), is_answered, "{outcome:?}");
    }
}

#[test]
fn a_batch_has_the_same_answers_as_single_messages() {
    let edge = edge();
    let request = |method: &str, uri: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport\r\n\
             From: <sip:a@b>\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
        )
    };
    let messages = [
        request("INVITE", "sip:nobody@nowhere"),
        request("ACK", "sip:a"),
        request("OPTIONS", "sip:a"),
        "no sip".to_owned(),
        request("INVITE", "tel:1"),
        request("PUBLISH", "sip:a"),
    ];
    let peer_of = |at: usize| peer(&format!("192.0.2.1:{}", 1_000 + at), "192.0.2.2:5060");
    let now = Instant::now();
    let mut expected: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let mut out = Vec::new();
        edge.answer(message.as_bytes(), peer_of(at), now, &mut out);
        if !out.is_empty() {
            expected.push((out, peer_of(at).source));
        }
    }
    expected.sort();
    assert_eq!(expected.len(), 4);

    let edge = Edge { totals: Totals::default(), ..edge };
    let mut scratch = BatchScratch::default();
    for _ in 0..2 {
        let batch = messages.iter().enumerate();
        let batch = batch.map(|(at, message)| (message.as_bytes(), peer_of(at)));
        edge.answer_batch(batch, now, &mut scratch);
        let answers = scratch.answers().map(|(bytes, to)| (bytes.to_vec(), to));
        let mut answers: Vec<_> = answers.collect();
        answers.sort();
        assert!(answers == expected, "{answers:?}");
    }
    let twice = "totals: received 12, accepted 0, challenged 0, rejected 4 (";
    assert!(edge.totals.to_string().starts_with(twice), "{}", edge.totals);
}
#[test]
fn bytes_that_are_no_request_have_a_cause() {
    let edge = edge();
    let response = b"SIP/2.0 200 OK\r\n\r\n";
    for (bytes, cause) in [
        (&b""[..], Cause::KeepAlive),
        (b"\r\n", Cause::KeepAlive),
        (b"\r\n\r\n", Cause::KeepAlive),
        (b"\0", Cause::KeepAlive),
        (b"\0\0\0\0 \t\n", Cause::KeepAlive),
        (b"\x01\x01\0\x08\x21\x12\xa4\x42", Cause::Stun),
        (b"\0\x01\0\0\x21\x12\xa4", Cause::NotSip),
        (b"\x40\x01\0\0\x21\x12\xa4\x42", Cause::NotSip),
        (b"\x80\0\0\x01rtp", Cause::NotSip),
        (b"hello", Cause::NotSip),
        (b"\r\n\r\nhello", Cause::NotSip),
        (b"GET / HTTP/1.1\r\n\r\n", Cause::NotSip),
        (b"INVITE sip:a\r\n\r\n", Cause::NotSip),
        (response, Cause::Response),
        (b"\r\nSIP/2.0 99\r\n\r\n", Cause::NotSip),
        (b"\nACK sip:a SIP/2.0\r\n\r\n", Cause::Ack),
        (b"CANCEL sip:a SIP/2.0\r\n\r\n", Cause::Cancel),
        (b"INVITE sip:a SIP/2.0\r\n\r\n", Cause::MissingVia),
        (b"BYE sip:a SIP/2.0", Cause::MissingVia),
    ] {
        let mut out = Vec::new();
        let peer = peer("192.0.2.1:9", "192.0.2.2:5060");
        let outcome = edge.answer(bytes, peer, Instant::now(), &mut out).outcome;
        assert_eq!(outcome, Outcome::Other(cause), "{}", bytes.escape_ascii());
        assert!(out.is_empty(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn line_ends_before_a_datagram_are_skipped() {
    let edge = edge();
    let mut peer = peer("192.0.2.1:9", "192.0.2.2:5060");
    let request = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@b>\r\n\
        To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let answer = |text: &str, peer| {
        let mut out = Vec::new();
        (edge.answer(text.as_bytes(), peer, Instant::now(), &mut out).outcome, out)
    };
    let expected = answer(request, peer);
    assert_eq!(expected.0, Outcome::Other(Cause::Ok));
    for before in ["\r\n", "\r\n\r\n", "\n", "\r", "\n\r\n", &"\r\n".repeat(9_000)] {
        assert_eq!(answer(&format!("{before}{request}"), peer), expected, "{before:?}");
    }
    // the stream is cut at such line ends, so none is left
    peer.transport = Transport::Tcp;
    assert_eq!(answer(&format!("\r\n{request}"), peer).0, Outcome::Other(Cause::NotSip));
}
