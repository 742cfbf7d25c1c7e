//! Applying a commit: the next snapshot while it is being made.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::entry::{
    AccessList, AccountEntry, CredentialEntry, CredentialList, MappedList, RoleEntry, TargetEntry,
};
use super::{ApplyError, Snapshot};
use crate::model::rules::{self, RuleError};
use crate::model::{
    Commit, DomainName, Key, Mapping, MappingRecord, Policy, Record, Target, Write,
};
use crate::sid::{AccountSid, CredentialListSid, IpAccessControlListSid, RoleSid};

/// A snapshot in the making: maps that share with the old one, and what is to be compiled at the
/// end.
pub(super) struct Draft {
    snapshot: Snapshot,
    /// The access lists whose tables are out of date.
    changed: BTreeSet<IpAccessControlListSid>,
}

impl Draft {
    /// What is made of `snapshot`, which stays as it is for whoever else holds it.
    pub(super) fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, changed: BTreeSet::new() }
    }

    /// Makes all writes, or ends at the first that would break a rule; then the draft is of no use.
    pub(super) fn apply(&mut self, commit: &Commit) -> Result<(), ApplyError> {
        let mut keys = HashSet::with_capacity(commit.writes().len());
        let mut deletions = Vec::new();
        let mut puts = Vec::with_capacity(commit.writes().len());
        for write in commit.writes() {
            let key = write.key();
            if !keys.insert(key) {
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

    /// A domain or trunk that is put anew gives its name up first, so that two can swap names.
    fn release_name(&mut self, record: &Record) {
        if matches!(record, Record::Domain(_) | Record::Trunk(_))
            && let Key::Target(target) = record.key()
            && let Some(name) = self.snapshot.targets.get(&target).and_then(|t| t.name.clone())
        {
            self.snapshot.names.remove(&name);
        }
    }

    fn put(&mut self, record: &Record) {
        let maps = &mut self.snapshot;
        match record {
            Record::Account(account) => {
                let owned = maps.accounts.get(&account.sid).map_or(0, |entry| entry.owned);
                maps.accounts.insert(account.sid, AccountEntry { status: account.status, owned });
            }
            Record::IpAccessControlList(list) => {
                if maps.access_lists.get(&list.sid).is_none() {
                    maps.access_lists.insert(list.sid, Arc::new(AccessList::new(list.account)));
                    self.own(list.account, 1);
                }
            }
            Record::CredentialList(list) => {
                if maps.credential_lists.get(&list.sid).is_none() {
                    let entry = CredentialList::new(list.account, list.realm.clone());
                    maps.credential_lists.insert(list.sid, Arc::new(entry));
                    self.own(list.account, 1);
                }
            }
            Record::IpAddress(address) => {
                maps.addresses.insert(address.sid, address.list);
                self.change_access_list(address.list, |list| {
                    list.put(address.sid, address.prefix);
                });
                self.changed.insert(address.list);
            }
            Record::Credential(credential) => {
                let entry = Arc::new(CredentialEntry {
                    sid: credential.sid,
                    list: credential.list,
                    username: credential.username.clone(),
                    ha1: credential.ha1.clone(),
                    disabled: credential.disabled,
                    role: credential.role,
                });
                let previous = maps.credentials.insert(credential.sid, Arc::clone(&entry));
                self.use_role(previous.and_then(|entry| entry.role), -1);
                self.use_role(credential.role, 1);
                self.change_credential_list(credential.list, |list| list.put(&entry));
            }
            Record::Domain(domain) => self.put_target(
                domain.sid.into(),
                domain.account,
                Some(domain.name.clone()),
                domain.secure,
            ),
            Record::Trunk(trunk) => {
                self.put_target(trunk.sid.into(), trunk.account, trunk.name.clone(), trunk.secure);
            }
            Record::Policy(record) => {
                self.set_policy(record.target, Some(Arc::new(record.policy.clone())));
            }
            Record::Mapping(record) => self.map(*record, true),
            Record::Role(role) => {
                let permissions = maps.vocabulary.set(role.permissions.iter().map(String::as_str));
                let previous = maps.roles.get(&role.sid).map(|entry| entry.uses);
                let entry = RoleEntry {
                    account: role.account,
                    service: role.service,
                    kind: role.kind,
                    permissions,
                    uses: previous.unwrap_or_default(),
                };
                maps.roles.insert(role.sid, entry);
                if previous.is_none() {
                    self.own(role.account, 1);
                }
            }
        }
    }

    fn delete(&mut self, key: Key) {
        let maps = &mut self.snapshot;
        match key {
            Key::Account(sid) => {
                maps.accounts.remove(&sid);
            }
            Key::IpAccessControlList(sid) => {
                if let Some(list) = maps.access_lists.remove(&sid) {
                    self.own(list.account, -1);
                }
                self.changed.remove(&sid);
            }
            Key::CredentialList(sid) => {
                if let Some(list) = maps.credential_lists.remove(&sid) {
                    self.own(list.account, -1);
                }
            }
            Key::IpAddress(sid) => {
                if let Some(list) = maps.addresses.remove(&sid) {
                    self.change_access_list(list, |list| list.remove(sid));
                    self.changed.insert(list);
                }
            }
            Key::Credential(sid) => {
                if let Some(entry) = maps.credentials.remove(&sid) {
                    self.use_role(entry.role, -1);
                    self.change_credential_list(entry.list, |list| list.remove(&entry.username));
                }
            }
            Key::Target(target) => {
                if let Some(entry) = maps.targets.remove(&target) {
                    if let Some(name) = &entry.name {
                        maps.names.remove(name);
                    }
                    self.own(entry.account, -1);
                }
            }
            Key::Policy(target) => self.set_policy(target, None),
            Key::Mapping(mapping) => self.map(mapping.into(), false),
            Key::Role(sid) => {
                if let Some(role) = maps.roles.remove(&sid) {
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
    ) {
        if self.snapshot.targets.get(&target).is_none() {
            let entry = Arc::new(TargetEntry::new(target, account));
            self.snapshot.targets.insert(target, entry);
            self.own(account, 1);
        }
        self.change_target(target, |entry| {
            entry.name = name;
            entry.secure = secure;
        });
    }

    fn set_policy(&mut self, target: Target, policy: Option<Arc<Policy>>) {
        let mut lists = Vec::new();
        let (mut before, mut after) = (false, false);
        self.change_target(target, |entry| {
            before = entry.wants_userhash();
            entry.policy = policy;
            after = entry.wants_userhash();
            lists.clone_from(&entry.credential_lists);
        });
        if before != after {
            for list in lists {
                self.change_credential_list(list.list, |list| list.want_userhash(after));
            }
        }
    }

    /// Maps a list (again with another role, perhaps), or takes the mapping away.
    fn map(&mut self, record: MappingRecord, mapped: bool) {
        let MappingRecord { mapping, role, .. } = record;
        let realm = match mapping {
            Mapping::IpAccessControlList(..) => None,
            Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                self.snapshot.credential_list_entry(list).map(|list| list.realm.clone())
            }
        };
        let mut changed = false;
        let mut userhash = false;
        let mut previous_role = None;
        self.change_target(mapping.target(), |entry| {
            changed = match mapping {
                Mapping::IpAccessControlList(_, list) => {
                    set_member(&mut entry.access_lists, list, mapped)
                }
                Mapping::CredentialList(_, list) => {
                    userhash = entry.wants_userhash();
                    let lists = &mut entry.credential_lists;
                    let at = lists.binary_search_by_key(&list, |mapped| mapped.list);
                    previous_role = at.ok().and_then(|at| lists.get(at)?.role);
                    if let Ok(at) = at {
                        lists.remove(at);
                    }
                    if mapped {
                        lists.insert(at.unwrap_or_else(|at| at), MappedList { list, role });
                    }
                    at.is_ok() != mapped
                }
                Mapping::Registration(_, list) => {
                    set_member(&mut entry.registrations, list, mapped)
                }
            };
            if mapped {
                entry.realm = realm.or(entry.realm.take());
            } else if entry.credential_lists.is_empty() && entry.registrations.is_empty() {
                entry.realm = None;
            }
        });
        self.use_role(previous_role, -1);
        self.use_role(role.filter(|_| mapped), 1);
        if !changed {
            return;
        }
        let count = |mappings: &mut usize| {
            *mappings = if mapped { *mappings + 1 } else { mappings.saturating_sub(1) };
        };
        match mapping {
            Mapping::IpAccessControlList(_, list) => {
                self.change_access_list(list, |list| count(&mut list.mappings));
            }
            Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                self.change_credential_list(list, |list| {
                    count(&mut list.mappings);
                    if userhash {
                        list.want_userhash(mapped);
                    }
                });
            }
        }
    }

    /// Counts one more or one less that carries the role.
    fn use_role(&mut self, role: Option<RoleSid>, by: isize) {
        if let Some(sid) = role {
            self.snapshot.roles.change(&sid, |role| {
                role.uses = role.uses.saturating_add_signed(by);
            });
        }
    }

    /// Changes a target, in both maps that hold it.
    fn change_target(&mut self, target: Target, change: impl FnOnce(&mut TargetEntry)) {
        let maps = &mut self.snapshot;
        let Some(entry) = maps.targets.get(&target) else { return };
        let mut entry = TargetEntry::clone(entry);
        change(&mut entry);
        let entry = Arc::new(entry);
        if let Some(name) = &entry.name {
            maps.names.insert(name.clone(), Arc::clone(&entry));
        }
        maps.targets.insert(target, entry);
    }

    fn change_access_list(
        &mut self,
        sid: IpAccessControlListSid,
        change: impl FnOnce(&mut AccessList),
    ) {
        self.snapshot.access_lists.change(&sid, |list| change(Arc::make_mut(list)));
    }

    fn change_credential_list(
        &mut self,
        sid: CredentialListSid,
        change: impl FnOnce(&mut CredentialList),
    ) {
        self.snapshot.credential_lists.change(&sid, |list| change(Arc::make_mut(list)));
    }

    fn own(&mut self, account: AccountSid, by: isize) {
        self.snapshot.accounts.change(&account, |entry| {
            entry.owned = entry.owned.saturating_add_signed(by);
        });
    }

    /// Compiles what changed.
    pub(super) fn finish(mut self) -> Result<Snapshot, ApplyError> {
        for sid in std::mem::take(&mut self.changed) {
            let mut outcome = Ok(());
            self.change_access_list(sid, |list| outcome = list.rebuild());
            outcome.map_err(|error| ApplyError::TooManyPrefixes(sid, error))?;
        }
        Ok(self.snapshot)
    }
}

/// Puts `member` into the sorted `members` or takes it out; whether that changed anything.
fn set_member<T: Ord + Copy>(members: &mut Vec<T>, member: T, present: bool) -> bool {
    match (members.binary_search(&member), present) {
        (Err(at), true) => members.insert(at, member),
        (Ok(at), false) => drop(members.remove(at)),
        _ => return false,
    }
    true
}
