//! Roles: named sets of permissions, in name spaces that the account chooses.

use std::collections::HashSet;

use super::{Directory, DirectoryError, Kind, Limits, Listing, Page, Plan, View};
use sip_authz::model::{Key, Record, Role, RoleKind};
use sip_authz::{AccountSid, RoleSid, ServiceSid};
use sip_authz_store::{Collection, Store};

impl View<'_> {
    pub(super) fn role(
        self,
        account: AccountSid,
        service: ServiceSid,
        sid: RoleSid,
    ) -> Result<Role, DirectoryError> {
        match self.own_role(account, sid)? {
            role if role.service == service => Ok(role.clone()),
            _ => Err(DirectoryError::NotFound(Kind::Role)),
        }
    }

    pub(super) fn roles(
        self,
        account: AccountSid,
        service: ServiceSid,
        page: Page,
    ) -> Result<Listing<Role>, DirectoryError> {
        Ok(self.list(Collection::Roles(account, service), page, |record| match record {
            Record::Role(role) => Some(role),
            _ => None,
        }))
    }

    /// A role of the account, in any service.
    pub(super) fn own_role(
        self,
        account: AccountSid,
        sid: RoleSid,
    ) -> Result<Role, DirectoryError> {
        match self.records.get(Key::Role(sid)) {
            Some(Record::Role(role)) if role.account == account => Ok(role.clone()),
            _ => Err(DirectoryError::NotFound(Kind::Role)),
        }
    }
}

impl<S: Store> Directory<S> {
    /// Makes a role. A service is only a name space, so it need not be created.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_role(
        &self,
        account: AccountSid,
        service: ServiceSid,
        friendly_name: &str,
        kind: RoleKind,
        permissions: Vec<String>,
    ) -> Result<Role, DirectoryError> {
        Limits::friendly_name(Kind::Role, friendly_name)?;
        self.check_permissions(kind, &permissions)?;
        let permissions = without_repeats(permissions);
        let (ms, random) = self.sid_parts()?;
        let role = Role {
            sid: RoleSid::from_time(ms, random),
            account,
            service,
            friendly_name: friendly_name.to_owned(),
            kind,
            permissions,
            dates: self.created_now(),
        };
        let limit = self.settings.limits.roles;
        self.transact(|view| {
            view.check_quota(Collection::AccountRoles(account), Kind::Role, limit)?;
            Ok(Plan::put(role.clone()))
        })
        .await?;
        Ok(role)
    }

    /// A role of the account in a service.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn role(
        &self,
        account: AccountSid,
        service: ServiceSid,
        sid: RoleSid,
    ) -> Result<Role, DirectoryError> {
        self.read(|view| view.role(account, service, sid)).await
    }

    /// The account's roles in a service.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn roles(
        &self,
        account: AccountSid,
        service: ServiceSid,
        page: Page,
    ) -> Result<Listing<Role>, DirectoryError> {
        self.read(|view| view.roles(account, service, page)).await
    }

    /// Replaces all permissions of a role.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn update_role(
        &self,
        account: AccountSid,
        service: ServiceSid,
        sid: RoleSid,
        permissions: Vec<String>,
    ) -> Result<Role, DirectoryError> {
        let permissions = without_repeats(permissions);
        self.transact(|view| {
            let mut role = view.role(account, service, sid)?;
            self.check_permissions(role.kind, &permissions)?;
            role.permissions.clone_from(&permissions);
            role.dates = self.updated_now(role.dates);
            Ok(Plan::update(role))
        })
        .await
    }

    /// Deletes a role that no credential and no mapping carries.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn delete_role(
        &self,
        account: AccountSid,
        service: ServiceSid,
        sid: RoleSid,
    ) -> Result<(), DirectoryError> {
        self.transact(|view| {
            view.role(account, service, sid)?;
            Ok(Plan::delete(Key::Role(sid)))
        })
        .await
    }

    pub(super) fn check_permissions(
        &self,
        kind: RoleKind,
        permissions: &[String],
    ) -> Result<(), DirectoryError> {
        if permissions.is_empty() {
            return Err(DirectoryError::invalid(Kind::Role, "Permission is required"));
        }
        match permissions.iter().find(|name| !self.settings.vocabulary.admits(kind, name)) {
            Some(name) => Err(DirectoryError::UnknownPermission(name.chars().take(80).collect())),
            None => Ok(()),
        }
    }
}

/// The distinct permissions, in the order of their first occurrence. A request may repeat the few
/// permissions thousands of times.
fn without_repeats(mut permissions: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    permissions.retain(|name| seen.insert(name.clone()));
    permissions
}
