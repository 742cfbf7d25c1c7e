//! The realms of all credential lists, counted, so that one is found without a scan of the lists.

use std::hash::{Hash as _, Hasher as _};

use super::index::fold;
use super::table::{Entry, Table};
use crate::model::Realm;

/// A realm and the number of credential lists that have it.
#[derive(Clone)]
struct RealmEntry {
    realm: Realm,
    lists: usize,
}

impl Entry for RealmEntry {
    type Key = Realm;

    fn key(&self) -> Realm {
        self.realm.clone()
    }
}

/// The realms of the credential lists of a snapshot, each once.
#[derive(Clone, Default)]
pub(super) struct Realms(Table<RealmEntry>);

impl Realms {
    /// Counts a new list with this realm.
    pub(super) fn add(&mut self, realm: &Realm) {
        if let Some(slot) = self.0.slot(realm) {
            self.0.change(slot, |entry| entry.lists += 1);
        } else {
            self.0.put(RealmEntry { realm: realm.clone(), lists: 1 });
        }
    }

    /// Counts a list with this realm as gone.
    pub(super) fn remove(&mut self, realm: &Realm) {
        let Some(slot) = self.0.slot(realm) else { return };
        let left = self.0.change(slot, |entry| {
            entry.lists = entry.lists.saturating_sub(1);
            entry.lists
        });
        if left == Some(0) {
            self.0.remove(realm);
        }
    }

    /// Whether a list has this realm.
    pub(super) fn has(&self, realm: &str) -> bool {
        // a `Realm` is hashed as its text, so that no `Realm` has to be made
        let (index, mut hasher) = self.0.index();
        realm.hash(&mut hasher);
        let is_it = |number| {
            let entry = self.0.numbered(number)?;
            (entry.realm.as_str() == realm).then_some(())
        };
        index.find(fold(hasher.finish()), is_it).is_some()
    }

    /// The realms and their numbers of lists, in no order.
    #[cfg(feature = "unstable-internals")]
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Realm, usize)> {
        self.0.values().map(|entry| (&entry.realm, entry.lists))
    }
}
