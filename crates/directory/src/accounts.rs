//! Accounts and their auth tokens.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Directory, DirectoryError, Kind, Limits, Listing, Page, Plan, View};
use sip_authz::AccountSid;
use sip_authz::model::{Account, AccountStatus, Key, Record, TokenHash};
use sip_authz_store::{Collection, Store};

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

    /// Gives an account a new token. The old one stops working.
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
                account.dates = self.updated_now(account.dates);
                Ok(Plan::update(account))
            })
            .await?;
        Ok(NewAccount { account, token })
    }

    /// The account, if it is active and `token` is its auth token. The comparison takes constant time, and
    /// an unknown account takes as long as a wrong token.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn authenticate(
        &self,
        sid: AccountSid,
        token: &str,
    ) -> Result<Option<Account>, DirectoryError> {
        let account = match self.store.get(Key::Account(sid)).await? {
            Some(Record::Account(account)) => Some(account),
            _ => None,
        };
        let kept = account.as_ref().and_then(|account| account.token).map(|hash| hash.0);
        let given: [u8; 32] = Sha256::digest(token).into();
        let same = bool::from(given.ct_eq(&kept.unwrap_or_default())) && kept.is_some();
        Ok(account.filter(|account| same && account.status == AccountStatus::Active))
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
