//! Hostile cases 21 to 25: algorithm, session, body and digest-uri.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use digest_auth::{Algorithm as ClientAlgorithm, Qop as ClientQop};
use sha2::{Digest, Sha512, Sha512_256};
use sip_authz::digest::{Algorithm, GuessRate, MalformedCredentials, Parameter};
use sip_authz::model::{GuessPolicy, Policy, QopOffer, UriCheck};
use sip_authz::{Challenge, Reason};
use sip_authz_testing::kit::*;

const SESSIONS: [Algorithm; 3] =
    [Algorithm::Md5Sess, Algorithm::Sha256Sess, Algorithm::Sha512_256Sess];

/// The algorithm in the client crate's type.
fn client(algorithm: Algorithm) -> ClientAlgorithm {
    algorithm.name().parse().unwrap()
}

/// Guess limits with a burst of `burst` and no refill within a test.
fn limited(burst: u32) -> GuessPolicy {
    let rate =
        GuessRate { burst: burst.try_into().unwrap(), refill_ms: 3_600_000.try_into().unwrap() };
    GuessPolicy::default().with_pair(rate)
}

/// Guess limits that no test reaches.
fn lenient(policy: Policy) -> Policy {
    policy.with_guesses(GuessPolicy::default().with_pair(unlimited()))
}

/// The challenge, and alice's correct response to its first value.
fn right_answer(world: &World, request: &Request) -> (Challenge, Header) {
    let challenge = world.challenge(request, OUTSIDE);
    let header = Header::answer(&challenge.values[0], request, "alice", PASSWORD);
    (challenge, header)
}

/// Sends `header`; asserts a wrong-credentials answer and that no nonce was used up.
#[track_caller]
fn assert_wrong(world: &World, request: &Request, header: &str) {
    let reason = rejected(world.send(&request.clone().with(header), OUTSIDE));
    assert_eq!((reason, reason.status()), (Reason::WrongCredentials, 403), "{header}");
    assert_eq!(reason.code(), Some(32_202));
    assert_eq!(world.authorizer.remembered_nonces().0, 0, "{header}");
}

/// Sends `header`; asserts a 400 and that no nonce was used up.
#[track_caller]
fn assert_bad(world: &World, request: &Request, header: &str, expected: Reason) {
    let reason = rejected(world.send(&request.clone().with(header), OUTSIDE));
    assert_eq!((reason, reason.status()), (expected, 400), "{header}");
    assert_eq!(world.authorizer.remembered_nonces().0, 0, "{header}");
}

/// Sends `header`; asserts an accept that uses up a nonce.
#[track_caller]
fn assert_right(world: &World, request: &Request, header: &str) {
    let accept = accepted(world.send(&request.clone().with(header), OUTSIDE));
    assert_eq!(&*accept.credential.unwrap().username, "alice");
    assert_eq!(world.authorizer.remembered_nonces().0, 1, "{header}");
}

#[test]
fn case_21_an_algorithm_that_was_not_offered_is_answered_as_wrong() {
    for offered in Algorithm::ALL {
        for used in Algorithm::ALL {
            let world = World::with_policy(offering(&[offered]));
            let request = Request::to(HOST);
            let (_, mut header) = right_answer(&world, &request);
            if used != offered {
                let right = header.text();
                header.inner.algorithm = client(used);
                header.sign();
                assert_wrong(&world, &request, &header.text());
                // no nonce was used up: the same nonce and count still work with the right
                // algorithm
                assert_right(&world, &request, &right);
            } else {
                assert_right(&world, &request, &header.text());
            }
        }
    }
}

#[test]
fn case_21_a_missing_algorithm_means_md5_even_if_not_offered() {
    let world = World::with_policy(offering(&[Algorithm::Sha256]));
    let request = Request::to(HOST);
    let (_, mut header) = right_answer(&world, &request);
    // without the parameter, a correct SHA-256 response is parsed as MD5, whose responses are
    // shorter
    assert_wrong(&world, &request, &header.text_without("algorithm"));
    let right = header.text();
    header.inner.algorithm = client(Algorithm::Md5);
    header.sign();
    assert_wrong(&world, &request.next(), &header.text_without("algorithm"));
    assert_right(&world, &request, &right);

    let world = World::new();
    let (_, header) = right_answer(&world, &request);
    assert_right(&world, &request, &header.text_without("algorithm"));
}

#[test]
fn case_21_an_algorithm_not_offered_counts_as_a_guess() {
    let policy = offering(&[Algorithm::Sha256]).with_guesses(limited(2));
    let world = World::with_policy(policy);
    let mut request = Request::to(HOST);
    for _ in 0..2 {
        let (_, mut header) = right_answer(&world, &request);
        header.inner.algorithm = client(Algorithm::Md5);
        header.sign();
        assert_wrong(&world, &request, &header.text());
        request = request.next();
    }
    assert_eq!(world.authorizer.guesses_refused(), 0);
    let (_, header) = right_answer(&world, &request);
    let reason = rejected(world.send(&request.with(&header.text()), OUTSIDE));
    assert_eq!(reason, Reason::TooManyGuesses);
    assert_eq!(world.authorizer.guesses_refused(), 1);
}

#[test]
fn case_22_an_unknown_algorithm_is_refused_and_never_md5() {
    let policy = offering(&Algorithm::ALL).with_guesses(limited(1_000));
    let world = World::with_policy(policy);
    let request = Request::to(HOST);
    let (challenge, header) = right_answer(&world, &request);
    let unknown = Reason::MalformedCredentials(MalformedCredentials::UnknownAlgorithm);
    for signed_by in &challenge.values {
        let header = Header::answer(signed_by, &request, "alice", PASSWORD);
        for name in [
            "MD4",
            "SHA",
            "SHA-1",
            "SHA-512",
            "SHA-512/256",
            "SHA512-256",
            "SHA256",
            "MD5-",
            "MD5-ses",
            "MD5-session",
            "MD",
            "M",
            "MD55",
            "xMD5",
            "AKAv1-MD5",
            "SHA-256-sess-sess",
            "token",
            "\"\"",
            "\" MD5\"",
            "\"MD5 \"",
            "\"MD5,SHA-256\"",
            "\"MD\\5x\"",
        ] {
            // a slash is not a token character, so an unquoted one is a syntax error
            let name = if name.contains('/') { format!("\"{name}\"") } else { name.to_owned() };
            assert_bad(&world, &request, &header.text_with("algorithm", &name), unknown);
        }
    }
    assert_eq!(unknown.to_string(), "malformed-credentials (unknown-algorithm)");
    assert_right(&world, &request, &header.text());
}

#[test]
fn case_22_an_unknown_algorithm_is_no_guess() {
    let world = World::with_policy(Policy::default().with_guesses(limited(2)));
    let request = Request::to(HOST);
    let (_, header) = right_answer(&world, &request);
    let unknown = Reason::MalformedCredentials(MalformedCredentials::UnknownAlgorithm);
    for _ in 0..5 {
        assert_bad(&world, &request, &header.text_with("algorithm", "MD6"), unknown);
    }
    // the limit of the name has all its tokens: wrong digests are rejected as wrong, right ones
    // accepted
    let wrong = world.answered(&request.next(), OUTSIDE, "alice", "wrong");
    assert_eq!(rejected(world.send(&wrong, OUTSIDE)), Reason::WrongCredentials);
    assert_right(&world, &request, &header.text());
}

/// The hash function of a hand-made response, in lower-case hexadecimal.
type Hash = fn(&[u8]) -> String;

fn sha512_256(bytes: &[u8]) -> String {
    hex::encode(Sha512_256::digest(bytes))
}

/// SHA-512 truncated to 256 bits, as used for the example of RFC 7616 §3.9.2.
fn sha512_cut(bytes: &[u8]) -> String {
    hex::encode(&Sha512::digest(bytes)[..32])
}

/// Signs with one hash function for HA1 and another for the rest.
fn sign_by_hand(header: &Header, stored: Hash, rest: Hash) -> String {
    let inner = &header.inner;
    let (nonce, cnonce) = (&inner.nonce, inner.cnonce.as_deref().unwrap());
    let a1 = format!("{}:{}:{}", header.username, inner.realm, header.password);
    let mut ha1 = stored(a1.as_bytes());
    if inner.algorithm.sess {
        ha1 = rest(format!("{ha1}:{nonce}:{cnonce}").as_bytes());
    }
    let ha2 = rest(format!("{}:{}", header.method, inner.uri).as_bytes());
    rest(format!("{ha1}:{nonce}:{:08x}:{cnonce}:auth:{ha2}", inner.nc).as_bytes())
}

#[test]
fn case_23_sha_512_256_is_not_truncated_sha_512() {
    for algorithm in [Algorithm::Sha512_256, Algorithm::Sha512_256Sess] {
        let world = World::with_policy(lenient(offering(&[algorithm])));
        let mut request = Request::to(HOST);
        let (_, header) = right_answer(&world, &request);
        let right = sign_by_hand(&header, sha512_256, sha512_256);
        assert_eq!(right, header.inner.response, "two clients agree");
        let functions: [Hash; 2] = [sha512_256, sha512_cut];
        for stored in functions {
            for rest in functions {
                let response = sign_by_hand(&header, stored, rest);
                if response == right {
                    continue;
                }
                let text = header.text_with("response", &format!("\"{response}\""));
                request = request.next();
                assert_wrong(&world, &request, &text);
            }
        }
        // responses that are not 64 digits long are rejected too
        for response in [&right[..32], &right[..63], &format!("{right}0"), &right.repeat(2)] {
            request = request.next();
            let text = header.text_with("response", &format!("\"{response}\""));
            assert_wrong(&world, &request, &text);
        }
        assert_right(&world, &request, &header.text());
    }
}

#[test]
fn case_23_a_user_name_hashed_with_truncated_sha_512_is_unknown() {
    let policy = offering(&[Algorithm::Sha512_256]).with_userhash(true);
    let world = World::with_policy(lenient(policy));
    let request = Request::to(HOST);
    let (_, header) = right_answer(&world, &request);
    assert!(header.inner.userhash);
    assert_eq!(header.inner.username, sha512_256(b"alice:example.com"));
    let cut = format!("\"{}\"", sha512_cut(b"alice:example.com"));
    assert_wrong(&world, &request, &header.text_with("username", &cut));
    assert_right(&world, &request, &header.text());
}

#[test]
fn case_23_a_hashed_user_name_is_unknown_without_userhash() {
    for userhash in [false, true] {
        let policy = offering(&[Algorithm::Sha512_256]).with_userhash(userhash);
        let world = World::with_policy(lenient(policy.clone()));
        // another domain with the same list offers userhash
        world.put(policy_of(BOTH_HOST, policy.with_userhash(true)));
        let request = Request::to(HOST);
        let (_, mut header) = right_answer(&world, &request);
        header.inner.userhash = true;
        header.inner.username = sha512_256(b"alice:example.com");
        if userhash {
            assert_right(&world, &request, &header.text());
        } else {
            assert_wrong(&world, &request, &header.text());
        }
    }
}

#[test]
fn case_24_a_session_key_covers_nonce_and_cnonce() {
    for algorithm in SESSIONS {
        let plain = ClientAlgorithm::new(client(algorithm).algo, false);
        let world = World::with_policy(lenient(offering(&Algorithm::ALL)));
        let mut request = Request::to(HOST);
        let (_, mut header) = right_answer(&world, &request);
        header.inner.algorithm = client(algorithm);
        header.sign();
        let right = header.text();

        // the first hash only, sent under the session name, and vice versa
        let mut other = header.clone();
        other.inner.algorithm = plain;
        other.sign();
        assert_wrong(&world, &request, &other.text_with("algorithm", algorithm.name()));
        let mut renamed = header.clone();
        renamed.inner.algorithm = plain;
        request = request.next();
        assert_wrong(&world, &request, &renamed.text());

        // a session key with another client nonce, such as that of the first request
        let a1 = format!("alice:{REALM}:{PASSWORD}");
        let hash = |text: &str| plain.hash_str(text);
        let (nonce, cnonce) = (&header.inner.nonce, header.inner.cnonce.clone().unwrap());
        let ha2 = hash(&format!("INVITE:{}", header.inner.uri));
        let response = |ha1: &str| {
            let text = format!("{ha1}:{nonce}:00000001:{cnonce}:auth:{ha2}");
            format!("\"{}\"", hash(&text))
        };
        let by_the_book = response(&hash(&format!("{}:{nonce}:{cnonce}", hash(&a1))));
        assert_eq!(by_the_book, format!("\"{}\"", header.inner.response));
        for ha1 in [
            hash(&format!("{}:{nonce}:earlier", hash(&a1))),
            hash(&format!("{}:{nonce}:", hash(&a1))),
            hash(&format!("{a1}:{nonce}:{cnonce}")),
            hash(&format!("{}:{cnonce}:{nonce}", hash(&a1))),
            hash(&format!("{}:{nonce}:{cnonce}", hash(&a1).to_uppercase())),
            // the first hash as raw bytes, a common misreading of RFC 2617
            plain.hash(
                &[hex::decode(hash(&a1)).unwrap(), format!(":{nonce}:{cnonce}").into_bytes()]
                    .concat(),
            ),
        ] {
            request = request.next();
            assert_wrong(&world, &request, &header.text_with("response", &response(&ha1)));
        }

        assert_right(&world, &request, &right);
        let second = request.next().with(&header.clone().with_nc(2).text());
        assert!(world.send(&second, OUTSIDE).is_accept(), "the session's nonce is still accepted");
    }
}

/// Bodies that other implementations hashed wrongly: none, one like a head, binary, multipart,
/// large.
fn bodies() -> Vec<Vec<u8>> {
    let multipart = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n".to_vec();
    let all_bytes: Vec<u8> = (0..=255).collect();
    vec![
        Vec::new(),
        b"\0".to_vec(),
        b"\r\n\r\nProxy-Authorization: x\r\n\r\n".to_vec(),
        [all_bytes.as_slice(), b"\r\n\0\xff"].concat(),
        multipart,
        all_bytes.iter().copied().cycle().take(32_766).collect(),
    ]
}

#[test]
fn case_24_auth_int_covers_the_whole_body() {
    for algorithm in Algorithm::ALL {
        for body in bodies() {
            let policy = offering(&[algorithm]).with_qop(QopOffer::AuthInt);
            let world = World::with_policy(lenient(policy));
            let mut request = Request { body: body.clone(), ..Request::to(HOST) };
            let (_, header) = right_answer(&world, &request);
            assert_eq!(header.inner.qop, Some(ClientQop::AUTH_INT));

            let mut others = vec![[&body[..], b"x"].concat(), [b"\r\n", &body[..]].concat()];
            if !body.is_empty() {
                others.push(Vec::new());
                others.push(body[1..].to_vec());
                others.push(body[..body.len() - 1].to_vec());
                for at in [0, body.len() / 2, body.len() - 1] {
                    let mut changed = body.clone();
                    changed[at] ^= 1;
                    others.push(changed);
                }
            }
            for other in others {
                request = Request { body: other, ..request.next() };
                assert_wrong(&world, &request, &header.text());
            }
            request = Request { body: body.clone(), ..request.next() };
            assert_right(&world, &request, &header.text());
        }
    }
}

#[test]
fn case_24_only_the_bytes_that_content_length_counts_are_body() {
    let policy = Policy::default().with_qop(QopOffer::AuthInt);
    let world = World::with_policy(lenient(policy));
    let request = Request { body: b"v=0\r\n".to_vec(), ..Request::to(HOST) };
    let (_, header) = right_answer(&world, &request);
    let bytes = request.clone().with(&header.text()).bytes();
    // bytes after the body of a datagram are ignored (RFC 3261 §18.3)
    let longer = [&bytes[..], b"m=audio 1 RTP/AVP 0\r\n"].concat();
    assert!(world.try_send(&longer, OUTSIDE).unwrap().is_accept());
    // a truncated body makes the message malformed
    let shorter = &bytes[..bytes.len() - 1];
    assert!(world.try_send(shorter, OUTSIDE).is_err());
    assert_eq!(world.authorizer.remembered_nonces().0, 1);
}

#[test]
fn case_24_qop_must_be_offered_and_match_the_digest() {
    for (offer, qop, passes) in [
        (QopOffer::Auth, ClientQop::AUTH, true),
        (QopOffer::Auth, ClientQop::AUTH_INT, false),
        (QopOffer::AuthInt, ClientQop::AUTH, false),
        (QopOffer::AuthInt, ClientQop::AUTH_INT, true),
        (QopOffer::Both, ClientQop::AUTH, true),
        (QopOffer::Both, ClientQop::AUTH_INT, true),
    ] {
        let world = World::with_policy(Policy::default().with_qop(offer));
        let request = Request { body: b"v=0\r\n".to_vec(), ..Request::to(HOST) };
        let (_, mut header) = right_answer(&world, &request);
        header.inner.qop = Some(qop);
        header.sign();
        // signed with one qop, sent with the other
        let other = if qop == ClientQop::AUTH { "auth-int" } else { "auth" };
        assert_wrong(&world, &request, &header.text_with("qop", other));
        if passes {
            assert_right(&world, &request.next(), &header.text());
        } else {
            assert_wrong(&world, &request.next(), &header.text());
        }
    }
}

/// Request-URI, digest-uri, and whether they match by host, by user and host, and by equivalence.
const URIS: [(&str, &str, [bool; 3]); 24] = [
    ("sip:100@digest.example.com", "sip:100@digest.example.com", [true, true, true]),
    ("sip:100@digest.example.com", "sip:100@DIGEST.Example.COM", [true, true, true]),
    ("sip:100@digest.example.com", "SIP:100@digest.example.com", [true, true, true]),
    ("sip:100@digest.example.com", "sip:100@digest.example.com.", [true, true, true]),
    ("sip:100@digest.example.com", "sip:%3100@digest.example.com", [true, true, true]),
    ("sip:%6aoe@digest.example.com", "sip:joe@digest.example.com", [true, true, true]),
    ("sip:joe@digest.example.com", "sip:Joe@digest.example.com", [true, false, false]),
    ("sip:a%2Fb@digest.example.com", "sip:a/b@digest.example.com", [true, false, false]),
    ("sip:100@digest.example.com", "sip:100@digest.example.com:5060", [true, true, false]),
    ("sip:100@digest.example.com:5070", "sip:100@digest.example.com", [true, true, false]),
    ("sip:100@digest.example.com", "sip:100@digest.example.com;transport=tcp", [true, true, false]),
    ("sip:100@digest.example.com;transport=UDP", "sip:100@digest.example.com", [true, true, false]),
    (
        "sip:100@digest.example.com;transport=UDP;user=phone",
        "sip:100@digest.example.com;User=PHONE;TRANSPORT=udp",
        [true, true, true],
    ),
    ("sip:100@digest.example.com", "sip:100@digest.example.com;x=y", [true, true, true]),
    ("sip:100@digest.example.com;x=%41", "sip:100@digest.example.com;x=A", [true, true, true]),
    ("sip:100@digest.example.com;x=1", "sip:100@digest.example.com;x=2", [true, true, false]),
    ("sip:100@digest.example.com", "sips:100@digest.example.com", [true, true, false]),
    ("sip:100@digest.example.com", "sip:200@digest.example.com", [true, false, false]),
    ("sip:100@digest.example.com", "sip:digest.example.com", [true, false, false]),
    ("sip:100@digest.example.com", "sip:100@other.example.com", [false, false, false]),
    ("sip:100@digest.example.com", "sip:100@192.0.2.1", [false, false, false]),
    ("sip:100@digest.example.com", "tel:100", [false, false, false]),
    ("sip:100@digest.example.com", "100", [false, false, false]),
    ("sip:100@digest.example.com", "sip:100 @digest.example.com", [false, false, false]),
];

#[test]
fn case_25_the_digest_uri_is_checked_as_the_policy_requires() {
    for (request_uri, digest_uri, [same_host, same_user, equivalent]) in URIS {
        for (uri_check, passes) in [
            (UriCheck::Off, true),
            (UriCheck::SameHost, same_host),
            (UriCheck::SameUserAndHost, same_user),
            (UriCheck::Equivalent, equivalent),
        ] {
            let world = World::with_policy(Policy::default().with_uri_check(uri_check));
            let request = Request { uri: request_uri.to_owned(), ..Request::to(HOST) };
            let (_, right) = right_answer(&world, &request);
            let mut header = right.clone();
            header.inner.uri = digest_uri.to_owned();
            header.sign();
            let what = format!("{request_uri} {digest_uri} {uri_check:?}");
            let decision = world.send(&request.clone().with(&header.text()), OUTSIDE);
            assert_eq!(decision.is_accept(), passes, "{what}: {decision:?}");
            if !passes {
                let reason = rejected(decision);
                assert_eq!((reason, reason.status()), (Reason::UriMismatch, 400), "{what}");
                // checked before any user lookup, and no nonce was used up
                assert_eq!(world.authorizer.remembered_nonces().0, 0, "{what}");
                assert_right(&world, &request.next(), &right.text());
            }
        }
    }
}

#[test]
fn case_25_the_digest_covers_the_digest_uri_as_sent() {
    let world = World::with_policy(lenient(Policy::default()));
    let mut request = Request::to(HOST);
    for (request_uri, digest_uri, _) in URIS {
        if request_uri == digest_uri {
            continue;
        }
        request = Request { uri: request_uri.to_owned(), ..request.next() };
        let (_, as_requested) = right_answer(&world, &request);
        let mut as_digested = as_requested.clone();
        as_digested.inner.uri = digest_uri.to_owned();
        as_digested.sign();
        // hash one text and send the other, both ways
        for (signed, sent) in [(as_requested, digest_uri), (as_digested, request_uri)] {
            assert_wrong(&world, &request, &signed.text_with("uri", &format!("\"{sent}\"")));
            request = request.next();
        }
    }
}

#[test]
fn case_25_a_user_check_rejects_a_response_for_another_number() {
    let relayed = |uri_check| {
        let world = World::with_policy(Policy::default().with_uri_check(uri_check));
        let cheap = Request::to(HOST);
        let (_, header) = right_answer(&world, &cheap);
        let dear = Request { uri: format!("sip:+900100@{HOST}"), ..Request::to(HOST) };
        let decision = world.send(&dear.with(&header.text()), OUTSIDE);
        (decision.status(), world.authorizer.remembered_nonces().0)
    };
    assert_eq!(relayed(UriCheck::Off), (200, 1));
    assert_eq!(relayed(UriCheck::SameHost), (200, 1));
    assert_eq!(relayed(UriCheck::SameUserAndHost), (400, 0));
    assert_eq!(relayed(UriCheck::Equivalent), (400, 0));
}

#[test]
fn case_25_a_policy_for_one_domain_does_not_touch_another() {
    let world = World::new();
    let strict = Policy::default().with_uri_check(UriCheck::Equivalent);
    world.put(policy_of(HOST, strict));
    for (host, status) in [(HOST, 400), (BOTH_HOST, 200)] {
        let request = Request::to(host);
        let challenge = world.challenge(&request, INSIDE);
        let mut header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
        header.inner.uri = format!("sip:100@{host};transport=tcp");
        header.sign();
        let decision = world.send(&request.with(&header.text()), INSIDE);
        assert_eq!(decision.status(), status, "{host}");
    }
}

#[test]
fn case_25_a_backslash_in_a_value_hashed_as_sent_is_refused() {
    let world = World::with_policy(lenient(Policy::default()));
    let request = Request::to(HOST);
    let (_, right) = right_answer(&world, &request);
    for (name, parameter) in
        [("uri", Parameter::Uri), ("cnonce", Parameter::Cnonce), ("response", Parameter::Response)]
    {
        let parameters = right.parameters();
        let (_, value) = parameters.iter().find(|(other, _)| other == name).unwrap();
        let bare = value.trim_matches('"');
        let expected = Reason::MalformedCredentials(MalformedCredentials::Backslash(parameter));
        for at in 0..bare.len() {
            // an escape of a character that needs none: unescaped, the value is correct
            let escaped = format!("\"{}\\{}\"", &bare[..at], &bare[at..]);
            assert_bad(&world, &request, &right.text_with(name, &escaped), expected);
        }
        // signed over the text including the backslash
        let mut header = right.clone();
        match name {
            "uri" => header.inner.uri.insert(4, '\\'),
            "cnonce" => header.inner.cnonce.as_mut().unwrap().insert(4, '\\'),
            _ => continue,
        }
        header.sign();
        assert_bad(&world, &request, &header.text(), expected);
    }
    // a nonce with a backslash is not live
    let mut header = right.clone();
    header.inner.nonce.insert(4, '\\');
    header.sign();
    assert!(challenged(world.send(&request.clone().with(&header.text()), OUTSIDE)));
    assert_right(&world, &request, &right.text());
}
