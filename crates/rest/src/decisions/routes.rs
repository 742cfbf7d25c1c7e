//! The routes of questions about decisions.

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use super::{alerts, explain, limits, list, stream};
use crate::Api;
use sip_authz_store::Store;

/// The routes, if the program keeps decisions.
pub(crate) fn routes<S: Store>(api: &Arc<Api<S>>) -> Router {
    if api.options.decisions.is_none() {
        return Router::new();
    }
    Router::new()
        .route("/v1/Decisions", get(list::list::<S>))
        .route("/v1/Decisions/{Sid}", get(list::fetch::<S>))
        .route("/v1/Decisions/Stream", get(stream::follow::<S>))
        .route("/v1/Decisions/Explain", post(explain::explain::<S>))
        .route("/v1/Decisions/Limits", get(limits::list::<S>))
        .route("/v1/Decisions/Limits/{Id}", delete(limits::release::<S>))
        .route("/v1/Alerts", get(alerts::list::<S>))
        .route("/v1/Alerts/{Sid}", get(alerts::fetch::<S>))
        .with_state(Arc::clone(api))
}
