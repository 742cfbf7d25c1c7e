//! Hostile cases 10 to 13, 16, 19 and 20: nonces, nonce counts and staleness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use digest_auth::AlgorithmType;
use sip_authz::digest::MalformedCredentials::{BadNonceCount, Missing};
use sip_authz::digest::{Algorithm, Parameter};
use sip_authz::model::WrongAnswer;
use sip_authz::{Decision, Invite, Reason, Transport};
use sip_authz_testing::kit::*;
use sip_authz_testing::probes::*;

const ELSEWHERE: &str = "203.0.113.9:5060";

/// `header` with another nonce, signed again.
fn with_nonce(header: &Header, nonce: &str) -> Header {
    let mut header = header.clone();
    nonce.clone_into(&mut header.inner.nonce);
    header.sign();
    header
}

/// `header` with `nc` written this way, and a response that is correct for that text.
fn with_nc_text(header: &Header, nc: &str) -> String {
    let hash =
        |text: String| digest_auth::Algorithm::new(AlgorithmType::MD5, false).hash_str(&text);
    let Header { inner, method, username, password, .. } = header;
    let ha1 = hash(format!("{username}:{}:{password}", inner.realm));
    let ha2 = hash(format!("{method}:{}", inner.uri));
    let cnonce = inner.cnonce.as_ref().unwrap();
    let response = hash(format!("{ha1}:{}:{nc}:{cnonce}:auth:{ha2}", inner.nonce));
    header.text_with("nc", nc).replace(&inner.response, &response)
}

/// Sends a header from the address of [`OUTSIDE`], in a flow of its own.
#[track_caller]
fn send(world: &World, text: &str) -> Decision {
    world.send(&new_request().with(text), &new_flow())
}

#[test]
fn case_10_a_nonce_that_was_never_issued() {
    let world = World::with_policy(counting());
    let other = World::with(counting(), sip_authz::Capacity::default(), &[8; 32]);
    let request = new_request();
    let header = answer(&world, &request, OUTSIDE);
    let elsewhere = answer(&other, &request, OUTSIDE).inner.nonce;
    let other_source = answer(&world, &request, ELSEWHERE).inner.nonce;
    let other_host = world.challenge(&Request::to(OTHER_HOST), OUTSIDE).values[0].clone();
    let other_host = other_host.split('"').nth(3).unwrap().to_owned();
    let mut made_up = vec![elsewhere, other_source, other_host];
    let own = &header.inner.nonce;
    made_up.extend(
        ["A", "0", "AAAAAAAAAAAAAAAAAAAAAA", "______________________", "dcd98b7102dd2f0e8b11d0"]
            .map(str::to_owned),
    );
    made_up.extend([own[1..].to_owned(), format!("{own}="), format!("{own}A"), format!(" {own}")]);
    made_up.push(own.to_lowercase());
    made_up.push("\u{e4}".repeat(11));
    let before = world.authorizer.foreign_nonces();
    for nonce in &made_up {
        let right = with_nonce(&header, nonce).text();
        // repeated, over every transport, and with retransmissions
        let (request, flow) = (new_request().with(&right), new_flow());
        for _ in 0..2 {
            assert!(challenged(world.send(&request, &flow)), "{nonce}");
        }
        let tcp = Invite::from_datagram(&request.bytes(), flow.parse().unwrap(), Transport::Tcp)
            .map(|invite| world.authorizer.authorize(&invite, world.start))
            .unwrap();
        assert!(challenged(tcp), "{nonce}");
        // a wrong digest, no qop, another algorithm and a malformed header get the same answer
        let foreign = header.text_with("nonce", &format!("\"{nonce}\""));
        for text in [
            foreign.clone(),
            foreign.replace("qop=auth, ", ""),
            foreign.replace("nc=00000001", "nc=x"),
            foreign.replace("algorithm=MD5", "algorithm=SHA-256"),
            foreign.replace("algorithm=MD5", "algorithm=AKAv1-MD5"),
            foreign.replace("username=\"alice\", ", ""),
        ] {
            assert!(challenged(send(&world, &text)), "{text}");
        }
    }
    let number = made_up.len() as u64;
    assert_eq!(world.authorizer.foreign_nonces() - before, 9 * number);
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
    accepted(send(&world, &header.text()));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_11_every_bit_of_a_nonce_flipped() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let world = World::with_policy(boundless());
    let header = answer(&world, &new_request(), OUTSIDE);
    let nonce = header.inner.nonce.clone();
    assert_eq!(nonce.len(), 22);
    for at in 0..nonce.len() {
        // flips bits of the encoded value, including the four unused bits of the last character
        let value = ALPHABET.iter().position(|c| *c == nonce.as_bytes()[at]).unwrap();
        for bit in 0..6 {
            let mut flipped = nonce.clone();
            let other = char::from(ALPHABET[value ^ (1 << bit)]);
            flipped.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
            assert!(challenged(send(&world, &with_nonce(&header, &flipped).text())), "{at} {bit}");
        }
        // flips bits of the text; the result may be a separator or invalid UTF-8
        for bit in 0..8 {
            let mut flipped = nonce.clone().into_bytes();
            flipped[at] ^= 1 << bit;
            let text = header.text().into_bytes();
            let start = text.windows(22).position(|part| part == nonce.as_bytes()).unwrap();
            let text = [&text[..start], &flipped, &text[start + 22..]].concat();
            let line = [b"Proxy-Authorization: ", &text[..]].concat();
            let outcome = world.try_send(&new_request().with_line(&line).bytes(), &new_flow());
            match flipped[at] {
                // outside of the grammar of the message or of the header
                b'\r' | b'\n' => assert!(outcome.is_err()),
                0..=0x1f | 0x7f | b'"' => absent(outcome.unwrap()),
                _ => stale(outcome.unwrap()),
            }
            if let Ok(flipped) = String::from_utf8(flipped)
                && !flipped.contains(|c: char| c.is_ascii_control() || "\"\\".contains(c))
            {
                assert!(challenged(send(&world, &with_nonce(&header, &flipped).text())));
            }
        }
    }
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
    accepted(send(&world, &header.text()));
}

#[test]
fn case_11_nonce_counts_are_hexadecimal() {
    let world = World::new();
    let header = answer(&world, &new_request(), OUTSIDE);
    // 0x0a, then 0x10: in decimal, the first is not a number and the second is ten
    for nc in ["0000000a", "00000010", "0000001A", "00000020"] {
        assert!(!accepted(send(&world, &with_nc_text(&header, nc))).repeat, "{nc}");
    }
    for nc in ["0000000A", "00000010", "0000001a", "00000020"] {
        assert!(challenged(send(&world, &with_nc_text(&header, nc))), "{nc}");
    }
}

#[test]
fn case_12_a_junk_response_uses_up_no_nonce() {
    for bind_source in [true, false] {
        let world = World::with_policy(boundless().with_bind_source(bind_source));
        let header = answer(&world, &new_request(), OUTSIDE);
        let junk = |nc| header.text_with("nc", nc).replace(&header.inner.response, &"0".repeat(32));
        // before the first use of the nonce, and after
        for nc in 1..4 {
            for (text, source) in [
                (header.text_with("nc", "ffffffff"), OUTSIDE),
                (header.text_with("nc", "ffffffff"), ELSEWHERE),
                (junk("ffffffff"), OUTSIDE),
                (junk("00000001"), OUTSIDE),
                (junk("00000003"), ELSEWHERE),
            ] {
                let decision = world.send(&new_request().with(&text), source);
                // elsewhere, a bound nonce is not live
                if bind_source && source == ELSEWHERE { stale(decision) } else { wrong(decision) }
            }
            accepted(send(&world, &header.clone().with_nc(nc).text()));
            assert_eq!(world.authorizer.remembered_nonces().0, 1);
        }
    }
}

#[test]
fn case_12_an_explanation_uses_up_no_nonce() {
    let world = World::new();
    let header = answer(&world, &new_request(), OUTSIDE);
    let bytes = new_request().with(&header.clone().with_nc(u32::MAX).text()).bytes();
    let invite = Invite::from_datagram(&bytes, OUTSIDE.parse().unwrap(), Transport::Udp).unwrap();
    let explained = world.authorizer.explain(&invite, world.start);
    assert!(explained.decision.is_accept());
    accepted(send(&world, &header.text()));
}

/// The RFC 2069 form of `header`, with a correct response.
fn without_qop(header: &Header) -> String {
    let mut header = header.clone();
    header.inner.qop = None;
    header.sign();
    header.text()
}

#[test]
fn case_13_qop_removed_to_downgrade() {
    let world = World::with_policy(counting());
    let header = answer(&world, &new_request(), OUTSIDE);
    let old = without_qop(&header);
    assert!(!old.contains("nc=") && !old.contains("qop"));
    let cut = header.text_without("qop");
    for text in [&old, &cut, &format!("{old}, nc=00000001, cnonce=\"x\"")] {
        let decision = send(&world, text);
        assert_eq!((decision.status(), rejected(decision)), (400, Reason::QopMissing));
    }
    assert_eq!(world.authorizer.remembered_nonces().0, 0);
    accepted(send(&world, &header.text()));
    assert_eq!(attempts(&world, OUTSIDE), 0);

    for (missing, parameter) in [("nc", Parameter::Nc), ("cnonce", Parameter::Cnonce)] {
        for allow_rfc2069 in [false, true] {
            let world = World::with_policy(counting().with_allow_rfc2069(allow_rfc2069));
            let decision = spoiled(&world, |header| header.text_without(missing));
            assert_eq!(malformed(decision), Missing(parameter));
        }
    }
}

#[test]
fn case_13_no_qop_with_allow_rfc2069() {
    let algorithms = offering(&[Algorithm::Md5, Algorithm::Md5Sess, Algorithm::Sha256]).algorithms;
    let world = World::with_policy(counting().with_allow_rfc2069(true).with_algorithms(algorithms));
    let header = answer(&world, &new_request(), OUTSIDE);
    // a response made with qop is wrong without it
    wrong(send(&world, &header.text_without("qop")));
    let old = without_qop(&header);
    assert!(!accepted(send(&world, &old)).repeat);
    // accepted once: not with added parameters, and not in either form
    for text in
        [&old, &format!("{old}, nc=00000002, cnonce=\"x\""), &header.clone().with_nc(2).text()]
    {
        assert!(challenged(send(&world, text)));
    }
    // rejected after the nonce was used with qop
    let header = answer(&world, &new_request(), OUTSIDE);
    accepted(send(&world, &header.text()));
    assert!(challenged(send(&world, &without_qop(&header))));
    accepted(send(&world, &header.with_nc(2).text()));

    // MD5 only, and not MD5-sess
    let values = world.challenge(&new_request(), OUTSIDE).values;
    for (value, sess) in values.iter().zip([false, true, false]).skip(1) {
        let header = Header::answer(value, &new_request(), "alice", PASSWORD);
        let decision = send(&world, &without_qop(&header));
        if sess {
            assert_eq!(malformed(decision), Missing(Parameter::Qop));
        } else {
            assert_eq!(rejected(decision), Reason::QopMissing);
        }
    }
    assert_eq!(attempts(&world, OUTSIDE), 1);
}

#[test]
fn case_16_malformed_nonce_counts() {
    let world = World::with_policy(counting());
    for nc in [
        "00000000",
        "0",
        "000000001",
        "0000000g",
        "g",
        "0x000001",
        "\"0000 001\"",
        "-0000001",
        "+0000001",
        "\"\u{ff11}\u{ff11}00\"",
        "\"1,000000\"",
        "00000001x",
        "0000000000000001",
    ] {
        let decision = spoiled(&world, |header| with_nc_text(header, nc));
        assert_eq!(malformed(decision), BadNonceCount, "{nc}");
    }
    assert_eq!(attempts(&world, OUTSIDE), 0);
    // one to eight digits are hashed as sent, and count by their value
    let header = answer(&world, &new_request(), ELSEWHERE);
    for (nc, passes) in [
        ("1", true),
        ("0000001", false),
        ("00000001", false),
        ("0a", true),
        ("00a", false),
        ("ABC", true),
        ("0000abc", false),
        ("ffffff", true),
    ] {
        let decision = world.send(&new_request().with(&with_nc_text(&header, nc)), ELSEWHERE);
        if passes { assert!(!accepted(decision).repeat, "{nc}") } else { stale(decision) }
    }
    // quotes make no difference
    let header = answer(&world, &new_request(), ELSEWHERE);
    let text = header.text_with("nc", "\"00000001\"");
    accepted(world.send(&new_request().with(&text), ELSEWHERE));
}

#[test]
fn case_16_each_nonce_count_is_accepted_once() {
    let world = World::with_policy(counting());
    let header = answer(&world, &new_request(), OUTSIDE);
    for (nc, passes) in [
        ("000000ff", true),
        ("00000100", true),
        ("000000ff", false),
        ("000000FF", false),
        ("00000100", false),
        // out of order within the window of 64, highest count included
        ("000000c1", true),
        ("000000f0", true),
        ("000000C1", false),
        ("000000c0", false),
        ("00000001", false),
        // far ahead
        ("0000ABCD", true),
        ("0000abcd", false),
        ("0000abcc", true),
        ("0000ab8e", true),
        ("0000ab8d", false),
        ("00000101", false),
        ("ffffffff", true),
        ("FFFFFFFF", false),
        ("ffffffc0", true),
        ("ffffffbf", false),
        ("fffffffe", true),
        ("00000002", false),
    ] {
        let decision = send(&world, &with_nc_text(&header, nc));
        if passes {
            assert!(!accepted(decision).repeat, "{nc}");
        } else {
            assert!(challenged(decision), "{nc}");
        }
    }
    // a jump of the window's width or more drops all lower counts, and they are never accepted
    for jump in [63, 64, 65, 128, 1 << 31] {
        let header = answer(&world, &new_request(), OUTSIDE);
        accepted(send(&world, &header.clone().with_nc(1).text()));
        accepted(send(&world, &header.clone().with_nc(1 + jump).text()));
        assert!(challenged(send(&world, &header.clone().with_nc(1).text())), "{jump}");
        assert!(challenged(send(&world, &header.clone().with_nc(1 + jump).text())), "{jump}");
    }
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_19_stale_exactly_where_the_nonce_is_not_live() {
    for wrong_answer in [WrongAnswer::Reject, WrongAnswer::Challenge] {
        let mut world = World::with_policy(counting().with_wrong_answer(wrong_answer));
        let expired = answer(&world, &new_request(), OUTSIDE);
        world.sleep(Duration::from_secs(61));
        let used = answer(&world, &new_request(), OUTSIDE);
        accepted(send(&world, &used.text()));
        let never_issued = with_nonce(&used, "AAAAAAAAAAAAAAAAAAAAAA");
        let other_source = answer(&world, &new_request(), ELSEWHERE);
        for (header, is_live) in
            [(expired, false), (used, true), (never_issued, false), (other_source, false)]
        {
            let refused = |decision: Decision| match wrong_answer {
                _ if !is_live => stale(decision),
                WrongAnswer::Reject => wrong(decision),
                WrongAnswer::Challenge => absent(decision),
            };
            stale(send(&world, &header.text()));
            refused(send(&world, &header.text_with("response", "\"0\"")));
            for (name, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("carol", PASSWORD)]
            {
                let mut header =
                    Header { username: name.into(), password: password.into(), ..header.clone() };
                header.sign();
                refused(send(&world, &header.text()));
            }
        }
    }
}

#[test]
fn case_19_the_source_port_may_change_and_the_address_may_not() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let world = World::with_policy(counting()).over(transport);
        let header = answer(&world, &new_request(), "198.51.100.7:5060");
        for (nc, source) in [(1, "198.51.100.7:40001"), (2, "198.51.100.7:1"), (3, OUTSIDE)] {
            let request = new_request().with(&header.clone().with_nc(nc).text());
            assert!(!accepted(world.send(&request, source)).repeat);
        }
        // the same address in another form
        let request = new_request().with(&header.clone().with_nc(4).text());
        accepted(world.send(&request, "[::ffff:198.51.100.7]:5060"));
        let request = new_request().with(&header.clone().with_nc(5).text());
        assert!(challenged(world.send(&request, "198.51.100.8:5060")));
        accepted(world.send(&request, OUTSIDE));
    }
}

#[test]
fn case_19_time_steps_forward_and_back() {
    let hour = Duration::from_secs(3_600);
    let mut world = World::with_policy(counting());
    let request = new_request();
    let used = answer(&world, &request, OUTSIDE);
    let copy = request.with(&used.text());
    let unused = answer(&world, &new_request(), OUTSIDE);
    accepted(world.send(&copy, OUTSIDE));

    world.sleep(hour);
    let later = answer(&world, &new_request(), OUTSIDE);
    accepted(send(&world, &later.text()));
    let later_unused = answer(&world, &new_request(), OUTSIDE);

    // back to the time when the first nonces were live, then forward in steps
    for ago in [3_600, 3_599, 1_800, 61, 30, 1, 0] {
        world.now = hour - Duration::from_secs(ago);
        for header in [&used, &unused, &later] {
            assert!(challenged(send(&world, &header.text())), "{ago}");
        }
        // the copy is an hour old, so it is not a retransmission; the eight answers with stale that
        // a flow gets are enough for it
        assert!(challenged(world.send(&copy, OUTSIDE)), "{ago}");
        alice_passes(&world, OUTSIDE);
    }
    accepted(send(&world, &later_unused.text()));

    // not even before the authorizer was created
    world.start -= hour;
    world.now = Duration::ZERO;
    assert!(challenged(send(&world, &unused.text())));
    alice_passes(&world, OUTSIDE);
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_19_a_nonce_from_the_future() {
    // only another thread's clock, or an explanation at another time, can be ahead of the decisions
    for (ahead, stale) in [(1, false), (2, false), (3, true), (60, true), (3_600, true)] {
        let world = World::new();
        let request = new_request();
        let bytes = request.bytes();
        let invite =
            Invite::from_datagram(&bytes, OUTSIDE.parse().unwrap(), Transport::Udp).unwrap();
        let then = world.start + Duration::from_secs(ahead);
        let Decision::Challenge(challenge) = world.authorizer.explain(&invite, then).decision
        else {
            panic!("no challenge");
        };
        let header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
        let decision = send(&world, &header.text());
        if stale {
            assert!(challenged(decision), "{ahead}");
        } else {
            accepted(decision);
        }
    }
}

#[test]
fn case_20_a_response_made_for_another_method() {
    let world = World::with_policy(counting());
    for (at, method) in ["REGISTER", "BYE", "ACK", "invite", "INVITE ", ""].iter().enumerate() {
        let decision = spoiled(&world, |header| {
            let mut header = Header { method: (*method).to_owned(), ..header.clone() };
            header.sign();
            header.text()
        });
        wrong(decision);
        assert_eq!(world.authorizer.remembered_nonces().0, at + 1, "only the right one");
    }
    assert_eq!(attempts(&world, OUTSIDE), 6);
}

#[test]
fn case_20_empty_nonce_and_response() {
    let world = World::with_policy(counting());
    let empty = "Digest username=\"alice\", realm=\"example.com\", nonce=\"\", \
                 uri=\"sip:digest.example.com\", response=\"\"";
    let short = "Digest realm=\"example.com\", nonce=\"\", response=\"\"";
    for text in [empty, short] {
        let decision = send(&world, text);
        assert_eq!(decision.status(), 407);
        assert!(!challenged(decision));
    }
    // nor is one of the two empty
    for name in ["nonce", "response"] {
        absent(spoiled(&world, |header| header.text_with(name, "\"\"")));
    }
    // it does not block a following correct header
    let header = answer(&world, &new_request(), OUTSIDE);
    let accept = accepted(world.send(&new_request().with(empty).with(&header.text()), OUTSIDE));
    assert_eq!(accept.credential.unwrap().header.index, 1);
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_20_nine_headers_for_our_realm() {
    let world = World::with_policy(counting());
    let junk =
        |world: &World| answer(world, &new_request(), OUTSIDE).text_with("response", "\"0\"");
    let others = |mut request: Request, count: usize| {
        for _ in 0..count {
            request = request.with(&junk(&world));
        }
        request
    };
    let header = answer(&world, &new_request(), OUTSIDE);
    for before in [0, 4, 8] {
        let request = others(new_request(), before).with(&header.text());
        let decision = world.send(&others(request, 8 - before), OUTSIDE);
        assert_eq!((decision.status(), rejected(decision)), (400, Reason::TooManyCredentials));
    }
    // more than sixteen headers of any realm
    let foreign = "Digest realm=\"other.example\"";
    let request = (0..16).fold(new_request(), |request, _| request.with(foreign));
    let decision = world.send(&request.with(&header.text()), OUTSIDE);
    assert_eq!(rejected(decision), Reason::TooManyCredentials);
    assert_eq!(world.authorizer.remembered_nonces().0, 0);

    // eight headers are read, the last like the first, also after eight of another realm; of one
    // algorithm, the newest nonce is judged
    let request = (0..8).fold(new_request(), |request, _| request.with(foreign));
    let request = others(request, 7);
    let newest = answer(&world, &new_request(), OUTSIDE);
    let accept = accepted(world.send(&request.with(&newest.text()), OUTSIDE));
    assert_eq!(accept.credential.unwrap().header.index, 15);
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_19_a_client_that_loops_gets_a_challenge_without_stale() {
    let mut world = World::with_policy(counting());
    let dead = with_nonce(&answer(&world, &new_request(), OUTSIDE), "AAAAAAAAAAAAAAAAAAAAAA");
    let send = |world: &World, flow: &str| world.send(&new_request().with(&dead.text()), flow);
    let explain = |world: &World| {
        let bytes = new_request().with(&dead.text()).bytes();
        let invite =
            Invite::from_datagram(&bytes, OUTSIDE.parse().unwrap(), Transport::Udp).unwrap();
        world.authorizer.explain(&invite, world.start + world.now)
    };
    for _ in 0..8 {
        assert!(challenged(explain(&world).decision), "an explanation does not count");
        stale(send(&world, OUTSIDE));
    }
    absent(send(&world, OUTSIDE));
    let explanation = explain(&world);
    assert!(explanation.to_string().contains("too many answers with stale=true"), "{explanation}");
    assert!(!challenged(explanation.decision));
    // another port of the same address is another flow, and so is another address
    for other in ["198.51.100.7:5061", "198.51.100.8:5060", "[2001:db8::7]:5060"] {
        stale(send(&world, other));
    }
    // the same address in another form is not
    absent(send(&world, "[::ffff:198.51.100.7]:5060"));
    alice_passes(&world, OUTSIDE);
    // one more after each eighth of the lifetime
    world.sleep(Duration::from_millis(7_499));
    absent(send(&world, OUTSIDE));
    world.sleep(Duration::from_millis(1));
    stale(send(&world, OUTSIDE));
    absent(send(&world, OUTSIDE));
    // eight more within the next lifetime
    world.sleep(Duration::from_secs(60));
    for _ in 0..8 {
        stale(send(&world, OUTSIDE));
    }
    absent(send(&world, OUTSIDE));
    assert_eq!(attempts(&world, OUTSIDE), 0);
}

#[test]
fn case_19_a_used_nonce_is_stale_however_often() {
    let world = World::with_policy(counting());
    let header = answer(&world, &new_request(), OUTSIDE);
    accepted(world.send(&new_request().with(&header.text()), OUTSIDE));
    for _ in 0..20 {
        stale(world.send(&new_request().with(&header.text()), OUTSIDE));
    }
}

#[test]
fn case_19_made_up_nonces_use_up_no_answer_to_an_expired_one() {
    let mut world = World::with_policy(counting());
    let expired = answer(&world, &new_request(), OUTSIDE);
    let made_up = with_nonce(&expired, "AAAAAAAAAAAAAAAAAAAAAA");
    world.sleep(Duration::from_secs(62));
    let send = |world: &World, headers: &[&Header]| {
        let request = headers.iter().fold(new_request(), |request, it| request.with(&it.text()));
        world.send(&request, OUTSIDE)
    };
    // a stranger can forge the flow of a phone, but has no nonce that was issued to its address
    for _ in 0..8 {
        stale(send(&world, &[&made_up]));
    }
    absent(send(&world, &[&made_up]));
    // beside a made-up nonce, the expired one counts in any order
    for _ in 0..4 {
        stale(send(&world, &[&made_up, &expired]));
        stale(send(&world, &[&expired, &made_up]));
    }
    absent(send(&world, &[&expired]));
    alice_passes(&world, OUTSIDE);
}
