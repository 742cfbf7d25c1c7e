//! Commits that are determined by their numbers: the number of a store's head determines its contents.

use std::collections::BTreeMap;

use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, Commit, Credential, CredentialList, Dates, Domain, Ha1Set, Key, Record, Write,
};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, DomainSid};

/// Every commit with a multiple of this number is large.
pub const LARGE_EVERY: u64 = 97;

/// The state after the commits so far.
#[derive(Default)]
pub struct Plain {
    pub number: u64,
    pub records: BTreeMap<Key, Record>,
}

fn sid(n: u64) -> [u8; 16] {
    u128::from(n).to_be_bytes()
}

fn record(kind: u64, n: u64, number: u64) -> Record {
    let dates = Dates { created: n, updated: number };
    let account = AccountSid::from_bytes(sid(n % 7));
    let list = CredentialListSid::from_bytes(sid(n % 5));
    match kind {
        0 => Account { dates, ..Account::new(AccountSid::from_bytes(sid(n))) }.into(),
        1 => {
            // the name moves from one commit to the next, and no other record has it
            let name = format!("n{number}.d{n}.example").parse().unwrap();
            Domain { dates, ..Domain::new(DomainSid::from_bytes(sid(n)), account, name) }.into()
        }
        2 => {
            let realm = "example.com".parse().unwrap();
            let list = CredentialListSid::from_bytes(sid(n));
            CredentialList { dates, ..CredentialList::new(list, account, realm) }.into()
        }
        _ => {
            let (user, realm) = (format!("u{n}").parse().unwrap(), "example.com".parse().unwrap());
            let md5 = format!("{:032x}", u128::from(number) << 64 | u128::from(n));
            let ha1 = Ha1Set::from_hex(&user, &realm, [(HashFunction::Md5, md5.as_str())]).unwrap();
            let sid = CredentialSid::from_bytes(sid(n));
            Credential { dates, ..Credential::new(sid, list, user, ha1) }.into()
        }
    }
}

impl Plain {
    /// The state with this number.
    pub fn at(number: u64) -> Self {
        let mut plain = Self::default();
        while plain.number < number {
            plain.advance();
        }
        plain
    }

    /// The next commit: mostly a few writes, sometimes very many.
    pub fn next(&self) -> Commit {
        let number = self.number + 1;
        let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = move |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 16) % bound
        };
        let writes = if number.is_multiple_of(LARGE_EVERY) { 2_000 } else { 1 + below(8) };
        let mut commit = BTreeMap::new();
        for _ in 0..writes {
            let record = record(below(4), below(3_000), number);
            let key = record.key();
            let delete = self.records.contains_key(&key) && below(3) == 0;
            commit.insert(key, if delete { Write::Delete(key) } else { Write::Put(record) });
        }
        let mut made = Commit::new();
        for write in commit.into_values() {
            match write {
                Write::Put(record) => made.put(record),
                Write::Delete(key) => made.delete(key),
            };
        }
        made
    }

    pub fn advance(&mut self) {
        for write in self.next().writes() {
            match write {
                Write::Put(record) => drop(self.records.insert(record.key(), record.clone())),
                Write::Delete(key) => drop(self.records.remove(key)),
            }
        }
        self.number += 1;
    }
}
