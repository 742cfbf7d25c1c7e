//! The health check for load balancers, which needs no credentials.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::Api;
use super::error::{ApiError, Json};
use sip_authz_directory::DirectoryError;
use sip_authz_store::Store;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

pub(super) fn routes<S: Store>(api: &Arc<Api<S>>) -> Router {
    Router::new().route("/health", get(health::<S>)).with_state(Arc::clone(api))
}

async fn health<S: Store>(State(api): State<Arc<Api<S>>>) -> Response {
    match api.directory.store().health().await {
        Ok(()) => Json(Health { status: "ok" }).into_response(),
        Err(error) => ApiError::from(DirectoryError::from(error)).into_response(),
    }
}
