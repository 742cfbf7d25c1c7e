//! Replays at scale: captured requests sent again, many calls on one credential, a flood in a
//! victim's name, and a clock that jumps. Print the counts with `cargo test --test replay_run --
//! --nocapture`.
//!
//! `cargo test --release --test replay_run` runs the full size. A debug build floods with 100,000
//! requests instead of 1,000,000. If all eight threads send the same captured requests, it uses
//! 1,000 of the 10,000.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::AddAssign;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use sip_authz::model::Policy;
use sip_authz::{Authorizer, Capacity, Decision, Invite, Transport};
use sip_authz_testing::kit::{HOST, Header, PASSWORD, REALM, Request, snapshot};

const CAPTURED: usize = 10_000;
const THREADS: usize = 8;
const CALLS_PER_SECOND: usize = 500;
const FLOOD: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
/// Number of captured requests that every thread sends, if all send the same.
const BY_EVERY_THREAD: usize = if cfg!(debug_assertions) { 1_000 } else { CAPTURED };

/// Runs one test at a time, because memory is measured for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An authorizer of the default capacity and policy, and the start of its clock.
fn authorizer(seed: u8) -> (Authorizer, Instant) {
    // two hours ahead, so that the clock can step back on a machine that has just started
    let start = Instant::now() + Duration::from_secs(2 * 60 * 60);
    let snapshot = snapshot(&Policy::default());
    (Authorizer::from_seed(snapshot, Capacity::default(), &[seed; 32], start), start)
}

/// The victim, whose calls are captured.
fn victim() -> SocketAddr {
    "198.51.100.7:5060".parse().unwrap()
}

/// The bytes of call `number` by alice; another `branch` prefix makes another branch.
fn datagram(number: usize, branch: &str, credentials: &str) -> Vec<u8> {
    let line = if credentials.is_empty() { "" } else { "\r\nProxy-Authorization: " };
    format!(
        "INVITE sip:{number}@{HOST} SIP/2.0\r\n\
         Via: SIP/2.0/UDP client.example.com:5060;branch=z9hG4bK{branch}{number}\r\n\
         Max-Forwards: 70\r\n\
         From: Alice <sip:alice@example.com>;tag={number}\r\n\
         To: <sip:{number}@{HOST}>\r\n\
         Call-ID: {number}@client.example.com\r\n\
         CSeq: 1 INVITE{line}{credentials}\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn hex_md5(text: &str) -> String {
    let mut hex = String::with_capacity(32);
    Md5::digest(text).iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    hex
}

/// Alice's credentials for a call with this nonce. Made here because thousands are needed.
fn credentials(number: usize, nonce: &str) -> String {
    let ha1 = hex_md5(&format!("alice:{REALM}:{PASSWORD}"));
    let uri = format!("sip:{number}@{HOST}");
    let ha2 = hex_md5(&format!("INVITE:{uri}"));
    let response = hex_md5(&format!("{ha1}:{nonce}:00000001:0a4f113bd0a4f113:auth:{ha2}"));
    format!(
        "Digest username=\"alice\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0a4f113bd0a4f113\""
    )
}

fn send(
    authorizer: &Authorizer,
    bytes: &[u8],
    source: SocketAddr,
    transport: Transport,
    now: Instant,
) -> Decision {
    let invite = Invite::from_datagram(bytes, source, transport).unwrap();
    authorizer.authorize(&invite, now)
}

/// The nonce of the challenge to a request without credentials.
fn nonce(authorizer: &Authorizer, bytes: &[u8], source: SocketAddr, now: Instant) -> String {
    match send(authorizer, bytes, source, Transport::Udp, now) {
        Decision::Challenge(challenge) => {
            assert!(!challenge.stale);
            let (_, rest) = challenge.values[0].split_once("nonce=\"").unwrap();
            rest[..22].to_owned()
        }
        other => panic!("no challenge: {other:?}"),
    }
}

/// Decisions on many requests, by kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Accepts of a new call.
    accepted: usize,
    /// Accepts of a retransmission.
    repeats: usize,
    stale: usize,
    challenged: usize,
    rejected: usize,
}

impl Tally {
    fn add(&mut self, decision: &Decision) {
        match decision {
            Decision::Accept(accept) if accept.repeat => self.repeats += 1,
            Decision::Accept(_) => self.accepted += 1,
            Decision::Challenge(challenge) if challenge.stale => self.stale += 1,
            Decision::Challenge(_) => self.challenged += 1,
            Decision::Reject(_) => self.rejected += 1,
        }
    }
}

impl Tally {
    /// All challenges counted as stale: after eight stale answers to a flow, the others come without.
    fn refused_alike(self) -> Self {
        Self { stale: self.stale + self.challenged, challenged: 0, ..self }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.repeats += other.repeats;
        self.stale += other.stale;
        self.challenged += other.challenged;
        self.rejected += other.rejected;
    }
}

/// Sends every datagram once, split among the threads, or once from every thread at the same time.
fn send_all(
    authorizer: &Authorizer,
    datagrams: &[Vec<u8>],
    by_every_thread: bool,
    (source, transport): (SocketAddr, Transport),
    now: Instant,
) -> Tally {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let senders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    barrier.wait();
                    let (first, step, end) = match by_every_thread {
                        true => (0, 1, BY_EVERY_THREAD),
                        false => (thread, THREADS, datagrams.len()),
                    };
                    for bytes in datagrams[..end].iter().skip(first).step_by(step) {
                        tally.add(&send(authorizer, bytes, source, transport, now));
                    }
                    tally
                })
            })
            .collect();
        let mut sum = Tally::default();
        senders.into_iter().for_each(|sender| sum += sender.join().unwrap());
        sum
    })
}

#[test]
fn of_ten_thousand_captured_requests_none_is_accepted_again() {
    let _alone = alone();
    let (first, start) = authorizer(1);
    let (restarted, _) = authorizer(2);
    let mut captured = Vec::with_capacity(CAPTURED);
    let mut tally = Tally::default();
    for number in 0..CAPTURED {
        // one call a millisecond
        let now = start + Duration::from_millis(number as u64);
        let nonce = nonce(&first, &datagram(number, "c", ""), victim(), now);
        let bytes = datagram(number, "a", &credentials(number, &nonce));
        tally.add(&send(&first, &bytes, victim(), Transport::Udp, now));
        captured.push(bytes);
    }
    println!("captured: {tally:?}");
    assert_eq!(tally, Tally { accepted: CAPTURED, ..Tally::default() });
    assert_eq!(first.remembered_nonces().0, CAPTURED);

    // the same requests with another branch
    let branches: Vec<_> = captured
        .iter()
        .map(|bytes| {
            let text = str::from_utf8(bytes).unwrap();
            text.replacen("branch=z9hG4bKa", "branch=z9hG4bKb", 1).into_bytes()
        })
        .collect();
    let other_port: SocketAddr = "198.51.100.7:40000".parse().unwrap();
    let last_call = Duration::from_millis(CAPTURED as u64);
    let udp = Transport::Udp;
    for (authorizer, name) in [(&first, "same"), (&restarted, "restarted")] {
        let is_same = name == "same";
        for (what, datagrams, by_every_thread, way, after) in [
            ("at once, split", &captured, false, (victim(), udp), Duration::ZERO),
            ("at once, by each thread", &captured, true, (victim(), udp), Duration::ZERO),
            ("from another port", &captured, false, (other_port, udp), Duration::ZERO),
            ("with another branch", &branches, true, (victim(), udp), Duration::ZERO),
            ("over TCP", &captured, false, (victim(), Transport::Tcp), Duration::ZERO),
            ("after 32 s", &captured, false, (victim(), udp), Duration::from_secs(32)),
            ("after two minutes", &captured, false, (victim(), udp), Duration::from_mins(2)),
        ] {
            let now = start + last_call + after;
            let tally = send_all(authorizer, datagrams, by_every_thread, way, now).refused_alike();
            println!("{name}, {what}: {tally:?}");
            let sent = if by_every_thread { THREADS * BY_EVERY_THREAD } else { CAPTURED };
            // over UDP, a copy within 32 s is recognised as a retransmission and not as a new call
            let expected = if is_same && what.starts_with("at once") {
                Tally { repeats: sent, ..Tally::default() }
            } else {
                Tally { stale: sent, ..Tally::default() }
            };
            assert_eq!(tally, expected, "{name}, {what}");
        }
    }
    assert_eq!(first.remembered_nonces().0, CAPTURED);
    assert_eq!(restarted.remembered_nonces().0, 0);
}

#[test]
fn five_hundred_calls_a_second_on_one_credential_for_two_nonce_lifetimes() {
    let _alone = alone();
    let (authorizer, start) = authorizer(3);
    let seconds = 2 * u64::from(Policy::default().nonce_lifetime);
    const WORKERS: usize = 2;
    let barrier = Barrier::new(WORKERS);
    let tally = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (authorizer, barrier) = (&authorizer, &barrier);
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    let mut waiting: Vec<(usize, String)> = Vec::new();
                    for second in 0..=seconds {
                        barrier.wait();
                        let at = |n: usize| {
                            let millis = 1_000 * n / CALLS_PER_SECOND;
                            start
                                + Duration::from_secs(second)
                                + Duration::from_millis(millis as u64)
                        };
                        // responses to the challenges of the last second, latest first
                        for (n, (number, nonce)) in waiting.drain(..).rev().enumerate() {
                            let bytes = datagram(number, "a", &credentials(number, &nonce));
                            let at = at(n * WORKERS);
                            tally.add(&send(authorizer, &bytes, victim(), Transport::Udp, at));
                        }
                        let count = if second < seconds { CALLS_PER_SECOND } else { 0 };
                        for n in (worker..count).step_by(WORKERS) {
                            let number = usize::try_from(second).unwrap() * CALLS_PER_SECOND + n;
                            let bytes = datagram(number, "c", "");
                            waiting.push((number, nonce(authorizer, &bytes, victim(), at(n))));
                        }
                    }
                    tally
                })
            })
            .collect();
        let mut sum = Tally::default();
        workers.into_iter().for_each(|worker| sum += worker.join().unwrap());
        sum
    });
    let (remembered, capacity) = authorizer.remembered_nonces();
    println!("500 calls a second for {seconds} s: {tally:?}, {remembered} of {capacity} nonces");
    let calls = CALLS_PER_SECOND * usize::try_from(seconds).unwrap();
    assert_eq!(calls, 60_000);
    assert_eq!(tally, Tally { accepted: calls, ..Tally::default() });
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    // the page size of Linux on the tested machines
    pages * 4
}

/// Distinct addresses of both families, other than the victim's.
fn attacker(n: usize) -> SocketAddr {
    let bits = u32::try_from(n).unwrap();
    let ip: IpAddr = if n.is_multiple_of(3) {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) | (u128::from(bits) << 64) | 1).into()
    } else {
        Ipv4Addr::from_bits(0x0a00_0000 + bits).into()
    };
    SocketAddr::new(ip, 1_024 + (bits % 60_000) as u16)
}

/// Sends the requests with these numbers in the victim's name, each from its own address.
fn flood(
    authorizer: &Authorizer,
    numbers: impl Iterator<Item = usize>,
    victims_nonce: &str,
    start: Instant,
) -> Tally {
    let mut tally = Tally::default();
    // nonces of 22 and responses of 32 characters, patched in place below
    let with = |nonce: &str| datagram(100, "f", &credentials(100, nonce));
    let junk_nonce = "JUNKJUNKJUNKJUNKJUNKJA";
    let (mut junk, mut captured) = (with(junk_nonce), with(victims_nonce));
    let find = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
    };
    let (nonce_at, response_at) = (find(&junk, junk_nonce), find(&junk, "response=\"") + 10);
    let malformed = datagram(100, "m", &credentials(100, junk_nonce).replace("nc=0000", "nc=00"));
    let bare = datagram(100, "n", "");
    for n in numbers {
        // all within half the lifetime of the victim's nonce
        let now = start + Duration::from_millis((n * 30_000 / FLOOD) as u64);
        let source = attacker(n);
        let digits = format!("{n:022x}");
        junk[nonce_at..nonce_at + 22].copy_from_slice(digits.as_bytes());
        for bytes in [&mut junk, &mut captured] {
            bytes[response_at..response_at + 22].copy_from_slice(digits.as_bytes());
        }
        let decision = match n % 8 {
            0 => send(authorizer, &bare, source, Transport::Udp, now),
            1 => send(authorizer, &malformed, source, Transport::Udp, now),
            2 => {
                // a live nonce of the attacker's own
                let own = nonce(authorizer, &bare, source, now);
                junk[nonce_at..nonce_at + 22].copy_from_slice(own.as_bytes());
                send(authorizer, &junk, source, Transport::Udp, now)
            }
            3 => send(authorizer, &captured, source, Transport::Tcp, now),
            4 => send(authorizer, &captured, source, Transport::Udp, now),
            // the forged address of the victim
            5 => send(authorizer, &junk, victim(), Transport::Udp, now),
            _ => send(authorizer, &junk, source, Transport::Udp, now),
        };
        tally.add(&decision);
    }
    tally
}

#[test]
fn a_flood_in_the_victims_name_costs_the_victim_nothing_and_no_memory() {
    const BEFORE: usize = 100;
    let _alone = alone();
    let (authorizer, start) = authorizer(4);
    // calls that must stay remembered through the flood
    let calls: Vec<_> = (0..BEFORE)
        .map(|number| {
            let nonce = nonce(&authorizer, &datagram(number, "c", ""), victim(), start);
            datagram(number, "a", &credentials(number, &nonce))
        })
        .collect();
    for bytes in &calls {
        assert!(send(&authorizer, bytes, victim(), Transport::Udp, start).is_accept());
    }
    // and the call in progress
    let live = nonce(&authorizer, &datagram(BEFORE, "c", ""), victim(), start);
    let remembered = authorizer.remembered_nonces();
    assert_eq!(remembered.0, BEFORE);

    // one-time allocations by threads and first use are not counted
    let warm_up = flood(&authorizer, 0..1_000, &live, start);
    assert_eq!(warm_up.accepted + warm_up.repeats, 0);
    let before = resident_kib();
    let began = Instant::now();
    let tally = thread::scope(|scope| {
        let (authorizer, live) = (&authorizer, live.as_str());
        let floods: Vec<_> = (0..2)
            .map(|half| {
                scope.spawn(move || {
                    flood(authorizer, (0..FLOOD).filter(|n| n / 8 % 2 == half), live, start)
                })
            })
            .collect();
        let mut sum = Tally::default();
        floods.into_iter().for_each(|flood| sum += flood.join().unwrap());
        sum
    });
    let took = began.elapsed();
    let after = resident_kib();
    println!("flood of {FLOOD}: {tally:?} in {took:.1?}; {before} KiB before, {after} KiB after");
    assert_eq!(tally.accepted + tally.repeats, 0);
    assert_eq!(tally.stale + tally.challenged + tally.rejected, FLOOD);
    assert_eq!(authorizer.remembered_nonces(), remembered, "no entry was added or evicted");
    let slack = 2_048;
    assert!(after <= before + slack, "{before} KiB before, {after} KiB after");

    // half the lifetime has passed: the nonce is still live, and the calls are recognised as
    // retransmissions. The time is that of the flood's last request, so no limit has refilled
    let now = start + Duration::from_millis(29_999);
    let bytes = datagram(BEFORE, "a", &credentials(BEFORE, &live));
    let mut tally = Tally::default();
    tally.add(&send(&authorizer, &bytes, victim(), Transport::Udp, now));
    assert_eq!(tally, Tally { accepted: 1, ..Tally::default() });
    let mut tally = Tally::default();
    for bytes in &calls {
        tally.add(&send(&authorizer, bytes, victim(), Transport::Udp, now));
        tally.add(&send(&authorizer, bytes, victim(), Transport::Tcp, now));
    }
    assert_eq!(tally, Tally { repeats: BEFORE, stale: BEFORE, ..Tally::default() });
}

#[test]
fn a_clock_jump_of_an_hour_revives_no_nonce() {
    const CALLS: usize = 1_000;
    let _alone = alone();
    let (authorizer, start) = authorizer(5);
    let call = |number: usize, now: Instant| {
        let nonce = nonce(&authorizer, &datagram(number, "c", ""), victim(), now);
        datagram(number, "a", &credentials(number, &nonce))
    };
    let at = start + Duration::from_secs(10);
    let used: Vec<_> = (0..CALLS).map(|number| call(number, at)).collect();
    let unused: Vec<_> = (CALLS..2 * CALLS).map(|number| call(number, at)).collect();
    let tally = |datagrams: &[Vec<u8>], transport, now| {
        let mut tally = Tally::default();
        for bytes in datagrams {
            tally.add(&send(&authorizer, bytes, victim(), transport, now));
        }
        tally.refused_alike()
    };
    let all = |n: usize| Tally { accepted: n, ..Tally::default() };
    let stale = |n: usize| Tally { stale: n, ..Tally::default() };
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    assert_eq!(tally(&used, udp, at), all(CALLS));

    // back an hour, to before the authorizer was created: time stands still
    let hour = Duration::from_hours(1);
    let back = at.checked_sub(hour).unwrap();
    assert_eq!(tally(&used, tcp, back), stale(CALLS), "used, an hour back");
    let repeats = Tally { repeats: CALLS, ..Tally::default() };
    assert_eq!(tally(&used, udp, back), repeats, "copies are retransmissions for 32 s");
    let new: Vec<_> = (2 * CALLS..3 * CALLS).map(|number| call(number, back)).collect();
    assert_eq!(tally(&new, udp, back), all(CALLS), "new calls pass meanwhile");
    assert_eq!(tally(&unused[..CALLS / 2], udp, back), all(CALLS / 2), "live ones are still good");

    // forward an hour: all nonces have expired, used or not
    let forward = at + hour;
    assert_eq!(tally(&used, udp, forward), stale(CALLS));
    assert_eq!(tally(&unused, udp, forward), stale(CALLS));
    let new: Vec<_> = (3 * CALLS..4 * CALLS).map(|number| call(number, forward)).collect();
    assert_eq!(tally(&new, udp, forward), all(CALLS), "new calls pass");

    // back to when they were live: they stay expired
    for now in [at, back, start, forward] {
        assert_eq!(tally(&used, udp, now), stale(CALLS));
        assert_eq!(tally(&unused, udp, now), stale(CALLS));
        assert_eq!(tally(&new, tcp, now), stale(CALLS));
    }
    let new: Vec<_> = (4 * CALLS..5 * CALLS).map(|number| call(number, at)).collect();
    assert_eq!(tally(&new, udp, at), all(CALLS));
    let (remembered, _) = authorizer.remembered_nonces();
    println!("clock: {remembered} nonces remembered of {} calls", 4 * CALLS + CALLS / 2);
    assert_eq!(remembered, 4 * CALLS + CALLS / 2);
}

#[test]
fn the_credentials_made_here_equal_the_clients() {
    let (authorizer, start) = authorizer(6);
    let nonce = nonce(&authorizer, &datagram(100, "c", ""), victim(), start);
    let prompt =
        format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"");
    let theirs = Header::answer(&prompt, &Request::to(HOST), "alice", PASSWORD);
    assert_eq!(theirs.text(), credentials(100, &nonce));
}
