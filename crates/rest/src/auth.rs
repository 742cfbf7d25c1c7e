//! Authentication: HTTP Basic with an account's SID and auth token, or with the admin token.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Api;
use super::error::ApiError;
use super::login::LoginUser;
use sip_authz::AccountSid;
use sip_authz_directory::Login;
use sip_authz_store::Store;

/// The user name of the admin.
const ADMIN: &str = "admin";

/// The admin token. Only its SHA-256 is kept.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Hashes `token`. Returns `None` for an empty token, so that an unset variable never admits requests.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        (!token.is_empty()).then(|| Self(Sha256::digest(token).into()))
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        self.0
    }

    /// Whether this is the token, compared in constant time.
    #[must_use]
    pub fn matches(&self, token: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(token).into();
        given.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// The authenticated sender of a request.
pub(super) enum Caller {
    /// An active account.
    Account(Login),
    /// The holder of the admin token.
    Admin,
}

/// Authenticates a request, or returns the error for 401.
pub(super) async fn identify<S: Store>(
    api: &Api<S>,
    headers: &HeaderMap,
) -> Result<Caller, ApiError> {
    let given = basic(headers).ok_or_else(ApiError::unauthorized)?;
    let (user, token) = given.split_once(':').ok_or_else(ApiError::unauthorized)?;
    if user == ADMIN {
        let admin = api.options.admin.as_ref().filter(|admin| admin.matches(token));
        return admin.map(|_| Caller::Admin).ok_or_else(|| ApiError::wrong_login(LoginUser::Admin));
    }
    let wrong = |sid| ApiError::wrong_login(LoginUser::Account(sid));
    let sid: AccountSid = user.parse().map_err(|_| wrong(None))?;
    let login = api.directory.authenticate(sid, token).await?;
    login.map(Caller::Account).ok_or_else(|| wrong(Some(sid)))
}

/// The `user:password` of the Authorization header. `None` if the request has several such headers:
/// a proxy may have checked another one.
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
