//! Logins with a wrong token. The embedding program receives them, to count them and to warn of them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use sip_authz::AccountSid;

/// The user of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginUser {
    /// The user `admin`.
    Admin,
    /// An account, by the SID that was sent, which need not exist. None for a user name that is no SID of an
    /// account.
    Account(Option<AccountSid>),
}

/// A login that was refused. It has no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedLogin {
    /// The user name that was sent.
    pub user: LoginUser,
    /// The address of the other side of the connection, which is that of a proxy in front of the API. None
    /// if the server that embeds the router does not give it.
    pub source: Option<SocketAddr>,
}

impl FailedLogin {
    /// A refused login of `user` from `source`.
    #[must_use]
    pub const fn new(user: LoginUser, source: Option<SocketAddr>) -> Self {
        Self { user, source }
    }
}

/// The address of the other side of a connection: an extension of each request, which the server that
/// embeds the router sets. A router has no connections, so without it the source of a login is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// A callback for logins with a wrong token.
///
/// A login failed if a request has whole credentials for HTTP Basic and they are not right: the token is
/// wrong, the user does not exist, or the account is not active. A request without credentials, or with
/// malformed ones, is answered 401 too, but is no login. Neither is one that the store could not check.
///
/// The source is the [`PeerAddress`] of the request.
#[derive(Clone)]
pub struct OnFailedLogin(Arc<dyn Fn(&FailedLogin) + Send + Sync>);

impl OnFailedLogin {
    /// Wraps `report`. The router calls it for each such request, before it answers. `report` must not
    /// block, and many calls may come at once.
    pub fn new(report: impl Fn(&FailedLogin) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Reports a login. A program calls it for its own login forms.
    pub fn report(&self, login: &FailedLogin) {
        (self.0)(login);
    }
}

impl fmt::Debug for OnFailedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFailedLogin")
    }
}

/// The user of a failed login, an extension of the response until it leaves the router.
#[derive(Clone, Copy, Debug)]
struct Attached(LoginUser);

/// Attaches the user of a failed login to the response.
pub(super) fn attach(user: LoginUser, response: &mut Response) {
    response.extensions_mut().insert(Attached(user));
}

/// Passes the failed logins that are attached to the router's responses to `on_failed`.
pub(super) fn layer(router: Router, on_failed: Option<OnFailedLogin>) -> Router {
    let Some(on_failed) = on_failed else { return router };
    router.layer(from_fn(move |request: Request, next: Next| {
        let on_failed = on_failed.clone();
        async move {
            let source = request.extensions().get().map(|PeerAddress(address)| *address);
            let mut response = next.run(request).await;
            if let Some(Attached(user)) = response.extensions_mut().remove() {
                on_failed.report(&FailedLogin::new(user, source));
            }
            response
        }
    }))
}
