//! `/v1/AuthTokens`: the secondary auth token of an account, which works beside the first one. So a client can take up
//! the new token before the old one stops working.

use serde::Serialize;
use utoipa::ToSchema;

use super::dates::iso8601;
use super::error::ApiError;
use super::links::Links;
use super::request::ApiRequest;
use super::routes::Routes;
use sip_authz::AccountSid;
use sip_authz::model::Account;
use sip_authz_directory::Kind;
use sip_authz_store::Store;

const SECONDARY: &str = "/v1/AuthTokens/Secondary";
const PROMOTE: &str = "/v1/AuthTokens/Promote";

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    routes.at(SECONDARY, Kind::SecondaryAuthToken).create(&[], create::<S>).delete(delete::<S>);
    routes.at(PROMOTE, Kind::SecondaryAuthToken).update(&[], promote::<S>);
}

/// A new secondary auth token.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondaryAuthToken)]
struct SecondaryBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    date_created: Option<String>,
    date_updated: Option<String>,
    /// The token. No later response has it.
    secondary_auth_token: String,
    url: String,
}

/// A secondary auth token that has become the only one.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthTokenPromotion)]
struct PromotionBody {
    #[schema(value_type = String)]
    account_sid: AccountSid,
    /// Always null: the server has only the hash of the token.
    auth_token: Option<String>,
    date_created: Option<String>,
    date_updated: Option<String>,
    url: String,
}

impl PromotionBody {
    fn new(links: &Links, account: &Account) -> Self {
        Self {
            account_sid: account.sid,
            auth_token: None,
            date_created: iso8601(account.dates.created),
            date_updated: iso8601(account.dates.updated),
            url: links.absolute(PROMOTE),
        }
    }
}

async fn create<S: Store>(request: ApiRequest<S>) -> Result<SecondaryBody, ApiError> {
    let new = request.directory.create_secondary_token(request.account()?).await?;
    // the account changes as the token is created
    let created = iso8601(new.account.dates.updated);
    Ok(SecondaryBody {
        account_sid: new.account.sid,
        date_created: created.clone(),
        date_updated: created,
        secondary_auth_token: new.token.to_string(),
        url: request.links.absolute(SECONDARY),
    })
}

async fn delete<S: Store>(request: ApiRequest<S>) -> Result<(), ApiError> {
    request.directory.delete_secondary_token(request.account()?).await?;
    Ok(())
}

async fn promote<S: Store>(request: ApiRequest<S>) -> Result<PromotionBody, ApiError> {
    let account = request.directory.promote_secondary_token(request.account()?).await?;
    Ok(PromotionBody::new(&request.links, &account))
}
