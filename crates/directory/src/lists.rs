//! IP access control lists with their entries, and credential lists.

use super::{Directory, DirectoryError, Kind, Limits, Listing, Page, Plan, View};
use sip_authz::acl::Prefix;
use sip_authz::model::{
    Commit, CredentialList, IpAccessControlList, IpAddress, Key, Realm, Record,
};
use sip_authz::{AccountSid, CredentialListSid, IpAccessControlListSid, IpAddressSid};
use sip_authz_store::{Collection, Store};

impl View<'_> {
    pub(super) fn ip_access_control_list(
        self,
        account: AccountSid,
        sid: IpAccessControlListSid,
    ) -> Result<IpAccessControlList, DirectoryError> {
        match self.records.get(Key::IpAccessControlList(sid)) {
            Some(Record::IpAccessControlList(list)) if list.account == account => Ok(list.clone()),
            _ => Err(DirectoryError::NotFound(Kind::IpAccessControlList)),
        }
    }

    pub(super) fn ip_address(
        self,
        account: AccountSid,
        list: IpAccessControlListSid,
        sid: IpAddressSid,
    ) -> Result<IpAddress, DirectoryError> {
        self.ip_access_control_list(account, list)?;
        match self.records.get(Key::IpAddress(sid)) {
            Some(Record::IpAddress(address)) if address.list == list => Ok(address.clone()),
            _ => Err(DirectoryError::NotFound(Kind::IpAddress)),
        }
    }

    pub(super) fn credential_list(
        self,
        account: AccountSid,
        sid: CredentialListSid,
    ) -> Result<CredentialList, DirectoryError> {
        match self.records.get(Key::CredentialList(sid)) {
            Some(Record::CredentialList(list)) if list.account == account => Ok(list.clone()),
            _ => Err(DirectoryError::NotFound(Kind::CredentialList)),
        }
    }

    pub(super) fn ip_access_control_lists(
        self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<IpAccessControlList>, DirectoryError> {
        Ok(self.list(Collection::IpAccessControlLists(account), page, |record| match record {
            Record::IpAccessControlList(list) => Some(list),
            _ => None,
        }))
    }

    pub(super) fn ip_addresses(
        self,
        account: AccountSid,
        list: IpAccessControlListSid,
        page: Page,
    ) -> Result<Listing<IpAddress>, DirectoryError> {
        self.ip_access_control_list(account, list)?;
        Ok(self.list(Collection::IpAddresses(list), page, |record| match record {
            Record::IpAddress(address) => Some(address),
            _ => None,
        }))
    }

    pub(super) fn credential_lists(
        self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<CredentialList>, DirectoryError> {
        Ok(self.list(Collection::CredentialLists(account), page, |record| match record {
            Record::CredentialList(list) => Some(list),
            _ => None,
        }))
    }

    /// Fails if the name is too long or another list of the account has it.
    pub(super) fn check_list_name(self, list: &CredentialList) -> Result<(), DirectoryError> {
        Limits::friendly_name(Kind::CredentialList, &list.friendly_name)?;
        for other in self.members(Collection::CredentialLists(list.account)) {
            if let Record::CredentialList(other) = other
                && other.sid != list.sid
                && other.friendly_name == list.friendly_name
            {
                let message = format!(
                    "FriendlyName `{}` is taken by another credential list",
                    list.friendly_name
                );
                return Err(DirectoryError::invalid(Kind::CredentialList, message));
            }
        }
        Ok(())
    }
}

impl<S: Store> Directory<S> {
    /// Makes an empty IP access control list.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_ip_access_control_list(
        &self,
        account: AccountSid,
        friendly_name: &str,
    ) -> Result<IpAccessControlList, DirectoryError> {
        Limits::friendly_name(Kind::IpAccessControlList, friendly_name)?;
        let (ms, random) = self.sid_parts()?;
        let list = IpAccessControlList {
            friendly_name: friendly_name.to_owned(),
            dates: self.created_now(),
            ..IpAccessControlList::new(IpAccessControlListSid::from_time(ms, random), account)
        };
        let (kind, limit) =
            (Kind::IpAccessControlList, self.settings.limits.ip_access_control_lists);
        self.transact(|view| {
            view.check_quota(Collection::IpAccessControlLists(account), kind, limit)?;
            Ok(Plan::put(list.clone()))
        })
        .await?;
        Ok(list)
    }

    /// An IP access control list of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn ip_access_control_list(
        &self,
        account: AccountSid,
        sid: IpAccessControlListSid,
    ) -> Result<IpAccessControlList, DirectoryError> {
        self.read(|view| view.ip_access_control_list(account, sid)).await
    }

    /// The account's IP access control lists.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn ip_access_control_lists(
        &self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<IpAccessControlList>, DirectoryError> {
        self.read(|view| view.ip_access_control_lists(account, page)).await
    }

    /// Renames an IP access control list.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn update_ip_access_control_list(
        &self,
        account: AccountSid,
        sid: IpAccessControlListSid,
        friendly_name: &str,
    ) -> Result<IpAccessControlList, DirectoryError> {
        Limits::friendly_name(Kind::IpAccessControlList, friendly_name)?;
        self.transact(|view| {
            let mut list = view.ip_access_control_list(account, sid)?;
            friendly_name.clone_into(&mut list.friendly_name);
            list.dates = self.updated_now(list.dates);
            Ok(Plan::update(list))
        })
        .await
    }

    /// Deletes an IP access control list and its entries. It must not be mapped.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn delete_ip_access_control_list(
        &self,
        account: AccountSid,
        sid: IpAccessControlListSid,
    ) -> Result<(), DirectoryError> {
        self.transact(|view| {
            view.ip_access_control_list(account, sid)?;
            let mut commit = Commit::new();
            for key in view.keys(Collection::IpAddresses(sid)) {
                commit.delete(key);
            }
            commit.delete(Key::IpAccessControlList(sid));
            Ok(Plan::Write(commit, ()))
        })
        .await
    }

    /// Adds an entry to an IP access control list. A prefix of length 0 needs `allow_all`, because it
    /// admits every address.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_ip_address(
        &self,
        account: AccountSid,
        list: IpAccessControlListSid,
        friendly_name: &str,
        prefix: Prefix,
        allow_all: bool,
    ) -> Result<IpAddress, DirectoryError> {
        Limits::friendly_name(Kind::IpAddress, friendly_name)?;
        check_whole(prefix, allow_all)?;
        let (ms, random) = self.sid_parts()?;
        let address = IpAddress {
            friendly_name: friendly_name.to_owned(),
            dates: self.created_now(),
            ..IpAddress::new(IpAddressSid::from_time(ms, random), list, prefix)
        };
        let limit = self.settings.limits.ip_addresses;
        self.transact(|view| {
            view.ip_access_control_list(account, list)?;
            view.check_quota(Collection::IpAddresses(list), Kind::IpAddress, limit)?;
            Ok(Plan::put(address.clone()))
        })
        .await?;
        Ok(address)
    }

    /// An entry of an IP access control list of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn ip_address(
        &self,
        account: AccountSid,
        list: IpAccessControlListSid,
        sid: IpAddressSid,
    ) -> Result<IpAddress, DirectoryError> {
        self.read(|view| view.ip_address(account, list, sid)).await
    }

    /// The entries of an IP access control list.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn ip_addresses(
        &self,
        account: AccountSid,
        list: IpAccessControlListSid,
        page: Page,
    ) -> Result<Listing<IpAddress>, DirectoryError> {
        self.read(|view| view.ip_addresses(account, list, page)).await
    }

    /// Changes an entry with `change`; SID, list and date of creation stay. `change` may run several
    /// times, each time on the current entry.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`], also what `change` returns.
    pub async fn update_ip_address(
        &self,
        account: AccountSid,
        list: IpAccessControlListSid,
        sid: IpAddressSid,
        allow_all: bool,
        change: impl Fn(&mut IpAddress) -> Result<(), DirectoryError> + Send + Sync,
    ) -> Result<IpAddress, DirectoryError> {
        self.transact(|view| {
            let mut address = view.ip_address(account, list, sid)?;
            let (dates, prefix) = (self.updated_now(address.dates), address.prefix);
            change(&mut address)?;
            address = IpAddress { sid, list, dates, ..address };
            Limits::friendly_name(Kind::IpAddress, &address.friendly_name)?;
            if address.prefix != prefix {
                check_whole(address.prefix, allow_all)?;
            }
            Ok(Plan::update(address))
        })
        .await
    }

    /// Deletes an entry of an IP access control list.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn delete_ip_address(
        &self,
        account: AccountSid,
        list: IpAccessControlListSid,
        sid: IpAddressSid,
    ) -> Result<(), DirectoryError> {
        self.transact(|view| {
            view.ip_address(account, list, sid)?;
            Ok(Plan::delete(Key::IpAddress(sid)))
        })
        .await
    }

    /// Makes an empty credential list. Its name must be unique within the account. Its realm, by default
    /// that of the installation, never changes.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_credential_list(
        &self,
        account: AccountSid,
        friendly_name: &str,
        realm: Option<Realm>,
    ) -> Result<CredentialList, DirectoryError> {
        let (ms, random) = self.sid_parts()?;
        let realm = realm.unwrap_or_else(|| self.settings.realm.clone());
        let list = CredentialList {
            friendly_name: friendly_name.to_owned(),
            dates: self.created_now(),
            ..CredentialList::new(CredentialListSid::from_time(ms, random), account, realm)
        };
        let (kind, limit) = (Kind::CredentialList, self.settings.limits.credential_lists);
        self.transact(|view| {
            view.check_quota(Collection::CredentialLists(account), kind, limit)?;
            view.check_list_name(&list)?;
            Ok(Plan::put(list.clone()))
        })
        .await?;
        Ok(list)
    }

    /// A credential list of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn credential_list(
        &self,
        account: AccountSid,
        sid: CredentialListSid,
    ) -> Result<CredentialList, DirectoryError> {
        self.read(|view| view.credential_list(account, sid)).await
    }

    /// The account's credential lists.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn credential_lists(
        &self,
        account: AccountSid,
        page: Page,
    ) -> Result<Listing<CredentialList>, DirectoryError> {
        self.read(|view| view.credential_lists(account, page)).await
    }

    /// Renames a credential list.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn update_credential_list(
        &self,
        account: AccountSid,
        sid: CredentialListSid,
        friendly_name: &str,
    ) -> Result<CredentialList, DirectoryError> {
        self.transact(|view| {
            let mut list = view.credential_list(account, sid)?;
            friendly_name.clone_into(&mut list.friendly_name);
            list.dates = self.updated_now(list.dates);
            view.check_list_name(&list)?;
            Ok(Plan::update(list))
        })
        .await
    }

    /// Deletes a credential list and its credentials. It must not be mapped.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn delete_credential_list(
        &self,
        account: AccountSid,
        sid: CredentialListSid,
    ) -> Result<(), DirectoryError> {
        self.transact(|view| {
            view.credential_list(account, sid)?;
            let mut commit = Commit::new();
            for key in view.keys(Collection::Credentials(sid)) {
                commit.delete(key);
            }
            commit.delete(Key::CredentialList(sid));
            Ok(Plan::Write(commit, ()))
        })
        .await
    }
}

fn check_whole(prefix: Prefix, allow_all: bool) -> Result<(), DirectoryError> {
    if prefix.is_whole_internet() && !allow_all {
        let message = format!("`{prefix}` admits every address; send AllowAll=true to permit it");
        return Err(DirectoryError::invalid(Kind::IpAddress, message));
    }
    Ok(())
}
