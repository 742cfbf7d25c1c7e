//! `sip-authz account`: the accounts of a running program.

use std::process::ExitCode;

use serde::Deserialize;
use sip_authz::AccountSid;

use crate::args::{AccountArgs, AccountCommand};
use crate::client::Client;
use crate::failure::{Failure, say};

const ACCOUNTS: &str = "/2010-04-01/Accounts";

#[derive(Deserialize)]
struct Account {
    sid: String,
    friendly_name: String,
    status: String,
    /// Only where it is new.
    auth_token: Option<String>,
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
    next_page_uri: Option<String>,
}

pub(crate) fn run(args: &AccountArgs) -> Result<ExitCode, Failure> {
    let client = Client::new(&args.server)?;
    match &args.command {
        AccountCommand::Create { name } => {
            let form = [("FriendlyName", name.as_str())];
            print_new(&client.post(&format!("{ACCOUNTS}.json"), &form)?);
        }
        AccountCommand::List => list(&client)?,
        AccountCommand::Suspend { sid } => set_status(&client, *sid, "suspended")?,
        AccountCommand::Activate { sid } => set_status(&client, *sid, "active")?,
        AccountCommand::Close { sid } => set_status(&client, *sid, "closed")?,
        AccountCommand::RotateToken { sid } => {
            print_new(&client.post(&format!("{ACCOUNTS}/{sid}/AuthToken.json"), &[])?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_new(account: &Account) {
    say(format_args!("account    {}", account.sid));
    say(format_args!("auth token {}", account.auth_token.as_deref().unwrap_or("-")));
}

fn list(client: &Client) -> Result<(), Failure> {
    let mut next = Some(format!("{ACCOUNTS}.json?PageSize=1000"));
    while let Some(path) = next {
        let page: Accounts = client.get(&path)?;
        page.accounts.iter().for_each(print);
        next = page.next_page_uri;
    }
    Ok(())
}

fn set_status(client: &Client, sid: AccountSid, status: &str) -> Result<(), Failure> {
    let path = format!("{ACCOUNTS}/{sid}.json");
    print(&client.post(&path, &[("Status", status)])?);
    Ok(())
}

fn print(account: &Account) {
    let Account { sid, status, friendly_name, .. } = account;
    say(format_args!("{sid}  {status:<9}  {friendly_name}"));
}
