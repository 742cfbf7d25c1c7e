//! A batch is decided like its INVITEs one by one, for any content: compares two authorizers with
//! the same seed, one of which decides in batches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use digest_auth::{AlgorithmType, Qop as HeaderQop};
use proptest::collection::vec;
use proptest::prelude::*;
use sip_authz::digest::{Algorithm, GuessRate};
use sip_authz::message::Message;
use sip_authz::model::{
    AlgorithmOffer, Domain, GuessPolicy, IpAccessControlList, IpAddress, Mapping, MethodSet,
    Policy, QopOffer,
};
use sip_authz::{Authorizer, Capacity, Decision, Invite, Transport};
use sip_authz_testing::kit::*;

/// A domain with both credential lists.
const TWO_LISTS_HOST: &str = "two.example.com";
/// A domain with two access lists, which together admit every source.
const TWO_PLACES_HOST: &str = "places.example.com";
const HOSTS: [&str; 8] = [
    HOST,
    TWO_LISTS_HOST,
    BOTH_HOST,
    OTHER_HOST,
    ACL_HOST,
    TWO_PLACES_HOST,
    BARE_HOST,
    "unknown.example.com",
];

const METHODS: [&str; 4] = ["INVITE", "OPTIONS", "MESSAGE", "invite"];

fn policies() -> [Policy; 4] {
    let rate = |burst: u32| GuessRate {
        burst: burst.try_into().unwrap(),
        refill_ms: 60_000.try_into().unwrap(),
    };
    let guesses = GuessPolicy::default()
        .with_source(rate(4))
        .with_pair(rate(2))
        .with_name(Some(rate(5)))
        .with_any_name(Some(rate(6)));
    let algorithms = AlgorithmOffer::new(Algorithm::ALL).unwrap();
    let wide =
        Policy::default().with_algorithms(algorithms).with_qop(QopOffer::Both).with_userhash(true);
    [
        Policy::default(),
        Policy::default().with_guesses(guesses).with_methods(MethodSet::new(METHODS).unwrap()),
        wide.clone()
            .with_guesses(guesses.with_name(None))
            .with_methods(MethodSet::new(&METHODS[1..]).unwrap()),
        wide.with_allow_rfc2069(true),
    ]
}

/// The two authorizers. Everything except batches happens to both.
struct Twins {
    one: World,
    many: World,
}

impl Twins {
    fn new(policy: Policy) -> Self {
        let capacity = Capacity::default().with_nonces(0).with_repeats(0).with_guesses(0);
        let mut worlds = [(); 2].map(|()| World::with(policy.clone(), capacity, &[7; 32]));
        // both clocks start at the same time
        let start = worlds[0].start;
        worlds[1].authorizer = Authorizer::from_seed(snapshot(&policy), capacity, &[7; 32], start);
        worlds[1].start = start;
        for world in &worlds {
            world.apply(|commit| {
                let sid = domain(TWO_LISTS_HOST);
                let record = Domain::new(sid, account(), TWO_LISTS_HOST.parse().unwrap());
                commit.put(record.into());
                commit.put(policy_of(TWO_LISTS_HOST, policy.clone()));
                commit.put(Mapping::CredentialList(sid.into(), list(LIST)).into());
                commit.put(Mapping::CredentialList(sid.into(), list(OTHER_LIST)).into());
                let sid = domain(TWO_PLACES_HOST);
                let record = Domain::new(sid, account(), TWO_PLACES_HOST.parse().unwrap());
                commit.put(record.into());
                commit.put(IpAccessControlList::new(acl("homes"), account()).into());
                let (prefix, homes) = ("198.51.100.0/24", acl("homes"));
                let home = IpAddress::new(address(prefix), homes, prefix.parse().unwrap());
                commit.put(home.into());
                commit.put(Mapping::IpAccessControlList(sid.into(), acl(ACL)).into());
                commit.put(Mapping::IpAccessControlList(sid.into(), homes).into());
            });
        }
        let [one, many] = worlds;
        Self { one, many }
    }

    fn sleep(&mut self, seconds: u64) {
        self.one.sleep(Duration::from_secs(seconds));
        self.many.sleep(Duration::from_secs(seconds));
    }

    fn challenges(&self, host: &str, source: &str) -> Vec<String> {
        let ask = |world: &World| match world.send(&Request::to(host), source) {
            Decision::Challenge(challenge) => challenge.values,
            _ => Vec::new(),
        };
        let values = ask(&self.one);
        assert_eq!(values, ask(&self.many));
        values
    }
}

/// A randomly chosen request.
#[derive(Clone, Debug)]
struct Plan {
    host: usize,
    inside: bool,
    tcp: bool,
    branch: u8,
    kind: u8,
    user: usize,
    right: bool,
    algorithm: usize,
    auth_int: bool,
    nc: u32,
    /// Index of the challenge to answer.
    challenge: usize,
    /// The method that is sent, and the one that is signed.
    methods: (usize, usize),
    /// An additional variation.
    twist: u8,
}

fn plan() -> impl Strategy<Value = Plan> {
    // most plans use the first domains and answer a recent challenge correctly
    let place = (prop_oneof![4 => 0..2_usize, 2 => 2..8_usize], any::<bool>(), any::<bool>());
    let answer = (0..4_usize, prop::bool::weighted(0.7), 0..6_usize, any::<bool>(), 1..4_u32);
    let rest = (0..3_u8, 0..10_u8, 0..6_usize, 0..24_u8);
    let one = (0..4_usize).prop_map(|method| (method, method));
    let methods = prop_oneof![4 => Just((0, 0)), 3 => one, 1 => (0..4_usize, 0..4_usize)];
    (place, answer, rest, methods).prop_map(|((host, inside, tcp), answer, rest, methods)| {
        let (user, right, algorithm, auth_int, nc) = answer;
        let (branch, kind, challenge, twist) = rest;
        Plan {
            host,
            inside,
            tcp,
            branch,
            kind,
            user,
            right,
            algorithm,
            auth_int,
            nc,
            challenge,
            methods,
            twist,
        }
    })
}

fn header(plan: &Plan, request: &Request, challenges: &[Vec<String>]) -> Option<String> {
    let values = challenges.get(plan.challenge % challenges.len().max(1))?;
    let value = values.get(plan.algorithm % values.len().max(1))?;
    let user = ["alice", "bob", "carol", "nobody"][plan.user];
    let password = if plan.right { PASSWORD } else { "guess" };
    let mut header = Header::answer(value, request, user, password);
    header.inner.nc = plan.nc;
    header.method = METHODS[plan.methods.1].to_owned();
    if plan.auth_int && header.inner.qop.is_some() && value.contains("auth-int") {
        header.inner.qop = Some(HeaderQop::AUTH_INT);
    }
    match plan.twist {
        // some clients send longer client nonces, or so long that the response is hashed alone
        0 => header.inner.cnonce = Some("0a4f113b".repeat(4)),
        1 => header.inner.cnonce = Some("0a4f113b".repeat(30)),
        // without qop (RFC 2069)
        2 if header.inner.algorithm.algo == AlgorithmType::MD5 => header.inner.qop = None,
        3 => header.inner.userhash = false,
        _ => {}
    }
    header.sign();
    Some(match plan.twist {
        4 => header.text_with("nc", "0"),
        5 => header.text_with("response", "\"0123\""),
        6 => header.text().replace(REALM, "elsewhere.example"),
        7 => header.text_with("nonce", "\"AAAAAAAAAAAAAAAAAAAAAA\""),
        _ => header.text(),
    })
}

fn request(plan: &Plan, challenges: &[Vec<String>]) -> Request {
    let mut request = Request::to(HOSTS[plan.host]).with_method(METHODS[plan.methods.0]);
    match plan.twist {
        8 => request.uri = format!("sip:{}@{}", "1".repeat(300), HOSTS[plan.host]),
        9 => request.uri = "tel:+14155550100".to_owned(),
        10 => request.uri = "sip:100@-bad-".to_owned(),
        11 => request.uri = format!("sips:100@{}", HOSTS[plan.host]),
        14 => request.uri = "sip:911@203.0.113.7".to_owned(),
        _ => {}
    }
    request.branch = format!("z9hG4bK{}", plan.branch);
    request.body = b"v=0\r\n".to_vec();
    // one in ten has no credentials
    if plan.kind > 0
        && let Some(value) = header(plan, &request, challenges)
    {
        request = request.with(&value);
        match plan.twist {
            12 => request = request.with("Basic YWxpY2U6c2VjcmV0"),
            13 => request = request.clone().with(&value.replace("alice", "bob")),
            _ => {}
        }
    }
    request
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_equal_single_decisions(
        policy in 0..4_usize,
        rounds in vec((vec(plan(), 0..70), 0..40_u64), 1..6),
        copies in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
    ) {
        let mut twins = Twins::new(policies()[policy].clone());
        let mut challenges = Vec::new();
        let mut decisions = Vec::new();
        for (plans, pause) in rounds {
            twins.sleep(pause);
            for host in [HOST, TWO_LISTS_HOST, BOTH_HOST] {
                challenges.insert(0, twins.challenges(host, INSIDE));
            }
            let mut sent: Vec<_> = plans
                .iter()
                .map(|plan| {
                    let transport = if plan.tcp { Transport::Tcp } else { Transport::Udp };
                    let source = if plan.inside { INSIDE } else { OUTSIDE };
                    (request(plan, &challenges).bytes(), source, transport)
                })
                .collect();
            // retransmissions, and copies in the same batch
            for (from, to) in copies.iter().filter(|_| !plans.is_empty()) {
                let copy = sent[from.index(plans.len())].clone();
                let at = to.index(sent.len() + 1);
                sent.insert(at, copy);
            }
            let invites: Vec<_> = sent
                .iter()
                .map(|(bytes, source, transport)| {
                    let source = source.parse().unwrap();
                    let message = Message::scan(bytes).unwrap();
                    let invite = Invite::from_request(&message, source, *transport).unwrap();
                    match transport {
                        Transport::Tcp => invite.with_domain_host("a.b").with_domain_host(HOST),
                        _ => invite,
                    }
                })
                .collect();
            let now = twins.one.start + twins.one.now;
            let singly: Vec<_> =
                invites.iter().map(|invite| twins.one.authorizer.authorize(invite, now)).collect();
            twins.many.authorizer.authorize_batch(&invites, now, &mut decisions);
            prop_assert_eq!(&decisions, &singly);
        }
    }
}

/// A batch of 64 right answers of several methods, in lanes. The digests of one half are for their own
/// method, and those of the other for the next one.
#[test]
fn a_digest_in_a_batch_holds_for_its_method_only() {
    for algorithms in [[Algorithm::Md5], [Algorithm::Sha256], [Algorithm::Sha512_256]] {
        let policy = offering(&algorithms).with_methods(MethodSet::new(METHODS).unwrap());
        let world = World::with_policy(policy);
        let sent: Vec<_> = (0..64)
            .map(|number| {
                let method = METHODS[number % METHODS.len()];
                let signed = METHODS[(number + number / 32) % METHODS.len()];
                let request = Request::to(HOST).with_method(method);
                let challenge = world.challenge(&request, OUTSIDE);
                let mut header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
                header.method = signed.to_owned();
                header.sign();
                request.with(&header.text()).bytes()
            })
            .collect();
        let scanned: Vec<_> = sent.iter().map(|bytes| Message::scan(bytes).unwrap()).collect();
        let source = OUTSIDE.parse().unwrap();
        let read = |message| Invite::from_request(message, source, Transport::Udp).unwrap();
        let requests: Vec<_> = scanned.iter().map(read).collect();
        let mut decisions = Vec::new();
        world.authorizer.authorize_batch(&requests, world.start, &mut decisions);
        for (number, decision) in decisions.into_iter().enumerate() {
            assert_eq!(decision.is_accept(), number < 32, "{algorithms:?} {number}: {decision:?}");
        }
    }
}

/// A batch of 64 correct responses: all are accepted, a second time as repeats, and with another
/// branch none.
#[test]
fn a_full_batch_of_right_answers_is_accepted_once() {
    for algorithms in [[Algorithm::Md5], [Algorithm::Sha256], [Algorithm::Sha512_256]] {
        let world = World::with_policy(offering(&algorithms));
        let challenges: Vec<_> =
            (0..64).map(|_| world.challenge(&Request::to(HOST), OUTSIDE)).collect();
        let sent = |branch: &str| -> Vec<Vec<u8>> {
            let request = Request { branch: branch.to_owned(), ..Request::to(HOST) };
            let answer = |challenge: &sip_authz::Challenge| {
                let header = Header::answer(&challenge.values[0], &request, "alice", PASSWORD);
                request.clone().with(&header.text()).bytes()
            };
            challenges.iter().map(answer).collect()
        };
        let decide = |sent: &[Vec<u8>]| {
            let invite = |bytes| {
                Invite::from_datagram(bytes, OUTSIDE.parse().unwrap(), Transport::Udp).unwrap()
            };
            let invites: Vec<_> = sent.iter().map(|bytes| invite(bytes)).collect();
            let mut decisions = Vec::with_capacity(invites.len());
            // the first load of the snapshot on a thread allocates a slot
            world.authorizer.authorize_batch(&[], world.start, &mut decisions);
            let taken = allocation_counter::measure(|| {
                world.authorizer.authorize_batch(&invites, world.start, &mut decisions);
            });
            let accepts = decisions.iter().all(Decision::is_accept);
            assert!(!accepts || taken.count_total == 0, "accepts allocate nothing");
            decisions
        };
        let first = sent("z9hG4bK1");
        let twice: Vec<_> = first.iter().flat_map(|bytes| [bytes.clone(), bytes.clone()]).collect();
        for (number, decision) in decide(&twice).into_iter().enumerate() {
            assert_eq!(accepted(decision).repeat, number % 2 == 1, "{algorithms:?} {number}");
        }
        for decision in decide(&sent("z9hG4bK2")) {
            assert!(challenged(decision), "stale");
        }
    }
}
