//! The meeting point of the two flows: everything that decides, compiled, immutable and shared.
//!
//! A snapshot is made by applying a [`Commit`] to another one; the first, by applying one to the
//! empty snapshot, which is what [`Snapshot::builder`] does. What a commit does not touch is shared
//! between the old and the new.

mod builder;
mod cell;
mod entry;
mod map;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use builder::SnapshotBuilder;
pub(crate) use cell::SnapshotCell;
pub(crate) use entry::{
    AccessList, CredentialEntry, CredentialList, LookUp, MappedList, TargetEntry,
};
use entry::{AccountEntry, RoleEntry};
use map::Map;

use crate::acl::{Prefix, TooManyPrefixes};
use crate::digest::Algorithm;
use crate::model::rules::{self, ListFacts, RoleFacts, RuleError, TargetFacts, View};
use crate::model::{
    AccountStatus, Commit, DomainName, Key, Mapping, MappingRecord, PermissionSet, Policy, Record,
    Target, UserName, Vocabulary, Write,
};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid, RoleSid,
};

/// A commit that a snapshot refuses. The snapshot it was applied to is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A write would break a rule.
    #[error("{key}: {error}")]
    Rule {
        /// The record that is written.
        key: Key,
        /// The rule that would be broken, and where.
        error: RuleError,
    },
    /// A list has more entries than a prefix table can number.
    #[error("{0}: {1}")]
    TooManyPrefixes(IpAccessControlListSid, TooManyPrefixes),
}

/// Something that is allowed but will turn callers away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A target offers an algorithm that some users have no hash for; one who picks it is refused.
    #[error("{target} offers {algorithm}, and {users} users of {list} have no hash for it")]
    MissingHashes {
        /// The domain or trunk.
        target: Target,
        /// What it offers.
        algorithm: Algorithm,
        /// The mapped list.
        list: CredentialListSid,
        /// How many enabled users of the list cannot answer.
        users: usize,
    },
}

/// All records that decide, as they were after one commit.
#[derive(Clone)]
pub struct Snapshot {
    number: u64,
    vocabulary: &'static Vocabulary,
    accounts: Map<AccountSid, AccountEntry>,
    names: Map<DomainName, Arc<TargetEntry>>,
    targets: Map<Target, Arc<TargetEntry>>,
    access_lists: Map<IpAccessControlListSid, Arc<AccessList>>,
    addresses: Map<IpAddressSid, IpAccessControlListSid>,
    credential_lists: Map<CredentialListSid, Arc<CredentialList>>,
    credentials: Map<CredentialSid, Arc<CredentialEntry>>,
    roles: Map<RoleSid, RoleEntry>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("number", &self.number)
            .field("targets", &self.targets.len())
            .field("credentials", &self.credentials.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The snapshot without a record. It refuses every call.
    #[must_use]
    pub fn empty() -> Self {
        Self::with_vocabulary(Vocabulary::documented())
    }

    /// The snapshot without a record, whose roles can have the permissions of `vocabulary`.
    #[must_use]
    pub fn with_vocabulary(vocabulary: &'static Vocabulary) -> Self {
        Self {
            number: 0,
            vocabulary,
            accounts: Map::default(),
            names: Map::default(),
            targets: Map::default(),
            access_lists: Map::default(),
            addresses: Map::default(),
            credential_lists: Map::default(),
            credentials: Map::default(),
            roles: Map::default(),
        }
    }

    /// Collects the records of a first snapshot.
    #[must_use]
    pub fn builder() -> SnapshotBuilder {
        SnapshotBuilder::default()
    }

    /// How many commits led here; one more with each [`Self::apply`].
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The same records under another number.
    fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    /// The snapshot after `commit`. It takes effect whole or not at all, in time that depends on
    /// what it writes and hardly on what else there is.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] for the first write that would break a rule; `self` stays as it is.
    pub fn apply(&self, commit: &Commit) -> Result<Self, ApplyError> {
        let mut next = Draft { snapshot: self.clone(), changed: BTreeSet::new() };
        next.snapshot.number = self.number.saturating_add(1);
        next.apply(commit)?;
        next.finish()
    }

    /// What is allowed but will turn callers away. Walks all targets; not for the hot path.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let default = Policy::default();
        for entry in self.targets.values() {
            let policy = entry.policy.as_deref().unwrap_or(&default);
            for (list, algorithm) in entry.credential_lists.iter().flat_map(|mapped| {
                policy.algorithms.iter().map(|algorithm| (mapped.list, algorithm))
            }) {
                let facts = self.credential_list_entry(list);
                let users = facts.map_or(0, |list| list.lacking(algorithm.hash_function()));
                if users > 0 {
                    let target = entry.target;
                    warnings.push(Warning::MissingHashes { target, algorithm, list, users });
                }
            }
        }
        warnings.sort_by_key(|Warning::MissingHashes { target, algorithm, list, .. }| {
            (*target, *list, *algorithm)
        });
        warnings
    }

    /// What `host`, in the form hosts are compared in, names.
    pub(crate) fn named_entry(&self, host: &str) -> Option<&TargetEntry> {
        self.names.get(host).map(|entry| &**entry)
    }

    pub(crate) fn account_status(&self, sid: AccountSid) -> Option<AccountStatus> {
        self.accounts.get(&sid).map(|entry| entry.status)
    }

    pub(crate) fn access_list_entry(&self, sid: IpAccessControlListSid) -> Option<&AccessList> {
        self.access_lists.get(&sid).map(|list| &**list)
    }

    pub(crate) fn credential_list_entry(&self, sid: CredentialListSid) -> Option<&CredentialList> {
        self.credential_lists.get(&sid).map(|list| &**list)
    }

    /// What the roles of a user and of the mapping of its list permit together.
    pub(crate) fn permissions(&self, roles: [Option<RoleSid>; 2]) -> PermissionSet {
        let of = |sid: RoleSid| self.roles.get(&sid).map(|role| role.permissions);
        let none = PermissionSet::empty(self.vocabulary);
        roles.into_iter().flatten().filter_map(of).fold(none, PermissionSet::union)
    }

    /// The entry of `list` with this SID, for explanations.
    pub(crate) fn prefix(
        &self,
        list: IpAccessControlListSid,
        address: IpAddressSid,
    ) -> Option<Prefix> {
        self.access_list_entry(list)?.prefix(address)
    }

    /// The most specific entry of `list` that admits `source`.
    pub(crate) fn admits(
        &self,
        list: IpAccessControlListSid,
        source: IpAddr,
    ) -> Option<IpAddressSid> {
        self.access_list_entry(list)?.admits(source)
    }
}

impl View for Snapshot {
    fn account(&self, sid: AccountSid) -> Option<(AccountStatus, usize)> {
        self.accounts.get(&sid).map(|entry| (entry.status, entry.owned))
    }

    fn target(&self, target: Target) -> Option<TargetFacts> {
        self.targets.get(&target).map(|entry| TargetFacts {
            account: entry.account,
            mappings: entry.mappings(),
            has_policy: entry.policy.is_some(),
            realm: entry.realm.clone(),
        })
    }

    fn named(&self, name: &DomainName) -> Option<Target> {
        self.names.get(name).map(|entry| entry.target)
    }

    fn ip_access_control_list(&self, sid: IpAccessControlListSid) -> Option<ListFacts> {
        self.access_lists.get(&sid).map(|list| ListFacts {
            account: list.account,
            realm: None,
            members: list.len(),
            mappings: list.mappings,
        })
    }

    fn credential_list(&self, sid: CredentialListSid) -> Option<ListFacts> {
        self.credential_lists.get(&sid).map(|list| ListFacts {
            account: list.account,
            realm: Some(list.realm.clone()),
            members: list.len(),
            mappings: list.mappings,
        })
    }

    fn ip_address(&self, sid: IpAddressSid) -> Option<IpAccessControlListSid> {
        self.addresses.get(&sid).copied()
    }

    fn credential(&self, sid: CredentialSid) -> Option<(CredentialListSid, UserName)> {
        self.credentials.get(&sid).map(|entry| (entry.list, entry.username.clone()))
    }

    fn user(&self, list: CredentialListSid, username: &UserName) -> Option<CredentialSid> {
        Some(self.credential_list_entry(list)?.user(username.as_str())?.sid)
    }

    fn mapping(&self, mapping: Mapping) -> bool {
        self.targets.get(&mapping.target()).is_some_and(|entry| match mapping {
            Mapping::IpAccessControlList(_, list) => entry.access_lists.contains(&list),
            Mapping::CredentialList(_, list) => {
                entry.credential_lists.iter().any(|m| m.list == list)
            }
            Mapping::Registration(_, list) => entry.registrations.contains(&list),
        })
    }

    fn role(&self, sid: RoleSid) -> Option<RoleFacts> {
        self.roles.get(&sid).map(|role| RoleFacts {
            account: role.account,
            service: role.service,
            kind: role.kind,
            uses: role.uses,
        })
    }
}

/// A snapshot in the making: maps that share with the old one, and what is to be compiled at the
/// end.
struct Draft {
    snapshot: Snapshot,
    /// The access lists whose tables are out of date.
    changed: BTreeSet<IpAccessControlListSid>,
}

impl Draft {
    fn apply(&mut self, commit: &Commit) -> Result<(), ApplyError> {
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
    fn finish(mut self) -> Result<Snapshot, ApplyError> {
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
