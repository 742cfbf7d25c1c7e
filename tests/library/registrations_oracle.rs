//! Random requests to random domains, compared with the rules written out in a slow way.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use sip_authz::model::{
    ChallengeKind, Commit, CredentialList, Domain, Mapping, Policy, Record, RegisterAs,
};
use sip_authz::{Cause, Decision, Reason};
use sip_authz_testing::kit::*;

/// The lists that a domain can have, each with the users of `USERS` and a password of its own.
const LISTS: [&str; 3] = ["one", "two", "three"];
const USERS: [&str; 2] = ["anna", "ben"];
const TEMPLATES: [&str; 3] = ["{user}", "+49{user}", "a{user}"];
const METHODS: [&str; 5] = ["REGISTER", "REGISTER", "INVITE", "OPTIONS", "MESSAGE"];
const ELSEWHERE: &str = "elsewhere.example.com";

fn password(list: &str) -> String {
    format!("Password-of-{list}-1")
}

#[derive(Clone, Debug)]
struct Case {
    switched_on: bool,
    calls: BTreeSet<usize>,
    registrations: BTreeSet<usize>,
    has_access_list: bool,
    templates: BTreeSet<usize>,
    kind: ChallengeKind,
    method: &'static str,
    /// The method that the digest is made for.
    signed: &'static str,
    is_inside: bool,
    user: &'static str,
    /// The list whose password is used; none for a wrong one.
    list: Option<usize>,
    has_credentials: bool,
    to_user: String,
    to_host: &'static str,
}

fn subset(of: usize) -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..of, 0..=of)
}

fn case() -> impl Strategy<Value = Case> {
    let target = (any::<bool>(), subset(3), subset(3), prop::bool::weighted(0.3));
    let policy = (
        prop::collection::btree_set(0..3_usize, 1..=3),
        select(vec![ChallengeKind::Proxy, ChallengeKind::Server]),
    );
    let method = select(METHODS.to_vec());
    let digest = (method, select(METHODS.to_vec()), prop::bool::weighted(0.8));
    let caller = (
        prop::bool::weighted(0.7),
        select(USERS.to_vec()),
        prop::option::weighted(0.9, 0..3_usize),
        prop::bool::weighted(0.9),
    );
    let to = (
        select(vec!["", "+49", "a", "b"]),
        select(USERS.to_vec()),
        select(vec![HOST, HOST, HOST, "DIGEST.example.com.", ELSEWHERE]),
    );
    (target, policy, digest, caller, to).prop_map(|(target, policy, digest, caller, to)| {
        let (switched_on, calls, registrations, has_access_list) = target;
        let (templates, kind) = policy;
        let (method, signed, is_same) = digest;
        let (is_inside, user, list, has_credentials) = caller;
        let (prefix, to_user, to_host) = to;
        let signed = if is_same { method } else { signed };
        let to_user = format!("{prefix}{to_user}");
        Case {
            switched_on,
            calls,
            registrations,
            has_access_list,
            templates,
            kind,
            method,
            signed,
            is_inside,
            user,
            list,
            has_credentials,
            to_user,
            to_host,
        }
    })
}

/// The status of the answer by the rules, the reason of a rejection, and the cause.
fn expected(case: &Case) -> (u16, Option<Reason>, Option<Cause>) {
    let reject = |reason: Reason, cause| (reason.status(), Some(reason), Some(cause));
    let registers = case.method == "REGISTER";
    if !registers && case.calls.is_empty() && !case.has_access_list {
        let cause = match case.registrations.is_empty() {
            true => Cause::NothingMapped,
            false => Cause::OnlyRegistrationsMapped,
        };
        return reject(Reason::NothingMapped, cause);
    }
    if case.has_access_list && !case.is_inside {
        return reject(Reason::AddressNotListed, Cause::AddressNotListed);
    }
    let lists = if registers { &case.registrations } else { &case.calls };
    if registers && (!case.switched_on || lists.is_empty()) {
        let cause = match case.switched_on {
            true => Cause::NoRegistrationList,
            false => Cause::RegistrationsOff,
        };
        return reject(Reason::RegistrationNotAllowed, cause);
    }
    if case.method == "MESSAGE" {
        return reject(Reason::MethodNotAllowed, Cause::MethodNotAllowed);
    }
    if lists.is_empty() {
        return (200, None, None);
    }
    if !case.has_credentials {
        let cause = Some(Cause::NoCredentials);
        return match case.kind {
            ChallengeKind::Proxy if !registers => (407, None, cause),
            _ => (401, None, cause),
        };
    }
    let is_right = case.signed == case.method && case.list.is_some_and(|it| lists.contains(&it));
    if !is_right {
        return reject(Reason::WrongCredentials, Cause::WrongPassword);
    }
    if registers {
        let mut templates = case.templates.iter().map(|it| TEMPLATES[*it]);
        let names = templates.any(|it| it.replace("{user}", case.user) == case.to_user);
        if case.to_host == ELSEWHERE {
            return reject(Reason::ToMismatch, Cause::ToOfOtherDomain);
        }
        if !names {
            return reject(Reason::ToMismatch, Cause::ToOfOtherUser);
        }
    }
    (200, None, None)
}

fn world(case: &Case) -> World {
    let templates = RegisterAs::new(case.templates.iter().map(|it| TEMPLATES[*it])).unwrap();
    let policy = Policy::default().with_challenge(case.kind).with_register_as(templates);
    let world = World::new();
    let mut commit = Commit::new();
    let target = domain(HOST);
    commit
        .delete(sip_authz::model::Key::Mapping(Mapping::CredentialList(target.into(), list(LIST))));
    let mut record = Domain::new(target, account(), HOST.parse().unwrap());
    record.settings.sip_registration = case.switched_on;
    commit.put(record.into()).put(policy_of(HOST, policy));
    for (number, name) in LISTS.into_iter().enumerate() {
        let realm = REALM.parse().unwrap();
        commit.put(CredentialList::new(list(name), account(), realm).into());
        for username in USERS {
            commit.put(user(name, username, &password(name)).into());
        }
        if case.calls.contains(&number) {
            commit.put(Record::from(Mapping::CredentialList(target.into(), list(name))));
        }
        if case.registrations.contains(&number) {
            commit.put(Record::from(Mapping::Registration(target, list(name))));
        }
    }
    if case.has_access_list {
        commit.put(Record::from(Mapping::IpAccessControlList(target.into(), acl(ACL))));
    }
    world.authorizer.apply(&commit).unwrap();
    world
}

/// The decision on the request of a case, after a challenge if it has credentials.
fn decided(case: &Case) -> Decision {
    let world = world(case);
    let source = if case.is_inside { INSIDE } else { OUTSIDE };
    let mut request = Request::register(HOST, case.user).with_method(case.method);
    request.to = format!("<sip:{}@{}>", case.to_user, case.to_host);
    let first = world.send(&request, source);
    let Decision::Challenge(challenge) = &first else { return first };
    if !case.has_credentials {
        return first;
    }
    let password = case.list.map_or_else(|| "wrong".to_owned(), |it| password(LISTS[it]));
    let mut header = Header::answer(&challenge.values[0], &request, case.user, &password);
    header.method = case.signed.to_owned();
    header.sign();
    world.send(&request.with(&header.text()), source)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn each_request_is_decided_as_the_rules_say(case in case()) {
        let decision = decided(&case);
        let reason = match &decision {
            Decision::Reject(reject) => Some(reject.reason),
            _ => None,
        };
        let found = (decision.status(), reason, decision.cause());
        prop_assert_eq!(found, expected(&case), "{:?}", decision);
        if let Decision::Accept(accept) = &decision {
            // a registration always has a user of one of its lists
            let credential = accept.credential.as_ref();
            let lists = if case.method == "REGISTER" { &case.registrations } else { &case.calls };
            prop_assert_eq!(credential.is_some(), !lists.is_empty());
            if let Some(credential) = credential {
                prop_assert!(lists.iter().any(|it| list(LISTS[*it]) == credential.list));
                prop_assert_eq!(&*credential.username, case.user);
            }
        }
    }
}
