//! The arrays of a document, and their entries.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::convert;
use super::document::{
    AccessListEntry, AccountEntry, AddressEntry, CredentialEntry, CredentialListEntry, Document,
    DocumentError, DomainEntry, MappingEntry, PolicyEntry, RoleEntry, TrunkEntry,
};
use sip_authz::model::{Key, Record, Target};
use sip_authz_directory::Incoming;

/// Declares the arrays of a document. In their order, each record refers only to records before it.
macro_rules! arrays {
    ($($(#[$doc:meta])* $array:ident = $field:ident: $entry:ident,)*) => {
        /// An array of a document.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Array {
            $($(#[$doc])* $array,)*
        }

        impl Array {
            pub(super) const ALL: &[Self] = &[$(Self::$array),*];

            /// The name in a document.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$array => stringify!($field),)*
                }
            }
        }

        /// An entry of a document.
        #[derive(Debug, Serialize)]
        #[serde(untagged)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub enum Entry {
            $($array($entry),)*
        }

        impl Entry {
            /// Parses an entry of this array. An error has the path of the field.
            pub(super) fn parse(
                array: Array,
                text: &[u8],
            ) -> Result<Self, (String, serde_json::Error)> {
                Ok(match array {
                    $(Array::$array => Self::$array(parse(text)?),)*
                })
            }

            pub(super) fn array(&self) -> Array {
                match self {
                    $(Self::$array(_) => Array::$array,)*
                }
            }
        }

        impl Document {
            /// Adds a record, with its hashes only if `secrets` is set.
            pub fn push(&mut self, record: &Record, secrets: bool) {
                match Entry::of(record, secrets) {
                    $(Entry::$array(entry) => self.$field.push(entry),)*
                }
            }

            /// Converts the entries to records, in an order in which each record refers only to earlier
            /// ones.
            ///
            /// # Errors
            ///
            /// [`DocumentError`] for the first invalid entry. References to other records are not
            /// checked.
            pub fn into_incoming(self) -> Result<Vec<Incoming>, DocumentError> {
                let mut all = Vec::with_capacity(self.len());
                $(for (at, entry) in self.$field.into_iter().enumerate() {
                    all.push(Entry::$array(entry).into_incoming(at)?);
                })*
                Ok(all)
            }
        }
    };
}

arrays! {
    Accounts = accounts: AccountEntry,
    Roles = roles: RoleEntry,
    AccessLists = ip_access_control_lists: AccessListEntry,
    Addresses = ip_addresses: AddressEntry,
    CredentialLists = credential_lists: CredentialListEntry,
    Credentials = credentials: CredentialEntry,
    Domains = domains: DomainEntry,
    Trunks = trunks: TrunkEntry,
    Policies = policies: PolicyEntry,
    Mappings = mappings: MappingEntry,
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, (String, serde_json::Error)> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let entry = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // the library writes `.` and `?` for unknown parts of a path
        (path.trim_end_matches(['.', '?']).to_owned(), error.into_inner())
    })?;
    deserializer.end().map_err(|error| (String::new(), error))?;
    Ok(entry)
}

impl Array {
    /// The array of the record with this key.
    pub(super) fn of(key: Key) -> Self {
        match key {
            Key::Account(_) => Self::Accounts,
            Key::Role(_) => Self::Roles,
            Key::IpAccessControlList(_) => Self::AccessLists,
            Key::IpAddress(_) => Self::Addresses,
            Key::CredentialList(_) => Self::CredentialLists,
            Key::Credential(_) => Self::Credentials,
            Key::Target(Target::Domain(_)) => Self::Domains,
            Key::Target(Target::Trunk(_)) => Self::Trunks,
            Key::Policy(_) => Self::Policies,
            Key::Mapping(_) => Self::Mappings,
        }
    }
}

impl Entry {
    /// The entry of a record, with its hashes only if `secrets` is set.
    pub(super) fn of(record: &Record, secrets: bool) -> Self {
        match record {
            Record::Account(account) => Self::Accounts(convert::account_entry(account, secrets)),
            Record::Role(role) => Self::Roles(role.into()),
            Record::IpAccessControlList(list) => Self::AccessLists(list.into()),
            Record::IpAddress(address) => Self::Addresses(convert::address_entry(address)),
            Record::CredentialList(list) => Self::CredentialLists(list.into()),
            Record::Credential(user) => Self::Credentials(convert::credential_entry(user, secrets)),
            Record::Domain(domain) => Self::Domains(domain.into()),
            Record::Trunk(trunk) => Self::Trunks(trunk.into()),
            Record::Policy(record) => Self::Policies(record.into()),
            Record::Mapping(record) => Self::Mappings(convert::mapping_entry(record)),
        }
    }

    /// The record of this entry, which is the one at this index of its array.
    pub(super) fn into_incoming(self, at: usize) -> Result<Incoming, DocumentError> {
        Ok(match self {
            Self::Accounts(entry) => convert::account(entry, at)?,
            Self::Roles(entry) => entry.into(),
            Self::AccessLists(entry) => entry.into(),
            Self::Addresses(entry) => convert::address(entry, at)?,
            Self::CredentialLists(entry) => entry.into(),
            Self::Credentials(entry) => convert::credential(entry, at)?,
            Self::Domains(entry) => entry.into(),
            Self::Trunks(entry) => entry.into(),
            Self::Policies(entry) => entry.into(),
            Self::Mappings(entry) => convert::mapping(&entry, at)?,
        })
    }
}
