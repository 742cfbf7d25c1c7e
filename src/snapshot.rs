//! The meeting point of the two flows: everything that decides, compiled, immutable and shared.
//!
//! A snapshot is made by applying a [`Commit`] to another one; the first, by applying one to the
//! empty snapshot, which is what [`Snapshot::builder`] does. What a commit does not touch is shared
//! between the old and the new.

mod builder;
mod cell;
mod draft;
mod entry;
mod map;

use std::net::IpAddr;
use std::sync::Arc;

pub use builder::SnapshotBuilder;
pub(crate) use cell::SnapshotCell;
use draft::Draft;
pub(crate) use entry::{
    AccessList, CredentialEntry, CredentialList, LookUp, MappedList, TargetEntry,
};
use entry::{AccountEntry, RoleEntry};
use map::Map;

use crate::acl::{Prefix, TooManyPrefixes};
use crate::digest::Algorithm;
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
