//! Hostile case 37: what an accept rests on, for programs that grant more than the call. The program's
//! own tests of connections are in `crates/cli`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::model::{
    Account, AccountStatus, Credential, Domain, IpAddress, Key, Mapping, Record,
};
use sip_authz::{AcceptBasis, Invite, Transport};
use sip_authz_testing::kit::*;

/// The basis of an accepted call to `host` from inside.
fn basis(world: &World, host: &str) -> AcceptBasis {
    let request = Request::to(host);
    let needs_digest = host != ACL_HOST;
    let request = match needs_digest {
        true => world.answered(&request, INSIDE, "alice", PASSWORD),
        false => request,
    };
    let bytes = request.bytes();
    let accept = accepted(world.send(&request, INSIDE));
    let invite = Invite::from_datagram(&bytes, INSIDE.parse().unwrap(), world.transport).unwrap();
    let basis = world.authorizer.snapshot().basis(&accept, &invite).expect("it was accepted");
    assert_eq!(basis.account(), account());
    assert!(world.authorizer.snapshot().upholds(&basis));
    basis
}

/// Whether the basis of a call to `host` holds after `change`.
fn holds(host: &str, change: impl FnOnce(&World)) -> bool {
    let world = World::new().over(Transport::Tcp);
    let basis = basis(&world, host);
    change(&world);
    world.authorizer.snapshot().upholds(&basis)
}

fn domain_record(host: &str, secure: bool) -> Record {
    let new = Domain::new(domain(host), account(), host.parse().unwrap());
    Record::Domain(Domain { secure, ..new })
}

#[test]
fn case_37_a_basis_ends_with_whatever_the_accept_rested_on() {
    for host in [HOST, ACL_HOST, BOTH_HOST] {
        for status in [AccountStatus::Suspended, AccountStatus::Closed] {
            assert!(!holds(host, |world| {
                world.put(Record::Account(Account { status, ..Account::new(account()) }));
            }));
        }
        assert!(!holds(host, |world| world.put(domain_record(host, true))), "{host}");
    }
    let by_credential = |host| Mapping::CredentialList(domain(host).into(), list(LIST));
    let by_address = |host| Mapping::IpAccessControlList(domain(host).into(), acl(ACL));
    for host in [HOST, BOTH_HOST] {
        let alice = || user(LIST, "alice", PASSWORD);
        assert!(!holds(host, |world| world.delete(Key::Credential(alice().sid))));
        assert!(!holds(host, |world| {
            world.put(Record::Credential(Credential { disabled: true, ..alice() }));
        }));
        assert!(!holds(host, |world| {
            world.put(Record::Credential(user(LIST, "alice", "Another-Horse-8")));
        }));
        assert!(!holds(host, |world| world.delete(Key::Mapping(by_credential(host)))));
        assert!(!holds(host, |world| {
            world.delete(Key::Mapping(by_credential(host)));
            let others = Mapping::CredentialList(domain(host).into(), list(OTHER_LIST));
            world.put(Record::from(others));
        }));
    }
    for host in [ACL_HOST, BOTH_HOST] {
        assert!(!holds(host, |world| world.delete(Key::IpAddress(address("192.0.2.0/24")))));
        let elsewhere = "203.0.113.0/24".parse().unwrap();
        assert!(!holds(host, |world| {
            let moved = IpAddress::new(address("192.0.2.0/24"), acl(ACL), elsewhere);
            world.put(Record::IpAddress(moved));
        }));
    }
    assert!(!holds(ACL_HOST, |world| world.delete(Key::Mapping(by_address(ACL_HOST)))));
    assert!(
        !holds(ACL_HOST, |world| world.put(Record::from(by_credential(ACL_HOST)))),
        "a password is required now"
    );
    assert!(!holds(ACL_HOST, |world| {
        world.apply(|commit| {
            commit.delete(Key::Mapping(by_address(ACL_HOST)));
            commit.delete(Key::Policy(domain(ACL_HOST).into()));
            commit.delete(Key::Target(domain(ACL_HOST).into()));
        });
    }));
}

#[test]
fn case_37_a_basis_outlives_unrelated_changes() {
    for host in [HOST, ACL_HOST, BOTH_HOST] {
        assert!(holds(host, |world| {
            world.put(Record::Credential(user(LIST, "dave", "Another-Horse-8")));
            world.delete(Key::Credential(credential(OTHER_LIST, "bob")));
            world.delete(Key::IpAddress(address("2001:db8::/32")));
            // the same password, hashed again
            world.put(Record::Credential(user(LIST, "alice", PASSWORD)));
            world.put(Record::Account(Account::new(account())));
            world.put(domain_record(BARE_HOST, true));
        }));
        // a snapshot with the same records that was loaded afresh
        assert!(holds(host, |world| {
            world.authorizer.replace(snapshot(&sip_authz::model::Policy::default()));
        }));
        assert!(!holds(host, |world| {
            world.authorizer.replace(sip_authz::Snapshot::empty());
        }));
    }
}

#[test]
fn case_37_no_basis_is_made_under_a_later_snapshot_that_refuses() {
    let world = World::new();
    let request = world.answered(&Request::to(HOST), INSIDE, "alice", PASSWORD);
    let accept = accepted(world.send(&request, INSIDE));
    let bytes = request.bytes();
    let invite = Invite::from_datagram(&bytes, INSIDE.parse().unwrap(), world.transport).unwrap();
    assert!(world.authorizer.snapshot().basis(&accept, &invite).is_some());
    world.delete(Key::Credential(credential(LIST, "alice")));
    assert!(world.authorizer.snapshot().basis(&accept, &invite).is_none());
}

#[test]
fn case_37_a_basis_shows_no_address_and_no_hash() {
    let world = World::new();
    let shown = format!("{:?}", basis(&world, BOTH_HOST));
    assert!(shown.starts_with("AcceptBasis") && !shown.contains("192.0.2"), "{shown}");
    assert!(!shown.contains("tag") && !shown.contains("key"), "{shown}");
}
