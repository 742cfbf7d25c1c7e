//! Hostile case 36: strangers and tenants who wash out the guess counters of others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use sip_authz::digest::GuessRate;
use sip_authz::model::{Account, CredentialList, Domain, GuessPolicy, Mapping, Policy, Record};
use sip_authz::{AccountSid, Capacity, CredentialsField, Decision, Invite, Reason};
use sip_authz_testing::kit::*;
use sip_authz_testing::probes::*;

const GUESSED: usize = 100;
const TENANT_HOST: &str = "tenant.example.com";

fn name(number: usize) -> String {
    format!("user{number}")
}

/// A world with small tables, a hundred users, and a domain of another account whose policy has the
/// slowest rate.
fn world() -> World {
    let capacity = Capacity::default().with_nonces(4_096).with_repeats(4_096).with_guesses(512);
    let world = World::with(Policy::default(), capacity, &[7; 32]);
    let tenant = AccountSid::from_name(&["tenant"]);
    let slowest = GuessRate {
        burst: NonZeroU32::MIN,
        refill_ms: NonZeroU32::new(Policy::MAX_GUESS_REFILL_MS).unwrap(),
    };
    let policy = Policy::default().with_guesses(GuessPolicy::default().with_pair(slowest));
    world.apply(|commit| {
        for number in 0..GUESSED {
            commit.put(Record::Credential(user(LIST, &name(number), PASSWORD)));
        }
        commit.put(Record::Account(Account::new(tenant)));
        let host = TENANT_HOST.parse().unwrap();
        commit.put(Record::Domain(Domain::new(domain(TENANT_HOST), tenant, host)));
        let list_record = CredentialList::new(list("tenant"), tenant, REALM.parse().unwrap());
        commit.put(Record::CredentialList(list_record));
        let mapping = Mapping::CredentialList(domain(TENANT_HOST).into(), list("tenant"));
        commit.put(Record::from(mapping));
        commit.put(policy_of(TENANT_HOST, policy));
    });
    world
}

/// Sends credentials of `name` with a digest of `password`, under a nonce for this source.
fn attempt(world: &World, host: &str, source: &str, name: &str, password: &str) -> Decision {
    let request = Request { branch: new_request().branch, ..Request::to(host) };
    world.send(&world.answered(&request, source, name, password), source)
}

/// `count` wrong digests with a junk name from each of `sources` addresses. Parses no messages and
/// computes no digest, because a debug build would take long.
fn junk(world: &World, host: &str, sources: u32, count: u32) {
    let uri = format!("sip:100@{host}");
    let now = world.start + world.now;
    for number in 0..sources {
        let source = SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), 5060);
        let invite = Invite::new(uri.as_str(), source, world.transport);
        let Decision::Challenge(challenge) = world.authorizer.authorize(&invite, now) else {
            panic!("no challenge");
        };
        let nonce = challenge.values[0].split('"').nth(3).unwrap().to_owned();
        for count in 0..count {
            let text = format!(
                "Digest username=\"junk{number}-{count}\", realm=\"{REALM}\", nonce=\"{nonce}\", \
                 uri=\"{uri}\", response=\"0\", algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001"
            );
            let field = CredentialsField::ProxyAuthorization;
            let invite = invite.clone().with_credentials(field, text.as_bytes());
            assert!(!world.authorizer.authorize(&invite, now).is_accept());
        }
    }
}

/// Guesses at a hundred accounts up to the limit, then runs `wash`, and counts the accounts whose
/// right password is accepted from the guesser's address, and from addresses never seen before.
fn accepted_after(wash: impl Fn(&World)) -> (usize, usize) {
    let world = world();
    for number in 0..GUESSED {
        let reasons: Vec<_> = (0..11)
            .map(|_| rejected(attempt(&world, HOST, OUTSIDE, &name(number), "a guess")))
            .collect();
        assert!(reasons.contains(&Reason::TooManyGuesses), "{reasons:?}");
    }
    wash(&world);
    let right = |number: usize, source: &str| {
        attempt(&world, HOST, source, &name(number), PASSWORD).is_accept()
    };
    let guessed = (0..GUESSED).filter(|number| right(*number, OUTSIDE)).count();
    let new = |number: &usize| right(*number, &format!("203.0.113.{number}:5060"));
    (guessed, (0..GUESSED).filter(new).count())
}

#[test]
fn case_36_junk_names_from_anywhere_forgive_no_guesser() {
    let own = |world: &World| {
        for number in 0..2_000 {
            let reason =
                rejected(attempt(world, HOST, OUTSIDE, &format!("junk{number}"), "a guess"));
            assert!(matches!(reason, Reason::WrongCredentials | Reason::TooManyGuesses));
        }
    };
    assert_eq!(accepted_after(own), (0, GUESSED));
    assert_eq!(accepted_after(|world| junk(world, HOST, 4_000, 3)), (0, GUESSED));
}

#[test]
fn case_36_a_tenants_slow_rates_forgive_no_guesser() {
    assert_eq!(accepted_after(|world| junk(world, TENANT_HOST, 4_000, 3)), (0, GUESSED));
}

#[test]
fn case_36_a_flow_that_proved_its_password_is_not_locked_out() {
    let mut world = world();
    let (phone, guesser) = ("198.51.100.7:5060", "198.51.100.7:40000");
    assert!(attempt(&world, HOST, phone, "alice", PASSWORD).is_accept());
    let guess = |world: &World| {
        while rejected(attempt(world, HOST, guesser, "alice", "a guess")) != Reason::TooManyGuesses
        {
        }
    };
    guess(&world);
    assert!(attempt(&world, HOST, phone, "alice", PASSWORD).is_accept());
    // only this flow, user and target
    for (host, source, name) in
        [(HOST, guesser, "alice"), (BOTH_HOST, INSIDE, "alice"), (HOST, phone, "user1")]
    {
        while rejected(attempt(&world, host, source, name, "a guess")) != Reason::TooManyGuesses {}
        let decision = attempt(&world, host, source, name, PASSWORD);
        assert_eq!(rejected(decision), Reason::TooManyGuesses, "{host} {source} {name}");
    }
    // a wrong password is wrong for it, too
    let decision = attempt(&world, HOST, phone, "alice", "a guess");
    assert_eq!(rejected(decision), Reason::WrongCredentials);
    // for an hour
    world.sleep(Duration::from_secs(3_590));
    guess(&world);
    assert!(attempt(&world, HOST, phone, "alice", PASSWORD).is_accept());
    world.sleep(Duration::from_secs(3_601));
    guess(&world);
    let decision = attempt(&world, HOST, phone, "alice", PASSWORD);
    assert_eq!(rejected(decision), Reason::TooManyGuesses);
}

#[test]
fn case_36_a_flow_that_proved_two_users_of_one_name_is_not_locked_out() {
    let world = world();
    let (phone, guesser) = ("198.51.100.7:5060", "198.51.100.7:40000");
    let (other, other_password) = (list("other"), "Correct-Horse-8");
    world.apply(|commit| {
        let record = CredentialList::new(other, account(), REALM.parse().unwrap());
        commit.put(Record::CredentialList(record));
        commit.put(Record::Credential(user("other", "alice", other_password)));
        commit.put(Record::from(Mapping::CredentialList(domain(HOST).into(), other)));
    });
    let passes = |password| attempt(&world, HOST, phone, "alice", password).is_accept();
    assert!(passes(PASSWORD) && passes(other_password));
    while rejected(attempt(&world, HOST, guesser, "alice", "a guess")) != Reason::TooManyGuesses {}
    assert!(passes(PASSWORD) && passes(other_password));
}

#[test]
fn case_36_without_a_live_nonce_nothing_is_counted() {
    let world = World::with_policy(counting());
    let mut header = answer(&world, &new_request(), OUTSIDE);
    header.inner.nonce = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    header.password = "a guess".to_owned();
    header.sign();
    for _ in 0..1_000 {
        stale(world.send(&new_request().with(&header.text()), &new_flow()));
    }
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_36_answers_with_stale_at_a_tenants_domain_use_up_no_others() {
    let world = world();
    let longest = Policy::default().with_nonce_lifetime(Policy::MAX_NONCE_LIFETIME);
    world.apply(|commit| _ = commit.put(policy_of(TENANT_HOST, longest)));
    let send = |host: &str| {
        let text = format!(
            "Digest username=\"alice\", realm=\"{REALM}\", nonce=\"AAAAAAAAAAAAAAAAAAAAAA\", \
             uri=\"sip:100@{host}\", response=\"0\", algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001"
        );
        let request = Request { branch: new_request().branch, ..Request::to(host) };
        matches!(world.send(&request.with(&text), OUTSIDE), Decision::Challenge(it) if it.stale)
    };
    let stale = (0..20).filter(|_| send(TENANT_HOST)).count();
    assert_eq!((stale, send(HOST)), (8, true), "of the same flow");
}

#[test]
fn case_36_guesses_in_a_flow_that_proved_its_password_are_limited() {
    let mut world = world();
    let (proxy, other) = ("198.51.100.7:5060", "198.51.100.7:40000");
    for name in ["alice", "user1"] {
        assert!(attempt(&world, HOST, proxy, name, PASSWORD).is_accept());
    }
    let verified = |world: &World, source: &str, most: usize| {
        let is_refused = |_: &usize| {
            rejected(attempt(world, HOST, source, "alice", "a guess")) == Reason::TooManyGuesses
        };
        (0..most).find(is_refused).unwrap_or(most)
    };
    // those of the source, then those of the flow
    assert_eq!(verified(&world, other, 1_000), 10);
    assert_eq!(verified(&world, proxy, 1_000), 600);
    let alice = |world: &World| attempt(world, HOST, proxy, "alice", PASSWORD);
    assert_eq!(rejected(alice(&world)), Reason::TooManyGuesses);
    // other names at the same source and in the same flow are not affected
    while rejected(attempt(&world, HOST, other, "user1", "a guess")) != Reason::TooManyGuesses {}
    assert!(attempt(&world, HOST, proxy, "user1", PASSWORD).is_accept());
    // one a second
    world.sleep(Duration::from_secs(1));
    assert!(alice(&world).is_accept());
    world.sleep(Duration::from_secs(10));
    // the source has one back by now
    assert_eq!(verified(&world, proxy, 1_000), 1 + 11);
}

#[test]
fn case_36_a_tenants_calls_displace_no_proof_of_others() {
    let world = world();
    world.apply(|commit| {
        commit.put(Record::Credential(user("tenant", "mallory", PASSWORD)));
        commit.put(policy_of(TENANT_HOST, Policy::default().with_bind_source(false)));
    });
    let (phone, guesser) = ("198.51.100.7:5060", "198.51.100.7:40000");
    for number in 0..GUESSED {
        assert!(attempt(&world, HOST, phone, &name(number), PASSWORD).is_accept());
    }
    // three times as many flows as are remembered
    for number in 0..3 * 4_096 {
        let source = SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), 5060);
        let source = source.to_string();
        assert!(attempt(&world, TENANT_HOST, &source, "mallory", PASSWORD).is_accept());
    }
    let passes = |number: &usize| {
        let name = name(*number);
        while rejected(attempt(&world, HOST, guesser, &name, "a guess")) != Reason::TooManyGuesses {
        }
        attempt(&world, HOST, phone, &name, PASSWORD).is_accept()
    };
    assert_eq!((0..GUESSED).filter(passes).count(), GUESSED);
}

#[test]
fn case_36_a_tenants_calls_displace_no_retransmission_of_others() {
    let world = world();
    world.apply(|commit| {
        commit.put(Record::Credential(user("tenant", "mallory", PASSWORD)));
        commit.put(policy_of(TENANT_HOST, Policy::default().with_bind_source(false)));
    });
    let (phone, script) = ("198.51.100.7:5060", "203.0.113.1:5060");
    let calls: Vec<_> = (0..GUESSED)
        .map(|number| {
            let request = Request { branch: new_request().branch, ..Request::to(HOST) };
            world.answered(&request, phone, &name(number), PASSWORD)
        })
        .collect();
    let is_repeat = |call| match world.send(call, phone) {
        Decision::Accept(accept) => accept.repeat,
        other => panic!("{other:?}"),
    };
    assert!(calls.iter().all(|call| !is_repeat(call)));
    // three times as many calls as are remembered
    for _ in 0..3 * 4_096 {
        assert!(attempt(&world, TENANT_HOST, script, "mallory", PASSWORD).is_accept());
    }
    assert!(calls.iter().all(is_repeat));
}
