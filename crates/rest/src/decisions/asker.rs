//! The senders of questions.

use axum::http::request::Parts;

use super::Asker;
use crate::Api;
use crate::auth::{AdminToken, Caller, identify};
use crate::error::ApiError;
use crate::request::{absent, chosen_account};
use sip_authz::model::{AccountStatus, TokenHash};
use sip_authz_directory::Kind;
use sip_authz_store::Store;

/// Authenticates the sender of a question. The admin sees all, or with the header `SIP-Authz-Account` what
/// that account sees. Returns also the hash of its token, which seals its page tokens: all who log in with it have
/// the same, and it survives a restart.
pub(super) async fn identify_asker<S: Store>(
    api: &Api<S>,
    parts: &Parts,
) -> Result<(Asker, [u8; 32]), ApiError> {
    let caller = identify(api, &parts.headers).await?;
    let (account, seal) = match (caller, chosen_account(&parts.headers)?) {
        (Caller::Account(login), Some(sid)) if login.account.sid != sid => {
            return Err(absent(Kind::Account));
        }
        (Caller::Account(login), _) => (Some(login.account.sid), Some(login.token.0)),
        (Caller::Admin, Some(sid)) => {
            let token = api.directory.account(sid).await?.token;
            (Some(sid), token.map(|token| token.0))
        }
        (Caller::Admin, None) => (None, api.options.admin.as_ref().map(AdminToken::hash)),
    };
    Ok((Asker { account, asks_fleet: true }, seal.unwrap_or_default()))
}

/// Whether the sender of an old question may still ask: its account is active and still has its token. An
/// error of the store counts as no.
pub(super) async fn may_still_ask<S: Store>(api: &Api<S>, asker: Asker, seal: [u8; 32]) -> bool {
    let Some(account) = asker.account.filter(|_| asker.asks_fleet) else {
        // the tokens of the admin and of other edges are those of this process
        return true;
    };
    api.directory.account(account).await.is_ok_and(|account| {
        account.has_token(TokenHash(seal)) && account.status == AccountStatus::Active
    })
}
