//! A REST API compatible with Twilio's: the paths, fields and error codes for SIP, trunking and roles.
//!
//! [`router`] returns an axum `Router` that a program mounts in its own server, at the root or under a
//! prefix (`nest`). The router holds only its options; all data is behind the [`Directory`].
//!
//! - Accounts authenticate with HTTP Basic: SID and auth token. A resource of another account answers 404,
//!   like one that does not exist.
//! - The user `admin` exists if [`RestOptions`] has a token for it. The admin manages accounts and acts
//!   for any account on paths with a SID (`/2010-04-01/Accounts/{AccountSid}/…`). On paths without one
//!   (`/v1`, `/v2`) the header `SIP-Authz-Account` has the SID; without it they answer the admin with 403.
//! - A body must be `application/x-www-form-urlencoded`; another type answers 415. A body longer than
//!   [`RestOptions::max_body`] answers 413. Unknown parameters are ignored.
//! - `?Wait=applied` delays the response to a change until every reporting edge uses it or has stopped
//!   deciding. The limit is `WaitSeconds` (default 30, at most 300). After the limit the status is 202,
//!   and the body also has `edges`, the names of the edges that have not confirmed.
//! - Limits on headers, time and connections are those of the embedding server.

mod api2010;
mod auth;
mod auth_tokens;
mod auth_type;
pub mod bulk;
mod catalogue;
mod change;
mod cors;
mod dates;
pub mod decisions;
mod edge_key;
pub mod edges;
mod error;
pub mod fleet;
mod form;
mod health;
#[cfg(feature = "unstable-internals")]
#[doc(hidden)]
pub mod internals;
mod links;
mod login;
mod mapped;
mod openapi;
mod operation;
mod page;
mod policy;
mod request;
mod roles;
mod routes;
mod server_error;
mod trunking;
pub mod upgrade;
mod wait;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};

use self::decisions::Decisions;
use self::edges::EdgeAddress;
use self::error::ApiError;
use self::routes::Routes;
use sip_authz_directory::Directory;
use sip_authz_store::Store;

pub use self::auth::AdminToken;
pub use self::health::{PartHealth, ProgramHealth, SharedHealth};
pub use self::login::{FailedLogin, LoginUser, OnFailedLogin, PeerAddress};
pub use self::server_error::OnFault;

/// An implementation of [`Decisions`] that is shared with the program.
#[derive(Clone)]
pub struct SharedDecisions(pub Arc<dyn Decisions>);

impl std::fmt::Debug for SharedDecisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedDecisions(..)")
    }
}

/// The options of [`router`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestOptions {
    /// The token of the user `admin`; without a token there is no such user. Default: none.
    pub admin: Option<AdminToken>,
    /// The origins whose pages may use the API from a browser, such as `https://console.example.com`.
    /// Default: none.
    pub cors_origins: Vec<String>,
    /// The health of the program, for `/health` and `/ready`. Default: none; they then know the store alone.
    pub health: Option<SharedHealth>,
    /// The longest request body in bytes. Default: 65,536.
    pub max_body: usize,
    /// The callback for logins with a wrong token. Default: none.
    pub on_failed_login: Option<OnFailedLogin>,
    /// The callback for the causes of 500 and 503 responses. Default: none.
    pub on_fault: Option<OnFault>,
    /// The largest `PageSize`. For roles the limit is 100 or this, whichever is less. Default: 1,000.
    pub max_page_size: u32,
    /// The base URL of the router, for absolute links, such as `https://api.example.com/sip`. Default: none;
    /// links then use `http`, the `Host` of the request and the prefix of the router.
    pub public_base: Option<String>,
    /// The decisions that the program keeps, for `/v1/Decisions` and `/v1/Alerts`. Default: none.
    pub decisions: Option<SharedDecisions>,
    /// The address at which other edges of the fleet [ask](edges) this one. They also need `admin` and
    /// `decisions`. Default: none; questions of edges are then refused.
    pub edge: Option<EdgeAddress>,
    /// The name of this edge, for `/v1/Edges`. Default: none; the name is then that in `edge`.
    pub edge_name: Option<String>,
    /// Whether writes answer 409, because a configuration file defines the resources. Default: false.
    pub read_only: bool,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            admin: None,
            cors_origins: Vec::new(),
            decisions: None,
            edge: None,
            edge_name: None,
            health: None,
            max_body: 65_536,
            max_page_size: 1_000,
            on_failed_login: None,
            on_fault: None,
            public_base: None,
            read_only: false,
        }
    }
}

sip_authz::setters! {
    RestOptions {
        with_admin: admin: Option<AdminToken>,
        with_cors_origins: cors_origins: Vec<String>,
        with_decisions: decisions: Option<SharedDecisions>,
        with_edge: edge: Option<EdgeAddress>,
        with_edge_name: edge_name: Option<String>,
        with_health: health: Option<SharedHealth>,
        with_max_body: max_body: usize,
        with_on_failed_login: on_failed_login: Option<OnFailedLogin>,
        with_on_fault: on_fault: Option<OnFault>,
        with_max_page_size: max_page_size: u32,
        with_public_base: public_base: Option<String>,
        with_read_only: read_only: bool,
    }
}

/// The state that all handlers share.
struct Api<S: Store> {
    directory: Arc<Directory<S>>,
    checks: health::Checks,
    options: RestOptions,
}

/// The REST API for `directory`. The router has a fallback of its own: serve it alone or nest it. Do not
/// merge it with a router that has a fallback too.
pub fn router<S: Store>(directory: Arc<Directory<S>>, options: RestOptions) -> Router {
    let mut routes = Routes::new();
    api2010::routes(&mut routes);
    trunking::routes(&mut routes);
    roles::routes(&mut routes);
    auth_tokens::routes(&mut routes);
    upgrade::routes(&mut routes);
    let (origins, on_fault) = (options.cors_origins.clone(), options.on_fault.clone());
    let on_failed_login = options.on_failed_login.clone();
    let api = Arc::new(Api { directory, checks: health::Checks::default(), options });
    let (router, document) = routes.finish(&api);
    let router = router
        .merge(health::routes(&api))
        .merge(edges::routes(&api))
        .merge(fleet::routes(&api))
        .merge(bulk::routes(&api))
        .merge(decisions::routes(&api))
        .merge(catalogue::routes())
        .merge(openapi::routes(document))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path);
    let router = login::layer(server_error::layer(router, on_fault), on_failed_login);
    cors::layer(router, origins)
}

async fn unknown_path(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(format!("the requested resource {path} was not found")).into_response()
}

async fn wrong_method() -> Response {
    ApiError::wrong_method().into_response()
}
