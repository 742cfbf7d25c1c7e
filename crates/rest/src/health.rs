//! The checks for load balancers and supervisors, which need no credentials: `/ready` says whether this process
//! decides calls, and `/health` whether all its parts are well.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, WeakShared};
use serde::Serialize;

use super::Api;
use super::error::Json;
use super::server_error::ServerError;
use sip_authz_directory::DirectoryError;
use sip_authz_store::{Store, StoreError};

/// The name of the store's part.
const STORE: &str = "store";

/// The state of one part of the program, such as its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PartHealth {
    /// The state in one word.
    pub state: &'static str,
    /// The error in words; none if the part is well. Every client can read it, so it has no secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether every call is refused because of this part.
    #[serde(skip)]
    pub refuses_calls: bool,
}

impl PartHealth {
    /// A part that is well.
    #[must_use]
    pub const fn ok(state: &'static str) -> Self {
        Self { state, error: None, refuses_calls: false }
    }

    /// A part with this error.
    #[must_use]
    pub fn failed(state: &'static str, error: impl Into<String>) -> Self {
        Self { state, error: Some(error.into()), refuses_calls: false }
    }

    /// The same part, because of which every call is refused.
    #[must_use]
    pub const fn refusing_calls(mut self) -> Self {
        self.refuses_calls = true;
        self
    }
}

/// The health of the program around the router.
pub trait ProgramHealth: Send + Sync {
    /// The state of each part by its name. The router adds `store`.
    fn parts(&self) -> BTreeMap<&'static str, PartHealth>;
}

/// An implementation of [`ProgramHealth`] that is shared with the program.
#[derive(Clone)]
pub struct SharedHealth(pub Arc<dyn ProgramHealth>);

impl std::fmt::Debug for SharedHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedHealth(..)")
    }
}

/// The check of the store that runs at present. Requests that come meanwhile share it, so strangers cannot make many.
#[derive(Default)]
pub(super) struct Checks(Mutex<Option<WeakShared<Check>>>);

type Check = BoxFuture<'static, Result<(), StoreError>>;

impl Checks {
    async fn check<S: Store>(&self, api: &Arc<Api<S>>) -> Result<(), StoreError> {
        let check = {
            // no code panics while it holds the lock
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match running.as_ref().and_then(WeakShared::upgrade) {
                Some(check) if check.peek().is_none() => check,
                _ => {
                    let api = Arc::clone(api);
                    let check = async move { api.directory.store().health().await };
                    let check = check.boxed().shared();
                    *running = check.downgrade();
                    check
                }
            }
        };
        check.await
    }
}

/// The body of both answers.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    parts: BTreeMap<&'static str, PartHealth>,
}

impl Health {
    fn of(parts: BTreeMap<&'static str, PartHealth>) -> Self {
        let status = if parts.values().any(|part| part.refuses_calls) {
            "refusing"
        } else if parts.values().any(|part| part.error.is_some()) {
            "degraded"
        } else {
            "ok"
        };
        Self { status, parts }
    }

    fn answer(self, is_well: bool) -> Response {
        let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(self)).into_response()
    }
}

pub(super) fn routes<S: Store>(api: &Arc<Api<S>>) -> Router {
    let routes = Router::new().route("/health", get(health::<S>)).route("/ready", get(ready::<S>));
    routes.with_state(Arc::clone(api))
}

/// 200 if all parts are well.
async fn health<S: Store>(State(api): State<Arc<Api<S>>>) -> Response {
    let checked = api.checks.check(&api).await;
    let mut parts = parts(&api);
    let store = match &checked {
        Ok(()) => PartHealth::ok("ok"),
        Err(error) => PartHealth::failed(error.kind(), error.summary()),
    };
    parts.insert(STORE, store);
    let health = Health::of(parts);
    let is_well = health.status == "ok";
    let mut response = health.answer(is_well);
    if let Err(error) = checked {
        ServerError::from(DirectoryError::from(error)).attach(&mut response);
    }
    response
}

/// 200 unless every call is refused. Asks no store, so it answers at once.
async fn ready<S: Store>(State(api): State<Arc<Api<S>>>) -> Response {
    let health = Health::of(parts(&api));
    let is_ready = health.status != "refusing";
    health.answer(is_ready)
}

fn parts<S: Store>(api: &Api<S>) -> BTreeMap<&'static str, PartHealth> {
    api.options.health.as_ref().map(|SharedHealth(health)| health.parts()).unwrap_or_default()
}
