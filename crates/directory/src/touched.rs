//! Warnings about the domains and trunks that merges touch.

use std::collections::BTreeSet;

use super::DirectoryError;
use super::check::snapshot_of;
use super::view::View;
use sip_authz::model::{Commit, Key, Mapping, Record, Target, Vocabulary, Write};
use sip_authz::{CredentialListSid, Warning};
use sip_authz_store::{Collection, ListKey};

/// The most domains, trunks and lists that are noted.
const MAX_NOTED: usize = 100_000;
/// The number of users beyond which no target is added to a snapshot that looks for warnings.
const USERS_AT_ONCE: usize = 50_000;

/// The changes of merges that [warnings](super::Directory::warnings) depend on. It holds at most
/// 100,000 domains, trunks and lists, about 5 MB.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// The domains and trunks with a changed policy or mapping.
    targets: BTreeSet<Target>,
    /// The lists with a changed user.
    lists: BTreeSet<CredentialListSid>,
    is_full: bool,
}

impl Touched {
    /// The changes of this commit.
    pub(super) fn by(commit: &Commit) -> Self {
        let mut touched = Self::default();
        for write in commit.writes() {
            match write {
                Write::Put(Record::Credential(user)) => touched.add_list(user.list),
                Write::Put(Record::Policy(record)) => touched.add_target(record.target),
                Write::Put(Record::Mapping(record)) => touched.add_target(record.mapping.target()),
                Write::Put(_) | Write::Delete(_) => {}
            }
        }
        touched
    }

    pub(super) fn extend(&mut self, other: Self) {
        other.targets.into_iter().for_each(|target| self.add_target(target));
        other.lists.into_iter().for_each(|list| self.add_list(list));
        self.is_full |= other.is_full;
    }

    /// Whether more was changed than is noted, so that warnings can be missing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.lists.is_empty()
    }

    fn add_target(&mut self, target: Target) {
        if self.has_room() {
            self.targets.insert(target);
        }
    }

    fn add_list(&mut self, list: CredentialListSid) {
        if self.has_room() {
            self.lists.insert(list);
        }
    }

    fn has_room(&mut self) -> bool {
        self.is_full |= self.targets.len() + self.lists.len() >= MAX_NOTED;
        !self.is_full
    }
}

/// The warnings about the touched targets, given the records after the merge. They depend on all users of a
/// target, so each snapshot has whole targets.
pub(super) fn warnings(
    view: View<'_>,
    vocabulary: &'static Vocabulary,
    touched: &Touched,
) -> Result<Vec<Warning>, DirectoryError> {
    let mut targets = touched.targets.clone();
    for list in &touched.lists {
        for key in view.keys(Collection::MappingsOf(ListKey::CredentialList(*list))) {
            if let Key::Mapping(Mapping::CredentialList(target, _)) = key {
                targets.insert(target);
            }
        }
    }
    let mut warnings = Vec::new();
    let (mut wanted, mut lists, mut users) = (Vec::new(), BTreeSet::new(), 0);
    for target in targets {
        wanted.push(Key::Policy(target));
        // a policy can be absent
        wanted.push(Key::Target(target));
        for key in view.keys(Collection::Mappings(target)) {
            wanted.push(key);
            if let Key::Mapping(Mapping::CredentialList(_, list)) = key
                && lists.insert(list)
            {
                let of_list = Collection::Credentials(list);
                users += view.records.count(of_list);
                wanted.extend(view.keys(of_list));
            }
        }
        if users >= USERS_AT_ONCE {
            let wanted = std::mem::take(&mut wanted);
            warnings.extend(snapshot_of(view, vocabulary, wanted)?.warnings());
            lists.clear();
            users = 0;
        }
    }
    warnings.extend(snapshot_of(view, vocabulary, wanted)?.warnings());
    Ok(warnings)
}
