//! An immutable compiled view of all records, shared by every decision.
//!
//! Applying a [`Commit`] to a snapshot makes the next one; [`Snapshot::builder`] applies one to the
//! empty snapshot. Records that a commit does not change are shared between both.
//!
//! Records are kept in tables, in slots that do not move ([`table`]), and refer to each other by
//! slot. A decision hashes only the host and the user name; every other step is an array access. A
//! list that thousands of domains use is stored once.

mod access;
mod array;
mod basis;
mod builder;
mod cell;
mod copies;
mod entry;
#[cfg(feature = "unstable-internals")]
mod facts;
mod index;
mod realms;
mod role;
mod table;
mod targets;
mod transaction;
mod users;
mod views;

pub(crate) use access::AccessList;
pub use basis::AcceptBasis;
pub use builder::SnapshotBuilder;
pub(crate) use cell::SnapshotCell;
use entry::AddressEntry;
pub(crate) use entry::{AccountEntry, TargetEntry};
use realms::Realms;
pub(crate) use role::RoleEntry;
pub(crate) use table::Slot;
use table::Table;
pub(crate) use targets::Targets;
use transaction::SnapshotTransaction;
pub(crate) use users::{
    Copies, Copy, CredentialEntry, CredentialList, MappedList, UserMatch, Users,
};
pub use views::TargetView;

use std::collections::HashSet;

use crate::acl::TooManyPrefixes;
use crate::digest::{Algorithm, HashFunction, HexText};
use crate::model::rules::{ListFacts, MAX_COPIES, RoleFacts, RuleError, TargetFacts, View};
use crate::model::{
    AccountStatus, Commit, DomainName, Key, Mapping, PermissionSet, Target, UserName, Vocabulary,
};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid, RoleSid,
};

/// A commit was rejected. The snapshot it was applied to is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A write breaks a rule.
    #[error("{key}: {error}")]
    Rule {
        /// The record of the write.
        key: Key,
        /// The broken rule and the offending value.
        error: RuleError,
    },
    /// A list has more entries than a prefix table supports.
    #[error("{0}: {1}")]
    TooManyPrefixes(IpAccessControlListSid, TooManyPrefixes),
    /// This process did not create the [`Authorizer`](crate::Authorizer), so it cannot change its
    /// snapshot. Only [`Authorizer::apply`](crate::Authorizer::apply) returns this.
    #[error(
        "this process did not create the authorizer; create it after the fork, and after daemonizing"
    )]
    OtherProcess,
}

impl ApplyError {
    /// The key of the rejected record; none if the whole commit was rejected.
    #[must_use]
    pub const fn key(&self) -> Option<Key> {
        match self {
            Self::Rule { key, .. } => Some(*key),
            Self::TooManyPrefixes(list, _) => Some(Key::IpAccessControlList(*list)),
            Self::OtherProcess => None,
        }
    }

    /// The reason for the rejection, without the record's key.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Rule { error, .. } => error.to_string(),
            Self::TooManyPrefixes(_, error) => error.to_string(),
            Self::OtherProcess => self.to_string(),
        }
    }
}

/// A valid configuration that will reject some callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A target offers an algorithm that some users have no hash for. Clients of these users that
    /// choose it are rejected.
    #[error("{target} offers {algorithm}, and {users} users of {list} have no hash for it")]
    MissingHashes {
        /// The domain or trunk.
        target: Target,
        /// The offered algorithm.
        algorithm: Algorithm,
        /// The mapped list.
        list: CredentialListSid,
        /// Number of enabled users of the list without a hash for it.
        users: usize,
    },
    /// A target offers several algorithms and does not begin with MD5, so many phones fail
    /// ([`stronger_first`](crate::model::AlgorithmOffer::stronger_first)).
    #[error(
        "{target} offers several algorithms, {first} first: many phones fail at such a challenge \
         (see docs/clients.md)"
    )]
    StrongerFirst {
        /// The domain or trunk.
        target: Target,
        /// The algorithm of the first challenge header.
        first: Algorithm,
    },
    /// More lists of a target hold a user name than a decision compares. Callers whose password is
    /// in the others are rejected.
    #[error(
        "{users} user names are in more than {MAX_COPIES} of the lists mapped to {target}: only the \
         first {MAX_COPIES} lists by SID that hold the name count"
    )]
    TooManyCopies {
        /// The domain or trunk.
        target: Target,
        /// Number of such user names.
        users: usize,
    },
}

/// All records that decisions need, as of one commit.
#[derive(Clone)]
pub struct Snapshot {
    number: u64,
    vocabulary: &'static Vocabulary,
    accounts: Table<AccountEntry>,
    targets: Targets,
    access_lists: Table<AccessList>,
    addresses: Table<AddressEntry>,
    users: Users,
    /// The realms of the credential lists.
    realms: Realms,
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
    /// Returns a snapshot without records. It rejects every call.
    #[must_use]
    pub fn empty() -> Self {
        Self::with_vocabulary(Vocabulary::documented())
    }

    /// Returns a snapshot without records whose roles take their permissions from `vocabulary`.
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
            realms: Realms::default(),
            roles: Table::default(),
        }
    }

    /// The permissions that roles of this snapshot can have.
    #[must_use]
    pub fn vocabulary(&self) -> &'static Vocabulary {
        self.vocabulary
    }

    /// Starts a snapshot from a program's own records.
    #[must_use]
    pub fn builder() -> SnapshotBuilder {
        SnapshotBuilder::default()
    }

    /// The number of this state of the records: each [`Self::apply`] adds one, and so does
    /// [`Authorizer::replace`](crate::Authorizer::replace) at least.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The same records with another number.
    pub(crate) fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    /// Returns the snapshot after `commit`, which is applied completely or not at all.
    ///
    /// The time depends on the size of the commit and hardly on the size of the snapshot, with two
    /// exceptions. Writing an address rebuilds the prefix table of its list. The first target with
    /// `userhash` that a list is mapped to hashes all user names of the list.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] for the first write that breaks a rule; `self` is unchanged.
    pub fn apply(&self, commit: &Commit) -> Result<Self, ApplyError> {
        let number = self.number.saturating_add(1);
        let mut next = SnapshotTransaction::of(self.clone().numbered(number));
        next.apply(commit)?;
        next.finish()
    }

    /// Returns an error for each user and mapping of `commit` that puts a user name into more than
    /// [`MAX_COPIES`](crate::model::rules::MAX_COPIES) lists of a domain or trunk, and that `before`
    /// does not have. `self` is the snapshot after the commit.
    ///
    /// [`Self::apply`] does not check this, so that a store which breaks the rule still loads. The
    /// check scans all targets.
    #[must_use]
    pub fn check_copies(&self, before: &Self, commit: &Commit) -> Vec<ApplyError> {
        copies::check(self, before, commit)
    }

    /// Lists valid configurations that will reject some callers: users without the hash of an offered
    /// algorithm, offers that many phones fail at, and user names in too many lists of a target.
    ///
    /// The crate `sip-authz-config` warns about these and about the rest, such as lists without entries or
    /// without a mapping. Scans all targets; not for the hot path.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for entry in self.targets.values() {
            let policy = entry.policy();
            if let Some(first) = policy.algorithms.stronger_first() {
                warnings.push(Warning::StrongerFirst { target: entry.target, first });
            }
            let users = copies::names_beyond(self, entry);
            if users > 0 {
                warnings.push(Warning::TooManyCopies { target: entry.target, users });
            }
            // a list that is mapped for calls and registrations is named once
            let slots: HashSet<_> = entry.all_lists().collect();
            for list in slots.into_iter().filter_map(|slot| self.credential_list_entry(slot)) {
                for algorithm in policy.algorithms.iter() {
                    let users = list.lacking(algorithm.hash_function());
                    if users > 0 {
                        let (target, list) = (entry.target, list.sid);
                        warnings.push(Warning::MissingHashes { target, algorithm, list, users });
                    }
                }
            }
        }
        warnings.sort_by_key(|warning| match warning {
            Warning::StrongerFirst { target, .. } | Warning::TooManyCopies { target, .. } => {
                (*target, None)
            }
            Warning::MissingHashes { target, algorithm, list, .. } => {
                (*target, Some((*list, *algorithm)))
            }
        });
        warnings
    }

    /// The target with this canonical host name.
    #[inline]
    pub(crate) fn named_entry(&self, host: &str) -> Option<&TargetEntry> {
        self.targets.named(self.targets.key(host), host)
    }

    /// The domains and trunks, for batched lookups.
    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The users of credential lists, for batched lookups.
    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    #[inline]
    pub(crate) fn account_entry(&self, slot: Slot<AccountEntry>) -> Option<&AccountEntry> {
        self.accounts.at(slot)
    }

    pub(crate) fn account_slot(&self, account: AccountSid) -> Option<Slot<AccountEntry>> {
        self.accounts.slot(&account)
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

    /// Looks the user up; on a miss returns a decoy entry so that the time is the same.
    #[inline]
    pub(crate) fn look_up(&self, list: Slot<CredentialList>, username: &str) -> UserMatch<'_> {
        self.users.look_up(self.users.key(list, username), list, username)
    }

    /// Looks the user up by hashed name; on a miss returns a decoy entry so that the time is the
    /// same.
    pub(crate) fn look_up_hash(
        &self,
        list: Slot<CredentialList>,
        function: HashFunction,
        hash: HexText,
    ) -> UserMatch<'_> {
        self.users.look_up_hash(list, function, hash)
    }

    /// The union of the permissions of a user's role and of its list mapping's role.
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
            has_policy: entry.has_policy(),
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
        self.look_up(list, username.as_str()).hit.map(|entry| entry.sid)
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
                    let list = self.users.lists.slot(&list)?;
                    entry.registrations.iter().any(|mapped| mapped.list == list)
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
