//! Hostile cases 8 and 9: several credentials headers in one request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use md5::{Digest, Md5};
use sip_authz::digest::MalformedCredentials::Missing;
use sip_authz::digest::Parameter;
use sip_authz::digest::{GuessRate, HashFunction};
use sip_authz::model::{AlgorithmOffer, Credential, GuessPolicy, Ha1Set, Policy, Record};
use sip_authz::{CredentialsField, Invite, Reason, Transport};
use sip_authz_testing::kit::*;
use sip_authz_testing::probes::*;

/// A header of case 8.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// An expired nonce with a correct digest.
    Stale,
    /// A live nonce with a digest made for an expired nonce.
    Junk,
    /// A live nonce with a correct digest.
    Right,
    /// Empty nonce and response.
    Empty,
}

const KINDS: [Kind; 4] = [Kind::Stale, Kind::Junk, Kind::Right, Kind::Empty];

#[test]
fn case_08_freshness_and_digest_come_from_one_header_in_any_order() {
    let mut world = World::with_policy(boundless());
    let pairs = KINDS.iter().flat_map(|a| KINDS.map(|b| vec![*a, b]));
    let triples = pairs.clone().flat_map(|pair| KINDS.map(|c| [&pair[..], &[c]].concat()));
    for order in pairs.chain(triples).collect::<Vec<_>>() {
        let request = new_request();
        let stale: Vec<_> = order.iter().map(|_| answer(&world, &request, OUTSIDE)).collect();
        world.sleep(Duration::from_secs(61));
        let fresh: Vec<_> = order.iter().map(|_| answer(&world, &request, OUTSIDE)).collect();
        let texts =
            order.iter().zip(stale.iter().zip(&fresh)).map(|(kind, (stale, fresh))| match kind {
                Kind::Stale => stale.text(),
                Kind::Junk => fresh.text_with("response", &format!("\"{}\"", stale.inner.response)),
                Kind::Right => fresh.text(),
                Kind::Empty => fresh.text_with("response", "\"\"").replace(&fresh.inner.nonce, ""),
            });
        let request = texts.fold(request, |request, text| request.with(&text));
        let decision = world.send(&request, OUTSIDE);

        // of several live nonces for one algorithm, the newest counts
        let live = order.iter().rposition(|kind| matches!(kind, Kind::Junk | Kind::Right));
        let right = live.filter(|at| order[*at] == Kind::Right);
        if let Some(right) = right {
            let accept = accepted(decision);
            assert_eq!(accept.credential.unwrap().header.index, right, "{order:?}");
        } else if order.contains(&Kind::Stale) {
            assert!(challenged(decision), "{order:?}");
        } else if order.contains(&Kind::Junk) {
            wrong(decision);
        } else {
            assert!(!challenged(decision), "{order:?}");
        }
        // of the fresh nonces, only that one is used up
        for (at, header) in fresh.iter().enumerate() {
            let decision = world.send(&new_request().with(&header.text()), OUTSIDE);
            assert_eq!(decision.is_accept(), Some(at) != right, "{order:?} {at}");
        }
    }
}

#[test]
fn case_08_each_wrong_header_counts_and_a_stale_one_does_not() {
    let policy = counting().with_algorithms(AlgorithmOffer::MD5_FIRST);
    let mut world = World::with_policy(policy);
    let request = new_request();
    let stale = answer(&world, &request, OUTSIDE);
    world.sleep(Duration::from_secs(61));
    let values = world.challenge(&request, OUTSIDE).values;
    let junk = |value: &str| {
        Header::answer(value, &request, "alice", PASSWORD).text_with("response", "\"0\"")
    };
    let (first, second) = (junk(&values[0]), junk(&values[1]));
    let request = request.with(&first).with(&stale.text()).with(&second);
    for _ in 0..3 {
        assert!(challenged(world.send(&request, OUTSIDE)));
    }
    assert_eq!(attempts(&world, OUTSIDE), 2, "and a retransmission is not counted again");
}

/// A user without a SHA-256 hash.
fn dave() -> Credential {
    let (name, realm) = ("dave".parse().unwrap(), REALM.parse().unwrap());
    let md5 = hex::encode(Md5::digest(format!("dave:{REALM}:{PASSWORD}")));
    let ha1 = Ha1Set::from_hex(&name, &realm, [(HashFunction::Md5, md5.as_str())]).unwrap();
    Credential::new(credential(LIST, "dave"), list(LIST), name, ha1)
}

#[test]
fn case_08_unanswerable_wrong_headers_are_refunded() {
    // the policy offers MD5 and SHA-256; dave has no SHA-256 hash
    let policy = limited(3).with_algorithms(AlgorithmOffer::MD5_FIRST);
    let world = World::with_policy(policy);
    world.put(Record::Credential(dave()));
    // a wrong SHA-256 header followed by a right one, in response to one answer (whose challenges
    // share a nonce) or to two
    let both = |wrong: &str, right: &str, one_answer: bool| {
        let request = new_request();
        let first = world.challenge(&request, OUTSIDE).values;
        let second =
            if one_answer { first.clone() } else { world.challenge(&request, OUTSIDE).values };
        assert!(first[1].contains("algorithm=SHA-256,"), "{}", first[1]);
        let wrong = Header::answer(&first[1], &request, wrong, "not what is stored");
        let right = Header::answer(&second[0], &request, right, PASSWORD);
        request.with(&wrong.text()).with(&right.text())
    };
    // with another nonce, the wrong header counts as a guess
    accepted(world.send(&both("dave", "dave", false), OUTSIDE));
    for _ in 0..20 {
        let request = both("dave", "dave", true);
        // an explanation and a retransmission neither count nor refund
        let (bytes, source) = (request.bytes(), OUTSIDE.parse().unwrap());
        let invite = Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
        assert!(world.authorizer.explain(&invite, world.start).decision.is_accept());
        let accept = accepted(world.send(&request, OUTSIDE));
        assert_eq!((accept.credential.unwrap().header.index, accept.repeat), (1, false));
        assert!(accepted(world.send(&request, OUTSIDE)).repeat);
    }
    for _ in 0..5 {
        accepted(world.send(&both("dave", "dave", true), OUTSIDE));
    }
    // for a stored hash, and for another name, the wrong header counts as a guess too
    accepted(world.send(&both("alice", "alice", true), OUTSIDE));
    for _ in 0..2 {
        accepted(world.send(&both("bob", "alice", true), OUTSIDE));
    }
    assert_eq!(pair_left(&world, "dave", OUTSIDE), 3 - 1);
    assert_eq!(pair_left(&world, "alice", OUTSIDE), 3 - 1);
    assert_eq!(pair_left(&world, "bob", OUTSIDE), 3 - 2);
}

#[test]
fn case_08_refunds_do_not_fill_an_empty_limit() {
    let any_name = GuessRate {
        burst: 3.try_into().unwrap(),
        refill_ms: Policy::MAX_GUESS_REFILL_MS.try_into().unwrap(),
    };
    let policy = Policy::default()
        .with_guesses(GuessPolicy::default().with_any_name(Some(any_name)))
        .with_algorithms(AlgorithmOffer::MD5_FIRST);
    let world = World::with_policy(policy);
    world.put(Record::Credential(dave()));
    let call = || {
        let request = new_request();
        let values = world.challenge(&request, OUTSIDE).values;
        let wrong = Header::answer(&values[1], &request, "dave", "not what is stored");
        let right = Header::answer(&values[0], &request, "dave", PASSWORD);
        accepted(world.send(&request.with(&wrong.text()).with(&right.text()), OUTSIDE));
    };
    let guess = |name: &str| {
        let request = world.answered(&new_request(), OUTSIDE, name, "a guess");
        rejected(world.send(&request, OUTSIDE))
    };
    call();
    for name in ["one", "two", "three"] {
        assert_eq!(guess(name), Reason::WrongCredentials, "{name}");
    }
    // his flow proved his password, so his calls are verified
    for number in 0..10 {
        call();
        assert_eq!(guess(&format!("name{number}")), Reason::TooManyGuesses);
    }
}

#[test]
fn case_09_other_realms_and_schemes_before_ours() {
    let world = World::with_policy(counting());
    let foreign = [
        "Digest username=\"alice\", realm=\"other.example\", nonce=\"n\", uri=\"sip:x\", response=\"0\"",
        "Digest realm=\"other.example\", nonce=\"n\", nonce=\"m\", response=\"\\",
        "Digest username=\"unclosed",
        "Digest",
        "Basic YWxpY2U6eA==",
        "NTLM realm=\"example.com\", nonce=\"\", response=\"\"",
        "=,=;\"",
        "",
    ];
    let lines = |text: &str| {
        ["Proxy-Authorization", "Authorization"].map(|name| format!("{name}: {text}").into_bytes())
    };
    for text in foreign {
        for (line, other) in lines(text).into_iter().zip(lines(foreign[0])) {
            let bare = new_request().with_line(&line).with_line(&other);
            assert!(!challenged(world.send(&bare, OUTSIDE)), "{text}");
            let request = new_request();
            let header = answer(&world, &request, OUTSIDE);
            let request = request.with_line(&line).with(&header.text()).with_line(&other);
            let used = accepted(world.send(&request, OUTSIDE)).credential.unwrap().header;
            assert_eq!((used.field, used.index), (CredentialsField::ProxyAuthorization, 1));
        }
    }
    // a header for our realm after them is verified as usual
    let request = new_request();
    let header = answer(&world, &request, OUTSIDE);
    let bad = request.clone().with(foreign[0]).with(&header.text_with("response", "\"0\""));
    wrong(world.send(&bad, OUTSIDE));
    let bad = request.with(foreign[0]).with(&header.text_without("uri"));
    assert_eq!(malformed(world.send(&bad, OUTSIDE)), Missing(Parameter::Uri));
    assert_eq!(attempts(&world, OUTSIDE), 1);
}

#[test]
fn case_09_several_credentials_in_one_header() {
    let world = World::with_policy(counting());
    let foreign = "Digest username=\"alice\", realm=\"other.example\", nonce=\"n\", response=\"0\"";
    let junk = |world: &World| {
        answer(world, &new_request(), OUTSIDE)
            .text_with("response", "\"0\"")
            .replace("alice", "eve")
    };
    let other = format!("NTLM x=\", {foreign}\"");
    for separator in [", ", ",", " ,\r\n\t", ",,"] {
        for before in [
            vec![foreign.to_owned()],
            vec!["Basic YWxpY2U6eA==".to_owned()],
            vec![other.clone(), foreign.to_owned()],
            vec![junk(&world)],
        ] {
            for ours_first in [false, true] {
                let right = answer(&world, &new_request(), OUTSIDE).text();
                let mut parts = before.clone();
                parts.insert(if ours_first { 0 } else { parts.len() }, right);
                let request = new_request().with(&parts.join(separator));
                let used = accepted(world.send(&request, OUTSIDE)).credential.unwrap().header;
                assert_eq!(used.index, 0, "{parts:?}");
                stale(world.send(&new_request().with(&parts.join(separator)), OUTSIDE));
            }
        }
    }
    // eight of ours are judged, nine are not, wherever they stand
    let right = answer(&world, &new_request(), OUTSIDE).text();
    for (joined, beside) in [(8, 0), (4, 4)] {
        let header = |count: usize| vec![junk(&world); count].join(", ");
        let request = new_request().with(&format!("{}, {right}", header(joined)));
        let request = (0..beside).fold(request, |request, _| request.with(&junk(&world)));
        assert_eq!(rejected(world.send(&request, OUTSIDE)), Reason::TooManyCredentials);
    }
    accepted(world.send(&new_request().with(&right), OUTSIDE));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}
