//! `sip-authz account`: creates, lists and changes accounts of a running server.

use std::process::ExitCode;

use serde::Deserialize;
use sip_authz::{AccountSid, escape_line, escape_name};

use crate::args::{AccountArgs, AccountCommand};
use crate::commands::client::Client;
use crate::system::output::{ProgramError, print, try_print};

const ACCOUNTS: &str = "/2010-04-01/Accounts";

#[derive(Deserialize)]
struct Account {
    sid: String,
    friendly_name: String,
    status: String,
    /// Present only in the answer that creates the token.
    auth_token: Option<String>,
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
    next_page_uri: Option<String>,
}

pub(crate) fn run(args: &AccountArgs) -> Result<ExitCode, ProgramError> {
    let client = Client::new(&args.server)?;
    match &args.command {
        AccountCommand::Create { name } => {
            let form = [("FriendlyName", name.as_str())];
            print_new(&client.post(&format!("{ACCOUNTS}.json"), &form)?)?;
        }
        AccountCommand::List => list(&client)?,
        AccountCommand::Suspend { sid } => set_status(&client, *sid, "suspended")?,
        AccountCommand::Activate { sid } => set_status(&client, *sid, "active")?,
        AccountCommand::Close { sid } => set_status(&client, *sid, "closed")?,
        AccountCommand::RotateToken { sid } => {
            print_new(&client.post(&format!("{ACCOUNTS}/{sid}/AuthToken.json"), &[])?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a new auth token. The server never shows it again, so a failed write is an error.
fn print_new(account: &Account) -> Result<(), ProgramError> {
    let Account { sid, auth_token, .. } = account;
    let token = auth_token.as_deref().unwrap_or("-");
    let (sid, token) = (escape_line(sid), escape_line(token));
    try_print(format_args!("account    {sid}\nauth token {token}")).map_err(|error| {
        ProgramError::Runtime(format!(
            "stdout: {error}; the new auth token of {sid} is lost; \
             `sip-authz account rotate-token {sid}` creates another"
        ))
    })
}

fn list(client: &Client) -> Result<(), ProgramError> {
    let mut next = Some(format!("{ACCOUNTS}.json?PageSize=1000"));
    while let Some(path) = next {
        let page: Accounts = client.get(&path)?;
        page.accounts.iter().try_for_each(print_one)?;
        next = page.next_page_uri;
    }
    Ok(())
}

fn set_status(client: &Client, sid: AccountSid, status: &str) -> Result<(), ProgramError> {
    let path = format!("{ACCOUNTS}/{sid}.json");
    print_one(&client.post(&path, &[("Status", status)])?)
}

fn print_one(account: &Account) -> Result<(), ProgramError> {
    let Account { sid, status, friendly_name, .. } = account;
    let (sid, status, name) =
        (escape_line(sid), escape_line(status).to_string(), escape_name(friendly_name));
    print(format_args!("{sid}  {status:<9}  {name}"))
}
