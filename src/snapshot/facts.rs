//! Lists the contents of a snapshot by SID, so that two snapshots compare equal whatever their
//! slots. For tests and fuzzing; scans everything.

use std::collections::BTreeMap;

use super::Snapshot;
use crate::digest::{HashFunction, userhash};

impl Snapshot {
    /// One sorted line for each record and its counters. Every lookup uses the same path as a
    /// decision.
    pub(crate) fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        for account in self.accounts.values() {
            facts.push(format!("{} {:?} owns {}", account.sid, account.status, account.owned));
        }
        for role in self.roles.values() {
            let names: Vec<_> = role.permissions.iter().collect();
            facts.push(format!(
                "{} of {} in {}: {:?} {names:?}, {} uses",
                role.sid, role.account, role.service, role.kind, role.uses
            ));
        }
        for list in self.access_lists.values() {
            let (sid, account) = (list.sid, list.account);
            facts.push(format!("{sid} of {account}: {}, {} mappings", list.len(), list.mappings));
        }
        for address in self.addresses.values() {
            let (sid, prefix) = (address.sid, address.prefix);
            let list = self.access_lists.at(address.list);
            let is_compiled = list.is_some_and(|list| list.has(sid, prefix));
            let list = list.map(|list| list.sid);
            facts.push(format!("{sid} in {list:?}: {prefix}, compiled {is_compiled}"));
        }
        let mut scanned = BTreeMap::new();
        for list in self.users.lists.values() {
            *scanned.entry(&list.realm).or_insert(0) += 1;
        }
        let counted: BTreeMap<_, _> = self.realms.counts().collect();
        assert_eq!(counted, scanned, "the number of lists with each realm");
        for (realm, lists) in counted {
            let own = self.is_own_realm(realm.as_str());
            facts.push(format!("realm {realm}: {lists} lists, own {own}"));
        }
        self.user_facts(&mut facts);
        self.target_facts(&mut facts);
        facts.extend(self.warnings().iter().map(ToString::to_string));
        facts.sort_unstable();
        facts
    }

    fn user_facts(&self, facts: &mut Vec<String>) {
        for list in self.users.lists.values() {
            let Some(slot) = self.users.lists.slot(&list.sid) else { continue };
            let lacking = HashFunction::ALL.map(|function| list.lacking(function));
            facts.push(format!(
                "{} of {}, realm {}: {} mappings, {} users, {lacking:?} without hashes",
                list.sid,
                list.account,
                list.realm,
                list.mappings,
                list.len()
            ));
            for (place, user) in self.users.members(slot).enumerate() {
                let name = user.username.as_str();
                let found = self.look_up(slot, name).hit.map(|user| user.sid);
                let by_hash = HashFunction::ALL.map(|function| {
                    let hash = userhash(function, name, list.realm.as_str());
                    self.look_up_hash(slot, function, hash).hit.map(|user| user.sid)
                });
                let role = user.role.and_then(|role| self.roles.at(role)).map(|role| role.sid);
                let disabled = user.disabled;
                assert!(place < list.len(), "more users than were counted");
                facts.push(format!(
                    "{} {name} in {}, disabled {disabled}, {role:?}: {found:?}, {by_hash:?}",
                    user.sid, list.sid
                ));
            }
        }
        facts.push(format!("{} users", self.users.len()));
    }

    fn target_facts(&self, facts: &mut Vec<String>) {
        for entry in self.targets.values() {
            let name = entry.name.as_ref().map(|name| name.as_str());
            let named = name.and_then(|name| self.named_entry(name)).map(|entry| entry.target);
            let access = entry.access_lists.iter().map(|list| self.access_lists.at(*list));
            let access: Vec<_> = access.map(|list| list.map(|list| list.sid)).collect();
            let sid = |list| self.credential_list_entry(list).map(|list| list.sid);
            let role = |role| self.roles.at(role).map(|role| role.sid);
            let calls = entry.credential_lists.iter();
            let calls: Vec<_> =
                calls.map(|mapped| (sid(mapped.list), mapped.role.map(role))).collect();
            let registrations = entry.registrations.iter();
            let registrations: Vec<_> = registrations.map(|mapped| sid(mapped.list)).collect();
            let account = self.account_entry(entry.account).map(|account| account.sid);
            facts.push(format!(
                "{} of {account:?}, {name:?} names {named:?}, secure {}, registers {}, {:?}, {:?}, \
                 {:?}: {access:?} {calls:?} {registrations:?}",
                entry.target,
                entry.secure,
                entry.registers,
                entry.on_accept,
                entry.has_policy().then(|| entry.policy()),
                entry.realm
            ));
        }
        facts.push(format!("{} targets", self.targets.len()));
    }
}
