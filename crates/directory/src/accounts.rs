//! Accounts and their auth tokens.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Directory, DirectoryError, Kind, Limits, Listing, Page, Plan, View};
use sip_authz::AccountSid;
use sip_authz::model::{Account, AccountStatus, Key, Record, TokenHash};
use sip_authz_store::{Collection, Store};

/// A successful login with one of the auth tokens of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// The account.
    pub account: Account,
    /// The hash of the token. The login ends once the account no longer [has](Account::has_token) it.
    pub token: TokenHash,
}

/// An account that is new or has a new token.
#[non_exhaustive]
pub struct NewAccount {
    /// The account.
    pub account: Account,
    /// Its auth token, 32 hexadecimal digits. The store keeps only the hash, so show the token now.
    pub token: Zeroizing<String>,
}

impl View<'_> {
    pub(super) fn account(self, sid: AccountSid) -> Result<Account, DirectoryError> {
        match self.records.get(Key::Account(sid)) {
            Some(Record::Account(account)) => Ok(account.clone()),
            _ => Err(DirectoryError::NotFound(Kind::Account)),
        }
    }

    pub(super) fn accounts(self, page: Page) -> Result<Listing<Account>, DirectoryError> {
        Ok(self.list(Collection::Accounts, page, |record| match record {
            Record::Account(account) => Some(account),
            _ => None,
        }))
    }
}

impl<S: Store> Directory<S> {
    /// Makes an active account with a new token.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn create_account(&self, friendly_name: &str) -> Result<NewAccount, DirectoryError> {
        Limits::friendly_name(Kind::Account, friendly_name)?;
        let (ms, random) = self.sid_parts()?;
        let (token, hash) = new_token()?;
        let account = Account {
            friendly_name: friendly_name.to_owned(),
            token: Some(hash),
            dates: self.created_now(),
            ..Account::new(AccountSid::from_time(ms, random))
        };
        self.transact(|_| Ok(Plan::put(account.clone()))).await?;
        Ok(NewAccount { account, token })
    }

    /// An account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`].
    pub async fn account(&self, sid: AccountSid) -> Result<Account, DirectoryError> {
        self.read(|view| view.account(sid)).await
    }

    /// All accounts.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn accounts(&self, page: Page) -> Result<Listing<Account>, DirectoryError> {
        self.read(|view| view.accounts(page)).await
    }

    /// Changes an account's name or status. A closed account stays closed.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn update_account(
        &self,
        sid: AccountSid,
        friendly_name: Option<&str>,
        status: Option<AccountStatus>,
    ) -> Result<Account, DirectoryError> {
        if let Some(name) = friendly_name {
            Limits::friendly_name(Kind::Account, name)?;
        }
        self.transact(|view| {
            let mut account = view.account(sid)?;
            if let Some(name) = friendly_name {
                name.clone_into(&mut account.friendly_name);
            }
            if let Some(status) = status {
                if account.status == AccountStatus::Closed && status != AccountStatus::Closed {
                    let message = "a closed account cannot be opened again";
                    return Err(DirectoryError::invalid(Kind::Account, message));
                }
                account.status = status;
            }
            account.dates = self.updated_now(account.dates);
            Ok(Plan::update(account))
        })
        .await
    }

    /// Gives an account a new token. The old one stops working, and so does the secondary one: a holder of the old
    /// one may have made it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn rotate_token(&self, sid: AccountSid) -> Result<NewAccount, DirectoryError> {
        let (token, hash) = new_token()?;
        let account = self
            .transact(|view| {
                let mut account = view.account(sid)?;
                account.token = Some(hash);
                account.secondary_token = None;
                account.dates = self.updated_now(account.dates);
                Ok(Plan::update(account))
            })
            .await?;
        Ok(NewAccount { account, token })
    }

    /// Gives an account a secondary token, which works beside the first one until it is promoted or deleted.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Invalid`] if the account has one, [`StoreError::Format`](sip_authz_store::StoreError::Format)
    /// if the store cannot have one yet.
    pub async fn create_secondary_token(
        &self,
        sid: AccountSid,
    ) -> Result<NewAccount, DirectoryError> {
        let (token, hash) = new_token()?;
        let account = self.transact(|view| {
            let mut account = view.account(sid)?;
            if account.secondary_token.is_some() {
                let message = "the account has a secondary auth token; promote or delete it first";
                return Err(DirectoryError::invalid(Kind::SecondaryAuthToken, message));
            }
            account.secondary_token = Some(hash);
            account.dates = self.updated_now(account.dates);
            Ok(Plan::update(account))
        });
        Ok(NewAccount { account: account.await?, token })
    }

    /// Deletes the secondary token of an account.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] if there is none.
    pub async fn delete_secondary_token(&self, sid: AccountSid) -> Result<Account, DirectoryError> {
        self.without_secondary_token(sid, |_, _| ()).await
    }

    /// Makes the secondary token of an account its only one. The other one stops working.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] if there is none.
    pub async fn promote_secondary_token(
        &self,
        sid: AccountSid,
    ) -> Result<Account, DirectoryError> {
        self.without_secondary_token(sid, |account, secondary| account.token = Some(secondary))
            .await
    }

    async fn without_secondary_token(
        &self,
        sid: AccountSid,
        then: fn(&mut Account, TokenHash),
    ) -> Result<Account, DirectoryError> {
        self.transact(|view| {
            let mut account = view.account(sid)?;
            let secondary = account.secondary_token.take();
            let missing = DirectoryError::NotFound(Kind::SecondaryAuthToken);
            then(&mut account, secondary.ok_or(missing)?);
            account.dates = self.updated_now(account.dates);
            Ok(Plan::update(account))
        })
        .await
    }

    /// The login with this token, if the account is active and has it. The comparison takes constant time, and
    /// an unknown account takes as long as a wrong token.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn authenticate(
        &self,
        sid: AccountSid,
        token: &str,
    ) -> Result<Option<Login>, DirectoryError> {
        let found = match self.store.get(Key::Account(sid)).await? {
            Some(Record::Account(account)) => Some(account),
            _ => None,
        };
        let token = TokenHash(Sha256::digest(token).into());
        let unknown = Account::new(sid);
        let account = found.as_ref().unwrap_or(&unknown);
        let is_right = account.has_token(token) && account.status == AccountStatus::Active;
        Ok(found.filter(|_| is_right).map(|account| Login { account, token }))
    }
}

/// A token of 128 random bits, and its hash.
fn new_token() -> Result<(Zeroizing<String>, TokenHash), DirectoryError> {
    let mut random = Zeroizing::new([0; 16]);
    getrandom::fill(random.as_mut_slice())
        .map_err(|error| DirectoryError::Random(error.to_string()))?;
    let token = Zeroizing::new(hex::encode(random.as_slice()));
    let hash = TokenHash(Sha256::digest(token.as_str()).into());
    Ok((token, hash))
}
