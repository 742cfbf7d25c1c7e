//! The index tables beside the records, and their checksums.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use sip_authz::model::Record;
use sip_authz_store::{Collection, ListKey, Lookup, collections, lookup};

/// The key of a collection in the tables.
pub(super) fn collection(of: Collection) -> String {
    match of {
        Collection::Accounts => "accounts".to_owned(),
        Collection::Domains(account) => format!("domains/{account}"),
        Collection::Trunks(account) => format!("trunks/{account}"),
        Collection::IpAccessControlLists(account) => format!("access-lists/{account}"),
        Collection::CredentialLists(account) => format!("credential-lists/{account}"),
        Collection::Roles(account, service) => format!("roles/{account}/{service}"),
        Collection::AccountRoles(account) => format!("account-roles/{account}"),
        Collection::IpAddresses(list) => format!("addresses/{list}"),
        Collection::Credentials(list) => format!("credentials/{list}"),
        Collection::Mappings(target) => format!("mappings/{target}"),
        Collection::MappingsOf(ListKey::IpAccessControlList(list)) => format!("mappings-of/{list}"),
        Collection::MappingsOf(ListKey::CredentialList(list)) => format!("mappings-of/{list}"),
        Collection::CarriersOf(role) => format!("carriers-of/{role}"),
    }
}

/// The key of a unique name in the tables.
pub(super) fn name(of: &Lookup) -> String {
    match of {
        Lookup::Name(host) => format!("host/{host}"),
        Lookup::User(list, user) => format!("user/{list}/{user}"),
    }
}

/// Checksums over the index tables, independent of the order of rows. They detect damage. They need not
/// resist an attacker, who would have to be able to write to the file.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Sums {
    members: u128,
    names: u128,
}

impl Sums {
    /// Adds the index rows that belong to the record with this key.
    pub(super) fn add(&mut self, key: &str, record: &Record) {
        for of in collections(record) {
            self.member(&collection(of), key);
        }
        if let Some(of) = lookup(record) {
            self.name(&name(&of), key);
        }
    }

    /// Adds the sums of another reader.
    pub(super) fn plus(&mut self, other: &Self) {
        self.members = self.members.wrapping_add(other.members);
        self.names = self.names.wrapping_add(other.names);
    }

    pub(super) fn member(&mut self, collection: &str, key: &str) {
        self.members = self.members.wrapping_add(hash(collection, key));
    }

    pub(super) fn name(&mut self, name: &str, key: &str) {
        self.names = self.names.wrapping_add(hash(name, key));
    }
}

fn hash(one: &str, two: &str) -> u128 {
    let mut hash = SipHasher13::new();
    hash.write(&(one.len() as u64).to_le_bytes());
    hash.write(one.as_bytes());
    hash.write(two.as_bytes());
    hash.finish128().as_u128()
}
