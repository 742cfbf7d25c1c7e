//! The table `subscriber` of Kamailio and OpenSIPS: users of a realm, one credential list for each
//! domain.
//!
//! `ha1` is MD5(username:realm:password). The realm is the domain, or `--realm`. OpenSIPS 3 adds
//! `ha1_sha256` and `ha1_sha512t256`. `ha1b` is the same hash with username@domain in place of the
//! user name; `--with-ha1b` imports it as a second user. A plain `password` is used for a row
//! without hashes.

use std::borrow::Cow;
use std::collections::HashMap;

use sip_authz::digest::HashFunction;
use sip_authz::model::{Credential, CredentialList, Ha1Set, Password, Realm, Record, UserName};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid};

use super::table::{self, Row};
use super::{FileError, Rows};
use crate::args::ImportArgs;

const LONGEST_NAME: usize = 64;

pub(super) fn read(text: &str, args: &ImportArgs) -> Result<Rows, FileError> {
    let Some(account) = args.account else {
        return Err(FileError::new("no account"));
    };
    let mut import = Import { account, args, rows: Rows::default(), lists: HashMap::new() };
    let needed = if args.realm.is_some() { &["username"][..] } else { &["username", "domain"] };
    table::for_each(text, needed, |row| import.row(row))?;
    if import.rows.records.is_empty() {
        return Err(FileError::new("expected at least one row, found none"));
    }
    Ok(import.rows)
}

struct Import<'i> {
    account: AccountSid,
    args: &'i ImportArgs,
    rows: Rows,
    /// The list of each domain.
    lists: HashMap<String, List>,
}

struct List {
    sid: CredentialListSid,
    realm: Realm,
    /// The line of each user name.
    users: HashMap<UserName, u64>,
}

impl Import<'_> {
    fn row(&mut self, row: &Row<'_>) -> Result<(), FileError> {
        let domain = row.get("domain").unwrap_or_default();
        let username =
            row.get("username").ok_or_else(|| row.wrong("username", "expected a user name"))?;
        let name = user_name(row, "username", &username)?;
        let realm = self.list(row, &domain)?.realm.clone();
        let ha1 = hashes(row, &name, &realm)?;
        self.put(row, &domain, name, ha1)?;
        if !self.args.with_ha1b {
            return Ok(());
        }
        let name = user_name(row, "username", &format!("{username}@{domain}"))?;
        let ha1 = match (row.get("ha1b"), row.get("password")) {
            (Some(hash), _) => from_hash(row, "ha1b", HashFunction::Md5, &hash, &name, &realm)?,
            (None, Some(password)) => from_password(row, &password, &name, &realm)?,
            (None, None) => return Ok(()),
        };
        self.put(row, &domain, name, ha1)
    }

    /// The list of a domain; adds it at the first user.
    fn list(&mut self, row: &Row<'_>, domain: &str) -> Result<&mut List, FileError> {
        if !self.lists.contains_key(domain) {
            let realm = match &self.args.realm {
                Some(realm) => realm.clone(),
                None if domain.is_empty() => {
                    let message =
                        "expected a domain; --realm names the realm of the hashes instead";
                    return Err(row.wrong("domain", message));
                }
                None => domain.parse().map_err(|error| row.wrong("domain", error))?,
            };
            let account = self.account.to_string();
            let sid = CredentialListSid::from_name(&[&account, "subscriber", domain]);
            let called = if domain.is_empty() { realm.as_str() } else { domain };
            let friendly_name = called.chars().take(LONGEST_NAME).collect();
            let new = CredentialList::new(sid, self.account, realm.clone());
            self.rows.names.insert(sid, called);
            self.rows.records.push(CredentialList { friendly_name, ..new }.into());
            let list = List { sid, realm, users: HashMap::new() };
            self.lists.insert(domain.to_owned(), list);
        }
        self.lists.get_mut(domain).ok_or_else(|| row.wrong("domain", "no list"))
    }

    fn put(
        &mut self,
        row: &Row<'_>,
        domain: &str,
        name: UserName,
        ha1: Ha1Set,
    ) -> Result<(), FileError> {
        let account = self.account.to_string();
        let list = self.list(row, domain)?;
        if let Some(line) = list.users.insert(name.clone(), row.line) {
            let message =
                format!("duplicate user `{name}` in domain `{domain}`, first in line {line}");
            return Err(row.wrong("username", message));
        }
        let sid = CredentialSid::from_name(&[&account, "subscriber", domain, name.as_str()]);
        let list = list.sid;
        self.rows.names.insert(sid, format_args!("{name}, line {}", row.line));
        self.rows.records.push(Record::Credential(Credential::new(sid, list, name, ha1)));
        Ok(())
    }
}

fn user_name(row: &Row<'_>, column: &str, text: &str) -> Result<UserName, FileError> {
    text.parse().map_err(|error| row.wrong(column, error))
}

/// The column with the hashes of a function.
fn column(function: HashFunction) -> Cow<'static, str> {
    match function {
        HashFunction::Md5 => "ha1".into(),
        HashFunction::Sha512_256 => "ha1_sha512t256".into(),
        other => format!("ha1_{}", other.stored_name()).into(),
    }
}

/// The hashes of a row, or those of its plain password.
fn hashes(row: &Row<'_>, name: &UserName, realm: &Realm) -> Result<Ha1Set, FileError> {
    let mut given: Vec<(HashFunction, Cow<'_, str>)> = Vec::new();
    let mut last = None;
    for function in HashFunction::ALL {
        let column = column(function);
        if let Some(hash) = row.get(&column) {
            // checked one by one, so that an error names its column
            last = Some(from_hash(row, &column, function, &hash, name, realm)?);
            given.push((function, hash));
        }
    }
    match (last, given.len()) {
        (None, _) => match row.get("password") {
            Some(password) => from_password(row, &password, name, realm),
            None => Err(row.wrong("ha1", "expected a hash, or a value in password")),
        },
        (Some(only), 1) => Ok(only),
        (Some(_), _) => {
            let given = given.iter().map(|(function, hash)| (*function, &**hash));
            Ha1Set::from_hex(name, realm, given).map_err(|error| row.wrong("ha1", error))
        }
    }
}

fn from_hash(
    row: &Row<'_>,
    column: &str,
    function: HashFunction,
    hash: &str,
    name: &UserName,
    realm: &Realm,
) -> Result<Ha1Set, FileError> {
    Ha1Set::from_hex(name, realm, [(function, hash)]).map_err(|error| row.wrong(column, error))
}

fn from_password(
    row: &Row<'_>,
    password: &str,
    name: &UserName,
    realm: &Realm,
) -> Result<Ha1Set, FileError> {
    let password = Password::new(password.to_owned());
    Ha1Set::from_password(name, realm, password).map_err(|error| row.wrong("password", error))
}
