//! The HTTP surface: the paths, fields and errors that clients of the compatible service know.
//!
//! [`router`] makes an axum `Router` that a program mounts in its own server, under a prefix if it
//! likes (`nest`). It keeps nothing but its options; all data is behind the [`Directory`].
//!
//! - Accounts sign in with HTTP Basic: their SID and auth token. Whatever is another account's is
//!   answered like what does not exist.
//! - The user `admin`, where [`RestOptions`] has a token for it, makes accounts and acts for any
//!   account on paths that name one (`/2010-04-01/Accounts/{AccountSid}/…`). Paths that name none
//!   (`/v1`, `/v2`) are the accounts' own: there it is answered 403.
//! - A body is `application/x-www-form-urlencoded`; another type is answered 415, a longer one than
//!   [`RestOptions::max_body`] 413, with nothing read. Parameters that are not known are ignored.
//! - `?Wait=applied` at a change has the answer wait until every edge that reports to the store goes by
//!   it or has stopped deciding, for `WaitSeconds` (30, at most 300); else it is 202, with what the
//!   answer has anyway and in `edges` the names of the edges that have not said so.
//! - The bounds on headers, on time and on connections are the server's.

mod api2010;
mod auth;
mod auth_type;
pub mod bulk;
mod call;
mod catalogue;
mod change;
mod cors;
mod dates;
mod error;
mod fault;
mod form;
mod health;
#[cfg(feature = "unstable-internals")]
#[doc(hidden)]
pub mod internals;
mod links;
mod mapped;
mod openapi;
mod operation;
mod page;
mod policy;
mod roles;
mod routes;
mod trunking;
mod wait;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};

use self::error::Refusal;
use self::routes::Routes;
use sip_authz_directory::Directory;
use sip_authz_store::Store;

pub use self::auth::AdminToken;
pub use self::fault::OnFault;

/// How the HTTP surface behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestOptions {
    /// The token of the user `admin`; without one there is no such user. Default: none.
    pub admin: Option<AdminToken>,
    /// Origins whose pages may call from a browser, such as `https://console.example.com`.
    /// Default: none.
    pub cors_origins: Vec<String>,
    /// The longest body in bytes. Default: 65,536.
    pub max_body: usize,
    /// Who is told why requests are answered 503 or 500, which the answers do not say. Default: nobody.
    pub on_fault: Option<OnFault>,
    /// The largest `PageSize`; roles have 100, or this if it is less. Default: 1,000.
    pub max_page_size: u32,
    /// Where clients reach the router, such as `https://api.example.com/sip`. Default: none, and
    /// absolute links are then made of the request's own host and the prefix it was mounted under,
    /// with `http`.
    pub public_base: Option<String>,
    /// Whether writes are refused (409), as where a configuration file says what there is.
    /// Default: no.
    pub read_only: bool,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            admin: None,
            cors_origins: Vec::new(),
            max_body: 65_536,
            max_page_size: 1_000,
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
        with_max_body: max_body: usize,
        with_on_fault: on_fault: Option<OnFault>,
        with_max_page_size: max_page_size: u32,
        with_public_base: public_base: Option<String>,
        with_read_only: read_only: bool,
    }
}

/// What every request is answered from.
struct Api<S: Store> {
    directory: Arc<Directory<S>>,
    options: RestOptions,
}

/// The HTTP surface of `directory`. It has a fallback of its own, so it is nested, or served alone,
/// rather than merged with a router that has one too.
pub fn router<S: Store>(directory: Arc<Directory<S>>, options: RestOptions) -> Router {
    let mut routes = Routes::new();
    api2010::routes(&mut routes);
    trunking::routes(&mut routes);
    roles::routes(&mut routes);
    let (origins, on_fault) = (options.cors_origins.clone(), options.on_fault.clone());
    let api = Arc::new(Api { directory, options });
    let (router, document) = routes.finish(&api);
    let router = router
        .merge(health::routes(&api))
        .merge(bulk::routes(&api))
        .merge(catalogue::routes())
        .merge(openapi::routes(document))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path);
    cors::layer(fault::layer(router, on_fault), origins)
}

async fn unknown_path(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::not_found(format!("The requested resource {path} was not found")).into_response()
}

async fn wrong_method() -> Response {
    Refusal::wrong_method().into_response()
}
