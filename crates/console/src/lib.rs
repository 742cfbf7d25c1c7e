//! Web pages for the operators of an edge: the refused calls, the cause of each, and its remedy.
//!
//! [`Console::router`] returns an axum `Router` whose paths start with `/console`. A program merges it into the
//! server of its REST API. The pages are made on the server and work without a script; the script only
//! adds live rows, rows that open in place, and the time zone of the browser. All files are part of the
//! crate, and no page requests anything from elsewhere.
//!
//! - People log in with the SID and auth token of an account, or as `admin` with the admin token. An
//!   account sees its own domains, lists and decisions; the admin sees all.
//! - A session is a random id in a cookie. Sessions are kept in memory only, in a bounded number, and end
//!   after 30 minutes without a request. A session also ends if the token of its account is replaced or
//!   the account is no longer active.
//! - Each form has a token of its session. Requests of other origins are refused, and so are hosts that a
//!   browser may have been tricked into (DNS rebinding).
//! - All changes go through the [`Directory`], which keeps the same rules as the REST API.
//!
//! The crate has no sockets. The embedding program gives each request a [`PeerAddress`](sip_authz_rest::PeerAddress), so that failed
//! logins can be limited by source.

mod assets;
mod client;
mod failures;
mod fields;
mod frame;
mod guard;
mod login;
mod names;
mod options;
mod problem;
mod sessions;
mod state;
mod texts;
mod views;
mod visit;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use sip_authz_directory::Directory;
use sip_authz_store::Store;

use self::failures::Failures;
use self::sessions::Sessions;

pub use self::options::ConsoleOptions;
pub use self::state::{ConsoleState, Head, Level, Row, Section, SharedState};

/// The console: its options and the open sessions.
///
/// Sessions outlive a router, so that a program can replace the directory and its router at run time.
pub struct Console {
    pub(crate) options: ConsoleOptions,
    pub(crate) sessions: Sessions,
    pub(crate) failures: Failures,
    /// The key of the tokens in the login form.
    pub(crate) login_key: [u8; 32],
}

/// The operating system has no random bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomError(String);

impl std::fmt::Display for RandomError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no random bytes from the operating system: {}", self.0)
    }
}

impl std::error::Error for RandomError {}

/// The state of all handlers.
pub(crate) struct App<S: Store> {
    pub(crate) console: Arc<Console>,
    pub(crate) directory: Arc<Directory<S>>,
}

impl<S: Store> Clone for App<S> {
    fn clone(&self) -> Self {
        Self { console: Arc::clone(&self.console), directory: Arc::clone(&self.directory) }
    }
}

impl Console {
    /// A console without sessions.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn new(options: ConsoleOptions) -> Result<Self, RandomError> {
        Ok(Self {
            options,
            sessions: Sessions::default(),
            failures: Failures::default(),
            login_key: sessions::random()?,
        })
    }

    /// The pages for the resources of `directory`, at paths that start with `/console`. Call it within a
    /// tokio runtime with timers.
    pub fn router<S: Store>(self: &Arc<Self>, directory: Arc<Directory<S>>) -> Router {
        let app = App { console: Arc::clone(self), directory };
        Router::new()
            .route("/console", get(login::to_console))
            .route("/console/", get(views::decisions::list::<S>))
            .route("/console/login", get(login::form::<S>).post(login::submit::<S>))
            .route("/console/logout", post(login::logout::<S>))
            .route("/console/session", get(login::session::<S>))
            .route("/console/static/{file}", get(assets::get))
            .route("/console/decisions/{sid}", get(views::decision::page::<S>))
            .route("/console/stream", get(views::stream::stream::<S>))
            .merge(views::targets::routes())
            .merge(views::mapping::routes())
            .merge(views::lists::routes())
            .merge(views::limits::routes())
            .merge(views::explain::routes())
            .route("/console/state", get(views::state::page::<S>))
            .route("/console/{*path}", any(views::unknown::page::<S>))
            .with_state(app.clone())
            .layer(from_fn_with_state(app, guard::guard::<S>))
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("options", &self.options).finish_non_exhaustive()
    }
}
