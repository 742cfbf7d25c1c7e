//! Asks an authorizer through requests alone what it counted and what it used up.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use sip_authz::digest::{GuessRate, MalformedCredentials};
use sip_authz::model::{GuessPolicy, Policy};
use sip_authz::{Decision, Reason};

use crate::kit::*;

/// The burst of both budgets in [`counting`].
pub const BURST: u32 = 100;

/// No token comes back while a test lasts, so each attempt that was counted shows.
pub fn counting() -> Policy {
    limited(BURST, BURST)
}

/// Bursts for a source and for a (name, source) pair, with no refill while a test lasts.
pub fn limited(source: u32, pair: u32) -> Policy {
    let rate = |burst: u32| GuessRate {
        burst: burst.try_into().unwrap(),
        refill_ms: NonZeroU32::new(3_600_000).unwrap(),
    };
    let guesses = GuessPolicy::default().with_source(rate(source)).with_pair(rate(pair));
    Policy::default().with_guesses(guesses)
}

/// No budget is ever used up.
pub fn boundless() -> Policy {
    let guesses = GuessPolicy::default().with_source(unlimited()).with_pair(unlimited());
    Policy::default().with_guesses(guesses)
}

/// A request to [`HOST`] in a transaction of its own.
pub fn new_request() -> Request {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Request { branch: format!("z9hG4bK-{number}"), ..Request::to(HOST) }
}

/// alice's right answer to a new challenge of `request`.
pub fn answer(world: &World, request: &Request, source: &str) -> Header {
    Header::answer(&world.challenge(request, source).values[0], request, "alice", PASSWORD)
}

/// Asserts that alice can make a call.
#[track_caller]
pub fn alice_passes(world: &World, source: &str) {
    let request = new_request();
    let header = answer(world, &request, source);
    let accept = accepted(world.send(&request.with(&header.text()), source));
    assert_eq!(&*accept.credential.unwrap().username, "alice");
    assert!(!accept.repeat);
}

/// Sends what `spoil` makes of a right header, and then the right header itself in another
/// transaction. That must be accepted: the first used nothing up.
#[track_caller]
pub fn spoiled(world: &World, spoil: impl FnOnce(&Header) -> String) -> Decision {
    let request = new_request();
    let header = answer(world, &request, OUTSIDE);
    let decision = world.send(&request.clone().with(&spoil(&header)), OUTSIDE);
    let accept = accepted(world.send(&request.next().with(&header.text()), OUTSIDE));
    assert!(!accept.repeat);
    decision
}

/// Asserts a 400 for credentials that cannot be read and returns what is wrong with them.
#[track_caller]
pub fn malformed(decision: Decision) -> MalformedCredentials {
    assert_eq!(decision.status(), 400);
    match rejected(decision) {
        Reason::MalformedCredentials(kind) => kind,
        other => panic!("another reason: {other:?}"),
    }
}

/// Asserts 403 for wrong credentials.
#[track_caller]
pub fn wrong(decision: Decision) {
    assert_eq!(decision.status(), 403);
    assert_eq!(rejected(decision), Reason::WrongCredentials);
}

/// How many attempts were counted against `source`, and against alice at `source`. Asking uses
/// both budgets up; the policy is [`counting`].
#[track_caller]
pub fn attempts(world: &World, source: &str) -> (u32, u32) {
    (BURST - source_left(world, source), BURST - pair_left(world, "alice", source))
}

/// How many more attempts with dead nonces `source` has.
#[track_caller]
pub fn source_left(world: &World, source: &str) -> u32 {
    let guess = || {
        let request = new_request();
        let mut header = answer(world, &request, source);
        header.inner.nonce = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
        match world.send(&request.with(&header.text()), source) {
            Decision::Challenge(challenge) => {
                assert!(challenge.stale);
                false
            }
            other => {
                wrong(other);
                true
            }
        }
    };
    (0..10 * BURST).find(|_| !guess()).expect("a limit")
}

/// How many more attempts at `name` with live nonces `source` has.
#[track_caller]
pub fn pair_left(world: &World, name: &str, source: &str) -> u32 {
    let guess = || {
        let request = world.answered(&new_request(), source, name, "no such password");
        let reason = rejected(world.send(&request, source));
        assert!(matches!(reason, Reason::WrongCredentials | Reason::TooManyGuesses));
        reason == Reason::WrongCredentials
    };
    (0..10 * BURST).find(|_| !guess()).expect("a limit")
}
