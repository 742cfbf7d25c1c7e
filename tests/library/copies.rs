//! The cost of credentials: copies of one user name in the lists of a domain, and headers with the
//! same algorithm.

use std::time::Duration;

use proptest::prelude::*;
use sip_authz::digest::{Algorithm, HashFunction, MalformedCredentials};
use sip_authz::model::rules::MAX_COPIES;
use sip_authz::model::{
    Commit, Credential, CredentialList, GuessPolicy, Ha1Set, Key, Mapping, Policy, QopOffer, Record,
};
use sip_authz::{Capacity, Cause, CredentialSid, Decision, Reason, Warning};
use sip_authz_testing::kit::*;

const NAMES: [&str; 3] = ["alice", "anna", "andy"];
const PASSWORDS: [&str; 2] = ["Correct-Horse-7", "Correct-Horse-8"];
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256Sess, Algorithm::Sha512_256];

/// A user in one list.
#[derive(Clone, Copy, Debug)]
struct Copy {
    list: usize,
    name: usize,
    password: usize,
    disabled: bool,
    /// Whether the record has only an MD5 hash.
    only_md5: bool,
}

/// A response with a live nonce.
#[derive(Clone, Copy, Debug)]
struct Response {
    /// A name that no list holds, if it is past the end.
    name: usize,
    password: usize,
    algorithm: usize,
}

fn copy() -> impl Strategy<Value = Copy> {
    let flags = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (0..9_usize, 0..NAMES.len(), 0..2_usize, flags).prop_map(
        |(list, name, password, (disabled, only_md5))| Copy {
            list,
            name,
            password,
            disabled,
            only_md5,
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    (0..=NAMES.len(), 0..2_usize, 0..ALGORITHMS.len())
        .prop_map(|(name, password, algorithm)| Response { name, password, algorithm })
}

fn list_name(number: usize) -> String {
    format!("list {number}")
}

fn name_of(number: usize) -> &'static str {
    NAMES.get(number).copied().unwrap_or("nobody")
}

/// A world whose domain [`HOST`] has these lists in place of the usual one.
fn world(lists: usize, copies: &[Copy], userhash: bool) -> World {
    let policy = offering(&ALGORITHMS)
        .with_userhash(userhash)
        .with_nonce_lifetime(Policy::MAX_NONCE_LIFETIME)
        .with_guesses(GuessPolicy::default().with_source(unlimited()).with_pair(unlimited()));
    let world = World::with(policy, Capacity::default().with_nonces(4_096), &[7; 32]);
    world.apply(|commit| {
        let target = domain(HOST).into();
        commit.delete(Key::Mapping(Mapping::CredentialList(target, list(LIST))));
        for number in 0..lists {
            let list = list(&list_name(number));
            let record = CredentialList::new(list, account(), REALM.parse().unwrap());
            commit.put(Record::CredentialList(record));
            commit.put(Record::from(Mapping::CredentialList(target, list)));
        }
        for copy in copies {
            let mut record =
                user(&list_name(copy.list), NAMES[copy.name], PASSWORDS[copy.password]);
            record.disabled = copy.disabled;
            if copy.only_md5 {
                let md5 = hex::encode(record.ha1.get(HashFunction::Md5).unwrap());
                let realm = REALM.parse().unwrap();
                let hashes = [(HashFunction::Md5, md5.as_str())];
                record.ha1 = Ha1Set::from_hex(&record.username, &realm, hashes).unwrap();
            }
            commit.put(Record::Credential(record));
        }
    });
    world
}

/// The plain loop: the user of the first list in the order of SIDs whose record makes the response
/// right, among the first [`MAX_COPIES`] that hold the name. Else the cause, and the first user that
/// has it.
fn expected(
    lists: usize,
    copies: &[Copy],
    response: Response,
) -> Result<Credential, (Cause, Option<CredentialSid>)> {
    let mut order: Vec<usize> = (0..lists).collect();
    order.sort_by_key(|number| list(&list_name(*number)));
    let of_name: Vec<&Copy> = order
        .into_iter()
        .filter_map(|number| {
            copies.iter().find(|copy| copy.list == number && copy.name == response.name)
        })
        .collect();
    let function = ALGORITHMS[response.algorithm].hash_function();
    let has_hash = |copy: &Copy| !copy.only_md5 || function == HashFunction::Md5;
    let compared = || of_name.iter().take(MAX_COPIES);
    let right = compared()
        .find(|copy| copy.password == response.password && !copy.disabled && has_hash(copy));
    if let Some(right) = right {
        return Ok(user(&list_name(right.list), NAMES[right.name], PASSWORDS[right.password]));
    }
    // the copy that came nearest
    let (enabled, disabled) =
        (|| compared().filter(|copy| !copy.disabled), || compared().find(|copy| copy.disabled));
    let nearest = enabled()
        .find(|copy| has_hash(copy))
        .map(|copy| (Cause::WrongPassword, *copy))
        .or_else(|| Some((Cause::HashMissing, *enabled().next()?)))
        .or_else(|| Some((Cause::UserDisabled, *disabled()?)));
    let Some((cause, copy)) = nearest else { return Err((Cause::UserUnknown, None)) };
    let cause = if of_name.len() > MAX_COPIES { Cause::BeyondCopies } else { cause };
    Err((cause, Some(credential(&list_name(copy.list), NAMES[copy.name]))))
}

/// The request with this response, by a challenge of its own.
fn request(world: &World, number: usize, response: Response) -> Request {
    let request = Request { branch: format!("z9hG4bK{number}"), ..Request::to(HOST) };
    let challenge = world.challenge(&request, OUTSIDE);
    let value = &challenge.values[response.algorithm];
    let (name, password) = (name_of(response.name), PASSWORDS[response.password]);
    request.clone().with(&Header::answer(value, &request, name, password).text())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Compares with a plain loop over the lists.
    #[test]
    fn several_lists_decide_as_a_plain_loop(
        lists in 1..9_usize,
        copies in prop::collection::vec(copy(), 0..24),
        responses in prop::collection::vec(response(), 1..12),
        userhash in any::<bool>(),
    ) {
        let mut copies = copies;
        copies.retain(|copy| copy.list < lists);
        copies.sort_by_key(|copy| (copy.list, copy.name));
        copies.dedup_by_key(|copy| (copy.list, copy.name));
        let world = world(lists, &copies, userhash);
        for (number, response) in responses.into_iter().enumerate() {
            let request = request(&world, number, response);
            let decision = world.send(&request, OUTSIDE);
            match (expected(lists, &copies, response), decision) {
                (Ok(user), Decision::Accept(accept)) => {
                    let used = accept.credential.unwrap();
                    prop_assert_eq!((used.list, used.credential), (user.list, user.sid));
                }
                (Err(cause), Decision::Reject(reject)) => {
                    prop_assert_eq!(reject.reason, Reason::WrongCredentials);
                    prop_assert_eq!((reject.cause, reject.claimed), cause);
                }
                (expected, decision) => {
                    let expected = expected.map(|user| user.sid);
                    prop_assert!(false, "expected {expected:?}: {decision:?}");
                }
            }
        }
    }
}

/// Another target of the lists offers hashed names, so they are indexed.
#[test]
fn a_hashed_name_counts_in_several_lists_only_where_it_is_offered() {
    let copy = Copy { list: 1, name: 0, password: 0, disabled: false, only_md5: false };
    for lists in [2, 3] {
        let world = world(lists, &[copy], false);
        world.apply(|commit| {
            for number in 0..lists {
                let list = list(&list_name(number));
                let mapping = Mapping::CredentialList(domain(BOTH_HOST).into(), list);
                commit.put(Record::from(mapping));
            }
            commit.put(policy_of(BOTH_HOST, offering(&ALGORITHMS).with_userhash(true)));
        });
        for (host, source, accepts) in [(HOST, OUTSIDE, false), (BOTH_HOST, INSIDE, true)] {
            let request = Request::to(host);
            let challenge = world.challenge(&request, source);
            let value = &challenge.values[0];
            let mut header = Header::answer(value, &request, NAMES[0], PASSWORDS[0]);
            header.inner.userhash = true;
            header.sign();
            let decision = world.send(&request.with(&header.text()), source);
            assert_eq!(decision.is_accept(), accepts, "{host}");
        }
    }
}

/// A world whose challenges have a value for each algorithm, and the request of a caller with these
/// header values made from the challenge.
fn with_headers(headers: impl Fn(&[String], &Request) -> Vec<String>) -> Decision {
    let world = World::with_policy(offering(&Algorithm::ALL));
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    let values: Vec<String> = challenge.values.iter().map(ToString::to_string).collect();
    let headers = headers(&values, &request);
    let with = headers.iter().fold(request.clone(), |request, header| request.with(header));
    world.send(&with, OUTSIDE)
}

#[test]
fn one_header_for_each_algorithm_is_judged() {
    let decision = with_headers(|values, request| {
        let wrong =
            |value: &String| Header::answer(value, request, "alice", "Wrong-1-Horse").text();
        let mut headers: Vec<_> = values.iter().map(wrong).collect();
        let last = values.last().unwrap();
        *headers.last_mut().unwrap() = Header::answer(last, request, "alice", PASSWORD).text();
        headers
    });
    accepted(decision);
}

#[test]
fn of_two_headers_with_one_nonce_the_last_is_judged() {
    for first_is_right in [true, false] {
        for value in 0..Algorithm::ALL.len() {
            let decision = with_headers(|values, request| {
                let answer = |password| Header::answer(&values[value], request, "alice", password);
                let right = answer(PASSWORD).text();
                let wrong = answer("Wrong-1-Horse").text();
                if first_is_right { vec![right, wrong] } else { vec![wrong, right] }
            });
            assert_eq!(decision.is_accept(), !first_is_right);
        }
    }
}

#[test]
fn a_long_body_is_hashed_for_a_single_header_only() {
    let world = World::with_policy(offering(&Algorithm::ALL).with_qop(QopOffer::AuthInt));
    for (length, both_are_judged) in [(4_096, true), (4_097, false)] {
        let mut request = Request::to(HOST);
        request.body = vec![b'x'; length];
        let challenge = world.challenge(&request, OUTSIDE);
        let answer = |n: usize, password| {
            Header::answer(&challenge.values[n], &request, "alice", password).text()
        };
        let two = request.clone().with(&answer(0, "Wrong-1-Horse")).with(&answer(1, PASSWORD));
        let decision = world.send(&two, OUTSIDE);
        if both_are_judged {
            accepted(decision);
        } else {
            assert_eq!(rejected(decision), Reason::TooManyCredentials);
        }
        let one = world.answered(&request, OUTSIDE, "alice", PASSWORD);
        accepted(world.send(&one, OUTSIDE));
        // a header for another realm is not judged
        let foreign = request.next().with("Digest realm=\"other.example\"");
        let header = Header::answer(&challenge.values[2], &request, "alice", PASSWORD);
        accepted(world.send(&foreign.with(&header.with_nc(2).text()), OUTSIDE));
    }
}

#[test]
fn a_body_of_more_than_32_kib_is_not_hashed() {
    let with_body = |length, qop| {
        let world = World::with_policy(offering(&[Algorithm::Md5]).with_qop(qop));
        let mut request = Request::to(HOST);
        request.body = vec![b'x'; length];
        world.send(&world.answered(&request, OUTSIDE, "alice", PASSWORD), OUTSIDE)
    };
    accepted(with_body(32_768, QopOffer::AuthInt));
    let reason = Reason::MalformedCredentials(MalformedCredentials::BodyTooLong);
    assert_eq!(rejected(with_body(32_769, QopOffer::AuthInt)), reason);
    accepted(with_body(32_769, QopOffer::Auth));
}

#[test]
fn a_copy_of_a_header_is_ignored() {
    let twice = |password| {
        with_headers(move |values, request| {
            vec![Header::answer(&values[0], request, "alice", password).text(); 3]
        })
    };
    accepted(twice(PASSWORD));
    assert_eq!(rejected(twice("Wrong-1-Horse")), Reason::WrongCredentials);
}

#[test]
fn a_header_with_a_dead_nonce_does_not_count_as_the_one_of_its_algorithm() {
    let mut world = World::with_policy(offering(&Algorithm::ALL));
    let request = Request::to(HOST);
    let old = world.challenge(&request, OUTSIDE);
    world.sleep(Duration::from_secs(u64::from(Policy::default().nonce_lifetime) + 1));
    let new = world.challenge(&request, OUTSIDE);
    let answer = |value: &str| Header::answer(value, &request, "alice", PASSWORD).text();
    let with = request.clone().with(&answer(&old.values[0])).with(&answer(&new.values[0]));
    accepted(world.send(&with, OUTSIDE));
}

/// A user of this name in each of the first lists.
fn in_each(lists: usize) -> Vec<Copy> {
    let copy = |list| Copy { list, name: 0, password: 0, disabled: false, only_md5: false };
    (0..lists).map(copy).collect()
}

#[test]
fn only_what_a_commit_adds_breaks_the_bound_of_copies() {
    let world = world(MAX_COPIES + 2, &in_each(MAX_COPIES + 1), false);
    let before = world.authorizer.snapshot();
    let errors = |record: Record| {
        let mut commit = Commit::new();
        commit.put(record);
        before.apply(&commit).unwrap().check_copies(&before, &commit).len()
    };
    let password = |number| Record::Credential(user(&list_name(number), NAMES[0], PASSWORDS[1]));
    assert_eq!((errors(password(0)), errors(password(MAX_COPIES + 1))), (0, 1));
    let mapping = Mapping::CredentialList(domain(HOST).into(), list(&list_name(0)));
    assert_eq!(errors(Record::from(mapping)), 0);
}

#[test]
fn a_warning_counts_the_names_beyond_the_bound() {
    for (copies, expected) in [(MAX_COPIES, None), (MAX_COPIES + 1, Some(1))] {
        let world = world(MAX_COPIES + 1, &in_each(copies), false);
        let warned = world.authorizer.snapshot().warnings().iter().find_map(|warning| {
            let Warning::TooManyCopies { users, .. } = warning else { return None };
            Some(*users)
        });
        assert_eq!(warned, expected);
    }
}

#[test]
fn copies_beyond_the_bound_are_explained() {
    let world = world(7, &in_each(7), false);
    let response = Response { name: 0, password: 1, algorithm: 0 };
    let bytes = request(&world, 0, response).bytes();
    let source = OUTSIDE.parse().unwrap();
    let invite = sip_authz::Invite::from_datagram(&bytes, source, world.transport).unwrap();
    let text = world.authorizer.explain(&invite, world.start).to_string();
    assert_eq!(text.matches("the digest is wrong").count(), MAX_COPIES, "{text}");
    assert_eq!(text.matches("is not compared").count(), 7 - MAX_COPIES, "{text}");
}
