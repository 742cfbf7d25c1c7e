//! A compiled role.

use super::table::Entry;
use crate::model::{PermissionSet, RoleKind};
use crate::sid::{AccountSid, RoleSid, ServiceSid};

/// The fields of a role that decisions need.
#[derive(Clone, Copy)]
pub(crate) struct RoleEntry {
    pub(crate) sid: RoleSid,
    pub(crate) account: AccountSid,
    pub(crate) service: ServiceSid,
    pub(crate) kind: RoleKind,
    pub(crate) permissions: PermissionSet,
    /// Number of credentials and mappings with this role.
    pub(crate) uses: usize,
}

impl Entry for RoleEntry {
    type Key = RoleSid;

    fn key(&self) -> RoleSid {
        self.sid
    }
}
