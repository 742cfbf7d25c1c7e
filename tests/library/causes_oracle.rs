//! Random credentials, several in a request: the cause is that of the plain rules.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use sip_authz::digest::HashFunction;
use sip_authz::model::{
    AlgorithmOffer, Credential, GuessPolicy, Ha1Set, Mapping, Policy, Record, WrongAnswer,
};
use sip_authz::{Capacity, Challenge, Decision, Invite, Transport};
use sip_authz_testing::cause_oracle::{Algorithm, Form, Nonce, Outcome, Plan, State, decide};
use sip_authz_testing::kit::*;

const LISTS: [&str; 2] = [LIST, OTHER_LIST];
const PASSWORDS: [&str; 2] = [PASSWORD, "Another-Horse-8"];
/// A user of the first list who uses up a nonce.
const EARLIER: &str = "earlier";

fn name(states: [State; 2]) -> String {
    let number = |state| State::ALL.iter().position(|it| *it == state).unwrap();
    format!("user{}{}", number(states[0]), number(states[1]))
}

fn plan() -> impl Strategy<Value = Plan> {
    let form = prop_oneof![
        20 => Just(Form::WellFormed),
        6 => select(vec![Form::Basic, Form::OtherRealm, Form::Unreadable, Form::Incomplete]),
        1 => select(vec![Form::Malformed, Form::WithoutQop]),
    ];
    let nonce = prop_oneof![
        6 => Just(Nonce::Live),
        1 => Just(Nonce::Used),
        1 => select(vec![
            Nonce::Malformed, Nonce::OtherProcess, Nonce::OtherBinding, Nonce::Expired,
        ]),
    ];
    let algorithm = prop_oneof![
        4 => Just(Algorithm::Md5),
        4 => Just(Algorithm::Sha256),
        1 => Just(Algorithm::NotOffered),
    ];
    let state = || select(State::ALL.to_vec());
    let password = select(vec![None, Some(0), Some(1)]);
    let flags = (prop::bool::weighted(0.9), prop::bool::weighted(0.2));
    (form, nonce, algorithm, flags, (state(), state()), password).prop_map(
        |(form, nonce, algorithm, (qop, userhash), (first, second), password)| Plan {
            form,
            nonce,
            algorithm,
            qop,
            userhash,
            user: [first, second],
            password,
        },
    )
}

fn world(policy: &Policy, seed: u8) -> World {
    let capacity = Capacity::default().with_nonces(1).with_repeats(1).with_guesses(1);
    World::with(policy.clone(), capacity, &[seed; 32]).over(Transport::Tcp)
}

/// The user with these states in one of the lists.
fn record(which: usize, states: [State; 2]) -> Option<Credential> {
    let mut record = user(LISTS[which], &name(states), PASSWORDS[which]);
    match states[which] {
        State::Absent => return None,
        State::Disabled => record.disabled = true,
        State::OnlySha256 => {
            let sha256 = hex::encode(record.ha1.get(HashFunction::Sha256).unwrap());
            let hashes = [(HashFunction::Sha256, sha256.as_str())];
            let realm = REALM.parse().unwrap();
            record.ha1 = Ha1Set::from_hex(&record.username, &realm, hashes).unwrap();
        }
        State::Enabled => {}
    }
    Some(record)
}

/// A challenge for each kind of nonce, in a world of the users of the plans.
struct Scene {
    world: World,
    request: Request,
    nonces: Vec<(Nonce, Challenge)>,
}

impl Scene {
    fn new(policy: &Policy, plans: &[Plan]) -> Self {
        let (mut world, request) = (world(policy, 7), Request::to(HOST));
        world.apply(|commit| {
            let target = domain(HOST).into();
            commit.put(Record::from(Mapping::CredentialList(target, list(OTHER_LIST))));
            commit.put(user(LIST, EARLIER, PASSWORD).into());
        });
        for (plan, which) in plans.iter().flat_map(|plan| [(plan, 0), (plan, 1)]) {
            if let Some(record) = record(which, plan.user) {
                world.put(record.into());
            }
        }
        let expired = world.challenge(&request, OUTSIDE);
        world.sleep(Duration::from_secs(u64::from(policy.nonce_lifetime) + 1));
        let used = world.challenge(&request, OUTSIDE);
        let header = Header::answer(&used.values[0], &request, EARLIER, PASSWORD);
        accepted(world.send(&request.clone().with(&header.text()), OUTSIDE));
        let other = self::world(policy, 8).challenge(&request, OUTSIDE);
        let nonces = vec![
            (Nonce::OtherProcess, other),
            (Nonce::OtherBinding, world.challenge(&request, "198.51.100.8:5060")),
            (Nonce::Expired, expired),
            (Nonce::Used, used),
            (Nonce::Live, world.challenge(&request, OUTSIDE)),
        ];
        Self { world, request, nonces }
    }

    fn header(&self, plan: &Plan) -> String {
        match plan.form {
            Form::Basic => return "Basic eDp4".to_owned(),
            Form::Unreadable => return format!("Digest realm=\"{REALM}\", ???"),
            Form::Incomplete => return format!("Digest realm=\"{REALM}\""),
            _ => {}
        }
        let of_nonce = self.nonces.iter().find(|(nonce, _)| *nonce == plan.nonce);
        let (_, challenge) = of_nonce.unwrap_or(&self.nonces[0]);
        let value = match plan.algorithm {
            Algorithm::Sha256 => &challenge.values[1],
            Algorithm::Md5 | Algorithm::NotOffered => &challenge.values[0],
        };
        let password = plan.password.map_or("wrong", |list| PASSWORDS[list]);
        let mut header = Header::answer(value, &self.request, &name(plan.user), password);
        header.inner.userhash = plan.userhash;
        if plan.form == Form::WithoutQop {
            header.inner.qop = None;
        }
        header.sign();
        let mut parameters = header.parameters();
        let mut set = |name: &str, value: &str| {
            if let Some(it) = parameters.iter_mut().find(|(it, _)| it == name) {
                value.clone_into(&mut it.1);
            }
        };
        if plan.algorithm == Algorithm::NotOffered {
            set("algorithm", "SHA-512-256");
        }
        if !plan.qop {
            set("qop", "auth-int");
        }
        if plan.nonce == Nonce::Malformed {
            set("nonce", "\"n\"");
        }
        match plan.form {
            Form::OtherRealm => set("realm", "\"other.example\""),
            Form::Malformed => set("nc", "00000000"),
            _ => {}
        }
        join(&parameters)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_cause_is_that_of_the_plain_rules(
        plans in prop::collection::vec(plan(), 0..5),
        userhash in any::<bool>(),
        wrong_answer in select(vec![WrongAnswer::Reject, WrongAnswer::Challenge]),
    ) {
        let policy = Policy::default()
            .with_algorithms(AlgorithmOffer::MD5_FIRST)
            .with_userhash(userhash)
            .with_wrong_answer(wrong_answer)
            .with_guesses(GuessPolicy::default().with_source(unlimited()).with_pair(unlimited()));
        let scene = Scene::new(&policy, &plans);
        let request = plans.iter().fold(scene.request.clone(), |request, plan| {
            request.with(&scene.header(plan))
        });
        let (bytes, source) = (request.bytes(), OUTSIDE.parse().unwrap());
        let invite = Invite::from_datagram(&bytes, source, Transport::Tcp).unwrap();
        let now = scene.world.start + scene.world.now;
        let explained = scene.world.authorizer.explain(&invite, now);
        let decision = scene.world.authorizer.authorize(&invite, now);
        let facts = |it: &Decision| (it.outcome(), it.reason(), it.cause(), it.credential());
        prop_assert_eq!(facts(&explained.decision), facts(&decision));

        let order = if list(LISTS[0]) < list(LISTS[1]) { [0, 1] } else { [1, 0] };
        let named = |(place, which): (usize, usize)| {
            credential(LISTS[which], &name(plans[place].user))
        };
        let expected = match decide(&plans, order, userhash) {
            Outcome::Accept(place, which) => {
                ("accept", "passed", None, Some(named((place, which))))
            }
            Outcome::Asked(cause, claimed) => {
                let rejects = wrong_answer == WrongAnswer::Reject && plans.iter().any(|plan| {
                    plan.form == Form::WellFormed && plan.nonce >= Nonce::Used
                });
                let outcome = match rejects {
                    true => ("reject", "wrong-credentials"),
                    false => ("challenge", "asked"),
                };
                (outcome.0, outcome.1, Some(cause), claimed.map(named))
            }
            Outcome::Stale(cause, claimed) => {
                ("challenge", "stale", Some(cause), claimed.map(named))
            }
            Outcome::Reject(cause) => {
                ("reject", cause.as_str(), Some(cause), None)
            }
        };
        prop_assert_eq!(facts(&decision), expected, "{}", explained);
    }
}
