//! Credential lists and all their users.
//!
//! One table and one index, keyed by list and name, hold the users of all lists. A lookup takes as
//! long in a list of ten as in one of ten million, and a small list has no overhead.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::index::{Index, fold, random_key};
use super::role::RoleEntry;
use super::table::{Entry, Slot, Table};
use crate::digest::{HashFunction, HexText, userhash};
use crate::model::{Credential, Ha1Set, Realm, UserName};
use crate::sid::{AccountSid, CredentialListSid, CredentialSid};

/// A user of a list. No `Debug`, because of the HA1 hashes; they are wiped when the last snapshot
/// with this entry is dropped.
#[derive(Clone)]
pub(crate) struct CredentialEntry {
    pub(crate) sid: CredentialSid,
    pub(crate) list: Slot<CredentialList>,
    pub(crate) username: UserName,
    pub(crate) ha1: Ha1Set,
    pub(crate) disabled: bool,
    /// The deployment role.
    pub(crate) role: Option<Slot<RoleEntry>>,
    /// Linked list of the users of one credential list.
    next: Option<Slot<CredentialEntry>>,
    previous: Option<Slot<CredentialEntry>>,
}

impl Entry for CredentialEntry {
    type Key = CredentialSid;

    fn key(&self) -> CredentialSid {
        self.sid
    }
}

impl CredentialEntry {
    /// Whether the user is enabled and lacks a hash, for each of `HashFunction::ALL`.
    fn lacks(&self) -> [bool; HashFunction::COUNT] {
        HashFunction::ALL.map(|function| !self.disabled && !self.ha1.has(function))
    }
}

/// A credential list.
#[derive(Clone)]
pub(crate) struct CredentialList {
    pub(crate) sid: CredentialListSid,
    pub(crate) account: AccountSid,
    pub(crate) realm: Realm,
    pub(crate) mappings: usize,
    /// Number of users.
    len: usize,
    first: Option<Slot<CredentialEntry>>,
    /// Number of targets with `userhash` that this list is mapped to. Above zero, the users are
    /// indexed by hashed name.
    userhash_wanted: usize,
    /// Number of enabled users without a hash, for each of `HashFunction::ALL`.
    lacking: [usize; HashFunction::COUNT],
}

impl Entry for CredentialList {
    type Key = CredentialListSid;

    fn key(&self) -> CredentialListSid {
        self.sid
    }
}

impl CredentialList {
    pub(crate) fn new(sid: CredentialListSid, account: AccountSid, realm: Realm) -> Self {
        Self {
            sid,
            account,
            realm,
            mappings: 0,
            len: 0,
            first: None,
            userhash_wanted: 0,
            lacking: [0; HashFunction::COUNT],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Number of enabled users without a hash for `function`.
    pub(crate) fn lacking(&self, function: HashFunction) -> usize {
        self.lacking.get(function.index()).copied().unwrap_or_default()
    }

    fn count_lacking(&mut self, lacks: [bool; HashFunction::COUNT], by: isize) {
        for (count, lacks) in self.lacking.iter_mut().zip(lacks) {
            *count = count.saturating_add_signed(if lacks { by } else { 0 });
        }
    }
}

/// Result of looking a user up in one list.
#[derive(Clone, Copy, Default)]
pub(crate) struct UserMatch<'a> {
    /// The user with this name, disabled or not.
    pub(crate) hit: Option<&'a CredentialEntry>,
    /// The hit, or on a miss any other user. Callers read this entry in both cases, so that a miss
    /// costs the same cache misses as a hit.
    pub(crate) decoy: Option<&'a CredentialEntry>,
}

impl<'a> UserMatch<'a> {
    fn of(near: Option<(&'a CredentialEntry, bool)>) -> Self {
        let decoy = near.map(|(entry, _)| entry);
        Self { hit: decoy.filter(|_| near.is_some_and(|(_, is_hit)| is_hit)), decoy }
    }
}

/// Index entry for a hashed user name (RFC 7616 §3.4.4).
#[derive(Clone)]
struct HashedUser {
    list: Slot<CredentialList>,
    function: HashFunction,
    /// Lower-case hexadecimal.
    hash: HexText,
    user: Slot<CredentialEntry>,
}

impl Entry for HashedUser {
    type Key = (Slot<CredentialList>, HashFunction, HexText);

    fn key(&self) -> Self::Key {
        (self.list, self.function, self.hash)
    }
}

/// The hash of a list and a user name, valid for one snapshot and its descendants.
#[derive(Clone, Copy)]
pub(crate) struct UserKey(u32);

/// The credential lists of a snapshot and their users.
#[derive(Clone)]
pub(crate) struct Users {
    pub(super) lists: Table<CredentialList>,
    credentials: Table<CredentialEntry>,
    by_name: Index,
    name_key: SipHasher13,
    by_userhash: Table<HashedUser>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            lists: Table::default(),
            credentials: Table::default(),
            by_name: Index::default(),
            name_key: random_key(),
            by_userhash: Table::default(),
        }
    }
}

impl Users {
    /// Number of users in all lists.
    pub(super) fn len(&self) -> usize {
        self.credentials.len()
    }

    pub(super) fn get(&self, sid: CredentialSid) -> Option<&CredentialEntry> {
        self.credentials.get(&sid)
    }

    #[inline]
    pub(crate) fn key(&self, list: Slot<CredentialList>, username: &str) -> UserKey {
        let mut hasher = self.name_key;
        hasher.write_u32(list.number());
        hasher.write(username.as_bytes());
        UserKey(fold(hasher.finish()))
    }

    /// Looks the user up; on a miss returns a decoy entry so that the time is the same.
    #[inline]
    pub(crate) fn look_up(
        &self,
        key: UserKey,
        list: Slot<CredentialList>,
        username: &str,
    ) -> UserMatch<'_> {
        UserMatch::of(self.by_name.find_or_near(key.0, |number| {
            let entry = self.credentials.at(Slot::new(number)?)?;
            Some((entry, (entry.list == list) & entry.username.is(username)))
        }))
    }

    /// Looks the user up by hashed name; on a miss returns a decoy entry so that the time is the
    /// same.
    pub(crate) fn look_up_hash(
        &self,
        list: Slot<CredentialList>,
        function: HashFunction,
        hash: HexText,
    ) -> UserMatch<'_> {
        let near = self.by_userhash.get_or_near(&(list, function, hash));
        UserMatch::of(
            near.and_then(|(near, is_hit)| Some((self.credentials.at(near.user)?, is_hit))),
        )
    }

    /// Stage one of a batched lookup: prefetches the index cell of `key`. Pass the result to
    /// [`Self::prefetch_entry`].
    #[inline]
    pub(crate) fn prefetch(&self, key: UserKey) -> Option<Slot<CredentialEntry>> {
        Slot::new(self.by_name.prefetch(key.0)?)
    }

    /// Stage two: prefetches the entry. The result has no meaning, but the caller must use it
    /// (`black_box`), or the compiler removes the read.
    #[inline]
    pub(crate) fn prefetch_entry(&self, slot: Slot<CredentialEntry>) -> bool {
        self.credentials.at(slot).is_some_and(|entry| entry.disabled)
    }

    /// Adds or updates a credential and returns its previous role. The list must exist; an update
    /// keeps the list and the name.
    pub(super) fn put(
        &mut self,
        credential: &Credential,
        role: Option<Slot<RoleEntry>>,
    ) -> Option<Slot<RoleEntry>> {
        let list = self.lists.slot(&credential.list)?;
        if let Some(slot) = self.credentials.slot(&credential.sid) {
            let (role, before, after) = self.credentials.change(slot, |entry| {
                let before = entry.lacks();
                entry.ha1 = credential.ha1.clone();
                entry.disabled = credential.disabled;
                (std::mem::replace(&mut entry.role, role), before, entry.lacks())
            })?;
            if before != after {
                self.lists.change(list, |list| {
                    list.count_lacking(before, -1);
                    list.count_lacking(after, 1);
                });
            }
            return role;
        }
        let next = self.lists.at(list)?.first;
        let entry = CredentialEntry {
            sid: credential.sid,
            list,
            username: credential.username.clone(),
            ha1: credential.ha1.clone(),
            disabled: credential.disabled,
            role,
            next,
            previous: None,
        };
        let lacks = entry.lacks();
        let slot = self.credentials.put(entry)?;
        if let Some(next) = next {
            self.credentials.change(next, |entry| entry.previous = Some(slot));
        }
        self.by_name.insert(self.key(list, credential.username.as_str()).0, slot.number());
        let wanted = self.lists.change(list, |list| {
            list.first = Some(slot);
            list.len += 1;
            list.count_lacking(lacks, 1);
            list.userhash_wanted > 0
        });
        if wanted == Some(true) {
            self.index(slot, true);
        }
        None
    }

    pub(super) fn remove(&mut self, sid: CredentialSid) -> Option<CredentialEntry> {
        let slot = self.credentials.slot(&sid)?;
        let list = self.credentials.at(slot)?.list;
        if self.lists.at(list)?.userhash_wanted > 0 {
            self.index(slot, false);
        }
        // wipe in place: `remove` moves the entry and would leave its bytes behind
        let lacks = self.credentials.change(slot, |entry| {
            let lacks = entry.lacks();
            entry.ha1.wipe();
            lacks
        })?;
        let entry = self.credentials.remove(&sid)?;
        self.by_name.remove(self.key(list, entry.username.as_str()).0, slot.number());
        if let Some(next) = entry.next {
            self.credentials.change(next, |other| other.previous = entry.previous);
        }
        if let Some(previous) = entry.previous {
            self.credentials.change(previous, |other| other.next = entry.next);
        }
        self.lists.change(list, |list| {
            if entry.previous.is_none() {
                list.first = entry.next;
            }
            list.len = list.len.saturating_sub(1);
            list.count_lacking(lacks, -1);
        });
        Some(entry)
    }

    /// Counts one more or one less target with `userhash` for a list; indexes or unindexes its
    /// users at the first and last.
    pub(super) fn want_userhash(&mut self, list: Slot<CredentialList>, wanted: bool) {
        let counts = self.lists.change(list, |list| {
            let before = list.userhash_wanted;
            list.userhash_wanted = before.saturating_add_signed(if wanted { 1 } else { -1 });
            (before, list.userhash_wanted)
        });
        let (Some((0, 1)) | Some((1, 0))) = counts else { return };
        let mut next = self.lists.at(list).and_then(|list| list.first);
        while let Some(slot) = next {
            self.index(slot, wanted);
            next = self.credentials.at(slot).and_then(|entry| entry.next);
        }
    }

    /// The users of a list.
    #[cfg(feature = "unstable-internals")]
    pub(super) fn members(
        &self,
        list: Slot<CredentialList>,
    ) -> impl Iterator<Item = &CredentialEntry> {
        let at = |slot: Option<Slot<CredentialEntry>>| self.credentials.at(slot?);
        let first = at(self.lists.at(list).and_then(|list| list.first));
        std::iter::successors(first, move |entry| at(entry.next))
    }

    /// Adds a user to the index of hashed names, or removes it.
    fn index(&mut self, slot: Slot<CredentialEntry>, wanted: bool) {
        let Some(entry) = self.credentials.at(slot) else { return };
        let list = entry.list;
        let Some(realm) = self.lists.at(list).map(|list| &list.realm) else { return };
        let (username, realm) = (entry.username.as_str(), realm.as_str());
        let hashes = HashFunction::ALL.map(|function| userhash(function, username, realm));
        for (function, hash) in HashFunction::ALL.into_iter().zip(hashes) {
            if wanted {
                self.by_userhash.put(HashedUser { list, function, hash, user: slot });
            } else {
                self.by_userhash.remove(&(list, function, hash));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_a_user_removes_its_hashed_names() {
        let account = AccountSid::from_name(&["account"]);
        let list = crate::model::CredentialList::new(
            CredentialListSid::from_name(&["list"]),
            account,
            "example.com".parse().unwrap(),
        );
        let (name, password) = ("alice".parse().unwrap(), "Correct-Horse-7".to_owned());
        let password = crate::model::Password::new(password);
        let ha1 = crate::model::Ha1Set::from_password(&name, &list.realm, password).unwrap();
        let alice = Credential::new(CredentialSid::from_name(&["alice"]), list.sid, name, ha1);
        let mut snapshot = crate::snapshot::Snapshot::builder()
            .account(crate::model::Account::new(account))
            .credential_list(list.clone())
            .build()
            .unwrap();
        let users = &mut snapshot.users;
        let slot = users.lists.slot(&list.sid).unwrap();
        for (wanted, hashes) in [(true, HashFunction::ALL.len()), (false, 0)] {
            users.want_userhash(slot, wanted);
            assert_eq!(users.by_userhash.len(), 0);
            users.put(&alice, None);
            assert_eq!(users.by_userhash.len(), hashes);
            users.remove(alice.sid);
            assert_eq!(users.by_userhash.len(), 0);
        }
    }

    /// Guards the memory of ten million users; see the memory report in `benches`.
    #[test]
    fn a_user_is_small() {
        assert_eq!(size_of::<Option<CredentialEntry>>(), 144);
    }
}
