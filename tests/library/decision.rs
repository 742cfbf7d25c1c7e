//! The decision steps, rule by rule, through the public API.

use std::time::Duration;

use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, AccountStatus, Commit, Credential, CredentialList, Domain, Ha1Set, Key, Mapping,
    Policy, Record, Trunk, UriCheck, WrongAnswer,
};
use sip_authz::{AddressMatch, Decision, Reason, Transport, TrunkSid};
use sip_authz_testing::kit::*;

#[test]
fn a_caller_is_challenged_and_authenticates() {
    let world = World::new();
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    assert_eq!(challenge.status(), 407);
    assert_eq!(challenge.header_name(), "Proxy-Authenticate");
    assert!(!challenge.stale);

    let accept =
        accepted(world.send(&world.answered(&request, OUTSIDE, "alice", PASSWORD), OUTSIDE));
    assert_eq!(accept.account, account());
    assert_eq!(accept.target, domain(HOST).into());
    assert_eq!(accept.address, None);
    let credential_match = accept.credential.unwrap();
    assert_eq!(&*credential_match.username, "alice");
    assert_eq!(credential_match.list, list(LIST));
    assert_eq!(credential_match.credential, credential(LIST, "alice"));
    assert_eq!(credential_match.header.index, 0);
    assert!(!accept.repeat);

    let wrong = world.answered(&request.next(), OUTSIDE, "alice", "wrong");
    assert_eq!(rejected(world.send(&wrong, OUTSIDE)), Reason::WrongCredentials);
}

#[test]
fn rule_1_the_host_names_the_target() {
    let world = World::new();
    let status = |uri: &str, transport| {
        let world_request = Request { uri: uri.to_owned(), ..Request::to(ACL_HOST) };
        let source = INSIDE.parse().unwrap();
        let bytes = world_request.bytes();
        let invite = sip_authz::Invite::from_datagram(&bytes, source, transport).unwrap();
        world.authorizer.authorize(&invite, world.start).status()
    };
    for uri in ["sip:1@acl.example.com", "sip:ACL.Example.com:5070", "sip:1@acl.example.com.;x=y"] {
        assert_eq!(status(uri, Transport::Udp), 200, "{uri}");
    }
    for uri in ["sip:1@unknown.example.com", "sip:1@192.0.2.1", "sip:1@[2001:db8::1]"] {
        assert_eq!(status(uri, Transport::Udp), 404, "{uri}");
    }
    for uri in ["tel:+12125551212", "http://acl.example.com/", "mailto:a@acl.example.com"] {
        assert_eq!(status(uri, Transport::Udp), 416, "{uri}");
    }
    assert_eq!(status("sips:1@acl.example.com", Transport::Tcp), 488);
    assert_eq!(status("sips:1@acl.example.com", Transport::Tls), 200);
    assert_eq!(status("sips:1@acl.example.com", Transport::Wss), 200);
}

#[test]
fn rule_1_ip_literals_compare_as_addresses_and_trunks_have_names_too() {
    let world = World::new();
    let trunk = TrunkSid::from_name(&["trunk"]);
    let name = "[2001:DB8:0:0:0:0:0:1]".parse().unwrap();
    world.apply(|commit| {
        commit.put(Record::Trunk(Trunk::new(trunk, account(), Some(name))));
        commit.put(Record::from(Mapping::IpAccessControlList(trunk.into(), acl(ACL))));
    });
    let request = Request { uri: "sip:1@[2001:db8::1]:5060".to_owned(), ..Request::to(HOST) };
    assert_eq!(accepted(world.send(&request, INSIDE)).target, trunk.into());
}

#[test]
fn rule_2_account_and_transport() {
    let world = World::new();
    let request = Request::to(ACL_HOST);
    for status in [AccountStatus::Suspended, AccountStatus::Closed] {
        world.put(Record::Account(Account { status, ..Account::new(account()) }));
        let reason = rejected(world.send(&request, INSIDE));
        assert_eq!((reason, reason.status()), (Reason::AccountInactive, 603));
    }
    world.put(Record::Account(Account::new(account())));
    assert!(world.send(&request, INSIDE).is_accept());

    let secure = Domain::new(domain(ACL_HOST), account(), ACL_HOST.parse().unwrap());
    world.put(Record::Domain(Domain { secure: true, ..secure }));
    let reason = rejected(world.send(&request, INSIDE));
    assert_eq!((reason.status(), reason.code()), (488, Some(32_209)));
    let world = world.over(Transport::Tls);
    assert!(world.send(&request, INSIDE).is_accept());
}

#[test]
fn rules_3_and_4_lists_admit_and_nothing_else_does() {
    let world = World::new();
    let reason = rejected(world.send(&Request::to(BARE_HOST), INSIDE));
    assert_eq!((reason.status(), reason.code()), (403, Some(32_200)));

    let request = Request::to(ACL_HOST);
    for (source, prefix) in [
        ("192.0.2.255:5060", "192.0.2.0/24"),
        ("[2001:db8:ffff::1]:5060", "2001:db8::/32"),
        ("[::ffff:192.0.2.1]:5060", "192.0.2.0/24"),
    ] {
        let accept = accepted(world.send(&request, source));
        let expected = AddressMatch { list: acl(ACL), address: address(prefix) };
        assert_eq!(accept.address, Some(expected), "{source}");
        assert_eq!(accept.credential, None);
    }
    let reason = rejected(world.send(&request, OUTSIDE));
    assert_eq!((reason.status(), reason.code()), (403, Some(32_201)));

    // a mapped but empty list admits no source
    world.apply(|commit| {
        for prefix in ["192.0.2.0/24", "2001:db8::/32"] {
            commit.delete(Key::IpAddress(address(prefix)));
        }
    });
    assert_eq!(rejected(world.send(&request, INSIDE)), Reason::AddressNotListed);
}

#[test]
fn rules_5_and_6_credentials_after_the_address() {
    let world = World::new();
    let request = Request::to(BOTH_HOST);
    // no challenge is sent to sources outside the list
    assert_eq!(rejected(world.send(&request, OUTSIDE)), Reason::AddressNotListed);
    let answered = world.answered(&request, INSIDE, "alice", PASSWORD);
    let accept = accepted(world.send(&answered, INSIDE));
    assert!(accept.address.is_some() && accept.credential.is_some());

    // with an empty credential list, callers are challenged but never accepted
    world.apply(|commit| {
        for user in ["alice", "carol"] {
            commit.delete(Key::Credential(credential(LIST, user)));
        }
    });
    let answered = world.answered(&request.next(), INSIDE, "alice", PASSWORD);
    assert_eq!(rejected(world.send(&answered, INSIDE)), Reason::WrongCredentials);
}

#[test]
fn a_name_in_several_lists_is_tried_with_each() {
    let world = World::new();
    world.apply(|commit| {
        commit.put(Record::Credential(user(OTHER_LIST, "alice", "Another-Horse-8")));
        commit.put(Record::from(Mapping::CredentialList(domain(HOST).into(), list(OTHER_LIST))));
    });
    let mut request = Request::to(HOST);
    for (password, expected) in [(PASSWORD, LIST), ("Another-Horse-8", OTHER_LIST)] {
        request = request.next();
        let answered = world.answered(&request, OUTSIDE, "alice", password);
        let accept = accepted(world.send(&answered, OUTSIDE));
        assert_eq!(accept.credential.unwrap().list, list(expected));
    }
    let wrong = world.answered(&request.next(), OUTSIDE, "alice", "Neither-Horse-9");
    assert_eq!(rejected(world.send(&wrong, OUTSIDE)), Reason::WrongCredentials);
}

#[test]
fn wrong_credentials_are_challenged_again_where_the_policy_says_so() {
    let policy = Policy::default().with_wrong_answer(WrongAnswer::Challenge);
    let world = World::with_policy(policy);
    let wrong = world.answered(&Request::to(HOST), OUTSIDE, "alice", "wrong");
    assert!(!challenged(world.send(&wrong, OUTSIDE)), "not stale: the user is asked again");
}

#[test]
fn a_change_takes_effect_on_the_next_invite_and_a_failed_one_does_not() {
    let world = World::new();
    let request = Request::to(ACL_HOST);
    let mapping = Mapping::IpAccessControlList(domain(ACL_HOST).into(), acl(ACL));
    assert!(world.send(&request, INSIDE).is_accept());
    world.delete(Key::Mapping(mapping));
    assert_eq!(rejected(world.send(&request, INSIDE)), Reason::NothingMapped);
    world.put(Record::from(mapping));
    assert!(world.send(&request, INSIDE).is_accept());

    let before = world.authorizer.snapshot().number();
    let mut commit = Commit::new();
    commit.delete(Key::Mapping(mapping));
    let realm = "elsewhere.example".parse().unwrap();
    commit.put(Record::CredentialList(CredentialList::new(list("new"), account(), realm)));
    commit.put(Record::from(Mapping::CredentialList(domain(HOST).into(), list("new"))));
    let error = world.authorizer.apply(&commit).unwrap_err().to_string();
    assert!(error.contains("has the realm `elsewhere.example`"), "{error}");
    assert!(world.send(&request, INSIDE).is_accept(), "no part of it took effect");
    assert_eq!(world.authorizer.snapshot().number(), before);
}

#[test]
fn a_snapshot_that_replaces_another_is_numbered_on_unless_it_keeps_its_number() {
    let world = World::new();
    let of = |number: u64| sip_authz::Snapshot::builder().number(number).build().unwrap();
    let now = || world.authorizer.snapshot().number();
    assert_eq!(now(), 1);
    // (the number given, the number in force after it)
    for (given, expected) in [(1, 2), (0, 3), (3, 4), (5, 5), (5, 6), (100, 100), (7, 101)] {
        assert_eq!(world.authorizer.replace(of(given)).number(), expected);
        assert_eq!(now(), expected);
    }
    assert_eq!(world.authorizer.apply(&Commit::new()).unwrap().number(), 102);
    assert_eq!(world.authorizer.replace(of(1)).number(), 103);
    for given in [103, 103, 7, 0, u64::MAX] {
        assert_eq!(world.authorizer.replace_numbered(of(given)).number(), given);
        assert_eq!(now(), given);
    }
    assert_eq!(world.authorizer.replace(of(1)).number(), u64::MAX, "numbers do not wrap");
}

#[test]
fn numbers_rise_when_several_threads_replace_snapshots() {
    let world = World::new();
    let replace = || {
        let snapshot = || sip_authz::Snapshot::empty();
        let numbers = || world.authorizer.replace(snapshot()).number();
        std::iter::repeat_with(numbers).take(100).collect::<Vec<_>>()
    };
    let mut all: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(replace)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(2..402), "each number once");
}

#[test]
fn every_invite_is_refused_from_the_deadline_on() {
    let mut world = World::new();
    let (start, tenth) = (world.start, Duration::from_millis(100));
    let request = Request::to(ACL_HOST);
    let at = |world: &mut World, now| {
        world.start = now;
        world.send(&request, INSIDE)
    };
    let stale = |decision: Decision| match decision {
        Decision::Reject(reject) => {
            let reason = reject.reason;
            assert_eq!((reason.status(), reason.phrase()), (503, "Service Unavailable"));
            assert_eq!((reason.as_str(), reason.code()), ("snapshot-stale", None));
            reject.target.is_none() && reason == Reason::SnapshotStale
        }
        _ => false,
    };
    world.authorizer.refuse_from(Some(start + tenth));
    assert!(at(&mut world, start + tenth - Duration::from_millis(1)).is_accept());
    assert!(!world.authorizer.is_stale(start));
    assert!(world.authorizer.is_stale(start + tenth));
    assert!(stale(at(&mut world, start + tenth)));
    // neither a clock that steps back nor another snapshot ends the refusal
    assert!(stale(at(&mut world, start)));
    world.authorizer.replace(sip_authz::Snapshot::clone(&world.authorizer.snapshot()));
    assert!(stale(at(&mut world, start)));
    // every host gets the same refusal: no challenge, no sign whether the host exists
    for uri in ["sip:1@unknown.example.com", "sip:1@digest.example.com", "tel:+1"] {
        let request = Request { uri: uri.to_owned(), ..Request::to(HOST) };
        assert!(stale(world.send(&request, OUTSIDE)), "{uri}");
    }
    let bytes = request.bytes();
    let invite =
        sip_authz::Invite::from_datagram(&bytes, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    let explanation = world.authorizer.explain(&invite, start);
    assert!(
        explanation.to_string().contains("too long since it was last confirmed"),
        "{explanation}"
    );
    assert!(stale(explanation.decision));

    world.authorizer.refuse_from(Some(start + tenth * 2));
    assert!(at(&mut world, start + tenth).is_accept());
    assert!(stale(at(&mut world, start + tenth * 3)));
    world.authorizer.refuse_from(None);
    assert!(at(&mut world, start + tenth * 3).is_accept());
    // a time before the authorizer was created
    world.authorizer.refuse_from(start.checked_sub(tenth));
    assert!(stale(at(&mut world, start)));
}

#[test]
fn an_explanation_decides_alike_and_uses_nothing_up() {
    let world = World::new();
    let request = Request::to(BOTH_HOST);
    let answered = world.answered(&request, INSIDE, "alice", PASSWORD);
    let bytes = answered.bytes();
    let source = INSIDE.parse().unwrap();
    let invite = sip_authz::Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
    for _ in 0..2 {
        let explanation = world.authorizer.explain(&invite, world.start);
        assert!(explanation.decision.is_accept());
        let text = explanation.to_string();
        for part in [
            "host: `both.example.com` is SD",
            "192.0.2.7 matches 192.0.2.0/24",
            "Proxy-Authorization (1): user `alice`, algorithm MD5, qop auth",
            "the nonce is live",
            "the digest is right",
            "decision: accept",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
    let accept = accepted(world.send(&answered, INSIDE));
    assert!(!accept.repeat);
    let explanation = world.authorizer.explain(&invite, world.start);
    assert!(matches!(explanation.decision, Decision::Accept(accept) if accept.repeat));
}

#[test]
fn an_explanation_uses_nothing_up_over_tcp() {
    let world = World::new().over(Transport::Tcp);
    let request = Request::to(HOST);
    let answered = world.answered(&request, OUTSIDE, "alice", PASSWORD);
    let bytes = answered.bytes();
    let source = OUTSIDE.parse().unwrap();
    let invite = sip_authz::Invite::from_datagram(&bytes, source, Transport::Tcp).unwrap();
    for _ in 0..2 {
        assert!(world.authorizer.explain(&invite, world.start).decision.is_accept());
    }
    accepted(world.send(&answered, OUTSIDE));
    assert!(challenged(world.authorizer.explain(&invite, world.start).decision));
}

#[test]
fn an_explanation_reads_on_after_a_dead_nonce() {
    let mut world = World::with_policy(Policy::default().with_uri_check(UriCheck::SameHost));
    let request = Request::to(HOST);
    let header = |password| {
        Header::answer(&world.challenge(&request, OUTSIDE).values[0], &request, "alice", password)
    };
    let (right, wrong) = (header(PASSWORD), header("Wrong-Horse-7"));
    let other_uri = right.text_with("uri", "\"sip:100@other.example.com\"");
    let too_long = right.text_with("cnonce", &format!("\"{}\"", "c".repeat(257)));
    world.sleep(Duration::from_secs(61));
    for other in ["", "Digest realm=\"other.example\""] {
        for (text, verified, expected) in [
            (right.text(), true, "the digest is right"),
            (wrong.text(), true, "the digest is wrong"),
            (other_uri.clone(), false, "user `alice`"),
            (too_long.clone(), false, "malformed"),
        ] {
            let mut request = request.next().with(&text);
            if !other.is_empty() {
                request = request.with(other);
            }
            let (bytes, source) = (request.bytes(), OUTSIDE.parse().unwrap());
            let invite = sip_authz::Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
            let explanation = world.authorizer.explain(&invite, world.start + world.now);
            let explained = explanation.to_string();
            assert!(challenged(explanation.decision), "{explained}");
            assert!(explained.contains("the nonce has expired"), "{explained}");
            assert!(explained.contains(expected), "{expected} is not in\n{explained}");
            assert_eq!(explained.contains("the digest is"), verified, "{explained}");
        }
    }
}

#[test]
fn an_explanation_says_why_a_user_is_rejected() {
    let world = World::new();
    let hashes = [(HashFunction::Sha256, "0".repeat(64))];
    let hashes = hashes.iter().map(|(function, hash)| (*function, hash.as_str()));
    let (name, realm) = ("dave".parse().unwrap(), REALM.parse().unwrap());
    let ha1 = Ha1Set::from_hex(&name, &realm, hashes).unwrap();
    world.put(Credential { ha1, ..user(LIST, "dave", PASSWORD) }.into());
    let cases = [
        ("alice", PASSWORD, "the digest is right"),
        ("alice", "Wrong-Horse-7", "the digest is wrong"),
        ("carol", PASSWORD, "is disabled"),
        ("dave", PASSWORD, "has no hash for the algorithm"),
        ("erin", PASSWORD, "no such user"),
    ];
    for (name, password, expected) in cases {
        let request = world.answered(&Request::to(HOST), OUTSIDE, name, password);
        let (bytes, source) = (request.bytes(), OUTSIDE.parse().unwrap());
        let invite = sip_authz::Invite::from_datagram(&bytes, source, Transport::Udp).unwrap();
        let text = world.authorizer.explain(&invite, world.start).to_string();
        assert!(text.contains(expected), "{name}: {expected} is not in\n{text}");
    }
}

#[test]
fn decisions_are_counted_by_outcome_and_reason() {
    let world = World::new();
    let good = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    for _ in 0..3 {
        accepted(world.send(&good, OUTSIDE));
    }
    rejected(world.send(&Request::to("unknown.example.com"), OUTSIDE));
    let counts = world.authorizer.counts();
    let some: Vec<_> = counts.iter().filter(|(.., count)| *count > 0).collect();
    let expected = [
        ("accept", "passed", 1),
        ("accept", "repeat", 2),
        ("challenge", "asked", 1),
        ("reject", "unknown-host", 1),
    ];
    assert_eq!(some, expected);
}

#[test]
fn a_batch_equals_single_decisions() {
    let world = World::new();
    let request = Request::to(HOST);
    let good = world.answered(&request, OUTSIDE, "alice", PASSWORD);
    let other_branch = Request { branch: format!("{}x", good.branch), ..good.clone() };
    let requests = [
        (Request::to(ACL_HOST), INSIDE, "accept"),
        (good.clone(), OUTSIDE, "accept"),
        (Request::to("unknown.example.com"), INSIDE, "reject UnknownHost"),
        (good, OUTSIDE, "repeat"),
        // the same nonce and count in another transaction
        (other_branch, OUTSIDE, "challenge"),
        (request, OUTSIDE, "challenge"),
    ];
    let bytes: Vec<_> = requests.iter().map(|(request, ..)| request.bytes()).collect();
    let invites: Vec<_> = requests
        .iter()
        .zip(&bytes)
        .map(|((_, source, _), bytes)| {
            let source = source.parse().unwrap();
            sip_authz::Invite::from_datagram(bytes, source, Transport::Udp).unwrap()
        })
        .collect();
    let mut decisions = Vec::new();
    // `out` is cleared first
    for _ in 0..2 {
        world.authorizer.authorize_batch(&invites[..1], world.start, &mut decisions);
    }
    assert_eq!(decisions.len(), 1);
    world.authorizer.authorize_batch(&invites, world.start, &mut decisions);
    let outcomes = decisions.iter().map(|decision| match decision {
        Decision::Accept(accept) if accept.repeat => "repeat".to_owned(),
        Decision::Accept(_) => "accept".to_owned(),
        Decision::Challenge(_) => "challenge".to_owned(),
        Decision::Reject(reject) => format!("reject {:?}", reject.reason),
    });
    let expected: Vec<_> = requests.iter().map(|(.., expected)| (*expected).to_owned()).collect();
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
    world.authorizer.authorize_batch(&[], world.start, &mut decisions);
    assert!(decisions.is_empty());
}
