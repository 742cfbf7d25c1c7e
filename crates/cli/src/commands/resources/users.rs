//! `sip-authz user`.

use std::process::ExitCode;

use serde_json::{Value, json};
use sip_authz::escape_name;
use zeroize::Zeroizing;

use super::api::Api;
use super::ask::{confirm, password};
use super::kind::{CREDENTIAL_LIST, Collection, USER, bool_text, text};
use super::names::{Row, find, find_row};
use super::roles::find_role;
use super::table::{print_json, print_text, table};
use crate::args::{UserArgs, UserCommand};
use crate::system::output::ProgramError;

pub(crate) fn run(args: &UserArgs) -> Result<ExitCode, ProgramError> {
    let api = Api::open(&args.common)?;
    match &args.command {
        UserCommand::Add { user, list, role, disabled, password: source } => {
            let list = one_list(&api, list)?;
            let role = role.as_deref().map(|role| find_role(&api, role)).transpose()?;
            let password = password(*source)?;
            let mut form = vec![("Username", user.as_str()), ("Password", password.as_str())];
            form.extend(disabled.then_some(("Disabled", "true")));
            form.extend(role.as_deref().map(|role| ("RoleSid", role)));
            let made = api.post(&list.users(&api).all(), &form)?;
            print_user(&api, with_list(made, &list.name))?;
        }
        UserCommand::List { list } => {
            let users = users(&api, list.as_deref())?;
            match api.json {
                true => print_json(&json!(users))?,
                false => print_text(&table(USER.columns, &users))?,
            }
        }
        UserCommand::Show { user, list } => {
            let (_, user) = one_user(&api, list.as_deref(), user)?;
            print_user(&api, user)?;
        }
        UserCommand::Set { user, list, enable, disable, password: asks, source, role, no_role } => {
            let (path, found) = one_user(&api, list.as_deref(), user)?;
            let role = match role {
                Some(role) => Some(find_role(&api, role)?),
                None => no_role.then(String::new),
            };
            let password: Option<Zeroizing<String>> =
                (*asks || source.password_stdin).then(|| password(*source)).transpose()?;
            let mut form = Vec::new();
            form.extend((*enable || *disable).then_some(("Disabled", bool_text(*disable))));
            form.extend(password.as_ref().map(|password| ("Password", password.as_str())));
            form.extend(role.as_deref().map(|role| ("RoleSid", role)));
            let changed = api.post(&path, &form)?;
            print_user(&api, with_list(changed, text(&found, LIST)))?;
        }
        UserCommand::Delete { user, list, confirm: args } => {
            let (path, found) = one_user(&api, list.as_deref(), user)?;
            let (name, list) = (text(&found, USER.name), text(&found, LIST));
            let question = format!(
                "Delete user `{}` of list `{}`, with the password?",
                escape_name(name),
                escape_name(list)
            );
            confirm(args, &question)?;
            api.delete(&path)?;
            api.deleted(&USER, &found)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The field with the name of a user's list, which the API does not have.
const LIST: &str = "list";

/// A credential list.
struct List {
    sid: String,
    name: String,
}

impl List {
    fn new(list: &Value) -> Self {
        let of = |field| text(list, field).to_owned();
        Self { sid: of("sid"), name: of(CREDENTIAL_LIST.name) }
    }

    fn users(&self, api: &Api) -> Collection {
        api.sip(&CREDENTIAL_LIST).below(&self.sid, &USER)
    }
}

fn one_list(api: &Api, named: &str) -> Result<List, ProgramError> {
    let rows = api.all(&api.sip(&CREDENTIAL_LIST))?;
    find(&CREDENTIAL_LIST, named, &rows).map(List::new)
}

/// All users of one list, or of all.
fn users(api: &Api, list: Option<&str>) -> Result<Vec<Value>, ProgramError> {
    let lists = match list {
        Some(named) => vec![one_list(api, named)?],
        None => api.all(&api.sip(&CREDENTIAL_LIST))?.iter().map(List::new).collect(),
    };
    let mut users = Vec::new();
    for list in &lists {
        let found = api.all(&list.users(api))?;
        users.extend(found.into_iter().map(|user| with_list(user, &list.name)));
    }
    Ok(users)
}

/// A user with the path of its resource.
fn one_user(api: &Api, list: Option<&str>, named: &str) -> Result<(String, Value), ProgramError> {
    let users = users(api, list)?;
    let row = |value| Row { kind: &USER, value, place: Some(text(value, LIST)) };
    let rows: Vec<_> = users.iter().map(row).collect();
    let found = find_row(USER.noun, &[&USER], named, &rows)?.value;
    let lists = api.sip(&CREDENTIAL_LIST);
    let path = lists.below(text(found, "credential_list_sid"), &USER).one(text(found, "sid"));
    Ok((path, found.clone()))
}

fn with_list(mut user: Value, list: &str) -> Value {
    if let Some(fields) = user.as_object_mut() {
        fields.insert(LIST.to_owned(), json!(list));
    }
    user
}

fn print_user(api: &Api, user: Value) -> Result<(), ProgramError> {
    match api.json {
        true => print_json(&user),
        false => print_text(&table(USER.columns, &[user])),
    }
}
