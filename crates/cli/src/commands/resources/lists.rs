//! `sip-authz list`: IP access control lists and credential lists.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};
use sip_authz::acl::Prefix;
use sip_authz::escape_name;

use super::api::Api;
use super::ask::confirm;
use super::kind::{
    CREDENTIAL_LIST, Collection, DOMAIN, ENTRY, IP_LIST, Kind, MAPPINGS, USER, prefix_of,
    shown_name, text,
};
use super::names::{Row, find, find_row};
use super::table::{aligned, print_json, print_text, table};
use crate::args::{ListArgs, ListCommand, ListKindArgs};
use crate::system::output::ProgramError;

const COLUMNS: &[(&str, &str)] = &[("SID", "sid"), ("KIND", KIND), ("NAME", "friendly_name")];
/// The maximum number of domains and trunks in an error.
const MAX_SHOWN: usize = 10;
/// The field with the kind of a list, which the API does not have.
const KIND: &str = "kind";

pub(crate) fn run(args: &ListArgs) -> Result<ExitCode, ProgramError> {
    let prefixes = match &args.command {
        ListCommand::Add { addresses, .. } => prefixes(addresses)?,
        _ => Vec::new(),
    };
    let api = Api::open(&args.common)?;
    match &args.command {
        ListCommand::Create { name, kind, realm } => {
            let kind: &'static Kind = if kind.ip { &IP_LIST } else { &CREDENTIAL_LIST };
            let mut form = vec![("FriendlyName", name.as_str())];
            form.extend(realm.as_deref().map(|realm| ("Realm", realm)));
            let made = api.post(&api.sip(kind).all(), &form)?;
            print_list(&api, with_kind(made, kind))?;
        }
        ListCommand::List { kind } => {
            let rows: Vec<_> =
                lists(&api, *kind)?.into_iter().map(|(kind, list)| with_kind(list, kind)).collect();
            match api.json {
                true => print_json(&json!(rows))?,
                false => print_text(&table(COLUMNS, &rows))?,
            }
        }
        ListCommand::Show { list, kind } => show(&api, &find_list(&api, list, *kind)?)?,
        ListCommand::Set { list, kind, name } => {
            let list = find_list(&api, list, *kind)?;
            let changed = api.post(&list.path(&api), &[("FriendlyName", name)])?;
            print_list(&api, with_kind(changed, list.kind))?;
        }
        ListCommand::Delete { list, kind, confirm: args } => {
            let list = find_list(&api, list, *kind)?;
            check_unused(&api, &list)?;
            let count = api.all(&list.members(&api))?.len();
            let members = match (list.is_ip(), count) {
                (true, 1) => "entry",
                (true, _) => "entries",
                (false, 1) => "user and the password",
                (false, _) => "users and their passwords",
            };
            confirm(args, &format!("Delete {list} with its {count} {members}?"))?;
            api.delete(&list.path(&api))?;
            api.deleted(list.kind, &list.value)?;
        }
        ListCommand::Add { list, name, allow_all, .. } => {
            let list = ip_list(&api, list)?;
            add(&api, &list, &prefixes, name.as_deref(), *allow_all)?;
        }
        ListCommand::Remove { list, entries } => remove(&api, &ip_list(&api, list)?, entries)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A list that a command names.
pub(super) struct FoundList {
    pub(super) kind: &'static Kind,
    pub(super) sid: String,
    name: String,
    value: Value,
}

impl FoundList {
    fn is_ip(&self) -> bool {
        self.kind.is(&IP_LIST)
    }

    fn path(&self, api: &Api) -> String {
        api.sip(self.kind).one(&self.sid)
    }

    fn members(&self, api: &Api) -> Collection {
        members_of(api, self.kind, &self.sid)
    }
}

impl fmt::Display for FoundList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind.noun, escape_name(&self.name))
    }
}

/// The entries or users of a list.
pub(super) fn members_of(api: &Api, list: &'static Kind, sid: &str) -> Collection {
    let is_ip = list.is(&IP_LIST);
    api.sip(list).below(sid, if is_ip { &ENTRY } else { &USER })
}

/// Finds a list by its name or SID, among those of one kind or of both.
pub(super) fn find_list(
    api: &Api,
    named: &str,
    kind: ListKindArgs,
) -> Result<FoundList, ProgramError> {
    let lists = lists(api, kind)?;
    let rows: Vec<_> = lists.iter().map(|(kind, value)| Row { kind, value, place: None }).collect();
    let (noun, kinds): (&str, &[&Kind]) = match kind {
        ListKindArgs { ip: true, .. } => (IP_LIST.noun, &[&IP_LIST]),
        ListKindArgs { credentials: true, .. } => (CREDENTIAL_LIST.noun, &[&CREDENTIAL_LIST]),
        _ => ("list", &[&IP_LIST, &CREDENTIAL_LIST]),
    };
    let Row { kind, value, .. } = find_row(noun, kinds, named, &rows)?;
    let of = |field| text(value, field).to_owned();
    Ok(FoundList { kind, sid: of("sid"), name: of(kind.name), value: value.clone() })
}

fn ip_list(api: &Api, named: &str) -> Result<FoundList, ProgramError> {
    find_list(api, named, ListKindArgs { ip: true, credentials: false })
}

fn lists(api: &Api, kind: ListKindArgs) -> Result<Vec<(&'static Kind, Value)>, ProgramError> {
    let mut found = Vec::new();
    for (is_excluded, kind) in [(kind.credentials, &IP_LIST), (kind.ip, &CREDENTIAL_LIST)] {
        if !is_excluded {
            let rows = api.all(&api.sip(kind))?;
            found.extend(rows.into_iter().map(|row| (kind, row)));
        }
    }
    Ok(found)
}

fn with_kind(mut list: Value, kind: &'static Kind) -> Value {
    let is_ip = kind.is(&IP_LIST);
    if let Some(fields) = list.as_object_mut() {
        fields.insert(KIND.to_owned(), json!(if is_ip { "ip" } else { "credentials" }));
    }
    list
}

fn print_list(api: &Api, list: Value) -> Result<(), ProgramError> {
    match api.json {
        true => print_json(&list),
        false => print_text(&table(COLUMNS, &[list])),
    }
}

fn show(api: &Api, list: &FoundList) -> Result<(), ProgramError> {
    let members = api.all(&list.members(api))?;
    let used_by = users_of(api, list)?;
    if api.json {
        let mut all = with_kind(list.value.clone(), list.kind);
        if let Some(fields) = all.as_object_mut() {
            let key = if list.is_ip() { "entries" } else { "users" };
            fields.insert(key.to_owned(), json!(members));
            fields.insert("used_by".to_owned(), json!(used_by));
        }
        return print_json(&all);
    }
    let mut lines = vec![
        vec![list.kind.noun.to_owned(), escape_name(&list.name).to_string()],
        vec!["sid".to_owned(), escape_name(&list.sid).to_string()],
    ];
    for user in &used_by {
        let (noun, name) = (text(user, KIND), escape_name(text(user, "name")));
        let (purpose, sid) = (text(user, "for"), text(user, "sid"));
        lines.push(vec![purpose.to_owned(), format!("{noun} `{name}` ({sid})")]);
    }
    if used_by.is_empty() {
        lines.push(vec!["warning".to_owned(), "no domain or trunk uses the list".to_owned()]);
    }
    let without_list = |columns: &[(&'static str, &'static str)]| {
        columns.iter().copied().filter(|(_, field)| *field != "list").collect::<Vec<_>>()
    };
    let columns = without_list(if list.is_ip() { ENTRY.columns } else { USER.columns });
    print_text(&format!("{}\n\n{}", aligned(&lines), table(&columns, &members)))
}

/// The domains and trunks that a list is mapped to.
fn users_of(api: &Api, list: &FoundList) -> Result<Vec<Value>, ProgramError> {
    let mut found = Vec::new();
    for targets in [api.sip(&DOMAIN), Collection::trunks()] {
        for target in api.all(&targets)? {
            let sid = text(&target, "sid");
            for mappings in MAPPINGS.iter().filter(|one| one.list.is(list.kind)) {
                let Some(mapped) = targets.mappings(sid, mappings) else { continue };
                let rows = api.all(&mapped)?;
                if rows.iter().any(|row| text(row, "sid") == list.sid) {
                    found.push(json!({
                        "kind": targets.kind.noun,
                        "name": shown_name(&target),
                        "sid": sid,
                        "for": if mappings.is_registration { "registrations" } else { "calls" },
                    }));
                }
            }
        }
    }
    Ok(found)
}

/// Returns an error with the domains and trunks that a list is mapped to: the server would not name them.
fn check_unused(api: &Api, list: &FoundList) -> Result<(), ProgramError> {
    let used_by = users_of(api, list)?;
    if used_by.is_empty() {
        return Ok(());
    }
    let shown = used_by.iter().take(MAX_SHOWN).map(|user| {
        let (noun, name) = (text(user, KIND), escape_name(text(user, "name")));
        format!("{noun} `{name}` for {}", text(user, "for"))
    });
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    if let Some(more) = used_by.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        shown = format!("{shown} and {more} more");
    }
    let message = format!("{list} is mapped to {shown}; `sip-authz unmap` removes a mapping");
    Err(ProgramError::Runtime(message))
}

/// Reads addresses and prefixes.
fn prefixes(texts: &[String]) -> Result<Vec<(&str, Prefix)>, ProgramError> {
    let read = |text: &String| {
        text.parse().map_err(|error| ProgramError::Setup(format!("<ADDRESS>: {error}")))
    };
    texts.iter().map(|text| Ok((text.as_str(), read(text)?))).collect()
}

fn add(
    api: &Api,
    list: &FoundList,
    prefixes: &[(&str, Prefix)],
    name: Option<&str>,
    allow_all: bool,
) -> Result<(), ProgramError> {
    let path = list.members(api).all();
    let mut made = Vec::new();
    for (text, prefix) in prefixes {
        let (address, length) = (prefix.addr().to_string(), prefix.len().to_string());
        let mut form = vec![("FriendlyName", name.unwrap_or(text))];
        form.extend([("IpAddress", address.as_str()), ("CidrPrefixLength", length.as_str())]);
        form.extend(allow_all.then_some(("AllowAll", "true")));
        match api.post(&path, &form) {
            Ok(entry) => made.push(entry),
            Err(error) if made.is_empty() => return Err(error),
            Err(error) => {
                let done: Vec<_> = made.iter().map(prefix_of).collect();
                let message =
                    format!("{} added, but not {text}: {error}", escape_name(&done.join(", ")));
                return Err(ProgramError::Runtime(message));
            }
        }
    }
    match api.json {
        true => print_json(&json!(made)),
        false => print_text(&table(ENTRY.columns, &made)),
    }
}

fn remove(api: &Api, list: &FoundList, entries: &[String]) -> Result<(), ProgramError> {
    let members = list.members(api);
    let rows = api.all(&members)?;
    // all are found before one is removed
    let mut found: Vec<&Value> = Vec::new();
    for entry in entries {
        let row = find(&ENTRY, entry, &rows)?;
        if !found.iter().any(|one| std::ptr::eq(*one, row)) {
            found.push(row);
        }
    }
    for row in &found {
        api.delete(&members.one(text(row, "sid")))?;
    }
    if api.json {
        return print_json(&json!({ "deleted": found }));
    }
    let line = |row: &&Value| format!("deleted entry `{}` of {list}", prefix_of(row));
    print_text(&found.iter().map(line).collect::<Vec<_>>().join("\n"))
}
