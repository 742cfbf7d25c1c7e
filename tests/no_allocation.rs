//! Accept and reject do not allocate, from the datagram on; measured by a counting allocator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use allocation_counter::AllocationInfo;
use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::internals::in_other_process;
use sip_authz::message::Message;
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, Credential, CredentialList, Domain, FromCheck,
    GuessPolicy, Ha1Set, IpAccessControlList, IpAddress, Mapping, Password, Policy, QopOffer,
    Realm, RegisterAs, UriCheck, UserName,
};
use sip_authz::{
    AccountSid, Authorizer, Capacity, CredentialListSid, CredentialSid, CredentialsField, Decision,
    DomainSid, Invite, InviteError, IpAccessControlListSid, IpAddressSid, Reason, Reject, Snapshot,
    Transport,
};

/// The result of `run`, and the allocations of this thread meanwhile.
fn measure<T>(run: impl FnOnce() -> T) -> (T, AllocationInfo) {
    let mut outcome = None;
    let stats = allocation_counter::measure(|| outcome = Some(run()));
    (outcome.unwrap(), stats)
}

/// Whether nothing was allocated or freed.
fn is_zero(stats: &AllocationInfo) -> bool {
    stats.count_total == 0 && stats.count_current == 0
}

const REALM: &str = "example.com";
const USER: &str = r"corp\alice";
const PASSWORD: &str = "the password";
const ALICE: &str = "<sip:alice@example.com>";
const BODY: &str = "v=0\r\ns=-\r\n";

fn snapshot() -> Snapshot {
    let (active, suspended) = (AccountSid::from_name(&["a"]), AccountSid::from_name(&["b"]));
    let realm: Realm = REALM.parse().unwrap();
    let office = IpAccessControlListSid::from_name(&["office"]);
    let office_entry = IpAddressSid::from_name(&["office"]);
    let office_net = "192.0.2.0/24".parse().unwrap();
    let far = IpAccessControlListSid::from_name(&["far"]);
    let users = CredentialListSid::from_name(&["users"]);
    let others = CredentialListSid::from_name(&["others"]);
    let credential = |list, user: &str| {
        let name: UserName = user.parse().unwrap();
        let password = Password::new(PASSWORD.to_owned());
        let ha1 = Ha1Set::from_password(&name, &realm, password).unwrap();
        Credential::new(CredentialSid::from_name(&[user]), list, name, ha1)
    };
    let mut builder = Snapshot::builder()
        .account(Account::new(active))
        .account(Account { status: AccountStatus::Suspended, ..Account::new(suspended) })
        .ip_access_control_list(IpAccessControlList::new(office, active))
        .ip_access_control_list(IpAccessControlList::new(far, active))
        .ip_address(IpAddress::new(office_entry, office, office_net))
        .credential_list(CredentialList::new(users, active, realm.clone()))
        .credential_list(CredentialList::new(others, active, realm.clone()))
        .credential(credential(users, USER))
        .credential(Credential { disabled: true, ..credential(users, "carol") })
        .credential(credential(others, "mallory"));

    let wide = Policy::default()
        .with_algorithms(AlgorithmOffer::new(Algorithm::ALL).unwrap())
        .with_qop(QopOffer::Both)
        .with_allow_rfc2069(true)
        .with_userhash(true);
    let once = GuessRate { burst: NonZeroU32::MIN, refill_ms: NonZeroU32::new(3_600_000).unwrap() };
    let policies = [
        ("digest", wide.clone()),
        ("both", wide.with_uri_check(UriCheck::Equivalent)),
        ("uri", Policy::default().with_uri_check(UriCheck::SameUserAndHost)),
        ("from", Policy::default().with_from_must_match(FromCheck::UserOrAnonymous)),
        ("once", Policy::default().with_guesses(GuessPolicy::default().with_pair(once))),
        (
            "default",
            Policy::default().with_register_as(RegisterAs::new(["1{user}2", "{user}"]).unwrap()),
        ),
    ];
    for name in ["address", "far", "gone", "secure", "empty"]
        .into_iter()
        .chain(policies.iter().map(|(name, _)| *name))
    {
        let account = if name == "gone" { suspended } else { active };
        let sid = DomainSid::from_name(&[name]);
        let host = format!("{name}.example.com").parse().unwrap();
        let mut domain = Domain { secure: name == "secure", ..Domain::new(sid, account, host) };
        domain.settings.sip_registration = name == "digest" || name == "default";
        builder = builder.domain(domain);
    }
    for (name, list) in [("address", office), ("both", office), ("far", far)] {
        let target = DomainSid::from_name(&[name]).into();
        builder = builder.mapping(Mapping::IpAccessControlList(target, list));
    }
    for (name, policy) in policies {
        let sid = DomainSid::from_name(&[name]);
        builder = builder
            .policy(sid, policy)
            .mapping(Mapping::CredentialList(sid.into(), others))
            .mapping(Mapping::CredentialList(sid.into(), users))
            .mapping(Mapping::Registration(sid, others))
            .mapping(Mapping::Registration(sid, users));
    }
    builder.build().unwrap()
}

/// An authorizer, the outcomes seen so far, and the failed expectations.
struct Watch {
    authorizer: Authorizer,
    now: Instant,
    seen: BTreeSet<&'static str>,
    decisions: usize,
    failures: Vec<String>,
}

impl Watch {
    /// Decides once first: the first load of a snapshot on a thread allocates the thread's slot in
    /// arc-swap, once in the thread's life.
    fn new() -> Self {
        let (now, capacity) = (Instant::now(), Capacity::default());
        let authorizer = Authorizer::from_seed(snapshot(), capacity, &[7; 32], now);
        let _ = authorizer.authorize(&Invite::new("sip:x", source(), Transport::Udp), now);
        Self { authorizer, now, seen: BTreeSet::new(), decisions: 0, failures: Vec::new() }
    }

    /// Parses and decides a datagram, and asserts the outcome `name` (`accept`, `repeat` or the
    /// reason) without allocation.
    fn expect(&mut self, name: &str, text: &str, transport: Transport) {
        let read = || {
            let message = Message::scan(text.as_bytes()).ok_or(InviteError::NotSip)?;
            Invite::from_request(&message, source(), transport)
        };
        let (invite, reading) = measure(read);
        let (decision, deciding) =
            measure(|| self.authorizer.authorize(invite.as_ref().unwrap(), self.now));
        let outcome = match &decision {
            Decision::Accept(accept) if accept.repeat => "repeat",
            Decision::Accept(_) => "accept",
            Decision::Challenge(_) => "challenge",
            Decision::Reject(reject) => reject.reason.as_str(),
        };
        self.seen.insert(outcome);
        self.decisions += 1;
        // includes dropping both
        let ((), dropping) = measure(|| drop((invite, decision)));
        for (what, stats) in [("read", reading), ("decide", deciding), ("drop", dropping)] {
            if !is_zero(&stats) || outcome != name {
                self.failures.push(format!("{name} came out {outcome}, {what}: {stats:?}\n{text}"));
            }
        }
    }

    /// The domain's challenge values, parsed by the client crate.
    fn challenge(&self, domain: &str) -> Vec<WwwAuthenticateHeader> {
        let text = message(&uri(domain), "", ALICE, "");
        let invite = Invite::from_datagram(text.as_bytes(), source(), Transport::Udp).unwrap();
        match self.authorizer.authorize(&invite, self.now) {
            Decision::Challenge(it) => {
                it.values.iter().map(|value| digest_auth::parse(value).unwrap()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// A credentials header for the domain, with its policy's first algorithm.
    fn header(&self, domain: &str, user: &str, password: &str) -> String {
        answer(&mut self.challenge(domain)[0], domain, user, password, None)
    }
}

fn source() -> SocketAddr {
    "192.0.2.1:5060".parse().unwrap()
}

fn uri(domain: &str) -> String {
    format!("sip:100@{domain}.example.com")
}

fn message(uri: &str, headers: &str, from: &str, body: &str) -> String {
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: {from};tag=1\r\nTo: <{uri}>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The response to a challenge; with a body, by auth-int if offered.
fn answer(
    challenge: &mut WwwAuthenticateHeader,
    domain: &str,
    user: &str,
    password: &str,
    body: Option<&str>,
) -> String {
    let (uri, method) = (uri(domain), HttpMethod::from("INVITE"));
    let body = body.map(str::as_bytes);
    let context = AuthContext::new_with_method(user, password, uri, body, method);
    format!("Proxy-Authorization: {}\r\n", challenge.respond(&context).unwrap())
}

/// A REGISTER with this To, and credentials for another one.
fn register(domain: &str, to: &str, header: &str) -> String {
    let uri = uri(domain);
    let text = message(&uri, header, ALICE, "").replace("INVITE", "REGISTER");
    text.replace(&format!("To: <{uri}>"), &format!("To: {to}"))
}

/// A challenge to a REGISTER, answered for that method.
fn register_header(watch: &Watch, domain: &str, number: usize, password: &str) -> String {
    let method = HttpMethod::from("REGISTER");
    let context = AuthContext::new_with_method(USER, password, uri(domain), None::<&[u8]>, method);
    let mut challenge = watch.challenge(domain).swap_remove(number);
    format!("Authorization: {}\r\n", challenge.respond(&context).unwrap())
}

#[test]
fn registrations_allocate_nothing() {
    let mut watch = Watch::new();
    for number in 0..Algorithm::ALL.len() {
        let header = register_header(&watch, "digest", number, PASSWORD);
        let text = register("digest", "<sip:corp%5Calice@Digest.example.com.>", &header);
        watch.expect("accept", &text, Transport::Udp);
        watch.expect("repeat", &text, Transport::Udp);
    }
    for user in ["1corp%5Calice2", "corp%5Calice"] {
        let header = register_header(&watch, "default", 0, PASSWORD);
        let to = format!("\"Alice\" <sip:{user}@default.example.com>");
        watch.expect("accept", &register("default", &to, &header), Transport::Tcp);
    }
    for to in ["<sip:bob@default.example.com>", "<sip:corp%5Calice@digest.example.com>", "*"] {
        let header = register_header(&watch, "default", 0, PASSWORD);
        watch.expect("to-mismatch", &register("default", to, &header), Transport::Udp);
    }
    let header = register_header(&watch, "default", 0, "wrong");
    let text = register("default", "<sip:corp%5Calice@default.example.com>", &header);
    watch.expect("wrong-credentials", &text, Transport::Udp);
    for domain in ["address", "empty", "once"] {
        let text = register(domain, "<sip:alice@x>", "");
        watch.expect("registration-not-allowed", &text, Transport::Udp);
    }
    assert!(watch.failures.is_empty(), "{}", watch.failures.join("\n"));
}

#[test]
fn accepts_allocate_nothing() {
    let mut watch = Watch::new();
    watch.expect("accept", &message(&uri("address"), "", ALICE, BODY), Transport::Udp);

    for domain in ["digest", "both"] {
        for number in 0..Algorithm::ALL.len() {
            for (body, userhash, transport) in [
                (None, false, Transport::Udp),
                (None, false, Transport::Tcp),
                (Some(BODY), false, Transport::Udp),
                (None, true, Transport::Udp),
                (Some(BODY), true, Transport::Tls),
            ] {
                let mut challenge = watch.challenge(domain).swap_remove(number);
                challenge.userhash = userhash;
                let header = answer(&mut challenge, domain, USER, PASSWORD, body);
                assert_eq!(userhash, !header.contains(r"corp\\alice"), "{header}");
                let text = message(&uri(domain), &header, ALICE, BODY);
                watch.expect("accept", &text, transport);
                if transport == Transport::Udp {
                    watch.expect("repeat", &text, transport);
                }
            }
        }
        let mut challenge = watch.challenge(domain).swap_remove(0);
        challenge.qop = None;
        let rfc_2069 = answer(&mut challenge, domain, USER, PASSWORD, None);
        let text = message(&uri(domain), &rfc_2069, ALICE, BODY);
        watch.expect("accept", &text, Transport::Udp);

        // after other headers: another realm, a wrong one, a stale one
        let foreign = "Authorization: Digest realm=\"b\", username=\"x\"\r\n";
        let wrong = answer(&mut watch.challenge(domain)[1], domain, USER, "wrong", None);
        let mut stale = watch.challenge(domain).swap_remove(0);
        stale.nonce = "A".repeat(22);
        let stale = answer(&mut stale, domain, USER, PASSWORD, None);
        let right = watch.header(domain, USER, PASSWORD);
        let text = message(&uri(domain), &[foreign, &wrong, &stale, &right].concat(), ALICE, BODY);
        watch.expect("accept", &text, Transport::Tcp);
    }
    let folded = watch.header("default", USER, PASSWORD).replace(", ", ",\r\n ");
    watch.expect("accept", &message(&uri("default"), &folded, ALICE, ""), Transport::Udp);
    let ext = watch
        .header("default", USER, PASSWORD)
        .replace(r#"username="corp\\alice""#, "username*=UTF-8''corp%5Calice");
    assert!(ext.contains("username*"), "{ext}");
    watch.expect("accept", &message(&uri("default"), &ext, ALICE, ""), Transport::Udp);

    assert!(watch.failures.is_empty(), "{}", watch.failures.join("\n"));
    assert_eq!(watch.seen.into_iter().collect::<Vec<_>>(), ["accept", "repeat"]);
    println!("{} accepts without an allocation", watch.decisions);
}

/// Fields that another parser has read are borrowed over a stream. A datagram needs one copy.
#[test]
fn fields_over_a_stream_are_read_and_refused_without_allocation() {
    let fields = [
        ("Via", "SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1"),
        ("f", "<sip:alice@example.com>;tag=1"),
        ("t", "<sip:100@address.example.com>"),
        ("i", "1"),
        ("CSeq", "1 INVITE"),
        ("Authorization", "Digest realm=\"b\", username=\"x\""),
        ("X", "folded,\r\n value"),
    ];
    let mut watch = Watch::new();
    let (uri, repeated) = (uri("address"), [&fields[..], &fields[1..2]].concat());
    for (fields, is_read) in [(&fields[..], true), (&repeated, false), (&fields[1..], false)] {
        let read = |transport| {
            let fields = fields.iter().copied();
            let uri = uri.as_str();
            Invite::from_fields("INVITE", uri, fields, BODY.as_bytes(), source(), transport)
        };
        let (invite, reading) = measure(|| read(Transport::Tls));
        assert!(is_zero(&reading), "{reading:?}");
        assert_eq!(invite.is_ok(), is_read);
        if let Ok(invite) = invite {
            let (decision, deciding) = measure(|| watch.authorizer.authorize(&invite, watch.now));
            assert!(decision.is_accept() && is_zero(&deciding), "{decision:?} {deciding:?}");
            watch.decisions += 1;
            let (_, over_udp) = measure(|| read(Transport::Udp).map(drop));
            assert!(!is_zero(&over_udp), "a datagram needs a copy of its parts");
        }
    }
    assert_eq!(watch.decisions, 1);
}

#[test]
fn rejects_allocate_nothing() {
    let mut watch = Watch::new();
    for (name, uri) in [
        ("unknown-host", "sip:100@example.org"),
        ("unknown-host", "sip:[2001:db8::1]:5060;transport=udp"),
        ("unsupported-scheme", "tel:+14155550100"),
        ("bad-request-uri", "sip:@address.example.com"),
        ("bad-request-uri", "sip:100@127.1"),
        ("account-inactive", "sip:100@gone.example.com"),
        ("not-secure", "sip:100@secure.example.com"),
        ("not-secure", "sips:100@ADDRESS.example.com."),
        ("nothing-mapped", "sip:100@empty.example.com"),
        ("address-not-listed", "sip:100@far.example.com"),
    ] {
        watch.expect(name, &message(uri, "", ALICE, BODY), Transport::Udp);
    }

    for (name, domain) in [("method-not-allowed", "address"), ("method-not-allowed", "digest")] {
        let text = message(&uri(domain), "", ALICE, BODY).replace("INVITE", "MESSAGE");
        watch.expect(name, &text, Transport::Udp);
    }
    // wrong for another method
    let text = message(&uri("default"), &watch.header("default", USER, PASSWORD), ALICE, BODY);
    watch.expect("wrong-credentials", &text.replace("INVITE", "OPTIONS"), Transport::Udp);

    for transport in [Transport::Udp, Transport::Tcp] {
        for user in [USER, "carol", "nobody", "mallory"] {
            let mut challenges = watch.challenge("digest");
            for userhash in [false, true] {
                let challenge = &mut challenges[if userhash { 5 } else { 0 }];
                challenge.userhash = userhash;
                let header = answer(challenge, "digest", user, "wrong", Some(BODY));
                let text = message(&uri("digest"), &header, ALICE, BODY);
                watch.expect("wrong-credentials", &text, transport);
            }
        }
    }
    let header = watch.header("default", USER, PASSWORD);
    for (from, to) in [
        ("MD5", "SHA-256"),     // not offered
        ("auth,", "auth-int,"), // not offered
        ("INVITE", "x"),
    ] {
        let text = message(&uri("default"), &header.replace(from, to), ALICE, BODY);
        let name = if from == "INVITE" { "accept" } else { "wrong-credentials" };
        watch.expect(name, &text, Transport::Tcp);
    }

    for (from, to) in [
        ("nc=00000001", "nc=00000000"),
        ("nc=00000001, ", ""),
        ("uri=\"sip:", "uri=\"sip\\:"),
        ("algorithm=MD5", "algorithm=MD6"),
        ("qop=auth", "qop=auth-conf"),
        ("realm=", "opaque=\"\", opaque=\"\", realm="),
    ] {
        let text = message(&uri("default"), &header.replace(from, to), ALICE, BODY);
        watch.expect("malformed-credentials", &text, Transport::Udp);
    }
    let nine = header.repeat(9);
    let text = message(&uri("default"), &nine, ALICE, BODY);
    watch.expect("too-many-credentials", &text, Transport::Udp);
    let seventeen = "Authorization: Basic eDp4\r\n".repeat(17);
    let text = message(&uri("default"), &seventeen, ALICE, BODY);
    watch.expect("too-many-credentials", &text, Transport::Udp);

    let mut challenge = watch.challenge("default").swap_remove(0);
    challenge.qop = None;
    let rfc_2069 = answer(&mut challenge, "default", USER, PASSWORD, None);
    let text = message(&uri("default"), &rfc_2069, ALICE, BODY);
    watch.expect("qop-missing", &text, Transport::Udp);
    let header = watch.header("uri", USER, PASSWORD);
    let text = message("sip:200@uri.example.com", &header, ALICE, BODY);
    watch.expect("uri-mismatch", &text, Transport::Udp);
    let header = watch.header("from", USER, PASSWORD);
    let text = message(&uri("from"), &header, "\"Bob, \\\"b\\\"\" <sip:bob@b>", BODY);
    watch.expect("from-mismatch", &text, Transport::Udp);
    watch.expect("from-mismatch", &text, Transport::Udp);
    let header = watch.header("from", USER, PASSWORD);
    let anonymous = "\"Anonymous\" <sip:Anonymous@anonymous.invalid>";
    watch.expect("accept", &message(&uri("from"), &header, anonymous, BODY), Transport::Udp);

    let header = register_header(&watch, "default", 0, PASSWORD);
    watch.expect("to-mismatch", &register("default", "<sip:b@c>", &header), Transport::Udp);
    watch.expect("registration-not-allowed", &register("empty", ALICE, ""), Transport::Udp);

    for name in ["wrong-credentials", "too-many-guesses", "too-many-guesses"] {
        let header = watch.header("once", USER, "wrong");
        let text = message(&uri("once"), &header, ALICE, BODY);
        watch.expect(name, &text, Transport::Udp);
    }

    watch.authorizer.refuse_from(Some(watch.now));
    watch.expect("snapshot-stale", &message(&uri("address"), "", ALICE, BODY), Transport::Udp);

    watch.authorizer = in_other_process(watch.authorizer);
    watch.expect("other-process", &message(&uri("address"), "", ALICE, BODY), Transport::Udp);

    assert!(watch.failures.is_empty(), "{}", watch.failures.join("\n"));
    watch.seen.remove("accept");
    let reasons: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(watch.seen, reasons, "every reason");
    println!("{} rejects without an allocation", watch.decisions);
}

/// Calls whose Request-URI names no domain, with hosts that are tried in its place.
#[test]
fn domain_hosts_allocate_nothing() {
    let watch = Watch::new();
    let mut decisions = Vec::with_capacity(64);
    for uri in ["tel:+14155550100", "urn:service:sos", "sip:911@203.0.113.7", "sip:[2001:db8::1]"] {
        let by_address = message(uri, "", ALICE, BODY);
        let by_password = message(uri, &watch.header("default", USER, PASSWORD), ALICE, BODY);
        for (text, hosts, copies, is_accepted) in [
            (&by_address, &["Unknown.example.org", "", "ADDRESS.example.com."][..], 1, true),
            (&by_address, &["unknown.example.org", "address.example.com"], 64, true),
            (&by_address, &["unknown.example.org", "[::1]"], 1, false),
            (&by_address, &["unknown.example.org", "[::1]"], 64, false),
            (&by_password, &["a b", "default.example.com"], 1, true),
        ] {
            let read = || {
                let invite = Invite::from_datagram(text.as_bytes(), source(), Transport::Tcp);
                let invite = invite.unwrap();
                hosts.iter().fold(invite, |invite, host| invite.with_domain_host(host))
            };
            let (invite, reading) = measure(read);
            let invites = vec![invite; copies];
            let ((), deciding) = measure(|| {
                watch.authorizer.authorize_batch(&invites, watch.now, &mut decisions);
            });
            assert!(is_zero(&reading) && is_zero(&deciding), "{uri} {hosts:?}: {deciding:?}");
            let all = decisions.iter().all(|decision| decision.is_accept() == is_accepted);
            assert!(all && decisions.len() == copies, "{uri} {hosts:?}: {decisions:?}");
        }
    }
}

/// An INVITE built without a message, as by a program with its own parser.
#[test]
fn invite_made_by_hand_allocates_nothing() {
    let watch = Watch::new();
    let header = watch.header("default", USER, PASSWORD);
    let value = header.split_once(": ").unwrap().1.trim_end();
    let uri = uri("default");
    let field = CredentialsField::ProxyAuthorization;
    let (accepted, stats) = measure(|| {
        let invite = Invite::new(uri.as_str(), source(), Transport::Tcp)
            .with_credentials(field, value.as_bytes());
        watch.authorizer.authorize(&invite, watch.now).is_accept()
    });
    assert!(accepted && is_zero(&stats), "{stats:?}");
}

/// A proxy asks for each credentials header whether its realm is its own.
#[test]
fn own_realms_allocate_nothing() {
    let watch = Watch::new();
    let snapshot = watch.authorizer.snapshot();
    for (realm, own) in [(REALM, true), ("Example.com", false), ("", false)] {
        let (is_own, stats) = measure(|| snapshot.is_own_realm(realm));
        assert!(is_own == own && is_zero(&stats), "{realm}: {stats:?}");
    }
}

/// Checks the counter itself: a challenge allocates strings.
#[test]
fn refusals_and_texts_of_sids_allocate_nothing() {
    let domain = DomainSid::from_name(&["a"]);
    let ((), stats) = measure(|| {
        assert_eq!(&domain.as_str()[..2], "SD");
        for reason in Reason::ALL {
            let decision = Decision::Reject(Reject::new(Some(domain.into()), *reason));
            let refusal = decision.refusal().unwrap();
            assert_eq!(refusal.status(), reason.status());
            assert_eq!(refusal.headers().count(), 0);
        }
    });
    assert!(is_zero(&stats), "{stats:?}");
    let watch = Watch::new();
    let invite = Invite::new(uri("default"), source(), Transport::Udp);
    let decision = watch.authorizer.authorize(&invite, Instant::now());
    let ((), stats) = measure(|| {
        let refusal = watch.authorizer.refusal(&decision).unwrap();
        assert_eq!(refusal.status(), 407);
        assert!(refusal.headers().all(|(name, value)| name.len() + value.len() > 100));
    });
    assert!(is_zero(&stats), "{stats:?}");
}

#[test]
fn challenge_is_seen_to_allocate() {
    let watch = Watch::new();
    let text = message(&uri("digest"), "", ALICE, "");
    let invite = Invite::from_datagram(text.as_bytes(), source(), Transport::Udp).unwrap();
    let (decision, stats) = measure(|| watch.authorizer.authorize(&invite, watch.now));
    assert!(matches!(decision, Decision::Challenge(_)), "{decision:?}");
    assert_eq!(stats.count_current, 7, "one string for each algorithm and their vector: {stats:?}");
    let ((), dropping) = measure(|| drop(decision));
    assert_eq!(dropping.count_current, -stats.count_current);
}
