//! What a snapshot keeps of each record: all that a decision needs and nothing for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::acl::{Prefix, PrefixTable, TooManyPrefixes};
use crate::digest::{HashFunction, userhash};
use crate::model::{
    AccountStatus, DomainName, Ha1Set, PermissionSet, Policy, QopOffer, Realm, RoleKind, Target,
    UserName,
};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid, RoleSid,
    ServiceSid,
};
use crate::snapshot::map::Map;

#[derive(Clone, Copy)]
pub(crate) struct AccountEntry {
    pub(crate) status: AccountStatus,
    /// How many domains, trunks and lists name it as owner.
    pub(crate) owned: usize,
}

/// A credential list mapped for calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MappedList {
    pub(crate) list: CredentialListSid,
    /// The channel role that its users have on the target.
    pub(crate) role: Option<RoleSid>,
}

/// A role, as far as it decides.
#[derive(Clone, Copy)]
pub(crate) struct RoleEntry {
    pub(crate) account: AccountSid,
    pub(crate) service: ServiceSid,
    pub(crate) kind: RoleKind,
    pub(crate) permissions: PermissionSet,
    /// How many credentials and mappings carry it.
    pub(crate) uses: usize,
}

/// A domain or trunk with everything that hangs on its name.
#[derive(Clone)]
pub(crate) struct TargetEntry {
    pub(crate) target: Target,
    pub(crate) account: AccountSid,
    pub(crate) name: Option<DomainName>,
    pub(crate) secure: bool,
    /// `None`: the default policy.
    pub(crate) policy: Option<Arc<Policy>>,
    /// Mapped for calls, in the order of the SIDs.
    pub(crate) access_lists: Vec<IpAccessControlListSid>,
    pub(crate) credential_lists: Vec<MappedList>,
    /// Mapped for registrations, which are not decided here.
    pub(crate) registrations: Vec<CredentialListSid>,
    /// The realm of all credential lists mapped, for either purpose.
    pub(crate) realm: Option<Realm>,
}

impl TargetEntry {
    pub(crate) fn new(target: Target, account: AccountSid) -> Self {
        Self {
            target,
            account,
            name: None,
            secure: false,
            policy: None,
            access_lists: Vec::new(),
            credential_lists: Vec::new(),
            registrations: Vec::new(),
            realm: None,
        }
    }

    pub(crate) fn mappings(&self) -> usize {
        self.access_lists.len() + self.credential_lists.len() + self.registrations.len()
    }

    pub(crate) fn wants_userhash(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.userhash)
    }

    /// What the challenges of this target offer, in one number: it is bound into every nonce, so
    /// that a nonce issued under one offer is not good under another.
    pub(crate) fn offer_code(policy: &Policy) -> u32 {
        // no algorithm's digit is zero and the first is 4 or more, so no two offers have one code
        let qop = match policy.qop {
            QopOffer::Auth => 4,
            QopOffer::AuthInt => 5,
            QopOffer::Both => 6,
        };
        policy.algorithms.iter().fold(qop, |code, algorithm| (code << 3) | (algorithm as u32 + 1))
    }
}

/// An IP access control list. An entry's number in the table is its place in `entries`.
#[derive(Clone)]
pub(crate) struct AccessList {
    pub(crate) account: AccountSid,
    pub(crate) mappings: usize,
    /// In the order of the SIDs, so that equal contents make equal tables.
    entries: Vec<(IpAddressSid, Prefix)>,
    /// Entries put, and taken out, since `entries` and `table` were made.
    changes: BTreeMap<IpAddressSid, Option<Prefix>>,
    /// How many entries there are, changes counted.
    len: usize,
    table: PrefixTable,
}

impl AccessList {
    pub(crate) fn new(account: AccountSid) -> Self {
        Self {
            account,
            mappings: 0,
            entries: Vec::new(),
            changes: BTreeMap::new(),
            len: 0,
            table: PrefixTable::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The most specific entry that admits `source`.
    pub(crate) fn admits(&self, source: std::net::IpAddr) -> Option<IpAddressSid> {
        let number = self.table.longest(source)?;
        self.entries.get(number).map(|(sid, _)| *sid)
    }

    pub(crate) fn prefix(&self, sid: IpAddressSid) -> Option<Prefix> {
        let at = self.entries.binary_search_by_key(&sid, |(sid, _)| *sid).ok()?;
        self.entries.get(at).map(|(_, prefix)| *prefix)
    }

    /// Puts an entry, which counts once [`Self::rebuild`] has been called.
    pub(crate) fn put(&mut self, sid: IpAddressSid, prefix: Prefix) {
        self.change(sid, Some(prefix));
    }

    /// Takes an entry out, which counts once [`Self::rebuild`] has been called.
    pub(crate) fn remove(&mut self, sid: IpAddressSid) {
        self.change(sid, None);
    }

    fn change(&mut self, sid: IpAddressSid, entry: Option<Prefix>) {
        let was = match self.changes.get(&sid) {
            Some(change) => change.is_some(),
            None => self.entries.binary_search_by_key(&sid, |(sid, _)| *sid).is_ok(),
        };
        self.len = (self.len + usize::from(entry.is_some())).saturating_sub(usize::from(was));
        self.changes.insert(sid, entry);
    }

    /// Brings entries and table up to date: all changes at once, as one by one they would move the
    /// rest of a long list each time.
    pub(crate) fn rebuild(&mut self) -> Result<(), TooManyPrefixes> {
        let changes = std::mem::take(&mut self.changes);
        self.entries.retain(|(sid, _)| !changes.contains_key(sid));
        self.entries.extend(changes.into_iter().filter_map(|(sid, entry)| Some((sid, entry?))));
        // two sorted runs, which a stable sort merges
        self.entries.sort_by_key(|(sid, _)| *sid);
        self.table = PrefixTable::build(self.entries.iter().map(|(_, prefix)| *prefix))?;
        Ok(())
    }
}

/// One user of a list. Its `Ha1Set` has no `Debug`, so neither has this.
pub(crate) struct CredentialEntry {
    pub(crate) sid: CredentialSid,
    pub(crate) list: CredentialListSid,
    pub(crate) username: UserName,
    pub(crate) ha1: Ha1Set,
    pub(crate) disabled: bool,
    /// A deployment role.
    pub(crate) role: Option<RoleSid>,
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
    fn of(near: Option<(&'a Arc<CredentialEntry>, bool)>) -> Self {
        let at_hand = near.map(|(entry, _)| &**entry);
        Self { found: at_hand.filter(|_| near.is_some_and(|(_, is_hit)| is_hit)), at_hand }
    }
}

/// A hashed user name (RFC 7616 §3.4.4): which function, and its output in lower-case hexadecimal.
type Userhash = (HashFunction, arrayvec::ArrayString<64>);

/// A credential list.
#[derive(Clone)]
pub(crate) struct CredentialList {
    pub(crate) account: AccountSid,
    pub(crate) realm: Realm,
    pub(crate) mappings: usize,
    users: Map<UserName, Arc<CredentialEntry>>,
    /// How many targets that this list is mapped to admit hashed user names; the index below stands
    /// while there is one.
    userhash_wanted: usize,
    by_userhash: Map<Userhash, Arc<CredentialEntry>>,
    /// How many enabled users have no hash, for each of `HashFunction::ALL`.
    lacking: [usize; 3],
}

impl CredentialList {
    pub(crate) fn new(account: AccountSid, realm: Realm) -> Self {
        Self {
            account,
            realm,
            mappings: 0,
            users: Map::default(),
            userhash_wanted: 0,
            by_userhash: Map::default(),
            lacking: [0; 3],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// The user of this name, disabled or not.
    pub(crate) fn user(&self, username: &str) -> Option<&CredentialEntry> {
        self.users.get(username).map(|entry| &**entry)
    }

    /// The user of this name, or one to be busy with instead.
    pub(crate) fn look_up(&self, username: &str) -> LookUp<'_> {
        LookUp::of(self.users.get_or_near(username))
    }

    /// The user whose name hashes to `hash`, or one to be busy with instead.
    pub(crate) fn look_up_hash(
        &self,
        function: HashFunction,
        hash: arrayvec::ArrayString<64>,
    ) -> LookUp<'_> {
        LookUp::of(self.by_userhash.get_or_near(&(function, hash)))
    }

    /// How many enabled users have no hash for `function`.
    pub(crate) fn lacking(&self, function: HashFunction) -> usize {
        self.users_lacking(function).copied().unwrap_or_default()
    }

    pub(crate) fn put(&mut self, entry: &Arc<CredentialEntry>) {
        self.remove(&entry.username);
        self.count_lacking(entry, 1);
        if self.userhash_wanted > 0 {
            self.index(entry);
        }
        self.users.insert(entry.username.clone(), Arc::clone(entry));
    }

    pub(crate) fn remove(&mut self, username: &UserName) {
        let Some(entry) = self.users.remove(username.as_str()) else { return };
        self.count_lacking(&entry, -1);
        if self.userhash_wanted > 0 {
            for function in HashFunction::ALL {
                let hash = userhash(function, entry.username.as_str(), self.realm.as_str());
                self.by_userhash.remove(&(function, hash));
            }
        }
    }

    /// One more target, or one less, that this list is mapped to admits hashed user names.
    pub(crate) fn want_userhash(&mut self, wanted: bool) {
        match (self.userhash_wanted, wanted) {
            (0, true) => {
                let users: Vec<_> = self.users.values().cloned().collect();
                users.iter().for_each(|entry| self.index(entry));
                self.userhash_wanted = 1;
            }
            (_, true) => self.userhash_wanted += 1,
            (0 | 1, false) => {
                self.userhash_wanted = 0;
                self.by_userhash = Map::default();
            }
            (_, false) => self.userhash_wanted -= 1,
        }
    }

    fn index(&mut self, entry: &Arc<CredentialEntry>) {
        for function in HashFunction::ALL {
            let hash = userhash(function, entry.username.as_str(), self.realm.as_str());
            self.by_userhash.insert((function, hash), Arc::clone(entry));
        }
    }

    fn users_lacking(&self, function: HashFunction) -> Option<&usize> {
        self.lacking.get(function as usize)
    }

    fn count_lacking(&mut self, entry: &CredentialEntry, by: isize) {
        for (function, count) in HashFunction::ALL.into_iter().zip(&mut self.lacking) {
            if !entry.disabled && !entry.ha1.has(function) {
                *count = count.saturating_add_signed(by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::digest::Algorithm;
    use crate::model::AlgorithmOffer;

    /// Every offer: each order of each choice of algorithms.
    fn offers(chosen: &mut Vec<Algorithm>, all: &mut Vec<AlgorithmOffer>) {
        for algorithm in Algorithm::ALL {
            if !chosen.contains(&algorithm) {
                chosen.push(algorithm);
                all.push(AlgorithmOffer::new(chosen.iter().copied()).unwrap());
                offers(chosen, all);
                chosen.pop();
            }
        }
    }

    #[test]
    fn no_two_offers_have_one_code() {
        let mut all = Vec::new();
        offers(&mut Vec::new(), &mut all);
        let mut codes = HashSet::new();
        for algorithms in &all {
            for qop in [QopOffer::Auth, QopOffer::AuthInt, QopOffer::Both] {
                let policy = Policy { algorithms: algorithms.clone(), qop, ..Policy::default() };
                codes.insert(TargetEntry::offer_code(&policy));
            }
        }
        assert_eq!((all.len(), codes.len()), (1_956, 3 * 1_956));
    }
}
