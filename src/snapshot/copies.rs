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
    if !can_break(entry) {
        return 0;
    }
    let mut copies = HashMap::<&[u8], usize>::new();
    for mapped in entry.credential_lists.iter() {
        for user in snapshot.users.members(mapped.list) {
            *copies.entry(user.username.as_bytes()).or_default() += 1;
        }
    }
    copies.into_values().filter(|count| *count > MAX_COPIES).count()
}

/// An error for each new user and mapping of `commit` with a name beyond the bound in `after`.
pub(super) fn check(after: &Snapshot, before: &Snapshot, commit: &Commit) -> Vec<ApplyError> {
    let mut of_list = HashMap::<Slot<CredentialList>, Vec<&TargetEntry>>::new();
    for entry in after.targets.values().filter(|entry| can_break(entry)) {
        for MappedList { list, .. } in entry.credential_lists.iter() {
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
                let Mapping::CredentialList(target, list) = record.mapping else { continue };
                let Some(list) = after.users.lists.slot(&list) else { continue };
                let Some(entry) = after.targets.get(target).filter(|it| can_break(it)) else {
                    continue;
                };
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

/// Whether the target has so many lists that they can hold a name too often.
fn can_break(entry: &TargetEntry) -> bool {
    entry.credential_lists.len() > MAX_COPIES
}

fn error(snapshot: &Snapshot, entry: &TargetEntry, username: &UserName) -> Option<RuleError> {
    let holds =
        |mapped: &&MappedList| snapshot.look_up(mapped.list, username.as_str()).hit.is_some();
    let lists = entry.credential_lists.iter().filter(holds);
    let lists: Vec<_> = lists
        .filter_map(|mapped| snapshot.credential_list_entry(mapped.list))
        .map(|list| list.sid)
        .collect();
    (lists.len() > MAX_COPIES).then(|| RuleError::TooManyCopies {
        username: username.clone(),
        target: entry.target,
        lists,
    })
}
