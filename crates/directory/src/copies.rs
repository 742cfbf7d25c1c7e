//! Reads the records that show whether a commit puts a user name into too many lists of a target.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::view::View;
use sip_authz::model::rules::MAX_COPIES;
use sip_authz::model::{Commit, Key, Mapping, Record, Target, UserName, Write};
use sip_authz::{CredentialListSid, DomainSid};
use sip_authz_store::{Collection, ListKey, Lookup};

/// A lookup of a user reads about as much as this many records of a collection.
const RECORDS_OF_A_LOOKUP: usize = 10;

/// A set of mapped lists in which a name may occur a few times only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Set {
    Calls(Target),
    Registrations(DomainSid),
}

impl Set {
    /// The set of a mapping and its credential list.
    fn of(mapping: Mapping) -> Option<(Self, CredentialListSid)> {
        match mapping {
            Mapping::IpAccessControlList(..) => None,
            Mapping::CredentialList(target, list) => Some((Self::Calls(target), list)),
            Mapping::Registration(domain, list) => Some((Self::Registrations(domain), list)),
        }
    }

    fn mapping(self, list: CredentialListSid) -> Mapping {
        match self {
            Self::Calls(target) => Mapping::CredentialList(target, list),
            Self::Registrations(domain) => Mapping::Registration(domain, list),
        }
    }

    fn target(self) -> Target {
        match self {
            Self::Calls(target) => target,
            Self::Registrations(domain) => domain.into(),
        }
    }
}

/// The lists and names that a commit adds to a set.
#[derive(Default)]
struct Added {
    /// The lists that it maps.
    lists: BTreeSet<CredentialListSid>,
    /// The users that it writes to mapped lists.
    names: HashSet<UserName>,
}

/// The mappings of all targets where `commit` can break the bound, and the users of their lists that
/// have a name which it adds there. `known` has those records of the store that the commit writes, which
/// add nothing if they are updated, and all mappings of each target with a mapping that it writes.
pub(super) fn read(view: View<'_>, commit: &Commit, known: &BTreeMap<Key, Record>) -> Vec<Record> {
    let mut added = BTreeMap::<Set, Added>::new();
    let mut written = BTreeMap::<CredentialListSid, Vec<&UserName>>::new();
    for write in commit.writes() {
        match write {
            Write::Put(record) if known.contains_key(&record.key()) => {}
            Write::Put(Record::Credential(user)) => {
                written.entry(user.list).or_default().push(&user.username);
            }
            Write::Put(Record::Mapping(record)) => {
                if let Some((set, list)) = Set::of(record.mapping) {
                    added.entry(set).or_default().lists.insert(list);
                }
            }
            Write::Put(_) | Write::Delete(_) => {}
        }
    }
    let mut records = Vec::new();
    for (list, names) in &written {
        let mappings = Collection::MappingsOf(ListKey::CredentialList(*list));
        for set in lists_by_set(view.members(mappings)).into_keys() {
            let names = names.iter().map(|name| (*name).clone());
            added.entry(set).or_default().names.extend(names);
        }
    }
    for (set, Added { lists: new, mut names }) in added {
        let target = set.target();
        let mappings: Vec<_> = if new.is_empty() {
            view.members(Collection::Mappings(target)).cloned().collect()
        } else {
            let of_target = |record: &&Record| matches!(record, Record::Mapping(it) if it.mapping.target() == target);
            known.values().filter(of_target).cloned().collect()
        };
        let mut lists = lists_by_set(&mappings).remove(&set).unwrap_or_default();
        lists.retain(|list| {
            !commit.writes().contains(&Write::Delete(Key::Mapping(set.mapping(*list))))
        });
        let new: Vec<_> = new.into_iter().filter(|list| lists.insert(*list)).collect();
        // fewer lists hold no name too often
        if lists.len() <= MAX_COPIES {
            continue;
        }
        records.extend(mappings);
        for list in &new {
            let users = view.members(Collection::Credentials(*list)).cloned().collect::<Vec<_>>();
            names.extend(users.iter().filter_map(username).cloned());
            names.extend(written.get(list).into_iter().flatten().map(|name| (*name).clone()));
            records.extend(users);
        }
        for list in lists.into_iter().filter(|list| !new.contains(list)) {
            records.extend(users(view, list, &names));
        }
    }
    records
}

/// The users of a list that have one of `names`.
fn users(view: View<'_>, list: CredentialListSid, names: &HashSet<UserName>) -> Vec<Record> {
    if names.is_empty() {
        return Vec::new();
    }
    let collection = Collection::Credentials(list);
    if names.len() > 1
        && names.len().saturating_mul(RECORDS_OF_A_LOOKUP) >= view.records.count(collection)
    {
        let is_named = |user: &&Record| username(user).is_some_and(|name| names.contains(name));
        return view.members(collection).filter(is_named).cloned().collect();
    }
    let mut users = Vec::new();
    for name in names {
        users.extend(view.records.find(&Lookup::User(list, name.clone())).cloned());
    }
    users
}

fn username(record: &Record) -> Option<&UserName> {
    match record {
        Record::Credential(user) => Some(&user.username),
        _ => None,
    }
}

/// The credential lists of the mappings, by set.
fn lists_by_set<'r>(
    mappings: impl IntoIterator<Item = &'r Record>,
) -> BTreeMap<Set, BTreeSet<CredentialListSid>> {
    let mut lists = BTreeMap::<_, BTreeSet<_>>::new();
    for record in mappings {
        if let Record::Mapping(record) = record
            && let Some((set, list)) = Set::of(record.mapping)
        {
            lists.entry(set).or_default().insert(list);
        }
    }
    lists
}
