//! Checks the answers in the guide's list of questions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use sip_authz::model::{Credential, IpAccessControlList, IpAddress, Key, Mapping};
use sip_authz::{Cause, Reason};
use sip_authz_testing::kit::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn refused(world: &World, request: &Request, source: &str) -> Reason {
    rejected(world.send(request, source))
}

#[test]
fn an_unreachable_store_changes_nothing_until_the_deadline() {
    let mut world = World::new();
    let request = Request::to(ACL_HOST);
    world.sleep(HOUR);
    accepted(world.send(&request, INSIDE));

    world.authorizer.refuse_from(Some(world.start + world.now + Duration::from_secs(30)));
    world.sleep(Duration::from_secs(29));
    accepted(world.send(&request, INSIDE));
    world.sleep(HOUR);
    assert_eq!(refused(&world, &request, INSIDE), Reason::SnapshotStale);
    assert_eq!(Reason::SnapshotStale.status(), 503);

    world.authorizer.refuse_from(Some(world.start + world.now + HOUR));
    accepted(world.send(&request, INSIDE));
}

#[test]
fn a_clock_jump_costs_a_challenge_and_admits_no_replay() {
    let mut world = World::new().over(sip_authz::Transport::Tcp);
    let request = Request::to(HOST);
    let used = world.answered(&request, OUTSIDE, "alice", PASSWORD);
    let unused = world.answered(&request, OUTSIDE, "alice", PASSWORD);
    accepted(world.send(&used, OUTSIDE));

    world.sleep(HOUR);
    assert!(
        challenged(world.send(&unused, OUTSIDE)),
        "too old: challenged again, without a prompt"
    );
    world.now = Duration::ZERO;
    assert!(challenged(world.send(&used, OUTSIDE)), "back at the start, and still used");
    assert!(challenged(world.send(&unused, OUTSIDE)), "an expired nonce stays expired");
    let again = world.answered(&request, OUTSIDE, "alice", PASSWORD);
    accepted(world.send(&again, OUTSIDE));
}

#[test]
fn an_emptied_list_admits_no_caller() {
    let world = World::new();
    for prefix in ["192.0.2.0/24", "2001:db8::/32"] {
        world.delete(Key::IpAddress(address(prefix)));
    }
    let from_office = Request::to(ACL_HOST);
    assert_eq!(refused(&world, &from_office, INSIDE), Reason::AddressNotListed);

    let request = Request::to(HOST);
    for name in ["alice", "carol"] {
        world.delete(Key::Credential(credential(LIST, name)));
    }
    let answered = world.answered(&request, OUTSIDE, "alice", PASSWORD);
    assert_eq!(refused(&world, &answered, OUTSIDE), Reason::WrongCredentials);

    // delete the last mapping
    let mapping = Mapping::IpAccessControlList(domain(ACL_HOST).into(), acl(ACL));
    world.delete(Key::Mapping(mapping));
    assert_eq!(refused(&world, &from_office, INSIDE), Reason::NothingMapped);
}

#[test]
fn one_list_of_each_mapped_kind_must_admit() {
    let world = World::new();
    // a second access list with the other addresses
    world.apply(|commit| {
        let second = acl("homes");
        commit.put(IpAccessControlList::new(second, account()).into());
        let prefix = "198.51.100.0/24";
        commit.put(IpAddress::new(address(prefix), second, prefix.parse().unwrap()).into());
        commit.put(Mapping::IpAccessControlList(domain(ACL_HOST).into(), second).into());
    });
    for source in [INSIDE, OUTSIDE] {
        accepted(world.send(&Request::to(ACL_HOST), source));
    }

    // a second credential list where alice has another password, then is disabled
    world.apply(|commit| {
        commit.put(user(OTHER_LIST, "alice", "another-Password-8").into());
        let mapping = Mapping::CredentialList(domain(HOST).into(), list(OTHER_LIST));
        commit.put(mapping.into());
    });
    let request = Request::to(HOST);
    for password in [PASSWORD, "another-Password-8"] {
        let answered = world.answered(&request, OUTSIDE, "alice", password);
        accepted(world.send(&answered, OUTSIDE));
    }
    world.put(Credential { disabled: true, ..user(OTHER_LIST, "alice", PASSWORD) }.into());
    let answered = world.answered(&request, OUTSIDE, "alice", PASSWORD);
    accepted(world.send(&answered, OUTSIDE));
    let answered = world.answered(&request, OUTSIDE, "alice", "another-Password-8");
    assert_eq!(refused(&world, &answered, OUTSIDE), Reason::WrongCredentials);

    // with both kinds, a right password from outside is rejected
    let both = Request::to(BOTH_HOST);
    assert_eq!(refused(&world, &both, OUTSIDE), Reason::AddressNotListed);
    let answered = world.answered(&both, INSIDE, "alice", PASSWORD);
    accepted(world.send(&answered, INSIDE));
    let answered = world.answered(&both, INSIDE, "alice", "wrong");
    assert_eq!(refused(&world, &answered, INSIDE), Reason::WrongCredentials);
}

#[test]
fn a_retransmission_is_marked_if_a_digest_admitted_the_call() {
    let world = World::new();
    let by_address = Request::to(ACL_HOST);
    let by_digest = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    for (request, source, marked) in [(by_address, INSIDE, false), (by_digest, OUTSIDE, true)] {
        assert!(!accepted(world.send(&request, source)).repeat);
        assert_eq!(accepted(world.send(&request, source)).repeat, marked);
    }
}

/// The guide's table has a row for each reason, with its status and code.
#[test]
fn the_guide_names_every_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/rejections.md");
    let guide = fs::read_to_string(path).unwrap();
    let rows = guide.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.splitn(3, " | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    let reasons = Reason::ALL.iter().map(|reason| {
        let code = reason.code().map_or(String::new(), |code| format!(", {code}"));
        (reason.as_str().to_owned(), format!("{}{code}", reason.status()))
    });
    assert_eq!(BTreeSet::from_iter(rows), BTreeSet::from_iter(reasons));
}

/// The guide's table has a row for each cause, in the order of the code, with the texts of the code.
#[test]
fn the_guide_names_every_cause() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/causes.md");
    let guide = fs::read_to_string(path).unwrap();
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    let causes = Cause::ALL.iter().map(|cause| {
        let text = format!("| `{cause}` | {} | {} |", cause.meaning(), cause.advice());
        text.replace('<', "&lt;")
    });
    assert_eq!(Vec::from_iter(rows), Vec::from_iter(causes));
}
