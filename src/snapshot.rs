//! The meeting point of the two flows: everything that decides, compiled, immutable and shared.
//!
//! A snapshot is made by applying a [`Commit`] to another one; the first, by applying one to the
//! empty snapshot, which is what [`Snapshot::builder`] does. What a commit does not touch is shared
//! between the old and the new.
//!
//! Records lie in tables, each in a slot that stays its own ([`table`]). What belongs together names
//! each other by slot: a decision hashes the host and the user name, and everything between is a few
//! steps by number. A list that thousands of domains use is there once.

mod access;
mod array;
mod builder;
mod cell;
mod draft;
mod entry;
#[cfg(feature = "unstable-internals")]
mod facts;
mod index;
mod role;
mod table;
mod targets;
mod users;

pub(crate) use access::AccessList;
pub use builder::SnapshotBuilder;
pub(crate) use cell::SnapshotCell;
use draft::Draft;
use entry::AddressEntry;
pub(crate) use entry::{AccountEntry, MappedList, TargetEntry};
pub(crate) use role::RoleEntry;
pub(crate) use table::Slot;
use table::Table;
pub(crate) use targets::Targets;
pub(crate) use users::{CredentialEntry, CredentialList, LookUp, Users};

use crate::acl::TooManyPrefixes;
use crate::digest::{Algorithm, HashFunction, HexText};
use crate::model::rules::{ListFacts, RoleFacts, RuleError, TargetFacts, View};
use crate::model::{
    AccountStatus, Commit, DomainName, Key, Mapping, PermissionSet, Policy, Target, UserName,
    Vocabulary,
};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid, RoleSid,
};

/// A commit that a snapshot refuses. The snapshot it was applied to is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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

impl ApplyError {
    /// The record that the snapshot refuses.
    #[must_use]
    pub const fn key(&self) -> Key {
        match self {
            Self::Rule { key, .. } => *key,
            Self::TooManyPrefixes(list, _) => Key::IpAccessControlList(*list),
        }
    }

    /// Why the snapshot refuses the record, without its key.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Rule { error, .. } => error.to_string(),
            Self::TooManyPrefixes(_, error) => error.to_string(),
        }
    }
}

/// Something that is allowed but will turn callers away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    accounts: Table<AccountEntry>,
    targets: Targets,
    access_lists: Table<AccessList>,
    addresses: Table<AddressEntry>,
    users: Users,
    roles: Table<RoleEntry>,
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
            .field("credentials", &self.users.len())
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
            accounts: Table::default(),
            targets: Targets::default(),
            access_lists: Table::default(),
            addresses: Table::default(),
            users: Users::default(),
            roles: Table::default(),
        }
    }

    /// The permissions that its roles can have.
    #[must_use]
    pub fn vocabulary(&self) -> &'static Vocabulary {
        self.vocabulary
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
    /// what it writes and hardly on what else there is. Two writes stand for many: an address has its whole
    /// list put together anew, and a list of users whose names can be sent as hashes for the first time has
    /// all of them hashed.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] for the first write that would break a rule; `self` stays as it is.
    pub fn apply(&self, commit: &Commit) -> Result<Self, ApplyError> {
        let number = self.number.saturating_add(1);
        let mut next = Draft::of(self.clone().numbered(number));
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
            let lists = entry.credential_lists.iter();
            for list in lists.filter_map(|mapped| self.credential_list_entry(mapped.list)) {
                for algorithm in policy.algorithms.iter() {
                    let users = list.lacking(algorithm.hash_function());
                    if users > 0 {
                        let (target, list) = (entry.target, list.sid);
                        warnings.push(Warning::MissingHashes { target, algorithm, list, users });
                    }
                }
            }
        }
        warnings.sort_by_key(|Warning::MissingHashes { target, algorithm, list, .. }| {
            (*target, *list, *algorithm)
        });
        warnings
    }

    /// What `host`, in the form hosts are compared in, names.
    #[inline]
    pub(crate) fn named_entry(&self, host: &str) -> Option<&TargetEntry> {
        self.targets.named(self.targets.key(host), host)
    }

    /// The domains and trunks, for looking many up at once.
    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The credential lists' users, for looking many up at once.
    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    #[inline]
    pub(crate) fn account_entry(&self, slot: Slot<AccountEntry>) -> Option<&AccountEntry> {
        self.accounts.at(slot)
    }

    #[inline]
    pub(crate) fn access_list_entry(&self, slot: Slot<AccessList>) -> Option<&AccessList> {
        self.access_lists.at(slot)
    }

    #[inline]
    pub(crate) fn credential_list_entry(
        &self,
        slot: Slot<CredentialList>,
    ) -> Option<&CredentialList> {
        self.users.lists.at(slot)
    }

    /// The user of this name, or one to be busy with instead.
    #[inline]
    pub(crate) fn look_up(&self, list: Slot<CredentialList>, username: &str) -> LookUp<'_> {
        self.users.look_up(self.users.key(list, username), list, username)
    }

    /// The user whose name hashes to `hash`, or one to be busy with instead.
    pub(crate) fn look_up_hash(
        &self,
        list: Slot<CredentialList>,
        function: HashFunction,
        hash: HexText,
    ) -> LookUp<'_> {
        self.users.look_up_hash(list, function, hash)
    }

    /// What the roles of a user and of the mapping of its list permit together.
    pub(crate) fn permissions(&self, roles: [Option<Slot<RoleEntry>>; 2]) -> PermissionSet {
        let of = |slot: Slot<RoleEntry>| self.roles.at(slot).map(|role| role.permissions);
        let none = PermissionSet::empty(self.vocabulary);
        roles.into_iter().flatten().filter_map(of).fold(none, PermissionSet::union)
    }
}

impl View for Snapshot {
    fn account(&self, sid: AccountSid) -> Option<(AccountStatus, usize)> {
        self.accounts.get(&sid).map(|entry| (entry.status, entry.owned))
    }

    fn target(&self, target: Target) -> Option<TargetFacts> {
        let entry = self.targets.get(target)?;
        Some(TargetFacts {
            account: self.account_entry(entry.account)?.sid,
            mappings: entry.mappings(),
            has_policy: entry.policy.is_some(),
            realm: entry.realm.clone(),
        })
    }

    fn named(&self, name: &DomainName) -> Option<Target> {
        self.named_entry(name.as_str()).map(|entry| entry.target)
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
        self.users.lists.get(&sid).map(|list| ListFacts {
            account: list.account,
            realm: Some(list.realm.clone()),
            members: list.len(),
            mappings: list.mappings,
        })
    }

    fn ip_address(&self, sid: IpAddressSid) -> Option<IpAccessControlListSid> {
        let address = self.addresses.get(&sid)?;
        self.access_list_entry(address.list).map(|list| list.sid)
    }

    fn credential(&self, sid: CredentialSid) -> Option<(CredentialListSid, UserName)> {
        let entry = self.users.get(sid)?;
        Some((self.credential_list_entry(entry.list)?.sid, entry.username.clone()))
    }

    fn user(&self, list: CredentialListSid, username: &UserName) -> Option<CredentialSid> {
        let list = self.users.lists.slot(&list)?;
        self.look_up(list, username.as_str()).found.map(|entry| entry.sid)
    }

    fn mapping(&self, mapping: Mapping) -> bool {
        let is_mapped = || {
            let entry = self.targets.get(mapping.target())?;
            Some(match mapping {
                Mapping::IpAccessControlList(_, list) => {
                    entry.access_lists.contains(&self.access_lists.slot(&list)?)
                }
                Mapping::CredentialList(_, list) => {
                    let list = self.users.lists.slot(&list)?;
                    entry.credential_lists.iter().any(|mapped| mapped.list == list)
                }
                Mapping::Registration(_, list) => {
                    entry.registrations.contains(&self.users.lists.slot(&list)?)
                }
            })
        };
        is_mapped().unwrap_or_default()
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
