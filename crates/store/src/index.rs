//! Secondary indexes of records: the collections that list them, and their unique names.
//!
//! Every store keeps these indexes beside the records.

use arrayvec::ArrayVec;

use sip_authz::model::Key;
use sip_authz::model::{DomainName, Mapping, Record, Target, UserName};
use sip_authz::{AccountSid, CredentialListSid, IpAccessControlListSid, RoleSid, ServiceSid};

/// The key of an IP access control list or a credential list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListKey {
    /// An IP access control list.
    IpAccessControlList(IpAccessControlListSid),
    /// A credential list.
    CredentialList(CredentialListSid),
}

/// Records that are listed or counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Collection {
    /// All accounts.
    Accounts,
    /// The domains of an account.
    Domains(AccountSid),
    /// The trunks of an account.
    Trunks(AccountSid),
    /// The IP access control lists of an account.
    IpAccessControlLists(AccountSid),
    /// The credential lists of an account.
    CredentialLists(AccountSid),
    /// The roles of an account in one name space.
    Roles(AccountSid, ServiceSid),
    /// The roles of an account in all name spaces.
    AccountRoles(AccountSid),
    /// The entries of an IP access control list.
    IpAddresses(IpAccessControlListSid),
    /// The users of a credential list.
    Credentials(CredentialListSid),
    /// The mappings to a domain or trunk, of all kinds.
    Mappings(Target),
    /// The mappings of a list, to domains and trunks alike.
    MappingsOf(ListKey),
    /// The credentials and mappings that carry a role.
    CarriersOf(RoleSid),
}

/// A name that at most one record has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lookup {
    /// The host name of a domain or trunk.
    Name(DomainName),
    /// A user name within a list.
    User(CredentialListSid, UserName),
}

/// The collections that a record is in.
pub fn collections(record: &Record) -> impl Iterator<Item = Collection> + use<> {
    let mut all = ArrayVec::<_, 3>::new();
    match record {
        Record::Account(_) => all.push(Collection::Accounts),
        Record::Domain(domain) => all.push(Collection::Domains(domain.account)),
        Record::Trunk(trunk) => all.push(Collection::Trunks(trunk.account)),
        Record::IpAccessControlList(list) => {
            all.push(Collection::IpAccessControlLists(list.account));
        }
        Record::CredentialList(list) => all.push(Collection::CredentialLists(list.account)),
        Record::Role(role) => {
            all.push(Collection::Roles(role.account, role.service));
            all.push(Collection::AccountRoles(role.account));
        }
        Record::IpAddress(address) => all.push(Collection::IpAddresses(address.list)),
        Record::Credential(credential) => {
            all.push(Collection::Credentials(credential.list));
            all.extend(credential.role.map(Collection::CarriersOf));
        }
        Record::Mapping(record) => {
            all.push(Collection::Mappings(record.mapping.target()));
            all.push(Collection::MappingsOf(match record.mapping {
                Mapping::IpAccessControlList(_, list) => ListKey::IpAccessControlList(list),
                Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                    ListKey::CredentialList(list)
                }
            }));
            all.extend(record.role.map(Collection::CarriersOf));
        }
        Record::Policy(_) => {}
    }
    all.into_iter()
}

/// The unique name of a record, if its kind has one.
#[must_use]
pub fn lookup(record: &Record) -> Option<Lookup> {
    match record {
        Record::Domain(domain) => Some(Lookup::Name(domain.name.clone())),
        Record::Trunk(trunk) => trunk.name.clone().map(Lookup::Name),
        Record::Credential(user) => Some(Lookup::User(user.list, user.username.clone())),
        _ => None,
    }
}

/// The keys of the records that a record refers to.
pub fn references(record: &Record) -> impl Iterator<Item = Key> + use<> {
    let mut all = ArrayVec::<_, 3>::new();
    match record {
        Record::Account(_) => {}
        Record::Domain(domain) => all.push(Key::Account(domain.account)),
        Record::Trunk(trunk) => all.push(Key::Account(trunk.account)),
        Record::IpAccessControlList(list) => all.push(Key::Account(list.account)),
        Record::CredentialList(list) => all.push(Key::Account(list.account)),
        Record::Role(role) => all.push(Key::Account(role.account)),
        Record::IpAddress(address) => all.push(Key::IpAccessControlList(address.list)),
        Record::Credential(credential) => {
            all.push(Key::CredentialList(credential.list));
            all.extend(credential.role.map(Key::Role));
        }
        Record::Policy(record) => all.push(Key::Target(record.target)),
        Record::Mapping(record) => {
            all.push(Key::Target(record.mapping.target()));
            all.push(match record.mapping {
                Mapping::IpAccessControlList(_, list) => Key::IpAccessControlList(list),
                Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                    Key::CredentialList(list)
                }
            });
            all.extend(record.role.map(Key::Role));
        }
    }
    all.into_iter()
}
