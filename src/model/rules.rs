//! Conditions between records: unique names across domains and trunks, references to existing
//! records of the same account, one realm for all lists of a target, and no deletion of a record in
//! use.
//!
//! The rules read the current records through a [`View`]. A snapshot implements it, and so does a
//! store. A commit is applied in this order: deletions, then the old names of renamed domains and
//! trunks, then puts in the order of [`rank`].

use std::fmt;

use super::name::{DomainName, Realm, UserName};
use super::permission::RoleKind;
use super::policy::PolicyError;
use super::record::{AccountStatus, Key, Mapping, MappingRecord, Record, Target};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid, RoleSid,
    ServiceSid,
};

/// The maximum number of credential lists mapped to one domain or trunk that hold the same user name.
///
/// A decision compares the response with each copy of the claimed name, so the bound limits the cost
/// of a request. Directories and the configuration refuse a user or a mapping beyond it, by
/// [`Snapshot::check_copies`](crate::Snapshot::check_copies). A snapshot does not refuse it, because
/// a store of an older release may hold more copies: there only those in the first lists by SID
/// count, and [`Snapshot::warnings`](crate::Snapshot::warnings) names the target.
pub const MAX_COPIES: usize = 4;

/// The facts about a list that the rules use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFacts {
    /// The owning account.
    pub account: AccountSid,
    /// The realm of a credential list; `None` for an access list.
    pub realm: Option<Realm>,
    /// The number of addresses or credentials in the list.
    pub members: usize,
    /// The number of mappings that refer to the list.
    pub mappings: usize,
}

/// The facts about a domain or trunk that the rules use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// The owning account.
    pub account: AccountSid,
    /// The number of mappings that refer to it.
    pub mappings: usize,
    /// Whether it has a policy record.
    pub has_policy: bool,
    /// The realm of the mapped credential lists, if there are any.
    pub realm: Option<Realm>,
}

/// The facts about a role that the rules use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// The owning account.
    pub account: AccountSid,
    /// The service, which is the name space of the role.
    pub service: ServiceSid,
    /// Whether credentials or mappings carry the role.
    pub kind: RoleKind,
    /// The number of credentials and mappings that carry it.
    pub uses: usize,
}

/// Read access to the current records, as far as the rules need it.
pub trait View {
    /// The account's status and the number of domains, trunks, lists and roles that it owns.
    fn account(&self, sid: AccountSid) -> Option<(AccountStatus, usize)>;
    /// The facts about a domain or trunk.
    fn target(&self, target: Target) -> Option<TargetFacts>;
    /// The domain or trunk that has this name.
    fn named(&self, name: &DomainName) -> Option<Target>;
    /// The facts about an IP access control list.
    fn ip_access_control_list(&self, sid: IpAccessControlListSid) -> Option<ListFacts>;
    /// The facts about a credential list.
    fn credential_list(&self, sid: CredentialListSid) -> Option<ListFacts>;
    /// The list that holds an address.
    fn ip_address(&self, sid: IpAddressSid) -> Option<IpAccessControlListSid>;
    /// The list that holds a credential, and its user name.
    fn credential(&self, sid: CredentialSid) -> Option<(CredentialListSid, UserName)>;
    /// The credential of a user in a list.
    fn user(&self, list: CredentialListSid, username: &UserName) -> Option<CredentialSid>;
    /// Whether the mapping exists.
    fn mapping(&self, mapping: Mapping) -> bool;
    /// The facts about a role.
    fn role(&self, sid: RoleSid) -> Option<RoleFacts>;
}

/// A write that breaks a rule. The message names the cause and the record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The record to delete, or a record that the write refers to, does not exist.
    #[error("there is no {0}")]
    Missing(Key),
    /// Another domain or trunk has the name.
    #[error("the name `{name}` is taken by {by}")]
    NameTaken {
        /// The name.
        name: DomainName,
        /// The domain or trunk that has it.
        by: Target,
    },
    /// Another credential of the list has the user name.
    #[error("the user name `{username}` is taken by {by} in {list}")]
    UserNameTaken {
        /// The user name.
        username: UserName,
        /// The list.
        list: CredentialListSid,
        /// The credential that has it.
        by: CredentialSid,
    },
    /// A list and its target belong to different accounts.
    #[error("{list} belongs to {list_account}, {target} to {target_account}")]
    OtherAccount {
        /// The list, as text.
        list: String,
        /// The owner of the list.
        list_account: AccountSid,
        /// The domain or trunk.
        target: Target,
        /// The owner of the target.
        target_account: AccountSid,
    },
    /// The write would change a value that cannot change.
    #[error("the {what} of {key} cannot be changed")]
    Fixed {
        /// The name of the value.
        what: &'static str,
        /// The record.
        key: Key,
    },
    /// The mapped lists of one target would have different realms.
    #[error("{list} has the realm `{realm}`, the lists mapped to {target} have `{expected}`")]
    RealmDiffers {
        /// The list to map.
        list: CredentialListSid,
        /// The realm of that list.
        realm: Realm,
        /// The domain or trunk.
        target: Target,
        /// The realm of the lists that are already mapped.
        expected: Realm,
    },
    /// More than [`MAX_COPIES`] lists mapped to one target would hold the same user name.
    #[error(
        "the user name `{username}` would be in {} of the lists mapped to {target}, at most \
         {MAX_COPIES} are allowed: {}",
        lists.len(),
        Listed(lists)
    )]
    TooManyCopies {
        /// The user name.
        username: UserName,
        /// The domain or trunk.
        target: Target,
        /// The mapped lists that would hold it.
        lists: Vec<CredentialListSid>,
    },
    /// The record to delete is in use.
    #[error("{key} is in use: {by}")]
    InUse {
        /// The record.
        key: Key,
        /// The cause, as text.
        by: &'static str,
    },
    /// The role has the wrong kind, belongs to another account, or the record cannot carry a role.
    #[error("{role} cannot be assigned to {key}")]
    Role {
        /// The role.
        role: RoleSid,
        /// The record that would carry it.
        key: Key,
    },
    /// One commit writes the same key twice.
    #[error("{0} is written twice")]
    WrittenTwice(Key),
    /// A policy is out of range.
    #[error("the policy of {0}: {1}")]
    Policy(Target, PolicyError),
}

/// Lists, separated by commas.
struct Listed<'a>(&'a [CredentialListSid]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, list) in self.0.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{list}")?;
        }
        Ok(())
    }
}

/// The position of a record's kind in the order of puts; deletions use the reverse order. A record
/// refers only to records of lower rank.
#[must_use]
pub fn rank(key: &Key) -> u8 {
    match key {
        Key::Account(_) => 0,
        Key::IpAccessControlList(_) | Key::CredentialList(_) | Key::Role(_) => 1,
        Key::IpAddress(_) | Key::Credential(_) => 2,
        Key::Target(_) => 3,
        Key::Policy(_) => 4,
        Key::Mapping(_) => 5,
    }
}

/// Checks whether `record` may be created or replaced.
///
/// # Errors
///
/// The first rule that it would break.
pub fn check_put(view: &impl View, record: &Record) -> Result<(), RuleError> {
    let key = record.key();
    match record {
        Record::Account(_) => Ok(()),
        Record::IpAccessControlList(list) => {
            let present = view.ip_access_control_list(list.sid).map(|facts| facts.account);
            check_owner(view, key, list.account, present)
        }
        Record::CredentialList(list) => {
            let present = view.credential_list(list.sid);
            let owner = present.as_ref().map(|facts| facts.account);
            check_owner(view, key, list.account, owner)?;
            match present.and_then(|facts| facts.realm) {
                Some(realm) if realm != list.realm => Err(RuleError::Fixed { what: "realm", key }),
                _ => Ok(()),
            }
        }
        Record::IpAddress(address) => {
            exists(
                view.ip_access_control_list(address.list),
                Key::IpAccessControlList(address.list),
            )?;
            match view.ip_address(address.sid) {
                Some(list) if list != address.list => Err(RuleError::Fixed { what: "list", key }),
                _ => Ok(()),
            }
        }
        Record::Credential(credential) => {
            let list = credential.list;
            let facts = exists(view.credential_list(list), Key::CredentialList(list))?;
            check_role(view, key, credential.role, RoleKind::Deployment, facts.account)?;
            if let Some((list, username)) = view.credential(credential.sid) {
                if list != credential.list {
                    return Err(RuleError::Fixed { what: "list", key });
                }
                if username != credential.username {
                    return Err(RuleError::Fixed { what: "user name", key });
                }
            }
            match view.user(credential.list, &credential.username) {
                Some(by) if by != credential.sid => Err(RuleError::UserNameTaken {
                    username: credential.username.clone(),
                    list: credential.list,
                    by,
                }),
                _ => Ok(()),
            }
        }
        Record::Domain(domain) => {
            let target = domain.sid.into();
            check_target(view, target, domain.account, Some(&domain.name))
        }
        Record::Trunk(trunk) => {
            check_target(view, trunk.sid.into(), trunk.account, trunk.name.as_ref())
        }
        Record::Policy(record) => {
            exists(view.target(record.target), Key::Target(record.target))?;
            record.policy.check().map_err(|error| RuleError::Policy(record.target, error))
        }
        Record::Mapping(record) => check_mapping(view, *record),
        Record::Role(role) => {
            let present = view.role(role.sid);
            check_owner(view, key, role.account, present.map(|facts| facts.account))?;
            match present {
                Some(facts) if facts.kind != role.kind => {
                    Err(RuleError::Fixed { what: "type", key })
                }
                Some(facts) if facts.service != role.service => {
                    Err(RuleError::Fixed { what: "service", key })
                }
                _ => Ok(()),
            }
        }
    }
}

/// Checks whether the record with `key` may be deleted.
///
/// # Errors
///
/// [`RuleError::Missing`] or [`RuleError::InUse`].
pub fn check_delete(view: &impl View, key: Key) -> Result<(), RuleError> {
    let unused = |facts: &ListFacts| match (facts.mappings, facts.members) {
        (0, 0) => Ok(()),
        (0, _) => Err(RuleError::InUse { key, by: "it is not empty" }),
        _ => Err(RuleError::InUse { key, by: "it is mapped" }),
    };
    match key {
        Key::Account(sid) => match exists(view.account(sid), key)? {
            (_, 0) => Ok(()),
            _ => Err(RuleError::InUse { key, by: "it owns domains, trunks, lists or roles" }),
        },
        Key::IpAccessControlList(sid) => unused(&exists(view.ip_access_control_list(sid), key)?),
        Key::CredentialList(sid) => unused(&exists(view.credential_list(sid), key)?),
        Key::IpAddress(sid) => exists(view.ip_address(sid), key).map(drop),
        Key::Credential(sid) => exists(view.credential(sid), key).map(drop),
        Key::Target(target) => {
            let facts = exists(view.target(target), key)?;
            if facts.mappings > 0 {
                return Err(RuleError::InUse { key, by: "lists are mapped to it" });
            }
            if facts.has_policy {
                return Err(RuleError::InUse { key, by: "it has a policy" });
            }
            Ok(())
        }
        Key::Policy(target) => match view.target(target) {
            Some(facts) if facts.has_policy => Ok(()),
            _ => Err(RuleError::Missing(key)),
        },
        Key::Mapping(mapping) => exists(view.mapping(mapping).then_some(()), key),
        Key::Role(sid) => match exists(view.role(sid), key)?.uses {
            0 => Ok(()),
            _ => Err(RuleError::InUse { key, by: "it is assigned to credentials or mappings" }),
        },
    }
}

fn exists<T>(found: Option<T>, key: Key) -> Result<T, RuleError> {
    found.ok_or(RuleError::Missing(key))
}

/// Checks that the owner exists and does not change.
fn check_owner(
    view: &impl View,
    key: Key,
    account: AccountSid,
    present: Option<AccountSid>,
) -> Result<(), RuleError> {
    exists(view.account(account), Key::Account(account))?;
    match present {
        Some(owner) if owner != account => Err(RuleError::Fixed { what: "account", key }),
        _ => Ok(()),
    }
}

fn check_target(
    view: &impl View,
    target: Target,
    account: AccountSid,
    name: Option<&DomainName>,
) -> Result<(), RuleError> {
    let present = view.target(target).map(|facts| facts.account);
    check_owner(view, Key::Target(target), account, present)?;
    match name.and_then(|name| Some((name, view.named(name)?))) {
        Some((name, by)) if by != target => Err(RuleError::NameTaken { name: name.clone(), by }),
        _ => Ok(()),
    }
}

/// Checks that the role, if any, has the right kind and account.
fn check_role(
    view: &impl View,
    key: Key,
    role: Option<RoleSid>,
    kind: RoleKind,
    account: AccountSid,
) -> Result<(), RuleError> {
    let Some(role) = role else { return Ok(()) };
    let facts = exists(view.role(role), Key::Role(role))?;
    if facts.kind == kind && facts.account == account {
        return Ok(());
    }
    Err(RuleError::Role { role, key })
}

fn check_mapping(view: &impl View, record: MappingRecord) -> Result<(), RuleError> {
    let MappingRecord { mapping, role, .. } = record;
    let target = mapping.target();
    let target_facts = exists(view.target(target), Key::Target(target))?;
    let (list, list_facts) = match mapping {
        Mapping::IpAccessControlList(_, list) => {
            let facts = view.ip_access_control_list(list);
            (list.to_string(), exists(facts, Key::IpAccessControlList(list))?)
        }
        Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
            let facts = exists(view.credential_list(list), Key::CredentialList(list))?;
            if let (Some(realm), Some(expected)) = (&facts.realm, &target_facts.realm)
                && realm != expected
            {
                return Err(RuleError::RealmDiffers {
                    list,
                    realm: realm.clone(),
                    target,
                    expected: expected.clone(),
                });
            }
            (list.to_string(), facts)
        }
    };
    if list_facts.account != target_facts.account {
        return Err(RuleError::OtherAccount {
            list,
            list_account: list_facts.account,
            target,
            target_account: target_facts.account,
        });
    }
    match (mapping, role) {
        (Mapping::CredentialList(..), _) | (_, None) => {
            let key = Key::Mapping(mapping);
            check_role(view, key, role, RoleKind::Channel, target_facts.account)
        }
        (_, Some(role)) => Err(RuleError::Role { role, key: Key::Mapping(mapping) }),
    }
}
