//! `sip-authz role`.

use std::process::ExitCode;

use serde_json::{Value, json};
use sip_authz::{ServiceSid, escape_name};

use super::api::Api;
use super::ask::confirm;
use super::kind::{Collection, ROLE, text};
use super::names::find;
use super::table::{print_json, print_text, table};
use crate::args::{RoleArgs, RoleCommand, RoleType};
use crate::system::output::ProgramError;

pub(crate) fn run(args: &RoleArgs) -> Result<ExitCode, ProgramError> {
    let api = Api::open(&args.common)?;
    let service = args.service.unwrap_or_else(default_service);
    let roles = Collection::roles(service);
    match &args.command {
        RoleCommand::Create { name, kind, permissions } => {
            let kind = match kind {
                RoleType::Deployment => "deployment",
                RoleType::Channel => "channel",
            };
            let mut form = vec![("FriendlyName", name.as_str()), ("Type", kind)];
            form.extend(permissions.iter().map(|permission| ("Permission", permission.as_str())));
            print_role(&api, &api.post(&roles.all(), &form)?)?;
        }
        RoleCommand::List => {
            let rows = api.all(&roles)?;
            match api.json {
                true => print_json(&json!(rows))?,
                false => print_text(&table(ROLE.columns, &rows))?,
            }
        }
        RoleCommand::Show { role } => {
            let rows = api.all(&roles)?;
            print_role(&api, find(&ROLE, role, &rows)?)?;
        }
        RoleCommand::Set { role, permissions } => {
            let sid = role_sid(&api, &roles, role)?;
            let form: Vec<_> =
                permissions.iter().map(|permission| ("Permission", permission.as_str())).collect();
            print_role(&api, &api.post(&roles.one(&sid), &form)?)?;
        }
        RoleCommand::Delete { role, confirm: args } => {
            let rows = api.all(&roles)?;
            let role = find(&ROLE, role, &rows)?;
            let (sid, name) = (text(role, "sid"), text(role, ROLE.name));
            confirm(args, &format!("Delete role `{}`?", escape_name(name)))?;
            api.delete(&roles.one(sid))?;
            api.deleted(&ROLE, role)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The service of the commands that name none. A service is only a name space.
fn default_service() -> ServiceSid {
    ServiceSid::from_bytes([0; 16])
}

/// The SID of a role for a user or mapping: any SID, or a name in the default service.
pub(super) fn find_role(api: &Api, role: &str) -> Result<String, ProgramError> {
    if ROLE.is_sid(role) {
        return Ok(role.to_owned());
    }
    role_sid(api, &Collection::roles(default_service()), role)
}

fn role_sid(api: &Api, roles: &Collection, role: &str) -> Result<String, ProgramError> {
    let rows = api.all(roles)?;
    Ok(text(find(&ROLE, role, &rows)?, "sid").to_owned())
}

fn print_role(api: &Api, role: &Value) -> Result<(), ProgramError> {
    match api.json {
        true => print_json(role),
        false => print_text(&table(ROLE.columns, std::slice::from_ref(role))),
    }
}
