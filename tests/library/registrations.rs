//! REGISTER: decided by the lists for registrations, answered 401, and only for the user itself.

use sip_authz::digest::Algorithm;
use sip_authz::message::Message;
use sip_authz::model::{
    Account, AccountStatus, ChallengeKind, Commit, Credential, CredentialList, Domain, Key,
    Mapping, MethodSet, Policy, Record, Role, RoleKind, Vocabulary,
};
use sip_authz::{
    CredentialsField, Decision, Explanation, Invite, InviteError, Reason, RoleSid, ServiceSid,
    Snapshot, Step, ToOutcome, Transport,
};
use sip_authz_testing::kit::*;

fn world_with(policy: Policy) -> World {
    let world = World::with_policy(policy);
    for host in [HOST, BOTH_HOST, BARE_HOST] {
        take_registrations(&world, host);
    }
    world
}

fn world() -> World {
    world_with(Policy::default())
}

/// The decision on a REGISTER for `host` and `user`, signed as `name`.
fn registered(world: &World, request: &Request, name: &str, password: &str) -> Decision {
    world.send(&world.answered(request, INSIDE, name, password), INSIDE)
}

fn explained(world: &World, request: &Request) -> Explanation {
    let bytes = request.bytes();
    let scanned = Message::scan(&bytes).unwrap();
    let invite = Invite::from_request(&scanned, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    world.authorizer.explain(&invite, world.start + world.now)
}

#[test]
fn a_phone_registers_with_the_password_of_a_registration_list() {
    let world = world();
    for host in [HOST, BOTH_HOST, BARE_HOST] {
        let request = Request::register(host, "alice");
        let accept = accepted(registered(&world, &request, "alice", PHONE_PASSWORD));
        assert_eq!(accept.target, domain(host).into());
        assert_eq!(accept.account, account());
        let credential = accept.credential.unwrap();
        assert_eq!((credential.list, &*credential.username), (list(PHONES), "alice"));
        assert_eq!(accept.address.is_some(), host == BOTH_HOST);
    }
}

/// RFC 3261 §22.2: the edge speaks for the registrar. Phones answer either challenge in either field.
#[test]
fn the_challenge_is_401_under_every_policy_and_both_fields_count() {
    for kind in [ChallengeKind::Proxy, ChallengeKind::Server] {
        let world = world_with(Policy::default().with_challenge(kind));
        let request = Request::register(HOST, "alice");
        let challenge = world.challenge(&request, INSIDE);
        assert_eq!((challenge.status(), challenge.header_name()), (401, "WWW-Authenticate"));
        let call = world.challenge(&Request::to(HOST), INSIDE);
        assert_eq!(call.kind, kind);
        for (nc, field) in [(1, "Authorization"), (2, "Proxy-Authorization")] {
            let request = Request { branch: format!("z9hG4bK{nc}"), ..request.clone() };
            let header =
                Header::answer(&challenge.values[0], &request, "alice", PHONE_PASSWORD).with_nc(nc);
            let line = format!("{field}: {}", header.text());
            accepted(world.send(&request.with_line(line.as_bytes()), INSIDE));
        }
        // stale nonces and wrong passwords are answered 401 too
        let header = Header::answer(&challenge.values[0], &request, "alice", PHONE_PASSWORD);
        let stale = Request { branch: "z9hG4bKx".to_owned(), ..request };
        let Decision::Challenge(again) = world.send(&stale.with(&header.text()), INSIDE) else {
            panic!("a used count");
        };
        assert!(again.stale && again.status() == 401);
    }
}

#[test]
fn the_lists_of_calls_and_registrations_are_apart() {
    let world = world();
    let refused =
        |request: &Request, name, password| rejected(registered(&world, request, name, password));
    let register = Request::register(HOST, "alice");
    assert_eq!(refused(&register, "alice", PASSWORD), Reason::WrongCredentials, "a call list");
    let call = Request::to(HOST);
    assert_eq!(refused(&call, "alice", PHONE_PASSWORD), Reason::WrongCredentials);
    assert_eq!(refused(&call, "dave", PHONE_PASSWORD), Reason::WrongCredentials);
    accepted(registered(&world, &call, "alice", PASSWORD));
    accepted(registered(&world, &register, "alice", PHONE_PASSWORD));
    // a domain without lists for calls takes registrations and no calls
    assert_eq!(rejected(world.send(&Request::to(BARE_HOST), INSIDE)), Reason::NothingMapped);
    // one list can serve both
    world.put(Record::from(Mapping::Registration(domain(HOST), list(LIST))));
    accepted(registered(&world, &register.next(), "alice", PASSWORD));
    accepted(registered(&world, &register.next().next(), "alice", PHONE_PASSWORD));
}

#[test]
fn without_the_switch_or_a_list_nobody_registers() {
    let world = world();
    let decide = |host| rejected(world.send(&Request::register(host, "alice"), INSIDE));
    for host in [ACL_HOST, OTHER_HOST] {
        assert_eq!(decide(host), Reason::RegistrationNotAllowed, "{host}: no list");
        world.put(registering(host).into());
        assert_eq!(decide(host), Reason::RegistrationNotAllowed, "{host}: still no list");
    }
    assert_eq!(Reason::RegistrationNotAllowed.status(), 403);
    let off = Domain::new(domain(HOST), account(), HOST.parse().unwrap());
    world.put(off.into());
    assert_eq!(decide(HOST), Reason::RegistrationNotAllowed, "switched off");
    world.put(registering(HOST).into());
    assert!(matches!(
        world.send(&Request::register(HOST, "alice"), INSIDE),
        Decision::Challenge(_)
    ));
    world.delete(Key::Mapping(Mapping::Registration(domain(HOST), list(PHONES))));
    assert_eq!(decide(HOST), Reason::RegistrationNotAllowed, "the list is gone");
    let text = explained(&world, &Request::register(HOST, "alice")).to_string();
    assert!(text.contains("registrations: no list is mapped for them\n"), "{text}");
    let text = explained(&world, &Request::register(OTHER_HOST, "alice")).to_string();
    assert!(text.ends_with("decision: reject 403 registration-not-allowed"), "{text}");
}

#[test]
fn a_trunk_takes_no_registrations() {
    let world = world();
    let name = "trunk.example.com";
    let sid = sip_authz::TrunkSid::from_name(&[name]);
    world.put(sip_authz::model::Trunk::new(sid, account(), name.parse().ok()).into());
    world.put(Record::from(Mapping::CredentialList(sid.into(), list(LIST))));
    let request = Request::register(name, "alice");
    assert_eq!(rejected(world.send(&request, INSIDE)), Reason::RegistrationNotAllowed);
    let steps = explained(&world, &request).steps;
    assert!(steps.contains(&Step::Registrations { enabled: false, lists: 0 }), "{steps:?}");
}

/// The checks before credentials count for REGISTER as for calls, and no address suffices.
#[test]
fn addresses_tls_and_the_account_count_as_for_calls() {
    let world = world();
    let request = Request::register(BOTH_HOST, "alice");
    assert_eq!(rejected(world.send(&request, OUTSIDE)), Reason::AddressNotListed);
    assert!(matches!(world.send(&request, INSIDE), Decision::Challenge(_)));
    // an access list alone admits calls, never registrations
    world.put(registering(ACL_HOST).into());
    accepted(world.send(&Request::to(ACL_HOST), INSIDE));
    let alone = Request::register(ACL_HOST, "alice");
    assert_eq!(rejected(world.send(&alone, INSIDE)), Reason::RegistrationNotAllowed);
    assert_eq!(rejected(world.send(&alone, OUTSIDE)), Reason::AddressNotListed);
    world.put(Record::from(Mapping::Registration(domain(ACL_HOST), list(PHONES))));
    assert!(matches!(world.send(&alone, INSIDE), Decision::Challenge(_)));
    assert_eq!(rejected(world.send(&alone, OUTSIDE)), Reason::AddressNotListed);
    accepted(registered(&world, &alone, "alice", PHONE_PASSWORD));

    let sips = Request { uri: format!("sips:{HOST}"), ..Request::register(HOST, "alice") };
    assert_eq!(rejected(world.send(&sips, INSIDE)), Reason::NotSecure);
    world.put(Domain { secure: true, ..registering(HOST) }.into());
    let plain = Request::register(HOST, "alice");
    assert_eq!(rejected(world.send(&plain, INSIDE)), Reason::NotSecure);
    let suspended = Account { status: AccountStatus::Suspended, ..Account::new(account()) };
    world.put(suspended.into());
    assert_eq!(rejected(world.send(&request, INSIDE)), Reason::AccountInactive);
    let unknown = Request::register("unknown.example.com", "alice");
    assert_eq!(rejected(world.send(&unknown, INSIDE)), Reason::UnknownHost);
}

#[test]
fn the_methods_of_a_policy_do_not_matter() {
    let methods = MethodSet::new(["MESSAGE"]).unwrap();
    let world = world_with(Policy::default().with_methods(methods));
    let request = Request::register(HOST, "alice");
    accepted(registered(&world, &request, "alice", PHONE_PASSWORD));
    assert_eq!(rejected(world.send(&Request::to(HOST), INSIDE)), Reason::MethodNotAllowed);
    // other spellings are other methods
    for method in ["register", "Register", "REGISTER2", "REGISTE"] {
        let request = Request { method: method.to_owned(), ..request.clone() };
        assert_eq!(rejected(world.send(&request, INSIDE)), Reason::MethodNotAllowed, "{method}");
    }
}

#[test]
fn a_retransmission_is_recognised_and_a_count_is_used_once() {
    let world = world();
    let request = Request::register(HOST, "alice");
    let answered = world.answered(&request, INSIDE, "alice", PHONE_PASSWORD);
    assert!(!accepted(world.send(&answered, INSIDE)).repeat);
    assert!(accepted(world.send(&answered, INSIDE)).repeat);
    let other = Request { branch: "z9hG4bKother".to_owned(), ..answered };
    assert!(challenged(world.send(&other, INSIDE)), "replayed");
}

/// The program reads To of a REGISTER; a value set by hand counts the same, and a missing one never
/// matches.
#[test]
fn a_request_made_by_hand_needs_to() {
    let world = world();
    let request = Request::register(HOST, "alice");
    for (to, expected) in [
        (None, ToOutcome::Unreadable),
        (Some("<sip:alice@digest.example.com>"), ToOutcome::Matches),
        (Some("<sip:dave@digest.example.com>"), ToOutcome::OtherUser),
    ] {
        let challenge = world.challenge(&request, INSIDE);
        let value = Header::answer(&challenge.values[0], &request, "alice", PHONE_PASSWORD).text();
        let uri = format!("sip:{HOST}");
        let mut invite = Invite::new(uri, INSIDE.parse().unwrap(), Transport::Tcp)
            .with_method("REGISTER")
            .with_credentials(CredentialsField::Authorization, value.as_bytes());
        if let Some(to) = to {
            invite = invite.with_to(to.as_bytes());
        }
        let explanation = world.authorizer.explain(&invite, world.start);
        assert!(explanation.steps.contains(&Step::To(expected)), "{explanation}");
        match world.authorizer.authorize(&invite, world.start) {
            Decision::Accept(_) => assert_eq!(expected, ToOutcome::Matches),
            other => assert_eq!(rejected(other), Reason::ToMismatch),
        }
    }
    // a message with two To is no request
    let bytes = String::from_utf8(request.bytes()).unwrap();
    for twice in ["To: <sip:dave@digest.example.com>\r\nTo: ", "t: <sip:x@y>\r\nTO: "] {
        let bytes = bytes.replace("To: ", twice);
        let scanned = Message::scan(bytes.as_bytes()).unwrap();
        let read = Invite::from_request(&scanned, INSIDE.parse().unwrap(), Transport::Udp);
        assert!(matches!(read, Err(InviteError::Defect(_))), "{twice}");
    }
}

/// Batches decide as single requests do, with both kinds of lists in one batch.
#[test]
fn batches_decide_registrations_and_calls_alike() {
    let policy = offering(&[Algorithm::Md5, Algorithm::Sha256]);
    let (one, many) = (world_with(policy.clone()), world_with(policy));
    let mut sent = Vec::new();
    for n in 0..64 {
        let host = [HOST, BOTH_HOST, BARE_HOST, ACL_HOST][n % 4];
        let name = ["alice", "dave"][n / 4 % 2];
        let mut request = match n % 3 {
            0 => Request::to(host),
            _ => Request::register(host, name),
        };
        request.branch = format!("z9hG4bK{n}");
        if n % 7 == 0 {
            request.to = "<sip:dave@digest.example.com>".to_owned();
        }
        let password = [PHONE_PASSWORD, PASSWORD, "wrong", PHONE_PASSWORD][n / 8 % 4];
        if let Decision::Challenge(challenge) = one.send(&request, INSIDE) {
            let _ = many.send(&request, INSIDE);
            let value = &challenge.values[n % challenge.values.len()];
            request = request.clone().with(&Header::answer(value, &request, name, password).text());
        }
        sent.push(request.bytes());
    }
    let scanned: Vec<_> = sent.iter().map(|bytes| Message::scan(bytes).unwrap()).collect();
    let read = |message| Invite::from_request(message, INSIDE.parse().unwrap(), Transport::Udp);
    let invites: Vec<_> = scanned.iter().map(|message| read(message).unwrap()).collect();
    let singly: Vec<_> =
        invites.iter().map(|invite| one.authorizer.authorize(invite, one.start)).collect();
    let mut decided = Vec::new();
    many.authorizer.authorize_batch(&invites, many.start, &mut decided);
    for (single, batched) in singly.iter().zip(&decided) {
        match (single, batched) {
            (Decision::Challenge(one), Decision::Challenge(two)) => {
                assert_eq!((one.target, one.kind), (two.target, two.kind));
            }
            (one, two) => assert_eq!(one, two),
        }
    }
    let accepted = |method: &str| {
        let pairs = invites.iter().zip(&decided).filter(|(it, _)| it.method() == method);
        pairs.filter(|(_, decision)| decision.is_accept()).count()
    };
    assert!(accepted("REGISTER") > 4 && accepted("INVITE") > 1, "{decided:?}");
}

#[test]
fn the_basis_of_a_registration_is_its_list_and_switch() {
    let world = world();
    let request = Request::register(HOST, "alice");
    let answered = world.answered(&request, INSIDE, "alice", PHONE_PASSWORD);
    let bytes = answered.bytes();
    let scanned = Message::scan(&bytes).unwrap();
    let invite = Invite::from_request(&scanned, INSIDE.parse().unwrap(), Transport::Udp).unwrap();
    let accept = accepted(world.authorizer.authorize(&invite, world.start));
    let basis = world.authorizer.snapshot().basis(&accept, &invite).unwrap();
    let upheld = || world.authorizer.snapshot().upholds(&basis);
    assert!(upheld());
    world.put(Record::from(Mapping::CredentialList(domain(HOST).into(), list(PHONES))));
    world.delete(Key::Mapping(Mapping::Registration(domain(HOST), list(PHONES))));
    assert!(!upheld(), "mapped for calls only");
    world.put(Record::from(Mapping::Registration(domain(HOST), list(PHONES))));
    assert!(upheld());
    world.put(Domain::new(domain(HOST), account(), HOST.parse().unwrap()).into());
    assert!(!upheld(), "switched off");
    world.put(registering(HOST).into());
    world.put(user(PHONES, "alice", "Another-Password-1").into());
    assert!(!upheld(), "another password");
}

#[test]
fn a_view_tells_whether_phones_can_register() {
    let world = world();
    let snapshot = world.authorizer.snapshot();
    for (host, expected) in [(HOST, true), (BARE_HOST, true), (ACL_HOST, false)] {
        assert_eq!(snapshot.target_named(host).unwrap().registers, expected, "{host}");
    }
}

/// A list that is mapped for registrations only is indexed by hashed names.
#[test]
fn hashed_user_names_register() {
    let world = world_with(Policy::default().with_userhash(true));
    let request = Request::register(HOST, "dave");
    let challenge = world.challenge(&request, INSIDE);
    assert!(challenge.values[0].contains("userhash=true"));
    let mut header = Header::answer(&challenge.values[0], &request, "dave", PHONE_PASSWORD);
    header.inner.userhash = true;
    header.sign();
    let accept = accepted(world.send(&request.clone().with(&header.text()), INSIDE));
    assert_eq!(&*accept.credential.unwrap().username, "dave");
    // the index follows the policy
    world.put(policy_of(HOST, Policy::default()));
    world.put(policy_of(HOST, Policy::default().with_userhash(true)));
    let next = request.next();
    let challenge = world.challenge(&next, INSIDE);
    let mut header = Header::answer(&challenge.values[0], &next, "dave", PHONE_PASSWORD);
    header.inner.userhash = true;
    header.sign();
    accepted(world.send(&next.with(&header.text()), INSIDE));
}

/// A deployment role can let its users register other names, such as a shared number.
#[test]
fn a_permission_admits_its_name_besides_the_templates() {
    let vocabulary = Vocabulary::with(["register=+4930100", "register=sales", "other"]).unwrap();
    let role = Role {
        sid: RoleSid::from_name(&["seller"]),
        account: account(),
        service: ServiceSid::from_bytes([0; 16]),
        friendly_name: String::new(),
        kind: RoleKind::Deployment,
        permissions: vec!["register=+4930100".to_owned(), "other".to_owned()],
        dates: Default::default(),
    };
    let realm = REALM.parse().unwrap();
    let snapshot = Snapshot::builder()
        .vocabulary(vocabulary)
        .account(Account::new(account()))
        .credential_list(CredentialList::new(list(PHONES), account(), realm))
        .role(role.clone())
        .credential(Credential { role: Some(role.sid), ..user(PHONES, "alice", PHONE_PASSWORD) })
        .credential(user(PHONES, "dave", PHONE_PASSWORD))
        .domain(registering(HOST))
        .mapping(Mapping::Registration(domain(HOST), list(PHONES)))
        .build()
        .unwrap();
    let world = World::new();
    world.authorizer.replace(snapshot);
    for (name, to, expected) in [
        ("alice", "alice", Some(ToOutcome::Matches)),
        ("alice", "+4930100", Some(ToOutcome::Permitted)),
        ("alice", "%2b4930100", Some(ToOutcome::Permitted)),
        ("alice", "sales", None),
        ("alice", "other", None),
        ("alice", "register=+4930100", None),
        ("alice", "dave", None),
        ("dave", "dave", Some(ToOutcome::Matches)),
        ("dave", "+4930100", None),
    ] {
        let request = Request { to: format!("<sip:{to}@{HOST}>"), ..Request::register(HOST, name) };
        let answered = world.answered(&request, INSIDE, name, PHONE_PASSWORD);
        let steps = explained(&world, &answered).steps;
        let outcome = expected.unwrap_or(ToOutcome::OtherUser);
        assert!(steps.contains(&Step::To(outcome)), "{name} {to}: {steps:?}");
        match world.send(&answered, INSIDE) {
            Decision::Accept(accept) => {
                assert!(expected.is_some(), "{name} {to}");
                assert_eq!(accept.permits("register=+4930100"), name == "alice");
            }
            other => {
                assert_eq!(expected, None, "{name} {to}");
                assert_eq!(rejected(other), Reason::ToMismatch);
            }
        }
    }
}

/// More copies of a name than are compared are refused for registrations as for calls.
#[test]
fn at_most_four_lists_for_registrations_hold_one_name() {
    let world = world();
    let before = world.authorizer.snapshot();
    let mut commit = Commit::new();
    for n in 0..4 {
        let name = format!("more{n}");
        let realm = REALM.parse().unwrap();
        commit.put(CredentialList::new(list(&name), account(), realm).into());
        commit.put(user(&name, "dave", PHONE_PASSWORD).into());
        commit.put(Record::from(Mapping::Registration(domain(HOST), list(&name))));
    }
    let after = before.apply(&commit).unwrap();
    let errors = after.check_copies(&before, &commit);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(matches!(errors[0].key(), Some(Key::Credential(_) | Key::Mapping(_))));
    let text = errors[0].to_string();
    assert!(text.contains("the user name `dave` would be in 5 of the lists"), "{text}");
    assert!(after.warnings().iter().any(|warning| warning.to_string().contains("1 user names")));
    // calls have four lists of their own
    let mut commit = Commit::new();
    commit.put(Record::from(Mapping::CredentialList(domain(HOST).into(), list(PHONES))));
    let after = before.apply(&commit).unwrap();
    assert!(after.check_copies(&before, &commit).is_empty());
}
