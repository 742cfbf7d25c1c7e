//! Round trips of every digest form that a policy can require, with the crate `digest_auth` as
//! client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use sip_authz::digest::{Algorithm, Qop};
use sip_authz::model::{AlgorithmOffer, ChallengeKind, Policy, QopOffer, UriCheck};
use sip_authz::{CredentialsField, Decision, Reason, Transport};
use sip_authz_testing::kit::*;

const SDP: &[u8] = b"v=0\r\no=alice 1 1 IN IP4 192.0.2.7\r\n\0\xff";

/// The client's own header value for a challenge value.
fn respond(prompt: &mut WwwAuthenticateHeader, request: &Request, password: &str) -> String {
    let context = AuthContext::new_with_method(
        "alice",
        password,
        request.uri.clone(),
        Some(request.body.as_slice()),
        HttpMethod(Cow::Borrowed("INVITE")),
    );
    prompt.respond(&context).unwrap().to_header_string()
}

fn prompt(value: &str) -> WwwAuthenticateHeader {
    WwwAuthenticateHeader::parse(value).unwrap()
}

/// alice's first header for `request`, in response to the first challenge.
fn first_header(world: &World, request: &Request) -> Header {
    Header::answer(&world.challenge(request, OUTSIDE).values[0], request, "alice", PASSWORD)
}

/// Two calls on one challenge, a replay of each, a wrong password and a changed body.
fn round_trip(policy: Policy, qop: Qop) {
    let algorithm = policy.algorithms.iter().next().unwrap();
    let userhash = policy.userhash;
    let world = World::with_policy(policy);
    let mut request = Request { body: SDP.to_vec(), ..Request::to(HOST) };
    let challenge = world.challenge(&request, OUTSIDE);
    let [value] = &challenge.values[..] else { panic!("{challenge:?}") };
    let mut client = prompt(value);
    assert_eq!(client.algorithm.to_string(), algorithm.name());
    let offered: Vec<_> = client.qop.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(offered, [qop.name()]);
    assert_eq!((client.userhash, client.stale), (userhash, false));
    assert_eq!(client.nonce.len(), 22);

    for nc in ["00000001", "00000002"] {
        request = request.next();
        let text = respond(&mut client, &request, PASSWORD);
        assert!(
            text.contains(&format!("nc={nc}")) && text.contains(&format!("qop={}", qop.name()))
        );
        assert_eq!(text.contains("alice"), !userhash, "{text}");
        let sent = request.clone().with(&text);
        let changed = Request { body: b"v=0\r\n".to_vec(), ..sent.clone() };
        if qop == Qop::AuthInt {
            assert_eq!(rejected(world.send(&changed, OUTSIDE)), Reason::WrongCredentials);
        }
        let accept = accepted(world.send(&sent, OUTSIDE));
        assert!(!accept.repeat);
        assert_eq!(&*accept.credential.unwrap().username, "alice");
        assert!(accepted(world.send(&sent, OUTSIDE)).repeat);
        // another transaction with the same credentials
        assert!(challenged(world.send(&request.next().with(&text), OUTSIDE)));
    }
    request = request.next();
    let text = respond(&mut client, &request, "Wrong-Horse-7");
    let decision = world.send(&request.with(&text), OUTSIDE);
    assert_eq!(rejected(decision), Reason::WrongCredentials);
}

#[test]
fn each_algorithm_with_each_qop_with_and_without_userhash() {
    for algorithm in Algorithm::ALL {
        for (offer, qop) in [(QopOffer::Auth, Qop::Auth), (QopOffer::AuthInt, Qop::AuthInt)] {
            for userhash in [false, true] {
                round_trip(offering(&[algorithm]).with_qop(offer).with_userhash(userhash), qop);
            }
        }
    }
}

/// Usual texts are hashed in a buffer of four blocks, longer ones in a larger one. Around the bound no
/// length is taken for one that fits.
#[test]
fn values_of_each_length_around_four_blocks_are_hashed_whole() {
    // the bounds of a client nonce and of a digest-uri, for hashes of 64 and of 32 digits
    let cnonces = [76, 140].into_iter().flat_map(|bound| bound - 4..bound + 5);
    let uris = [175, 207].into_iter().flat_map(|bound| bound - 4..bound + 5);
    let lengths: Vec<(usize, usize)> =
        cnonces.map(|length| (length, 20)).chain(uris.map(|length| (16, length))).collect();
    for algorithm in Algorithm::ALL {
        let policy = offering(&[algorithm]).with_qop(QopOffer::AuthInt);
        let world = World::with_policy(policy.with_uri_check(UriCheck::Off));
        let mut request = Request::to(HOST);
        let header = first_header(&world, &request);
        for (nc, (cnonce, uri)) in (1..).zip(&lengths) {
            request = request.next();
            let mut header = header.clone();
            header.inner.cnonce = Some("c".repeat(*cnonce));
            header.inner.uri = "u".repeat(*uri);
            accepted(world.send(&request.clone().with(&header.with_nc(nc).text()), OUTSIDE));
        }
    }
}

#[test]
fn an_offer_of_both_qops_takes_either() {
    for algorithm in Algorithm::ALL {
        let world = World::with_policy(offering(&[algorithm]).with_qop(QopOffer::Both));
        let request = Request { body: SDP.to_vec(), ..Request::to(HOST) };
        let values = world.challenge(&request, OUTSIDE).values;
        // this client prefers auth-int if offered; the helper uses auth
        let text = respond(&mut prompt(&values[0]), &request, PASSWORD);
        assert!(text.contains("qop=auth-int"));
        accepted(world.send(&request.clone().with(&text), OUTSIDE));
        let header = Header::answer(&values[0], &request, "alice", PASSWORD).with_nc(2);
        assert!(header.text().contains("qop=auth,"));
        accepted(world.send(&request.next().with(&header.text()), OUTSIDE));
    }
}

#[test]
fn a_qop_that_was_not_offered_is_wrong() {
    for (offer, other) in
        [(QopOffer::Auth, digest_auth::Qop::AUTH_INT), (QopOffer::AuthInt, digest_auth::Qop::AUTH)]
    {
        let world = World::with_policy(Policy::default().with_qop(offer));
        let request = Request::to(HOST);
        let mut header = first_header(&world, &request);
        header.inner.qop = Some(other);
        header.sign();
        let decision = world.send(&request.with(&header.text()), OUTSIDE);
        assert_eq!(rejected(decision), Reason::WrongCredentials);
    }
}

#[test]
fn userhash_counts_only_where_it_is_offered() {
    for userhash in [false, true] {
        let world = World::with_policy(Policy::default().with_userhash(userhash));
        let request = Request::to(HOST);
        let mut header = first_header(&world, &request);
        // the plain name is always accepted
        header.inner.userhash = false;
        header.sign();
        accepted(world.send(&request.clone().with(&header.text()), OUTSIDE));
        header.inner.userhash = true;
        let header = header.with_nc(2);
        let decision = world.send(&request.next().with(&header.text()), OUTSIDE);
        assert_eq!(decision.is_accept(), userhash);
    }
}

#[test]
fn the_form_of_rfc_2069_where_it_is_admitted() {
    for allow_rfc2069 in [false, true] {
        let world = World::with_policy(Policy::default().with_allow_rfc2069(allow_rfc2069));
        let request = Request::to(HOST);
        let mut client = prompt(&world.challenge(&request, OUTSIDE).values[0]);
        client.qop = None;
        let text = respond(&mut client, &request, PASSWORD);
        assert!(!text.contains("qop") && !text.contains("nc=") && !text.contains("algorithm"));
        let decision = world.send(&request.clone().with(&text), OUTSIDE);
        if !allow_rfc2069 {
            assert_eq!((decision.status(), rejected(decision)), (400, Reason::QopMissing));
            continue;
        }
        assert!(!accepted(decision).repeat);
        assert!(accepted(world.send(&request.clone().with(&text), OUTSIDE)).repeat);
        // accepted once: the next response on this nonce is identical
        let text = respond(&mut client, &request, PASSWORD);
        assert!(challenged(world.send(&request.next().with(&text), OUTSIDE)));

        let mut client = prompt(&world.challenge(&request, OUTSIDE).values[0]);
        client.qop = None;
        let text = respond(&mut client, &request, "wrong");
        let decision = world.send(&request.next().with(&text), OUTSIDE);
        assert_eq!(rejected(decision), Reason::WrongCredentials);
    }
    // MD5 only
    for algorithm in [Algorithm::Md5Sess, Algorithm::Sha256, Algorithm::Sha512_256Sess] {
        let policy = offering(&[Algorithm::Md5, algorithm]);
        let world = World::with_policy(policy.with_allow_rfc2069(true));
        let request = Request::to(HOST);
        let mut client = prompt(&world.challenge(&request, OUTSIDE).values[1]);
        client.qop = None;
        let mut text = respond(&mut client, &request, PASSWORD);
        // this client omits the algorithm parameter for MD5-sess as for MD5
        if !text.contains("algorithm") {
            text = format!("{text}, algorithm={algorithm}");
        }
        let decision = world.send(&request.with(&text), OUTSIDE);
        assert_eq!(decision.status(), 400, "{algorithm}");
    }
}

#[test]
fn presets_in_their_order_and_any_pick_of_them() {
    for (offer, expected) in [
        (AlgorithmOffer::MD5_ONLY, &["MD5"][..]),
        (AlgorithmOffer::MD5_FIRST, &["MD5", "SHA-256"]),
        (AlgorithmOffer::SHA256_FIRST, &["SHA-256", "MD5"]),
        (AlgorithmOffer::STRONGEST_FIRST, &["SHA-512-256", "SHA-256", "MD5"]),
        (AlgorithmOffer::new(Algorithm::ALL).unwrap(), &Algorithm::ALL.map(Algorithm::name)),
    ] {
        let world = World::with_policy(Policy::default().with_algorithms(offer));
        let request = Request::to(HOST);
        let values = world.challenge(&request, OUTSIDE).values;
        let names: Vec<_> =
            values.iter().map(|value| prompt(value).algorithm.to_string()).collect();
        assert_eq!(names, expected);
        assert!(values.iter().all(|value| prompt(value).nonce == prompt(&values[0]).nonce));

        // a client that answers any one challenge
        let mut next = request.clone();
        for value in &values {
            next = next.next();
            let fresh = world.challenge(&next, OUTSIDE);
            let at = values.iter().position(|other| other == value).unwrap();
            let text = respond(&mut prompt(&fresh.values[at]), &next, PASSWORD);
            accepted(world.send(&next.clone().with(&text), OUTSIDE));
        }
        // a client that answers all challenges: they share a nonce and count, so they are accepted
        // once
        let headers: Vec<_> =
            values.iter().map(|value| respond(&mut prompt(value), &request, PASSWORD)).collect();
        let all = headers.iter().fold(next.next(), |request, text| request.with(text));
        assert_eq!(accepted(world.send(&all, OUTSIDE)).credential.unwrap().header.index, 0);
        let again = headers.iter().fold(next.next().next(), |request, text| request.with(text));
        assert!(challenged(world.send(&again, OUTSIDE)));
        // one right header is enough, at any position
        let values = world.challenge(&request, OUTSIDE).values;
        let mut one = next.next().next().next();
        for (at, value) in values.iter().enumerate() {
            let password = if at + 1 == values.len() { PASSWORD } else { "wrong" };
            one = one.with(&respond(&mut prompt(value), &request, password));
        }
        let used = accepted(world.send(&one, OUTSIDE)).credential.unwrap().header;
        assert_eq!(used.index, values.len() - 1);
    }
}

#[test]
fn an_algorithm_that_was_not_offered_is_wrong() {
    for offered in Algorithm::ALL {
        let world = World::with_policy(offering(&[offered]));
        for other in Algorithm::ALL.into_iter().filter(|other| *other != offered) {
            let request = Request::to(HOST);
            let mut client = prompt(&world.challenge(&request, OUTSIDE).values[0]);
            client.algorithm = other.name().parse().unwrap();
            let text = respond(&mut client, &request, PASSWORD);
            let decision = world.send(&request.with(&text), OUTSIDE);
            assert_eq!(rejected(decision), Reason::WrongCredentials, "{offered} {other}");
        }
    }
}

#[test]
fn challenges_as_proxy_and_as_server() {
    for (kind, status, name) in [
        (ChallengeKind::Proxy, 407, "Proxy-Authenticate"),
        (ChallengeKind::Server, 401, "WWW-Authenticate"),
    ] {
        let world = World::with_policy(Policy::default().with_challenge(kind));
        let mut request = Request::to(HOST);
        // both header names are accepted for either kind of challenge
        for (line, field) in [
            ("Proxy-Authorization", CredentialsField::ProxyAuthorization),
            ("Authorization", CredentialsField::Authorization),
        ] {
            request = request.next();
            let challenge = world.challenge(&request, OUTSIDE);
            assert_eq!((challenge.status(), challenge.header_name()), (status, name));
            let text = respond(&mut prompt(&challenge.values[0]), &request, PASSWORD);
            let sent = request.clone().with_line(format!("{line}: {text}").as_bytes());
            let accept = accepted(world.send(&sent, OUTSIDE));
            assert_eq!(accept.credential.unwrap().header.field, field);
            let stale = world.send(&Request { cseq: 1, ..sent }, OUTSIDE);
            assert_eq!(stale.status(), status);
            assert!(challenged(stale));
        }
    }
}

#[test]
fn the_from_user_must_be_the_authenticated_one_where_the_policy_asks() {
    for (from, matches) in [
        ("Alice <sip:alice@example.com>;tag=1", true),
        ("\"bob\" <sips:alice@elsewhere.example:5070;user=phone>;tag=1", true),
        ("sip:%61lice@example.com;tag=1", true),
        ("<sip:alice:secret@example.com>", true),
        ("<sip:Alice@example.com>;tag=1", false),
        ("<sip:bob@example.com>;tag=1", false),
        ("\"alice\" <sip:bob@example.com>;tag=alice", false),
        ("\"<sip:alice@example.com>\" <sip:bob@example.com>", false),
        ("<sip:example.com>;tag=1", false),
        ("<sip:alice%00@example.com>;tag=1", false),
        ("<tel:alice>;tag=1", false),
        ("alice", false),
        ("<sip:alice@example.com>,<sip:bob@example.com>", false),
    ] {
        for from_must_match in [true, false] {
            let world = World::with_policy(Policy::default().with_from_must_match(from_must_match));
            let request = Request { from: from.to_owned(), ..Request::to(HOST) };
            let request = world.answered(&request, OUTSIDE, "alice", PASSWORD);
            // a retransmission gets the same decision
            for repeat in [false, true] {
                match world.send(&request, OUTSIDE) {
                    Decision::Accept(accept) => {
                        assert!(matches || !from_must_match, "{from}");
                        assert_eq!(accept.repeat, repeat);
                        assert_eq!(&*accept.credential.unwrap().username, "alice");
                    }
                    other => {
                        assert!(!matches && from_must_match, "{from}");
                        assert_eq!(other.status(), 403);
                        assert_eq!(rejected(other), Reason::FromMismatch);
                    }
                }
            }
        }
    }
}

#[test]
fn a_wrong_password_is_reported_before_a_wrong_from() {
    let world = World::with_policy(Policy::default().with_from_must_match(true));
    let request = Request { from: "<sip:bob@example.com>;tag=1".to_owned(), ..Request::to(HOST) };
    let request = world.answered(&request, OUTSIDE, "alice", "wrong");
    assert_eq!(rejected(world.send(&request, OUTSIDE)), Reason::WrongCredentials);
}

#[test]
fn a_nonce_that_is_bound_to_no_source_serves_from_anywhere() {
    for bind_source in [true, false] {
        let world = World::with_policy(Policy::default().with_bind_source(bind_source));
        let request = Request::to(HOST);
        let header = first_header(&world, &request);
        for (nc, source) in [(1, INSIDE), (2, "[2001:db8::1]:5060"), (3, "198.51.100.7:1")] {
            let text = header.clone().with_nc(nc).text();
            let decision = world.send(&request.clone().with(&text), source);
            if bind_source && nc < 3 {
                assert!(challenged(decision), "{source}");
            } else {
                assert!(!accepted(decision).repeat, "{source}");
            }
        }
        // bound or not, a count is accepted once
        let text = header.with_nc(3).text();
        assert!(challenged(world.send(&request.next().with(&text), INSIDE)));
    }
}

#[test]
fn a_nonce_lives_as_long_as_the_policy_says() {
    for nonce_lifetime in [1, 60, 3_600, Policy::MAX_NONCE_LIFETIME] {
        let policy = Policy::default().with_nonce_lifetime(nonce_lifetime);
        let mut world = World::with_policy(policy.clone()).over(Transport::Tcp);
        // nonce age is measured in whole seconds, from the second of issue
        world.sleep(Duration::from_millis(5_999));
        let request = Request::to(HOST);
        let header = first_header(&world, &request);
        let send = |world: &World, nc| {
            let header = header.clone().with_nc(nc);
            world.send(&request.clone().with(&header.text()), OUTSIDE)
        };
        accepted(send(&world, 1));
        world.now = Duration::from_millis(5_999) + Duration::from_secs(nonce_lifetime.into());
        accepted(send(&world, 2));
        world.sleep(Duration::from_millis(1));
        assert!(challenged(send(&world, 3)));
        world.sleep(Duration::from_secs(100_000));
        assert!(challenged(send(&world, 3)));
        // a changed lifetime applies to nonces issued before, longer or shorter
        let nonce_lifetime = Policy::MAX_NONCE_LIFETIME;
        let header = first_header(&world, &request);
        world.sleep(Duration::from_secs(80_000));
        world.put(policy_of(HOST, policy.clone().with_nonce_lifetime(nonce_lifetime)));
        accepted(world.send(&request.clone().with(&header.text()), OUTSIDE));
        world.put(policy_of(HOST, policy.with_nonce_lifetime(60)));
        let decision = world.send(&request.clone().with(&header.with_nc(2).text()), OUTSIDE);
        assert!(challenged(decision));
    }
}
