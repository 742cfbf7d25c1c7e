//! Checks a commit against the rules.
//!
//! The rules are defined once, in the model, and a snapshot applies them. This module reads the records
//! that a commit touches and all records that they refer to. It builds a small snapshot of them and
//! applies the commit to it.

use std::collections::BTreeMap;

use super::view::View;
use super::{DirectoryError, Kind, copies};
use sip_authz::model::{Commit, Key, Record, Vocabulary, Write};
use sip_authz::{ApplyError, Snapshot};
use sip_authz_store::{Collection, ListKey, lookup, references};

/// Fails if `commit` breaks a rule, given the current records of the store.
pub(super) fn check(
    view: View<'_>,
    vocabulary: &'static Vocabulary,
    commit: &Commit,
) -> Result<(), DirectoryError> {
    check_rules(view, vocabulary, commit)??;
    Ok(())
}

/// As [`check`]. The inner error is that of a write that breaks a rule.
pub(super) fn check_rules(
    view: View<'_>,
    vocabulary: &'static Vocabulary,
    commit: &Commit,
) -> Result<Result<(), ApplyError>, DirectoryError> {
    let (mut read, mut wanted) = (Vec::new(), Vec::new());
    for write in commit.writes() {
        wanted.push(write.key());
        match write {
            Write::Put(record) => {
                wanted.extend(references(record));
                if let Some(name) = lookup(record) {
                    read.extend(view.records.find(&name).cloned());
                }
                if let Record::Mapping(record) = record {
                    // the lists of a target must share one realm
                    let others = Collection::Mappings(record.mapping.target());
                    read.extend(view.members(others).cloned());
                }
            }
            Write::Delete(Key::Account(_)) => {
                let message = "accounts cannot be deleted, only closed";
                return Err(DirectoryError::invalid(Kind::Account, message));
            }
            Write::Delete(key) => {
                for collection in users(key) {
                    read.extend(view.members(collection).cloned());
                }
                if let Key::Target(target) = key {
                    wanted.push(Key::Policy(*target));
                }
            }
        }
    }
    let mut records = BTreeMap::new();
    add(view, &mut records, read, wanted);
    let copies = copies::read(view, commit, &records);
    add(view, &mut records, copies, Vec::new());
    let before = snapshot(records, vocabulary)?;
    let after = before.apply(commit);
    Ok(after.and_then(|after| {
        let broken = after.check_copies(&before, commit).into_iter().next();
        broken.map_or(Ok(()), Err)
    }))
}

/// The snapshot of the records with these keys and of all that they refer to.
pub(super) fn snapshot_of(
    view: View<'_>,
    vocabulary: &'static Vocabulary,
    wanted: Vec<Key>,
) -> Result<Snapshot, DirectoryError> {
    let mut records = BTreeMap::new();
    add(view, &mut records, Vec::new(), wanted);
    snapshot(records, vocabulary)
}

fn snapshot(
    records: BTreeMap<Key, Record>,
    vocabulary: &'static Vocabulary,
) -> Result<Snapshot, DirectoryError> {
    let builder = Snapshot::builder().vocabulary(vocabulary);
    let builder = records.into_values().fold(builder, |builder, record| builder.record(record));
    builder.build().map_err(DirectoryError::Corrupt)
}

/// Adds the records that were read, those with the `wanted` keys, and all that they refer to.
fn add(
    view: View<'_>,
    records: &mut BTreeMap<Key, Record>,
    read: Vec<Record>,
    mut wanted: Vec<Key>,
) {
    for record in read {
        wanted.extend(references(&record));
        records.insert(record.key(), record);
    }
    while let Some(key) = wanted.pop() {
        if records.contains_key(&key) {
            continue;
        }
        if let Some(record) = view.records.get(key) {
            wanted.extend(references(record));
            records.insert(key, record.clone());
        }
    }
}

/// The collections whose members forbid the deletion of the record with this key.
fn users(key: &Key) -> Vec<Collection> {
    match *key {
        Key::IpAccessControlList(sid) => vec![
            Collection::IpAddresses(sid),
            Collection::MappingsOf(ListKey::IpAccessControlList(sid)),
        ],
        Key::CredentialList(sid) => {
            vec![Collection::Credentials(sid), Collection::MappingsOf(ListKey::CredentialList(sid))]
        }
        Key::Target(target) => vec![Collection::Mappings(target)],
        Key::Role(sid) => vec![Collection::CarriersOf(sid)],
        // an account is never deleted
        Key::Account(_)
        | Key::IpAddress(_)
        | Key::Credential(_)
        | Key::Policy(_)
        | Key::Mapping(_) => vec![],
    }
}
