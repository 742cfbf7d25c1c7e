//! `sip-authz map` and `sip-authz unmap`.

use std::process::ExitCode;

use serde_json::{Value, json};
use sip_authz::escape_name;

use super::api::Api;
use super::kind::{Collection, DOMAIN, IP_LIST, MAPPINGS, TRUNK, shown_name, text};
use super::lists::{FoundList, find_list};
use super::names::{Row, find_row};
use super::roles::find_role;
use super::table::{print_json, print_text};
use crate::args::{ListKindArgs, MapArgs, MappingArgs};
use crate::system::output::{ProgramError, warn};

pub(crate) fn run_map(args: &MapArgs) -> Result<ExitCode, ProgramError> {
    let api = Api::open(&args.mapping.common)?;
    let pair = Pair::find(&api, &args.mapping)?;
    let role = args.role.as_deref().map(|role| find_role(&api, role)).transpose()?;
    let registrations = args.mapping.registrations;
    let made = map(&api, &pair.targets, &pair.sid, &pair.list, registrations, role.as_deref())?;
    match api.json {
        true => print_json(&made)?,
        false => print_text(&format!("{} is mapped to {}", pair.list, pair.with_purpose()))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run_unmap(args: &MappingArgs) -> Result<ExitCode, ProgramError> {
    let api = Api::open(&args.common)?;
    let pair = Pair::find(&api, args)?;
    let (mapped, _) = mapped(&pair.targets, &pair.sid, &pair.list, args.registrations)?;
    let rows = api.all(&mapped)?;
    let Some(row) = rows.iter().find(|row| text(row, "sid") == pair.list.sid) else {
        let message = format!("{} is not mapped to {}", pair.list, pair.with_purpose());
        return Err(ProgramError::Runtime(message));
    };
    api.delete(&mapped.one(&pair.list.sid))?;
    match api.json {
        true => print_json(&json!({ "unmapped": row }))?,
        false => print_text(&format!("{} is unmapped from {}", pair.list, pair.with_purpose()))?,
    }
    if !args.registrations {
        warn_of_change(&pair, text(&api.get(&pair.targets.one(&pair.sid))?, "auth_type"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Warns if no list of the kind is left: the calls to the target need one check less, or all are refused.
fn warn_of_change(pair: &Pair, kinds: &str) {
    let shown = &pair.shown;
    let is_ip = pair.list.kind.is(&IP_LIST);
    let own = if is_ip { "IP_ACL" } else { "CREDENTIAL_LIST" };
    if kinds.is_empty() {
        warn(format_args!("warning: {shown} has no list: every call is refused"));
    } else if kinds.split(',').any(|kind| kind == own) {
        // other lists of this kind still admit callers
    } else if is_ip {
        warn(format_args!(
            "warning: {shown} has no access list left: a user may call from every address"
        ));
    } else {
        warn(format_args!(
            "warning: {shown} has no credential list left: calls from the addresses of its access lists \
             need no password"
        ));
    }
}

/// A list, and the domain or trunk that a command maps it to.
struct Pair {
    list: FoundList,
    targets: Collection,
    sid: String,
    /// The target in words.
    shown: String,
    registrations: bool,
}

impl Pair {
    fn find(api: &Api, args: &MappingArgs) -> Result<Self, ProgramError> {
        let kind = match args.registrations {
            true => ListKindArgs { ip: false, credentials: true },
            false => args.kind,
        };
        let list = find_list(api, &args.list, kind)?;
        let all = [api.sip(&DOMAIN), Collection::trunks()];
        let mut found: Vec<(&Collection, Vec<Value>)> = Vec::new();
        for targets in &all {
            found.push((targets, api.all(targets)?));
        }
        let rows: Vec<_> = found
            .iter()
            .flat_map(|(targets, rows)| {
                rows.iter().map(|value| Row { kind: targets.kind, value, place: None })
            })
            .collect();
        let row = find_row("domain or trunk", &[&DOMAIN, &TRUNK], &args.target, &rows)?;
        let [domains, trunks] = all.clone();
        let is_trunk = row.kind.is(&TRUNK);
        let name = escape_name(shown_name(row.value));
        Ok(Self {
            list,
            targets: if is_trunk { trunks } else { domains },
            sid: text(row.value, "sid").to_owned(),
            shown: format!("{} `{name}`", row.kind.noun),
            registrations: args.registrations,
        })
    }

    fn with_purpose(&self) -> String {
        let purpose = if self.registrations { "registrations" } else { "calls" };
        format!("{} for {purpose}", self.shown)
    }
}

/// Maps a list to a domain or trunk; returns the mapping.
pub(super) fn map(
    api: &Api,
    targets: &Collection,
    target: &str,
    list: &FoundList,
    registrations: bool,
    role: Option<&str>,
) -> Result<Value, ProgramError> {
    if role.is_some() && list.kind.is(&IP_LIST) {
        let message = format!("{list} takes no role; roles are for credential lists");
        return Err(ProgramError::Setup(message));
    }
    let (mapped, parameter) = mapped(targets, target, list, registrations)?;
    let mut form = vec![(parameter, list.sid.as_str())];
    form.extend(role.map(|role| ("RoleSid", role)));
    api.post(&mapped.all(), &form)
}

/// The mappings of a target that a list belongs to, and the parameter with the SID of the list.
fn mapped(
    targets: &Collection,
    target: &str,
    list: &FoundList,
    registrations: bool,
) -> Result<(Collection, &'static str), ProgramError> {
    let fits = MAPPINGS
        .iter()
        .find(|mappings| mappings.list.is(list.kind) && mappings.is_registration == registrations);
    let found =
        fits.and_then(|mappings| Some((targets.mappings(target, mappings)?, mappings.parameter)));
    found.ok_or_else(|| {
        ProgramError::Setup("--registrations: expected a domain, found a trunk".to_owned())
    })
}
