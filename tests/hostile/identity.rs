//! Hostile cases 26 to 29: stored hashes, domains, From, and equal answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use md5::{Digest, Md5};
use sip_authz::digest::{Algorithm, GuessRate, HashFunction};
use sip_authz::model::{
    AlgorithmOffer, Commit, Credential, CredentialList, FromCheck, GuessPolicy, Ha1Error, Ha1Set,
    Mapping, Password, Policy, Realm, Record, UserName, WrongAnswer,
};
use sip_authz::{Cause, Decision, FromOutcome, Invite, Reason, Snapshot, Step, Transport};
use sip_authz_testing::kit::*;

const NO_LIMIT: fn() -> GuessPolicy = || GuessPolicy::default().with_pair(unlimited());

fn name_and_realm(name: &str) -> (UserName, Realm) {
    (name.parse().unwrap(), REALM.parse().unwrap())
}

fn md5(text: &str) -> String {
    hex::encode(Md5::digest(text))
}

#[test]
fn case_26_a_hash_of_an_empty_password_is_not_loaded() {
    let (name, realm) = name_and_realm("eve");
    let empty = Password::new(String::new());
    let refused = Ha1Set::from_password(&name, &realm, empty).unwrap_err();
    assert_eq!(refused, Ha1Error::EmptyPassword);
    assert_eq!(refused.to_string(), "the password of a credential must not be empty");

    // the hash of an empty password, for each function, alone and after a valid one, in either case
    let a1 = "eve:example.com:";
    let good = md5("eve:example.com:x");
    for (function, hash) in [
        (HashFunction::Md5, md5(a1)),
        (HashFunction::Sha256, hex::encode(sha2::Sha256::digest(a1))),
        (HashFunction::Sha512_256, hex::encode(sha2::Sha512_256::digest(a1))),
    ] {
        for hash in [hash.to_uppercase(), hash] {
            let mut given = vec![(function, hash.as_str())];
            if function != HashFunction::Md5 {
                given.insert(0, (HashFunction::Md5, &good));
            }
            let refused = Ha1Set::from_hex(&name, &realm, given).unwrap_err();
            assert_eq!(refused, Ha1Error::EmptyPassword, "{function}");
        }
    }
}

#[test]
fn case_26_a_hash_of_another_length_is_not_loaded() {
    let (name, realm) = name_and_realm("eve");
    for function in HashFunction::ALL {
        let right = function.output_len() * 2;
        for len in (0..=130).filter(|len| *len != right) {
            let given = [(function, &*"a".repeat(len))];
            let refused = Ha1Set::from_hex(&name, &realm, given).unwrap_err();
            assert_eq!(refused, Ha1Error::WrongLength { function }, "{len}");
        }
        for text in
            ["g".repeat(right), "é".repeat(right / 2), format!("0x{}", "a".repeat(right - 2))]
        {
            let refused = Ha1Set::from_hex(&name, &realm, [(function, &*text)]).unwrap_err();
            assert_eq!(refused, Ha1Error::WrongLength { function }, "{text}");
        }
        assert!(Ha1Set::from_hex(&name, &realm, [(function, &*"a".repeat(right))]).is_ok());
    }
    assert_eq!(Ha1Set::from_hex(&name, &realm, []).unwrap_err(), Ha1Error::NoHash);
}

#[test]
fn case_26_an_empty_password_never_passes() {
    for algorithm in Algorithm::ALL {
        let policy = offering(&[algorithm]).with_guesses(NO_LIMIT());
        let world = World::with_policy(policy);
        let mut request = Request::to(HOST);
        for name in ["alice", "carol", "bob", "nobody"] {
            request = request.next();
            let answered = world.answered(&request, OUTSIDE, name, "");
            let reason = rejected(world.send(&answered, OUTSIDE));
            assert_eq!((reason, reason.status()), (Reason::WrongCredentials, 403), "{name}");
        }
        assert_eq!(world.authorizer.remembered_nonces().0, 0);
        let answered = world.answered(&request.next(), OUTSIDE, "alice", PASSWORD);
        assert!(world.send(&answered, OUTSIDE).is_accept());
    }
}

#[test]
fn case_26_a_missing_hash_is_not_an_empty_hash() {
    // dave has an MD5 hash only, but SHA-256 is offered too
    let offer = AlgorithmOffer::new(Algorithm::ALL).unwrap();
    let policy = Policy::default().with_algorithms(offer).with_guesses(NO_LIMIT());
    let world = World::with_policy(policy);
    let (name, realm) = name_and_realm("dave");
    let ha1 = md5(&format!("dave:{REALM}:{PASSWORD}"));
    let ha1 = Ha1Set::from_hex(&name, &realm, [(HashFunction::Md5, &*ha1)]).unwrap();
    let dave = Credential::new(credential(LIST, "dave"), list(LIST), name, ha1);
    world.put(Record::Credential(dave));

    let mut request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    for value in &challenge.values {
        let header = Header::answer(value, &request, "dave", PASSWORD);
        if header.inner.algorithm.algo == digest_auth::AlgorithmType::MD5 {
            continue;
        }
        // as if the missing hash were empty, all zeros, or as long as the stored one
        let hash = |text: &str| header.inner.algorithm.hash_str(text);
        let (nonce, cnonce) = (&header.inner.nonce, header.inner.cnonce.as_deref().unwrap());
        for stored in ["", &"0".repeat(32), &"0".repeat(64), &md5("dave:example.com:x")] {
            let ha1 = match header.inner.algorithm.sess {
                true => hash(&format!("{stored}:{nonce}:{cnonce}")),
                false => stored.to_owned(),
            };
            let ha2 = hash(&format!("INVITE:{}", header.inner.uri));
            let response = hash(&format!("{ha1}:{nonce}:00000001:{cnonce}:auth:{ha2}"));
            request = request.next();
            let text = header.text_with("response", &format!("\"{response}\""));
            let reason = rejected(world.send(&request.clone().with(&text), OUTSIDE));
            assert_eq!(reason, Reason::WrongCredentials, "{stored}");
        }
        request = request.next();
        let reason = rejected(world.send(&request.clone().with(&header.text()), OUTSIDE));
        assert_eq!(reason, Reason::WrongCredentials, "the right password, without a hash for it");
    }
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
    let header = Header::answer(&challenge.values[0], &request, "dave", PASSWORD);
    assert!(world.send(&request.next().with(&header.text()), OUTSIDE).is_accept());
}

#[test]
fn case_27_credentials_of_one_domains_list_are_wrong_at_another() {
    for algorithm in Algorithm::ALL {
        let world = World::with_policy(offering(&[algorithm]));
        for (host, stranger, own) in [(HOST, "bob", "alice"), (OTHER_HOST, "alice", "bob")] {
            let request = Request::to(host);
            let answered = world.answered(&request, OUTSIDE, stranger, PASSWORD);
            let reason = rejected(world.send(&answered, OUTSIDE));
            assert_eq!((reason, reason.code()), (Reason::WrongCredentials, Some(32_202)));
            let before = world.authorizer.remembered_nonces().0;
            let answered = world.answered(&request.next(), OUTSIDE, own, PASSWORD);
            assert!(world.send(&answered, OUTSIDE).is_accept(), "{own} at {host}");
            assert_eq!(world.authorizer.remembered_nonces().0, before + 1);
        }
    }
}

#[test]
fn case_27_a_nonce_issued_for_one_domain_is_stale_at_another() {
    let world = World::new();
    // both targets share list, realm, offer and source; only the host differs
    let (here, there) = (Request::to(HOST), Request::to(BOTH_HOST));
    let challenge = world.challenge(&here, INSIDE);
    let mut header = Header::answer(&challenge.values[0], &there, "alice", PASSWORD);
    assert!(challenged(world.send(&there.clone().with(&header.text()), INSIDE)), "stale");
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
    assert_eq!(world.authorizer.foreign_nonces(), 1);
    // the same in the other direction, with either digest-uri
    header.inner.uri.clone_from(&here.uri);
    header.sign();
    assert!(challenged(world.send(&there.next().with(&header.text()), INSIDE)));
    // nothing is verified, so a wrong digest gets the same answer
    header.password = "wrong".to_owned();
    header.sign();
    let wrong = there.next().next().with(&header.text());
    assert!(challenged(world.send(&wrong, INSIDE)));
    assert_eq!(world.authorizer.remembered_nonces().0, 0);

    let right = Header::answer(&challenge.values[0], &here, "alice", PASSWORD);
    // any spelling of the host is the same host
    let shouting = Request { uri: format!("sip:100@{}.:5070", HOST.to_uppercase()), ..here };
    assert!(world.send(&shouting.with(&right.text()), INSIDE).is_accept());
    assert_eq!(world.authorizer.remembered_nonces().0, 1);
}

#[test]
fn case_27_a_nonce_of_one_offer_or_source_is_stale_under_another() {
    let world = World::new();
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    let answer = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
    let answered = request.clone().with(&answer.text());
    assert!(challenged(world.send(&answered, "203.0.113.9:5060")), "another source");
    let stronger = Policy::default().with_algorithms(AlgorithmOffer::MD5_FIRST);
    world.put(policy_of(HOST, stronger));
    assert!(challenged(world.send(&answered, OUTSIDE)), "another offer");
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
    world.put(policy_of(HOST, Policy::default()));
    assert!(world.send(&answered, "198.51.100.7:40000").is_accept(), "another port is allowed");
}

#[test]
fn case_28_an_empty_from_matches_no_user() {
    let strict = Policy::default().with_from_must_match(true);
    for from in [
        "",
        " ",
        "<>",
        "\"alice\"",
        "\"\" <>;tag=1",
        "alice",
        "<alice@example.com>;tag=1",
        "<sip:example.com>;tag=1",
        "<sip:@example.com>;tag=1",
        "\"sip:alice@example.com\" <sip:example.com>;tag=1",
        "<tel:alice>;tag=1",
        // a control character, anywhere
        "<sip:alice@example.com>;tag=1\x01",
        "\"\0\" <sip:alice@example.com>;tag=1",
        "<sip:alice\x7f@example.com>;tag=1",
        "\x0b<sip:alice@example.com>;tag=1",
        "Al\x08ice <sip:alice@example.com>;tag=1",
    ] {
        let world = World::with_policy(strict.clone());
        let request = Request { from: from.to_owned(), ..Request::to(HOST) };
        let answer = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
        let request = Request { headers: answer.headers, ..request };
        let reason = rejected(world.send(&request, OUTSIDE));
        assert_eq!((reason, reason.status()), (Reason::FromMismatch, 403), "{from:?}");
    }
    // a request without From is malformed
    let world = World::with_policy(strict);
    let answer = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    let text = String::from_utf8(answer.bytes()).unwrap();
    let cut: String = text.split_inclusive("\r\n").filter(|l| !l.starts_with("From")).collect();
    assert!(world.try_send(cut.as_bytes(), OUTSIDE).is_err());
}

#[test]
fn case_28_the_decision_names_the_verified_user() {
    for (from, matches) in [
        ("Alice <sip:alice@example.com>;tag=1", true),
        ("sip:alice@elsewhere.example;tag=1", true),
        ("<sips:%61lice@example.com>;tag=1", true),
        ("\"Bob\" <sip:alice@example.com>;tag=1", true),
        ("<sip:alice:secret@example.com>;tag=1", true),
        ("<sip:bob@example.com>;tag=1", false),
        ("<sip:Alice@example.com>;tag=1", false),
        ("<sip:alice2@example.com>;tag=1", false),
        ("<sip:alic@example.com>;tag=1", false),
        ("<sip:alice%00@example.com>;tag=1", false),
        ("\"<sip:alice@example.com>\" <sip:bob@example.com>;tag=1", false),
        ("<sip:bob@example.com>;tag=1;x=\"<sip:alice@example.com>\"", false),
        ("<sip:bob@alice>;tag=alice", false),
        ("<sip:bob@example.com>;tag=1, <sip:alice@example.com>", false),
    ] {
        for from_must_match in [false, true] {
            let world = World::with_policy(Policy::default().with_from_must_match(from_must_match));
            let request = Request { from: from.to_owned(), ..Request::to(HOST) };
            let answered = world
                .answered(&request, OUTSIDE, "alice", PASSWORD)
                .with_line(b"P-Asserted-Identity: <sip:bob@example.com>")
                .with_line(b"Remote-Party-ID: <sip:bob@example.com>");
            let decision = world.send(&answered, OUTSIDE);
            if matches || !from_must_match {
                // the reported user name is the verified one, not the one in From
                let found = accepted(decision).credential.unwrap();
                assert_eq!(&*found.username, "alice", "{from}");
                assert_eq!(found.credential, credential(LIST, "alice"));
            } else {
                let reason = rejected(decision);
                assert_eq!((reason, reason.status()), (Reason::FromMismatch, 403), "{from}");
                assert_eq!(rejected(world.send(&answered, OUTSIDE)), reason, "nor again");
            }
        }
    }
}

#[test]
fn case_28_only_the_anonymous_uri_passes_as_anonymous() {
    use FromOutcome::{Anonymous, AnonymousRefused, Differs, Matches, Unreadable};
    for (from, outcome) in [
        ("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1", Anonymous),
        ("sip:anonymous@anonymous.invalid;tag=1", Anonymous),
        ("<sips:ANONYMOUS@Anonymous.Invalid.:5061;user=phone>;tag=1", Anonymous),
        ("Anonymous <sip:%61nonymous@anonymous.invalid>;tag=1", Anonymous),
        ("<sip:anonymous.invalid>;tag=1", Anonymous),
        ("\"Bob\" <sip:anonymous@anonymous.invalid>;tag=bob", Anonymous),
        ("<sip:alice@anonymous.invalid>;tag=1", Matches),
        ("<sip:bob@anonymous.invalid>;tag=1", Differs),
        ("<sip:+15551234@anonymous.invalid;user=phone>;tag=1", Differs),
        ("<sip:anonymous:bob@anonymous.invalid>;tag=1", Differs),
        ("<sip:anonymous@example.com>;tag=1", Differs),
        ("<sip:anonymous@192.0.2.1>;tag=1", Differs),
        ("<sip:anonymous@anonymous.invalid.example.com>;tag=1", Differs),
        ("<sip:anonymous%00@anonymous.invalid>;tag=1", Differs),
        ("\"<sip:anonymous@anonymous.invalid>\" <sip:bob@example.com>;tag=1", Differs),
        ("<sip:bob@example.com>;tag=1;x=\"<sip:anonymous@anonymous.invalid>\"", Differs),
        ("<sip:anonymous@anonymous.invalid>;tag=1, <sip:bob@example.com>", Unreadable),
        ("\"Anonymous\" <tel:anonymous@anonymous.invalid>;tag=1", Unreadable),
        ("Anonymous", Unreadable),
    ] {
        for check in [FromCheck::Off, FromCheck::User, FromCheck::UserOrAnonymous] {
            let world = World::with_policy(Policy::default().with_from_must_match(check));
            let request = Request { from: from.to_owned(), ..Request::to(HOST) };
            let answered = world
                .answered(&request, OUTSIDE, "alice", PASSWORD)
                .with_line(b"Privacy: id")
                .with_line(b"P-Preferred-Identity: <sip:bob@example.com>");
            let expected = match (check, outcome) {
                (FromCheck::Off, _) => None,
                (FromCheck::User, Anonymous) => Some(AnonymousRefused),
                (_, outcome) => Some(outcome),
            };
            let bytes = answered.bytes();
            let source = OUTSIDE.parse().unwrap();
            let invite = Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
            let explained = world.authorizer.explain(&invite, world.start);
            let steps: Vec<_> = explained
                .steps
                .iter()
                .filter_map(
                    |step| if let Step::From(outcome) = step { Some(*outcome) } else { None },
                )
                .collect();
            assert_eq!(steps, Vec::from_iter(expected), "{check:?}: {from}");
            let admits =
                explained.to_string().contains("From: is anonymous, which the policy admits");
            assert_eq!(admits, expected == Some(Anonymous), "{check:?}: {from}");
            let decision = world.send(&answered, OUTSIDE);
            let cause = match expected {
                Some(Differs) => Some(Cause::FromOfOtherUser),
                Some(AnonymousRefused) => Some(Cause::FromAnonymous),
                Some(Unreadable) => Some(Cause::FromUnreadable),
                _ => None,
            };
            assert_eq!(decision.cause(), cause, "{check:?}: {from}");
            if cause.is_some() {
                assert_eq!(decision.credential(), Some(credential(LIST, "alice")));
                assert_eq!(rejected(decision), Reason::FromMismatch, "{check:?}: {from}");
            } else {
                assert_eq!(&*accepted(decision).credential.unwrap().username, "alice", "{from}");
            }
            // an anonymous From does not replace the password
            let wrong = world.answered(&request.next(), OUTSIDE, "alice", "wrong");
            assert_eq!(rejected(world.send(&wrong, OUTSIDE)), Reason::WrongCredentials, "{from}");
        }
    }
}

#[test]
fn case_28_the_digest_is_checked_before_from() {
    let world = World::with_policy(Policy::default().with_from_must_match(true));
    for from in ["<sip:alice@example.com>;tag=1", "<sip:bob@example.com>;tag=1"] {
        let request = Request { from: from.to_owned(), ..Request::to(HOST) };
        let wrong = world.answered(&request, OUTSIDE, "alice", "wrong");
        assert_eq!(rejected(world.send(&wrong, OUTSIDE)), Reason::WrongCredentials, "{from}");
    }
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
}

/// The response as a program would send it, without echoed headers and with the nonce masked.
fn on_the_wire(decision: &Decision) -> String {
    let Some(refusal) = decision.refusal() else { return "SIP/2.0 200 OK\r\n".to_owned() };
    let mut text = format!("SIP/2.0 {refusal}\r\n");
    for line in refusal.header_lines().to_string().lines() {
        let (before, rest) = line.split_once("nonce=\"").unwrap();
        let (nonce, after) = rest.split_once('"').unwrap();
        assert_eq!(nonce.len(), 22, "{line}");
        write!(text, "{before}nonce=\"*\"{after}\r\n").unwrap();
    }
    if let Some(reason) = refusal.reason()
        && let Some(code) = reason.code()
    {
        write!(text, "Error: {code} {reason}\r\n").unwrap();
    }
    text
}

/// Callers that must get identical answers: user name, password, and why they are wrong.
const STRANGERS: [(&str, &str, &str); 8] = [
    ("alice", "wrong", "wrong password"),
    ("nobody", PASSWORD, "unknown user"),
    ("Alice", PASSWORD, "unknown by its case"),
    ("carol", PASSWORD, "disabled, right password"),
    ("carol", "wrong", "disabled, wrong password"),
    ("bob", PASSWORD, "of a list that is not mapped"),
    ("bob", "wrong", "of a list that is not mapped, wrong password"),
    ("dave", PASSWORD, "without a hash for the algorithm"),
];

/// The burst of each guess limit in the worlds of case 29.
const BURST: u32 = 3;

/// A world with `policy` at [`HOST`]; with `several`, three lists are mapped to it instead of one.
fn world_of_strangers(policy: &Policy, several: bool) -> World {
    let world = World::with_policy(policy.clone());
    world.apply(|commit| {
        let (name, realm) = name_and_realm("dave");
        // dave only has a hash of another function than the policy offers, and not of this password
        let other = match policy.algorithms.iter().next().unwrap().hash_function() {
            HashFunction::Md5 => HashFunction::Sha256,
            _ => HashFunction::Md5,
        };
        let hash = "5a".repeat(other.output_len());
        let ha1 = Ha1Set::from_hex(&name, &realm, [(other, &*hash)]).unwrap();
        let dave = Credential::new(credential(LIST, "dave"), list(LIST), name, ha1);
        commit.put(Record::Credential(dave));
        for more in ["more", "and more"].iter().take(if several { 2 } else { 0 }) {
            let record = CredentialList::new(list(more), account(), REALM.parse().unwrap());
            commit.put(Record::CredentialList(record));
            commit.put(Record::Credential(user(more, "erin", PASSWORD)));
            commit.put(Record::from(Mapping::CredentialList(domain(HOST).into(), list(more))));
        }
    });
    world
}

/// The responses to a stranger's requests: first with live nonces until past the limit of the name
/// and source, then with foreign nonces until past the limit of stale answers. The last requests of
/// each part have alice's right password, for alice.
fn transcript(world: &World, stranger: usize, userhash: bool) -> Vec<String> {
    let (name, password, _) = STRANGERS[stranger];
    let source = format!("{}:5060", Ipv4Addr::new(203, 0, 113, u8::try_from(stranger).unwrap()));
    let mut request = Request::to(HOST);
    let mut answers = Vec::new();
    let foreign_before = world.authorizer.foreign_nonces();
    for live in [true, false] {
        for attempt in 0..BURST + 10 {
            request = request.next();
            let challenge = world.challenge(&request, &source);
            let beyond = attempt >= BURST;
            let password = if beyond && name == "alice" { PASSWORD } else { password };
            let mut header = Header::answer(&challenge.values[0], &request, name, password);
            header.inner.userhash = userhash;
            if !live {
                header.inner.nonce = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
            }
            header.sign();
            let decision = world.send(&request.clone().with(&header.text()), &source);
            answers.push(on_the_wire(&decision));
        }
    }
    let foreign = world.authorizer.foreign_nonces() - foreign_before;
    assert_eq!(foreign, u64::from(BURST + 10));
    answers
}

#[test]
fn case_29_every_rejected_caller_gets_the_same_answer() {
    let rate =
        GuessRate { burst: BURST.try_into().unwrap(), refill_ms: 3_600_000.try_into().unwrap() };
    for algorithm in Algorithm::ALL {
        for wrong_answer in [WrongAnswer::Reject, WrongAnswer::Challenge] {
            for (offers_userhash, sends_userhash) in [(false, false), (true, false), (true, true)] {
                for several in [false, true] {
                    let policy = offering(&[algorithm])
                        .with_wrong_answer(wrong_answer)
                        .with_userhash(offers_userhash)
                        .with_guesses(GuessPolicy::default().with_pair(rate));
                    let world = world_of_strangers(&policy, several);
                    let expected = transcript(&world, 0, sends_userhash);
                    check_transcript(&expected, wrong_answer);
                    for (stranger, (.., why)) in STRANGERS.iter().enumerate().skip(1) {
                        let what = format!("{why}: {policy:?}, several lists: {several}");
                        assert_eq!(
                            transcript(&world, stranger, sends_userhash),
                            expected,
                            "{what}"
                        );
                    }
                    // no nonce was used up, and alice can call from another address
                    assert_eq!(world.authorizer.remembered_nonces().0, 0);
                    let answered = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
                    assert!(world.send(&answered, OUTSIDE).is_accept());
                }
            }
        }
    }
}

/// Checks the transcript that all others are compared with.
fn check_transcript(answers: &[String], wrong_answer: WrongAnswer) {
    let burst = BURST as usize;
    let (live, foreign) = answers.split_at(burst + 10);
    let wrong = match wrong_answer {
        WrongAnswer::Reject => "SIP/2.0 403 Forbidden\r\nError: 32202 wrong-credentials\r\n",
        WrongAnswer::Challenge => "SIP/2.0 407 Proxy Authentication Required\r\nProxy-",
    };
    // past the limit, right and wrong passwords get the same answer
    for answer in live {
        assert!(answer.starts_with(wrong) && !answer.contains("stale"), "{answer}");
        assert_eq!(answer, &live[0]);
    }
    for (number, answer) in foreign.iter().enumerate() {
        assert!(answer.starts_with("SIP/2.0 407"), "{answer}");
        assert_eq!(answer.contains("stale=true"), number < 8, "{number}: {answer}");
    }
}

#[test]
fn case_29_one_password_tried_at_many_names() {
    let limit = |burst: u32| GuessRate {
        burst: burst.try_into().unwrap(),
        refill_ms: 3_600_000.try_into().unwrap(),
    };
    let try_names = |any_name| {
        let guesses = NO_LIMIT().with_any_name(any_name);
        let world = World::with_policy(Policy::default().with_guesses(guesses));
        let tries = |name: &str, password: &str, source: &str| {
            let request = Request::to(HOST);
            world.send(&world.answered(&request, source, name, password), source)
        };
        let of_one = (0..20).map(|n| rejected(tries(&format!("name{n}"), "Summer2026!", OUTSIDE)));
        let of_one: Vec<_> = of_one.collect();
        // past the limit, right and wrong passwords look alike; other sources are unaffected
        let alice = tries("alice", PASSWORD, OUTSIDE);
        accepted(tries("alice", PASSWORD, "203.0.113.77:5060"));
        (of_one, alice)
    };
    let (reasons, alice) = try_names(None);
    assert!(reasons.iter().all(|reason| *reason == Reason::WrongCredentials));
    accepted(alice);
    let (reasons, alice) = try_names(Some(limit(7)));
    let (looked_at, others) = reasons.split_at(7);
    assert!(looked_at.iter().all(|reason| *reason == Reason::WrongCredentials));
    assert!(others.iter().all(|reason| *reason == Reason::TooManyGuesses));
    assert_eq!(rejected(alice), Reason::TooManyGuesses);
}

#[test]
fn case_29_past_the_limits_every_form_gets_the_same_answer() {
    let rate =
        GuessRate { burst: BURST.try_into().unwrap(), refill_ms: 3_600_000.try_into().unwrap() };
    let policy = Policy::default().with_allow_rfc2069(true).with_guesses(
        GuessPolicy::default().with_pair(rate).with_name(Some(rate)).with_any_name(Some(rate)),
    );
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let world = world_of_strangers(&policy, true).over(transport);
        let expected = transcript(&world, 0, false);
        check_transcript(&expected, WrongAnswer::Reject);
        for (stranger, (name, _, why)) in STRANGERS.iter().enumerate().skip(1) {
            // users with the same name share its limit, so compare only the first of each name
            if STRANGERS[..stranger].iter().all(|(earlier, ..)| earlier != name) {
                assert_eq!(transcript(&world, stranger, false), expected, "{why} {transport:?}");
            }
        }
        // without qop (RFC 2069), all get the same answer too
        let old_form = |name: &str, password: &str, source: &str| {
            let request = Request::to(OTHER_HOST);
            let challenge = world.challenge(&request, source);
            let mut header = Header::answer(&challenge.values[0], &request, name, password);
            header.inner.qop = None;
            header.sign();
            on_the_wire(&world.send(&request.with(&header.text()), source))
        };
        let expected = old_form("bob", "wrong", "203.0.113.100:1");
        assert_eq!(expected, "SIP/2.0 403 Forbidden\r\nError: 32202 wrong-credentials\r\n");
        for name in ["alice", "carol", "nobody", "dave"] {
            assert_eq!(old_form(name, PASSWORD, "203.0.113.101:1"), expected, "{name}");
        }
        assert!(old_form("bob", PASSWORD, "203.0.113.102:1").starts_with("SIP/2.0 200"));
    }
}

#[test]
fn case_29_the_hash_of_a_decoy_never_authenticates() {
    // a client that knows one password claims names that are unknown, disabled, or in another list:
    // if another user's hash is the decoy, a match with it must not be accepted
    for algorithm in Algorithm::ALL {
        for userhash in [false, true] {
            let policy = offering(&[algorithm]).with_userhash(userhash).with_guesses(NO_LIMIT());
            let world = World::with_policy(policy);
            let mut request = Request::to(HOST);
            let challenge = world.challenge(&request, OUTSIDE);
            let by_alice = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
            let others = (0..40).map(|n| format!("nobody{n}"));
            for name in others.chain(["carol", "bob", "Alice"].map(str::to_owned)) {
                let claimed = match userhash {
                    true => by_alice.inner.algorithm.hash_str(&format!("{name}:{REALM}")),
                    false => name.clone(),
                };
                let text = by_alice.text_with("username", &format!("\"{claimed}\""));
                request = request.next();
                let reason = rejected(world.send(&request.clone().with(&text), OUTSIDE));
                assert_eq!(reason, Reason::WrongCredentials, "{name} {algorithm}");
            }
            assert_eq!(world.authorizer.remembered_nonces().0, 0);
            assert!(world.send(&request.next().with(&by_alice.text()), OUTSIDE).is_accept());
        }
    }
}

#[test]
fn case_29_logged_reasons_show_the_limit_but_not_the_user() {
    let world = World::with_policy(Policy::default().with_guesses(NO_LIMIT()));
    let mut request = Request::to(HOST);
    for (name, password, why) in &STRANGERS[..7] {
        request = request.next();
        let answered = world.answered(&request, OUTSIDE, name, password);
        let Decision::Reject(reject) = world.send(&answered, OUTSIDE) else { panic!("{why}") };
        assert_eq!(reject.target, Some(domain(HOST).into()));
        assert_eq!(reject.reason, Reason::WrongCredentials, "{why}");
    }
}

#[test]
fn case_26_a_snapshot_with_a_user_twice_is_not_loaded() {
    let refused = Snapshot::empty().apply(&{
        let mut commit = Commit::new();
        commit.put(Record::Credential(user(LIST, "alice", PASSWORD)));
        commit
    });
    assert!(refused.is_err(), "a user without its list");
    let world = World::new();
    let mut twin = user(LIST, "alice", "Another-Horse-8");
    twin.sid = credential(LIST, "twin");
    let mut commit = Commit::new();
    commit.put(Record::Credential(twin));
    let error = world.authorizer.apply(&commit).unwrap_err().to_string();
    assert!(error.contains("the user name `alice` is taken"), "{error}");
    let answered = world.answered(&Request::to(HOST), OUTSIDE, "alice", "Another-Horse-8");
    assert_eq!(rejected(world.send(&answered, OUTSIDE)), Reason::WrongCredentials);
}
