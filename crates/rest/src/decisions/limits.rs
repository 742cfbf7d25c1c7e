//! `GET /v1/Decisions/Limits` and `DELETE /v1/Decisions/Limits/{id}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::list::missing;
use super::request::{Question, answer};
use super::{HeldList, Released};
use crate::Api;
use crate::error::{ApiError, UNAVAILABLE};
use sip_authz_store::Store;

pub(super) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, &[], request).await?;
    let held = question.decisions.held(question.asker).await;
    Ok(answer(HeldList { limits: held.rows, silent_edges: held.silent }))
}

pub(super) async fn release<S: Store>(
    State(api): State<Arc<Api<S>>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, &[], request).await?;
    let not_held = || ApiError::not_found("no guess limit of this account has this id");
    let Path(id) = id.map_err(|_| not_held())?;
    match question.decisions.release(question.asker, id).await {
        Released::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        Released::NotHeld => Err(not_held()),
        Released::Silent(silent) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            UNAVAILABLE,
            format!("no edge that answers has this guess limit. {}", missing(&silent)),
        )),
    }
}
