//! Applies sequences of commits built from bytes.

use std::collections::BTreeMap;

use sip_authz::Snapshot;
use sip_authz::internals::facts;
use sip_authz::model::{
    Account, AccountStatus, Commit, Credential, CredentialList, Domain, Ha1Set,
    IpAccessControlList, IpAddress, Key, Mapping, MappingRecord, Password, Policy, PolicyRecord,
    Record, Role, RoleKind, Target, Trunk, UserName, Write,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, DomainSid, IpAccessControlListSid, IpAddressSid,
    RoleSid, ServiceSid, TrunkSid,
};

pub const REALMS: [&str; 2] = ["example.com", "example.org"];
pub const HOSTS: [&str; 4] =
    ["a.example.com", "192.0.2.1", "c.example.com", "long.name.of.a.sip.example.com"];
pub const PREFIXES: [&str; 4] = ["192.0.2.0/24", "192.0.2.7", "::/0", "10.0.0.0/8"];
pub const NAMES: [&str; 4] = ["alice", "bob", "carol", "a user with a name that is long"];

/// Builds commits from bytes, over few SIDs and names so that they collide, and applies them. A
/// rejected commit must change nothing. The final snapshot must equal one built from the remaining
/// records.
///
/// Four bytes make one write: put or delete and whether it ends its commit, the kind of record, and its
/// contents. Remaining bytes are ignored.
pub fn fuzz_commits(bytes: &[u8]) {
    let mut snapshot = Snapshot::empty();
    let mut records = BTreeMap::new();
    let mut commit = Commit::new();
    let mut writes = bytes.chunks_exact(4).peekable();
    while let Some(&[how, kind, one, two]) = writes.next() {
        if let Some(record) = record(kind, one, two) {
            if how & 1 == 0 {
                commit.put(record)
            } else {
                commit.delete(record.key())
            };
        }
        if how & 2 == 0 && writes.peek().is_some() {
            continue;
        }
        let commit = std::mem::take(&mut commit);
        let before = facts(&snapshot);
        match snapshot.apply(&commit) {
            Ok(next) => {
                assert_eq!(next.number(), snapshot.number() + 1);
                assert_eq!(facts(&snapshot), before, "the old snapshot must not change");
                follow(&mut records, &commit);
                snapshot = next;
            }
            Err(_) => assert_eq!(facts(&snapshot), before, "after a rejected commit"),
        }
    }
    assert_eq!(facts(&snapshot), facts(&built(&records)));
}

/// Applies a commit to the records.
pub fn follow(records: &mut BTreeMap<Key, Record>, commit: &Commit) {
    for write in commit.writes() {
        match write {
            Write::Delete(key) => assert!(records.remove(key).is_some(), "{key} did not exist"),
            Write::Put(record) => drop(records.insert(record.key(), record.clone())),
        }
    }
}

/// A snapshot built from these records.
pub fn built(records: &BTreeMap<Key, Record>) -> Snapshot {
    let builder = records.values().cloned().fold(Snapshot::builder(), |b, record| b.record(record));
    let built = builder.build();
    assert!(built.is_ok(), "{:?}", built.err());
    built.unwrap_or_default()
}

/// One of a few records of each kind.
pub fn record(kind: u8, one: u8, two: u8) -> Option<Record> {
    let account = AccountSid::from_bytes([0; 16]);
    let owner = if two & 0b111 == 7 { AccountSid::from_bytes([1; 16]) } else { account };
    let target = match one & 3 {
        3 => Target::Trunk(TrunkSid::from_bytes([3; 16])),
        n => Target::Domain(DomainSid::from_bytes([n; 16])),
    };
    // more than a target holds inline
    let which = one >> 2 & 7;
    let access_list = IpAccessControlListSid::from_bytes([which; 16]);
    let list = CredentialListSid::from_bytes([which; 16]);
    let role = |n: u8| (n & 3 > 0).then(|| RoleSid::from_bytes([n & 3; 16]));
    let pair = |a: u8, b: u8| std::array::from_fn(|n| if n == 0 { a } else { b });
    Some(match kind % 11 {
        0 => {
            let status = [AccountStatus::Active, AccountStatus::Suspended];
            let status = *status.get(usize::from(one & 1))?;
            Account { status, ..Account::new(owner) }.into()
        }
        1 => IpAccessControlList::new(access_list, owner).into(),
        2 => {
            let realm = REALMS.get(usize::from(two >> 7))?.parse().ok()?;
            CredentialList::new(list, owner, realm).into()
        }
        3 => {
            let prefix = PREFIXES.get(usize::from(two & 3))?.parse().ok()?;
            let sid = IpAddressSid::from_bytes(pair(which, two >> 2 & 3));
            IpAddress::new(sid, access_list, prefix).into()
        }
        4 => {
            let username: UserName = NAMES.get(usize::from(two & 3))?.parse().ok()?;
            let realm = REALMS.first()?.parse().ok()?;
            let password = Password::new("correct horse".to_owned());
            let ha1 = Ha1Set::from_password(&username, &realm, password).ok()?;
            let sid = CredentialSid::from_bytes(pair(which, two & 3 | (one & 1) << 2));
            let credential = Credential::new(sid, list, username, ha1);
            Credential { disabled: two & 32 > 0, role: role(two >> 6), ..credential }.into()
        }
        5 => {
            let host = HOSTS.get(usize::from(two >> 3 & 3))?.parse().ok()?;
            let secure = two & 32 > 0;
            match target {
                Target::Domain(sid) => {
                    let mut domain = Domain { secure, ..Domain::new(sid, owner, host) };
                    domain.settings.sip_registration = two & 64 > 0;
                    domain.into()
                }
                Target::Trunk(sid) => {
                    let name = (two & 64 > 0).then_some(host);
                    Trunk { secure, ..Trunk::new(sid, owner, name) }.into()
                }
            }
        }
        6 => {
            let policy = Policy::default().with_userhash(two & 1 > 0);
            PolicyRecord::new(target, policy).into()
        }
        7 => Mapping::IpAccessControlList(target, access_list).into(),
        8 => {
            let mapping = Mapping::CredentialList(target, list);
            Record::Mapping(MappingRecord { role: role(two), ..mapping.into() })
        }
        9 => {
            let Target::Domain(domain) = target else { return None };
            Mapping::Registration(domain, list).into()
        }
        _ => {
            let kind = if two & 1 == 0 { RoleKind::Deployment } else { RoleKind::Channel };
            Record::Role(Role {
                sid: role(two)?,
                account: owner,
                service: ServiceSid::from_bytes([0; 16]),
                friendly_name: String::new(),
                kind,
                permissions: vec!["joinChannel".to_owned()],
                dates: Default::default(),
            })
        }
    })
}
