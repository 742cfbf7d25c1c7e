//! Merges of records from outside: results, fields that keep their values, errors and warnings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::digest::{Algorithm, HashFunction};
use sip_authz::model::{
    Account, AccountStatus, Credential, CredentialList, Dates, Domain, IpAccessControlList,
    IpAddress, Key, Mapping, MappingRecord, Password, Record, Role, RoleKind, Trunk,
};
use sip_authz::{RoleSid, ServiceSid, TrunkSid};
use sip_authz_directory::{
    Directory, Incoming, IncomingCredential, IncomingRecord, MergeError, Merged, Secret, Touched,
};
use sip_authz_store::{MemoryStore, Store};
use sip_authz_testing::kit::*;
use sip_authz_testing::site::{now_ms, settings, tick};

type Commands = Directory<MemoryStore>;

fn commands() -> Commands {
    Directory::new(MemoryStore::new(), settings(), None).with_clock(now_ms)
}

fn now() -> Dates {
    Dates { created: now_ms() / 1_000, updated: now_ms() / 1_000 }
}

fn whole(record: impl Into<Record>) -> Incoming {
    Incoming { record: IncomingRecord::Whole(record.into()), dates: None }
}

/// The user alice, modified by `change`.
fn alice(change: impl FnOnce(&mut IncomingCredential)) -> Incoming {
    let mut user = IncomingCredential {
        sid: credential(LIST, "alice"),
        list: list(LIST),
        username: "alice".parse().unwrap(),
        secret: None,
        disabled: None,
        role: None,
    };
    change(&mut user);
    Incoming { record: IncomingRecord::Credential(user), dates: None }
}

fn with_password(user: &mut IncomingCredential) {
    user.secret = Some(Secret::Password(Password::new(PASSWORD.to_owned())));
}

fn a_list() -> CredentialList {
    CredentialList::new(list(LIST), account(), REALM.parse().unwrap())
}

fn a_domain() -> Domain {
    Domain::new(domain(HOST), account(), HOST.parse().unwrap())
}

fn the_mapping() -> Mapping {
    Mapping::CredentialList(domain(HOST).into(), list(LIST))
}

fn a_role(kind: RoleKind, permission: &str) -> Role {
    Role {
        sid: RoleSid::from_name(&["role"]),
        account: account(),
        service: ServiceSid::from_name(&["service"]),
        friendly_name: String::new(),
        kind,
        permissions: vec![permission.to_owned()],
        dates: Dates::default(),
    }
}

/// An account with a domain and a user.
fn all() -> Vec<Incoming> {
    vec![
        whole(the_mapping()),
        alice(with_password),
        whole(a_domain()),
        whole(a_list()),
        whole(Account::new(account())),
    ]
}

async fn merge(directory: &Commands, incoming: Vec<Incoming>) -> [usize; 3] {
    let Merged { new, changed, unchanged, .. } = directory.merge(incoming, false).await.unwrap();
    [new, changed, unchanged]
}

/// Asserts that a merge refused the record `of`, and returns the message.
#[track_caller]
fn refused(outcome: Result<Merged, MergeError>, of: impl Into<Key>) -> String {
    match outcome {
        Err(MergeError::Refused { key, message }) if key == of.into() => message,
        other => panic!("{other:?}"),
    }
}

async fn head(directory: &Commands) -> u64 {
    directory.store().head().await.unwrap().number
}

async fn user_there(directory: &Commands) -> Credential {
    directory.credential(account(), list(LIST), credential(LIST, "alice")).await.unwrap()
}

#[tokio::test]
async fn a_merge_counts_new_changed_and_unchanged_records() {
    let directory = commands();
    let planned = directory.merge(all(), true).await.unwrap();
    assert_eq!((planned.new, planned.changed, planned.unchanged), (5, 0, 0));
    assert_eq!(
        (head(&directory).await, directory.store().load().await.unwrap().records),
        (0, vec![])
    );
    assert_eq!(merge(&directory, all()).await, [5, 0, 0]);
    assert_eq!(head(&directory).await, 1);
    let made = now();
    assert_eq!(user_there(&directory).await.dates, made);
    assert!(HashFunction::ALL.into_iter().all(|f| user(LIST, "alice", PASSWORD).ha1.has(f)));
    assert_eq!(user_there(&directory).await.ha1, user(LIST, "alice", PASSWORD).ha1);
    let mapping = directory.mapping(account(), the_mapping()).await.unwrap();
    assert_eq!((mapping.since, mapping.dates), (1, made));

    // unchanged records are not written
    tick(5_000);
    assert_eq!(merge(&directory, all()).await, [0, 0, 5]);
    assert_eq!(head(&directory).await, 1);

    // a changed record keeps its creation date, and a mapping keeps its position
    let mut batch = all();
    let renamed = CredentialList { friendly_name: "phones".to_owned(), ..a_list() };
    batch[0] = whole(MappingRecord { since: 9, ..the_mapping().into() });
    batch[3] = whole(renamed);
    assert_eq!(merge(&directory, batch).await, [0, 1, 4]);
    assert_eq!(head(&directory).await, 2);
    let there = directory.credential_list(account(), list(LIST)).await.unwrap();
    assert_eq!((&*there.friendly_name, there.dates.created), ("phones", made.created));
    assert_eq!(there.dates.updated, now().updated);
    assert_eq!(directory.mapping(account(), the_mapping()).await.unwrap(), mapping);

    // given dates are stored
    let dates = Dates { created: 7, updated: 8 };
    let incoming = Incoming { dates: Some(dates), ..whole(a_list()) };
    assert_eq!(merge(&directory, vec![incoming]).await, [0, 1, 0]);
    assert_eq!(directory.credential_list(account(), list(LIST)).await.unwrap().dates, dates);
}

#[tokio::test]
async fn an_account_keeps_its_token_and_stays_closed() {
    let directory = commands();
    let made = directory.create_account("acme").await.unwrap();
    let sid = made.account.sid;
    let with_status = |status| whole(Account { status, ..Account::new(sid) });
    assert_eq!(merge(&directory, vec![with_status(AccountStatus::Active)]).await, [0, 1, 0]);
    assert!(directory.authenticate(sid, &made.token).await.unwrap().is_some());
    assert_eq!(merge(&directory, vec![with_status(AccountStatus::Closed)]).await, [0, 1, 0]);
    assert_eq!(merge(&directory, vec![with_status(AccountStatus::Closed)]).await, [0, 0, 1]);
    let outcome = directory.merge(vec![with_status(AccountStatus::Active)], false).await;
    assert_eq!(refused(outcome, Key::Account(sid)), "a closed account cannot be opened again");
    assert_eq!(directory.account(sid).await.unwrap().status, AccountStatus::Closed);
}

#[tokio::test]
async fn omitted_fields_of_a_user_keep_their_values() {
    let directory = commands();
    let key = Key::Credential(credential(LIST, "alice"));
    let role = RoleSid::from_name(&["role"]);
    let mut batch = all();
    batch[1] = alice(|_| ());
    let message = refused(directory.merge(batch, false).await, key);
    assert!(message.contains("a new user needs a password or ha1"), "{message}");
    batch = all();
    batch.push(whole(a_role(RoleKind::Deployment, "addMember")));
    batch[1] = alice(|user| {
        with_password(user);
        (user.disabled, user.role) = (Some(true), Some(role));
    });
    assert_eq!(merge(&directory, batch).await, [6, 0, 0]);
    let before = user_there(&directory).await;
    assert_eq!((before.disabled, before.role), (true, Some(role)));
    assert_eq!(merge(&directory, vec![alice(|_| ())]).await, [0, 0, 1]);
    assert_eq!(user_there(&directory).await, before);

    let md5 = "0123456789abcdef0123456789abcdef".to_owned();
    let hashes = |user: &mut IncomingCredential| {
        user.secret = Some(Secret::Ha1(vec![(HashFunction::Md5, md5)]));
        user.disabled = Some(false);
    };
    assert_eq!(merge(&directory, vec![alice(hashes)]).await, [0, 1, 0]);
    let after = user_there(&directory).await;
    assert!(!after.disabled && after.ha1.has(HashFunction::Md5));
    assert!(!after.ha1.has(HashFunction::Sha256) && after.role == Some(role));

    let elsewhere = alice(|user| user.list = list("elsewhere"));
    let message = refused(directory.merge(vec![elsewhere], false).await, key);
    assert!(
        message.starts_with("credential list CL") && message.ends_with(" not found"),
        "{message}"
    );
    let twice = vec![alice(|_| ()), alice(|_| ())];
    assert_eq!(refused(directory.merge(twice, false).await, key), "duplicate record in the batch");
}

#[tokio::test]
async fn each_record_is_checked_by_itself() {
    let directory = commands();
    merge(&directory, all()).await;
    let before = directory.store().load().await.unwrap();
    let friendly_name = "x".repeat(1_000);
    let role = a_role(RoleKind::Channel, "addMember");
    let prefix = "192.0.2.0/24".parse().unwrap();
    let named = |name: &str| name.to_owned();
    let long: Vec<Record> = vec![
        Account { friendly_name: named(&friendly_name), ..Account::new(account()) }.into(),
        Domain { friendly_name: named(&friendly_name), ..a_domain() }.into(),
        Trunk {
            friendly_name: named(&friendly_name),
            ..Trunk::new(TrunkSid::from_name(&["t"]), account(), None)
        }
        .into(),
        CredentialList { friendly_name: named(&friendly_name), ..a_list() }.into(),
        IpAccessControlList {
            friendly_name: named(&friendly_name),
            ..IpAccessControlList::new(acl(ACL), account())
        }
        .into(),
        IpAddress {
            friendly_name: named(&friendly_name),
            ..IpAddress::new(address("a"), acl(ACL), prefix)
        }
        .into(),
        Role { friendly_name, ..role.clone() }.into(),
        Role { permissions: Vec::new(), ..role }.into(),
        a_role(RoleKind::Channel, "fly").into(),
    ];
    for record in long {
        let key = record.key();
        // the check comes before the records that it refers to are read
        let message = refused(directory.merge(vec![whole(record)], false).await, key);
        assert!(!message.contains("does not exist"), "{message}");
    }
    assert_eq!(directory.store().load().await.unwrap().records, before.records);
}

/// alice has no hash for SHA-256. The last of user, policy and mapping causes the warning, in any order.
#[tokio::test]
async fn a_merge_warns_of_users_without_a_hash_for_an_offered_algorithm() {
    let md5 = "0123456789abcdef0123456789abcdef".to_owned();
    let user = || {
        let md5 = md5.clone();
        alice(|user| user.secret = Some(Secret::Ha1(vec![(HashFunction::Md5, md5)])))
    };
    let policy = || whole(policy_of(HOST, offering(&[Algorithm::Sha256])));
    let mapping = || whole(the_mapping());
    let last: [&dyn Fn() -> Incoming; 3] = [&user, &policy, &mapping];
    for number in 0..3 {
        let directory = commands();
        let mut first = vec![whole(a_domain()), whole(a_list()), whole(Account::new(account()))];
        first.extend((0..3).filter(|other| *other != number).map(|other| last[other]()));
        let merged = directory.merge(first, false).await.unwrap();
        assert_eq!(merged.warnings, [], "before {number}");
        let merged = directory.merge(vec![last[number]()], false).await.unwrap();
        assert_eq!((merged.new, merged.warnings.len()), (1, 1), "{number}: {merged:?}");
        // no warning once all hashes exist
        let merged = directory.merge(vec![alice(with_password)], false).await.unwrap();
        assert_eq!((merged.changed, merged.warnings), (1, vec![]));
    }
}

/// alice has no hash for SHA-256, which the domain offers.
#[tokio::test]
async fn a_merge_warns_of_what_it_changes_and_parts_warn_at_the_end() {
    let md5 = "0123456789abcdef0123456789abcdef".to_owned();
    let user = |name: &str| {
        let md5 = md5.clone();
        alice(|user| {
            user.sid = credential(LIST, name);
            user.username = name.parse().unwrap();
            user.secret = Some(Secret::Ha1(vec![(HashFunction::Md5, md5)]));
        })
    };
    let whole_batch = || {
        let mut batch = all();
        batch[1] = user("alice");
        batch.push(whole(policy_of(HOST, offering(&[Algorithm::Sha256]))));
        batch
    };
    let directory = commands();
    for (dry_run, new, warnings) in [(true, 6, 1), (false, 6, 1), (true, 0, 0), (false, 0, 0)] {
        let merged = directory.merge(whole_batch(), dry_run).await.unwrap();
        assert_eq!((merged.new, merged.warnings.len()), (new, warnings), "{merged:?}");
    }

    let mut touched = Touched::default();
    for names in [["bob", "carol"], ["dan", "eve"]] {
        let part = names.map(user).into();
        let merged = directory.merge_part(part, &mut touched).await.unwrap();
        assert_eq!((merged.new, merged.warnings), (2, vec![]));
    }
    assert!(!touched.is_full());
    let warnings = directory.warnings(&touched).await.unwrap();
    let [warning] = &*warnings else { panic!("{warnings:?}") };
    assert!(warning.to_string().contains("and 5 users of CL"), "{warning}");
    assert_eq!(directory.warnings(&Touched::default()).await.unwrap(), []);
}
