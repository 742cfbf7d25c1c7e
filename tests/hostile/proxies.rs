//! Hostile case 34, behind a proxy: an INVITE whose source is unknown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::model::{IpAccessControlList, IpAddress, Mapping, Record};
use sip_authz::{Decision, Invite, IpAddressSid, Reason};
use sip_authz_testing::kit::*;

/// A world whose [`BARE_HOST`] and [`BOTH_HOST`] admit every address, each by two lists.
fn admitting_everybody() -> World {
    let world = World::new();
    world.apply(|commit| {
        for (number, prefix) in ["0.0.0.0/0", "::/0"].into_iter().enumerate() {
            let list = acl(prefix);
            commit.put(Record::IpAccessControlList(IpAccessControlList::new(list, account())));
            let sid = IpAddressSid::from_bytes([u8::try_from(number).unwrap(); 16]);
            commit.put(Record::IpAddress(IpAddress::new(sid, list, prefix.parse().unwrap())));
            for host in [BARE_HOST, BOTH_HOST] {
                commit.put(Record::from(Mapping::IpAccessControlList(domain(host).into(), list)));
            }
        }
    });
    world
}

/// Decides a request of an unknown source behind the proxy at `proxy`.
fn unknown(world: &World, request: &Request, proxy: &str) -> Decision {
    let (bytes, now) = (request.bytes(), world.start + world.now);
    let invite = Invite::from_datagram(&bytes, proxy.parse().unwrap(), world.transport).unwrap();
    assert!(invite.is_source_known());
    let invite = invite.with_unknown_source();
    assert!(!invite.is_source_known());
    world.authorizer.authorize(&invite, now)
}

#[test]
fn case_34_no_access_list_admits_an_unknown_source() {
    let world = admitting_everybody();
    for proxy in [INSIDE, OUTSIDE, "[2001:db8::1]:5060"] {
        for host in [BARE_HOST, BOTH_HOST, ACL_HOST] {
            let request = Request::to(host);
            assert_eq!(rejected(unknown(&world, &request, proxy)), Reason::AddressNotListed);
            let bytes = request.bytes();
            let source = proxy.parse().unwrap();
            let invite = Invite::from_datagram(&bytes, source, world.transport).unwrap();
            let invites = [invite.clone(), invite.with_unknown_source()];
            let mut decisions = Vec::new();
            world.authorizer.authorize_batch(&invites, world.start, &mut decisions);
            let reason = rejected(decisions.pop().unwrap());
            assert_eq!(reason, Reason::AddressNotListed, "{host} from {proxy}");
            if host == BARE_HOST {
                accepted(decisions.pop().unwrap());
            }
            let explanation = world.authorizer.explain(&invites[1], world.start);
            assert_eq!(rejected(explanation.decision.clone()), Reason::AddressNotListed);
            let text = explanation.to_string();
            assert!(text.contains("the source is unknown, so none admits it"), "{text}");
        }
    }
    // right credentials do not make up for the list
    let answered = world.answered(&Request::to(BOTH_HOST), INSIDE, "alice", PASSWORD);
    assert_eq!(rejected(unknown(&world, &answered, INSIDE)), Reason::AddressNotListed);
}

#[test]
fn case_34_an_unknown_source_is_accepted_by_credentials_alone() {
    let world = World::new();
    let request = Request::to(HOST);
    let Decision::Challenge(challenge) = unknown(&world, &request, INSIDE) else { panic!() };
    let header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
    let answered = request.with(&header.text());
    // the nonce is bound to the proxy
    assert!(challenged(unknown(&world, &answered, OUTSIDE)), "stale at another proxy");
    accepted(unknown(&world, &answered, INSIDE));
}

#[test]
fn case_34_a_basis_for_an_unknown_source_ends_when_a_list_is_mapped() {
    let world = World::new();
    let answered = world.answered(&Request::to(HOST), INSIDE, "alice", PASSWORD);
    let bytes = answered.bytes();
    let invite = Invite::from_datagram(&bytes, INSIDE.parse().unwrap(), world.transport).unwrap();
    let unknown = invite.clone().with_unknown_source();
    let accept = accepted(world.authorizer.authorize(&unknown, world.start));
    let snapshot = world.authorizer.snapshot();
    let bases = [&invite, &unknown].map(|invite| snapshot.basis(&accept, invite).unwrap());
    world.put(Record::from(Mapping::IpAccessControlList(domain(HOST).into(), acl(ACL))));
    let upheld = bases.map(|basis| world.authorizer.snapshot().upholds(&basis));
    assert_eq!(upheld, [true, false], "the address of the proxy is in the list");
}

/// Sends wrong digests of alice until they are limited, each with a new branch.
fn guess(send: impl Fn(&Request) -> Decision) {
    for number in 0.. {
        assert!(number < 100, "guesses are not limited");
        let request = Request { branch: format!("z9hG4bKguess{number}"), ..Request::to(HOST) };
        let Decision::Challenge(challenge) = send(&request) else { panic!("no challenge") };
        let header = Header::answer(&challenge.values[0], &request, "alice", "a guess");
        if rejected(send(&request.with(&header.text()))) == Reason::TooManyGuesses {
            return;
        }
    }
}

#[test]
fn case_34_guesses_of_unknown_sources_count_together_and_lock_no_other_out() {
    let world = World::new();
    let proxy = "198.51.100.9:5060";
    let right = |send: &dyn Fn(&Request) -> Decision| {
        let request = Request { branch: "z9hG4bKright".to_owned(), ..Request::to(HOST) };
        let Decision::Challenge(challenge) = send(&request) else { panic!("no challenge") };
        let header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
        send(&request.with(&header.text()))
    };
    // a caller whose source is unknown proves its password: this protects no other one
    accepted(right(&|request| unknown(&world, request, proxy)));
    guess(|request| unknown(&world, request, proxy));
    let limited = right(&|request| unknown(&world, request, proxy));
    assert_eq!(rejected(limited), Reason::TooManyGuesses);
    // callers with a source are not limited
    accepted(right(&|request| world.send(request, OUTSIDE)));
}

#[test]
fn case_34_a_flow_with_an_unknown_port_is_limited_although_it_proved_the_password() {
    let world = World::new();
    let attempt = |source: &str, number: usize, password: &str| {
        let branch = format!("z9hG4bK{number}{}", password.len());
        let request = Request { branch, ..Request::to(HOST) };
        world.send(&world.answered(&request, source, "alice", password), source)
    };
    for (source, is_protected) in [("203.0.113.1:5060", true), ("203.0.113.2:0", false)] {
        accepted(attempt(source, 0, PASSWORD));
        // guesses from another port, and from one that is unknown, too
        let guesser = source.replace(":5060", ":9");
        guess(|request| world.send(request, &guesser));
        assert_eq!(attempt(source, 1, PASSWORD).is_accept(), is_protected, "{source}");
    }
}
