//! Connections that are used again, and those that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sip_authz_capi::*;
use sip_authz_decide::{Goodbye, GoodbyeCode, Outcome};

use crate::client::Client;
use crate::server::{PATIENCE_MS, Peer, Place};

#[test]
fn a_connection_that_ended_while_idle_is_replaced_before_anything_is_sent() {
    for has_goodbye in [false, true] {
        let place = Place::new();
        let listener = place.listen();
        let (closed, is_closed) = std::sync::mpsc::channel();
        let server = thread::spawn(move || {
            let mut first = Peer::greet(&listener);
            let asked = first.question().unwrap();
            first.answer(&asked, Outcome::Accept);
            if has_goodbye {
                let mut bytes = Vec::new();
                Goodbye::new(GoodbyeCode::End, "").encode(&mut bytes).unwrap();
                first.send(&bytes);
            }
            first.stream.shutdown(std::net::Shutdown::Write).unwrap();
            closed.send(()).unwrap();
            let mut second = Peer::greet(&listener);
            let asked = second.question().unwrap();
            assert_eq!(asked.message, "second");
            second.answer(&asked, Outcome::Accept);
            // nothing has come on the first one
            assert!(first.has_ended());
        });
        let client = Client::open(&place.location(), PATIENCE_MS, None);
        assert_eq!(client.decide("first").outcome, SIP_AUTHZ_ACCEPT);
        is_closed.recv().unwrap();
        assert_eq!(client.decide("second").outcome, SIP_AUTHZ_ACCEPT);
        server.join().unwrap();
    }
}

#[test]
fn a_request_that_was_written_is_not_sent_again() {
    let place = Place::new();
    let listener = place.listen();
    let server = thread::spawn(move || {
        let mut peer = Peer::greet(&listener);
        let asked = peer.question().unwrap();
        peer.answer(&asked, Outcome::Accept);
        assert_eq!(peer.question().unwrap().message, "second");
        drop(peer);
        let mut peer = Peer::greet(&listener);
        let asked = peer.question().unwrap();
        assert_eq!(asked.message, "third");
        peer.answer(&asked, Outcome::Accept);
    });
    let client = Client::open(&place.location(), PATIENCE_MS, None);
    assert_eq!(client.decide("first").outcome, SIP_AUTHZ_ACCEPT);
    assert_eq!(client.decide("second").result, SIP_AUTHZ_UNREACHABLE);
    assert_eq!(client.decide("third").outcome, SIP_AUTHZ_ACCEPT);
    server.join().unwrap();
}

#[test]
fn threads_share_at_most_sixteen_connections_and_get_their_own_answers() {
    const THREADS: usize = 40;
    const REQUESTS: usize = 25;
    let place = Place::new();
    let listener = place.listen();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, most_counted) = (Arc::clone(&open), Arc::clone(&most));
    // it ends with the process
    thread::spawn(move || {
        loop {
            let mut peer = Peer::greet(&listener);
            let (open, most) = (Arc::clone(&counted), Arc::clone(&most_counted));
            thread::spawn(move || {
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                while let Some(asked) = peer.question() {
                    peer.answer(&asked, Outcome::Accept);
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let client = Client::open(&place.location(), PATIENCE_MS, None);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let client = &client;
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    let message = format!("request {request} of thread {number}");
                    let answered = client.decide(&message);
                    assert_eq!(
                        (answered.result, answered.outcome),
                        (SIP_AUTHZ_OK, SIP_AUTHZ_ACCEPT)
                    );
                    assert_eq!(answered.reason, message);
                }
            });
        }
    });
    let most = most.load(Ordering::SeqCst);
    assert!((1..=16).contains(&most), "{most}");
    assert_eq!(client.counts().accepted, u64::try_from(THREADS * REQUESTS).unwrap());
}

#[test]
fn requests_wait_for_a_connection_within_their_time() {
    let place = Place::new();
    let listener = place.listen();
    let (asked, all_asked) = std::sync::mpsc::channel();
    thread::spawn(move || {
        loop {
            let mut peer = Peer::greet(&listener);
            let asked = asked.clone();
            thread::spawn(move || {
                // never answered
                while peer.question().is_some() {
                    asked.send(()).unwrap();
                }
            });
        }
    });
    let client = Client::open(&place.location(), 2_000, None);
    let results: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..17).map(|_| scope.spawn(|| client.decide("x").result)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(results, [SIP_AUTHZ_TIMEOUT; 17]);
    assert!((1..=17).contains(&all_asked.try_iter().count()));
}
