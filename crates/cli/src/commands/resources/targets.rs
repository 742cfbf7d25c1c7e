//! `sip-authz domain` and `sip-authz trunk`.

use std::process::ExitCode;

use serde_json::{Value, json};
use sip_authz::escape_name;

use super::api::Api;
use super::ask::confirm;
use super::kind::{Collection, DOMAIN, MAPPINGS, bool_text, shown_name, text};
use super::lists::{FoundList, find_list};
use super::mappings::map;
use super::names::find;
use super::policy::{self, PolicyChange};
use super::show;
use super::table::{print_json, print_text, table};
use crate::args::{
    ConfirmArgs, DomainArgs, DomainCommand, DomainSettings, ListKindArgs, TargetSettings,
    TrunkArgs, TrunkCommand,
};
use crate::system::output::ProgramError;

pub(crate) fn run_domain(args: &DomainArgs) -> Result<ExitCode, ProgramError> {
    let policy = match &args.command {
        DomainCommand::Create { settings, .. } | DomainCommand::Set { settings, .. } => {
            policy::read(&settings.policy)?
        }
        _ => PolicyChange::default(),
    };
    let api = Api::open(&args.common)?;
    let targets = Targets { api: &api, all: api.sip(&DOMAIN) };
    match &args.command {
        DomainCommand::Create { host, name, settings, domain_settings, lists } => {
            let mut form = vec![("DomainName", host.as_str())];
            form.extend(name.as_deref().map(|name| ("FriendlyName", name)));
            add_settings(&mut form, settings, Some(domain_settings));
            targets.create(&form, lists, &policy)?;
        }
        DomainCommand::List => targets.list()?,
        DomainCommand::Show { domain } => targets.show(domain)?,
        DomainCommand::Set { domain, host, name, settings, domain_settings } => {
            let mut form = names(host.as_deref(), name.as_deref());
            add_settings(&mut form, settings, Some(domain_settings));
            targets.set(domain, &form, &policy)?;
        }
        DomainCommand::Delete { domain, confirm } => targets.delete(domain, confirm)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run_trunk(args: &TrunkArgs) -> Result<ExitCode, ProgramError> {
    let policy = match &args.command {
        TrunkCommand::Create { settings, .. } | TrunkCommand::Set { settings, .. } => {
            policy::read(&settings.policy)?
        }
        _ => PolicyChange::default(),
    };
    let api = Api::open(&args.common)?;
    let targets = Targets { api: &api, all: Collection::trunks() };
    match &args.command {
        TrunkCommand::Create { name, host, settings, lists } => {
            let mut form = names(host.as_deref(), Some(name));
            add_settings(&mut form, settings, None);
            targets.create(&form, lists, &policy)?;
        }
        TrunkCommand::List => targets.list()?,
        TrunkCommand::Show { trunk } => targets.show(trunk)?,
        TrunkCommand::Set { trunk, host, name, settings } => {
            let mut form = names(host.as_deref(), name.as_deref());
            add_settings(&mut form, settings, None);
            targets.set(trunk, &form, &policy)?;
        }
        TrunkCommand::Delete { trunk, confirm } => targets.delete(trunk, confirm)?,
    }
    Ok(ExitCode::SUCCESS)
}

type Form<'a> = Vec<(&'static str, &'a str)>;

fn names<'a>(host: Option<&'a str>, name: Option<&'a str>) -> Form<'a> {
    let host = host.map(|host| ("DomainName", host));
    host.into_iter().chain(name.map(|name| ("FriendlyName", name))).collect()
}

fn add_settings<'a>(
    form: &mut Form<'a>,
    settings: &'a TargetSettings,
    domain: Option<&DomainSettings>,
) {
    form.extend(settings.secure.map(|is| ("Secure", bool_text(is))));
    let registration = domain.and_then(|domain| domain.registration);
    form.extend(registration.map(|is| ("SipRegistration", bool_text(is))));
    form.extend(settings.on_accept.as_deref().map(|answer| ("OnAccept", answer)));
}

/// The domains or the trunks of an account.
struct Targets<'a> {
    api: &'a Api,
    all: Collection,
}

impl Targets<'_> {
    fn create(
        &self,
        form: &[(&str, &str)],
        lists: &[String],
        policy: &PolicyChange,
    ) -> Result<(), ProgramError> {
        let any = ListKindArgs { ip: false, credentials: false };
        let find = |named: &String| find_list(self.api, named, any);
        // before the target is created: an unknown list must not leave a target without it
        let mut lists = lists.iter().map(find).collect::<Result<Vec<FoundList>, _>>()?;
        lists.sort_by(|one, other| one.sid.cmp(&other.sid));
        lists.dedup_by(|one, other| one.sid == other.sid);
        let made = self.api.post(&self.all.all(), form)?;
        let sid = text(&made, "sid");
        let shown = escape_name(shown_name(&made)).to_string();
        let created = |error: ProgramError| {
            let noun = self.all.kind.noun;
            let message = format!("{noun} `{shown}` ({sid}) is created, but incomplete: {error}");
            ProgramError::Runtime(message)
        };
        policy.send(self.api, &self.all.policy(sid)).map_err(created)?;
        for list in &lists {
            map(self.api, &self.all, sid, list, false, None).map_err(created)?;
        }
        self.print(&self.api.get(&self.all.one(sid))?)
    }

    fn list(&self) -> Result<(), ProgramError> {
        let rows = self.api.all(&self.all)?;
        match self.api.json {
            true => print_json(&json!(rows)),
            false => print_text(&table(self.all.kind.columns, &rows)),
        }
    }

    fn show(&self, named: &str) -> Result<(), ProgramError> {
        let target = self.find(named)?;
        let details = show::target(self.api, &self.all, &target)?;
        match self.api.json {
            true => print_json(&details),
            false => print_text(&show::target_text(&self.all, &details)),
        }
    }

    fn set(
        &self,
        named: &str,
        form: &[(&str, &str)],
        policy: &PolicyChange,
    ) -> Result<(), ProgramError> {
        if form.is_empty() && policy.is_empty() {
            let message = format!(
                "expected a setting to change, such as --name; \
                 `sip-authz {} set --help` lists them",
                self.all.kind.noun
            );
            return Err(ProgramError::Setup(message));
        }
        let target = self.find(named)?;
        let sid = text(&target, "sid");
        let path = self.all.one(sid);
        if !form.is_empty() {
            self.api.post(&path, form)?;
        }
        policy.send(self.api, &self.all.policy(sid)).map_err(|error| match form.is_empty() {
            true => error,
            false => ProgramError::Runtime(format!(
                "the other settings are changed, but not the policy: {error}"
            )),
        })?;
        self.print(&self.api.get(&path)?)
    }

    fn delete(&self, named: &str, args: &ConfirmArgs) -> Result<(), ProgramError> {
        let target = self.find(named)?;
        let sid = text(&target, "sid");
        let mut lists = Vec::new();
        for mappings in &MAPPINGS {
            if let Some(mapped) = self.all.mappings(sid, mappings) {
                lists.extend(self.api.all(&mapped)?.iter().map(|row| text(row, "sid").to_owned()));
            }
        }
        lists.sort_unstable();
        lists.dedup();
        let stay = match lists.len() {
            0 => "It has no list".to_owned(),
            1 => "Its list stays".to_owned(),
            count => format!("Its {count} lists stay"),
        };
        let (noun, name) = (self.all.kind.noun, escape_name(shown_name(&target)));
        let question = format!("Delete {noun} `{name}`? {stay}; calls to it will be refused");
        confirm(args, &question)?;
        self.api.delete(&self.all.one(sid))?;
        self.api.deleted(self.all.kind, &target)
    }

    fn find(&self, named: &str) -> Result<Value, ProgramError> {
        let rows = self.api.all(&self.all)?;
        find(self.all.kind, named, &rows).cloned()
    }

    fn print(&self, target: &Value) -> Result<(), ProgramError> {
        match self.api.json {
            true => print_json(target),
            false => print_text(&table(self.all.kind.columns, std::slice::from_ref(target))),
        }
    }
}
