//! Measures the request that costs most beside a challenge of the same domain. The aim: at most 20
//! times a challenge, however many lists the tenant maps and whatever the policy offers.
//!
//! A stranger can get a challenge, so the nonce of each request is live. Each request is wrong and
//! differs from the others. Each row has the cost of a request as a server of one thread sees it: the
//! datagram is received over loopback, parsed, decided and answered. The last columns leave out the
//! socket. Both are compared with a challenge to a short request, and to one of as many bytes.
//!
//! A body of more than 4,096 bytes is hashed once at most, for `qop=auth-int`, and one of more than
//! 32,768 bytes never. The last row shows the longest. `cargo bench --bench dearest` takes a minute. It only reports: the exit
//! code is always 0.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

use std::hint::black_box;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use sip_authz::digest::Algorithm;
use sip_authz::model::{
    Credential, CredentialList, GuessPolicy, Mapping, Policy, QopOffer, Record, UriCheck,
};
use sip_authz::{Capacity, Decision, Invite, Transport};
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
    /// The number of these lists that hold the user.
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
        title: "the same, body of 4,096 bytes",
        lists: 100,
        algorithms: EACH,
        long: true,
        body: 4_096,
        ..CASE
    },
    Case {
        title: "one header, body of 32,768 bytes",
        lists: 100,
        algorithms: &[Algorithm::Sha512_256Sess],
        long: true,
        body: 32_768,
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

    /// The cost of a challenge, of a challenge to as many bytes, and of a request of this case.
    fn measure(&self, length: Duration) -> [Cost; 3] {
        let world = self.world();
        let requests = self.datagrams(&world);
        let short = Request::to(HOST);
        let mut padded = short.clone();
        padded.body = vec![b'x'; self.body];
        let missing = requests[0].len() - padded.bytes().len();
        let padded = padded.with_line(format!("Subject: {}", "x".repeat(missing)).as_bytes());
        let [short, padded] = [short, padded].map(|request| vec![request.bytes()]);
        [short, padded, requests].map(|datagrams| cost(&world, &datagrams, length))
    }
}

/// Nanoseconds of one request.
struct Cost {
    /// Parsing and deciding.
    decided: f64,
    /// The same, with receiving the datagram and sending an answer.
    served: f64,
    /// The last decision.
    decision: String,
}

/// The least mean cost of a round over all requests.
fn cost(world: &World, datagrams: &[Vec<u8>], length: Duration) -> Cost {
    let source = SOURCE.parse().unwrap();
    let (client, server) = (bound(), bound());
    let to = server.local_addr().unwrap();
    let (mut buffer, mut returned, answer) = (vec![0; 65_536], [0; 600], [b'x'; 600]);
    let mut cost = Cost { decided: f64::MAX, served: f64::MAX, decision: String::new() };
    let end = Instant::now() + length;
    for round in 0.. {
        if round > 2 && Instant::now() >= end {
            break;
        }
        let (mut decided, mut served) = (Duration::ZERO, Duration::ZERO);
        for bytes in datagrams {
            client.send_to(bytes, to).unwrap();
            let received = Instant::now();
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            let began = Instant::now();
            let invite = Invite::from_datagram(&buffer[..len], source, Transport::Udp).unwrap();
            let decision = black_box(world.authorizer.authorize(&invite, world.start));
            decided += began.elapsed();
            server.send_to(&answer, from).unwrap();
            served += received.elapsed();
            cost.decision = match decision {
                Decision::Reject(reject) => format!("{:?}", reject.reason),
                other => format!("{other:?}").chars().take(9).collect(),
            };
            client.recv(&mut returned).unwrap();
        }
        let mean = |time: Duration| time.as_nanos() as f64 / datagrams.len() as f64;
        cost.decided = cost.decided.min(mean(decided));
        cost.served = cost.served.min(mean(served));
    }
    cost
}

fn bound() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn main() {
    // without --bench, `cargo test` runs this with small sizes
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let length = Duration::from_millis(if is_bench { 1_000 } else { 1 });
    println!("{:32} {:^29} {:^29}", "", "served: ns, times a challenge", "decided: the same");
    println!(
        "{:32} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "", "short", "as long", "", "short", "as long"
    );
    for case in CASES {
        let [short, padded, dearest] = case.measure(length);
        let times = dearest.served / short.served;
        let verdict = match case.body {
            4_097.. => "by the byte",
            _ if times <= MOST => "ok",
            _ => "MISS",
        };
        println!(
            "{:32} {:9.0} {times:9.1} {:9.1} {:9.0} {:9.1} {:9.1} {verdict} {}",
            case.title,
            dearest.served,
            dearest.served / padded.served,
            dearest.decided,
            dearest.decided / short.decided,
            dearest.decided / padded.decided,
            dearest.decision,
        );
    }
}
