//! The API of a running server, for the resources of one account.

use serde_json::{Value, json};
use sip_authz::{AccountSid, escape_name};

use super::kind::{Collection, Kind, text};
use super::names::find;
use super::table::{print_json, print_text};
use crate::args::ResourceArgs;
use crate::commands::client::{Client, User};
use crate::system::output::ProgramError;

/// A connection to a server, for one account.
pub(super) struct Api {
    client: Client,
    account: AccountSid,
    /// Whether to print JSON.
    pub(super) json: bool,
}

impl Api {
    /// Reads the settings, and finds out the account.
    pub(super) fn open(args: &ResourceArgs) -> Result<Self, ProgramError> {
        let client = Client::new(&args.server)?;
        let account = account(&client, args.account.as_deref())?;
        let client = match client.user() {
            User::Admin => client.acting_for(account),
            User::Account(_) => client,
        };
        Ok(Self { client, account, json: args.json })
    }

    /// The resources of a kind below `SIP`.
    pub(super) fn sip(&self, kind: &'static Kind) -> Collection {
        Collection::sip(self.account, kind)
    }

    /// The account itself.
    pub(super) fn account(&self) -> Result<Value, ProgramError> {
        self.client.get(&Collection::accounts().one(&self.account.to_string()))
    }

    /// All resources of a collection.
    pub(super) fn all(&self, collection: &Collection) -> Result<Vec<Value>, ProgramError> {
        all(&self.client, collection)
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, ProgramError> {
        self.client.get(path)
    }

    /// Creates or changes a resource; returns it.
    pub(super) fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, ProgramError> {
        self.client.post(path, form)
    }

    pub(super) fn delete(&self, path: &str) -> Result<(), ProgramError> {
        Ok(self.client.delete(path)?)
    }

    /// Prints that a resource is deleted.
    pub(super) fn deleted(&self, kind: &Kind, resource: &Value) -> Result<(), ProgramError> {
        if self.json {
            return print_json(&json!({ "deleted": resource }));
        }
        let host = kind.host.map(|host| text(resource, host)).filter(|host| !host.is_empty());
        let name = escape_name(host.unwrap_or(text(resource, kind.name)));
        let (noun, sid) = (kind.noun, text(resource, "sid"));
        print_text(&format!("deleted {noun} `{name}` ({sid})"))
    }
}

/// Reads all pages of a collection.
fn all(client: &Client, collection: &Collection) -> Result<Vec<Value>, ProgramError> {
    let path = collection.all();
    let mut rows = Vec::new();
    let mut query = format!("?PageSize={}", collection.kind.page);
    loop {
        let page: Value = client.get(&format!("{path}{query}"))?;
        let Some(found) = page.get(collection.key).and_then(Value::as_array) else {
            let message = format!("{path}: the answer has no `{}`", collection.key);
            return Err(ProgramError::Runtime(message));
        };
        rows.extend(found.iter().cloned());
        let link = page.get("next_page_uri");
        let link = link.or_else(|| page.get("meta").and_then(|meta| meta.get("next_page_url")));
        // the host of an absolute link is the server's, which may not be the one to send to
        let next = link.and_then(Value::as_str).and_then(|link| Some(link.split_once('?')?.1));
        match next.map(|next| format!("?{next}")) {
            Some(next) if next != query => query = next,
            _ => return Ok(rows),
        }
    }
}

/// The account of the credentials, or the one that the admin names.
fn account(client: &Client, named: Option<&str>) -> Result<AccountSid, ProgramError> {
    if let User::Account(own) = client.user() {
        return match named {
            None => Ok(own),
            Some(named) if named == own.to_string() => Ok(own),
            Some(named) => Err(ProgramError::Setup(format!(
                "--account `{}`: the credentials are those of {own}; only the admin can name \
                 another account",
                escape_name(named)
            ))),
        };
    }
    if let Some(sid) = named.and_then(|named| named.parse().ok()) {
        return Ok(sid);
    }
    let collection = Collection::accounts();
    let rows = all(client, &collection)?;
    let row = match (named, rows.as_slice()) {
        (Some(named), rows) => find(collection.kind, named, rows)?,
        (None, [only]) => only,
        (None, []) => {
            let message = "there is no account; create one: `sip-authz account create NAME`";
            return Err(ProgramError::Runtime(message.to_owned()));
        }
        (None, rows) => {
            let message = format!(
                "expected --account with one of the {} accounts; `sip-authz account list` prints them",
                rows.len()
            );
            return Err(ProgramError::Setup(message));
        }
    };
    let sid = text(row, "sid");
    sid.parse().map_err(|_| ProgramError::Runtime(format!("`{sid}` is not the SID of an account")))
}
