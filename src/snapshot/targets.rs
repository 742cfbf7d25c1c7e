//! Domains and trunks, by SID and by host name.

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

/// The hash of a host, valid for one snapshot and its descendants. With another snapshot's key a
/// lookup finds nothing.
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

    pub(crate) fn get(&self, target: Target) -> Option<&TargetEntry> {
        self.entries.get(&target)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &TargetEntry> {
        self.entries.values()
    }

    #[inline]
    pub(crate) fn key(&self, host: &str) -> HostKey {
        HostKey(fold(self.name_key.hash(host.as_bytes())))
    }

    /// The target with the host name `host`.
    #[inline]
    pub(crate) fn named(&self, key: HostKey, host: &str) -> Option<&TargetEntry> {
        self.by_name.find(key.0, |number| {
            let entry = self.entries.at(Slot::new(number)?)?;
            entry.name.as_ref().is_some_and(|name| name.is(host)).then_some(entry)
        })
    }

    /// Stage one of a batched lookup: prefetches the index cell of `key`. Pass the result to
    /// [`Self::prefetch_entry`].
    #[inline]
    pub(crate) fn prefetch(&self, key: HostKey) -> Option<Slot<TargetEntry>> {
        Slot::new(self.by_name.prefetch(key.0)?)
    }

    /// Stage two: prefetches the entry. The result has no meaning, but the caller must use it
    /// (`black_box`), or the compiler removes the read.
    #[inline]
    pub(crate) fn prefetch_entry(&self, slot: Slot<TargetEntry>) -> bool {
        self.entries.at(slot).is_some_and(|entry| entry.secure && entry.name.is_some())
    }

    /// Adds a target. The SID must be new.
    pub(super) fn add(&mut self, entry: TargetEntry) {
        debug_assert!(entry.name.is_none(), "a name is set by `rename`");
        self.entries.put(entry);
    }

    /// Sets or clears the name of a target.
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

    /// Changes fields of a target other than its name and SID.
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
