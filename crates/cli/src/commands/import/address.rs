//! The table `address` of Kamailio and OpenSIPS: one IP access control list for each group.
//!
//! Kamailio calls the columns grp, ip_addr, mask, port, tag; OpenSIPS grp, ip, mask, port, proto,
//! pattern, context_info. An entry here admits an address for any port, transport and From. A row
//! that is limited to one of them is an error without `--widen`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use sip_authz::acl::{Prefix, PrefixError};
use sip_authz::model::{IpAccessControlList, IpAddress};
use sip_authz::{AccountSid, IpAccessControlListSid, IpAddressSid};

use super::table::{self, Row};
use super::{FileError, Rows};
use crate::args::ImportArgs;

const LONGEST_NAME: usize = 255;

pub(super) fn read(text: &str, args: &ImportArgs) -> Result<Rows, FileError> {
    let Some(account) = args.account else {
        return Err(FileError::new("no account"));
    };
    let mut import = Import { account, args, rows: Rows::default(), groups: HashMap::new() };
    let address =
        if table::columns(text)?.iter().any(|name| name == "ip") { "ip" } else { "ip_addr" };
    table::for_each(text, &[address], |row| import.row(row, address))?;
    if import.rows.records.is_empty() {
        return Err(FileError::new("expected at least one row, found none"));
    }
    Ok(import.rows)
}

struct Import<'i> {
    account: AccountSid,
    args: &'i ImportArgs,
    rows: Rows,
    /// The list of each group, and its prefixes, each with the line of its first row.
    groups: HashMap<u32, (IpAccessControlListSid, HashMap<Prefix, u64>)>,
}

impl Import<'_> {
    fn row(&mut self, row: &Row<'_>, column: &str) -> Result<(), FileError> {
        let group: u32 = match row.get("grp") {
            None => 1,
            Some(text) => text
                .parse()
                .map_err(|_| row.wrong("grp", format!("expected a number, got `{text}`")))?,
        };
        let prefix = prefix(row, column)?;
        if prefix.is_whole_internet() && !self.args.allow_all {
            let message = "0 admits every address; allow it with --allow-all";
            return Err(row.wrong("mask", message));
        }
        if !self.args.widen {
            check_conditions(row)?;
        }
        let account = self.account.to_string();
        let (list, prefixes) = self.groups.entry(group).or_insert_with(|| {
            let named = group.to_string();
            let sid = IpAccessControlListSid::from_name(&[&account, "address", &named]);
            let friendly_name = format!("group {group}");
            self.rows.names.insert(sid, &friendly_name);
            let new = IpAccessControlList::new(sid, self.account);
            self.rows.records.push(IpAccessControlList { friendly_name, ..new }.into());
            (sid, HashMap::new())
        });
        let line = row.line;
        if let Some(first) = prefixes.get(&prefix) {
            self.rows.repeats.push(format!(
                "{line}: {column}: `{prefix}` is in group {group} twice, first in line {first}; this \
                 row is skipped"
            ));
            return Ok(());
        }
        prefixes.insert(prefix, line);
        let (named, text) = (group.to_string(), prefix.to_string());
        let sid = IpAddressSid::from_name(&[&account, "address", &named, &text]);
        let tag = row.get("tag").or_else(|| row.get("context_info")).unwrap_or_default();
        let friendly_name: String =
            tag.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        self.rows.names.insert(sid, format_args!("{text}, line {}", row.line));
        let new = IpAddress::new(sid, *list, prefix);
        self.rows.records.push(IpAddress { friendly_name, ..new }.into());
        Ok(())
    }
}

fn prefix(row: &Row<'_>, column: &str) -> Result<Prefix, FileError> {
    let text = row.get(column).ok_or_else(|| row.wrong(column, "expected an IP address"))?;
    let text = text.trim();
    let mask = row.get("mask");
    if mask.is_none() && text.contains('/') {
        return text.parse().map_err(|error: PrefixError| row.wrong(column, error));
    }
    let address: IpAddr = text.parse().map_err(|_| {
        row.wrong(column, format!("expected an IP address, got `{text}` (no host names)"))
    })?;
    let Some(mask) = mask else { return Ok(address.into()) };
    let mask = mask.trim();
    let prefix = if address.is_ipv4() && mask.parse::<Ipv4Addr>().is_ok() {
        format!("{address}/{mask}").parse()
    } else {
        // `parse` alone accepts a sign
        let bits = Some(mask).filter(|mask| mask.bytes().all(|byte| byte.is_ascii_digit()));
        let bits = bits.and_then(|bits| bits.parse().ok()).ok_or_else(|| {
            let expected =
                if address.is_ipv4() { "0 to 32 bits or a netmask" } else { "0 to 128 bits" };
            row.wrong("mask", format!("expected {expected}, got `{mask}`"))
        })?;
        Prefix::new(address, bits)
    };
    prefix.map_err(|error| row.wrong("mask", error))
}

/// Refuses a row that is limited to a port, transport or pattern.
fn check_conditions(row: &Row<'_>) -> Result<(), FileError> {
    for (column, always) in
        [("port", &["0"][..]), ("proto", &["any", "ANY"]), ("pattern", &[]), ("ruri_pattern", &[])]
    {
        if let Some(value) = row.get(column)
            && !always.contains(&&*value)
        {
            let message = format!(
                "limited to `{value}`, but an entry admits the whole address; \
                 import it without the limit with --widen"
            );
            return Err(row.wrong(column, message));
        }
    }
    Ok(())
}
