//! Services that break the rules, end, or never answer: each is an error and a refusal.

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::listen;
use sip_authz_capi::*;
use sip_authz_decide::{AnswerWriter, Goodbye, GoodbyeCode, MAX_FRAME, Outcome, PREFIX};

use crate::client::Client;
use crate::server::{Asked, PATIENCE_MS, Peer, Place, answer};

/// Too short for an answer that never comes.
const SHORT_MS: u32 = 50;

/// Makes the bytes that a server sends to a question with this id.
type Wrong = fn(u64) -> Vec<u8>;

/// The result and the status of a request whose connection a server treats so.
fn result_of(timeout_ms: u32, serve: impl FnOnce(Peer, Asked) + Send + 'static) -> (i32, i32) {
    let place = Place::new();
    let listener = place.listen();
    let server = thread::spawn(move || {
        let mut peer = Peer::greet(&listener);
        let asked = peer.question().unwrap();
        serve(peer, asked);
    });
    let client = Client::open(&place.location(), timeout_ms, None);
    let answered = client.decide("x");
    let counts = client.counts();
    assert_eq!((counts.accepted, counts.failed), (0, 1), "{answered:?}");
    assert!(!answered.reason.is_empty());
    server.join().unwrap();
    (answered.result, answered.status)
}

#[test]
fn frames_that_are_no_answer_are_errors() {
    let wrong: [(&str, Wrong); 9] = [
        ("another id", |id| answer(id + 1, Outcome::Accept, "wrong")),
        ("garbage", |_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("a frame that is too long", |_| {
            u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes().to_vec()
        }),
        ("an empty frame", |_| vec![0; 4]),
        ("an unknown kind", |_| vec![0, 0, 0, 1, 99]),
        ("a field that is cut", |id| {
            let mut bytes = answer(id, Outcome::Accept, "cut");
            bytes.pop();
            let length = u32::try_from(bytes.len() - PREFIX).unwrap();
            bytes[..PREFIX].copy_from_slice(&length.to_be_bytes());
            bytes
        }),
        ("an unknown outcome", |id| {
            let mut bytes = answer(id, Outcome::Accept, "unknown");
            // behind the prefix, the kind, the id and the head of the field
            bytes[PREFIX + 1 + 6 + 8 + 6] = 9;
            bytes
        }),
        ("an accept with the status of a refusal", |id| {
            let mut bytes = Vec::new();
            AnswerWriter::new(&mut bytes, id, Outcome::Accept).status(403).end().unwrap();
            bytes
        }),
        ("a user name with NUL in it", |id| {
            let mut bytes = Vec::new();
            AnswerWriter::new(&mut bytes, id, Outcome::Accept).user("a\0b").end().unwrap();
            bytes
        }),
    ];
    for (name, bytes) in wrong {
        let result = result_of(PATIENCE_MS, move |mut peer, asked| {
            peer.send(&bytes(asked.id));
            assert!(peer.has_ended(), "{name}");
        });
        assert_eq!(result, (SIP_AUTHZ_PROTOCOL, 503), "{name}");
    }
}

#[test]
fn a_connection_that_ends_before_its_answer_is_an_error() {
    let ended = (SIP_AUTHZ_UNREACHABLE, 503);
    assert_eq!(result_of(PATIENCE_MS, |_, _| {}), ended);
    let half = result_of(PATIENCE_MS, |mut peer, asked| {
        let bytes = answer(asked.id, Outcome::Accept, "half");
        peer.send(&bytes[..bytes.len() - 1]);
    });
    assert_eq!(half, ended);
}

#[test]
fn a_service_that_does_not_answer_is_a_time_out() {
    let timeout = (SIP_AUTHZ_TIMEOUT, 503);
    assert_eq!(result_of(SHORT_MS, |peer, _| assert!(peer.has_ended())), timeout);
    let half = result_of(SHORT_MS, |mut peer, asked| {
        let bytes = answer(asked.id, Outcome::Accept, "half");
        peer.send(&bytes[..bytes.len() - 1]);
        assert!(peer.has_ended());
    });
    assert_eq!(half, timeout);
    // one byte after the other, each in time: the deadline is that of the whole request
    let slow = result_of(SHORT_MS, |mut peer, asked| {
        for byte in answer(asked.id, Outcome::Accept, &"slow".repeat(9_999)) {
            if peer.stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("the client has waited for 40 s");
    });
    assert_eq!(slow, timeout);
}

#[test]
fn goodbyes_are_errors_by_their_codes() {
    for (code, result, status) in [
        (GoodbyeCode::Malformed, SIP_AUTHZ_PROTOCOL, 503),
        (GoodbyeCode::Version, SIP_AUTHZ_REFUSED, 503),
        (GoodbyeCode::Token, SIP_AUTHZ_REFUSED, 503),
        (GoodbyeCode::User, SIP_AUTHZ_REFUSED, 503),
        (GoodbyeCode::TooMany, SIP_AUTHZ_REFUSED, 503),
        (GoodbyeCode::TooLong, SIP_AUTHZ_TOO_LONG, 513),
        (GoodbyeCode::TooSlow, SIP_AUTHZ_TIMEOUT, 503),
        (GoodbyeCode::End, SIP_AUTHZ_UNREACHABLE, 503),
        (GoodbyeCode::Unknown(77), SIP_AUTHZ_REFUSED, 503),
    ] {
        let mut bytes = Vec::new();
        Goodbye::new(code, "as\ntested").encode(&mut bytes).unwrap();
        let goodbye = bytes.clone();
        let after = result_of(PATIENCE_MS, move |mut peer, _| peer.send(&goodbye));
        assert_eq!(after, (result, status), "{code:?} after a question");

        let place = Place::new();
        let listener = place.listen();
        let server = thread::spawn(move || {
            let mut peer = Peer::accept(&listener);
            peer.hello();
            peer.send(&bytes);
            assert!(peer.has_ended());
        });
        let client = Client::open(&place.location(), PATIENCE_MS, None);
        let answered = client.decide("x");
        assert_eq!((answered.result, answered.status), (result, status), "{code:?} after a hello");
        assert_eq!(answered.cause, "as\\ntested");
        server.join().unwrap();
    }
}

#[test]
fn a_service_that_is_silent_or_wrong_after_a_hello_is_an_error() {
    let place = Place::new();
    let listener = place.listen();
    let server = thread::spawn(move || {
        // no welcome
        assert_eq!(Peer::accept(&listener).hello(), None);
        // garbage
        let mut peer = Peer::accept(&listener);
        peer.hello();
        peer.send(b"220 mail.example.com ESMTP\r\n");
        assert!(peer.has_ended());
        // an answer in place of a welcome
        let mut peer = Peer::accept(&listener);
        peer.hello();
        peer.send(&answer(2, Outcome::Accept, "early"));
        assert!(peer.has_ended());
        // an answer behind the welcome, before its question
        let mut peer = Peer::accept(&listener);
        peer.hello();
        let mut bytes = Vec::new();
        sip_authz_decide::Welcome::new(1, 131_072).encode(&mut bytes).unwrap();
        bytes.extend(answer(4, Outcome::Accept, "early"));
        peer.send(&bytes);
        assert!(peer.has_ended());
        // another version
        let mut peer = Peer::accept(&listener);
        peer.hello();
        let mut bytes = Vec::new();
        sip_authz_decide::Welcome::new(2, 131_072).encode(&mut bytes).unwrap();
        peer.send(&bytes);
        assert!(peer.has_ended());
    });
    let client = Client::open(&place.location(), PATIENCE_MS, None);
    assert_eq!(client.decide("x").result, SIP_AUTHZ_UNREACHABLE);
    for _ in 0..4 {
        assert_eq!(client.decide("x").result, SIP_AUTHZ_PROTOCOL);
    }
    server.join().unwrap();
}

#[test]
fn a_missing_service_is_an_error_and_its_return_is_found() {
    let place = Place::new();
    let client = Client::open(&place.location(), PATIENCE_MS, None);
    let missing = client.decide("x");
    assert_eq!((missing.result, missing.status), (SIP_AUTHZ_UNREACHABLE, 503));
    assert!(missing.cause.contains("decide.sock"), "{}", missing.cause);
    // a socket on which nothing listens
    drop(place.listen());
    assert_eq!(client.decide("x").result, SIP_AUTHZ_UNREACHABLE);
    let listener = place.listen();
    let server = thread::spawn(move || {
        let mut peer = Peer::greet(&listener);
        let asked = peer.question().unwrap();
        peer.answer(&asked, Outcome::Accept);
    });
    assert_eq!(client.decide("x").outcome, SIP_AUTHZ_ACCEPT);
    server.join().unwrap();
}

#[test]
fn a_full_backlog_is_an_error_at_once() {
    let place = Place::new();
    let listener: UnixListener = place.listen();
    listen(&listener, 0).unwrap();
    // Linux lets one connection wait
    let _waits = UnixStream::connect(place.path()).unwrap();
    let client = Client::open(&place.location(), PATIENCE_MS, None);
    let start = Instant::now();
    let answered = client.decide("x");
    assert_eq!(answered.result, SIP_AUTHZ_UNREACHABLE, "{answered:?}");
    assert!(start.elapsed() < Duration::from_millis(u64::from(PATIENCE_MS) / 2));
}

#[test]
fn a_late_answer_is_never_that_of_a_later_request() {
    let place = Place::new();
    let listener = place.listen();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let server = thread::spawn(move || {
        let mut first = Peer::greet(&listener);
        let asked = first.question().unwrap();
        // the client closes the connection after its time; then the answer is sent
        assert!(first.question().is_none());
        first.answer(&asked, Outcome::Accept);
        // later requests come on other connections, and are refused
        listener.set_nonblocking(true).unwrap();
        while ended.try_recv().is_err() {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            let mut peer = Peer::new(stream);
            peer.hello();
            let mut bytes = Vec::new();
            sip_authz_decide::Welcome::new(1, 131_072).encode(&mut bytes).unwrap();
            peer.send(&bytes);
            while let Some(asked) = peer.question() {
                first.answer(&asked, Outcome::Accept);
                peer.answer(&asked, Outcome::Reject);
                if asked.message == "last" {
                    break;
                }
            }
        }
    });
    let client = Client::open(&place.location(), 200, None);
    assert_eq!(client.decide("first").result, SIP_AUTHZ_TIMEOUT);
    // on a slow machine a later request may time out too
    let mut answered = 0;
    while answered < 3 {
        let later = client.decide("last");
        if later.result == SIP_AUTHZ_OK {
            assert_eq!((later.outcome, &*later.reason), (SIP_AUTHZ_REJECT, "last"));
            answered += 1;
        }
    }
    assert_eq!(client.counts().accepted, 0);
    end.send(()).unwrap();
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_request_that_is_too_long_is_not_sent() {
    let place = Place::new();
    let client = Client::open(&place.location(), PATIENCE_MS, None);
    // too long for any frame: there is no need for a service
    let answered = client.decide(&"x".repeat(MAX_FRAME));
    assert_eq!((answered.result, answered.status), (SIP_AUTHZ_TOO_LONG, 513));
    let listener = place.listen();
    let server = thread::spawn(move || {
        let mut peer = Peer::greet_with(&listener, 200);
        let asked = peer.question().unwrap();
        assert_eq!(asked.message, "short");
        peer.answer(&asked, Outcome::Accept);
    });
    let answered = client.decide(&"long".repeat(100));
    assert_eq!((answered.result, answered.status), (SIP_AUTHZ_TOO_LONG, 513));
    // on the same connection
    assert_eq!(client.decide("short").outcome, SIP_AUTHZ_ACCEPT);
    server.join().unwrap();
}

#[test]
fn places_that_cannot_be_are_wrong_arguments() {
    let long = format!("unix:/{}", "x".repeat(200));
    for location in [
        "",
        "file",
        "unix:",
        &long,
        "http://127.0.0.1",
        "tcp:",
        "tcp:localhost:5080",
        "tcp:127.0.0.1",
        "tcp:192.0.2.1:5080",
        "tcp:[::ffff:192.0.2.1]:5080",
        "tcp:[2001:db8::1]:5080",
    ] {
        let (result, text) = Client::try_open(location, 0, None).err().expect(location);
        assert_eq!(result, SIP_AUTHZ_ARGUMENT, "{location}: {text}");
        assert!(!text.is_empty(), "{location}");
    }
    let (result, text) = Client::try_open("file:/nowhere/edge.toml", 0, None).err().unwrap();
    assert_eq!(result, SIP_AUTHZ_SYSTEM);
    assert!(text.contains("/nowhere/edge.toml"), "{text}");
    for location in ["tcp:[::1]:5080", "tcp:127.0.0.2:5080", "unix:relative.sock"] {
        drop(Client::open(location, 0, None));
    }
}
