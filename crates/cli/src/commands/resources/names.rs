//! Finds a resource by its SID, host name or name.

use std::fmt::Write as _;

use serde_json::Value;
use sip_authz::escape_name;
use sip_authz::model::DomainName;
use sip_authz_config::nearest;

use super::kind::{ENTRY, Kind, prefix_of, text};
use crate::system::output::ProgramError;

/// The maximum number of candidates in an error.
const MAX_CANDIDATES: usize = 10;
/// The maximum number of similar names in an error.
const MAX_SIMILAR: usize = 3;

/// A resource that a name can mean.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate<'v> {
    noun: &'static str,
    sid: &'v str,
    /// The host name, or the prefix of an entry.
    unique: Option<String>,
    name: &'v str,
    /// The place of the resource, if it is not clear from the command.
    place: Option<&'v str>,
}

/// A resource that a name was compared with.
#[derive(Clone, Copy)]
pub(super) struct Row<'v> {
    pub(super) kind: &'static Kind,
    pub(super) value: &'v Value,
    /// The name of the list that the resource belongs to, if several were searched.
    pub(super) place: Option<&'v str>,
}

/// Finds a resource among those of one kind.
pub(super) fn find<'v>(
    kind: &'static Kind,
    named: &str,
    rows: &'v [Value],
) -> Result<&'v Value, ProgramError> {
    let rows: Vec<_> = rows.iter().map(|value| Row { kind, value, place: None }).collect();
    find_row(kind.noun, &[kind], named, &rows).map(|row| row.value)
}

/// Finds a resource among those of several kinds. `noun` is their name together.
pub(super) fn find_row<'v>(
    noun: &str,
    kinds: &[&'static Kind],
    named: &str,
    rows: &[Row<'v>],
) -> Result<Row<'v>, ProgramError> {
    let candidates: Vec<_> = rows.iter().map(Candidate::new).collect();
    let found = matching(named, &candidates);
    match found.as_slice() {
        [at] => rows.get(*at).copied().ok_or_else(|| unknown(noun, kinds, named, &candidates)),
        [] => Err(unknown(noun, kinds, named, &candidates)),
        several => Err(ambiguous(named, several.iter().filter_map(|at| candidates.get(*at)))),
    }
}

impl<'v> Candidate<'v> {
    fn new(row: &Row<'v>) -> Self {
        let Row { kind, value, place } = *row;
        let unique = match kind.host {
            _ if kind.is(&ENTRY) => Some(prefix_of(value)),
            Some(host) => Some(text(value, host).to_owned()).filter(|host| !host.is_empty()),
            None => None,
        };
        Self {
            noun: kind.noun,
            sid: text(value, "sid"),
            unique,
            name: text(value, kind.name),
            place,
        }
    }
}

/// The indices of the candidates that the text means: those with this SID, else those with this host name
/// or prefix, else those with this name. A friendly name cannot hide a record with that host name.
fn matching(named: &str, candidates: &[Candidate<'_>]) -> Vec<usize> {
    if named.is_empty() {
        return Vec::new();
    }
    let host = named.parse::<DomainName>().ok();
    let tests: [&dyn Fn(&Candidate<'_>) -> bool; 3] = [
        &|candidate| candidate.sid == named,
        &|candidate| {
            let unique = candidate.unique.as_deref();
            unique == Some(named)
                || host.as_ref().is_some_and(|host| unique == Some(host.as_str()))
                || unique.is_some_and(|unique| is_same_prefix(unique, named))
        },
        &|candidate| candidate.name == named,
    ];
    for test in tests {
        let all = candidates.iter().enumerate().filter(|(_, candidate)| test(candidate));
        let all: Vec<_> = all.map(|(at, _)| at).collect();
        if !all.is_empty() {
            return all;
        }
    }
    Vec::new()
}

/// Whether two texts are the same address or prefix, such as `2001:db8::` and `2001:DB8:0::/128`.
fn is_same_prefix(one: &str, other: &str) -> bool {
    let read = |text: &str| text.parse::<sip_authz::acl::Prefix>().ok();
    read(one).is_some_and(|one| read(other) == Some(one))
}

fn ambiguous<'c>(named: &str, found: impl Iterator<Item = &'c Candidate<'c>>) -> ProgramError {
    let found: Vec<_> = found.collect();
    let mut message = format!("`{}` fits {} records; use a SID: ", escape_name(named), found.len());
    for (number, candidate) in found.iter().take(MAX_CANDIDATES).enumerate() {
        let Candidate { noun, sid, unique, name, place } = candidate;
        let shown = unique.as_deref().unwrap_or(name);
        let comma = if number > 0 { ", " } else { "" };
        let _ = write!(message, "{comma}{noun} `{}` ({sid})", escape_name(shown));
        if let Some(place) = place {
            let _ = write!(message, " in `{}`", escape_name(place));
        }
    }
    if let Some(more) = found.len().checked_sub(MAX_CANDIDATES).filter(|more| *more > 0) {
        let _ = write!(message, " and {more} more");
    }
    ProgramError::Runtime(message)
}

fn unknown(
    noun: &str,
    kinds: &[&'static Kind],
    named: &str,
    candidates: &[Candidate<'_>],
) -> ProgramError {
    let mut message = format!("there is no {noun} `{}`", escape_name(named));
    let similar = similar(named, candidates);
    if similar.is_empty() {
        let mut commands: Vec<_> = kinds.iter().map(|kind| kind.list).collect();
        commands.dedup();
        let commands: Vec<_> =
            commands.iter().map(|command| format!("`sip-authz {command}`")).collect();
        let _ = write!(message, "; {} shows the names", commands.join(" or "));
    } else {
        let shown: Vec<_> = similar.iter().map(|name| format!("`{}`", escape_name(name))).collect();
        let _ = write!(message, "; did you mean {}?", shown.join(" or "));
    }
    ProgramError::Runtime(message)
}

/// The names that differ from the text by a typing error or in case, or that begin with it.
fn similar<'c>(named: &str, candidates: &'c [Candidate<'_>]) -> Vec<&'c str> {
    let mut names: Vec<&str> = Vec::new();
    for candidate in candidates {
        names.extend(candidate.unique.as_deref());
        names.push(candidate.name);
    }
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    let lower = named.to_lowercase();
    let mut found: Vec<&str> = Vec::new();
    if !lower.is_empty() {
        found.extend(names.iter().filter(|name| name.to_lowercase() == lower));
    }
    while found.len() < MAX_SIMILAR {
        names.retain(|name| !found.contains(name));
        match nearest(named, &names) {
            Some(name) => found.push(name),
            None => break,
        }
    }
    if named.chars().count() >= MAX_SIMILAR {
        names.retain(|name| !found.contains(name) && name.to_lowercase().starts_with(&lower));
        found.extend(names);
    }
    found.truncate(MAX_SIMILAR);
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::kind::{CREDENTIAL_LIST, DOMAIN, IP_LIST, TRUNK};
    use super::*;

    fn target(sid: &str, host: &str, name: &str) -> Value {
        json!({"sid": sid, "domain_name": host, "friendly_name": name})
    }

    fn sid(kind: &'static Kind, named: &str, rows: &[Value]) -> Result<String, String> {
        let found = find(kind, named, rows).map_err(|error| error.to_string())?;
        Ok(text(found, "sid").to_owned())
    }

    #[test]
    fn a_sid_comes_before_a_host_name_and_a_host_name_before_a_name() {
        let rows = [
            target("SD1", "a.example", "SD2"),
            target("SD2", "b.example", "a.example"),
            target("SD3", "c.example", "Same"),
            target("SD4", "d.example", "Same"),
            target("SD5", "e.example", ""),
        ];
        for (named, expected) in [
            ("SD1", "SD1"),
            ("SD2", "SD2"),
            ("a.example", "SD1"),
            ("A.Example", "SD1"),
            ("b.example", "SD2"),
        ] {
            assert_eq!(sid(&DOMAIN, named, &rows).as_deref(), Ok(expected), "{named}");
        }
        for (named, message) in [
            (
                "Same",
                "`Same` fits 2 records; use a SID: domain `c.example` (SD3), domain `d.example` (SD4)",
            ),
            ("same", "there is no domain `same`; did you mean `Same`?"),
            ("c.exmaple", "there is no domain `c.exmaple`; did you mean `c.example` or `"),
            ("", "there is no domain ``; `sip-authz domain list` shows the names"),
            (
                "zzz\u{202e}",
                "there is no domain `zzz\\u{202e}`; `sip-authz domain list` shows the names",
            ),
            ("sd1", "there is no domain `sd1`; "),
        ] {
            let error = sid(&DOMAIN, named, &rows).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        assert_eq!(
            sid(&DOMAIN, "x", &[]),
            Err("there is no domain `x`; `sip-authz domain list` shows the names".to_owned())
        );
    }

    #[test]
    fn names_of_several_kinds_are_compared_together() {
        let rows = [
            (&IP_LIST, json!({"sid": "AL1", "friendly_name": "phones"})),
            (&CREDENTIAL_LIST, json!({"sid": "CL1", "friendly_name": "phones"})),
            (&CREDENTIAL_LIST, json!({"sid": "CL2", "friendly_name": "desks"})),
            (&TRUNK, json!({"sid": "TK1", "domain_name": null, "friendly_name": "b`"})),
        ];
        let rows: Vec<_> =
            rows.iter().map(|(kind, value)| Row { kind, value, place: Some("p") }).collect();
        let find = |named: &str| {
            let found = find_row("list", &[&IP_LIST, &CREDENTIAL_LIST, &TRUNK], named, &rows);
            found.map(|row| text(row.value, "sid").to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(find("desks").as_deref(), Ok("CL2"));
        assert_eq!(find("CL1").as_deref(), Ok("CL1"));
        assert_eq!(find("b`").as_deref(), Ok("TK1"));
        assert_eq!(
            find("phones").unwrap_err(),
            "`phones` fits 2 records; use a SID: access list `phones` (AL1) in `p`, \
             credential list `phones` (CL1) in `p`"
        );
        assert_eq!(
            find("nowhere").unwrap_err(),
            "there is no list `nowhere`; `sip-authz list list` or `sip-authz trunk list` shows the names"
        );
        assert_eq!(find("phon").unwrap_err(), "there is no list `phon`; did you mean `phones`?");
    }

    #[test]
    fn an_entry_is_found_by_each_form_of_its_prefix() {
        let entry = |sid: &str, address: &str, length: u8, name: &str| {
            json!({"sid": sid, "ip_address": address, "cidr_prefix_length": length,
                "friendly_name": name})
        };
        let rows = [
            entry("IP1", "192.0.2.1", 32, "gw"),
            entry("IP2", "192.0.2.0", 24, "192.0.2.1"),
            entry("IP3", "2001:db8::", 32, "v6"),
        ];
        for (named, expected) in [
            ("192.0.2.1", "IP1"),
            ("192.0.2.1/32", "IP1"),
            ("192.0.2.0/24", "IP2"),
            ("192.0.2.0/255.255.255.0", "IP2"),
            ("2001:DB8:0::/32", "IP3"),
            ("gw", "IP1"),
            ("IP2", "IP2"),
        ] {
            assert_eq!(sid(&ENTRY, named, &rows).as_deref(), Ok(expected), "{named}");
        }
        for named in ["192.0.2.0", "192.0.2.0/25", "2001:db8::", "192.0.2"] {
            assert!(sid(&ENTRY, named, &rows).is_err(), "{named}");
        }
    }

    #[test]
    fn an_error_has_a_bounded_number_of_candidates() {
        let rows: Vec<_> =
            (0..25).map(|n| target(&format!("SD{n}"), &format!("d{n}.example"), "same")).collect();
        let error = sid(&DOMAIN, "same", &rows).unwrap_err();
        assert!(error.ends_with("domain `d9.example` (SD9) and 15 more"), "{error}");
        let error = sid(&DOMAIN, "d26.exampel", &rows).unwrap_err();
        assert_eq!(error.matches('`').count(), 2 + 2 * MAX_SIMILAR, "{error}");
    }

    /// Few letters, so that names, host names and SIDs are often equal.
    fn word() -> impl Strategy<Value = String> {
        "[abA.]{0,3}"
    }

    proptest! {
        #[test]
        fn a_name_finds_the_only_record_that_has_it_or_none(
            records in prop::collection::vec(("[ab]{0,3}", word()), 0..6),
            named in word(),
        ) {
            let rows: Vec<_> = records
                .iter()
                .enumerate()
                .map(|(at, (host, name))| target(&format!("SD{at}"), host, name))
                .collect();
            for row in &rows {
                let own = text(row, "sid");
                prop_assert_eq!(sid(&DOMAIN, own, &rows), Ok(own.to_owned()));
            }
            let has = |field: &'static str, wanted: &str| -> Vec<&str> {
                let all = rows.iter().filter(|row| !wanted.is_empty() && text(row, field) == wanted);
                all.map(|row| text(row, "sid")).collect()
            };
            let host = named.parse::<DomainName>();
            let hosts = has("domain_name", host.as_ref().map_or(&named, |host| host.as_str()));
            let expected = if hosts.is_empty() { has("friendly_name", &named) } else { hosts };
            match sid(&DOMAIN, &named, &rows) {
                Ok(found) => prop_assert_eq!(expected, vec![found.as_str()]),
                Err(error) if expected.is_empty() => {
                    prop_assert!(error.starts_with("there is no "), "{}", error);
                }
                Err(error) => {
                    prop_assert!(expected.len() > 1, "{}", error);
                    for one in expected {
                        prop_assert!(error.contains(&format!("({one})")), "{}", error);
                    }
                }
            }
        }
    }
}
