//! Accounts. An account may only fetch itself; all other operations are for the admin.

use serde::Serialize;
use utoipa::ToSchema;

use crate::dates::rfc2822;
use crate::error::ApiError;
use crate::form::Param;
use crate::page::Rows;
use crate::request::ApiRequest;
use crate::routes::Routes;
use sip_authz::AccountSid;
use sip_authz::model::{Account, AccountStatus, Key};
use sip_authz_directory::{Kind, NewAccount};
use sip_authz_store::Store;

const ACCOUNT: &str = "AccountSid";

const CREATE: &[Param] = &[Param::text("FriendlyName")];
const UPDATE: &[Param] = &[Param::text("FriendlyName"), Param::text("Status")];

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    routes
        .at("/2010-04-01/Accounts.json", Kind::Account)
        .admin()
        .list("accounts", list::<S>)
        .create(CREATE, create::<S>);
    routes
        .at("/2010-04-01/Accounts/{AccountSid}.json", Kind::Account)
        .fetch(fetch::<S>)
        .admin()
        .update(UPDATE, update::<S>);
    routes
        .at("/2010-04-01/Accounts/{AccountSid}/AuthToken.json", Kind::Account)
        .admin()
        .update(&[], rotate::<S>);
}

/// An account.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountBody {
    /// The auth token, only in the response that creates or replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    date_created: Option<String>,
    date_updated: Option<String>,
    friendly_name: String,
    #[schema(value_type = String)]
    sid: AccountSid,
    #[schema(value_type = String)]
    status: AccountStatus,
}

impl From<Account> for AccountBody {
    fn from(account: Account) -> Self {
        Self {
            auth_token: None,
            date_created: rfc2822(account.dates.created),
            date_updated: rfc2822(account.dates.updated),
            friendly_name: account.friendly_name,
            sid: account.sid,
            status: account.status,
        }
    }
}

impl From<NewAccount> for AccountBody {
    fn from(new: NewAccount) -> Self {
        Self { auth_token: Some(new.token.to_string()), ..Self::from(new.account) }
    }
}

async fn list<S: Store>(request: ApiRequest<S>) -> Result<Rows<AccountBody>, ApiError> {
    let key = |sid| Key::Account(AccountSid::from_bytes(sid));
    let rows = request.page()?.rows(key, |page| request.directory.accounts(page));
    Ok(rows.await?.map(AccountBody::from))
}

async fn create<S: Store>(request: ApiRequest<S>) -> Result<AccountBody, ApiError> {
    let name = request.form.text("FriendlyName").unwrap_or_default();
    Ok(request.directory.create_account(name).await?.into())
}

async fn fetch<S: Store>(request: ApiRequest<S>) -> Result<AccountBody, ApiError> {
    Ok(request.directory.account(request.account()?).await?.into())
}

async fn update<S: Store>(request: ApiRequest<S>) -> Result<AccountBody, ApiError> {
    let status = request.form.choice("Status")?;
    let name = request.form.text("FriendlyName");
    Ok(request.directory.update_account(request.sid(ACCOUNT)?, name, status).await?.into())
}

async fn rotate<S: Store>(request: ApiRequest<S>) -> Result<AccountBody, ApiError> {
    Ok(request.directory.rotate_token(request.sid(ACCOUNT)?).await?.into())
}
