//! Who is asking: HTTP Basic with an account's SID and token, or as the admin.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Api;
use super::error::Refusal;
use sip_authz::AccountSid;
use sip_authz::model::Account;
use sip_authz_store::Store;

/// The user name of whoever administers accounts.
const ADMIN: &str = "admin";

/// What is kept of the admin's token: its SHA-256.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Keeps the hash of `token`; none is kept of an empty one, which would let everybody in.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        (!token.is_empty()).then(|| Self(Sha256::digest(token).into()))
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        self.0
    }

    fn is(&self, token: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(token).into();
        given.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// Who is asking.
pub(super) enum Caller {
    /// An active account.
    Account(Account),
    /// Whoever has the admin token.
    Admin,
}

/// Who is asking, or 401.
pub(super) async fn identify<S: Store>(
    api: &Api<S>,
    headers: &HeaderMap,
) -> Result<Caller, Refusal> {
    let given = basic(headers).ok_or_else(Refusal::unauthorized)?;
    let (user, token) = given.split_once(':').ok_or_else(Refusal::unauthorized)?;
    if user == ADMIN {
        let admin = api.options.admin.as_ref().filter(|admin| admin.is(token));
        return admin.map(|_| Caller::Admin).ok_or_else(Refusal::unauthorized);
    }
    let sid: AccountSid = user.parse().map_err(|_| Refusal::unauthorized())?;
    let account = api.directory.authenticate(sid, token).await?;
    account.map(Caller::Account).ok_or_else(Refusal::unauthorized)
}

/// The `user:password` of the Authorization header, if it has one and is the only one.
fn basic(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    String::from_utf8(bytes).ok().map(Zeroizing::new)
}
