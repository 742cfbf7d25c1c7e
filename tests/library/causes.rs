//! The internal cause of each challenge and rejection.

use std::collections::BTreeSet;
use std::time::Duration;

use sip_authz::digest::{Algorithm, GuessRate, HashFunction};
use sip_authz::message::Message;
use sip_authz::model::rules::MAX_COPIES;
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, CredentialList, Domain, FromCheck, GuessPolicy, Ha1Set,
    Mapping, Policy, QopOffer, Record, Trunk, UriCheck, WrongAnswer,
};
use sip_authz::{Capacity, Cause, Decision, Invite, Reason, Transport, TrunkSid};
use sip_authz_testing::kit::*;

/// A request to decide.
struct Sent {
    /// The Request-URI of a request that has nothing else, or the bytes of one.
    message: Result<Vec<u8>, String>,
    source: &'static str,
    is_source_known: bool,
}

impl Sent {
    fn new(request: &Request, source: &'static str) -> Self {
        Self { message: Ok(request.bytes()), source, is_source_known: true }
    }

    fn uri(uri: &str) -> Self {
        Self { message: Err(uri.to_owned()), source: INSIDE, is_source_known: true }
    }

    /// Passes the request on as an [`Invite`].
    fn with<T>(&self, transport: Transport, then: impl FnOnce(Invite<'_>) -> T) -> T {
        let source = self.source.parse().unwrap();
        match &self.message {
            Ok(bytes) => {
                let message = Message::scan(bytes).unwrap();
                let invite = Invite::from_request(&message, source, transport).unwrap();
                then(if self.is_source_known { invite } else { invite.with_unknown_source() })
            }
            Err(uri) => then(Invite::new(uri.as_str(), source, transport)),
        }
    }
}

/// A world whose next decision on the request has this cause.
type Scene = (Cause, fn(Policy) -> (World, Sent));

fn once() -> GuessRate {
    GuessRate { burst: 1.try_into().unwrap(), refill_ms: 3_600_000.try_into().unwrap() }
}

fn free() -> GuessPolicy {
    GuessPolicy::default().with_source(unlimited()).with_pair(unlimited())
}

/// The answer of a user of [`HOST`], changed, and its world.
fn answer(
    policy: Policy,
    name: &str,
    change: impl FnOnce(&World, Header) -> String,
) -> (World, Sent) {
    let world = World::with_policy(policy).over(Transport::Tcp);
    let request = Request::to(HOST);
    let challenge = world.challenge(&request, OUTSIDE);
    let header = Header::answer(challenge.values.last().unwrap(), &request, name, PASSWORD);
    let sent = Sent::new(&request.with(&change(&world, header)), OUTSIDE);
    (world, sent)
}

/// A request with this credentials header.
fn with(policy: Policy, value: &str) -> (World, Sent) {
    (World::with_policy(policy), Sent::new(&Request::to(HOST).with(value), OUTSIDE))
}

fn uri(policy: Policy, uri: &str) -> (World, Sent) {
    (World::with_policy(policy), Sent::uri(uri))
}

/// A second wrong digest under limits that admit one.
fn guess(policy: Policy, guesses: GuessPolicy) -> (World, Sent) {
    answer(policy.with_guesses(guesses), "alice", |world, header| {
        let wrong = header.text_with("response", "\"0\"");
        let request = Request::to(HOST).with(&wrong);
        assert_eq!(world.send(&request, OUTSIDE).cause(), Some(Cause::WrongPassword));
        wrong
    })
}

/// A signed answer with another digest-uri.
fn digest_uri(policy: Policy, check: UriCheck, uri: &str) -> (World, Sent) {
    answer(policy.with_uri_check(check), "alice", |_, mut header| {
        header.inner.uri = uri.to_owned();
        header.sign();
        header.text()
    })
}

fn from(policy: Policy, from: &str) -> (World, Sent) {
    let world = World::with_policy(policy.with_from_must_match(FromCheck::User));
    let request = Request { from: from.to_owned(), ..Request::to(HOST) };
    let sent = Sent::new(&world.answered(&request, OUTSIDE, "alice", PASSWORD), OUTSIDE);
    (world, sent)
}

fn to(policy: Policy, to: &str) -> (World, Sent) {
    let world = World::with_policy(policy);
    take_registrations(&world, HOST);
    let request = Request { to: to.to_owned(), ..Request::register(HOST, "alice") };
    let sent = Sent::new(&world.answered(&request, OUTSIDE, "alice", PHONE_PASSWORD), OUTSIDE);
    (world, sent)
}

fn of_account(policy: Policy, status: AccountStatus) -> (World, Sent) {
    let world = World::with_policy(policy);
    world.put(Record::Account(Account { status, ..Account::new(account()) }));
    (world, Sent::new(&Request::to(ACL_HOST), INSIDE))
}

/// The scenes of wrong credentials.
const WRONG: [Scene; 11] = [
    (Cause::AlgorithmNotOffered, |policy| {
        answer(policy, "alice", |_, header| header.text_with("algorithm", "SHA-256"))
    }),
    (Cause::QopNotOffered, |policy| {
        answer(policy, "alice", |_, header| header.text_with("qop", "auth-int"))
    }),
    (Cause::UserhashNotOffered, |policy| {
        answer(policy, "alice", |_, mut header| {
            header.inner.userhash = true;
            header.sign();
            header.text()
        })
    }),
    (Cause::UserUnknown, |policy| answer(policy, "nobody", |_, header| header.text())),
    (Cause::UserDisabled, |policy| answer(policy, "carol", |_, header| header.text())),
    (Cause::HashMissing, |policy| {
        answer(
            policy.with_algorithms(offering(&[Algorithm::Sha256]).algorithms),
            "alice",
            |world, header| {
                let mut alice = user(LIST, "alice", PASSWORD);
                let md5 = hex::encode(alice.ha1.get(HashFunction::Md5).unwrap());
                let hashes = [(HashFunction::Md5, md5.as_str())];
                alice.ha1 =
                    Ha1Set::from_hex(&alice.username, &REALM.parse().unwrap(), hashes).unwrap();
                world.put(Record::Credential(alice));
                header.text()
            },
        )
    }),
    (Cause::WrongPassword, |policy| {
        answer(policy, "alice", |_, header| header.text_with("response", "\"0\""))
    }),
    (Cause::BeyondCopies, |policy| {
        answer(policy, "alice", |world, header| {
            world.apply(|commit| {
                for number in 0..MAX_COPIES {
                    let name = format!("more {number}");
                    let realm = REALM.parse().unwrap();
                    commit.put(CredentialList::new(list(&name), account(), realm).into());
                    commit.put(user(&name, "alice", PASSWORD).into());
                    let target = domain(HOST).into();
                    commit.put(Record::from(Mapping::CredentialList(target, list(&name))));
                }
            });
            header.text_with("response", "\"0\"")
        })
    }),
    (Cause::GuessLimit, |policy| guess(policy, free().with_pair(once()))),
    (Cause::GuessLimitOfSource, |policy| guess(policy, free().with_any_name(Some(once())))),
    (Cause::GuessLimitOfName, |policy| guess(policy, free().with_name(Some(once())))),
];

const ASKED: [Scene; 6] = [
    (Cause::NoCredentials, |policy| {
        (World::with_policy(policy), Sent::new(&Request::to(HOST), OUTSIDE))
    }),
    (Cause::NotDigest, |policy| with(policy, "Basic eDp4")),
    (Cause::OtherRealm, |policy| with(policy, "Digest realm=\"other.example\", nonce=\"n\"")),
    (Cause::UnreadableCredentials, |policy| with(policy, "Digest realm=\"example.com\", ???")),
    (Cause::IncompleteCredentials, |policy| with(policy, "Digest realm=\"example.com\"")),
    (Cause::StaleLimit, |policy| {
        answer(policy, "alice", |world, header| {
            let old = header.text_with("nonce", "\"n\"");
            for _ in 0..8 {
                assert!(challenged(world.send(&Request::to(HOST).with(&old), OUTSIDE)));
            }
            old
        })
    }),
];

const STALE: [Scene; 6] = [
    (Cause::NonceMalformed, |policy| {
        answer(policy, "alice", |_, header| header.text_with("nonce", "\"n\""))
    }),
    (Cause::NonceOfOtherProcess, |policy| {
        let (_, sent) = answer(policy.clone(), "alice", |_, header| header.text());
        (World::with(policy, Capacity::default().with_nonces(1), &[8; 32]), sent)
    }),
    (Cause::NonceOfOtherBinding, |policy| {
        let (world, sent) = answer(policy, "alice", |_, header| header.text());
        (world, Sent { source: "198.51.100.8:5060", ..sent })
    }),
    (Cause::NonceExpired, |policy| {
        let lifetime = policy.nonce_lifetime;
        let (mut world, sent) = answer(policy, "alice", |_, header| header.text());
        world.sleep(Duration::from_secs(u64::from(lifetime) + 1));
        (world, sent)
    }),
    (Cause::NonceCountUsed, |policy| {
        answer(policy, "alice", |world, header| {
            accepted(world.send(&Request::to(HOST).with(&header.text()), OUTSIDE));
            header.text()
        })
    }),
    (Cause::NonceForgotten, |policy| {
        let capacity = Capacity::default().with_nonces(1).with_repeats(1).with_guesses(1);
        let world = World::with(policy, capacity, &[7; 32]).over(Transport::Tcp);
        let request = Request::to(HOST);
        let oldest = world.answered(&request, OUTSIDE, "alice", PASSWORD);
        for _ in 0..1_500 {
            accepted(world.send(&world.answered(&request, OUTSIDE, "alice", PASSWORD), OUTSIDE));
        }
        (world, Sent::new(&oldest, OUTSIDE))
    }),
];

const REFUSED: [Scene; 40] = [
    (Cause::OtherProcess, |policy| {
        (World::with_policy(policy).in_other_process(), Sent::new(&Request::to(HOST), OUTSIDE))
    }),
    (Cause::SnapshotStale, |policy| {
        let world = World::with_policy(policy);
        world.authorizer.refuse_from(Some(world.start));
        (world, Sent::new(&Request::to(HOST), OUTSIDE))
    }),
    (Cause::UnsupportedScheme, |policy| uri(policy, "mailto:a@acl.example.com")),
    (Cause::HostlessUri, |policy| uri(policy, "urn:service:sos")),
    (Cause::UriWithoutScheme, |policy| uri(policy, "acl.example.com")),
    (Cause::UriTooLong, |policy| {
        uri(policy, &format!("sip:{}@acl.example.com", "1".repeat(9_000)))
    }),
    (Cause::UriCharacter, |policy| uri(policy, "sip:1 2@acl.example.com")),
    (Cause::UriCharacter, |policy| uri(policy, "sip:1\\@acl.example.com")),
    (Cause::UriUser, |policy| uri(policy, "sip:@acl.example.com")),
    (Cause::UriHost, |policy| uri(policy, "sip:1@127.1")),
    (Cause::UriHost, |policy| uri(policy, "sip:1@")),
    (Cause::UriPort, |policy| uri(policy, "sip:1@acl.example.com:0")),
    (Cause::UnknownHost, |policy| uri(policy, "sip:1@unknown.example.com")),
    (Cause::AccountSuspended, |policy| of_account(policy, AccountStatus::Suspended)),
    (Cause::AccountClosed, |policy| of_account(policy, AccountStatus::Closed)),
    (Cause::TargetNeedsTls, |policy| {
        let world = World::with_policy(policy);
        let record = Domain::new(domain(ACL_HOST), account(), ACL_HOST.parse().unwrap());
        world.put(Record::Domain(Domain { secure: true, ..record }));
        (world, Sent::new(&Request::to(ACL_HOST), INSIDE))
    }),
    (Cause::UriNeedsTls, |policy| uri(policy, "sips:1@acl.example.com")),
    (Cause::NothingMapped, |policy| {
        (World::with_policy(policy), Sent::new(&Request::to(BARE_HOST), INSIDE))
    }),
    (Cause::OnlyRegistrationsMapped, |policy| {
        let world = World::with_policy(policy);
        take_registrations(&world, BARE_HOST);
        (world, Sent::new(&Request::to(BARE_HOST), INSIDE))
    }),
    (Cause::SourceUnknown, |policy| {
        let sent = Sent::new(&Request::to(ACL_HOST), INSIDE);
        (World::with_policy(policy), Sent { is_source_known: false, ..sent })
    }),
    (Cause::AddressNotListed, |policy| {
        (World::with_policy(policy), Sent::new(&Request::to(ACL_HOST), OUTSIDE))
    }),
    (Cause::MethodNotAllowed, |policy| {
        let request = Request::to(HOST).with_method("MESSAGE");
        (World::with_policy(policy), Sent::new(&request, OUTSIDE))
    }),
    (Cause::RegistrationAtTrunk, |policy| {
        let (world, host) = (World::with_policy(policy), "trunk.example.com");
        let trunk = TrunkSid::from_name(&["trunk"]);
        world.put(Record::Trunk(Trunk::new(trunk, account(), Some(host.parse().unwrap()))));
        (world, Sent::new(&Request::register(host, "alice"), OUTSIDE))
    }),
    (Cause::RegistrationsOff, |policy| {
        (World::with_policy(policy), Sent::new(&Request::register(HOST, "alice"), OUTSIDE))
    }),
    (Cause::NoRegistrationList, |policy| {
        let world = World::with_policy(policy);
        world.put(registering(HOST).into());
        (world, Sent::new(&Request::register(HOST, "alice"), OUTSIDE))
    }),
    (Cause::TooManyHeaders, |policy| {
        let request = (0..17).fold(Request::to(HOST), |request, _| request.with("Basic eDp4"));
        (World::with_policy(policy), Sent::new(&request, OUTSIDE))
    }),
    (Cause::TooManyCredentials, |policy| {
        answer(policy, "alice", |_, header| vec![header.text(); 9].join(", "))
    }),
    (Cause::TooManyBodyHashes, |policy| {
        let policy = policy.with_algorithms(AlgorithmOffer::MD5_FIRST);
        let world = World::with_policy(policy.with_qop(QopOffer::AuthInt));
        let mut request = Request::to(HOST);
        request.body = vec![b'x'; 5_000];
        let with = world
            .challenge(&request, OUTSIDE)
            .values
            .iter()
            .fold(request.clone(), |with, value| {
                with.with(&Header::answer(value, &request, "alice", PASSWORD).text())
            });
        (world, Sent::new(&with, OUTSIDE))
    }),
    (Cause::MalformedCredentials, |policy| {
        answer(policy, "alice", |_, header| header.text_with("nc", "0"))
    }),
    (Cause::QopMissing, |policy| {
        answer(policy, "alice", |_, mut header| {
            header.inner.qop = None;
            header.sign();
            header.text()
        })
    }),
    (Cause::QopMissingForAlgorithm, |policy| {
        let policy = policy.with_algorithms(AlgorithmOffer::MD5_FIRST);
        answer(policy.with_allow_rfc2069(true), "alice", |_, mut header| {
            header.inner.qop = None;
            header.sign();
            header.text()
        })
    }),
    (Cause::UriUnreadable, |policy| digest_uri(policy, UriCheck::SameHost, "/")),
    (Cause::UriOfOtherHost, |policy| {
        digest_uri(policy, UriCheck::SameHost, "sip:100@other.example.com")
    }),
    (Cause::UriOfOtherUser, |policy| {
        digest_uri(policy, UriCheck::SameUserAndHost, "sip:101@digest.example.com")
    }),
    (Cause::UriDiffers, |policy| {
        digest_uri(policy, UriCheck::Equivalent, "sip:100@digest.example.com;transport=tcp")
    }),
    (Cause::FromUnreadable, |policy| from(policy, "<tel:+1>;tag=1")),
    (Cause::FromAnonymous, |policy| from(policy, "<sip:anonymous@anonymous.invalid>;tag=1")),
    (Cause::FromOfOtherUser, |policy| from(policy, "<sip:bob@example.com>;tag=1")),
    (Cause::ToUnreadable, |policy| to(policy, "<tel:+1>")),
    (Cause::ToOfOtherDomain, |policy| to(policy, "<sip:alice@other.example.com>")),
];
const LAST: Scene = (Cause::ToOfOtherUser, |policy| to(policy, "<sip:dave@digest.example.com>"));

/// Causes that no request of a test can have: the second is a defect of a store, and no part of a URI
/// that only the first is about is read.
const NEVER: [Cause; 2] = [Cause::BadRequestUri, Cause::AccountMissing];

/// The decision on a scene, alone, in a batch and explained.
fn decide((cause, scene): Scene, policy: &Policy) -> Decision {
    let (world, sent) = scene(policy.clone());
    let now = world.start + world.now;
    let explained = sent.with(world.transport, |invite| world.authorizer.explain(&invite, now));
    let decision = sent.with(world.transport, |invite| world.authorizer.authorize(&invite, now));
    assert_eq!(decision.cause(), Some(cause), "{explained}");
    let facts = |decision: &Decision| (decision.cause(), decision.credential(), decision.reason());
    assert_eq!(facts(&explained.decision), facts(&decision), "{explained}");
    let line = format!("\ncause: {} ({cause})\n", cause.meaning());
    assert!(format!("\n{explained}").contains(&line), "{explained}");

    let (world, sent) = scene(policy.clone());
    let now = world.start + world.now;
    let other = Sent::new(&Request::to(HOST), OUTSIDE);
    sent.with(world.transport, |invite| {
        other.with(world.transport, |other| {
            let mut invites = vec![other; 40];
            invites[20] = invite;
            let mut decisions = Vec::new();
            world.authorizer.authorize_batch(&invites, now, &mut decisions);
            assert_eq!(facts(&decisions[20]), facts(&decision), "in a batch");
        });
    });
    decision
}

#[test]
fn each_cause_is_named_by_single_decisions_batches_and_explanations() {
    let policy = Policy::default();
    let mut seen = BTreeSet::from(NEVER);
    for (scenes, status) in
        [(&WRONG[..], 403), (&ASKED, 407), (&STALE, 407), (&REFUSED, 0), (&[LAST], 403)]
    {
        for scene in scenes {
            let decision = decide(*scene, &policy);
            assert!(status == 0 || decision.status() == status, "{decision:?}");
            assert_eq!(decision.outcome() == "reject", status != 407);
            let is_stale = matches!(&decision, Decision::Challenge(it) if it.stale);
            assert_eq!(is_stale, STALE.iter().any(|(cause, _)| *cause == scene.0));
            seen.insert(scene.0);
        }
    }
    assert!(seen.iter().eq(Cause::ALL));
}

#[test]
fn a_policy_that_challenges_after_wrong_credentials_names_the_same_causes() {
    let policy = Policy::default().with_wrong_answer(WrongAnswer::Challenge);
    for scene in WRONG {
        let decision = decide(scene, &policy);
        assert!(!challenged(decision.clone()));
        let counted = ["challenge", "asked"];
        assert_eq!([decision.outcome(), decision.reason()], counted);
    }
}

#[test]
fn the_caller_learns_one_reason_for_all_causes_of_wrong_credentials() {
    let alice = Some(credential(LIST, "alice"));
    let carol = Some(credential(LIST, "carol"));
    for scene in WRONG {
        let Decision::Reject(reject) = decide(scene, &Policy::default()) else {
            panic!("a challenge")
        };
        assert_eq!(reject.reason.public(), Reason::WrongCredentials);
        assert_eq!((reject.reason.status(), reject.reason.code()), (403, Some(32_202)));
        let claimed = match scene.0 {
            Cause::UserDisabled => carol,
            Cause::HashMissing | Cause::WrongPassword => alice,
            Cause::BeyondCopies => reject.claimed.filter(|it| {
                let mut lists = (0..MAX_COPIES).map(|number| format!("more {number}"));
                Some(*it) == alice || lists.any(|name| credential(&name, "alice") == *it)
            }),
            _ => None,
        };
        assert_eq!(reject.claimed, claimed, "{}", reject.cause);
        assert_eq!(
            claimed.is_some(),
            scene.0 >= Cause::UserDisabled && scene.0 <= Cause::BeyondCopies
        );
    }
}

#[test]
fn explanations_change_nothing_and_issue_no_nonce() {
    let world = World::new();
    let later = world.start + Duration::from_secs(3_600);
    let bytes = Request::to(HOST).bytes();
    let invite = Invite::from_datagram(&bytes, OUTSIDE.parse().unwrap(), Transport::Udp).unwrap();
    for _ in 0..3 {
        assert_eq!(world.authorizer.explain(&invite, later).decision.status(), 407);
    }
    // a nonce that is issued now is live now, although an explanation looked at a later time
    accepted(world.send(&world.answered(&Request::to(HOST), OUTSIDE, "alice", PASSWORD), OUTSIDE));
    let of_causes: u64 = world.authorizer.counts().causes().map(|(.., count)| count).sum();
    assert_eq!((of_causes, world.authorizer.counts().total()), (1, 2));
}
