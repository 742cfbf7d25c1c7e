//! Requests with another method than INVITE: the fields that are read, and the method in the digest.

use sip_authz::digest::{Algorithm, Parsed, parse};
use sip_authz::internals::verify;
use sip_authz::message::Message;
use sip_authz::model::{Account, AccountStatus, MethodSet, Policy, QopOffer};
use sip_authz::{CredentialsField, Decision, Invite, InviteError, Reason, Step, Transport};
use sip_authz_testing::kit::*;

fn message(method: &str) -> Vec<u8> {
    Request::to(HOST).with_method(method).bytes()
}

fn read(bytes: &[u8]) -> Result<Invite<'_>, InviteError> {
    let message = Message::scan(bytes).unwrap();
    Invite::from_request(&message, OUTSIDE.parse().unwrap(), Transport::Udp)
}

#[test]
fn each_method_but_two_is_read() {
    for method in [
        "INVITE",
        "OPTIONS",
        "MESSAGE",
        "SUBSCRIBE",
        "PUBLISH",
        "REFER",
        "NOTIFY",
        "INFO",
        "UPDATE",
        "BYE",
        "PRACK",
        "REGISTER",
        "invite",
        "Register",
        "ack",
        "X-1.!%*_+`'~",
    ] {
        let bytes = message(method);
        let request = read(&bytes).unwrap();
        assert_eq!(request.method(), method);
        assert_eq!(request.request_uri(), "sip:100@digest.example.com");
        assert_eq!(request.received(), Some(&*bytes));
        assert!(request.from().is_some());
        assert_eq!(request.to().is_some(), method == "REGISTER", "{method}");
        let scanned = Message::scan(&bytes).unwrap();
        let invite = Invite::from_message(&scanned, OUTSIDE.parse().unwrap(), Transport::Udp);
        assert_eq!(invite.is_ok(), method == "INVITE", "{method}");
    }
    for method in ["ACK", "CANCEL"] {
        assert_eq!(read(&message(method)).unwrap_err(), InviteError::NotDecided, "{method}");
    }
    let response = b"SIP/2.0 200 OK\r\n\r\n";
    assert_eq!(read(response).unwrap_err(), InviteError::NotDecided);
}

#[test]
fn other_methods_have_the_defects_of_an_invite() {
    let bytes = String::from_utf8(message("MESSAGE")).unwrap();
    for (from, to) in [
        ("CSeq: 314159 MESSAGE", "CSeq: 314159 INVITE"),
        ("CSeq: 314159 MESSAGE", "CSeq: 314159 message"),
        ("Content-Length: 0", "Content-Length: 1"),
        ("Content-Length: 0", "Content-Length: 0\r\nl: 1"),
        ("Call-ID: ", "X: "),
        ("From: ", "From: <sip:a@b>\r\nFrom: "),
    ] {
        let changed = bytes.replace(from, to);
        assert_ne!(changed, bytes);
        let error = read(changed.as_bytes()).unwrap_err();
        let invite = changed.replace("MESSAGE", "INVITE").replace("message", "invite");
        // a CSeq of INVITE is right in an INVITE
        if let Err(same) = read(invite.as_bytes()) {
            assert_eq!(error, same, "{to}");
        }
        assert!(matches!(error, InviteError::Defect(_)), "{to}");
    }
}

/// The responses of Python's `hashlib` to one challenge. The user is `alice`, the realm
/// `example.com`, the password `Correct-Horse-7`, the digest-uri `sip:100@digest.example.com` and
/// the body `v=0\r\n`.
const RESPONSES: &[(&str, Algorithm, &str, &str)] = &[
    ("MESSAGE", Algorithm::Md5, "auth", "8863147aa8c255abe4485d497e3001a9"),
    ("MESSAGE", Algorithm::Md5, "auth-int", "4ddd77c61d357ddac0568ea475c3ebea"),
    (
        "MESSAGE",
        Algorithm::Sha256,
        "auth",
        "336e07745c00308042020465ac6d6db7b0eafe5c76b6ad04fd9b1b383c26b2ce",
    ),
    (
        "MESSAGE",
        Algorithm::Sha256,
        "auth-int",
        "47d4685cc522c0659b6e5ec4eeb6553d77811dc39e2143805e29144fa48b707c",
    ),
    (
        "MESSAGE",
        Algorithm::Sha512_256,
        "auth",
        "585169db77aee767dad2e58479ecb2ac787bdb476d7e3b383fa58a4046bc4922",
    ),
    (
        "MESSAGE",
        Algorithm::Sha512_256,
        "auth-int",
        "450ad43104422cfbdc2195353a1bb8f012bc7cf3c2c4882cca0773c768877acd",
    ),
    ("OPTIONS", Algorithm::Md5, "auth", "00f952ae0da684bd60c080185b95511d"),
    ("OPTIONS", Algorithm::Md5, "auth-int", "add7dbdbb99b03caffbd919509bffb13"),
    (
        "OPTIONS",
        Algorithm::Sha256,
        "auth",
        "3c4f9155f2e04fc904da246a278ea3609a0d0884943a01f444e1dbcdd38581d6",
    ),
    (
        "OPTIONS",
        Algorithm::Sha256,
        "auth-int",
        "5df0eec8d45f623101f59fd675c67a5c8180b35850686263fe5e646281933ce8",
    ),
    (
        "OPTIONS",
        Algorithm::Sha512_256,
        "auth",
        "ad5f1de94f771dae7ef566accf9e6749e6e44c91ba43ce7703bdbc1f8117ee11",
    ),
    (
        "OPTIONS",
        Algorithm::Sha512_256,
        "auth-int",
        "840c097ed7452d7e8fbd968b065289d6e51b65d3bf4b695776da9ac32de61826",
    ),
    ("SUBSCRIBE", Algorithm::Md5, "auth", "1c3a4e5f5d280e0fb07f3780ff8e8857"),
    ("SUBSCRIBE", Algorithm::Md5, "auth-int", "7a7d7b2ab34a673dfb661c4c2a2b4812"),
    (
        "SUBSCRIBE",
        Algorithm::Sha256,
        "auth",
        "3baab0abd78cd9a92a956462835c01cb00bf736717c17aaac3acfde97661e6a8",
    ),
    (
        "SUBSCRIBE",
        Algorithm::Sha256,
        "auth-int",
        "bc90284f7246ca930b4bb032f92170fc884e11048b63a3cf242a0b29883785b3",
    ),
    (
        "SUBSCRIBE",
        Algorithm::Sha512_256,
        "auth",
        "f0dceb05ae313ea8edafa6875b059b88a99ddf47eb065ce0dd8f9d5249501729",
    ),
    (
        "SUBSCRIBE",
        Algorithm::Sha512_256,
        "auth-int",
        "9be7466b5090bfb72ae40b3474533d84ca0b119d3f47159c884bea9b307f2a36",
    ),
    ("INVITE", Algorithm::Md5, "auth", "559e59d3292774b0c76f7b346a9a9ac3"),
    ("INVITE", Algorithm::Md5, "auth-int", "d352e2284939e35f1b37c2f7665ec0c0"),
    (
        "INVITE",
        Algorithm::Sha256,
        "auth",
        "0f5486f8ca42676403b9440cfa2c7449bcba85d5bd5675624ed44fbff6bc3758",
    ),
    (
        "INVITE",
        Algorithm::Sha256,
        "auth-int",
        "b96819b77b194f22ba31fb15629f0d4db431c27ac6352c3c821fb72fb63adbb4",
    ),
    (
        "INVITE",
        Algorithm::Sha512_256,
        "auth",
        "f57ca55729cb348a1b19fcb2fd5fe8465caa83e580ef348e7fb24d29056704f8",
    ),
    (
        "INVITE",
        Algorithm::Sha512_256,
        "auth-int",
        "23a14c139647c66f8e5382c5c0460146fff7ef9c74ceb6017bd789b84bde0bc5",
    ),
    ("invite", Algorithm::Md5, "auth", "2f42d9902f3d0d6887f2c7a49c41ee66"),
    ("invite", Algorithm::Md5, "auth-int", "238f558800439eceed84ab1804396243"),
    (
        "invite",
        Algorithm::Sha256,
        "auth",
        "354b787d11e37425c3aaa4f923165725fdc589e0849c4af6e1f651dc848269ad",
    ),
    (
        "invite",
        Algorithm::Sha256,
        "auth-int",
        "087c4717e7fd45f870c13fd911dc8b504b2ffd4f967c44ed24fbc1fc68767b65",
    ),
    (
        "invite",
        Algorithm::Sha512_256,
        "auth",
        "f8797b869352f7b7b8dfb069bf14556a3b59e9727102c4aac581efa417f77a1c",
    ),
    (
        "invite",
        Algorithm::Sha512_256,
        "auth-int",
        "76c976f9522ba680baef39a4cd4a3ae0dca7587b463f4077a27f59a4d51704d9",
    ),
];

#[test]
fn responses_of_another_implementation_are_right_for_their_method_only() {
    for (method, algorithm, qop, response) in RESPONSES {
        let header = format!(
            "Digest username=\"alice\", realm=\"example.com\", nonce=\"abcdefgh\", \
             uri=\"sip:100@digest.example.com\", response=\"{response}\", algorithm={algorithm}, \
             qop={qop}, nc=00000001, cnonce=\"0a4f113b\""
        );
        let Parsed::Credentials(credentials) = parse(header.as_bytes(), REALM) else {
            panic!("{header}");
        };
        let alice = user(LIST, "alice", PASSWORD);
        let ha1 = alice.ha1.get(algorithm.hash_function()).unwrap();
        for (other, ..) in RESPONSES {
            let right = verify(&credentials, ha1, other, b"v=0\r\n");
            assert_eq!(right, other == method, "{other} for {method}, {algorithm} {qop}");
        }
    }
}

/// A digest for one method is refused for another, for each pair and every kind of header.
#[test]
fn a_digest_holds_for_its_method_only() {
    let methods = ["INVITE", "MESSAGE", "OPTIONS", "invite", "Message"];
    for algorithm in Algorithm::ALL {
        for qop in [digest_auth::Qop::AUTH, digest_auth::Qop::AUTH_INT] {
            let policy = offering(&[algorithm])
                .with_qop(QopOffer::Both)
                .with_methods(MethodSet::new(methods).unwrap());
            let world = World::with_policy(policy);
            for sent in methods {
                for signed in methods {
                    let request = Request::to(HOST).with_method(sent);
                    let challenge = world.challenge(&request, OUTSIDE);
                    let mut header =
                        Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
                    header.inner.qop = Some(qop);
                    header.method = signed.to_owned();
                    header.sign();
                    let decision = world.send(&request.with(&header.text()), OUTSIDE);
                    match decision {
                        Decision::Accept(_) => assert_eq!(sent, signed),
                        other => {
                            assert_ne!(sent, signed);
                            assert_eq!(rejected(other), Reason::WrongCredentials);
                        }
                    }
                }
            }
        }
    }
}

/// A nonce of one method answers for another: the client continues with its count.
#[test]
fn one_nonce_serves_all_methods_and_each_count_once() {
    let world = World::new();
    let invite = Request::to(HOST);
    let challenge = world.challenge(&invite, OUTSIDE);
    let signed = |method: &str, branch: &str, nc| {
        let request = Request { branch: branch.to_owned(), ..invite.clone() }.with_method(method);
        let header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD).with_nc(nc);
        request.with(&header.text())
    };
    assert!(!accepted(world.send(&signed("INVITE", "z9hG4bK1", 1), OUTSIDE)).repeat);
    assert!(!accepted(world.send(&signed("OPTIONS", "z9hG4bK2", 2), OUTSIDE)).repeat);
    assert!(challenged(world.send(&signed("OPTIONS", "z9hG4bK3", 1), OUTSIDE)), "a used count");
    assert!(challenged(world.send(&signed("INVITE", "z9hG4bK4", 2), OUTSIDE)), "a used count");
    // a retransmission is one of the same method
    assert!(accepted(world.send(&signed("OPTIONS", "z9hG4bK2", 2), OUTSIDE)).repeat);
    assert!(challenged(world.send(&signed("INVITE", "z9hG4bK2", 2), OUTSIDE)));
}

/// A program can pass a text to `with_received` that leaves the method out. Neither an accepted nor
/// a refused request is then taken for a retransmission of one with another method.
#[test]
fn a_retransmission_has_the_same_method_even_without_it_in_the_text() {
    let world = World::new();
    let source = OUTSIDE.parse().unwrap();
    let challenge = world.challenge(&Request::to(HOST), OUTSIDE);
    let answer = |method: &str, nc| {
        let request = Request::to(HOST).with_method(method);
        Header::answer(&challenge.values[0], &request, "alice", PASSWORD).with_nc(nc).text()
    };
    let texts = [("INVITE", 1), ("OPTIONS", 2), ("OPTIONS", 1), ("INVITE", 2)]
        .map(|(method, nc)| (method, answer(method, nc)));
    let decide = |(method, answer): &(&'static str, String)| {
        let request = Invite::new("sip:100@digest.example.com", source, Transport::Udp)
            .with_method(method)
            .with_received(b"all fields and the body".as_slice())
            .with_credentials(CredentialsField::ProxyAuthorization, answer.as_bytes());
        world.authorizer.authorize(&request, world.start)
    };
    for text in &texts[..2] {
        assert!(!accepted(decide(text)).repeat, "{}", text.0);
        assert!(accepted(decide(text)).repeat, "{}", text.0);
    }
    // each text is now known for both methods
    for text in &texts[2..] {
        assert!(accepted(decide(text)).repeat, "{}", text.0);
    }
    let third = ("MESSAGE", answer("MESSAGE", 1));
    assert_eq!(rejected(decide(&third)), Reason::MethodNotAllowed);
    world
        .put(policy_of(HOST, Policy::default().with_methods(MethodSet::new(["MESSAGE"]).unwrap())));
    assert!(challenged(decide(&third)), "the count is used, and no MESSAGE was accepted");
}

fn admitting(methods: &[&str]) -> Policy {
    Policy::default().with_methods(MethodSet::new(methods).unwrap())
}

#[test]
fn a_domain_admits_the_methods_of_its_policy_only() {
    for (policy, admitted) in [
        (Policy::default(), &["INVITE", "OPTIONS"][..]),
        (admitting(&["MESSAGE"]), &["MESSAGE"]),
        (admitting(&["invite", "SUBSCRIBE", "INVITE"]), &["invite", "SUBSCRIBE", "INVITE"]),
    ] {
        let world = World::with_policy(policy);
        for method in [
            "INVITE",
            "OPTIONS",
            "MESSAGE",
            "SUBSCRIBE",
            "PUBLISH",
            "REFER",
            "BYE",
            "PRACK",
            "UPDATE",
            "INFO",
            "invite",
            "message",
            "Register",
            "M",
        ] {
            let request = Request::to(ACL_HOST).with_method(method);
            match world.send(&request, INSIDE) {
                Decision::Accept(_) => assert!(admitted.contains(&method), "{method}"),
                other => {
                    assert!(!admitted.contains(&method), "{method}");
                    assert_eq!(rejected(other), Reason::MethodNotAllowed);
                }
            }
        }
        let snapshot = world.authorizer.snapshot();
        let view = snapshot.target_view(domain(ACL_HOST).into()).unwrap();
        let mut expected = admitted.to_vec();
        expected.sort_unstable();
        assert_eq!(view.methods.iter().collect::<Vec<_>>(), expected);
        assert_eq!(view.methods.to_string(), expected.join(", "));
    }
    // a longer method or no token is never admitted, and neither is a method with rules of its own
    let world = World::new();
    let long = "M".repeat(100_000);
    for method in ["ACK", "CANCEL", "register", "", "INVITE ", "OPTIONS\r\n", "A:B", &long] {
        let request = Invite::new("sip:1@acl.example.com", INSIDE.parse().unwrap(), Transport::Udp)
            .with_method(method)
            .with_received(b"x".as_slice());
        let decision = world.authorizer.authorize(&request, world.start);
        assert_eq!(rejected(decision), Reason::MethodNotAllowed, "{method:.10}");
    }
}

#[test]
fn a_change_of_the_policy_counts_at_once() {
    let world = World::new();
    let decide = |method: &str| world.send(&Request::to(ACL_HOST).with_method(method), INSIDE);
    let status = |method| decide(method).status();
    assert_eq!((status("INVITE"), status("OPTIONS"), status("MESSAGE")), (200, 200, 405));
    world.put(policy_of(ACL_HOST, admitting(&["MESSAGE"])));
    assert_eq!((status("INVITE"), status("OPTIONS"), status("MESSAGE")), (405, 405, 200));
    world.put(policy_of(ACL_HOST, admitting(&["INVITE"])));
    assert_eq!((status("INVITE"), status("OPTIONS"), status("MESSAGE")), (200, 405, 405));
    world.delete(sip_authz::model::Key::Policy(domain(ACL_HOST).into()));
    assert_eq!((status("INVITE"), status("OPTIONS"), status("MESSAGE")), (200, 200, 405));
}

/// The method comes after host, account, TLS, mappings and address, and before credentials.
#[test]
fn the_method_is_checked_after_the_address_and_before_credentials() {
    let world = World::new();
    let refused = |request: Request, source: &str| {
        rejected(world.send(&request.with_method("MESSAGE"), source))
    };
    assert_eq!(refused(Request::to("unknown.example.com"), INSIDE), Reason::UnknownHost);
    assert_eq!(refused(Request::to(BARE_HOST), INSIDE), Reason::NothingMapped);
    let secure = Request { uri: format!("sips:1@{HOST}"), ..Request::to(HOST) };
    assert_eq!(refused(secure, INSIDE), Reason::NotSecure);
    assert_eq!(refused(Request::to(ACL_HOST), OUTSIDE), Reason::AddressNotListed);
    assert_eq!(refused(Request::to(BOTH_HOST), OUTSIDE), Reason::AddressNotListed);
    for host in [ACL_HOST, BOTH_HOST, HOST] {
        assert_eq!(refused(Request::to(host), INSIDE), Reason::MethodNotAllowed);
    }
    // neither right nor wrong credentials are looked at, and no guess is counted
    let request = Request::to(HOST).with_method("MESSAGE");
    let challenge = world.challenge(&Request::to(HOST), OUTSIDE);
    for password in [PASSWORD, "guess"] {
        for _ in 0..30 {
            let header = Header::answer(&challenge.values[0], &request, "alice", password);
            let sent = request.clone().with(&header.text());
            assert_eq!(rejected(world.send(&sent, OUTSIDE)), Reason::MethodNotAllowed);
        }
    }
    let many = (0..20).fold(request, |request, _| request.with("Digest realm=\"example.com\""));
    assert_eq!(rejected(world.send(&many, OUTSIDE)), Reason::MethodNotAllowed);
    let answered = world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD);
    assert!(!accepted(world.send(&answered, OUTSIDE)).repeat);

    let suspended = Account { status: AccountStatus::Suspended, ..Account::new(account()) };
    world.put(suspended.into());
    assert_eq!(refused(Request::to(ACL_HOST), INSIDE), Reason::AccountInactive);
}

#[test]
fn an_explanation_names_the_method() {
    let world = World::new();
    let explain = |method: &str| {
        let bytes = Request::to(ACL_HOST).with_method(method).bytes();
        let scanned = Message::scan(&bytes).unwrap();
        let request = Invite::from_request(&scanned, INSIDE.parse().unwrap(), Transport::Udp);
        world.authorizer.explain(&request.unwrap(), world.start)
    };
    for (method, admitted) in [("OPTIONS", true), ("MESSAGE", false), ("a`b", false)] {
        let explanation = explain(method);
        let step = Step::Method { method: method.to_owned(), admitted };
        assert!(explanation.steps.contains(&step), "{explanation}");
        assert_eq!(explanation.decision.is_accept(), admitted);
    }
    assert!(!explain("INVITE").to_string().contains("method"), "an INVITE that is admitted");
    let text = explain("MESSAGE").to_string();
    assert!(text.contains("\nmethod: `MESSAGE` is not admitted\n"), "{text}");
    assert!(text.ends_with("decision: reject 405 method-not-allowed"), "{text}");
    assert!(explain("a`b").to_string().contains(r"method: `a\`b` is not admitted"));
    world.put(policy_of(ACL_HOST, admitting(&["MESSAGE"])));
    assert!(explain("INVITE").to_string().contains("method: `INVITE` is not admitted"));
}

/// An accept of one method rests on it: a later policy without the method does not uphold it.
#[test]
fn the_basis_of_an_accept_has_its_method() {
    let world = World::new();
    let source = INSIDE.parse().unwrap();
    let basis = |method| {
        let request =
            Invite::new(format!("sip:1@{ACL_HOST}"), source, Transport::Udp).with_method(method);
        let accept = accepted(world.authorizer.authorize(&request, world.start));
        world.authorizer.snapshot().basis(&accept, &request).unwrap()
    };
    let (invite, options) = (basis("INVITE"), basis("OPTIONS"));
    for (methods, upheld) in [
        (&["INVITE", "OPTIONS", "MESSAGE"][..], (true, true)),
        (&["INVITE"], (true, false)),
        (&["OPTIONS", "invite"], (false, true)),
        (&["MESSAGE"], (false, false)),
    ] {
        world.put(policy_of(ACL_HOST, admitting(methods)));
        let snapshot = world.authorizer.snapshot();
        assert_eq!((snapshot.upholds(&invite), snapshot.upholds(&options)), upheld, "{methods:?}");
    }
}
