//! Random commits through the directory. It reads only the records that a commit touches, and must accept
//! and reject the same commits as a snapshot of all records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz_testing::site;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sip_authz::model::{
    Account, Commit, Credential, CredentialList, Domain, IpAccessControlList, IpAddress, Key,
    Mapping, MappingRecord, Policy, PolicyRecord, Record, Role, RoleKind, Target, Trunk,
};
use sip_authz::{
    AccountSid, CredentialSid, DomainSid, IpAddressSid, RoleSid, ServiceSid, Snapshot, TrunkSid,
};
use sip_authz_directory::{Directory, DirectoryError, Kind};
use sip_authz_store::{MemoryStore, Store};
use sip_authz_testing::kit::{PASSWORD, REALM, acl, list, user};

fn accounts() -> impl Strategy<Value = AccountSid> {
    prop::sample::select(vec![AccountSid::from_name(&["a"]), AccountSid::from_name(&["b"])])
}

fn lists() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        (0..2_u8).prop_map(|n| DomainSid::from_bytes([n; 16]).into()),
        (0..2_u8).prop_map(|n| TrunkSid::from_bytes([n; 16]).into()),
    ]
}

fn role_sids() -> impl Strategy<Value = Option<RoleSid>> {
    prop::option::weighted(0.4, (0..3_u8).prop_map(|n| RoleSid::from_bytes([n; 16])))
}

/// Records with SIDs and names from small sets, so that random records conflict.
fn records() -> impl Strategy<Value = Record> {
    let hosts = prop::sample::select(vec!["a.example.com", "b.example.com", "c.example.com"]);
    let users = prop::sample::select(vec!["alice", "bob"]);
    let mappings =
        (0..3, targets(), lists()).prop_map(|(kind, target, name)| match (kind, target) {
            (0, _) => Mapping::IpAccessControlList(target, acl(name)),
            (1, Target::Domain(domain)) => Mapping::Registration(domain, list(name)),
            _ => Mapping::CredentialList(target, list(name)),
        });
    prop_oneof![
        1 => accounts().prop_map(|sid| Account::new(sid).into()),
        2 => (lists(), accounts())
            .prop_map(|(name, owner)| IpAccessControlList::new(acl(name), owner).into()),
        2 => (lists(), accounts(), prop::bool::weighted(0.8)).prop_map(|(name, owner, same)| {
            let realm = if same { REALM } else { "elsewhere.example" };
            CredentialList::new(list(name), owner, realm.parse().unwrap()).into()
        }),
        2 => (lists(), 0..3_u8).prop_map(|(name, n)| {
            let sid = IpAddressSid::from_bytes([n; 16]);
            IpAddress::new(sid, acl(name), "192.0.2.0/24".parse().unwrap()).into()
        }),
        3 => (lists(), users, 0..4_u8, role_sids()).prop_map(|(name, username, n, role)| {
            let sid = CredentialSid::from_bytes([n; 16]);
            Credential { sid, role, ..user(name, username, PASSWORD) }.into()
        }),
        3 => (targets(), hosts, accounts(), any::<bool>()).prop_map(|(target, host, owner, no)| {
            let name = host.parse().unwrap();
            match target {
                Target::Domain(sid) => Domain::new(sid, owner, name).into(),
                Target::Trunk(sid) => Trunk::new(sid, owner, no.then_some(name)).into(),
            }
        }),
        1 => (targets(), prop::bool::weighted(0.2)).prop_map(|(target, wrong)| {
            let nonce_lifetime = if wrong { 0 } else { 60 };
            PolicyRecord::new(target, Policy::default().with_nonce_lifetime(nonce_lifetime)).into()
        }),
        4 => (mappings, role_sids())
            .prop_map(|(mapping, role)| MappingRecord { role, ..mapping.into() }.into()),
        2 => (0..3_u8, accounts(), any::<bool>()).prop_map(|(n, account, channel)| {
            Role {
                sid: RoleSid::from_bytes([n; 16]),
                account,
                service: ServiceSid::from_name(&["service"]),
                friendly_name: String::new(),
                kind: if channel { RoleKind::Channel } else { RoleKind::Deployment },
                permissions: vec!["addMember".to_owned()],
                dates: Default::default(),
            }
            .into()
        }),
    ]
}

/// Random writes: (put or delete, record).
fn commits() -> impl Strategy<Value = Vec<(bool, Record)>> {
    prop::collection::vec((prop::bool::weighted(0.7), records()), 1..5)
}

/// The keys of the records that refer to `key`.
fn users_of(key: Key, records: &BTreeMap<Key, Record>) -> Vec<Key> {
    let uses = |record: &&Record| match (key, record) {
        (Key::CredentialList(sid), Record::Credential(user)) => user.list == sid,
        (Key::IpAccessControlList(sid), Record::IpAddress(address)) => address.list == sid,
        (Key::Target(target), Record::Policy(record)) => record.target == target,
        (Key::Target(target), Record::Mapping(record)) => record.mapping.target() == target,
        _ => false,
    };
    records.values().filter(uses).map(Record::key).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_directory_agrees_with_a_snapshot_of_all_records(
        commits in prop::collection::vec((commits(), any::<bool>()), 1..50)
    ) {
        let store = MemoryStore::new();
        let directory = Directory::new(store.clone(), site::settings(), None);
        let mut snapshot = Snapshot::empty();
        let mut records = BTreeMap::new();
        let mut start = Commit::new();
        for name in ["a", "b"] {
            start.put(Account::new(AccountSid::from_name(&[name])).into());
        }
        let commits = commits.into_iter().map(|(writes, cascade)| {
            let put = |(put, record): (bool, Record)| if put { Ok(record) } else { Err(record.key()) };
            (writes.into_iter().map(put).collect::<Vec<_>>(), cascade)
        });
        runtime().block_on(directory.import(start.clone())).unwrap();
        snapshot = snapshot.apply(&start).unwrap();
        for (writes, cascade) in commits {
            let mut commit = Commit::new();
            let mut more = BTreeSet::new();
            for write in &writes {
                match write {
                    Ok(record) => drop(commit.put(record.clone())),
                    Err(key) => {
                        // deletions with their dependents often succeed, others rarely
                        if cascade {
                            more.extend(users_of(*key, &records));
                        }
                        commit.delete(*key);
                    }
                }
            }
            more.retain(|key| commit.writes().iter().all(|write| write.key() != *key));
            for key in more {
                commit.delete(key);
            }
            let expected = snapshot.apply(&commit);
            let actual = runtime().block_on(directory.import(commit.clone()));
            let deletes_account = writes.iter().any(|w| matches!(w, Err(Key::Account(_))));
            if deletes_account {
                prop_assert!(actual.is_err());
                continue;
            }
            prop_assert_eq!(&actual, &expected.clone().map(drop).map_err(DirectoryError::from));
            if let Ok(next) = expected {
                snapshot = next;
                for write in commit.writes() {
                    match write {
                        sip_authz::model::Write::Put(record) => {
                            records.insert(record.key(), record.clone());
                        }
                        sip_authz::model::Write::Delete(key) => drop(records.remove(key)),
                    }
                }
            }
        }
        let loaded = runtime().block_on(store.load()).unwrap();
        prop_assert_eq!(loaded.head.number, snapshot.number());
        for account in loaded.records.iter().filter(|r| matches!(r, Record::Account(_))) {
            records.insert(account.key(), account.clone());
        }
        prop_assert_eq!(loaded.records, records.into_values().collect::<Vec<_>>());
    }
}

/// The check does not read the resources of an account, so no commit may delete an account.
#[tokio::test]
async fn an_account_cannot_be_deleted() {
    let site = site::Site::new(site::settings()).await;
    let account = site.directory.create_account("").await.unwrap().account.sid;
    let service = ServiceSid::from_name(&["service"]);
    let permissions = vec!["addMember".to_owned()];
    site.directory.create_role(account, service, "", RoleKind::Channel, permissions).await.unwrap();
    let mut commit = Commit::new();
    commit.delete(Key::Account(account));
    let error = site.directory.import(commit).await.unwrap_err();
    let message = "accounts cannot be deleted, only closed".to_owned();
    assert_eq!(error, DirectoryError::Invalid { kind: Kind::Account, message });
    assert_eq!(site.authorizer.snapshot().number(), 2);
}

#[tokio::test]
async fn an_import_is_one_commit_and_all_or_nothing() {
    let site = site::Site::new(site::settings()).await;
    let account = AccountSid::from_name(&["imported"]);
    let mut commit = Commit::new();
    commit.put(Account::new(account).into());
    for n in 0..2_000 {
        let name = n.to_string();
        let address = IpAddress::new(
            IpAddressSid::from_name(&[&name]),
            acl("offices"),
            format!("10.0.{}.{}", n / 256, n % 256).parse().unwrap(),
        );
        commit.put(address.into());
    }
    commit.put(IpAccessControlList::new(acl("offices"), account).into());
    let domain = DomainSid::from_name(&["sip.example.com"]);
    commit.put(Domain::new(domain, account, "sip.example.com".parse().unwrap()).into());
    let mut wrong = commit.clone();
    wrong.put(Mapping::IpAccessControlList(domain.into(), acl("elsewhere")).into());
    let error = site.directory.import(wrong).await.unwrap_err();
    assert_eq!(error, DirectoryError::NotFound(Kind::IpAccessControlList));
    assert_eq!(site.directory.store().load().await.unwrap().records, []);

    commit.put(Mapping::IpAccessControlList(domain.into(), acl("offices")).into());
    site.directory.import(commit).await.unwrap();
    assert_eq!(site.authorizer.snapshot().number(), 1);
    assert!(site.call("sip.example.com", "10.0.7.207:5060").is_accept());
    assert_eq!(site.call("sip.example.com", "10.0.7.208:5060").status(), 403);
    // an empty commit is not written
    site.directory.import(Commit::new()).await.unwrap();
    assert_eq!(site.directory.store().head().await.unwrap().number, 1);
}
