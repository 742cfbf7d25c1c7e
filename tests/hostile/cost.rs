//! Hostile case 38: a tenant or a stranger that makes others pay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::digest::Algorithm;
use sip_authz::model::rules::MAX_COPIES;
use sip_authz::model::{CredentialList, Mapping, Record};
use sip_authz::{Decision, Reason};
use sip_authz_testing::kit::*;

/// A world whose domain [`HOST`] has 100 more lists. `copies` of them hold alice.
fn world(copies: usize) -> World {
    let world = World::with_policy(offering(&Algorithm::ALL));
    world.apply(|commit| {
        for n in 0..100 {
            let name = format!("list {n}");
            let record = CredentialList::new(list(&name), account(), REALM.parse().unwrap());
            commit.put(Record::CredentialList(record));
            commit.put(Record::from(Mapping::CredentialList(domain(HOST).into(), list(&name))));
            commit.put(Record::Credential(user(&name, &format!("user{n}"), PASSWORD)));
            if n < copies {
                commit.put(Record::Credential(user(&name, "alice", "Other-Horse-1")));
            }
        }
    });
    world
}

/// The decision on a request with a wrong response to each challenge, and these further headers.
fn wrong_responses(world: &World, name: &str, further: usize) -> Decision {
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    let answer = |value: &String, n: usize| {
        let password = format!("Wrong-Horse-{n}");
        Header::answer(value, &request, name, &password).text()
    };
    let values: Vec<String> = challenge.values.iter().map(ToString::to_string).collect();
    let dearest = values.last().unwrap();
    let mut headers: Vec<_> = values.iter().map(|value| answer(value, 0)).collect();
    headers.extend((1..=further).map(|n| answer(dearest, n)));
    let with = headers.iter().fold(request.clone(), |request, header| request.with(header));
    world.send(&with, OUTSIDE)
}

#[test]
fn case_38_a_hundred_lists_and_a_header_of_each_algorithm() {
    let world = world(MAX_COPIES - 1);
    for name in ["alice", "user7", "nobody"] {
        assert_eq!(rejected(wrong_responses(&world, name, 0)), Reason::WrongCredentials, "{name}");
    }
    for n in [0, 50, 99] {
        let request = Request { branch: format!("z9hG4bK{n}"), ..Request::to(HOST) };
        let name = format!("user{n}");
        let accept =
            accepted(world.send(&world.answered(&request, OUTSIDE, &name, PASSWORD), OUTSIDE));
        assert_eq!(accept.credential.unwrap().list, list(&format!("list {n}")));
    }
    // each copy has its own password
    for password in [PASSWORD, "Other-Horse-1"] {
        let request = Request { branch: format!("z9hG4bK{password}"), ..Request::to(HOST) };
        accepted(world.send(&world.answered(&request, OUTSIDE, "alice", password), OUTSIDE));
    }
}

#[test]
fn case_38_of_two_headers_of_an_algorithm_the_newest_is_judged() {
    let world = world(0);
    for further in 1..=2 {
        assert_eq!(rejected(wrong_responses(&world, "alice", further)), Reason::WrongCredentials);
    }
    // an older wrong header is not judged, a newer one is, in any order
    for newest_is_right in [true, false] {
        for newest_first in [true, false] {
            let request =
                Request { branch: format!("z9hG4bK{newest_is_right}"), ..Request::to(HOST) };
            let header = |password: &str| {
                let challenge = world.challenge(&request, INSIDE);
                Header::answer(&challenge.values[0], &request, "alice", password).text()
            };
            let (older, newest) = if newest_is_right {
                (header("Wrong-Horse-1"), header(PASSWORD))
            } else {
                (header(PASSWORD), header("Wrong-Horse-1"))
            };
            let (first, second) = if newest_first { (newest, older) } else { (older, newest) };
            let decision = world.send(&request.clone().with(&first).with(&second), INSIDE);
            assert_eq!(decision.is_accept(), newest_is_right);
        }
    }
}
