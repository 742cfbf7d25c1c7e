//! Held names and sources, the release of an operator, and explanations that count as guesses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sip_authz::digest::GuessRate;
use sip_authz::model::{Account, Domain, GuessPolicy, Mapping, Policy, Record, Target};
use sip_authz::{
    AccountSid, Cause, Decision, ExplainOptions, Explanation, GuessLimit, GuessState, HeaderStep,
    Invite, Reason, Step, Transport,
};
use sip_authz_testing::kit::*;
use sip_authz_testing::probes::wrong;

const BURST: u32 = 3;
const REFILL: Duration = Duration::from_secs(10);

fn rate() -> GuessRate {
    GuessRate { burst: BURST.try_into().unwrap(), refill_ms: 10_000.try_into().unwrap() }
}

/// A policy with one limit, or with that for a name and a source and one more.
fn limited(limit: GuessLimit) -> Policy {
    let open = GuessPolicy::default().with_pair(unlimited());
    Policy::default().with_guesses(match limit {
        GuessLimit::Source => open.with_any_name(Some(rate())),
        GuessLimit::Name => open.with_name(Some(rate())),
        _ => open.with_pair(rate()),
    })
}

fn ip(source: &str) -> IpAddr {
    source.parse::<SocketAddr>().unwrap().ip()
}

fn at(host: &str) -> Target {
    domain(host).into()
}

/// A request of a new transaction, with the answer of `name` to a challenge.
fn attempt(world: &World, host: &str, source: &str, name: &str, password: &str) -> Decision {
    let request = Request::to(host).next();
    world.send(&world.answered(&request, source, name, password), source)
}

/// Sends wrong digests until the limit refuses one, and returns how many were verified.
fn guess_until_held(world: &World, host: &str, source: &str, name: &str) -> u32 {
    (0..100)
        .find(|_| match attempt(world, host, source, name, "a guess") {
            Decision::Reject(reject) => reject.reason == Reason::TooManyGuesses,
            other => panic!("{other:?}"),
        })
        .expect("a limit")
}

fn state(world: &World, limit: GuessLimit, name: &str, source: &str) -> GuessState {
    let states = world.authorizer.guesses(at(HOST), name, ip(source), world.start + world.now);
    *states.iter().find(|state| state.limit == limit).unwrap()
}

fn release(world: &World, limit: GuessLimit, name: &str, source: &str) -> bool {
    world.authorizer.release(limit, at(HOST), name, ip(source), world.start + world.now)
}

#[test]
fn each_limit_tells_what_it_holds_and_can_be_released() {
    for limit in GuessLimit::ALL {
        let mut world = World::with_policy(limited(limit));
        world.sleep(Duration::from_hours(1));
        let now = world.start + world.now;
        let before = state(&world, limit, "alice", OUTSIDE);
        assert_eq!((before.wrong, before.is_held(), before.is_own), (0, false, false));
        assert_eq!((before.since_earliest, before.since_latest), (None, None));
        assert_eq!(guess_until_held(&world, HOST, OUTSIDE, "alice"), BURST, "{limit:?}");

        let held = state(&world, limit, "alice", OUTSIDE);
        assert_eq!((held.wrong, held.is_held(), held.is_own), (BURST, true, true));
        assert_eq!(held.rate, rate());
        assert_eq!(held.held_until, Some(now + REFILL));
        assert_eq!(held.since_latest, Some(now));
        assert_eq!(held.since_earliest, Some(now - REFILL * BURST));
        // the right password is refused by this limit, and accepted at once after the release
        let Decision::Reject(reject) = attempt(&world, HOST, OUTSIDE, "alice", PASSWORD) else {
            panic!("not held by {limit:?}")
        };
        assert_eq!(reject.cause, limit.cause());
        // nor does the release of another limit help
        for other in GuessLimit::ALL.into_iter().filter(|other| *other != limit) {
            release(&world, other, "alice", OUTSIDE);
        }
        assert!(state(&world, limit, "alice", OUTSIDE).is_held());
        assert!(!world.authorizer.release(limit, at(OTHER_HOST), "alice", ip(OUTSIDE), now));
        assert!(release(&world, limit, "alice", OUTSIDE), "{limit:?}");
        assert_eq!(state(&world, limit, "alice", OUTSIDE).wrong, 0);
        assert!(attempt(&world, HOST, OUTSIDE, "alice", PASSWORD).is_accept(), "{limit:?}");
        assert!(!release(&world, limit, "alice", OUTSIDE), "a second time");
    }
}

#[test]
fn a_state_shows_tokens_that_come_back() {
    let mut world = World::with_policy(limited(GuessLimit::NameFromSource));
    guess_until_held(&world, HOST, OUTSIDE, "alice");
    let first = world.start;
    for (left, held) in [(BURST, true), (BURST - 1, false), (BURST - 2, false), (0, false)] {
        let state = state(&world, GuessLimit::NameFromSource, "alice", OUTSIDE);
        assert_eq!((state.wrong, state.is_held()), (left, held));
        if left > 0 {
            assert!(state.since_earliest.unwrap() <= first && first <= state.since_latest.unwrap());
        }
        world.sleep(REFILL);
    }
}

#[test]
fn a_state_is_that_of_one_name_source_and_target() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    guess_until_held(&world, HOST, OUTSIDE, "alice");
    let now = world.start;
    let held = |target, name: &str, source: &str| {
        let states = world.authorizer.guesses(target, name, ip(source), now);
        states.iter().any(GuessState::is_held)
    };
    assert!(held(at(HOST), "alice", OUTSIDE));
    assert!(held(at(HOST), "alice", "[::ffff:198.51.100.7]:9"), "the same address");
    assert!(!held(at(HOST), "bob", OUTSIDE));
    assert!(!held(at(HOST), "Alice", OUTSIDE));
    assert!(!held(at(HOST), "alice", INSIDE));
    assert!(!held(at(OTHER_HOST), "alice", OUTSIDE));
    // targets and names that cannot be
    assert!(world.authorizer.guesses(at("no.example"), "alice", ip(OUTSIDE), now).is_empty());
    let long = "a".repeat(10_000);
    assert!(world.authorizer.guesses(at(HOST), &long, ip(OUTSIDE), now).is_empty());
    for limit in GuessLimit::ALL {
        assert!(!world.authorizer.release(limit, at("no.example"), "alice", ip(OUTSIDE), now));
        assert!(!world.authorizer.release(limit, at(HOST), &long, ip(OUTSIDE), now));
    }
}

#[test]
fn a_release_forgives_no_other_name_although_their_counters_are_forgotten() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    let name = |number: u32| format!("name{number}");
    // more names than a source has counters, so the first ones owe the floor
    for number in 0..40 {
        guess_until_held(&world, HOST, OUTSIDE, &name(number));
    }
    let by_floor = state(&world, GuessLimit::NameFromSource, "alice", OUTSIDE);
    assert_eq!((by_floor.is_held(), by_floor.is_own), (true, false));
    assert!(release(&world, GuessLimit::NameFromSource, "alice", OUTSIDE));
    assert!(attempt(&world, HOST, OUTSIDE, "alice", PASSWORD).is_accept());
    for number in 0..40 {
        let held = state(&world, GuessLimit::NameFromSource, &name(number), OUTSIDE);
        assert!(held.is_held(), "{number}");
    }
}

/// An invite of `bytes` from `source`, explained for an asker.
fn asked(world: &World, bytes: &[u8], source: &str, options: ExplainOptions) -> Explanation {
    let invite = Invite::from_datagram(bytes, source.parse().unwrap(), Transport::Udp).unwrap();
    world.authorizer.explain_with(&invite, world.start + world.now, options)
}

fn counted() -> ExplainOptions {
    ExplainOptions::default().with_counts_guesses(true)
}

/// The result of the verification that an explanation shows: right, wrong or none.
fn verified(explanation: &Explanation) -> Option<bool> {
    explanation.steps.iter().find_map(|step| match step {
        Step::Header(_, step @ HeaderStep::List { .. }) => step.passed(),
        _ => None,
    })
}

/// A request whose credentials answer a challenge of the world, or one of another world.
fn signed(world: &World, source: &str, password: &str, live: bool, number: u32) -> Vec<u8> {
    let request = Request { cseq: number, ..Request::to(HOST) };
    let asking = match live {
        true => world.answered(&request, source, "alice", password),
        false => {
            let other = World::with(Policy::default(), sip_authz::Capacity::DEFAULT, &[9; 32]);
            other.answered(&request, source, "alice", password)
        }
    };
    asking.bytes()
}

#[test]
fn guessing_by_explanations_is_held_by_the_limit_of_requests() {
    for live in [true, false] {
        let mut world = World::with_policy(limited(GuessLimit::NameFromSource));
        let of = |world: &World, password: &str, number| {
            asked(world, &signed(world, OUTSIDE, password, live, number), OUTSIDE, counted())
        };
        for number in 0..BURST {
            assert_eq!(verified(&of(&world, "a guess", number)), Some(false), "{number}");
        }
        // held for explanations and requests, with a right password too
        for password in ["a guess", PASSWORD] {
            let held = of(&world, password, 100);
            assert_eq!(verified(&held), None, "{held}");
            let step = HeaderStep::TooManyGuesses(Cause::GuessLimit);
            assert!(held.steps.iter().any(|it| matches!(it, Step::Header(_, it) if *it == step)));
            assert_eq!(rejected(attempt(&world, HOST, OUTSIDE, "alice", password)), {
                Reason::TooManyGuesses
            });
        }
        // an asker who names other sources has no more guesses
        for number in 1..20 {
            let source = format!("203.0.113.{number}:5060");
            let bytes = signed(&world, &source, PASSWORD, live, 200 + number);
            assert_eq!(verified(&asked(&world, &bytes, &source, counted())), None, "{source}");
        }
        // callers there are not held
        let other = "203.0.113.1:5060";
        assert!(attempt(&world, HOST, other, "alice", PASSWORD).is_accept());
        // a release frees the caller and gives the asker no guess
        assert!(release(&world, GuessLimit::NameFromSource, "alice", OUTSIDE));
        assert!(attempt(&world, HOST, OUTSIDE, "alice", PASSWORD).is_accept());
        assert_eq!(verified(&of(&world, PASSWORD, 300)), None);
        // one token is back for all
        world.sleep(REFILL);
        assert_eq!(verified(&of(&world, PASSWORD, 301)), Some(true));
    }
}

#[test]
fn guesses_of_requests_hold_explanations_and_both_share_tokens() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    assert_eq!(rejected(attempt(&world, HOST, OUTSIDE, "alice", "a guess")), {
        Reason::WrongCredentials
    });
    let guess = signed(&world, OUTSIDE, "another guess", true, 7);
    assert_eq!(verified(&asked(&world, &guess, OUTSIDE, counted())), Some(false));
    assert_eq!(guess_until_held(&world, HOST, OUTSIDE, "alice"), BURST - 2);
    assert_eq!(verified(&asked(&world, &guess, OUTSIDE, counted())), None);
}

#[test]
fn many_headers_in_one_explained_request_are_as_many_guesses() {
    for live in [true, false] {
        let world = World::with_policy(
            offering(&sip_authz::digest::Algorithm::ALL)
                .with_guesses(limited(GuessLimit::NameFromSource).guesses),
        );
        let request = Request::to(HOST);
        let challenge = world.challenge(&request, OUTSIDE);
        let headers = challenge.values.iter().map(|value| {
            let mut header = Header::answer(value, &request, "alice", "a guess");
            if !live {
                header.inner.nonce = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
            }
            header.sign();
            header.text()
        });
        let many = headers.fold(request.clone(), |request, header| request.with(&header));
        let mut guesses = 0;
        for _ in 0..4 {
            let explanation = asked(&world, &many.bytes(), OUTSIDE, counted());
            guesses += explanation
                .steps
                .iter()
                .filter(|step| matches!(step, Step::Header(_, HeaderStep::List { .. })))
                .count();
        }
        assert_eq!(guesses, BURST as usize, "live {live}");
    }
}

#[test]
fn a_proven_flow_gives_the_asker_no_more_guesses() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    assert!(attempt(&world, HOST, OUTSIDE, "alice", PASSWORD).is_accept());
    let tries = (0..100).filter(|number| {
        let guess = signed(&world, OUTSIDE, "a guess", true, 1_000 + number);
        verified(&asked(&world, &guess, OUTSIDE, counted())).is_some()
    });
    assert_eq!(tries.count(), BURST as usize);
    // the phone itself still calls
    assert!(attempt(&world, HOST, OUTSIDE, "alice", PASSWORD).is_accept());
}

#[test]
fn an_explained_retransmission_counts_once_with_its_request() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    let request = world.answered(&Request::to(HOST), OUTSIDE, "alice", "a guess");
    // the caller sends it, and support asks about it again and again
    wrong(world.try_send(&request.bytes(), OUTSIDE).unwrap());
    for _ in 0..10 {
        let explanation = asked(&world, &request.bytes(), OUTSIDE, counted());
        assert_eq!(verified(&explanation), Some(false));
    }
    assert_eq!(state(&world, GuessLimit::NameFromSource, "alice", OUTSIDE).wrong, 1);
}

#[test]
fn an_explanation_that_counts_guesses_uses_nothing_else_up() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    let request = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    let totals = |world: &World| {
        let counts = world.authorizer.counts();
        (counts.total(), world.authorizer.remembered_nonces().0)
    };
    let before = totals(&world);
    for options in [counted(), counted().with_account(Some(account()))] {
        for _ in 0..5 {
            let explained = asked(&world, &request.bytes(), OUTSIDE, options);
            let Decision::Accept(accept) = &explained.decision else { panic!("{explained}") };
            assert!(!accept.repeat, "a retransmission of an explanation");
            assert_eq!(explained.snapshot, Some(world.authorizer.snapshot().number()));
        }
    }
    let guess = signed(&world, OUTSIDE, "a guess", true, 9);
    let foreign = signed(&world, OUTSIDE, "a guess", false, 10);
    for _ in 0..10 {
        asked(&world, &guess, OUTSIDE, counted());
        asked(&world, &foreign, OUTSIDE, counted());
    }
    assert_eq!(totals(&world), (before.0 + 1, before.1), "the challenge to the guess");
    assert_eq!((world.authorizer.guesses_refused(), world.authorizer.foreign_nonces()), (0, 0));
    // no flow counts as proven: the limit holds the right password
    assert_eq!(rejected(attempt(&world, HOST, OUTSIDE, "alice", PASSWORD)), {
        Reason::TooManyGuesses
    });
    release(&world, GuessLimit::NameFromSource, "alice", OUTSIDE);
    // the nonce of the explained request is unused
    let accept = accepted(world.send(&request, OUTSIDE));
    assert!(!accept.repeat);
}

#[test]
fn an_explanation_that_counts_no_guess_changes_no_limit() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    for number in 0..50 {
        let guess = signed(&world, OUTSIDE, "a guess", number % 2 == 0, number);
        let explained = asked(&world, &guess, OUTSIDE, ExplainOptions::default());
        assert_eq!(verified(&explained), Some(false));
    }
    assert_eq!(state(&world, GuessLimit::NameFromSource, "alice", OUTSIDE).wrong, 0);
}

#[test]
fn an_asker_sees_other_accounts_as_unknown_hosts() {
    let world = World::with_policy(limited(GuessLimit::NameFromSource));
    let theirs = AccountSid::from_name(&["neighbour"]);
    world.apply(|commit| {
        commit.put(Record::from(Account::new(theirs)));
        let host = "neighbour.example.com";
        commit.put(Domain::new(domain(host), theirs, host.parse().unwrap()).into());
    });
    let ask = |host: &str, account, also: &[&str]| {
        let bytes = Request { uri: format!("sip:100@{host}"), ..Request::to(HOST) }
            .with(
                &Header::answer(
                    &world.challenge(&Request::to(HOST), OUTSIDE).values[0],
                    &Request::to(HOST),
                    "alice",
                    "a guess",
                )
                .text(),
            )
            .bytes();
        let source = OUTSIDE.parse().unwrap();
        let invite = Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
        let invite = also.iter().fold(invite, |invite, host| invite.with_domain_host(host));
        let options = counted().with_account(account);
        world.authorizer.explain_with(&invite, world.start, options).to_string()
    };
    let unknown = ask("nobody.example.com", Some(theirs), &[]);
    assert!(unknown.contains("no domain or trunk has the name"), "{unknown}");
    for account in [theirs, AccountSid::from_name(&["closed long ago"])] {
        for host in [HOST, &HOST.to_uppercase(), BOTH_HOST, &format!("{HOST};transport=tcp")] {
            let name = host.split(';').next().unwrap().to_lowercase();
            let expected = unknown.replace("nobody.example.com", &name);
            assert_eq!(ask(host, Some(account), &[]), expected, "{host}");
            // nor does it exist as the host of a default domain
            let also = ask("nobody.example.com", Some(account), &[host]);
            assert_eq!(also, unknown, "{host}");
        }
    }
    assert_eq!(
        state(&world, GuessLimit::NameFromSource, "alice", OUTSIDE).wrong,
        0,
        "an asker holds no name of another account"
    );
    for asker in [None, Some(account())] {
        assert!(ask(HOST, asker, &[]).contains(&domain(HOST).to_string()));
        assert!(ask("nobody.example.com", asker, &[HOST]).contains(&domain(HOST).to_string()));
    }
    assert!(ask("neighbour.example.com", Some(theirs), &[]).contains("lists: none is mapped"));
}

#[test]
fn each_step_tells_whether_its_check_was_passed() {
    let world = World::new();
    world.put(Record::from(Mapping::CredentialList(domain(HOST).into(), list(OTHER_LIST))));
    let request = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    let passed = |bytes: &[u8], source| {
        let explanation = asked(&world, bytes, source, ExplainOptions::default());
        let steps = explanation.steps.iter();
        steps.map(|step| (step.to_string(), step.passed())).collect::<Vec<_>>()
    };
    let accepted = passed(&request.bytes(), OUTSIDE);
    let of = |part: &str, steps: &[(String, Option<bool>)]| {
        steps.iter().find(|(text, _)| text.contains(part)).unwrap_or_else(|| panic!("{part}")).1
    };
    for (part, expected) in [
        ("host: ", Some(true)),
        ("account: ", Some(true)),
        ("the nonce is live", Some(true)),
        ("user `alice`", None),
        ("the digest is right", Some(true)),
        ("count are accepted", Some(true)),
    ] {
        assert_eq!(of(part, &accepted), expected, "{part} in {accepted:?}");
    }
    let wrong = world.answered(&Request::to(HOST), OUTSIDE, "alice", "a guess");
    assert_eq!(of("the digest is wrong", &passed(&wrong.bytes(), OUTSIDE)), Some(false));
    let unknown = passed(&Request::to("nobody.example.com").bytes(), OUTSIDE);
    assert_eq!(of("host: ", &unknown), Some(false));
    let refused = passed(&Request::to(ACL_HOST).bytes(), OUTSIDE);
    assert_eq!(of("matches no entry", &refused), Some(false));
    assert_eq!(of("matches", &passed(&Request::to(ACL_HOST).bytes(), INSIDE)), Some(true));
    let bare = passed(&Request::to(BARE_HOST).bytes(), INSIDE);
    assert_eq!(of("lists: none", &bare), Some(false));
}
