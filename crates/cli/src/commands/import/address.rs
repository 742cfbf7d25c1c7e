//! The table `address` of Kamailio and OpenSIPS: one IP access control list for each group.
//!
//! Kamailio calls the columns grp, ip_addr, mask, port, tag; OpenSIPS grp, ip, mask, port, proto,
//! pattern, context_info. An entry here admits an address for any port, transport and From. A row
//! that is limited to one of them is an error without `--widen`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use sip_authz::acl::Prefix;
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
    let mut import =
        Import { account, args, rows: Rows::default(), groups: HashMap::new(), again: 0 };
    let address =
        if table::columns(text)?.iter().any(|name| name == "ip") { "ip" } else { "ip_addr" };
    table::for_each(text, &[address], |row| import.row(row, address))?;
    if import.rows.records.is_empty() {
        return Err(FileError::new("expected at least one row, found none"));
    }
    if import.again > 0 {
        let note = format!("{} rows are duplicates and were skipped", import.again);
        import.rows.notes.push(note);
    }
    Ok(import.rows)
}

struct Import<'i> {
    account: AccountSid,
    args: &'i ImportArgs,
    rows: Rows,
    /// The list of each group, and its prefixes.
    groups: HashMap<u32, (IpAccessControlListSid, HashSet<Prefix>)>,
    again: usize,
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
            (sid, HashSet::new())
        });
        if !prefixes.insert(prefix) {
            self.again += 1;
            return Ok(());
        }
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
    let address: IpAddr = text.trim().parse().map_err(|_| {
        row.wrong(column, format!("expected an IP address, got `{text}` (no host names)"))
    })?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let mask: u8 = match row.get("mask") {
        None => longest,
        Some(mask) => mask.trim().parse().map_err(|_| {
            row.wrong("mask", format!("expected 0 to {longest} bits, got `{mask}`"))
        })?,
    };
    Prefix::new(address, mask).map_err(|error| row.wrong("mask", error))
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
