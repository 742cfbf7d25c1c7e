//! User names that several credential lists of one target hold.

use std::collections::{HashMap, HashSet};

use super::entry::TargetEntry;
use super::users::MappedList;
use super::{ApplyError, Slot, Snapshot};
use crate::model::rules::{MAX_COPIES, RuleError, View};
use crate::model::{Commit, Key, Mapping, Record, UserName, Write};
use crate::snapshot::CredentialList;

/// The number of user names that more than [`MAX_COPIES`] lists of the target hold.
pub(super) fn names_beyond(snapshot: &Snapshot, entry: &TargetEntry) -> usize {
    let mut beyond = HashSet::<&[u8]>::new();
    for lists in sets(entry) {
        let mut copies = HashMap::<&[u8], usize>::new();
        for user in lists.iter().flat_map(|mapped| snapshot.users.members(mapped.list)) {
            *copies.entry(user.username.as_bytes()).or_default() += 1;
        }
        let over = copies.into_iter().filter(|(_, count)| *count > MAX_COPIES);
        beyond.extend(over.map(|(name, _)| name));
    }
    beyond.len()
}

/// An error for each new user and mapping of `commit` with a name beyond the bound in `after`.
pub(super) fn check(after: &Snapshot, before: &Snapshot, commit: &Commit) -> Vec<ApplyError> {
    let mut of_list = HashMap::<Slot<CredentialList>, Vec<&TargetEntry>>::new();
    for entry in after.targets.values() {
        for MappedList { list, .. } in sets(entry).flatten() {
            of_list.entry(*list).or_default().push(entry);
        }
    }
    let (mut errors, mut seen) = (Vec::new(), HashSet::new());
    if of_list.is_empty() {
        return errors;
    }
    let mut look = |key, entry: &TargetEntry, username: &UserName| {
        // a name is reported once for each target
        if !seen.insert((entry.target, username.clone())) {
            return;
        }
        errors.extend(error(after, entry, username).map(|error| ApplyError::Rule { key, error }));
    };
    // from the end: of several new copies, the last breaks the rule
    for write in commit.writes().iter().rev() {
        match write {
            Write::Put(Record::Credential(user)) if before.users.get(user.sid).is_none() => {
                let Some(list) = after.users.lists.slot(&user.list) else { continue };
                for entry in of_list.get(&list).into_iter().flatten() {
                    look(Key::Credential(user.sid), entry, &user.username);
                }
            }
            Write::Put(Record::Mapping(record)) if !before.mapping(record.mapping) => {
                let (Mapping::CredentialList(_, list) | Mapping::Registration(_, list)) =
                    record.mapping
                else {
                    continue;
                };
                let Some(list) = after.users.lists.slot(&list) else { continue };
                let Some(entry) = after.targets.get(record.mapping.target()) else { continue };
                if sets(entry).next().is_none() {
                    continue;
                }
                for user in after.users.members(list) {
                    look(Key::Mapping(record.mapping), entry, &user.username);
                }
            }
            Write::Put(_) | Write::Delete(_) => {}
        }
    }
    errors.reverse();
    errors
}

/// The sets of mapped lists, for calls and for registrations, that have so many lists that they can
/// hold a name too often.
fn sets(entry: &TargetEntry) -> impl Iterator<Item = &[MappedList]> {
    let sets: [&[MappedList]; 2] = [&entry.credential_lists, &entry.registrations];
    sets.into_iter().filter(|lists| lists.len() > MAX_COPIES)
}

fn error(snapshot: &Snapshot, entry: &TargetEntry, username: &UserName) -> Option<RuleError> {
    let holds =
        |mapped: &&MappedList| snapshot.look_up(mapped.list, username.as_str()).hit.is_some();
    let of_set = |set: &[MappedList]| {
        let lists = set.iter().filter(holds);
        let lists = lists.filter_map(|mapped| snapshot.credential_list_entry(mapped.list));
        lists.map(|list| list.sid).collect::<Vec<_>>()
    };
    let lists = sets(entry).map(of_set).find(|lists| lists.len() > MAX_COPIES)?;
    Some(RuleError::TooManyCopies { username: username.clone(), target: entry.target, lists })
}
