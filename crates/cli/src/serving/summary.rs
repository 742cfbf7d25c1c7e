//! The contents of a configuration file and the changes of a reload, in one line each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use sip_authz::model::{Commit, Dates, Key, Record, Target, Write};

/// The maximum number of names after each number of changes.
const MAX_NAMES: usize = 5;

/// The numbers of records of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Counts {
    pub(crate) domains: usize,
    pub(crate) trunks: usize,
    pub(crate) lists: usize,
    pub(crate) users: usize,
    pub(crate) prefixes: usize,
}

impl Counts {
    pub(crate) fn of(commit: &Commit) -> Self {
        let mut counts = Self::default();
        for kind in records(commit).filter_map(|record| Kind::of(record.key())) {
            let count = match kind {
                Kind::Account => continue,
                Kind::Domain => &mut counts.domains,
                Kind::Trunk => &mut counts.trunks,
                Kind::List => &mut counts.lists,
                Kind::User => &mut counts.users,
                Kind::Prefix => &mut counts.prefixes,
            };
            *count += 1;
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domains, trunks, lists, users, prefixes } = *self;
        let numbers = [
            Kind::Domain.counted(domains),
            Kind::Trunk.counted(trunks),
            Kind::List.counted(lists),
            Kind::User.counted(users),
            Kind::Prefix.counted(prefixes),
        ];
        f.write_str(&numbers.join(", "))
    }
}

/// A kind of record that an operator counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Account,
    Domain,
    Trunk,
    List,
    User,
    Prefix,
}

impl Kind {
    fn of(key: Key) -> Option<Self> {
        Some(match key {
            Key::Account(_) => Self::Account,
            Key::Target(Target::Domain(_)) => Self::Domain,
            Key::Target(Target::Trunk(_)) => Self::Trunk,
            Key::IpAccessControlList(_) | Key::CredentialList(_) => Self::List,
            Key::Credential(_) => Self::User,
            Key::IpAddress(_) => Self::Prefix,
            // part of its domain or trunk
            Key::Policy(_) | Key::Mapping(_) | Key::Role(_) => return None,
        })
    }

    /// A number of records of this kind.
    fn counted(self, count: usize) -> String {
        let (one, many) = match self {
            Self::Account => ("account", "accounts"),
            Self::Domain => ("domain", "domains"),
            Self::Trunk => ("trunk", "trunks"),
            Self::List => ("list", "lists"),
            Self::User => ("user", "users"),
            Self::Prefix => ("prefix", "prefixes"),
        };
        format!("{count} {}", if count == 1 { one } else { many })
    }
}

/// The difference between the records in force and those of a new file. Its `Display` is one line.
///
/// A mapping or policy that differs is a change of its domain or trunk. Users and addresses are counted
/// and named by their lists: the log of the program holds no user names and addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    added: ByKind,
    removed: ByKind,
    changed: ByKind,
}

/// For each kind, the number of records, and the names to show.
type ByKind = BTreeMap<Kind, (usize, BTreeSet<String>)>;

impl Changes {
    /// Compares records with those of a commit that replaces them all.
    pub(crate) fn between(former: &[Record], commit: &Commit) -> Self {
        let old: HashMap<Key, &Record> = former.iter().map(|one| (one.key(), one)).collect();
        let new: HashMap<Key, &Record> = records(commit).map(|one| (one.key(), one)).collect();
        let mut changes = Self::default();
        // the targets with a mapping or policy that differs
        let mut touched = BTreeSet::new();
        for (key, record) in &new {
            match old.get(key) {
                None => note(&mut changes.added, record, &new, &mut touched),
                Some(before) if !is_same(before, record) => {
                    note(&mut changes.changed, record, &new, &mut touched);
                }
                Some(_) => {}
            }
        }
        for (_, record) in old.iter().filter(|(key, _)| !new.contains_key(key)) {
            note(&mut changes.removed, record, &old, &mut touched);
        }
        for target in touched {
            let key = Key::Target(target);
            if let (Some(before), Some(record)) = (old.get(&key), new.get(&key))
                && is_same(before, record)
            {
                note(&mut changes.changed, record, &new, &mut BTreeSet::new());
            }
        }
        changes
    }
}

fn records(commit: &Commit) -> impl Iterator<Item = &Record> {
    commit.writes().iter().filter_map(|write| match write {
        Write::Put(record) => Some(record),
        Write::Delete(_) => None,
    })
}

fn note(
    changes: &mut ByKind,
    record: &Record,
    all: &HashMap<Key, &Record>,
    touched: &mut BTreeSet<Target>,
) {
    let Some(kind) = Kind::of(record.key()) else {
        touched.extend(target(record));
        return;
    };
    let (count, names) = changes.entry(kind).or_default();
    *count += 1;
    if let Some(name) = name(record, all) {
        names.insert(name);
    }
}

/// The domain or trunk that a mapping or policy belongs to.
fn target(record: &Record) -> Option<Target> {
    match record {
        Record::Mapping(record) => Some(record.mapping.target()),
        Record::Policy(record) => Some(record.target),
        _ => None,
    }
}

/// The name to show: that of the record, or of its list.
fn name(record: &Record, all: &HashMap<Key, &Record>) -> Option<String> {
    let of = |key: Key| all.get(&key).and_then(|list| name(list, all));
    match record {
        Record::Account(account) => Some(account.friendly_name.clone()),
        Record::Domain(domain) => Some(domain.name.to_string()),
        Record::Trunk(trunk) => Some(trunk.friendly_name.clone()),
        Record::IpAccessControlList(list) => Some(list.friendly_name.clone()),
        Record::CredentialList(list) => Some(list.friendly_name.clone()),
        Record::IpAddress(address) => of(Key::IpAccessControlList(address.list)),
        Record::Credential(credential) => of(Key::CredentialList(credential.list)),
        Record::Policy(_) | Record::Mapping(_) | Record::Role(_) => None,
    }
}

/// Whether two records of a file differ in no setting. Dates and the order of mappings come from the
/// file as a whole.
fn is_same(before: &Record, after: &Record) -> bool {
    undated(before) == undated(after)
}

fn undated(record: &Record) -> Record {
    let mut record = record.clone();
    let dates = match &mut record {
        Record::Account(account) => &mut account.dates,
        Record::IpAccessControlList(list) => &mut list.dates,
        Record::CredentialList(list) => &mut list.dates,
        Record::IpAddress(address) => &mut address.dates,
        Record::Credential(credential) => &mut credential.dates,
        Record::Domain(domain) => &mut domain.dates,
        Record::Trunk(trunk) => &mut trunk.dates,
        Record::Policy(policy) => &mut policy.dates,
        Record::Mapping(mapping) => {
            mapping.since = 0;
            &mut mapping.dates
        }
        Record::Role(role) => &mut role.dates,
    };
    *dates = Dates::default();
    record
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)];
        let parts = parts.iter().filter(|(_, kinds)| !kinds.is_empty());
        let parts: Vec<_> =
            parts.map(|(verb, kinds)| format!("{verb} {}", listed(kinds))).collect();
        if parts.is_empty() {
            return f.write_str("nothing changed");
        }
        f.write_str(&parts.join("; "))
    }
}

fn listed(kinds: &ByKind) -> String {
    let kinds = kinds.iter().map(|(kind, (count, names))| {
        let counted = kind.counted(*count);
        let mut shown: Vec<_> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
        let more = names.len().saturating_sub(MAX_NAMES);
        let rest = format!("{more} more");
        if more > 0 {
            shown.push(&rest);
        }
        match (shown.is_empty(), kind) {
            (true, _) => counted,
            (false, Kind::User | Kind::Prefix) => format!("{counted} (in {})", shown.join(", ")),
            (false, _) => format!("{counted} ({})", shown.join(", ")),
        }
    });
    kinds.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use sip_authz_config::{Options, parse};

    use super::*;

    fn commit(text: &str) -> Commit {
        parse(text, &Options::new()).unwrap().commit
    }

    fn changes(before: &str, after: &str) -> String {
        let before: Vec<_> = records(&commit(before)).cloned().collect();
        Changes::between(&before, &commit(after)).to_string()
    }

    const FILE: &str = "realm = 'r'\n\
        [[ip_access_control_lists]]\nname = 'office'\naddresses = ['192.0.2.1', '192.0.2.2']\n\
        [[credential_lists]]\nname = 'staff'\ncredentials = [{ username = 'u', password = 'p' }]\n\
        [[trunks]]\nname = 'carrier'\ndomain_name = 't.example'\nip_access_control_lists = ['office']\n\
        [[domains]]\nname = 'a.example'\ncredential_lists = ['staff']\n";

    #[test]
    fn a_file_is_summed_up_in_a_line() {
        let expected = "1 domain, 1 trunk, 2 lists, 1 user, 2 prefixes";
        assert_eq!(Counts::of(&commit(FILE)).to_string(), expected);
    }

    #[test]
    fn each_change_is_counted_and_named_without_users_and_addresses() {
        assert_eq!(changes(FILE, FILE), "nothing changed");
        let dated = Options::new().dates(Dates { created: 5, updated: 6 });
        let dated = parse(FILE, &dated).unwrap().commit;
        let before: Vec<_> = records(&commit(FILE)).cloned().collect();
        assert_eq!(Changes::between(&before, &dated).to_string(), "nothing changed");
        for (from, to, expected) in [
            ("a.example", "b.example", "added 1 domain (b.example); removed 1 domain (a.example)"),
            (
                "'192.0.2.2'",
                "'192.0.2.3'",
                "added 1 prefix (in office); removed 1 prefix (in office)",
            ),
            (
                "'p' }]",
                "'q' }, { username = 'v', password = 'p' }]",
                "added 1 user (in staff); changed 1 user (in staff)",
            ),
            ("credential_lists = ['staff']", "", "changed 1 domain (a.example)"),
            (
                "['office']\n",
                "['office']\npolicy = { qop = 'auth-int' }\n",
                "changed 1 trunk (carrier)",
            ),
            (
                "'t.example'",
                "'t.example'\nsecure = true\npolicy = { qop = 'auth-int' }",
                "changed 1 trunk (carrier)",
            ),
            (
                "[[domains]]\nname = 'a.example'",
                "[[domains]]\nname = 'z.example'\n\
              [[domains]]\nname = 'a.example'",
                "added 1 domain (z.example)",
            ),
        ] {
            assert!(FILE.contains(from), "{from}");
            assert_eq!(changes(FILE, &FILE.replace(from, to)), expected, "{from} to {to}");
        }
        let many: String = (0..9).map(|n| format!("[[domains]]\nname = '{n}.example'\n")).collect();
        assert_eq!(
            changes("", &many),
            "added 9 domains (0.example, 1.example, 2.example, 3.example, 4.example, 4 more)"
        );
    }
}
