//! Commits on snapshots: the rules with their messages, and the equivalence of any sequence of
//! commits with a single one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, AccountStatus, AlgorithmOffer, Commit, Credential, CredentialList, Domain, Ha1Set,
    IpAccessControlList, IpAddress, Key, Mapping, Policy, Record, Target, Trunk,
};
use sip_authz::{
    AccountSid, Authorizer, Capacity, Decision, DomainSid, Invite, Snapshot, Transport, TrunkSid,
    Warning,
};
use sip_authz_testing::kit::*;

fn other_account() -> AccountSid {
    AccountSid::from_name(&["other"])
}

fn domain_record(host: &str) -> Domain {
    Domain::new(domain(host), account(), host.parse().unwrap())
}

/// The error of a commit on the world's snapshot; asserts that the snapshot is unchanged.
fn refused(world: &World, build: impl FnOnce(&mut Commit)) -> String {
    let mut commit = Commit::new();
    build(&mut commit);
    let before = world.authorizer.snapshot();
    let error = world.authorizer.apply(&commit).unwrap_err().to_string();
    assert_eq!(world.authorizer.snapshot().number(), before.number());
    error
}

#[test]
fn a_reference_to_a_missing_record_is_refused() {
    let world = World::new();
    let nobody = other_account();
    let error = refused(&world, |commit| {
        let name = "new.example.com".parse().unwrap();
        commit.put(Record::Domain(Domain::new(domain("new"), nobody, name)));
    });
    assert_eq!(error, format!("domain {}: there is no account {nobody}", domain("new")));

    let missing = list("missing");
    let mapping = Mapping::CredentialList(domain(HOST).into(), missing);
    let error = refused(&world, |commit| {
        commit.put(Record::from(mapping));
    });
    let sid = domain(HOST);
    assert_eq!(
        error,
        format!("mapping of {missing} to {sid}: there is no credential list {missing}")
    );

    for key in [
        Key::Account(nobody),
        Key::CredentialList(missing),
        Key::IpAccessControlList(acl("missing")),
        Key::IpAddress(address("10.0.0.0/8")),
        Key::Credential(credential(LIST, "nobody")),
        Key::Target(domain("missing").into()),
        Key::Policy(domain("missing").into()),
        Key::Mapping(mapping),
    ] {
        let error = refused(&world, |commit| {
            commit.delete(key);
        });
        assert_eq!(error, format!("{key}: there is no {key}"));
    }
}

#[test]
fn names_are_unique_and_can_be_swapped() {
    let world = World::new();
    let twin = TrunkSid::from_name(&["twin"]);
    let error = refused(&world, |commit| {
        let name = "DIGEST.example.com.".parse().unwrap();
        commit.put(Record::Trunk(Trunk::new(twin, account(), Some(name))));
    });
    let by = domain(HOST);
    assert_eq!(error, format!("trunk {twin}: the name `digest.example.com` is taken by {by}"));

    world.apply(|commit| {
        commit
            .put(Record::Domain(Domain { name: ACL_HOST.parse().unwrap(), ..domain_record(HOST) }));
        commit
            .put(Record::Domain(Domain { name: HOST.parse().unwrap(), ..domain_record(ACL_HOST) }));
    });
    let accept = accepted(world.send(&Request::to(HOST), INSIDE));
    assert_eq!(accept.target, domain(ACL_HOST).into());
    assert_eq!(world.send(&Request::to(ACL_HOST), INSIDE).status(), 407);

    // a released name is free and finds no target
    world.apply(|commit| {
        let name = "elsewhere.example.com".parse().unwrap();
        commit.put(Record::Domain(Domain { name, ..domain_record(HOST) }));
    });
    assert_eq!(world.send(&Request::to(ACL_HOST), INSIDE).status(), 404);
    assert_eq!(world.send(&Request::to("elsewhere.example.com"), INSIDE).status(), 407);

    let error = refused(&world, |commit| {
        let twin = Credential { sid: credential(LIST, "twin"), ..user(LIST, "alice", "x") };
        commit.put(Record::Credential(twin));
    });
    assert!(error.contains("the user name `alice` is taken by CR"), "{error}");
}

/// The list with the lowest SID wins, in any mapping order.
#[test]
fn the_order_in_which_lists_are_mapped_decides_nothing() {
    let second = |name: &str| CredentialList::new(list(name), account(), REALM.parse().unwrap());
    for names in [["one", "two", "three"], ["three", "one", "two"], ["two", "three", "one"]] {
        let world = World::new();
        for name in names {
            world.apply(|commit| {
                commit.put(second(name).into());
                commit.put(user(name, "alice", PASSWORD).into());
                commit.put(IpAccessControlList::new(acl(name), account()).into());
                let sid = address(name);
                commit.put(IpAddress::new(sid, acl(name), "192.0.2.7".parse().unwrap()).into());
            });
            for mapping in [
                Mapping::CredentialList(domain(BARE_HOST).into(), list(name)),
                Mapping::IpAccessControlList(domain(BARE_HOST).into(), acl(name)),
            ] {
                world.put(mapping.into());
            }
        }
        let request = world.answered(&Request::to(BARE_HOST), INSIDE, "alice", PASSWORD);
        let accept = accepted(world.send(&request, INSIDE));
        let lowest = names.map(list).into_iter().min();
        assert_eq!(accept.credential.map(|matched| matched.list), lowest, "{names:?}");
        let lowest = names.map(acl).into_iter().min();
        assert_eq!(accept.address.map(|matched| matched.list), lowest, "{names:?}");
    }
}

#[test]
fn fixed_fields_and_used_records_are_protected() {
    let world = World::new();
    world.put(Record::Account(Account::new(other_account())));
    let fixed = |record: Record, what: &str| {
        let key = record.key();
        let error = refused(&world, |commit| {
            commit.put(record);
        });
        assert_eq!(error, format!("{key}: the {what} of {key} cannot be changed"));
    };
    let name = HOST.parse().unwrap();
    fixed(Record::Domain(Domain::new(domain(HOST), other_account(), name)), "account");
    let realm = REALM.parse().unwrap();
    fixed(
        Record::CredentialList(CredentialList::new(list(LIST), other_account(), realm)),
        "account",
    );
    let realm = "other.example".parse().unwrap();
    fixed(Record::CredentialList(CredentialList::new(list(LIST), account(), realm)), "realm");
    fixed(
        Record::IpAccessControlList(IpAccessControlList::new(acl(ACL), other_account())),
        "account",
    );
    let moved = Credential { list: list(OTHER_LIST), ..user(LIST, "alice", PASSWORD) };
    fixed(Record::Credential(moved), "list");
    let renamed = Credential { sid: credential(LIST, "alice"), ..user(LIST, "alicia", PASSWORD) };
    fixed(Record::Credential(renamed), "user name");

    for (key, by) in [
        (Key::Account(account()), "it owns domains, trunks, lists or roles"),
        (Key::CredentialList(list(LIST)), "it is mapped"),
        (Key::IpAccessControlList(acl(ACL)), "it is mapped"),
        (Key::Target(domain(HOST).into()), "lists are mapped to it"),
        (Key::Target(domain(BARE_HOST).into()), "it has a policy"),
    ] {
        let error = refused(&world, |commit| {
            commit.delete(key);
        });
        assert_eq!(error, format!("{key}: {key} is in use: {by}"));
    }
    // everything that depends on it can be deleted in the same commit, in any order
    world.apply(|commit| {
        commit.delete(Key::Target(domain(HOST).into()));
        commit.delete(Key::Policy(domain(HOST).into()));
        commit.delete(Key::Mapping(Mapping::CredentialList(domain(HOST).into(), list(LIST))));
    });
    assert_eq!(world.send(&Request::to(HOST), INSIDE).status(), 404);
}

#[test]
fn lists_and_targets_agree_on_account_and_realm() {
    let world = World::new();
    world.put(Record::Account(Account::new(other_account())));
    let foreign = list("foreign");
    let realm = REALM.parse().unwrap();
    world.put(Record::CredentialList(CredentialList::new(foreign, other_account(), realm)));
    let error = refused(&world, |commit| {
        commit.put(Record::from(Mapping::CredentialList(domain(HOST).into(), foreign)));
    });
    let (target, owner, other) = (domain(HOST), account(), other_account());
    assert!(
        error.ends_with(&format!("{foreign} belongs to {other}, {target} to {owner}")),
        "{error}"
    );

    // mappings for registrations fix the realm too; with no mapping left, any realm is allowed
    let elsewhere = list("elsewhere");
    let realm = "elsewhere.example".parse().unwrap();
    world.put(Record::CredentialList(CredentialList::new(elsewhere, account(), realm)));
    world.put(Record::from(Mapping::Registration(domain(BARE_HOST), elsewhere)));
    let error = refused(&world, |commit| {
        let mapping = Mapping::CredentialList(domain(BARE_HOST).into(), list(LIST));
        commit.put(Record::from(mapping));
    });
    assert!(error.contains("the lists mapped to SD"), "{error}");
    world.apply(|commit| {
        commit.delete(Key::Mapping(Mapping::Registration(domain(BARE_HOST), elsewhere)));
        let mapping = Mapping::CredentialList(domain(BARE_HOST).into(), list(LIST));
        commit.put(Record::from(mapping));
    });
    assert_eq!(world.send(&Request::to(BARE_HOST), INSIDE).status(), 407);
}

#[test]
fn a_key_is_written_once_and_a_policy_is_in_range() {
    let world = World::new();
    let key = Key::Credential(credential(LIST, "alice"));
    let error = refused(&world, |commit| {
        commit.put(Record::Credential(user(LIST, "alice", "x"))).delete(key);
    });
    assert_eq!(error, format!("{key}: {key} is written twice"));
    let error = refused(&world, |commit| {
        let policy = Policy::default().with_nonce_lifetime(0);
        commit.put(policy_of(HOST, policy));
    });
    assert!(error.ends_with("nonce lifetime must be 1 to 86400 seconds, got 0"), "{error}");
}

#[test]
fn an_algorithm_that_users_have_no_hash_for_is_a_warning() {
    let policy = Policy::default().with_algorithms(AlgorithmOffer::MD5_FIRST);
    let world = World::with_policy(policy);
    assert_eq!(world.authorizer.snapshot().warnings(), []);
    let (name, realm) = ("dave".parse().unwrap(), REALM.parse().unwrap());
    let md5 = "0123456789abcdef0123456789abcdef";
    let ha1 = Ha1Set::from_hex(&name, &realm, [(HashFunction::Md5, md5)]).unwrap();
    let dave = Credential::new(credential(OTHER_LIST, "dave"), list(OTHER_LIST), name, ha1);
    world.put(Record::Credential(dave));
    let warnings = world.authorizer.snapshot().warnings();
    let text: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let (target, list) = (domain(OTHER_HOST), list(OTHER_LIST));
    let expected = format!("{target} offers SHA-256, and 1 users of {list} have no hash for it");
    assert_eq!(text, [expected]);
    world.delete(Key::Credential(credential(OTHER_LIST, "dave")));
    assert_eq!(world.authorizer.snapshot().warnings(), []);
}

#[test]
fn an_offer_that_many_phones_fail_at_is_a_warning() {
    let (target, world) = (Target::from(domain(HOST)), World::new());
    let warnings = || {
        let all = world.authorizer.snapshot().warnings();
        let about_offers =
            all.into_iter().filter(|warning| matches!(warning, Warning::StrongerFirst { .. }));
        about_offers.collect::<Vec<_>>()
    };
    for (name, offer) in AlgorithmOffer::PRESETS {
        let first = offer.stronger_first();
        world.put(policy_of(HOST, Policy::default().with_algorithms(offer)));
        let expected = first.map(|first| Warning::StrongerFirst { target, first });
        assert_eq!(warnings(), Vec::from_iter(expected.clone()), "{name}");
        let text = expected.map(|warning| warning.to_string()).unwrap_or_default();
        assert!(
            first.is_none_or(|first| text
                .starts_with(&format!("{target} offers several algorithms, {first} first"))),
            "{text}"
        );
    }
    world.delete(Key::Policy(target));
    assert_eq!(warnings(), []);
}

/// Small sets of names, so that random writes collide.
fn writes() -> impl Strategy<Value = Vec<(bool, Record)>> {
    let accounts = || prop::sample::select(vec![account(), other_account()]);
    let hosts = || prop::sample::select(vec![HOST, ACL_HOST, "c.example.com"]);
    let lists = || prop::sample::select(vec!["a", "b", "c"]);
    let target = prop_oneof![
        (0..3_u8).prop_map(|n| Target::Domain(DomainSid::from_bytes([n; 16]))),
        Just(Target::Trunk(TrunkSid::from_bytes([9; 16]))),
    ];
    let status = prop_oneof![4 => Just(AccountStatus::Active), 1 => Just(AccountStatus::Suspended)];
    let prefixes = || prop::sample::select(vec!["192.0.2.0/24", "192.0.2.7", "::/0", "10.0.0.0/8"]);
    let users = || prop::sample::select(vec!["alice", "bob"]);
    let record = prop_oneof![
        (accounts(), status)
            .prop_map(|(sid, status)| Record::Account(Account { status, ..Account::new(sid) })),
        (lists(), accounts()).prop_map(|(name, owner)| Record::IpAccessControlList(
            IpAccessControlList::new(acl(name), owner)
        )),
        (lists(), accounts(), prop::bool::weighted(0.8)).prop_map(|(name, owner, same)| {
            let realm = if same { REALM } else { "elsewhere.example" };
            Record::CredentialList(CredentialList::new(list(name), owner, realm.parse().unwrap()))
        }),
        (lists(), prefixes()).prop_map(|(name, prefix)| {
            let sid = sip_authz::IpAddressSid::from_name(&[name, prefix]);
            Record::IpAddress(IpAddress::new(sid, acl(name), prefix.parse().unwrap()))
        }),
        (lists(), users(), any::<bool>()).prop_map(|(name, username, disabled)| {
            Record::Credential(Credential { disabled, ..user(name, username, PASSWORD) })
        }),
        (target.clone(), hosts(), accounts(), any::<bool>()).prop_map(
            |(target, host, owner, no)| {
                let name = host.parse().unwrap();
                match target {
                    Target::Domain(sid) => Record::Domain(Domain::new(sid, owner, name)),
                    Target::Trunk(sid) => Record::Trunk(Trunk::new(sid, owner, no.then_some(name))),
                }
            }
        ),
        (target.clone(), any::<bool>()).prop_map(|(target, userhash)| {
            let policy = Policy::default().with_userhash(userhash);
            Record::from(sip_authz::model::PolicyRecord::new(target, policy))
        }),
        (target.clone(), lists())
            .prop_map(|(target, name)| Record::from(Mapping::CredentialList(target, list(name)))),
        (target, lists()).prop_map(|(target, name)| {
            Record::from(Mapping::IpAccessControlList(target, acl(name)))
        }),
        (0..3_u8, lists()).prop_map(|(n, name)| {
            Record::from(Mapping::Registration(DomainSid::from_bytes([n; 16]), list(name)))
        }),
    ];
    prop::collection::vec((prop::bool::weighted(0.75), record), 1..4)
}

/// The decisions of a snapshot for every host, source and user of the small sets.
fn behaviour(snapshot: &Snapshot) -> Vec<String> {
    let start = std::time::Instant::now();
    let capacity = Capacity::default().with_nonces(0).with_repeats(0).with_guesses(0);
    let authorizer = Authorizer::from_seed(snapshot.clone(), capacity, &[1; 32], start);
    let mut all = Vec::new();
    for host in [HOST, ACL_HOST, "c.example.com"] {
        for source in ["192.0.2.7:1", "192.0.2.8:1", "[2001:db8::1]:1"] {
            let source = source.parse().unwrap();
            let mut request = Request::to(host);
            let first = {
                let bytes = request.bytes();
                let invite = Invite::from_datagram(&bytes, source, Transport::Tcp).unwrap();
                authorizer.authorize(&invite, start)
            };
            all.push(match &first {
                Decision::Challenge(challenge) => challenge.target.to_string(),
                other => format!("{other:?}"),
            });
            let Decision::Challenge(challenge) = first else { continue };
            for username in ["alice", "bob"] {
                let header = Header::answer(&challenge.values[0], &request, username, PASSWORD);
                request = request.next().with(&header.text());
                let bytes = request.bytes();
                let invite = Invite::from_datagram(&bytes, source, Transport::Tcp).unwrap();
                all.push(format!("{:?}", authorizer.explain(&invite, start).decision));
            }
        }
    }
    all.extend(snapshot.warnings().iter().map(ToString::to_string));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// After any accepted and rejected commits, the snapshot equals one built by a single commit of
    /// the remaining records.
    #[test]
    fn any_sequence_equals_one_commit_of_its_records(
        commits in prop::collection::vec(writes(), 1..60)
    ) {
        let mut snapshot = Snapshot::empty();
        let mut records = BTreeMap::new();
        let mut applied = 0;
        // start with accounts and lists; otherwise most writes would be rejected
        let mut start = vec![Record::Account(Account::new(account()))];
        for name in ["a", "b"] {
            let realm = REALM.parse().unwrap();
            start.push(Record::CredentialList(CredentialList::new(list(name), account(), realm)));
            start.push(Record::IpAccessControlList(IpAccessControlList::new(acl(name), account())));
        }
        let start = start.into_iter().map(|record| (true, record)).collect();
        let commits = std::iter::once(start).chain(commits);
        for writes in commits {
            let mut commit = Commit::new();
            for (put, record) in &writes {
                if *put { commit.put(record.clone()) } else { commit.delete(record.key()) };
            }
            if let Ok(next) = snapshot.apply(&commit) {
                snapshot = next;
                applied += 1;
                for (put, record) in writes {
                    if put {
                        records.insert(record.key(), record);
                    } else {
                        prop_assert!(records.remove(&record.key()).is_some());
                    }
                }
            }
        }
        prop_assert_eq!(snapshot.number(), applied);
        let alone = records.into_values().fold(Snapshot::builder(), |b, record| b.record(record));
        let alone = alone.build().unwrap();
        prop_assert_eq!(behaviour(&snapshot), behaviour(&alone));
    }
}

/// The realms by a scan of the records that a snapshot was made of.
fn realms_by_scan(lists: &BTreeMap<String, String>) -> Vec<&str> {
    lists.values().map(String::as_str).collect()
}

proptest! {
    #[test]
    fn own_realms_are_those_of_the_lists(
        steps in prop::collection::vec(prop::collection::vec((0..8_u8, 0..4_u8), 1..4), 0..20),
    ) {
        let mut snapshot = Snapshot::builder().account(Account::new(account())).build().unwrap();
        let mut lists = BTreeMap::<String, String>::new();
        for step in steps {
            let mut commit = Commit::new();
            let mut kept = Vec::new();
            for (name, realm) in BTreeMap::from_iter(step) {
                let (name, realm) = (format!("list {name}"), format!("Realm {realm}"));
                if lists.remove(&name).is_some() {
                    commit.delete(Key::CredentialList(list(&name)));
                } else {
                    let record = CredentialList::new(list(&name), account(), realm.parse().unwrap());
                    commit.put(record.into());
                    kept.push((name, realm));
                }
            }
            lists.extend(kept);
            let before = snapshot.clone();
            let own = |snapshot: &Snapshot| [0, 1, 2, 3].map(|n| snapshot.is_own_realm(&format!("Realm {n}")));
            let were = own(&before);
            snapshot = snapshot.apply(&commit).unwrap();
            prop_assert_eq!(own(&before), were, "the snapshot before keeps its realms");
            let scanned = realms_by_scan(&lists);
            for text in ["Realm 0", "Realm 1", "Realm 2", "Realm 3", "realm 0", "Realm", "", "\"", "Realm 0 "] {
                prop_assert_eq!(snapshot.is_own_realm(text), scanned.contains(&text), "{}", text);
            }
        }
    }
}

#[test]
fn a_realm_is_own_with_any_mapping_or_none_and_after_a_change_of_its_list() {
    let world = World::new();
    let own = |realm: &str| world.authorizer.snapshot().is_own_realm(realm);
    assert!(own(REALM) && !own("Example.com") && !own(&"r".repeat(200)));
    let unmapped = list("unmapped");
    let put = |name: &str| {
        let record = CredentialList::new(unmapped, account(), "other.example".parse().unwrap());
        world.put(CredentialList { friendly_name: name.to_owned(), ..record }.into());
    };
    put("one");
    put("two");
    assert!(own("other.example"));
    world.delete(Key::CredentialList(unmapped));
    assert!(!own("other.example") && own(REALM));
    assert!(!Snapshot::empty().is_own_realm(REALM));
}
