//! Mappings of lists to domains and trunks.

use super::{Cursor, Directory, DirectoryError, Kind, Listing, Page, Plan, View};
use sip_authz::model::{Key, Mapping, MappingRecord, Record, Target};
use sip_authz::{AccountSid, RoleSid};
use sip_authz_store::{Collection, Store};

/// The kind of list that is mapped to a domain or trunk, and the purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingScope {
    /// IP access control lists, for calls.
    IpAccessControlLists,
    /// Credential lists, for calls.
    CredentialLists,
    /// Credential lists, for registrations.
    Registrations,
}

impl MappingScope {
    const ALL: [Self; 3] = [Self::IpAccessControlLists, Self::CredentialLists, Self::Registrations];

    /// Whether `mapping` is of this kind.
    #[must_use]
    pub fn contains(self, mapping: &Mapping) -> bool {
        match mapping {
            Mapping::IpAccessControlList(..) => self == Self::IpAccessControlLists,
            Mapping::CredentialList(..) => self == Self::CredentialLists,
            Mapping::Registration(..) => self == Self::Registrations,
        }
    }
}

impl View<'_> {
    pub(super) fn mapping(
        self,
        account: AccountSid,
        mapping: Mapping,
    ) -> Result<MappingRecord, DirectoryError> {
        self.own_target(account, mapping.target())?;
        match self.records.get(Key::Mapping(mapping)) {
            Some(Record::Mapping(record)) => Ok(*record),
            _ => Err(DirectoryError::NotFound(Kind::of(&Key::Mapping(mapping)))),
        }
    }

    pub(super) fn mappings(
        self,
        account: AccountSid,
        target: Target,
        scope: MappingScope,
        page: Page,
    ) -> Result<Listing<MappingRecord>, DirectoryError> {
        self.own_target(account, target)?;
        let mut rows = Vec::new();
        for record in self.members(Collection::Mappings(target)) {
            if let Record::Mapping(record) = record
                && scope.contains(&record.mapping)
            {
                rows.push(*record);
            }
        }
        let position = |record: &MappingRecord| (record.since, Key::Mapping(record.mapping));
        if let Some(Cursor { since, key }) = page.after {
            rows.retain(|record| position(record) > (since, key));
        }
        rows.sort_by_key(position);
        let more = rows.len() > page.size;
        rows.truncate(page.size);
        let last = rows.last().filter(|_| more).map(position);
        Ok(Listing { rows, next: last.map(|(since, key)| Cursor { since, key }) })
    }

    pub(super) fn mapped_kinds(
        self,
        account: AccountSid,
        target: Target,
    ) -> Result<Vec<MappingScope>, DirectoryError> {
        self.own_target(account, target)?;
        let is_there = |scope: &MappingScope| {
            let mut keys = self.keys(Collection::Mappings(target));
            keys.any(|key| matches!(key, Key::Mapping(mapping) if scope.contains(&mapping)))
        };
        Ok(MappingScope::ALL.into_iter().filter(is_there).collect())
    }

    pub(super) fn own_list(
        self,
        account: AccountSid,
        mapping: Mapping,
    ) -> Result<(), DirectoryError> {
        match mapping {
            Mapping::IpAccessControlList(_, list) => {
                self.ip_access_control_list(account, list).map(drop)
            }
            Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                self.credential_list(account, list).map(drop)
            }
        }
    }
}

impl<S: Store> Directory<S> {
    /// Maps a list to a domain or trunk of the same account, with an optional channel role. All
    /// credential lists of a target must share one realm, and a list has one mapping for each purpose.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn map(
        &self,
        account: AccountSid,
        mapping: Mapping,
        role: Option<RoleSid>,
    ) -> Result<MappingRecord, DirectoryError> {
        self.transact(|view| {
            view.own_target(account, mapping.target())?;
            view.own_list(account, mapping)?;
            if let Some(role) = role {
                view.own_role(account, role)?;
            }
            if view.records.get(Key::Mapping(mapping)).is_some() {
                let kind = Kind::of(&Key::Mapping(mapping));
                return Err(DirectoryError::invalid(kind, "the list is already mapped"));
            }
            let since = view.number;
            let record = MappingRecord { mapping, role, since, dates: self.created_now() };
            Ok(Plan::update(record))
        })
        .await
    }

    /// A mapping to a domain or trunk of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn mapping(
        &self,
        account: AccountSid,
        mapping: Mapping,
    ) -> Result<MappingRecord, DirectoryError> {
        self.read(|view| view.mapping(account, mapping)).await
    }

    /// The mappings to a domain or trunk of the account, in the order they were made.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn mappings(
        &self,
        account: AccountSid,
        target: Target,
        scope: MappingScope,
        page: Page,
    ) -> Result<Listing<MappingRecord>, DirectoryError> {
        self.read(|view| view.mappings(account, target, scope, page)).await
    }

    /// The kinds of lists that are mapped to a domain or trunk of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] if there is no such domain or trunk.
    pub async fn mapped_kinds(
        &self,
        account: AccountSid,
        target: Target,
    ) -> Result<Vec<MappingScope>, DirectoryError> {
        self.read(|view| view.mapped_kinds(account, target)).await
    }

    /// Deletes a mapping.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn unmap(&self, account: AccountSid, mapping: Mapping) -> Result<(), DirectoryError> {
        self.transact(|view| {
            view.mapping(account, mapping)?;
            Ok(Plan::delete(Key::Mapping(mapping)))
        })
        .await
    }
}
