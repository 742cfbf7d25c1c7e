//! The response to a refused request, as the library gives it.

use sip_authz::digest::{Algorithm, MalformedCredentials};
use sip_authz::model::{MethodSet, Policy};
use sip_authz::{Decision, Reason, Refusal, Reject, Snapshot};
use sip_authz_testing::kit::*;

/// The status line and the header lines.
fn text(refusal: &Refusal<'_>) -> String {
    format!("SIP/2.0 {refusal}\r\n{}", refusal.header_lines())
}

/// The same, put together from the parts.
fn text_of_parts(refusal: &Refusal<'_>) -> String {
    let headers = refusal.headers().map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers: String = headers.collect();
    format!("SIP/2.0 {} {}\r\n{headers}", refusal.status(), refusal.phrase())
}

#[test]
fn an_accept_has_no_refusal() {
    let world = World::new();
    let accept = world.send(&Request::to(ACL_HOST), INSIDE);
    assert!(accept.is_accept());
    assert!(accept.refusal().is_none() && world.authorizer.refusal(&accept).is_none());
    assert_eq!(accept.to_string(), "accept 200 passed");
}

#[test]
fn a_challenge_has_a_header_for_each_value_in_order() {
    let world = World::with_policy(offering(&[Algorithm::Sha256, Algorithm::Md5]));
    let decision = world.send(&Request::to(HOST), OUTSIDE);
    let Decision::Challenge(challenge) = &decision else { panic!("{decision:?}") };
    let [first, second] = &*challenge.values else { panic!("{challenge:?}") };
    assert!(first.contains("algorithm=SHA-256") && second.contains("algorithm=MD5"));
    let refusal = decision.refusal().unwrap();
    assert_eq!((refusal.status(), refusal.phrase()), (407, "Proxy Authentication Required"));
    assert_eq!(refusal.reason(), None);
    let expected = format!(
        "SIP/2.0 407 Proxy Authentication Required\r\n\
         Proxy-Authenticate: {first}\r\nProxy-Authenticate: {second}\r\n"
    );
    assert_eq!(text(&refusal), expected);
    assert_eq!(text_of_parts(&refusal), expected);
    assert_eq!(text(&world.authorizer.refusal(&decision).unwrap()), expected);
    assert_eq!(decision.to_string(), "challenge 407 asked");
    // a nonce need not be in a log
    assert!(!format!("{refusal:?}").contains("nonce"), "{refusal:?}");
    // the values outlive the refusal
    let names: Vec<_> = decision.refusal().unwrap().headers().map(|(name, _)| name).collect();
    assert_eq!(names, ["Proxy-Authenticate"; 2]);
}

#[test]
fn a_server_challenges_by_401() {
    let world = World::new();
    take_registrations(&world, HOST);
    let decision = world.send(&Request::register(HOST, "alice"), OUTSIDE);
    let refusal = decision.refusal().unwrap();
    assert_eq!(refusal.to_string(), "401 Unauthorized");
    let names: Vec<_> = refusal.headers().map(|(name, _)| name).collect();
    assert_eq!(names, ["WWW-Authenticate"]);
}

#[test]
fn each_reason_gives_the_status_of_its_public_form_and_no_header() {
    let world = World::new();
    for reason in Reason::ALL {
        let decision = Decision::Reject(Reject::new(None, *reason));
        let refusal = decision.refusal().unwrap();
        let public = reason.public();
        assert_eq!(text(&refusal), format!("SIP/2.0 {} {}\r\n", public.status(), public.phrase()));
        assert_eq!(text_of_parts(&refusal), text(&refusal));
        assert_eq!(refusal.reason(), Some(public));
        assert_eq!(text(&world.authorizer.refusal(&decision).unwrap()), text(&refusal));
        assert_eq!(
            decision.to_string(),
            format!("reject {} {}", reason.status(), reason.as_str()),
            "the reason for operators"
        );
    }
    let kind = Reason::MalformedCredentials(MalformedCredentials::BadUsername);
    let decision = Decision::Reject(Reject::new(None, kind));
    assert_eq!(decision.to_string(), "reject 400 malformed-credentials");
}

#[test]
fn too_many_guesses_cannot_be_told_from_wrong_credentials() {
    let [limited, wrong] = [Reason::TooManyGuesses, Reason::WrongCredentials]
        .map(|reason| Decision::Reject(Reject::new(None, reason)));
    assert_ne!(limited.to_string(), wrong.to_string());
    let [limited, wrong] = [&limited, &wrong].map(|decision| decision.refusal().unwrap());
    assert_eq!(text(&limited), text(&wrong));
    assert_eq!(limited.reason(), wrong.reason());
    assert_eq!(format!("{limited:?}"), format!("{wrong:?}"));
}

/// A refused MESSAGE to `host`.
fn refused_message(world: &World, host: &str) -> Decision {
    world.send(&Request { method: "MESSAGE".to_owned(), ..Request::to(host) }, INSIDE)
}

#[test]
fn a_405_has_the_methods_of_its_target() {
    let world = World::new();
    let methods = "INVITE, SUBSCRIBE".parse::<MethodSet>().unwrap();
    world.put(policy_of(ACL_HOST, Policy::default().with_methods(methods)));
    take_registrations(&world, HOST);
    let line = |host: &str| {
        let decision = refused_message(&world, host);
        assert_eq!(decision.to_string(), "reject 405 method-not-allowed");
        // a decision alone does not know them
        assert_eq!(text(&decision.refusal().unwrap()), "SIP/2.0 405 Method Not Allowed\r\n");
        let refusal = world.authorizer.refusal(&decision).unwrap();
        assert_eq!(text(&refusal), text_of_parts(&refusal));
        let snapshot = world.authorizer.snapshot();
        let view = snapshot.target_view(decision.target().unwrap()).unwrap();
        let same = decision.refusal().unwrap().with_allow(&view);
        assert_eq!(text(&same), text(&refusal));
        text(&refusal)
    };
    let start = "SIP/2.0 405 Method Not Allowed\r\n";
    let acl = format!("{start}Allow: INVITE, SUBSCRIBE, ACK, CANCEL, BYE\r\n");
    assert_eq!(line(ACL_HOST), acl);
    let with_phones = format!("{start}Allow: INVITE, OPTIONS, ACK, CANCEL, BYE, REGISTER\r\n");
    assert_eq!(line(HOST), with_phones);

    // of a domain that is gone nothing is known
    let decision = refused_message(&world, ACL_HOST);
    let _ = world.authorizer.replace(Snapshot::empty());
    assert_eq!(text(&world.authorizer.refusal(&decision).unwrap()), start);
}

#[test]
fn only_a_405_has_an_allow_header() {
    let world = World::new();
    let snapshot = world.authorizer.snapshot();
    let view = snapshot.target_view(domain(HOST).into()).unwrap();
    for reason in Reason::ALL {
        let target = Some(domain(HOST).into());
        let decision = Decision::Reject(Reject::new(target, *reason));
        for refusal in [
            decision.refusal().unwrap().with_allow(&view),
            world.authorizer.refusal(&decision).unwrap(),
        ] {
            let allow = refusal.headers().any(|(name, _)| name == "Allow");
            assert_eq!(allow, reason.status() == 405, "{reason}");
        }
    }
    let challenge = world.send(&Request::to(HOST), OUTSIDE);
    let refusal = challenge.refusal().unwrap().with_allow(&view);
    assert!(refusal.headers().all(|(name, _)| name == "Proxy-Authenticate"));
}

#[test]
fn an_authorizer_shows_no_secret() {
    let world = World::new();
    let before = format!("{:?}", world.authorizer);
    let _ = world.send(&world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD), OUTSIDE);
    let text = format!("{:?}", world.authorizer);
    assert_eq!(text, before, "neither nonces nor sources");
    assert_eq!(
        text,
        "Authorizer { snapshot: Snapshot { number: 1, targets: 5, credentials: 3, .. }, .. }"
    );
}
