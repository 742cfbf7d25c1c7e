//! Hostile case 42: a domain named by something else than the Request-URI, which names none.

use sip_authz::model::{Mapping, Policy, Record, UriCheck};
use sip_authz::{Decision, Invite, Reason};
use sip_authz_testing::kit::*;

/// Request-URIs that name no domain.
const UNNAMED: [&str; 4] =
    ["tel:+14155550100", "urn:service:sos", "sip:911@203.0.113.7", "sips:911@[2001:db8::1]"];

fn request(uri: &str) -> Request {
    Request { uri: uri.to_owned(), ..Request::to("elsewhere.example") }
}

fn with_host<'a>(world: &World, bytes: &'a [u8], host: &'a str, source: &str) -> Invite<'a> {
    let source = source.parse().unwrap();
    Invite::from_datagram(bytes, source, world.transport).unwrap().with_domain_host(host)
}

/// Decides a request for which `host` names the domain.
fn decide(world: &World, request: &Request, host: &str, source: &str) -> Decision {
    let bytes = request.bytes();
    world.authorizer.authorize(&with_host(world, &bytes, host, source), world.start + world.now)
}

/// The request with credentials of alice that answer the challenge of the domain `host`.
fn answered(world: &World, request: &Request, host: &str) -> Request {
    let Decision::Challenge(challenge) = decide(world, request, host, OUTSIDE) else { panic!() };
    let header = Header::answer(&challenge.values[0], request, "alice", PASSWORD);
    request.clone().with(&header.text())
}

/// A world over TLS whose [`OTHER_HOST`] admits the users of [`HOST`] too.
fn sharing_a_list() -> World {
    let world = World::with_policy(Policy::default().with_uri_check(UriCheck::Equivalent));
    let world = world.over(sip_authz::Transport::Tls);
    world.put(Record::from(Mapping::CredentialList(domain(OTHER_HOST).into(), list(LIST))));
    world
}

#[test]
fn case_42_credentials_for_one_domain_hold_for_no_other_with_the_same_list() {
    for uri in UNNAMED {
        let world = sharing_a_list();
        let answered = answered(&world, &request(uri), HOST);
        let moved = decide(&world, &answered, OTHER_HOST, OUTSIDE);
        assert!(challenged(moved), "{uri}: the nonce was issued for the other domain");
        assert_eq!(accepted(decide(&world, &answered, HOST, OUTSIDE)).target, domain(HOST).into());
        assert!(challenged(decide(&world, &answered, OTHER_HOST, OUTSIDE)), "{uri}");
    }
}

#[test]
fn case_42_a_header_never_replaces_a_host_that_names_a_domain() {
    let world = World::new();
    for (host, reason) in [(ACL_HOST, Reason::AddressNotListed), (BARE_HOST, Reason::NothingMapped)]
    {
        for uri in [format!("sip:1@{host}"), format!("sip:{}.:5070;x", host.to_uppercase())] {
            for other in [HOST, ACL_HOST, BARE_HOST, OTHER_HOST] {
                let decision = decide(&world, &request(&uri), other, OUTSIDE);
                assert_eq!(rejected(decision), reason, "{uri} {other}");
            }
        }
    }
}

#[test]
fn case_42_texts_that_are_no_host_name_no_domain() {
    let world = World::new();
    let hosts = [
        "",
        ".",
        "acl.example.com..",
        " acl.example.com",
        "acl.example.com:5060",
        "acl%2eexample.com",
    ];
    for host in
        hosts.into_iter().chain(["sip:1@acl.example.com", "acl.example.com\0", "192.0.2.007"])
    {
        for uri in ["tel:911", "sip:911@203.0.113.7"] {
            let decision = decide(&world, &request(uri), host, INSIDE);
            assert_eq!(decision.target(), None, "{uri} {host:?}");
            assert!(!decision.is_accept(), "{uri} {host:?}");
        }
    }
}

#[test]
fn case_42_single_batch_and_explained_decisions_agree() {
    let world = World::new().over(sip_authz::Transport::Tls);
    let malformed = ["tel:", "tel:1@acl.example.com", "urn:service:.", "sip:a@b@c", "http://a/"];
    let named = [HOST, ACL_HOST, BARE_HOST].map(|host| format!("sip:1@{host}"));
    let uris = UNNAMED.into_iter().chain(malformed).chain(named.iter().map(String::as_str));
    let cases: Vec<_> = uris
        .flat_map(|uri| [HOST, ACL_HOST, BARE_HOST, "unknown.example"].map(|host| (uri, host)))
        .collect();
    for source in [INSIDE, OUTSIDE] {
        let source_address = source.parse().unwrap();
        let invites: Vec<_> = cases
            .iter()
            .map(|(uri, host)| {
                Invite::new(*uri, source_address, world.transport).with_domain_host(host)
            })
            .collect();
        let mut decisions = Vec::new();
        world.authorizer.authorize_batch(&invites, world.start, &mut decisions);
        for ((invite, batched), case) in invites.iter().zip(&decisions).zip(&cases) {
            let single = world.authorizer.authorize(invite, world.start);
            let explained = world.authorizer.explain(invite, world.start).decision;
            for decision in [single, explained] {
                assert_eq!(decision.status(), batched.status(), "{case:?} {source}");
                assert_eq!(decision.target(), batched.target(), "{case:?} {source}");
            }
        }
    }
}

/// A digest over a URI of any host that names nothing is good with the fallback.
/// SECURITY.md says so.
#[test]
fn case_42_a_relayed_digest_holds_for_the_uri_that_the_victim_called() {
    let world = sharing_a_list();
    let relayed = answered(&world, &request("sip:1@server.invalid"), HOST);
    accepted(decide(&world, &relayed, HOST, OUTSIDE));
    // for no other number, and for no domain here that the victim did not call
    let relayed = answered(&world, &request("sip:1@server.invalid"), HOST);
    let elsewhere = Request { uri: "sip:2@server.invalid".to_owned(), ..relayed.clone() };
    assert_eq!(rejected(decide(&world, &elsewhere, HOST, OUTSIDE)), Reason::UriMismatch);
    let named = Request { uri: format!("sip:1@{HOST}"), ..relayed.clone() };
    assert_eq!(rejected(decide(&world, &named, HOST, OUTSIDE)), Reason::UriMismatch);
    // without a domain host, the URI is good nowhere
    let decision = world.send(&relayed, OUTSIDE);
    assert_eq!(rejected(decision), Reason::UnknownHost);
}
