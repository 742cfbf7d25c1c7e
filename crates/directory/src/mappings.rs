//! Mappings of lists to domains and trunks.

use super::check::keys;
use super::members::members;
use super::{Cursor, Directory, DirectoryError, Kind, Listing, Page, Plan};
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
        self.transact(|head| async move {
            self.own_target(account, mapping.target()).await?;
            self.own_list(account, mapping).await?;
            if let Some(role) = role {
                self.own_role(account, role).await?;
            }
            if self.store.get(Key::Mapping(mapping)).await?.is_some() {
                let kind = Kind::of(&Key::Mapping(mapping));
                return Err(DirectoryError::invalid(kind, "the list is already mapped"));
            }
            let since = head + 1;
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
        self.own_target(account, mapping.target()).await?;
        match self.store.get(Key::Mapping(mapping)).await? {
            Some(Record::Mapping(record)) => Ok(record),
            _ => Err(DirectoryError::NotFound(Kind::of(&Key::Mapping(mapping)))),
        }
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
        self.own_target(account, target).await?;
        let mut rows = Vec::new();
        for record in members(&self.store, Collection::Mappings(target)).await? {
            if let Record::Mapping(record) = record
                && scope.contains(&record.mapping)
            {
                rows.push(record);
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
        self.own_target(account, target).await?;
        let keys = keys(&self.store, Collection::Mappings(target)).await?;
        let is_there = |scope: &MappingScope| {
            keys.iter().any(|key| matches!(key, Key::Mapping(mapping) if scope.contains(mapping)))
        };
        Ok(MappingScope::ALL.into_iter().filter(is_there).collect())
    }

    /// Deletes a mapping.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn unmap(&self, account: AccountSid, mapping: Mapping) -> Result<(), DirectoryError> {
        self.transact(|_| async {
            self.mapping(account, mapping).await?;
            Ok(Plan::delete(Key::Mapping(mapping)))
        })
        .await
    }

    async fn own_list(&self, account: AccountSid, mapping: Mapping) -> Result<(), DirectoryError> {
        match mapping {
            Mapping::IpAccessControlList(_, list) => {
                self.ip_access_control_list(account, list).await.map(drop)
            }
            Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => {
                self.credential_list(account, list).await.map(drop)
            }
        }
    }
}
