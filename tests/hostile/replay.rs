//! Hostile cases 14, 15, 17 and 18: replays, retransmissions, threads and floods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sip_authz::digest::Algorithm;
use sip_authz::model::{Account, AccountStatus, Credential, Key, Mapping, Record};
use sip_authz::{Authorizer, Capacity, CredentialsField, Decision, Invite, Reason, Transport};
use sip_authz_testing::kit::*;
use sip_authz_testing::probes::*;

/// Another port of the same source address.
const OTHER_PORT: &str = "198.51.100.7:5062";

/// The smallest table sizes.
fn small() -> Capacity {
    Capacity::default().with_nonces(0).with_repeats(0).with_guesses(0)
}

/// An accepted call.
#[track_caller]
fn call(world: &World) -> Request {
    let request = new_request();
    let header = answer(world, &request, OUTSIDE);
    let request = request.with(&header.text());
    assert!(!accepted(world.send(&request, OUTSIDE)).repeat);
    request
}

const THREADS: usize = 4;
const ROUNDS: usize = 1_000;

/// The requests that the threads send at the same time in one round.
type Round = [(Request, &'static str); THREADS];

/// Number of first accepts, of repeats, and of stale challenges.
type Tally = (usize, usize, usize);

/// Runs the rounds on all threads and asserts the tally of each. Threads stay alive and spin
/// between rounds; otherwise one would finish before the next wakes up.
#[track_caller]
fn at_once(world: &World, rounds: &[Round], expected: Tally) {
    let arrived = AtomicUsize::new(0);
    let thread = |own: usize| {
        let decide = |(number, round): (usize, &Round)| {
            let (request, source) = &round[own];
            let bytes = request.bytes();
            let source = source.parse().unwrap();
            let invite = Invite::from_datagram(&bytes, source, world.transport).unwrap();
            arrived.fetch_add(1, Ordering::SeqCst);
            let mut spins = 0;
            while arrived.load(Ordering::SeqCst) < (number + 1) * THREADS {
                spins += 1;
                if spins % 256 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
            }
            world.authorizer.authorize(&invite, world.start + world.now)
        };
        rounds.iter().enumerate().map(decide).collect::<Vec<_>>()
    };
    let decisions: Vec<_> = thread::scope(|scope| {
        let thread = &thread;
        let threads: Vec<_> = (0..THREADS).map(|own| scope.spawn(move || thread(own))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for number in 0..rounds.len() {
        let mut tally = (0, 0, 0);
        for decision in decisions.iter().map(|decisions| &decisions[number]) {
            match decision {
                Decision::Accept(accept) if accept.repeat => tally.1 += 1,
                Decision::Accept(_) => tally.0 += 1,
                Decision::Challenge(challenge) if challenge.stale => tally.2 += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(tally, expected, "in round {number}");
    }
}

/// One request for each thread, each in its own transaction, with `header`.
fn in_own_transactions(header: &Header) -> Round {
    std::array::from_fn(|_| (new_request().with(&header.text()), OUTSIDE))
}

#[test]
fn case_14_threads_with_one_nonce_and_count_and_different_branches() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let world = World::with_policy(boundless()).over(transport);
        let round = |_| in_own_transactions(&answer(&world, &new_request(), OUTSIDE));
        let rounds: Vec<_> = (0..ROUNDS).map(round).collect();
        at_once(&world, &rounds, (1, 0, THREADS - 1));
        assert_eq!(world.authorizer.remembered_nonces().0, ROUNDS);
    }
}

#[test]
fn case_14_threads_with_one_nonce_and_no_count() {
    let world = World::with_policy(boundless().with_allow_rfc2069(true));
    let round = |_| {
        let mut header = answer(&world, &new_request(), OUTSIDE);
        header.inner.qop = None;
        header.sign();
        in_own_transactions(&header)
    };
    let rounds: Vec<_> = (0..ROUNDS).map(round).collect();
    at_once(&world, &rounds, (1, 0, THREADS - 1));
}

#[test]
fn case_14_threads_with_one_nonce_and_different_counts() {
    let world = World::with_policy(boundless());
    let round = |_| {
        let header = answer(&world, &new_request(), OUTSIDE);
        [1, 2, 3, 4].map(|nc| (new_request().with(&header.clone().with_nc(nc).text()), OUTSIDE))
    };
    let rounds: Vec<_> = (0..ROUNDS / 4).map(round).collect();
    at_once(&world, &rounds, (THREADS, 0, 0));
}

#[test]
fn case_14_threads_with_identical_requests() {
    for (transport, sources, expected) in [
        (Transport::Udp, [OUTSIDE; 4], (1, 3, 0)),
        (Transport::Tcp, [OUTSIDE; 4], (1, 0, 3)),
        // requests from the other port are replays
        (Transport::Udp, [OUTSIDE, OTHER_PORT, OUTSIDE, OTHER_PORT], (1, 1, 2)),
    ] {
        let world = World::with_policy(boundless()).over(transport);
        let round = |_| {
            let request = new_request();
            let request = request.clone().with(&answer(&world, &request, OUTSIDE).text());
            sources.map(|source| (request.clone(), source))
        };
        let rounds: Vec<_> = (0..ROUNDS).map(round).collect();
        at_once(&world, &rounds, expected);
    }
}

#[test]
fn case_15_a_replay_right_after_start_up() {
    let world = World::with(boundless(), small(), &[7; 32]);
    // the first nonce, at time zero
    let first = call(&world);
    assert!(challenged(world.send(&first, OTHER_PORT)));

    // a restarted process rejects it at time zero and later, over UDP from the same port
    let mut restarted = World::with(boundless(), small(), &[8; 32]);
    for _ in 0..3 {
        assert!(challenged(restarted.send(&first, OUTSIDE)));
        assert!(challenged(restarted.send(&first, OTHER_PORT)));
        restarted.sleep(Duration::from_secs(20));
    }
    alice_passes(&restarted, OUTSIDE);
    // random keys from the operating system differ too
    let fresh = || {
        let authorizer = Authorizer::new(snapshot(&boundless())).unwrap();
        World { authorizer, ..World::new() }
    };
    let (one, other) = (fresh(), fresh());
    let request = call(&one);
    assert!(challenged(other.send(&request, OUTSIDE)));
    alice_passes(&other, OUTSIDE);
}

#[test]
fn case_15_replays_after_the_table_has_wrapped() {
    let mut world = World::with(boundless(), small(), &[7; 32]);
    let capacity = world.authorizer.remembered_nonces().1;
    assert_eq!(capacity, 512);
    let unused = answer(&world, &new_request(), OUTSIDE);
    let mut captured = Vec::new();
    for number in 0..4 * capacity {
        captured.push(call(&world));
        if number % 64 == 0 {
            world.sleep(Duration::from_secs(1));
        }
    }
    assert_eq!(world.authorizer.remembered_nonces(), (capacity, capacity));
    for request in &captured {
        assert!(challenged(world.send(request, OTHER_PORT)), "an evicted nonce is not unused");
    }
    // the next count of each old nonce: only remembered nonces are accepted
    let next = |request: &Request| {
        let text = String::from_utf8(request.headers[0].clone()).unwrap();
        let (_, text) = text.split_once(": ").unwrap();
        let mut inner = digest_auth::AuthorizationHeader::parse(text).unwrap();
        inner.nc = 2;
        let mut header = Header { inner, ..unused.clone() };
        header.sign();
        world.send(&new_request().with(&header.text()), OUTSIDE)
    };
    let still: Vec<_> = captured.iter().map(|request| next(request).is_accept()).collect();
    assert_eq!(still.iter().filter(|accepted| **accepted).count(), capacity);
    assert_eq!(world.authorizer.remembered_nonces(), (capacity, capacity));
    // a nonce as old as the first evicted one costs another challenge; a new one does not
    assert!(challenged(world.send(&new_request().with(&unused.text()), OUTSIDE)));
    for _ in 0..100 {
        alice_passes(&world, OUTSIDE);
    }
}

#[test]
fn case_17_a_retransmission_is_accepted_as_a_repeat() {
    let mut world = World::with_policy(counting());
    let request = call(&world);
    for ms in [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000] {
        world.sleep(Duration::from_millis(ms));
        let accept = accepted(world.send(&request, OUTSIDE));
        assert!(accept.repeat);
        assert_eq!(&*accept.credential.unwrap().username, "alice");
    }
    assert_eq!(world.authorizer.remembered_nonces().0, 1);
    // other clients' guesses from its address do not block a late retransmission
    let left = pair_left(&world, "alice", OUTSIDE);
    assert_eq!(left, BURST);
    assert!(accepted(world.send(&request, OUTSIDE)).repeat);
}

#[test]
fn case_17_a_retransmission_is_accepted_after_the_nonce_expired() {
    let mut world = World::with_policy(boundless());
    let request = new_request();
    let header = answer(&world, &request, OUTSIDE);
    world.sleep(Duration::from_secs(59));
    let request = request.with(&header.text());
    assert!(!accepted(world.send(&request, OUTSIDE)).repeat);
    world.sleep(Duration::from_secs(10));
    let next = new_request().with(&header.clone().with_nc(2).text());
    assert!(challenged(world.send(&next, OUTSIDE)), "the nonce has expired");
    assert!(accepted(world.send(&request, OUTSIDE)).repeat);
}

#[test]
fn case_17_retransmissions_are_recognised_for_32_seconds() {
    for nonce_lifetime in [20, 60] {
        let mut world = World::with_policy(boundless().with_nonce_lifetime(nonce_lifetime));
        let request = call(&world);
        for (ms, repeat) in [(31_000, true), (999, true), (1, false), (1, false), (60_000, false)] {
            world.sleep(Duration::from_millis(ms));
            match world.send(&request, OUTSIDE) {
                Decision::Accept(accept) => assert!(accept.repeat && repeat),
                other => assert!(challenged(other) && !repeat),
            }
        }
    }
}

/// Modifies a request.
type Change = fn(&mut Request);

#[test]
fn case_17_a_request_with_any_difference_is_no_retransmission() {
    let world = World::with_policy(boundless());
    let request = Request { body: b"v=0\r\n".to_vec(), ..new_request() };
    let header = answer(&world, &request, OUTSIDE);
    let request = request.with(&header.text());
    accepted(world.send(&request, OUTSIDE));

    let changes: [(&str, Change); 12] = [
        ("branch", |request| request.branch.push('x')),
        ("uri", |request| request.uri = format!("sip:101@{HOST}")),
        ("uri parameter", |request| request.uri.push_str(";user=phone")),
        ("body", |request| request.body = b"v=1\r\n".to_vec()),
        ("no body", |request| request.body.clear()),
        ("from", |request| request.from.push('x')),
        ("to", |request| request.to.push_str(";tag=x")),
        ("call-id", |request| request.call_id.push('x')),
        ("cseq", |request| request.cseq += 1),
        ("contact", |request| request.headers.push(b"Contact: <sip:other@192.0.2.1>".to_vec())),
        ("any field", |request| request.headers.insert(0, b"X: y".to_vec())),
        ("spaces", |request| request.from.push(' ')),
    ];
    for (what, change) in changes {
        let mut other = request.clone();
        change(&mut other);
        for _ in 0..2 {
            assert!(challenged(world.send(&other, OUTSIDE)), "{what}");
        }
    }
    for source in [OTHER_PORT, "198.51.100.8:5060", "[2001:db8::7]:5060"] {
        assert!(challenged(world.send(&request, source)), "{source}");
    }
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        let bytes = request.bytes();
        let invite = Invite::from_datagram(&bytes, OUTSIDE.parse().unwrap(), transport).unwrap();
        let decision = world.authorizer.authorize(&invite, world.start);
        assert!(challenged(decision), "{transport:?}");
    }
    // over TCP there are no retransmissions
    let tcp = World::with_policy(boundless()).over(Transport::Tcp);
    let over_tcp = call(&tcp);
    assert!(challenged(tcp.send(&over_tcp, OUTSIDE)));

    // the same transaction with the digest in upper case, and with the next count
    let upper = format!("\"{}\"", header.inner.response.to_uppercase());
    let other = Request { headers: vec![], ..request.clone() };
    let written = other.clone().with(&header.text_with("response", &upper));
    assert!(challenged(world.send(&written, OUTSIDE)));
    assert!(accepted(world.send(&request, OUTSIDE)).repeat, "the original still is one");
    let next = other.with(&header.with_nc(2).text());
    assert!(!accepted(world.send(&next, OUTSIDE)).repeat);
    assert!(accepted(world.send(&next, OUTSIDE)).repeat);
}

#[test]
fn case_17_a_copy_from_another_address_is_no_retransmission() {
    let world = World::with_policy(boundless().with_bind_source(false));
    let request = call(&world);
    for source in ["198.51.100.8:5060", "[2001:db8::7]:5060", OTHER_PORT] {
        assert!(challenged(world.send(&request, source)), "{source}");
    }
    assert!(accepted(world.send(&request, "[::ffff:198.51.100.7]:5060")).repeat);
}

#[test]
fn case_17_a_repeat_is_one_of_the_credentials_that_were_accepted() {
    // bob has captured a response of alice whose nonce has expired, and sends it with his own
    let mut world = World::with_policy(boundless());
    world.put(Record::Credential(user(LIST, "bob", PASSWORD)));
    let request = new_request();
    let captured = answer(&world, &request, OUTSIDE);
    world.sleep(Duration::from_secs(61));
    for captured_first in [true, false] {
        let challenge = world.challenge(&request, OUTSIDE);
        let own = Header::answer(&challenge.values[0], &request, "bob", PASSWORD);
        let (first, second) = if captured_first { (&captured, &own) } else { (&own, &captured) };
        let request = new_request().with(&first.text()).with(&second.text());
        for repeat in [false, true, true] {
            let accept = accepted(world.send(&request, OUTSIDE));
            assert_eq!(accept.repeat, repeat);
            assert_eq!(&*accept.credential.unwrap().username, "bob");
        }
    }
}

/// Accepts a call to `host` from inside, runs `revoke`, and returns the decision on its
/// retransmission.
fn after(host: &str, revoke: impl FnOnce(&World)) -> Decision {
    let world = World::with_policy(boundless());
    let request = Request { branch: new_request().branch, ..Request::to(host) };
    let request = world.answered(&request, INSIDE, "alice", PASSWORD);
    assert!(!accepted(world.send(&request, INSIDE)).repeat);
    assert!(accepted(world.send(&request, INSIDE)).repeat);
    revoke(&world);
    world.send(&request, INSIDE)
}

#[test]
fn case_17_a_retransmission_is_refused_when_access_was_revoked() {
    let alice = || user(LIST, "alice", PASSWORD);
    let by_credential = Mapping::CredentialList(domain(HOST).into(), list(LIST));

    wrong(after(HOST, |world| world.delete(Key::Credential(credential(LIST, "alice")))));
    wrong(after(HOST, |world| {
        world.put(Record::Credential(Credential { disabled: true, ..alice() }));
    }));
    wrong(after(HOST, |world| {
        world.put(Record::Credential(user(LIST, "alice", "Another-Horse-8")));
    }));
    let decision = after(HOST, |world| world.delete(Key::Mapping(by_credential)));
    assert_eq!((decision.status(), rejected(decision)), (403, Reason::NothingMapped));
    wrong(after(HOST, |world| {
        world.delete(Key::Mapping(by_credential));
        let others = Mapping::CredentialList(domain(HOST).into(), list(OTHER_LIST));
        world.put(Record::from(others));
    }));
    for status in [AccountStatus::Suspended, AccountStatus::Closed] {
        let decision = after(HOST, |world| {
            world.put(Record::Account(Account { status, ..Account::new(account()) }));
        });
        assert_eq!((decision.status(), rejected(decision)), (603, Reason::AccountInactive));
    }
    let decision = after(BOTH_HOST, |world| {
        world.delete(Key::IpAddress(address("192.0.2.0/24")));
    });
    assert_eq!(rejected(decision), Reason::AddressNotListed);
    let decision = after(HOST, |world| {
        let sha256 = boundless().with_algorithms(offering(&[Algorithm::Sha256]).algorithms);
        world.put(policy_of(HOST, sha256));
    });
    assert!(!decision.is_accept(), "MD5 is not offered any more");
    let decision = after(HOST, |world| {
        world.put(policy_of(HOST, boundless().with_from_must_match(true)));
    });
    assert!(accepted(decision).repeat, "an unrelated change has no effect");
}

const FLOOD: usize = 100_000;

/// Decides one request from each of [`FLOOD`] addresses on two threads, each in its own
/// transaction. `credentials` makes the header from the challenge to that address. Returns the
/// number of responses by status. Parses no messages, because that dominates the time of a debug
/// build.
fn pour(
    world: &World,
    credentials: impl Fn(&dyn Fn() -> String) -> Option<String> + Sync,
) -> BTreeMap<u16, usize> {
    let uri = format!("sip:100@{HOST}");
    let half = |first: usize| {
        let mut statuses = BTreeMap::<u16, usize>::new();
        for number in (first..FLOOD).step_by(2) {
            let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
            let source = ([10 + a, b, c, 1], 5060).into();
            let call_id = number.to_be_bytes();
            let invite =
                Invite::new(uri.as_str(), source, world.transport).with_received(&call_id[..]);
            let now = world.start + world.now;
            let nonce = || match world.authorizer.authorize(&invite, now) {
                Decision::Challenge(challenge) => {
                    challenge.values[0].split('"').nth(3).unwrap().to_owned()
                }
                other => panic!("{other:?}"),
            };
            let text = credentials(&nonce);
            let invite = match &text {
                Some(text) => invite
                    .clone()
                    .with_credentials(CredentialsField::ProxyAuthorization, text.as_bytes()),
                None => invite.clone(),
            };
            let decision = world.authorizer.authorize(&invite, now);
            *statuses.entry(decision.status()).or_default() += 1;
        }
        statuses
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut statuses = half(0);
        for (status, count) in other.join().unwrap() {
            *statuses.entry(status).or_default() += count;
        }
        statuses
    })
}

#[test]
fn case_18_a_flood_of_requests_that_get_challenges() {
    let world = World::with(counting(), small(), &[7; 32]);
    let live = answer(&world, &new_request(), OUTSIDE);
    accepted(world.send(&new_request().with(&live.text()), OUTSIDE));
    assert_eq!(pour(&world, |_| None), [(407, FLOOD)].into());
    assert_eq!(world.authorizer.remembered_nonces(), (1, 512));
    accepted(world.send(&new_request().with(&live.clone().with_nc(2).text()), OUTSIDE));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

/// A flood of junk credentials for alice, who calls before and after it.
fn flood_of_wrong_credentials(bind_source: bool, own_nonces: bool, status: u16) {
    let world = World::with(limited(2).with_bind_source(bind_source), small(), &[7; 32]);
    let live = answer(&world, &new_request(), OUTSIDE);
    accepted(world.send(&new_request().with(&live.text()), OUTSIDE));
    let junk = live.text_with("nc", "ffffffff");
    let statuses = pour(&world, |nonce| {
        Some(if own_nonces { junk.replace(&live.inner.nonce, &nonce()) } else { junk.clone() })
    });
    assert_eq!(statuses, [(status, FLOOD)].into());
    assert_eq!(world.authorizer.remembered_nonces(), (1, 512));
    for nc in 2..5 {
        let header = live.clone().with_nc(nc);
        accepted(world.send(&new_request().with(&header.text()), OUTSIDE));
    }
    alice_passes(&world, OUTSIDE);
    assert_eq!(pair_left(&world, "alice", OUTSIDE), 2);
}

#[test]
fn case_18_a_flood_of_wrong_credentials_with_the_nonce_of_the_victim() {
    // for other sources the nonce is not live, so nothing is verified
    flood_of_wrong_credentials(true, false, 407);
}

#[test]
fn case_18_a_flood_of_wrong_credentials_with_an_unbound_live_nonce() {
    flood_of_wrong_credentials(false, false, 403);
}

#[test]
fn case_18_a_flood_of_wrong_credentials_with_a_live_nonce_for_each() {
    flood_of_wrong_credentials(true, true, 403);
}

#[test]
fn case_18_a_flood_from_forged_addresses_does_not_lock_the_victim_out() {
    // the attacker forges the victim's address but does not know its nonce
    let world = World::with(limited(2), small(), &[7; 32]);
    let live = answer(&world, &new_request(), OUTSIDE);
    let junk = with_dead_nonce(&live);
    let mut right = live.clone();
    right.inner.nonce = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    right.sign();
    for _ in 0..1_000 {
        let flow = new_flow();
        stale(world.send(&new_request().with(&junk), &flow));
        stale(world.send(&new_request().with(&right.text()), &flow));
    }
    accepted(world.send(&new_request().with(&live.text()), OUTSIDE));
    alice_passes(&world, OUTSIDE);
}

fn with_dead_nonce(header: &Header) -> String {
    header.text_with("nonce", "\"AAAAAAAAAAAAAAAAAAAAAA\"")
}

#[test]
fn case_18_guesses_with_live_nonces_lock_out_only_that_pair() {
    let world = World::with_policy(limited(2));
    let guess = |name: &str, source: &str| {
        rejected(world.send(&world.answered(&new_request(), source, name, "wrong"), source))
    };
    for reason in [Reason::WrongCredentials, Reason::WrongCredentials, Reason::TooManyGuesses] {
        assert_eq!(guess("alice", OUTSIDE), reason);
        assert_eq!((reason.status(), reason.code()), (403, Some(32_202)));
    }
    // past the limit, a right digest looks like a wrong one
    let right = world.answered(&new_request(), OUTSIDE, "alice", PASSWORD);
    assert_eq!(rejected(world.send(&right, OUTSIDE)), Reason::TooManyGuesses);
    assert_eq!(guess("carol", OUTSIDE), Reason::WrongCredentials);
    alice_passes(&world, "198.51.100.8:5060");
}

#[test]
fn case_18_a_hundred_calls_a_second_with_a_new_nonce_each() {
    // two nonce lifetimes, with tables that hold five seconds of calls
    let mut world = World::with(counting(), small(), &[7; 32]);
    // each response arrives up to 400 ms after its challenge, in any order
    let mut waiting = Vec::new();
    let mut calls = 0;
    for number in 0..100 * 120 {
        let request = new_request();
        let header = answer(&world, &request, OUTSIDE);
        waiting.push((number + number * 7_919 % 41, request.with(&header.text())));
        for (_, answered) in waiting.extract_if(.., |(due, _)| *due <= number) {
            assert!(!accepted(world.send(&answered, OUTSIDE)).repeat);
            calls += 1;
        }
        world.sleep(Duration::from_millis(10));
    }
    assert!(calls > 100 * 119);
    assert_eq!(world.authorizer.remembered_nonces(), (512, 512));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}
