//! Warnings about records that are valid and probably not meant: records that no call can use, and
//! records that no listener can serve.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use sip_authz::model::{Commit, Key, Mapping, Record, Target, Write};

use crate::names::Names;

type Span = Range<usize>;

/// The warnings about these records, each at the name of the record.
///
/// `has_tls` says whether the program listens for TLS; `None` if that is unknown.
pub(super) fn lints(
    commit: &Commit,
    places: &HashMap<Key, Span>,
    names: &Names,
    has_tls: Option<bool>,
) -> Vec<(Option<Span>, String)> {
    let records = || {
        commit.writes().iter().filter_map(|write| match write {
            Write::Put(record) => Some(record),
            Write::Delete(_) => None,
        })
    };
    let mut uses = Uses::default();
    records().for_each(|record| uses.add(record));
    let mut warnings = Vec::new();
    if !records().any(|record| matches!(record.key(), Key::Target(_))) {
        let message = match uses.has_lists {
            true => "the file has lists, but no domain and no trunk",
            false => "the file has no domain and no trunk",
        };
        warnings.push((None, format!("{message}, so every INVITE is answered 404")));
    }
    let mut warn = |record: &Record, message: String| {
        warnings.push((places.get(&record.key()).cloned(), message));
    };
    for record in records() {
        match record {
            Record::Domain(domain) => {
                let target = Target::from(domain.sid);
                let named = format!("domain `{}`", domain.name);
                uses.target(target, &named, domain.secure, has_tls, |text| warn(record, text));
            }
            Record::Trunk(trunk) => {
                let target = Target::from(trunk.sid);
                let named = format!("trunk `{}`", names.get(trunk.sid));
                if trunk.name.is_none() {
                    warn(record, format!("{named} has no `domain_name`, so no call reaches it"));
                    continue;
                }
                uses.target(target, &named, trunk.secure, has_tls, |text| warn(record, text));
            }
            Record::IpAccessControlList(list) => {
                let key = record.key();
                let named = format!("IP access control list `{}`", names.get(list.sid));
                uses.list(key, &named, "addresses, so it admits no caller", |text| {
                    warn(record, text);
                });
            }
            Record::CredentialList(list) => {
                let key = record.key();
                let named = format!("credential list `{}`", names.get(list.sid));
                uses.list(key, &named, "credentials, so it admits no caller", |text| {
                    warn(record, text);
                });
            }
            _ => {}
        }
    }
    warnings
}

/// The uses of lists by domains, trunks and records.
#[derive(Default)]
struct Uses {
    has_lists: bool,
    /// The targets with a list that decides calls.
    decided: HashSet<Target>,
    /// The lists that a target uses.
    mapped: HashSet<Key>,
    /// The lists with an entry.
    filled: HashSet<Key>,
}

impl Uses {
    fn add(&mut self, record: &Record) {
        match record {
            Record::IpAccessControlList(_) | Record::CredentialList(_) => self.has_lists = true,
            Record::IpAddress(address) => {
                self.filled.insert(Key::IpAccessControlList(address.list));
            }
            Record::Credential(credential) => {
                self.filled.insert(Key::CredentialList(credential.list));
            }
            Record::Mapping(record) => {
                let list = match record.mapping {
                    Mapping::IpAccessControlList(_, list) => Key::IpAccessControlList(list),
                    Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                        Key::CredentialList(list)
                    }
                };
                self.mapped.insert(list);
                // a registration list decides no call
                if !matches!(record.mapping, Mapping::Registration(..)) {
                    self.decided.insert(record.mapping.target());
                }
            }
            _ => {}
        }
    }

    fn target(
        &self,
        target: Target,
        named: &str,
        secure: bool,
        has_tls: Option<bool>,
        mut warn: impl FnMut(String),
    ) {
        if !self.decided.contains(&target) {
            warn(format!("{named} has no list, so every call to it is rejected"));
        }
        if secure && has_tls == Some(false) {
            warn(format!(
                "{named} is `secure`: without a listener for TLS (`serve --sips`) every call to it is \
                 rejected"
            ));
        }
    }

    fn list(&self, key: Key, named: &str, lacks: &str, mut warn: impl FnMut(String)) {
        if !self.filled.contains(&key) {
            warn(format!("{named} has no {lacks}"));
        }
        if !self.mapped.contains(&key) {
            warn(format!("{named} is mapped to no domain and no trunk, so it has no effect"));
        }
    }
}
