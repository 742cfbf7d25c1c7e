//! Answers that reach the caller.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use sip_authz_capi::*;
use sip_authz_decide::{AnswerWriter, Frame, Outcome, VERSION, Welcome, split};

use crate::client::{Answered, Client};
use crate::server::{PATIENCE_MS, Peer, Place};

#[test]
fn each_field_of_an_answer_reaches_the_caller() {
    let place = Place::new();
    let listener = place.listen();
    let server = thread::spawn(move || {
        let mut peer = Peer::greet(&listener);
        let asked = peer.question().unwrap();
        let mut bytes = Vec::new();
        AnswerWriter::new(&mut bytes, asked.id, Outcome::Accept)
            .account("AC1")
            .used_header(3, "Proxy-Authorization")
            .user("zoë")
            .permission("one")
            .permission("two")
            .target("SD1")
            .target_name("sip.example.com")
            .retransmission()
            .reason("repeat")
            .end()
            .unwrap();
        peer.send(&bytes);
        let asked = peer.question().unwrap();
        let mut bytes = Vec::new();
        AnswerWriter::new(&mut bytes, asked.id, Outcome::Challenge)
            .status(407)
            .phrase("Proxy Authentication Required")
            .header_line("Proxy-Authenticate", "Digest one")
            .header_line("Proxy-Authenticate", "Digest two")
            .reason("asked")
            .cause("no credentials")
            .end()
            .unwrap();
        peer.send(&bytes);
        assert!(peer.has_ended());
    });
    let client = Client::open(&place.location(), PATIENCE_MS, Some("not for Unix sockets"));
    let text = |text: &str| text.to_owned();
    let accept = Answered {
        result: SIP_AUTHZ_OK,
        outcome: SIP_AUTHZ_ACCEPT,
        status: 0,
        is_retransmission: 1,
        used_header: (3, text("Proxy-Authorization")),
        phrase: text(""),
        header_lines: text(""),
        account: text("AC1"),
        target: (text("SD1"), text("sip.example.com")),
        user: text("zoë"),
        permissions: text("one,two"),
        reason: text("repeat"),
        cause: text(""),
    };
    assert_eq!(client.decide("first"), accept);
    let challenge = client.decide("second");
    assert_eq!((challenge.result, challenge.outcome), (SIP_AUTHZ_OK, SIP_AUTHZ_CHALLENGE));
    assert_eq!((challenge.status, &*challenge.phrase), (407, "Proxy Authentication Required"));
    assert_eq!(
        challenge.header_lines,
        "Proxy-Authenticate: Digest one\r\nProxy-Authenticate: Digest two\r\n"
    );
    assert_eq!((challenge.used_header.0, &*challenge.cause), (-1, "no credentials"));
    let counts = client.counts();
    assert_eq!((counts.accepted, counts.challenged, counts.failed), (1, 1, 0));
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_tcp_client_sends_its_token() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("tcp:{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        use std::io::Read as _;
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        let mut next = |stream: &mut std::net::TcpStream| loop {
            if let Some((frame, length)) = split(&received).unwrap() {
                let frame = frame.to_vec();
                received.drain(..length);
                return frame;
            }
            let mut chunk = [0; 999];
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0);
            received.extend(&chunk[..count]);
        };
        let hello = next(&mut stream);
        let Frame::Hello(hello) = Frame::decode(&hello).unwrap() else { panic!() };
        assert_eq!(hello.token, Some(&b"a token"[..]));
        let mut bytes = Vec::new();
        Welcome::new(VERSION, 131_072).encode(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        let request = next(&mut stream);
        let Frame::Request(request) = Frame::decode(&request).unwrap() else { panic!() };
        stream.write_all(&crate::server::answer(request.id, Outcome::Accept, "ok")).unwrap();
    });
    let client = Client::open(&location, PATIENCE_MS, Some("a token"));
    assert_eq!(client.decide("x").outcome, SIP_AUTHZ_ACCEPT);
    server.join().unwrap();
    // the listener is gone
    assert_eq!(client.decide("x").result, SIP_AUTHZ_UNREACHABLE);
}

#[test]
fn every_other_outcome_is_a_refusal_with_its_number() {
    let place = Place::new();
    let listener = place.listen();
    let outcomes = [
        (Outcome::Reject, SIP_AUTHZ_REJECT),
        (Outcome::Undecided, SIP_AUTHZ_UNDECIDED),
        (Outcome::Overloaded, SIP_AUTHZ_OVERLOADED),
    ];
    let server = thread::spawn(move || {
        let mut peer = Peer::greet(&listener);
        for (outcome, _) in outcomes {
            let asked = peer.question().unwrap();
            peer.answer(&asked, outcome);
        }
    });
    let client = Client::open(&place.location(), PATIENCE_MS, None);
    for (_, number) in outcomes {
        let answered = client.decide("x");
        assert_eq!((answered.result, answered.outcome), (SIP_AUTHZ_OK, number));
        assert_eq!((answered.status, &*answered.phrase), (403, "Forbidden"));
    }
    let counts = client.counts();
    assert_eq!((counts.rejected, counts.undecided, counts.failed), (1, 1, 1));
    server.join().unwrap();
}
