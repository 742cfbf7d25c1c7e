//! The records that a change of an engine writes and deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use sip_authz::model::{Commit, Key, Record, Target, Write};

/// The keys of the records in force. An address or a credential has the key of its list.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<Key, Option<Key>>);

impl Keys {
    pub(super) fn of(commit: &Commit) -> Self {
        let mut keys = Self::default();
        keys.apply(commit);
        keys
    }

    /// Records the writes of a commit that is in force.
    pub(super) fn apply(&mut self, commit: &Commit) {
        for write in commit.writes() {
            match write {
                Write::Put(record) => _ = self.0.insert(record.key(), list_of(record)),
                Write::Delete(key) => _ = self.0.remove(key),
            }
        }
    }

    /// The commit that puts `writes`, and deletes the records with the SIDs `removed`.
    ///
    /// Mappings and policies have no SIDs. They belong to their domain or trunk, and are replaced or removed
    /// with it. A removed list takes its addresses and credentials with it. Its mappings stay, so a mapped
    /// list cannot be removed: its domain would admit more calls than before.
    pub(super) fn change(&self, writes: &[Write], removed: &[&[u8]]) -> Result<Commit, String> {
        let mut commit = Commit::new();
        let mut written = BTreeSet::new();
        let mut replaced = BTreeSet::new();
        for write in writes {
            written.insert(write.key());
            if let Write::Put(record) = write {
                commit.put(record.clone());
            }
            if let Key::Target(target) = write.key() {
                replaced.insert(target);
            }
        }
        let mut deleted = BTreeSet::new();
        for sid in removed {
            let key = key_of(sid)?;
            if !self.0.contains_key(&key) {
                return Err(format!("there is no {key}"));
            }
            if written.contains(&key) {
                return Err(format!("{key} is in the text and is removed"));
            }
            if !deleted.insert(key) {
                return Err(format!("{key} is removed twice"));
            }
        }
        if !deleted.is_empty() || !replaced.is_empty() {
            let belongs = |(key, list): (&Key, &Option<Key>)| {
                let is_left = !written.contains(key) && !deleted.contains(key);
                let is_of_target = target_of(key).is_some_and(|target| {
                    replaced.contains(&target) || deleted.contains(&Key::Target(target))
                });
                let is_of_list = list.is_some_and(|list| deleted.contains(&list));
                (is_left && (is_of_target || is_of_list)).then_some(*key)
            };
            let dependent: Vec<_> = self.0.iter().filter_map(belongs).collect();
            deleted.extend(dependent);
        }
        for key in deleted {
            commit.delete(key);
        }
        Ok(commit)
    }
}

/// The list that holds an address or a credential.
fn list_of(record: &Record) -> Option<Key> {
    match record {
        Record::IpAddress(address) => Some(Key::IpAccessControlList(address.list)),
        Record::Credential(credential) => Some(Key::CredentialList(credential.list)),
        _ => None,
    }
}

/// The target of a mapping or a policy.
fn target_of(key: &Key) -> Option<Target> {
    match key {
        Key::Policy(target) => Some(*target),
        Key::Mapping(mapping) => Some(mapping.target()),
        _ => None,
    }
}

/// The key of the record with this SID.
fn key_of(sid: &[u8]) -> Result<Key, String> {
    fn key<S: FromStr>(sid: &str, of: impl FnOnce(S) -> Key) -> Option<Key> {
        sid.parse().ok().map(of)
    }
    let text = String::from_utf8_lossy(sid);
    let key = match text.get(..2) {
        Some("AC") => key(&text, Key::Account),
        Some("AL") => key(&text, Key::IpAccessControlList),
        Some("CL") => key(&text, Key::CredentialList),
        Some("CR") => key(&text, Key::Credential),
        Some("IP") => key(&text, Key::IpAddress),
        Some("RL") => key(&text, Key::Role),
        Some("SD") => key(&text, |sid| Key::Target(Target::Domain(sid))),
        Some("TK") => key(&text, |sid| Key::Target(Target::Trunk(sid))),
        _ => None,
    };
    key.ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        format!("`{}` is not the SID of a record", text.escape_debug())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[ip_access_control_lists]]
        sid = "AL00000000000000000000000000000001"
        name = "offices"
        addresses = ["192.0.2.0/24", "198.51.100.0/24"]

        [[credential_lists]]
        sid = "CL00000000000000000000000000000001"
        name = "phones"
        realm = "example.com"
        credentials = [{ username = "alice", password = "Correct-Horse-7" }]

        [[domains]]
        sid = "SD00000000000000000000000000000001"
        name = "sip.example.com"
        ip_access_control_lists = ["offices"]
        credential_lists = ["phones"]
    "#;

    fn config(text: &str) -> sip_authz_config::Config {
        sip_authz_config::parse(text, &sip_authz_config::Options::new()).unwrap()
    }

    /// The keys after a change, as text, without accounts.
    fn after(text: &str, removed: &[&str]) -> Result<Vec<String>, String> {
        let config = config(TEXT);
        let mut keys = Keys::of(&config.commit);
        let other = (!text.is_empty()).then(|| self::config(text));
        let writes = other.as_ref().map(|other| other.commit.writes()).unwrap_or_default();
        let removed: Vec<_> = removed.iter().map(|sid| sid.as_bytes()).collect();
        let commit = keys.change(writes, &removed)?;
        // the library knows the rules
        config.snapshot.apply(&commit).map_err(|error| error.to_string())?;
        keys.apply(&commit);
        let kinds = keys.0.keys().filter(|key| !matches!(key, Key::Account(_)));
        Ok(kinds.map(|key| key.to_string()[..key.to_string().len() - 34].to_owned()).collect())
    }

    #[test]
    fn a_removed_list_takes_its_members_with_it() {
        let list = "AL00000000000000000000000000000001";
        let text = TEXT.replace(r#"ip_access_control_lists = ["offices"]"#, "");
        let start = text.find("[[credential_lists]]").unwrap();
        let left = after(&text[start..], &[list]).unwrap();
        assert!(!left.iter().any(|key| key.starts_with("IP")), "{left:?}");
        assert_eq!(left.iter().filter(|key| key.starts_with("mapping")).count(), 1);
        assert!(left.iter().any(|key| key.starts_with("credential ")), "{left:?}");
    }

    #[test]
    fn a_mapped_list_is_not_removed() {
        for list in ["AL00000000000000000000000000000001", "CL00000000000000000000000000000001"] {
            assert!(after("", &[list]).is_err());
        }
    }

    #[test]
    fn a_removed_domain_takes_its_mappings_with_it_and_leaves_its_lists() {
        let left = after("", &["SD00000000000000000000000000000001"]).unwrap();
        assert!(!left.iter().any(|key| key.starts_with("mapping") || key.starts_with("domain")));
        assert_eq!(left.iter().filter(|key| key.starts_with("IP")).count(), 3);
    }

    #[test]
    fn a_domain_of_the_text_loses_the_lists_that_it_no_longer_names() {
        let text = TEXT.replace(r#"credential_lists = ["phones"]"#, "");
        let left = after(&text, &[]).unwrap();
        let mappings: Vec<_> = left.iter().filter(|key| key.starts_with("mapping")).collect();
        assert_eq!(mappings.len(), 1, "{left:?}");
        assert!(mappings.iter().all(|key| key.starts_with("mapping of AL")), "{left:?}");
    }

    #[test]
    fn a_list_of_the_text_keeps_its_other_addresses() {
        let text = r#"
            [[ip_access_control_lists]]
            sid = "AL00000000000000000000000000000001"
            name = "offices"
            addresses = ["203.0.113.0/24"]
        "#;
        let left = after(text, &[]).unwrap();
        assert_eq!(left.iter().filter(|key| key.starts_with("IP address")).count(), 3);
    }

    #[test]
    fn sids_that_cannot_be_removed_are_errors() {
        for sid in
            ["", "SD", "XX00000000000000000000000000000001", "SD0000000000000000000000000000000g"]
        {
            assert!(after("", &[sid]).unwrap_err().contains("is not the SID"), "{sid}");
        }
        let (domain, other) =
            ("SD00000000000000000000000000000001", "SD00000000000000000000000000000002");
        assert!(after("", &[other]).unwrap_err().contains("there is no domain"));
        assert!(after("", &[domain, domain]).unwrap_err().contains("removed twice"));
        assert!(after(TEXT, &[domain]).unwrap_err().contains("in the text"));
    }
}
