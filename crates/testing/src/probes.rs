//! Measures through requests alone which attempts an authorizer counted and which nonces it used up.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use sip_authz::digest::{GuessRate, MalformedCredentials};
use sip_authz::model::{GuessPolicy, Policy};
use sip_authz::{Decision, Reason};

use crate::kit::*;

/// The burst of [`counting`].
pub const BURST: u32 = 100;

/// A policy without refill during a test, so that every counted attempt is visible.
pub fn counting() -> Policy {
    limited(BURST)
}

/// The burst of a (source, name) pair, without refill during a test.
pub fn limited(pair: u32) -> Policy {
    let rate = |burst: u32| GuessRate {
        burst: burst.try_into().unwrap(),
        refill_ms: NonZeroU32::new(3_600_000).unwrap(),
    };
    let guesses = GuessPolicy::default().with_pair(rate(pair));
    Policy::default().with_guesses(guesses)
}

/// A policy whose budget never runs out.
pub fn boundless() -> Policy {
    let guesses = GuessPolicy::default().with_pair(unlimited());
    Policy::default().with_guesses(guesses)
}

/// A request to [`HOST`] in its own transaction.
pub fn new_request() -> Request {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Request { branch: format!("z9hG4bK-{number}"), ..Request::to(HOST) }
}

/// A source with the address of [`OUTSIDE`] and a port of its own, so that the limit of stale answers
/// to a flow is not reached.
pub fn new_flow() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let port = 10_000 + NUMBER.fetch_add(1, Ordering::Relaxed) % 50_000;
    format!("198.51.100.7:{port}")
}

/// alice's correct answer to a new challenge of `request`.
pub fn answer(world: &World, request: &Request, source: &str) -> Header {
    answer_by(world, request, source, 0)
}

/// Like [`answer`], with the algorithm at this place of the offer. A request can have one header for
/// each algorithm.
pub fn answer_by(world: &World, request: &Request, source: &str, place: usize) -> Header {
    Header::answer(&world.challenge(request, source).values[place], request, "alice", PASSWORD)
}

/// Asserts that a call of alice is accepted.
#[track_caller]
pub fn alice_passes(world: &World, source: &str) {
    let request = new_request();
    let header = answer(world, &request, source);
    let accept = accepted(world.send(&request.with(&header.text()), source));
    assert_eq!(&*accept.credential.unwrap().username, "alice");
    assert!(!accept.repeat);
}

/// Sends a correct header changed by `spoil`, and then the correct header itself in another
/// transaction. The second must be accepted, since the first must not use up the nonce count.
#[track_caller]
pub fn spoiled(world: &World, spoil: impl FnOnce(&Header) -> String) -> Decision {
    let request = new_request();
    let header = answer(world, &request, OUTSIDE);
    let decision = world.send(&request.clone().with(&spoil(&header)), OUTSIDE);
    let accept = accepted(world.send(&request.next().with(&header.text()), OUTSIDE));
    assert!(!accept.repeat);
    decision
}

/// Asserts a challenge without `stale`: the credentials count as absent.
#[track_caller]
pub fn absent(decision: Decision) {
    assert!(!challenged(decision), "stale");
}

/// Asserts a challenge with `stale`.
#[track_caller]
pub fn stale(decision: Decision) {
    assert!(challenged(decision), "not stale");
}

/// Asserts a 400 for malformed credentials and returns the defect.
#[track_caller]
pub fn malformed(decision: Decision) -> MalformedCredentials {
    assert_eq!(decision.status(), 400);
    match rejected(decision) {
        Reason::MalformedCredentials(kind) => kind,
        other => panic!("unexpected reason: {other:?}"),
    }
}

/// Asserts a 403 for wrong credentials.
#[track_caller]
pub fn wrong(decision: Decision) {
    assert_eq!(decision.status(), 403);
    assert_eq!(rejected(decision), Reason::WrongCredentials);
}

/// The number of attempts counted against alice at `source`. Measuring uses her budget up. Requires
/// the policy [`counting`].
#[track_caller]
pub fn attempts(world: &World, source: &str) -> u32 {
    BURST - pair_left(world, "alice", source)
}

/// The number of attempts at `name` with valid nonces that `source` has left.
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
