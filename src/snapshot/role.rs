//! A role as decisions need it.

use super::table::Entry;
use crate::model::{PermissionSet, RoleKind};
use crate::sid::{AccountSid, RoleSid, ServiceSid};

/// A role, as far as it decides.
#[derive(Clone, Copy)]
pub(crate) struct RoleEntry {
    pub(crate) sid: RoleSid,
    pub(crate) account: AccountSid,
    pub(crate) service: ServiceSid,
    pub(crate) kind: RoleKind,
    pub(crate) permissions: PermissionSet,
    /// How many credentials and mappings carry it.
    pub(crate) uses: usize,
}

impl Entry for RoleEntry {
    type Key = RoleSid;

    fn key(&self) -> RoleSid {
        self.sid
    }
}
