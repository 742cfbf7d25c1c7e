//! The domains and trunks, by SID and by name.

use siphasher::sip::SipHasher13;

use super::entry::TargetEntry;
use super::index::{Index, fold, random_key};
use super::table::{Slot, Table};
use crate::model::{DomainName, Target};

/// The domains and trunks of a snapshot.
#[derive(Clone)]
pub(crate) struct Targets {
    entries: Table<TargetEntry>,
    by_name: Index,
    name_key: SipHasher13,
}

/// A host, hashed for one snapshot and those made from it. What is done by a key that another gave
/// finds nothing, and nothing worse.
#[derive(Clone, Copy)]
pub(crate) struct HostKey(u32);

impl Default for Targets {
    fn default() -> Self {
        let (entries, by_name) = (Table::default(), Index::default());
        Self { entries, by_name, name_key: random_key() }
    }
}

impl Targets {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, target: Target) -> Option<&TargetEntry> {
        self.entries.get(&target)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &TargetEntry> {
        self.entries.values()
    }

    #[inline]
    pub(crate) fn key(&self, host: &str) -> HostKey {
        HostKey(fold(self.name_key.hash(host.as_bytes())))
    }

    /// What `host` names.
    #[inline]
    pub(crate) fn named(&self, key: HostKey, host: &str) -> Option<&TargetEntry> {
        self.by_name.find(key.0, |number| {
            let entry = self.entries.at(Slot::new(number)?)?;
            entry.name.as_ref().is_some_and(|name| name.is(host)).then_some(entry)
        })
    }

    /// Has the index read where `key` leads, so that it is in the cache when it is searched: one step
    /// of reading ahead for many hosts at once. The outcome is for [`Self::touch`].
    #[inline]
    pub(crate) fn read_ahead(&self, key: HostKey) -> Option<Slot<TargetEntry>> {
        Slot::new(self.by_name.touch(key.0)?)
    }

    /// The second step: has the entry itself read. The outcome means nothing; it is to be used in
    /// some way, so that the reading is not left out.
    #[inline]
    pub(crate) fn touch(&self, slot: Slot<TargetEntry>) -> bool {
        self.entries.at(slot).is_some_and(|entry| entry.secure && entry.name.is_some())
    }

    /// Puts a target in that is not there yet.
    pub(super) fn add(&mut self, entry: TargetEntry) {
        debug_assert!(entry.name.is_none(), "a name is set by `rename`");
        self.entries.put(entry);
    }

    /// Gives a target another name, or none.
    pub(super) fn rename(&mut self, target: Target, name: Option<DomainName>) {
        let Some(slot) = self.entries.slot(&target) else { return };
        let new = name.as_ref().map(|name| self.key(name.as_str()));
        let old = self.entries.change(slot, |entry| std::mem::replace(&mut entry.name, name));
        if let Some(old) = old.flatten() {
            self.by_name.remove(self.key(old.as_str()).0, slot.number());
        }
        if let Some(new) = new {
            self.by_name.insert(new.0, slot.number());
        }
    }

    /// Changes all of a target but its name and SID.
    pub(super) fn change<R>(
        &mut self,
        target: Target,
        change: impl FnOnce(&mut TargetEntry) -> R,
    ) -> Option<R> {
        self.entries.change(self.entries.slot(&target)?, change)
    }

    pub(super) fn remove(&mut self, target: Target) -> Option<TargetEntry> {
        self.rename(target, None);
        self.entries.remove(&target)
    }
}
