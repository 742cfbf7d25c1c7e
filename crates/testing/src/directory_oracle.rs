//! A second, simple implementation of the rules of the directory: maps, and for each command every rule
//! that it would break.

use std::collections::BTreeMap;

use sip_authz::acl::Prefix;
use sip_authz::model::{
    AccountStatus, Key, Mapping, Password, Policy, Realm, Record, RoleKind, Target, Vocabulary,
};
use sip_authz::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid, RoleSid,
    ServiceSid,
};
use sip_authz_directory::{
    CredentialChange, Directory, DirectoryError, Kind, Limits, NewAccount, Secret,
};
use sip_authz_store::Store;

/// A command on an account's resources.
#[derive(Clone, Debug)]
pub enum Op {
    SetStatus(AccountStatus),
    Rotate,
    CreateDomain(&'static str),
    CreateTrunk(Option<&'static str>),
    Rename(Target, &'static str),
    DeleteTarget(Target),
    SetPolicy(Target, u32),
    CreateAccessList,
    DeleteAccessList(IpAccessControlListSid),
    CreateAddress(IpAccessControlListSid, Prefix),
    MoveAddress(IpAccessControlListSid, IpAddressSid, Prefix),
    DeleteAddress(IpAccessControlListSid, IpAddressSid),
    CreateList(&'static str, &'static str),
    RenameList(CredentialListSid, &'static str),
    DeleteList(CredentialListSid),
    CreateUser(CredentialListSid, &'static str, Option<RoleSid>),
    ChangeUser(CredentialListSid, CredentialSid, bool, Option<Option<RoleSid>>),
    DeleteUser(CredentialListSid, CredentialSid),
    Map(Mapping, Option<RoleSid>),
    Unmap(Mapping),
    CreateRole(RoleKind, &'static str),
    ChangeRole(RoleSid, &'static str),
    DeleteRole(RoleSid),
}

pub const PASSWORD: &str = "Correct-Horse-7";

pub fn service() -> ServiceSid {
    ServiceSid::from_name(&["service"])
}

impl Op {
    /// Runs the command in `directory` for `account`.
    pub async fn run<S: Store>(
        self,
        directory: &Directory<S>,
        account: AccountSid,
    ) -> Result<(), DirectoryError> {
        let host = |name: &str| name.parse().unwrap();
        match self {
            Self::SetStatus(status) => {
                directory.update_account(account, None, Some(status)).await.map(drop)
            }
            Self::Rotate => {
                let new: NewAccount = directory.rotate_token(account).await?;
                let found = directory.authenticate(account, &new.token).await?;
                assert!(found.is_none_or(|found| found.account.sid == account));
                Ok(())
            }
            Self::CreateDomain(name) => {
                directory.create_domain(account, host(name), |_| ()).await.map(drop)
            }
            Self::CreateTrunk(name) => {
                directory.create_trunk(account, |trunk| trunk.name = name.map(host)).await.map(drop)
            }
            Self::Rename(Target::Domain(sid), name) => {
                let change = |domain: &mut sip_authz::model::Domain| {
                    domain.name = host(name);
                    Ok(())
                };
                directory.update_domain(account, sid, change).await.map(drop)
            }
            Self::Rename(Target::Trunk(sid), name) => {
                let change = |trunk: &mut sip_authz::model::Trunk| {
                    trunk.name = Some(host(name));
                    Ok(())
                };
                directory.update_trunk(account, sid, change).await.map(drop)
            }
            Self::DeleteTarget(Target::Domain(sid)) => directory.delete_domain(account, sid).await,
            Self::DeleteTarget(Target::Trunk(sid)) => directory.delete_trunk(account, sid).await,
            Self::SetPolicy(target, seconds) => {
                let change = |policy: &mut Policy| {
                    policy.nonce_lifetime = seconds;
                    Ok(())
                };
                directory.update_policy(account, target, change).await.map(drop)
            }
            Self::CreateAccessList => {
                directory.create_ip_access_control_list(account, "").await.map(drop)
            }
            Self::DeleteAccessList(sid) => {
                directory.delete_ip_access_control_list(account, sid).await
            }
            Self::CreateAddress(list, prefix) => {
                directory.create_ip_address(account, list, "", prefix, false).await.map(drop)
            }
            Self::MoveAddress(list, sid, prefix) => {
                let change = |address: &mut sip_authz::model::IpAddress| {
                    address.prefix = prefix;
                    Ok(())
                };
                directory.update_ip_address(account, list, sid, false, change).await.map(drop)
            }
            Self::DeleteAddress(list, sid) => directory.delete_ip_address(account, list, sid).await,
            Self::CreateList(name, realm) => {
                let realm: Realm = realm.parse().unwrap();
                directory.create_credential_list(account, name, Some(realm)).await.map(drop)
            }
            Self::RenameList(sid, name) => {
                directory.update_credential_list(account, sid, name).await.map(drop)
            }
            Self::DeleteList(sid) => directory.delete_credential_list(account, sid).await,
            Self::CreateUser(list, name, role) => {
                let name = name.parse().unwrap();
                let secret = Secret::Password(Password::new(PASSWORD.to_owned()));
                directory
                    .create_credential(account, list, name, secret, false, role)
                    .await
                    .map(drop)
            }
            Self::ChangeUser(list, sid, disabled, role) => {
                let change = CredentialChange::default()
                    .with_secret(None)
                    .with_disabled(Some(disabled))
                    .with_role(role);
                directory.update_credential(account, list, sid, change).await.map(drop)
            }
            Self::DeleteUser(list, sid) => directory.delete_credential(account, list, sid).await,
            Self::Map(mapping, role) => directory.map(account, mapping, role).await.map(drop),
            Self::Unmap(mapping) => directory.unmap(account, mapping).await,
            Self::CreateRole(kind, permission) => {
                let permissions = vec![permission.to_owned()];
                directory.create_role(account, service(), "", kind, permissions).await.map(drop)
            }
            Self::ChangeRole(sid, permission) => {
                let permissions = vec![permission.to_owned()];
                directory.update_role(account, service(), sid, permissions).await.map(drop)
            }
            Self::DeleteRole(sid) => directory.delete_role(account, service(), sid).await,
        }
    }
}

/// A rule that a command would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Missing(Kind),
    Invalid(Kind),
    TooMany(Kind),
    InUse(Kind),
    NameTaken(Kind),
    Permission,
}

impl Fault {
    /// The broken rule that an error reports, if the error is about a rule.
    pub fn of(error: &DirectoryError) -> Option<Self> {
        Some(match error {
            DirectoryError::NotFound(kind) => Self::Missing(*kind),
            DirectoryError::Invalid { kind, .. } => Self::Invalid(*kind),
            DirectoryError::TooMany { kind, .. } => Self::TooMany(*kind),
            DirectoryError::InUse { kind, .. } => Self::InUse(*kind),
            DirectoryError::NameTaken { kind, .. } => Self::NameTaken(*kind),
            DirectoryError::UnknownPermission(_) => Self::Permission,
            _ => return None,
        })
    }
}

/// All records, reduced to the fields that the rules use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    pub accounts: BTreeMap<AccountSid, AccountStatus>,
    pub targets: BTreeMap<Target, (AccountSid, Option<String>)>,
    pub policies: BTreeMap<Target, u32>,
    pub access_lists: BTreeMap<IpAccessControlListSid, AccountSid>,
    pub addresses: BTreeMap<IpAddressSid, (IpAccessControlListSid, Prefix)>,
    pub lists: BTreeMap<CredentialListSid, (AccountSid, String, String)>,
    pub users: BTreeMap<CredentialSid, (CredentialListSid, String, bool, Option<RoleSid>)>,
    pub mappings: BTreeMap<Mapping, (Option<RoleSid>, u64)>,
    pub roles: BTreeMap<RoleSid, (AccountSid, RoleKind, Vec<String>)>,
}

impl Oracle {
    /// The state with these records.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut all = Self::default();
        for record in records {
            match record.clone() {
                Record::Account(it) => drop(all.accounts.insert(it.sid, it.status)),
                Record::Domain(it) => {
                    let name = Some(it.name.to_string());
                    all.targets.insert(it.sid.into(), (it.account, name));
                }
                Record::Trunk(it) => {
                    let name = it.name.map(String::from);
                    all.targets.insert(it.sid.into(), (it.account, name));
                }
                Record::Policy(it) => {
                    all.policies.insert(it.target, it.policy.nonce_lifetime);
                }
                Record::IpAccessControlList(it) => {
                    all.access_lists.insert(it.sid, it.account);
                }
                Record::IpAddress(it) => drop(all.addresses.insert(it.sid, (it.list, it.prefix))),
                Record::CredentialList(it) => {
                    all.lists.insert(it.sid, (it.account, it.friendly_name, it.realm.into()));
                }
                Record::Credential(it) => {
                    let user = (it.list, it.username.into(), it.disabled, it.role);
                    all.users.insert(it.sid, user);
                }
                Record::Mapping(it) => drop(all.mappings.insert(it.mapping, (it.role, it.since))),
                Record::Role(it) => {
                    all.roles.insert(it.sid, (it.account, it.kind, it.permissions));
                }
            }
        }
        all
    }

    /// Every rule that `op` would break. It must succeed if there are none.
    pub fn faults(&self, op: &Op, account: AccountSid, limits: &Limits) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, fault: Fault| {
            if !holds {
                faults.push(fault);
            }
        };
        let target = |target: Target| self.targets.get(&target).is_some_and(|t| t.0 == account);
        let list = |sid| self.lists.get(&sid).is_some_and(|l| l.0 == account);
        let access_list = |sid| self.access_lists.get(&sid) == Some(&account);
        let free = |name: &str, by: Option<Target>| {
            self.targets
                .iter()
                .all(|(target, (_, taken))| taken.as_deref() != Some(name) || Some(*target) == by)
        };
        let list_free = |name: &str, by: Option<CredentialListSid>| {
            self.lists.iter().all(|(sid, (owner, taken, _))| {
                *owner != account || taken != name || Some(*sid) == by
            })
        };
        let role_fits = |role: Option<RoleSid>, kind: RoleKind| {
            role.is_none_or(|role| {
                self.roles.get(&role).is_some_and(|role| role.0 == account && role.1 == kind)
            })
        };
        let kind_of = |target: Target| match target {
            Target::Domain(_) => Kind::Domain,
            Target::Trunk(_) => Kind::Trunk,
        };
        let owned = |kind| {
            self.targets.iter().filter(|(t, (o, _))| *o == account && kind_of(**t) == kind).count()
        };
        let map_kind = |mapping: &Mapping| match mapping.target() {
            Target::Domain(_) => Kind::DomainMapping,
            Target::Trunk(_) => Kind::TrunkMapping,
        };
        match op {
            Op::SetStatus(status) => must(
                self.accounts.get(&account) != Some(&AccountStatus::Closed)
                    || *status == AccountStatus::Closed,
                Fault::Invalid(Kind::Account),
            ),
            Op::Rotate => {}
            Op::CreateDomain(name) => {
                must(owned(Kind::Domain) < limits.domains, Fault::TooMany(Kind::Domain));
                must(free(name, None), Fault::NameTaken(Kind::Domain));
            }
            Op::CreateTrunk(name) => {
                must(owned(Kind::Trunk) < limits.trunks, Fault::TooMany(Kind::Trunk));
                must(name.is_none_or(|name| free(name, None)), Fault::NameTaken(Kind::Trunk));
            }
            Op::Rename(sid, name) => {
                must(target(*sid), Fault::Missing(kind_of(*sid)));
                must(free(name, Some(*sid)), Fault::NameTaken(kind_of(*sid)));
            }
            Op::DeleteTarget(sid) => must(target(*sid), Fault::Missing(kind_of(*sid))),
            Op::SetPolicy(sid, seconds) => {
                must(target(*sid), Fault::Missing(kind_of(*sid)));
                must(*seconds > 0, Fault::Invalid(Kind::Policy));
            }
            Op::CreateAccessList => {
                let count = self.access_lists.values().filter(|owner| **owner == account).count();
                let kind = Kind::IpAccessControlList;
                must(count < limits.ip_access_control_lists, Fault::TooMany(kind));
            }
            Op::DeleteAccessList(sid) => {
                must(access_list(*sid), Fault::Missing(Kind::IpAccessControlList));
                let mapped = self
                    .mappings
                    .keys()
                    .any(|m| matches!(m, Mapping::IpAccessControlList(_, list) if list == sid));
                must(!mapped, Fault::InUse(Kind::IpAccessControlList));
            }
            Op::CreateAddress(sid, prefix) => {
                must(access_list(*sid), Fault::Missing(Kind::IpAccessControlList));
                must(prefix.len() > 0, Fault::Invalid(Kind::IpAddress));
                let count = self.addresses.values().filter(|(list, _)| list == sid).count();
                must(count < limits.ip_addresses, Fault::TooMany(Kind::IpAddress));
            }
            Op::MoveAddress(sid, address, prefix) => {
                must(access_list(*sid), Fault::Missing(Kind::IpAccessControlList));
                let inside = self.addresses.get(address).is_some_and(|(list, _)| list == sid);
                must(inside, Fault::Missing(Kind::IpAddress));
                must(prefix.len() > 0, Fault::Invalid(Kind::IpAddress));
            }
            Op::DeleteAddress(sid, address) => {
                must(access_list(*sid), Fault::Missing(Kind::IpAccessControlList));
                let inside = self.addresses.get(address).is_some_and(|(list, _)| list == sid);
                must(inside, Fault::Missing(Kind::IpAddress));
            }
            Op::CreateList(name, _) => {
                let count = self.lists.values().filter(|(owner, ..)| *owner == account).count();
                must(count < limits.credential_lists, Fault::TooMany(Kind::CredentialList));
                must(list_free(name, None), Fault::Invalid(Kind::CredentialList));
            }
            Op::RenameList(sid, name) => {
                must(list(*sid), Fault::Missing(Kind::CredentialList));
                must(list_free(name, Some(*sid)), Fault::Invalid(Kind::CredentialList));
            }
            Op::DeleteList(sid) => {
                must(list(*sid), Fault::Missing(Kind::CredentialList));
                let mapped = self.mappings.keys().any(|mapping| match mapping {
                    Mapping::IpAccessControlList(..) => false,
                    Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                        list == sid
                    }
                });
                must(!mapped, Fault::InUse(Kind::CredentialList));
            }
            Op::CreateUser(sid, name, role) => {
                must(list(*sid), Fault::Missing(Kind::CredentialList));
                let mut inside = self.users.values().filter(|user| user.0 == *sid);
                let count = inside.clone().count();
                must(count < limits.credentials, Fault::TooMany(Kind::Credential));
                must(!inside.any(|user| user.1 == *name), Fault::Invalid(Kind::Credential));
                must(role_fits(*role, RoleKind::Deployment), Fault::Missing(Kind::Role));
            }
            Op::ChangeUser(sid, user, _, role) => {
                must(list(*sid), Fault::Missing(Kind::CredentialList));
                let kept = self.users.get(user).filter(|user| user.0 == *sid);
                must(kept.is_some(), Fault::Missing(Kind::Credential));
                let role = role.flatten();
                must(role_fits(role, RoleKind::Deployment), Fault::Missing(Kind::Role));
            }
            Op::DeleteUser(sid, user) => {
                must(list(*sid), Fault::Missing(Kind::CredentialList));
                let inside = self.users.get(user).is_some_and(|user| user.0 == *sid);
                must(inside, Fault::Missing(Kind::Credential));
            }
            Op::Map(mapping, role) => {
                must(target(mapping.target()), Fault::Missing(kind_of(mapping.target())));
                must(!self.mappings.contains_key(mapping), Fault::Invalid(map_kind(mapping)));
                let fits = match mapping {
                    Mapping::CredentialList(..) => role_fits(*role, RoleKind::Channel),
                    _ => role.is_none(),
                };
                must(fits, Fault::Missing(Kind::Role));
                if let Mapping::IpAccessControlList(_, sid) = mapping {
                    must(access_list(*sid), Fault::Missing(Kind::IpAccessControlList));
                }
                if let Some(sid) = credentials_of(mapping) {
                    must(list(sid), Fault::Missing(Kind::CredentialList));
                    let realm = |sid| self.lists.get(&sid).map(|list| list.2.as_str());
                    let mut others = self.mappings.keys().filter(|other| {
                        let other_realm = credentials_of(other).map(realm);
                        other.target() == mapping.target()
                            && other_realm.is_some_and(|other| other != realm(sid))
                    });
                    must(others.next().is_none(), Fault::Invalid(map_kind(mapping)));
                }
            }
            Op::Unmap(mapping) => {
                must(target(mapping.target()), Fault::Missing(kind_of(mapping.target())));
                let mapped = self.mappings.contains_key(mapping);
                must(mapped, Fault::Missing(map_kind(mapping)));
            }
            Op::CreateRole(kind, permission) => {
                let count = self.roles.values().filter(|role| role.0 == account).count();
                must(count < limits.roles, Fault::TooMany(Kind::Role));
                must(Vocabulary::documented().admits(*kind, permission), Fault::Permission);
            }
            Op::ChangeRole(sid, permission) => {
                let role = self.roles.get(sid).filter(|role| role.0 == account);
                must(role.is_some(), Fault::Missing(Kind::Role));
                let admitted =
                    role.is_none_or(|role| Vocabulary::documented().admits(role.1, permission));
                must(admitted, Fault::Permission);
            }
            Op::DeleteRole(sid) => {
                let role = self.roles.get(sid).filter(|role| role.0 == account);
                must(role.is_some(), Fault::Missing(Kind::Role));
                let carried = self.users.values().any(|user| user.3 == Some(*sid))
                    || self.mappings.values().any(|mapping| mapping.0 == Some(*sid));
                must(!carried, Fault::InUse(Kind::Role));
            }
        }
        faults
    }

    /// Applies `op`, after a commit with this number that made the record `made`, if any. Returns false
    /// if `op` makes records of another kind, so that the commit was not for it.
    #[must_use]
    pub fn apply(&mut self, op: &Op, account: AccountSid, made: Option<Key>, number: u64) -> bool {
        let text = |name: &str| name.to_owned();
        match (op.clone(), made) {
            (Op::SetStatus(status), _) => drop(self.accounts.insert(account, status)),
            (Op::Rotate, _) => {}
            (Op::CreateDomain(name), Some(Key::Target(sid @ Target::Domain(_)))) => {
                self.targets.insert(sid, (account, Some(text(name))));
            }
            (Op::CreateTrunk(name), Some(Key::Target(sid @ Target::Trunk(_)))) => {
                self.targets.insert(sid, (account, name.map(text)));
            }
            (Op::Rename(sid, name), _) => {
                self.targets.insert(sid, (account, Some(text(name))));
            }
            (Op::DeleteTarget(sid), _) => {
                self.targets.remove(&sid);
                self.policies.remove(&sid);
                self.mappings.retain(|mapping, _| mapping.target() != sid);
            }
            (Op::SetPolicy(sid, seconds), _) => drop(self.policies.insert(sid, seconds)),
            (Op::CreateAccessList, Some(Key::IpAccessControlList(sid))) => {
                self.access_lists.insert(sid, account);
            }
            (Op::DeleteAccessList(sid), _) => {
                self.access_lists.remove(&sid);
                self.addresses.retain(|_, (list, _)| *list != sid);
            }
            (Op::CreateAddress(list, prefix), Some(Key::IpAddress(sid)))
            | (Op::MoveAddress(list, sid, prefix), _) => {
                self.addresses.insert(sid, (list, prefix));
            }
            (Op::DeleteAddress(_, sid), _) => drop(self.addresses.remove(&sid)),
            (Op::CreateList(name, realm), Some(Key::CredentialList(sid))) => {
                self.lists.insert(sid, (account, text(name), text(realm)));
            }
            (Op::RenameList(sid, name), _) => {
                self.lists.get_mut(&sid).unwrap().1 = text(name);
            }
            (Op::DeleteList(sid), _) => {
                self.lists.remove(&sid);
                self.users.retain(|_, user| user.0 != sid);
            }
            (Op::CreateUser(list, name, role), Some(Key::Credential(sid))) => {
                self.users.insert(sid, (list, text(name), false, role));
            }
            (Op::ChangeUser(_, sid, disabled, role), _) => {
                let user = self.users.get_mut(&sid).unwrap();
                user.2 = disabled;
                user.3 = role.unwrap_or(user.3);
            }
            (Op::DeleteUser(_, sid), _) => drop(self.users.remove(&sid)),
            (Op::Map(mapping, role), _) => drop(self.mappings.insert(mapping, (role, number))),
            (Op::Unmap(mapping), _) => drop(self.mappings.remove(&mapping)),
            (Op::CreateRole(kind, permission), Some(Key::Role(sid))) => {
                self.roles.insert(sid, (account, kind, vec![text(permission)]));
            }
            (Op::ChangeRole(sid, permission), _) => {
                self.roles.get_mut(&sid).unwrap().2 = vec![text(permission)];
            }
            (Op::DeleteRole(sid), _) => drop(self.roles.remove(&sid)),
            _ => return false,
        }
        true
    }
}

/// The credential list of a mapping.
fn credentials_of(mapping: &Mapping) -> Option<CredentialListSid> {
    match mapping {
        Mapping::IpAccessControlList(..) => None,
        Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => Some(*list),
    }
}
