//! Measures parsing a datagram, compared with rsip on the same datagram in one run: `cargo bench
//! --bench datagram`. Prints the ratios at the end. Absolute times depend on the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rsip::prelude::{HeadersExt, ToTypedHeader};
use sip_authz::message::Message;
use sip_authz::uri::{Host, SipUri};
use sip_authz::{Invite, Transport, digest};

const REALM: &str = "example.com";
const HOST: &str = "md5-12.sip.example.com";
const URI: &str = "sip:+14155550100@md5-12.sip.example.com";
const DIGEST: &str = "Digest username=\"user0003\", realm=\"example.com\", \
    nonce=\"q1Zl6bYdT0mXo4nNq3V5Jg\", uri=\"sip:+14155550100@md5-12.sip.example.com\", \
    response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, qop=auth, nc=00000001, \
    cnonce=\"0a4f113b0a4f113b\", opaque=\"5ccc069c403ebaf9\"";

/// An INVITE of this many bytes; the smallest has only what it needs.
fn invite(size: usize) -> Vec<u8> {
    let (digest, more) = if size < 700 {
        (String::new(), "")
    } else {
        let more = "Contact: <sip:user0003@192.0.2.77:5060>\r\n\
            Allow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\nSupported: replaces, timer\r\n\
            User-Agent: Example Phone 1.0\r\nContent-Type: application/sdp\r\n";
        (format!("Authorization: {DIGEST}\r\n"), more)
    };
    let head = format!(
        "INVITE {URI} SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bK776asdhds8231;rport\r\n\
        Max-Forwards: 70\r\nTo: <{URI}>\r\n\
        From: \"User 3\" <sip:user0003@example.com>;tag=1928301774\r\n\
        Call-ID: a84b4c76e66710@192.0.2.77\r\nCSeq: 314159 INVITE\r\n{digest}{more}"
    );
    let body = size - head.len() - "Content-Length: 000\r\n\r\n".len();
    let text = "a=rtpmap:101 telephone-event/8000\r\n".chars().cycle().take(body);
    let message = format!("{head}Content-Length: {body:03}\r\n\r\n{}", text.collect::<String>());
    assert_eq!(message.len(), size);
    message.into_bytes()
}

/// The best of many short runs, in nanoseconds. Used for the ratios, which criterion does not print.
fn best(mut body: impl FnMut()) -> f64 {
    // a test (without --bench) runs the body once
    if !std::env::args().any(|argument| argument == "--bench") {
        body();
        return f64::NAN;
    }
    const TIMES: u32 = 500;
    let run = || {
        let start = Instant::now();
        (0..TIMES).for_each(|_| body());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    std::iter::repeat_with(run).take(60).fold(f64::MAX, f64::min)
}

fn datagram(c: &mut Criterion) {
    let source: SocketAddr = "192.0.2.77:5060".parse().unwrap();
    let mut group = c.benchmark_group("datagram");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut ratios = vec![];
    for size in [400, 980, 1_400] {
        let bytes = invite(size);
        let scan = || {
            black_box(Message::scan(black_box(&bytes))).unwrap();
        };
        let ours = || {
            black_box(Invite::from_datagram(black_box(&bytes), source, Transport::Udp)).unwrap();
        };
        let theirs = || {
            black_box(rsip::Request::try_from(black_box(&bytes[..]))).unwrap();
        };
        group.bench_function(BenchmarkId::new("scan", size), |b| b.iter(scan));
        group.bench_function(BenchmarkId::new("from_datagram", size), |b| b.iter(ours));
        group.bench_function(BenchmarkId::new("rsip", size), |b| b.iter(theirs));
        ratios.push((format!("scan/{size}"), best(scan), best(theirs)));
        ratios.push((format!("from_datagram/{size}"), best(ours), best(theirs)));
    }

    let request = rsip::Request::try_from(&invite(980)[..]).unwrap();
    let header = request.authorization_header().unwrap();
    let ours = || {
        let parsed = digest::parse(black_box(DIGEST.as_bytes()), black_box(REALM));
        assert!(matches!(black_box(parsed), digest::Parsed::Credentials(_)));
    };
    let theirs = || {
        black_box(black_box(header).typed()).unwrap();
    };
    group.bench_function("credentials", |b| b.iter(ours));
    group.bench_function("credentials_rsip", |b| b.iter(theirs));
    ratios.push(("credentials".to_owned(), best(ours), best(theirs)));

    let ours = || {
        let uri = SipUri::parse(black_box(URI)).unwrap();
        black_box(Host::parse(uri.host)).unwrap();
    };
    let theirs = || {
        black_box(rsip::Uri::try_from(black_box(URI))).unwrap();
    };
    assert_eq!(SipUri::parse(URI).unwrap().host, HOST);
    group.bench_function("uri", |b| b.iter(ours));
    group.bench_function("uri_rsip", |b| b.iter(theirs));
    ratios.push(("uri".to_owned(), best(ours), best(theirs)));
    group.finish();

    println!("{:<24}{:>9}{:>9}{:>8}", "row", "ns", "rsip ns", "ratio");
    for (row, ours, theirs) in ratios {
        println!("{row:<24}{ours:>9.1}{theirs:>9.1}{:>8.2}", ours / theirs);
    }
}

criterion_group!(benches, datagram);
criterion_main!(benches);
