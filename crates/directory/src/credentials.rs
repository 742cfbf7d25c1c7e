//! Users of credential lists.

use super::{Directory, DirectoryError, Kind, Listing, Page, Plan, View};
use sip_authz::digest::HashFunction;
use sip_authz::model::{Credential, CredentialList, Ha1Set, Key, Password, Record, UserName};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, RoleSid};
use sip_authz_store::{Collection, Store};

/// The password of a credential, or its hashes.
#[non_exhaustive]
pub enum Secret {
    /// A password, which is hashed and wiped.
    Password(Password),
    /// HA1 hashes in hexadecimal.
    Ha1(Vec<(HashFunction, String)>),
}

/// A change of a credential; fields that are `None` stay. The user name is fixed.
#[derive(Default)]
#[non_exhaustive]
pub struct CredentialChange {
    /// The new password or hashes.
    pub secret: Option<Secret>,
    /// Whether the user is disabled. A disabled user is refused like an unknown one.
    pub disabled: Option<bool>,
    /// The new deployment role; `Some(None)` removes the role.
    pub role: Option<Option<RoleSid>>,
}

sip_authz::setters! {
    CredentialChange {
        with_secret: secret: Option<Secret>,
        with_disabled: disabled: Option<bool>,
        with_role: role: Option<Option<RoleSid>>,
    }
}

impl View<'_> {
    pub(super) fn credential(
        self,
        account: AccountSid,
        list: CredentialListSid,
        sid: CredentialSid,
    ) -> Result<Credential, DirectoryError> {
        self.credential_list(account, list)?;
        match self.records.get(Key::Credential(sid)) {
            Some(Record::Credential(credential)) if credential.list == list => {
                Ok(credential.clone())
            }
            _ => Err(DirectoryError::NotFound(Kind::Credential)),
        }
    }

    pub(super) fn credentials(
        self,
        account: AccountSid,
        list: CredentialListSid,
        page: Page,
    ) -> Result<Listing<Credential>, DirectoryError> {
        self.credential_list(account, list)?;
        Ok(self.list(Collection::Credentials(list), page, |record| match record {
            Record::Credential(credential) => Some(credential),
            _ => None,
        }))
    }
}

impl<S: Store> Directory<S> {
    /// Adds a user to a credential list.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_credential(
        &self,
        account: AccountSid,
        list: CredentialListSid,
        username: UserName,
        secret: Secret,
        disabled: bool,
        role: Option<RoleSid>,
    ) -> Result<Credential, DirectoryError> {
        let limits = &self.settings.limits;
        let (most, count) = (limits.username, username.as_str().chars().count());
        if count > most {
            let message = format!("Username must have at most {most} characters, got {count}");
            return Err(DirectoryError::invalid(Kind::Credential, message));
        }
        let realm_of = self.credential_list(account, list).await?;
        // a list never changes its realm, so the hashes stay valid if another commit comes in between
        let ha1 = self.hash(&realm_of, &username, secret)?;
        let (ms, random) = self.sid_parts()?;
        let credential = Credential {
            disabled,
            role,
            dates: self.created_now(),
            ..Credential::new(CredentialSid::from_time(ms, random), list, username, ha1)
        };
        self.transact(|view| {
            view.credential_list(account, list)?;
            view.check_quota(Collection::Credentials(list), Kind::Credential, limits.credentials)?;
            Ok(Plan::put(credential.clone()))
        })
        .await?;
        Ok(credential)
    }

    /// A user of a credential list of the account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn credential(
        &self,
        account: AccountSid,
        list: CredentialListSid,
        sid: CredentialSid,
    ) -> Result<Credential, DirectoryError> {
        self.read(|view| view.credential(account, list, sid)).await
    }

    /// The users of a credential list.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn credentials(
        &self,
        account: AccountSid,
        list: CredentialListSid,
        page: Page,
    ) -> Result<Listing<Credential>, DirectoryError> {
        self.read(|view| view.credentials(account, list, page)).await
    }

    /// Changes a user.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn update_credential(
        &self,
        account: AccountSid,
        list: CredentialListSid,
        sid: CredentialSid,
        change: CredentialChange,
    ) -> Result<Credential, DirectoryError> {
        let ha1 = match change.secret {
            None => None,
            Some(secret) => {
                let realm_of = self.credential_list(account, list).await?;
                let credential = self.credential(account, list, sid).await?;
                Some(self.hash(&realm_of, &credential.username, secret)?)
            }
        };
        self.transact(|view| {
            let mut credential = view.credential(account, list, sid)?;
            if let Some(ha1) = &ha1 {
                credential.ha1.clone_from(ha1);
            }
            credential.disabled = change.disabled.unwrap_or(credential.disabled);
            credential.role = change.role.unwrap_or(credential.role);
            credential.dates = self.updated_now(credential.dates);
            Ok(Plan::update(credential))
        })
        .await
    }

    /// Deletes a user.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn delete_credential(
        &self,
        account: AccountSid,
        list: CredentialListSid,
        sid: CredentialSid,
    ) -> Result<(), DirectoryError> {
        self.transact(|view| {
            view.credential(account, list, sid)?;
            Ok(Plan::delete(Key::Credential(sid)))
        })
        .await
    }

    fn hash(
        &self,
        list: &CredentialList,
        username: &UserName,
        secret: Secret,
    ) -> Result<Ha1Set, DirectoryError> {
        let ha1 = match secret {
            Secret::Password(password) => {
                self.settings.limits.check_password(&password)?;
                Ha1Set::from_password(username, &list.realm, password)
            }
            Secret::Ha1(hashes) => {
                let hashes = hashes.iter().map(|(function, hash)| (*function, hash.as_str()));
                Ha1Set::from_hex(username, &list.realm, hashes)
            }
        };
        ha1.map_err(|error| DirectoryError::invalid(Kind::Credential, error.to_string()))
    }
}
