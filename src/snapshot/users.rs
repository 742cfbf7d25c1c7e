//! The credential lists and the users of all of them.
//!
//! All users lie in one table and are found by one index, under the list and the name together: a
//! look-up takes as many steps in a list of ten as in one of ten million, and thousands of small
//! lists cost nothing beside their users.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::index::{Index, fold, random_key};
use super::role::RoleEntry;
use super::table::{Entry, Slot, Table};
use crate::digest::{HashFunction, HexText, userhash};
use crate::model::{Credential, Ha1Set, Realm, UserName};
use crate::sid::{AccountSid, CredentialListSid, CredentialSid};

/// One user of a list. Its `Ha1Set` has no `Debug`, so neither has this; it is wiped when the last
/// snapshot that holds this state of it is dropped.
#[derive(Clone)]
pub(crate) struct CredentialEntry {
    pub(crate) sid: CredentialSid,
    pub(crate) list: Slot<CredentialList>,
    pub(crate) username: UserName,
    pub(crate) ha1: Ha1Set,
    pub(crate) disabled: bool,
    /// A deployment role.
    pub(crate) role: Option<Slot<RoleEntry>>,
    /// The users of a list are chained, so that they can be walked without the others.
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
    /// Whether the user is enabled and has no hash, for each of `HashFunction::ALL`.
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
    /// How many users it has.
    len: usize,
    first: Option<Slot<CredentialEntry>>,
    /// How many targets that this list is mapped to admit hashed user names; its users are indexed by
    /// them while there is one.
    userhash_wanted: usize,
    /// How many enabled users have no hash, for each of `HashFunction::ALL`.
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

    /// How many enabled users have no hash for `function`.
    pub(crate) fn lacking(&self, function: HashFunction) -> usize {
        self.lacking.get(function.index()).copied().unwrap_or_default()
    }

    fn count_lacking(&mut self, lacks: [bool; HashFunction::COUNT], by: isize) {
        for (count, lacks) in self.lacking.iter_mut().zip(lacks) {
            *count = count.saturating_add_signed(if lacks { by } else { 0 });
        }
    }
}

/// What a list has for a name that a request claims.
#[derive(Clone, Copy, Default)]
pub(crate) struct LookUp<'a> {
    /// The user of the name, disabled or not.
    pub(crate) found: Option<&'a CredentialEntry>,
    /// The same, or any other user where there is none: whatever is read of the user found is read of
    /// this one, so that an unknown name is as far from the processor as a known one.
    pub(crate) at_hand: Option<&'a CredentialEntry>,
}

impl<'a> LookUp<'a> {
    fn of(near: Option<(&'a CredentialEntry, bool)>) -> Self {
        let at_hand = near.map(|(entry, _)| entry);
        Self { found: at_hand.filter(|_| near.is_some_and(|(_, is_hit)| is_hit)), at_hand }
    }
}

/// A user of a list that admits hashed user names (RFC 7616 §3.4.4).
#[derive(Clone)]
struct HashedUser {
    list: Slot<CredentialList>,
    function: HashFunction,
    /// In lower-case hexadecimal.
    hash: HexText,
    user: Slot<CredentialEntry>,
}

impl Entry for HashedUser {
    type Key = (Slot<CredentialList>, HashFunction, HexText);

    fn key(&self) -> Self::Key {
        (self.list, self.function, self.hash)
    }
}

/// A name that a request claims, hashed with a list for one snapshot and those made from it.
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
    /// How many there are, in all lists.
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

    /// The user of this name, or one to be busy with instead.
    #[inline]
    pub(crate) fn look_up(
        &self,
        key: UserKey,
        list: Slot<CredentialList>,
        username: &str,
    ) -> LookUp<'_> {
        LookUp::of(self.by_name.find_or_near(key.0, |number| {
            let entry = self.credentials.at(Slot::new(number)?)?;
            Some((entry, (entry.list == list) & entry.username.is(username)))
        }))
    }

    /// The user whose name hashes to `hash`, or one to be busy with instead.
    pub(crate) fn look_up_hash(
        &self,
        list: Slot<CredentialList>,
        function: HashFunction,
        hash: HexText,
    ) -> LookUp<'_> {
        let near = self.by_userhash.get_or_near(&(list, function, hash));
        LookUp::of(near.and_then(|(near, is_hit)| Some((self.credentials.at(near.user)?, is_hit))))
    }

    /// Has the index read where `key` leads, so that it is in the cache when it is searched: one step
    /// of reading ahead for many names at once. The outcome is for [`Self::touch`].
    #[inline]
    pub(crate) fn read_ahead(&self, key: UserKey) -> Option<Slot<CredentialEntry>> {
        Slot::new(self.by_name.touch(key.0)?)
    }

    /// The second step: has the entry itself read. The outcome means nothing; it is to be used in
    /// some way, so that the reading is not left out.
    #[inline]
    pub(crate) fn touch(&self, slot: Slot<CredentialEntry>) -> bool {
        self.credentials.at(slot).is_some_and(|entry| entry.disabled)
    }

    /// Puts a credential of a list that there is; one that is there already keeps list and name.
    /// Returns the role that it had.
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
        // where it stands, as taking it out moves it and leaves its bytes behind
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

    /// One more target, or one less, that this list is mapped to admits hashed user names.
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

    /// Has a user found by hashed names, or no more.
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
    fn a_user_that_is_gone_leaves_no_hashed_names_behind() {
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

    /// Ten millions of them are kept; see the memory report in `benches`.
    #[test]
    fn a_user_is_small() {
        assert_eq!(size_of::<Option<CredentialEntry>>(), 144);
    }
}
