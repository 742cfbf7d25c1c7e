//! Applies a commit to a copy of a snapshot.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::access::{AccessList, Changes};
use super::entry::{AccountEntry, AddressEntry, TargetEntry};
use super::role::RoleEntry;
use super::table::Slot;
use super::users::{CredentialList, MappedList};
use super::{ApplyError, Snapshot};
use crate::model::rules::{self, RuleError};
use crate::model::{
    Commit, DomainName, Key, Mapping, MappingRecord, OnAccept, Policy, Realm, Record, Target, Write,
};
use crate::sid::{AccountSid, CredentialListSid, DomainSid, IpAccessControlListSid};

/// A snapshot while a commit is applied to it. Its tables share data with the original.
pub(super) struct SnapshotTransaction {
    snapshot: Snapshot,
    /// Changes to compile at the end, by access list.
    changed: BTreeMap<IpAccessControlListSid, Changes>,
}

impl SnapshotTransaction {
    /// Starts from a clone of the snapshot in force.
    pub(super) fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, changed: BTreeMap::new() }
    }

    /// Applies all writes, or fails at the first that breaks a rule; drop the transaction then.
    pub(super) fn apply(&mut self, commit: &Commit) -> Result<(), ApplyError> {
        // a full export of a store is sorted by key, which excludes duplicates
        let ordered = commit.writes().is_sorted_by(|one, two| one.key() < two.key());
        let mut keys = HashSet::with_capacity(if ordered { 0 } else { commit.writes().len() });
        let mut deletions = Vec::new();
        let mut puts = Vec::with_capacity(commit.writes().len());
        for write in commit.writes() {
            let key = write.key();
            if !ordered && !keys.insert(key) {
                return Err(ApplyError::Rule { key, error: RuleError::WrittenTwice(key) });
            }
            match write {
                Write::Put(record) => puts.push(record),
                Write::Delete(key) => deletions.push(*key),
            }
        }
        drop(keys);
        deletions.sort_by_key(|key| std::cmp::Reverse(rules::rank(key)));
        puts.sort_by_key(|record| rules::rank(&record.key()));

        for key in deletions {
            rules::check_delete(&self.snapshot, key)
                .map_err(|error| ApplyError::Rule { key, error })?;
            self.delete(key);
        }
        for record in &puts {
            self.release_name(record);
        }
        for record in puts {
            rules::check_put(&self.snapshot, record)
                .map_err(|error| ApplyError::Rule { key: record.key(), error })?;
            self.put(record);
        }
        Ok(())
    }

    /// Clears the name of a domain or trunk before it is written, so that two can swap names.
    fn release_name(&mut self, record: &Record) {
        if matches!(record, Record::Domain(_) | Record::Trunk(_))
            && let Key::Target(target) = record.key()
        {
            self.snapshot.targets.rename(target, None);
        }
    }

    fn put(&mut self, record: &Record) {
        let tables = &mut self.snapshot;
        match record {
            Record::Account(account) => {
                let (sid, status) = (account.sid, account.status);
                let owned = tables.accounts.get(&sid).map_or(0, |entry| entry.owned);
                tables.accounts.put(AccountEntry { sid, status, owned });
            }
            Record::IpAccessControlList(list) => {
                if tables.access_lists.slot(&list.sid).is_none() {
                    tables.access_lists.put(AccessList::new(list.sid, list.account));
                    self.own(list.account, 1);
                }
            }
            Record::CredentialList(list) => {
                if tables.users.lists.slot(&list.sid).is_none() {
                    let realm = list.realm.clone();
                    tables.realms.add(&realm);
                    tables.users.lists.put(CredentialList::new(list.sid, list.account, realm));
                    self.own(list.account, 1);
                }
            }
            Record::IpAddress(address) => {
                if let Some(list) = tables.access_lists.slot(&address.list) {
                    let (sid, prefix) = (address.sid, address.prefix);
                    let previous = tables.addresses.get(&sid).map(|previous| previous.prefix);
                    tables.addresses.put(AddressEntry { sid, list, prefix });
                    let changes = self.changed.entry(address.list).or_default();
                    match previous {
                        // a record never moves to another list
                        Some(previous) => _ = changes.insert((previous, sid), false),
                        None => _ = tables.access_lists.change(list, |list| list.len += 1),
                    }
                    changes.insert((prefix, sid), true);
                }
            }
            Record::Credential(credential) => {
                let role = credential.role.and_then(|sid| tables.roles.slot(&sid));
                let previous = tables.users.put(credential, role);
                self.use_role(previous, -1);
                self.use_role(role, 1);
            }
            Record::Domain(domain) => self.put_target(
                domain.sid.into(),
                domain.account,
                Some(domain.name.clone()),
                domain.secure,
                domain.settings.sip_registration,
                domain.on_accept.as_ref(),
            ),
            Record::Trunk(trunk) => self.put_target(
                trunk.sid.into(),
                trunk.account,
                trunk.name.clone(),
                trunk.secure,
                false,
                trunk.on_accept.as_ref(),
            ),
            Record::Policy(record) => {
                self.set_policy(record.target, Some(Arc::new(record.policy.clone())));
            }
            Record::Mapping(record) => self.map(*record, true),
            Record::Role(role) => {
                let permissions =
                    tables.vocabulary.set(role.permissions.iter().map(String::as_str));
                let previous = tables.roles.get(&role.sid).map(|entry| entry.uses);
                tables.roles.put(RoleEntry {
                    sid: role.sid,
                    account: role.account,
                    service: role.service,
                    kind: role.kind,
                    permissions,
                    uses: previous.unwrap_or_default(),
                });
                if previous.is_none() {
                    self.own(role.account, 1);
                }
            }
        }
    }

    fn delete(&mut self, key: Key) {
        let tables = &mut self.snapshot;
        match key {
            Key::Account(sid) => {
                tables.accounts.remove(&sid);
            }
            Key::IpAccessControlList(sid) => {
                if let Some(list) = tables.access_lists.remove(&sid) {
                    self.own(list.account, -1);
                }
                self.changed.remove(&sid);
            }
            Key::CredentialList(sid) => {
                if let Some(list) = tables.users.lists.remove(&sid) {
                    tables.realms.remove(&list.realm);
                    self.own(list.account, -1);
                }
            }
            Key::IpAddress(sid) => {
                if let Some(AddressEntry { list, prefix, .. }) = tables.addresses.remove(&sid) {
                    let list = tables.access_lists.change(list, |list| {
                        list.len = list.len.saturating_sub(1);
                        list.sid
                    });
                    if let Some(list) = list {
                        self.changed.entry(list).or_default().insert((prefix, sid), false);
                    }
                }
            }
            Key::Credential(sid) => {
                let role = tables.users.remove(sid).and_then(|entry| entry.role);
                self.use_role(role, -1);
            }
            Key::Target(target) => {
                if let Some(entry) = tables.targets.remove(target) {
                    self.own_at(entry.account, -1);
                }
            }
            Key::Policy(target) => self.set_policy(target, None),
            Key::Mapping(mapping) => self.map(mapping.into(), false),
            Key::Role(sid) => {
                if let Some(role) = tables.roles.remove(&sid) {
                    self.own(role.account, -1);
                }
            }
        }
    }

    fn put_target(
        &mut self,
        target: Target,
        account: AccountSid,
        name: Option<DomainName>,
        secure: bool,
        registers: bool,
        on_accept: Option<&OnAccept>,
    ) {
        if self.snapshot.targets.get(target).is_none() {
            let Some(account) = self.snapshot.accounts.slot(&account) else { return };
            self.snapshot.targets.add(TargetEntry::new(target, account));
            self.own_at(account, 1);
        }
        self.snapshot.targets.rename(target, name);
        let on_accept = on_accept.map(|on_accept| Arc::new(on_accept.clone()));
        self.snapshot.targets.change(target, |entry| {
            (entry.secure, entry.registers, entry.on_accept) = (secure, registers, on_accept);
        });
    }

    fn set_policy(&mut self, target: Target, policy: Option<Arc<Policy>>) {
        let change = self.snapshot.targets.change(target, |entry| {
            let before = entry.wants_userhash();
            entry.set_policy(policy);
            (before, entry.wants_userhash(), entry.all_lists().collect::<Vec<_>>())
        });
        if let Some((before, after, lists)) = change
            && before != after
        {
            for list in lists {
                self.snapshot.users.want_userhash(list, after);
            }
        }
    }

    /// Adds a mapping, changes its role, or removes it.
    fn map(&mut self, record: MappingRecord, mapped: bool) {
        let MappingRecord { mapping, role, .. } = record;
        match mapping {
            Mapping::IpAccessControlList(target, list) => {
                self.map_access_list(target, list, mapped);
            }
            Mapping::CredentialList(target, list) => {
                let role = role.and_then(|sid| self.snapshot.roles.slot(&sid));
                self.map_credential_list(target, list, role, mapped);
            }
            Mapping::Registration(domain, list) => self.map_registration(domain, list, mapped),
        }
    }

    fn map_access_list(&mut self, target: Target, list: IpAccessControlListSid, mapped: bool) {
        let tables = &mut self.snapshot;
        let (Some(slot), Some(entry)) =
            (tables.access_lists.slot(&list), tables.targets.get(target))
        else {
            return;
        };
        let sid = |slot: &_| tables.access_lists.at(*slot).map(|list| list.sid);
        let Some(lists) = with_member(&entry.access_lists, slot, mapped, sid) else { return };
        tables.targets.change(target, |entry| entry.access_lists = lists.into());
        tables.access_lists.change(slot, |list| count(&mut list.mappings, mapped));
    }

    fn map_credential_list(
        &mut self,
        target: Target,
        list: CredentialListSid,
        role: Option<Slot<RoleEntry>>,
        mapped: bool,
    ) {
        let tables = &mut self.snapshot;
        let (Some(list), Some(entry)) =
            (tables.users.lists.slot(&list), tables.targets.get(target))
        else {
            return;
        };
        let sid = |mapped: &MappedList| tables.users.lists.at(mapped.list).map(|list| list.sid);
        let previous = entry.credential_lists.iter().find(|mapped| mapped.list == list).copied();
        let mut lists = entry.credential_lists.to_vec();
        lists.retain(|mapped| mapped.list != list);
        if mapped {
            let new = MappedList { list, role };
            lists.insert(lists.partition_point(|other| sid(other) < sid(&new)), new);
        }
        let userhash = entry.wants_userhash();
        let realm = tables.users.lists.at(list).map(|list| list.realm.clone());
        tables.targets.change(target, |entry| {
            entry.credential_lists = lists.into();
            set_realm(entry, realm.filter(|_| mapped));
        });
        if previous.is_some() != mapped {
            tables.users.lists.change(list, |list| count(&mut list.mappings, mapped));
            if userhash {
                tables.users.want_userhash(list, mapped);
            }
        }
        self.use_role(previous.and_then(|mapped| mapped.role), -1);
        self.use_role(role.filter(|_| mapped), 1);
    }

    fn map_registration(&mut self, domain: DomainSid, list: CredentialListSid, mapped: bool) {
        let tables = &mut self.snapshot;
        let target = Target::Domain(domain);
        let (Some(list), Some(entry)) =
            (tables.users.lists.slot(&list), tables.targets.get(target))
        else {
            return;
        };
        let sid = |mapped: &MappedList| tables.users.lists.at(mapped.list).map(|list| list.sid);
        let member = MappedList { list, role: None };
        let Some(lists) = with_member(&entry.registrations, member, mapped, sid) else { return };
        let userhash = entry.wants_userhash();
        let realm = tables.users.lists.at(list).map(|list| list.realm.clone());
        tables.targets.change(target, |entry| {
            entry.registrations = lists.into();
            set_realm(entry, realm.filter(|_| mapped));
        });
        tables.users.lists.change(list, |list| count(&mut list.mappings, mapped));
        if userhash {
            tables.users.want_userhash(list, mapped);
        }
    }

    /// Adds `by` to the use count of a role.
    fn use_role(&mut self, role: Option<Slot<RoleEntry>>, by: isize) {
        if let Some(slot) = role {
            self.snapshot.roles.change(slot, |role| {
                role.uses = role.uses.saturating_add_signed(by);
            });
        }
    }

    fn own(&mut self, account: AccountSid, by: isize) {
        if let Some(slot) = self.snapshot.accounts.slot(&account) {
            self.own_at(slot, by);
        }
    }

    fn own_at(&mut self, account: Slot<AccountEntry>, by: isize) {
        self.snapshot.accounts.change(account, |entry| {
            entry.owned = entry.owned.saturating_add_signed(by);
        });
    }

    /// Compiles the changed access lists.
    pub(super) fn finish(mut self) -> Result<Snapshot, ApplyError> {
        for (sid, changes) in std::mem::take(&mut self.changed) {
            let Some(slot) = self.snapshot.access_lists.slot(&sid) else { continue };
            let outcome = self.snapshot.access_lists.change(slot, |list| list.compile(changes));
            outcome.transpose().map_err(|error| ApplyError::TooManyPrefixes(sid, error))?;
        }
        Ok(self.snapshot)
    }
}

/// The members, sorted by SID, with `member` added or removed; none if nothing changes.
fn with_member<T: Copy + PartialEq, S: Ord>(
    members: &[T],
    member: T,
    present: bool,
    sid: impl Fn(&T) -> S,
) -> Option<Vec<T>> {
    if members.contains(&member) == present {
        return None;
    }
    let mut members = members.to_vec();
    if present {
        let at = members.partition_point(|other| sid(other) < sid(&member));
        members.insert(at, member);
    } else {
        members.retain(|other| *other != member);
    }
    Some(members)
}

/// Sets the realm of a list that is now mapped; clears it once no list is mapped.
fn set_realm(entry: &mut TargetEntry, realm: Option<Realm>) {
    if realm.is_some() {
        entry.realm = realm;
    } else if entry.credential_lists.is_empty() && entry.registrations.is_empty() {
        entry.realm = None;
    }
}

fn count(mappings: &mut usize, one_more: bool) {
    *mappings = mappings.saturating_add_signed(if one_more { 1 } else { -1 });
}
