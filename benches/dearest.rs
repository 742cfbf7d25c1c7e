//! Measures the request that costs most beside a challenge of the same domain. The aim: at most 20
//! times a challenge, however many lists the tenant maps and whatever the policy offers.
//!
//! A stranger can get a challenge, so the nonce of each request is live. Each request is wrong, has
//! the most bytes that the parser admits in the texts that are hashed, and is another one each time.
//! The times include the parsing of the datagram.
//!
//! `cargo bench --bench dearest` takes half a minute. It only reports: the exit code is always 0.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sip_authz::digest::Algorithm;
use sip_authz::model::{
    Credential, CredentialList, GuessPolicy, Mapping, Policy, QopOffer, Record, UriCheck,
};
use sip_authz::{Capacity, Invite, Transport};
use sip_authz_testing::kit::*;

const SOURCE: &str = "198.51.100.7:5060";
/// Users of each list, so that the lookups do not all stay in the cache.
const FILLERS: usize = 1_000;
/// Requests of a case. All are different, so none is a retransmission.
const POOL: usize = 32;
/// The aim.
const MOST: f64 = 20.0;

/// A request and the domain that it is for.
struct Case {
    title: &'static str,
    /// The number of mapped lists.
    lists: usize,
    /// How many of them hold the user.
    copies: usize,
    /// The algorithm of each header.
    algorithms: &'static [Algorithm],
    userhash: bool,
    /// Bytes of the body, hashed with `qop=auth-int`.
    body: usize,
    /// Whether the digest-uri and the client nonce are as long as the parser admits.
    long: bool,
}

const CASE: Case = Case {
    title: "one list, one header",
    lists: 1,
    copies: 0,
    algorithms: &[Algorithm::Md5],
    userhash: false,
    body: 0,
    long: false,
};
const EACH: &[Algorithm] = &Algorithm::ALL;
const EIGHT: &[Algorithm] = &[Algorithm::Sha512_256Sess; 8];

const CASES: [Case; 10] = [
    CASE,
    Case { title: "one list, each algorithm", algorithms: EACH, ..CASE },
    Case { title: "100 lists, one header", lists: 100, ..CASE },
    Case { title: "100 lists, eight of the dearest", lists: 100, algorithms: EIGHT, ..CASE },
    Case { title: "100 lists, each algorithm", lists: 100, algorithms: EACH, ..CASE },
    Case { title: "the same, known in four", lists: 100, copies: 4, algorithms: EACH, ..CASE },
    Case { title: "the same, userhash", lists: 100, algorithms: EACH, userhash: true, ..CASE },
    Case { title: "the same, long texts", lists: 100, algorithms: EACH, long: true, ..CASE },
    Case {
        title: "the same, body of 1,400 bytes",
        lists: 100,
        algorithms: EACH,
        long: true,
        body: 1_400,
        ..CASE
    },
    Case {
        title: "the same, body of 60,000 bytes",
        lists: 100,
        algorithms: EACH,
        long: true,
        body: 60_000,
        ..CASE
    },
];

impl Case {
    fn world(&self) -> World {
        let policy = offering(&Algorithm::ALL)
            .with_qop(QopOffer::Both)
            .with_uri_check(UriCheck::Off)
            .with_userhash(self.userhash)
            .with_nonce_lifetime(Policy::MAX_NONCE_LIFETIME)
            .with_guesses(GuessPolicy::default().with_source(unlimited()).with_pair(unlimited()));
        let world = World::with(policy, Capacity::default(), &[9; 32]);
        world.apply(|commit| {
            let known = user(LIST, "known", PASSWORD).ha1;
            for n in 1..self.lists {
                let name = format!("list {n}");
                let record = CredentialList::new(list(&name), account(), REALM.parse().unwrap());
                commit.put(Record::CredentialList(record));
                let target = domain(HOST).into();
                commit.put(Record::from(Mapping::CredentialList(target, list(&name))));
                for filler in 0..FILLERS / self.lists {
                    let user_name = format!("f{n:04}{filler:04}");
                    let sid = credential(&name, &user_name);
                    let ha1 = known.clone();
                    let parsed = user_name.parse().unwrap();
                    commit.put(Record::Credential(Credential::new(sid, list(&name), parsed, ha1)));
                }
                // the last ones in the order of mapping, or of any order
                if n <= self.copies {
                    commit.put(Record::Credential(user(&name, "known", PASSWORD)));
                }
            }
        });
        world
    }

    /// Different wrong requests with live nonces.
    fn datagrams(&self, world: &World) -> Vec<Vec<u8>> {
        let challenge = world.challenge(&Request::to(HOST), SOURCE);
        let value = |algorithm: Algorithm| {
            let name = format!("algorithm={},", algorithm.name());
            challenge.values.iter().find(|value| format!("{value},").contains(&name)).unwrap()
        };
        let one = |n: usize| {
            let mut request = Request::to(HOST);
            request.branch = format!("z9hG4bK{n:06}");
            request.body = vec![b'x'; self.body];
            let plain = request.clone();
            for algorithm in self.algorithms {
                let mut header =
                    Header::answer(value(*algorithm), &plain, "known", "Wrong-1-Horse");
                if self.long {
                    header.inner.uri = format!("sip:{}@{HOST}", "1".repeat(950));
                    header.inner.cnonce = Some("c".repeat(256));
                }
                let mut text = header.text();
                if self.body > 0 {
                    text = text.replace("qop=auth,", "qop=auth-int,");
                    assert!(text.contains("auth-int"), "{text}");
                }
                request = request.with(&text);
            }
            request.bytes()
        };
        (0..POOL).map(one).collect()
    }

    /// The least mean time of a round over all requests, in nanoseconds, of a challenge and of this
    /// case, and the last decision.
    fn measure(&self, length: Duration) -> (f64, f64, String) {
        let world = self.world();
        let source = SOURCE.parse().unwrap();
        let time = |datagrams: &[Vec<u8>]| {
            let (mut least, mut last) = (f64::MAX, None);
            let end = Instant::now() + length;
            for round in 0.. {
                if round > 2 && Instant::now() >= end {
                    break;
                }
                let began = Instant::now();
                for bytes in datagrams {
                    let invite = Invite::from_datagram(bytes, source, Transport::Udp).unwrap();
                    last = Some(black_box(world.authorizer.authorize(&invite, world.start)));
                }
                let took = began.elapsed().as_nanos() as f64 / datagrams.len() as f64;
                least = least.min(took);
            }
            let last = match last.unwrap() {
                sip_authz::Decision::Reject(reject) => format!("{:?}", reject.reason),
                other => format!("{other:?}").chars().take(9).collect(),
            };
            (least, last)
        };
        let (challenge, _) = time(&[Request::to(HOST).bytes()]);
        let (dearest, decision) = time(&self.datagrams(&world));
        (challenge, dearest, decision)
    }
}

fn main() {
    // without --bench, `cargo test` runs this with small sizes
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let length = Duration::from_millis(if is_bench { 1_000 } else { 1 });
    println!("{:34} {:>12} {:>12} {:>8}", "", "challenge ns", "request ns", "times");
    for case in CASES {
        let (challenge, dearest, decision) = case.measure(length);
        let times = dearest / challenge;
        let verdict = if times <= MOST { "ok" } else { "MISS" };
        let Case { title, .. } = case;
        println!("{title:34} {challenge:12.0} {dearest:12.0} {times:8.1} {verdict} {decision}");
    }
}
