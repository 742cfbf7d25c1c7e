//! No answer over UDP is longer than three times its request, whatever the policy and the request.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use sip_authz::digest::Algorithm;
use sip_authz::model::{
    Account, AlgorithmOffer, ChallengeKind, CredentialList, Domain, IpAccessControlList, IpAddress,
    Mapping, Policy, QopOffer,
};
use sip_authz::{
    AccountSid, Capacity, CredentialListSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    Snapshot,
};

use super::*;

/// Domains by password and by address.
const HOSTS: [&str; 2] = ["p.x", "a.x"];

/// An edge whose domains have this policy and realm.
fn edge_with(policy: &Policy, realm: &str, on_accept: OnAccept, reply: ReplyPort) -> Edge {
    let account = AccountSid::from_name(&["a"]);
    let (list, acl) =
        (CredentialListSid::from_name(&["l"]), IpAccessControlListSid::from_name(&["l"]));
    let mut builder = Snapshot::builder()
        .account(Account::new(account))
        .ip_access_control_list(IpAccessControlList::new(acl, account))
        .credential_list(CredentialList::new(list, account, realm.parse().unwrap()));
    for prefix in ["0.0.0.0/0", "::/0"] {
        let sid = IpAddressSid::from_name(&[prefix]);
        builder = builder.ip_address(IpAddress::new(sid, acl, prefix.parse().unwrap()));
    }
    for host in HOSTS {
        let domain = DomainSid::from_name(&[host]);
        let mapping = match host {
            "p.x" => Mapping::CredentialList(domain.into(), list),
            _ => Mapping::IpAccessControlList(domain.into(), acl),
        };
        builder = builder
            .domain(Domain::new(domain, account, host.parse().unwrap()))
            .policy(domain, policy.clone())
            .mapping(mapping);
    }
    let capacity = Capacity::default().with_nonces(64).with_repeats(64).with_guesses(64);
    let snapshot = builder.build().unwrap();
    let authorizer = Authorizer::from_seed(snapshot, capacity, &[7; 32], Instant::now());
    let tags = TagKey::random().unwrap();
    Edge::new(Arc::new(authorizer), tags, on_accept, reply, DecisionObservers::default())
}

fn policies() -> impl Strategy<Value = Policy> {
    let offers = subsequence(Algorithm::ALL.to_vec(), 1..=Algorithm::COUNT).prop_shuffle();
    let kinds = select(vec![ChallengeKind::Proxy, ChallengeKind::Server]);
    let qops = select(vec![QopOffer::Auth, QopOffer::AuthInt, QopOffer::Both]);
    (offers, kinds, qops, any::<bool>()).prop_map(|(offer, kind, qop, userhash)| {
        Policy::default()
            .with_algorithms(AlgorithmOffer::new(offer).unwrap())
            .with_challenge(kind)
            .with_qop(qop)
            .with_userhash(userhash)
    })
}

/// Requests with few and short fields, some of them malformed.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let method = select(vec!["INVITE", "INVITE", "INVITE", "OPTIONS", "BYE", "A"]);
    let uri = select(vec!["sip:p.x", "sip:p.x", "sip:a.x", "sips:p.x", "sip:y", "tel:1", "a"]);
    let line_end = select(vec!["\r\n", "\r\n", "\n"]);
    let via = select(vec![
        "v:",
        "v:a",
        "v:SIP/2.0/U h",
        "v:SIP/2.0/U h;rport",
        "Via: SIP/2.0/UDP h;branch=z9hG4bK1;rport",
        "v:SIP/2.0/UDP 192.0.2.1:6000",
    ]);
    let other = select(vec![
        "f:",
        "f:<sip:a>;tag=1",
        "t:",
        "t:<sip:b>",
        "t:<sip:b>;tag=2",
        "i:",
        "i:1",
        "CSeq:1 INVITE",
        "CSeq:1 OPTIONS",
        "CSeq:1 BYE",
        "l:0",
        "l:99",
        "Require:x",
        "Accept:x",
        "c:x/y",
        "c:application/sdp",
        "Authorization:Digest username=u,realm=r,nonce=n,uri=u,response=r",
    ]);
    let whole = prop::bool::weighted(0.7);
    let parts = (method, uri, line_end, vec(via, 1..4), vec(other, 0..8), whole);
    let body = select(vec!["", "", "v=0\r\n", "v=0\r\nm=audio 1 RTP/AVP 0\r\n"]);
    (parts, body, any::<Index>(), prop::bool::weighted(0.1), 0..3_usize).prop_map(
        |((method, uri, end, vias, others, whole), body, at, is_cut, blank)| {
            let mut lines = vec![format!("{method} {uri} SIP/2.0")];
            lines.extend(vias.into_iter().map(str::to_owned));
            if whole {
                let sound = ["f:", "t:", "i:"].map(str::to_owned);
                lines.extend(sound.into_iter().chain([format!("CSeq:1 {method}")]));
            } else {
                lines.extend(others.into_iter().map(str::to_owned));
            }
            let mut text = end.repeat(blank);
            lines.iter().for_each(|line| text.extend([line, end]));
            text.extend([end, body]);
            let mut bytes = text.into_bytes();
            if is_cut {
                bytes.truncate(at.index(bytes.len()));
            }
            bytes
        },
    )
}

fn on_accepts() -> impl Strategy<Value = OnAccept> {
    let target = (1..300_usize, 1..4_usize).prop_map(|(len, targets)| {
        let target = format!("sip:{}@gateway.example", "1".repeat(len));
        format!("redirect:{}", vec![target; targets].join(",")).parse().unwrap()
    });
    prop_oneof![Just(OnAccept::Ok), target]
}

/// The answer, if there is one, and its outcome. The answer of a batch is as short.
fn answer(edge: &Edge, request: &[u8], peer: Peer) -> (String, Outcome) {
    let (now, mut out) = (Instant::now(), Vec::new());
    let outcome = edge.answer(request, peer, now, &mut out).outcome;
    let mut scratch = BatchScratch::default();
    edge.answer_batch([(request, peer), (request, peer)].into_iter(), now, &mut scratch);
    let is_bounded = |(bytes, _): (&[u8], _)| bytes.len() <= 3 * request.len();
    assert!(scratch.answers().all(is_bounded), "{}", request.escape_ascii());
    assert!(scratch.answers().count() == if out.is_empty() { 0 } else { 2 });
    (String::from_utf8(out).unwrap(), outcome)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_answer_is_longer_than_three_times_its_request(
        policy in policies(),
        realm in prop_oneof![Just("r".to_owned()), "[a-z]{1,128}"],
        on_accept in on_accepts(),
        reply in select(vec![ReplyPort::Auto, ReplyPort::Source, ReplyPort::SentBy]),
        source in select(vec!["192.0.2.1:60000", "[2001:db8:1111:2222:3333:4444:5555:6666]:60000"]),
        requests in vec(requests(), 1..40),
    ) {
        let edge = edge_with(&policy, &realm, on_accept, reply);
        for request in requests {
            let (answer, outcome) = answer(&edge, &request, peer(source, "192.0.2.2:5060"));
            let text = request.escape_ascii();
            prop_assert!(answer.len() <= 3 * request.len(), "{text}: {answer}");
            let challenges = answer.matches("-Authenticate:").count();
            prop_assert_eq!(challenges > 0, outcome == Outcome::Challenged, "{}: {}", text, answer);
            let is_answered = match outcome {
                Outcome::Other(cause) => matches!(cause.handling(), Handling::Answered(_)),
                _ => true,
            };
            prop_assert_eq!(!answer.is_empty(), is_answered, "{}: {}", text, answer);
        }
    }
}

/// The request of a phone in its shortest usual form.
fn usual(host: &str) -> String {
    format!(
        "INVITE sip:1@{host} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1234567;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@{host}>;tag=12345678\r\nTo: <sip:1@{host}>\r\n\
         Call-ID: 1234567890@10.0.0.1\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@10.0.0.1:5060>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn the_default_challenge_to_a_usual_phone_is_sent_whole() {
    let source = "[2001:db8:1111:2222:3333:4444:5555:6666]:60000";
    for length in 1..=128 {
        let realm = "r".repeat(length);
        let edge = edge_with(&Policy::default(), &realm, OnAccept::Ok, ReplyPort::Auto);
        let header = format!(
            "Authorization: Digest username=\"a\", realm=\"{realm}\", nonce=\"n\", uri=\"u\", \
             response=\"{}\"\r\nContent-Length",
            "0".repeat(32)
        );
        let stale = usual("p.x").replace("Content-Length", &header);
        for request in [usual("p.x"), stale] {
            let (answer, outcome) =
                answer(&edge, request.as_bytes(), peer(source, "[2001:db8::1]:5060"));
            assert_eq!(outcome, Outcome::Challenged);
            assert!(answer.starts_with("SIP/2.0 407 Proxy Authentication Required\r\nVia: "));
            assert!(answer.contains("algorithm=MD5, "), "{answer}");
            assert!(answer.ends_with("Content-Length: 0\r\n\r\n"), "{answer}");
            assert_eq!(answer.contains("stale=true"), request.contains("nonce="), "{answer}");
        }
    }
}

#[test]
fn of_many_challenges_to_a_usual_phone_md5_is_among_those_sent() {
    let all = AlgorithmOffer::new(Algorithm::ALL.into_iter().rev()).unwrap();
    let policy = Policy::default().with_algorithms(all).with_qop(QopOffer::Both);
    let edge = edge_with(&policy, &"r".repeat(128), OnAccept::Ok, ReplyPort::Auto);
    let source = peer("192.0.2.1:60000", "192.0.2.2:5060");
    let (answer, outcome) = answer(&edge, usual("p.x").as_bytes(), source);
    assert_eq!(outcome, Outcome::Challenged);
    let values = answer.split("algorithm=").skip(1);
    let offered: Vec<_> = values.map(|rest| rest.split(',').next().unwrap()).collect();
    // the policy's order, without those that do not fit
    let first = Algorithm::ALL.last().unwrap().to_string();
    assert_eq!(offered, [first.as_str(), "MD5"], "{answer}");
}

#[test]
fn a_request_too_short_for_its_answer_is_refused() {
    let all = AlgorithmOffer::new(Algorithm::ALL).unwrap();
    let policy = Policy::default().with_algorithms(all);
    let redirect = format!("redirect:sip:{}@x", "1".repeat(400)).parse().unwrap();
    let edge = edge_with(&policy, &"r".repeat(128), redirect, ReplyPort::Auto);
    let source = peer("192.0.2.1:60000", "192.0.2.2:5060");
    for uri in ["sip:p.x", "sip:a.x"] {
        let request = format!(
            "INVITE {uri} SIP/2.0\r\nv:a\r\nf:<sip:a>\r\nt:<sip:a>\r\ni:1\r\nCSeq:1 INVITE\r\n\r\n"
        );
        let (answer, outcome) = answer(&edge, request.as_bytes(), source);
        assert_eq!(outcome, Outcome::Other(Cause::TooShort), "{answer}");
        assert!(answer.starts_with("SIP/2.0 400 Request Too Short\r\nv:a\r\n"), "{answer}");
    }
    // an accept without its answer makes no flow known
    let mut scratch = BatchScratch::default();
    let request = b"INVITE sip:a.x SIP/2.0\nv:a\nf:\nt:\ni:\nCSeq:1 INVITE\n\n";
    edge.answer_batch([(&request[..], source)].into_iter(), Instant::now(), &mut scratch);
    assert_eq!(scratch.accepted().count(), 0);

    let (none, outcome) = answer(&edge, b"A a SIP/2.0\nv:\nt:\n\n", source);
    assert_eq!((none.as_str(), outcome), ("", Outcome::Other(Cause::TooShortToAnswer)));
}
