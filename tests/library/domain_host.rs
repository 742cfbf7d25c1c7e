//! The hosts that name the domain of a call whose Request-URI names none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Instant;

use sip_authz::model::{AccountStatus, Policy, UriCheck};
use sip_authz::uri::MAX_URI;
use sip_authz::{Decision, Invite, Reason, Step, Transport};
use sip_authz_testing::kit::*;

/// Request-URIs that name no domain, each of another kind.
const UNNAMED: [&str; 9] = [
    "tel:+14155550100",
    "TEL:911",
    "tel:7042;phone-context=example.com",
    "urn:service:sos",
    "URN:SERVICE:sos.fire",
    "sip:911@203.0.113.7",
    "sip:911@[2001:db8::1]:5060;transport=udp",
    "sip:203.0.113.7",
    "SIP:911@Unknown.Example.COM.",
];

/// Decides a request for `uri` with these domain hosts.
fn decide(world: &World, bytes: &[u8], hosts: &[&str], source: &str) -> Decision {
    let invite = Invite::from_datagram(bytes, source.parse().unwrap(), world.transport).unwrap();
    let invite = hosts.iter().fold(invite, |invite, host| invite.with_domain_host(host));
    let now = world.start + world.now;
    let explained = world.authorizer.explain(&invite, now).decision;
    let decision = world.authorizer.authorize(&invite, now);
    assert_eq!(explained.target(), decision.target());
    decision
}

fn request(uri: &str) -> Request {
    Request { uri: uri.to_owned(), ..Request::to("elsewhere.example") }
}

fn status(world: &World, uri: &str, hosts: &[&str], source: &str) -> u16 {
    decide(world, &request(uri).bytes(), hosts, source).status()
}

#[test]
fn a_domain_host_decides_if_the_request_uri_names_no_domain() {
    let world = World::new();
    for uri in UNNAMED {
        let plain = if uri[..4].eq_ignore_ascii_case("sip:") { 404 } else { 416 };
        assert_eq!(status(&world, uri, &[], INSIDE), plain, "{uri}");
        assert_eq!(status(&world, uri, &["unknown.example.com", "10.0.0.1"], INSIDE), plain);
        assert_eq!(status(&world, uri, &[ACL_HOST], INSIDE), 200, "{uri}");
        assert_eq!(status(&world, uri, &[ACL_HOST], OUTSIDE), 403, "{uri}");
        assert_eq!(status(&world, uri, &["ACL.Example.COM."], INSIDE), 200, "{uri}");
        let decision = decide(&world, &request(uri).bytes(), &[HOST], OUTSIDE);
        assert_eq!(decision.target(), Some(domain(HOST).into()), "{uri}");
    }
}

#[test]
fn domain_hosts_are_tried_in_order() {
    let world = World::new();
    for (hosts, expected) in [
        (&[ACL_HOST, OTHER_HOST][..], Some(ACL_HOST)),
        (&[OTHER_HOST, ACL_HOST], Some(OTHER_HOST)),
        (&["unknown.example.com", ACL_HOST], Some(ACL_HOST)),
        // no hosts
        (&["", " ", "a b", "300.1.1.1", ACL_HOST], None),
        (&["", "sip:x", "a:5060", ACL_HOST], Some(ACL_HOST)),
        (&[BARE_HOST, ACL_HOST], Some(BARE_HOST)),
        // the fifth is not kept
        (&["a.b", "b.c", "c.d", "d.e", ACL_HOST], None),
    ] {
        for uri in UNNAMED {
            let decision = decide(&world, &request(uri).bytes(), hosts, INSIDE);
            let expected = expected.map(|host| domain(host).into());
            assert_eq!(decision.target(), expected, "{uri} {hosts:?}");
        }
    }
    let invite = Invite::new("tel:1", INSIDE.parse().unwrap(), Transport::Udp);
    let invite = (0..9).fold(invite, |invite, _| invite.with_domain_host(ACL_HOST));
    assert_eq!(invite.domain_hosts(), [ACL_HOST; Invite::MAX_DOMAIN_HOSTS]);
}

#[test]
fn a_domain_host_never_overrides_a_host_that_names_a_domain() {
    let world = World::new();
    for (host, source, expected) in [
        (BARE_HOST, INSIDE, 403),
        (ACL_HOST, OUTSIDE, 403),
        (HOST, INSIDE, 407),
        (OTHER_HOST, INSIDE, 407),
    ] {
        for uri in [
            format!("sip:100@{host}"),
            format!("sip:{host}"),
            format!("SIP:100@{}.:5080;lr", host.to_uppercase()),
        ] {
            let decision = decide(&world, &request(&uri).bytes(), &[ACL_HOST], source);
            assert_eq!(decision.status(), expected, "{uri}");
            assert_eq!(decision.target(), Some(domain(host).into()), "{uri}");
        }
    }
    // a domain of a suspended account is still named
    let mut suspended = sip_authz::model::Account::new(account());
    suspended.status = AccountStatus::Suspended;
    world.put(suspended.into());
    for uri in [&format!("sip:100@{ACL_HOST}"), "tel:1"] {
        let decision = decide(&world, &request(uri).bytes(), &[BARE_HOST, ACL_HOST], INSIDE);
        assert_eq!(rejected(decision), Reason::AccountInactive, "{uri}");
    }
}

#[test]
fn a_malformed_request_uri_is_not_decided_by_a_domain_host() {
    let world = World::new();
    let long = format!("tel:{}", "1".repeat(MAX_URI));
    for (uri, expected) in [
        ("sip:@203.0.113.7", 400),
        ("sip:100@300.1.1.1", 400),
        ("sip:100@", 400),
        ("sip:a@b@203.0.113.7", 400),
        ("sip:100@203.0.113.7:99999", 400),
        ("sip:1%2@203.0.113.7", 400),
        ("sips:", 400),
        ("911", 400),
        ("tel:", 416),
        ("tel:alice", 416),
        ("tel:1@acl.example.com", 416),
        ("tel:1;x=<y>", 416),
        (&long, 416),
        ("urn:service:", 416),
        ("urn:service:sos@acl.example.com", 416),
        ("urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", 416),
        ("http://203.0.113.7/", 416),
        ("mailto:911@203.0.113.7", 416),
        ("im:911@203.0.113.7", 416),
    ] {
        let source = INSIDE.parse().unwrap();
        let invite = Invite::new(uri, source, Transport::Udp);
        let plain = world.authorizer.authorize(&invite, world.start);
        let decision = world.authorizer.authorize(&invite.with_domain_host(ACL_HOST), world.start);
        assert_eq!((decision.status(), &decision), (expected, &plain), "{uri}");
    }
}

/// A request for `uri` with a correct digest over `digest_uri`, for the domain [`HOST`].
fn answered(world: &World, uri: &str, digest_uri: &str) -> Vec<u8> {
    let request = request(uri);
    let decision = decide(world, &request.bytes(), &[HOST], OUTSIDE);
    let Decision::Challenge(challenge) = decision else { panic!("{decision:?}") };
    let mut header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
    digest_uri.clone_into(&mut header.inner.uri);
    header.sign();
    request.with(&header.text()).bytes()
}

#[test]
fn a_digest_covers_the_request_uri_that_was_received() {
    const MODES: [UriCheck; 4] =
        [UriCheck::Off, UriCheck::SameHost, UriCheck::SameUserAndHost, UriCheck::Equivalent];
    let at_host = format!("sip:911@{HOST}");
    for (uri, digest_uri, admitted) in [
        ("tel:911", "tel:911", [true; 4]),
        ("urn:service:sos", "urn:service:sos", [true; 4]),
        ("sip:911@203.0.113.7", "sip:911@203.0.113.7", [true; 4]),
        // RFC 3966 §4 calls these equal, but only the same text is sure to be
        ("tel:911", "TEL:911", [true, false, false, false]),
        ("tel:+1-415", "tel:+1415", [true, false, false, false]),
        ("tel:911", "tel:912", [true, false, false, false]),
        ("tel:911", "urn:service:sos", [true, false, false, false]),
        ("urn:service:sos", "urn:service:sos.fire", [true, false, false, false]),
        // the host that decides is not the Request-URI's
        ("tel:911", &at_host, [true, false, false, false]),
        ("sip:911@203.0.113.7", &at_host, [true, false, false, false]),
        ("sip:911@203.0.113.7", "tel:911", [true, false, false, false]),
        ("sip:911@203.0.113.7", "sip:911@203.0.113.7:5060", [true, true, true, false]),
        ("sip:911@203.0.113.7", "sip:112@203.0.113.7", [true, true, false, false]),
    ] {
        for (mode, admitted) in MODES.into_iter().zip(admitted) {
            let world = World::with_policy(Policy::default().with_uri_check(mode));
            let bytes = answered(&world, uri, digest_uri);
            let decision = decide(&world, &bytes, &[HOST], OUTSIDE);
            if admitted {
                assert_eq!(accepted(decision).target, domain(HOST).into(), "{uri} {digest_uri}");
                // one nonce count, one call: the copy is a retransmission
                assert!(accepted(decide(&world, &bytes, &[HOST], OUTSIDE)).repeat);
            } else {
                assert_eq!(rejected(decision), Reason::UriMismatch, "{mode:?} {uri} {digest_uri}");
            }
        }
    }
}

#[test]
fn credentials_for_one_domain_are_not_good_for_another() {
    let world = World::new();
    let bytes = answered(&world, "tel:911", "tel:911");
    // alice is not in the list of this domain, and the nonce was issued for the other one
    let decision = decide(&world, &bytes, &[OTHER_HOST], OUTSIDE);
    assert!(challenged(decision), "another domain");
    assert_eq!(decide(&world, &bytes, &[], OUTSIDE).status(), 416);
    assert!(!accepted(decide(&world, &bytes, &[HOST], OUTSIDE)).repeat);
}

#[test]
fn tls_is_required_as_for_a_named_domain() {
    let world = World::new();
    let secure = sip_authz::model::Domain {
        secure: true,
        ..sip_authz::model::Domain::new(domain(ACL_HOST), account(), ACL_HOST.parse().unwrap())
    };
    let is_secure = |world: &World, uri: &str| status(world, uri, &[ACL_HOST], INSIDE) != 488;
    assert!(is_secure(&world, "tel:911") && !is_secure(&world, "sips:911@203.0.113.7"));
    world.put(secure.into());
    assert!(!is_secure(&world, "tel:911") && !is_secure(&world, "sip:911@203.0.113.7"));
    let world = world.over(Transport::Tls);
    assert!(is_secure(&world, "tel:911") && is_secure(&world, "sips:911@203.0.113.7"));
}

#[test]
fn an_explanation_names_the_host_that_decided() {
    let world = World::new();
    let invite = Invite::new("tel:911", INSIDE.parse().unwrap(), Transport::Udp);
    let invite = invite.with_domain_host("unknown.example.com").with_domain_host("ACL.example.com");
    let explanation = world.authorizer.explain(&invite, Instant::now());
    let step = Step::DomainHost { index: 1, host: ACL_HOST.to_owned() };
    assert_eq!(explanation.steps.first(), Some(&step));
    let line = "Request-URI: names no domain or trunk; domain host 2, `acl.example.com`, does\n";
    assert!(explanation.to_string().starts_with(line), "{explanation}");
}
