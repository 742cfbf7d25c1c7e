//! Credential lists and all their users.
//!
//! One table and one index, keyed by list and name, hold the users of all lists. A lookup takes as
//! long in a list of ten as in one of ten million, and a small list has no overhead.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher13;

use super::index::{Index, combine, random_key};
use super::role::RoleEntry;
use super::table::{Entry, Slot, Table};
use crate::digest::{HashFunction, HexText, userhash};
use crate::model::rules::MAX_COPIES;
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

/// A credential list mapped for calls or registrations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MappedList {
    pub(crate) list: Slot<CredentialList>,
    /// The channel role of the list's users on this target.
    pub(crate) role: Option<Slot<RoleEntry>>,
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

    fn hash((list, function, hash): &Self::Key, hasher: SipHasher13) -> u32 {
        combine(hash_of_userhash(hasher, *function, hash), list.number())
    }
}

/// The part of the hash of a [`HashedUser`] that all lists share.
fn hash_of_userhash(mut hasher: SipHasher13, function: HashFunction, hash: &HexText) -> u64 {
    (function, hash).hash(&mut hasher);
    hasher.finish()
}

/// A copy of a user name: its user in one list of a target, or a decoy.
#[derive(Clone, Copy, Default)]
pub(crate) struct Copy<'a> {
    /// The index of the list among the mapped lists; none for a decoy.
    pub(crate) place: Option<usize>,
    pub(crate) user: UserMatch<'a>,
}

/// The copies of a user name in the lists of a target, then decoys. The number of both together
/// depends on the number of lists only.
#[derive(Default)]
pub(crate) struct Copies<'a> {
    copies: ArrayVec<Copy<'a>, MAX_COPIES>,
    /// Whether more lists hold the name than [`MAX_COPIES`].
    pub(crate) has_more: bool,
}

impl<'a> Deref for Copies<'a> {
    type Target = [Copy<'a>];

    fn deref(&self) -> &[Copy<'a>] {
        &self.copies
    }
}

/// The number of [`Copies`] in `lists` mapped lists.
fn copies_of(lists: usize) -> usize {
    lists.min(MAX_COPIES)
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
        UserKey(combine(self.name_hash(username), list.number()))
    }

    /// The part of the hash of a user that all lists share.
    #[inline]
    fn name_hash(&self, username: &str) -> u64 {
        self.name_key.hash(username.as_bytes())
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

    /// Looks the user up in each of `lists`. Returns the first [`MAX_COPIES`] copies in the order of
    /// the lists, then decoys. The work does not depend on the number of copies found.
    pub(crate) fn copies(&self, lists: &[MappedList], username: &str) -> Copies<'_> {
        let hash = self.name_hash(username);
        copies(&self.by_name, hash, lists, |number, list| {
            let entry = self.credentials.at(Slot::new(number)?)?;
            Some((entry, (entry.list == list) & entry.username.is(username)))
        })
    }

    /// Like [`Self::copies`], by hashed name.
    pub(crate) fn copies_by_hash(
        &self,
        lists: &[MappedList],
        function: HashFunction,
        hash: HexText,
    ) -> Copies<'_> {
        let (index, hasher) = self.by_userhash.index();
        copies(index, hash_of_userhash(hasher, function, &hash), lists, |number, list| {
            let entry = self.by_userhash.numbered(number)?;
            let is_hit = entry.key() == (list, function, hash);
            Some((self.credentials.at(entry.user)?, is_hit))
        })
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

/// The copies of a name in `lists`, then decoys. `look` reads the user with a number of the index and
/// reports whether it is the one in the list.
///
/// First it searches the index for all lists, which are independent of each other, so their cache
/// misses overlap. Then it reads the users: those that the index has under the hash of the name, and
/// as many neighbours as make up [`copies_of`].
fn copies<'a>(
    index: &Index,
    hash: u64,
    lists: &[MappedList],
    look: impl Fn(u32, Slot<CredentialList>) -> Option<(&'a CredentialEntry, bool)>,
) -> Copies<'a> {
    let (mut found, mut decoys) =
        (ArrayVec::<_, MAX_COPIES>::new(), ArrayVec::<_, MAX_COPIES>::new());
    let mut has_more = false;
    let mut likely = ArrayVec::<(usize, Slot<CredentialList>, u32), { 2 * MAX_COPIES }>::new();
    let mut same_hash = 0;
    let mut neighbours = ArrayVec::<(Slot<CredentialList>, u32), MAX_COPIES>::new();
    let mut read = |place: Option<usize>, list, number| match (place, look(number, list)) {
        (Some(_), Some((user, true))) => {
            // copies beyond the bound do not count
            let user = UserMatch { hit: Some(user), decoy: Some(user) };
            has_more |= found.try_push(Copy { place, user }).is_err();
        }
        (_, Some((user, _))) => {
            let user = UserMatch { hit: None, decoy: Some(user) };
            _ = decoys.try_push(Copy { place: None, user });
        }
        (_, None) => {}
    };
    for (place, MappedList { list, .. }) in lists.iter().enumerate() {
        let near = index.each_or_near(combine(hash, list.number()), |number| {
            same_hash += 1;
            if let Err(full) = likely.try_push((place, *list, number)) {
                // more names than the bound, or names whose hashes collide
                likely.drain(..).for_each(|(place, list, number)| read(Some(place), list, number));
                likely.push(full.element());
            }
        });
        if let Some(number) = near {
            _ = neighbours.try_push((*list, number));
        }
    }
    let wanted = copies_of(lists.len()).saturating_sub(same_hash);
    likely.drain(..).for_each(|(place, list, number)| read(Some(place), list, number));
    for (list, number) in neighbours.into_iter().take(wanted) {
        read(None, list, number);
    }
    found.extend(decoys.into_iter().take(found.remaining_capacity()));
    // without neighbours, as in an index without users, the rest have no user
    while found.len() < copies_of(lists.len()) {
        found.push(Copy::default());
    }
    found.truncate(copies_of(lists.len()));
    Copies { copies: found, has_more }
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

    /// `found` lists of `lists` hold the name; all hold others.
    fn with_copies(lists: usize, found: usize) -> (Users, Vec<MappedList>) {
        let (account, realm) = (AccountSid::from_name(&["account"]), "example.com");
        let mut users = Users::default();
        let mut mapped = Vec::new();
        for n in 0..lists {
            let sid = CredentialListSid::from_name(&[&n.to_string()]);
            let list = CredentialList::new(sid, account, realm.parse().unwrap());
            mapped.push(MappedList { list: users.lists.put(list).unwrap(), role: None });
            let names = (0..20).map(|n| format!("user{n}"));
            for name in names.chain((n < found).then(|| "alice".to_owned())) {
                let username: UserName = name.parse().unwrap();
                let hash = "00".repeat(16);
                let hashes = [(HashFunction::Md5, hash.as_str())];
                let ha1 = Ha1Set::from_hex(&username, &realm.parse().unwrap(), hashes).unwrap();
                let credential = CredentialSid::from_name(&[&n.to_string(), &name]);
                users.put(&Credential::new(credential, sid, username, ha1), None);
            }
            users.want_userhash(mapped[n].list, true);
        }
        (users, mapped)
    }

    #[test]
    fn names_and_lists_whose_hashes_collide_are_told_apart() {
        let (mut users, mapped) = with_copies(2, 1);
        let number = |users: &Users, name: &str| {
            users.credentials.slot(&CredentialSid::from_name(&["0", name])).unwrap().number()
        };
        for (name, list, collides) in [("nobody", 0, "user1"), ("alice", 1, "alice")] {
            let hash = combine(users.name_hash(name), mapped[list].list.number());
            users.by_name.insert(hash, number(&users, collides));
            for copy in users.copies(&mapped[list..], name).iter() {
                assert!(copy.user.hit.is_none(), "{name}");
            }
        }
    }

    #[test]
    fn the_work_of_a_lookup_does_not_depend_on_the_copies() {
        let hash = userhash(HashFunction::Sha256, "alice", "example.com");
        for lists in 0..12 {
            for found in 0..=lists {
                let (users, mapped) = with_copies(lists, found);
                let read = std::cell::Cell::new(0);
                let copies =
                    copies(&users.by_name, users.name_hash("alice"), &mapped, |n, list| {
                        read.set(read.get() + 1);
                        let entry = users.credentials.at(Slot::new(n)?)?;
                        Some((entry, entry.list == list && entry.username.is("alice")))
                    });
                // more names than the bound are read, but a commit cannot add them
                assert_eq!(read.get(), lists.min(MAX_COPIES).max(found));
                let by_hash = users.copies_by_hash(&mapped, HashFunction::Sha256, hash);
                for copies in [copies, users.copies(&mapped, "alice"), by_hash] {
                    let hits = copies.iter().filter_map(|it| Some((it.place?, it.user.hit?.list)));
                    let expected = (0..found.min(MAX_COPIES)).map(|n| (n, mapped[n].list));
                    assert!(hits.eq(expected));
                    assert_eq!(copies.len(), lists.min(MAX_COPIES));
                    assert_eq!(copies.has_more, found > MAX_COPIES);
                    assert!(copies.iter().all(|it| it.user.decoy.is_some()));
                }
            }
        }
        let (_, mapped) = with_copies(3, 0);
        let empty = Users::default();
        let none = empty.copies(&mapped, "alice");
        assert!(none.len() == 3 && none.iter().all(|it| it.user.decoy.is_none()));
    }

    /// Guards the memory of ten million users; see the memory report in `benches`.
    #[test]
    fn a_user_is_small() {
        assert_eq!(size_of::<Option<CredentialEntry>>(), 144);
    }
}
