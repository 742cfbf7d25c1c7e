//! Hostile case 49: registrations of others, and credentials of other lists and methods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::message::Message;
use sip_authz::model::{
    FromCheck, GuessPolicy, Key, Mapping, Policy, Record, RegisterAs, WrongAnswer,
};
use sip_authz::{Decision, Invite, Reason, Transport};
use sip_authz_testing::kit::*;

fn world_with(policy: Policy) -> World {
    let world = World::with_policy(policy);
    take_registrations(&world, HOST);
    take_registrations(&world, BARE_HOST);
    world
}

fn world() -> World {
    world_with(Policy::default())
}

/// The decision on `request` of a user who knows the password, with the given To.
fn with_to(world: &World, request: &Request, to: &str) -> Decision {
    let request = Request { to: to.to_owned(), ..request.clone() };
    world.send(&world.answered(&request, OUTSIDE, "alice", PHONE_PASSWORD), OUTSIDE)
}

#[test]
fn case_49_a_password_registers_its_own_user_only() {
    let world = world();
    let request = Request::register(HOST, "alice");
    for to in [
        "<sip:alice@digest.example.com>",
        "sip:alice@digest.example.com",
        "\"Alice <sip:dave@digest.example.com>\" <sip:alice@digest.example.com>;tag=1",
        "<sip:%61lice@Digest.Example.COM.:5070;transport=tcp>",
        "<sips:alice@digest.example.com>;x=\"<sip:dave@digest.example.com>\"",
        "Alice\r\n <sip:alice@digest.example.com>",
    ] {
        accepted(with_to(&world, &request, to));
    }
    for to in [
        // another user
        "<sip:dave@digest.example.com>",
        "<sip:carol@digest.example.com>",
        "<sip:nobody@digest.example.com>",
        "\"alice\" <sip:dave@digest.example.com>;tag=alice",
        "<sip:Alice@digest.example.com>",
        "<sip:ALICE@digest.example.com>",
        "<sip:alice2@digest.example.com>",
        "<sip:alic@digest.example.com>",
        "<sip:alice%00@digest.example.com>",
        "<sip:alice%20@digest.example.com>",
        "<sip:%2561lice@digest.example.com>",
        "<sip:alice;x=1@digest.example.com>",
        "<sip:dave;alice@digest.example.com>",
        "<sip:digest.example.com>",
        "<sip:digest.example.com;user=alice>",
        // registrars read a password in different ways
        "<sip:alice:dave@digest.example.com>",
        "<sip:alice:@digest.example.com>",
        "<sip:dave:alice@digest.example.com>",
        // another domain, of the same account or not
        "<sip:alice@bare.example.com>",
        "<sip:alice@other.example.com>",
        "<sip:alice@unknown.example.com>",
        "<sip:alice@example.com>",
        "<sip:alice@192.0.2.7>",
        "<sip:alice@digest.example.com.evil.example>",
        "<sip:alice@xdigest.example.com>",
        // no address
        "<tel:alice>",
        "<tel:+1;phone-context=digest.example.com>",
        "<mailto:alice@digest.example.com>",
        "<alice@digest.example.com>",
        "\"alice\"",
        "*",
        "<>",
        "",
        // two addresses, or two ends of one
        "<sip:alice@digest.example.com>, <sip:dave@digest.example.com>",
        "<sip:dave@digest.example.com>, <sip:alice@digest.example.com>",
        "<sip:alice@digest.example.com>;tag=1, <sip:dave@digest.example.com>",
        "<sip:dave@digest.example.com><sip:alice@digest.example.com>",
        "sip:alice@digest.example.com, sip:dave@digest.example.com",
        "sip:alice@digest.example.com?to=sip:dave@digest.example.com",
        "<sip:dave@digest.example.com@digest.example.com>",
        "<sip:dave@evil.example;x=@digest.example.com>",
        "dave <sip:alice@digest.example.com",
        // control characters
        "<sip:alice@digest.example.com>\x01",
        "\"\x00\" <sip:alice@digest.example.com>",
    ] {
        let decision = with_to(&world, &request, to);
        let reason = rejected(decision);
        assert_eq!((reason, reason.status()), (Reason::ToMismatch, 403), "{to:?}");
    }
}

/// A mismatch does not tell whether a password is right before it is proved, and uses up the nonce.
#[test]
fn case_49_the_digest_is_checked_before_to() {
    let world = world();
    let request =
        Request { to: "<sip:dave@digest.example.com>".into(), ..Request::register(HOST, "alice") };
    let wrong = world.answered(&request, OUTSIDE, "alice", "wrong");
    assert_eq!(rejected(world.send(&wrong, OUTSIDE)), Reason::WrongCredentials);
    let right = world.answered(&request, OUTSIDE, "alice", PHONE_PASSWORD);
    for _ in 0..3 {
        assert_eq!(rejected(world.send(&right, OUTSIDE)), Reason::ToMismatch, "nor again");
    }
    assert_eq!(world.authorizer.remembered_nonces().0, 1);
    // the same credentials with the right To are a replay
    let replayed = Request { to: "<sip:alice@digest.example.com>".into(), ..right };
    assert!(challenged(world.send(&replayed, OUTSIDE)));
}

/// Third-party registration (RFC 3261 §10.2): From names who registers, To who is registered.
#[test]
fn case_49_a_third_party_registers_nobody() {
    for check in [FromCheck::Off, FromCheck::User] {
        let world = world_with(Policy::default().with_from_must_match(check));
        for (from, to, expected) in [
            ("alice", "alice", None),
            ("alice", "dave", Some(Reason::ToMismatch)),
            ("dave", "dave", Some(Reason::ToMismatch)),
            ("dave", "alice", (check == FromCheck::User).then_some(Reason::FromMismatch)),
        ] {
            let request = Request {
                from: format!("<sip:{from}@{HOST}>;tag=1"),
                to: format!("<sip:{to}@{HOST}>"),
                ..Request::register(HOST, "alice")
            };
            let decision =
                world.send(&world.answered(&request, OUTSIDE, "alice", PHONE_PASSWORD), OUTSIDE);
            match (decision, expected) {
                (Decision::Accept(_), None) => {}
                (Decision::Reject(reject), Some(reason)) => {
                    let is_from = check == FromCheck::User && from == "dave";
                    let reason = if is_from { Reason::FromMismatch } else { reason };
                    assert_eq!(reject.reason, reason, "{from} {to}");
                }
                (other, _) => panic!("{from} {to} {check:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn case_49_lists_of_calls_register_nobody_and_the_other_way_round() {
    let world = world();
    let send = |request: &Request, name, password| {
        world.send(&world.answered(request, OUTSIDE, name, password), OUTSIDE)
    };
    let register = Request::register(HOST, "alice");
    assert_eq!(rejected(send(&register, "alice", PASSWORD)), Reason::WrongCredentials);
    let call = Request::to(HOST);
    for name in ["alice", "dave"] {
        assert_eq!(rejected(send(&call, name, PHONE_PASSWORD)), Reason::WrongCredentials);
    }
    // other methods than REGISTER are calls, in any spelling
    let options = Request::to(HOST).with_method("OPTIONS");
    assert_eq!(rejected(send(&options, "alice", PHONE_PASSWORD)), Reason::WrongCredentials);
    accepted(send(&options, "alice", PASSWORD));
    // the list of another domain does not count
    world.delete(Key::Mapping(Mapping::Registration(domain(BARE_HOST), list(PHONES))));
    world.put(Record::from(Mapping::Registration(domain(BARE_HOST), list(OTHER_LIST))));
    let elsewhere = Request::register(BARE_HOST, "alice");
    assert_eq!(rejected(send(&elsewhere, "alice", PHONE_PASSWORD)), Reason::WrongCredentials);
    accepted(send(&Request::register(BARE_HOST, "bob"), "bob", PASSWORD));
}

/// Even if one list serves both, a captured response holds for its method only.
#[test]
fn case_49_a_response_for_a_call_does_not_register_and_the_other_way_round() {
    let world = world();
    world.put(Record::from(Mapping::Registration(domain(HOST), list(LIST))));
    for (sent, signed) in [("REGISTER", "INVITE"), ("INVITE", "REGISTER"), ("OPTIONS", "REGISTER")]
    {
        let mut request = Request::register(HOST, "alice").with_method(sent);
        for (nc, method, is_right) in [(1, signed, false), (2, sent, true)] {
            request.branch = format!("z9hG4bK{sent}{signed}{nc}");
            let challenge = world.challenge(&request, OUTSIDE);
            let mut header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
            header.method = method.to_owned();
            header.sign();
            let decision = world.send(&request.clone().with(&header.text()), OUTSIDE);
            match decision {
                Decision::Accept(_) => assert!(is_right, "{sent} {signed}"),
                other => {
                    assert!(!is_right, "{sent} {signed}");
                    assert_eq!(rejected(other), Reason::WrongCredentials);
                }
            }
        }
    }
}

/// One user has one budget of guesses, whatever the method.
#[test]
fn case_49_guess_limits_are_shared_between_registrations_and_calls() {
    for methods in [["REGISTER", "INVITE"], ["INVITE", "REGISTER"]] {
        let policy = Policy::default().with_wrong_answer(WrongAnswer::Reject);
        let world = world_with(policy);
        let burst = GuessPolicy::DEFAULT.pair.burst.get();
        let request = |method: &str, n: u32| Request {
            branch: format!("z9hG4bK{method}{n}"),
            ..Request::register(HOST, "alice").with_method(method)
        };
        for n in 0..burst {
            let guess = request(methods[n as usize % 2], n);
            let guess = world.answered(&guess, OUTSIDE, "alice", "a guess");
            assert_eq!(rejected(world.send(&guess, OUTSIDE)), Reason::WrongCredentials, "{n}");
        }
        for (method, password) in methods.into_iter().zip([PHONE_PASSWORD, PASSWORD]) {
            let over = request(method, burst);
            for password in [password, PASSWORD, PHONE_PASSWORD] {
                let over = world.answered(&over, OUTSIDE, "alice", password);
                assert_eq!(rejected(world.send(&over, OUTSIDE)), Reason::TooManyGuesses);
            }
        }
        assert_eq!(Reason::TooManyGuesses.public(), Reason::WrongCredentials);
    }
}

/// If another host names the domain in place of the Request-URI's, To must have that host. With the host
/// of the Request-URI, the registrar would bind an address of a domain that was not decided.
#[test]
fn case_49_to_names_the_domain_that_decides() {
    let world = world();
    for (uri, to, is_accepted) in [
        ("sip:203.0.113.1", "<sip:alice@digest.example.com>", true),
        ("sip:203.0.113.1", "<sip:alice@203.0.113.1>", false),
        ("sip:203.0.113.1", "<sip:alice@bare.example.com>", false),
        ("sip:other-tenant.example", "<sip:alice@other-tenant.example>", false),
        // a Request-URI that names a domain decides
        ("sip:bare.example.com", "<sip:alice@bare.example.com>", true),
        ("sip:bare.example.com", "<sip:alice@digest.example.com>", false),
    ] {
        let request =
            Request { uri: uri.to_owned(), to: to.to_owned(), ..Request::register(HOST, "alice") };
        let challenge = {
            let bytes = request.bytes();
            match decide(&world, &bytes) {
                Decision::Challenge(challenge) => challenge,
                other => panic!("{uri} {to}: {other:?}"),
            }
        };
        let header = Header::answer(&challenge.values[0], &request, "alice", PHONE_PASSWORD);
        let decision = decide(&world, &request.with(&header.text()).bytes());
        assert_eq!(decision.is_accept(), is_accepted, "{uri} {to}: {decision:?}");
        if !is_accepted {
            assert_eq!(rejected(decision), Reason::ToMismatch);
        }
    }
}

fn decide(world: &World, bytes: &[u8]) -> Decision {
    let message = Message::scan(bytes).unwrap();
    let invite = Invite::from_request(&message, OUTSIDE.parse().unwrap(), Transport::Tcp).unwrap();
    world.authorizer.authorize(&invite.with_domain_host(HOST), world.start)
}

/// Templates replace the user name; a number that two users could claim is the operator's choice.
#[test]
fn case_49_templates_admit_their_names_only() {
    let templates = RegisterAs::new(["+4930123{user}", "{user}.x"]).unwrap();
    let world = world_with(Policy::default().with_register_as(templates));
    let request = Request::register(HOST, "alice");
    for user in ["+4930123alice", "alice.x", "%2B4930123alice"] {
        accepted(with_to(&world, &request, &format!("<sip:{user}@{HOST}>")));
    }
    for user in [
        "alice",
        "dave",
        "+4930123dave",
        "+4930123",
        "+4930123alice.x",
        "+4930123{user}",
        "%7Buser%7D.x",
        "dave.x",
        ".x",
        "+4930123Alice",
        "+4930123alice;npdi",
        "+4930123alice,dave",
    ] {
        let decision = with_to(&world, &request, &format!("<sip:{user}@{HOST}>"));
        assert_eq!(rejected(decision), Reason::ToMismatch, "{user}");
    }
}
