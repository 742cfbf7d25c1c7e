//! Questions of one edge of a fleet to another: `POST /edge/v1/question`.
//!
//! This path is for edges only. It takes neither accounts' tokens nor the admin token, but a code with a
//! key of its own, [`EdgeKey`]; and that code is taken on no other path. It can ask for kept decisions and
//! for held limits, and release a limit. It can read and change nothing else.
//!
//! An edge answers for itself: it never asks further edges. The account of a question is the one that the
//! asking edge has authenticated.

mod wire;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use sip_authz::{AccountSid, DecisionSid};
use sip_authz_store::Store;

use super::Api;
use super::decisions::{Asker, Decisions, Filter, Query, Released, Start};
use super::edge_key::{EdgeKeyError, is_of_edge};
use super::error::{ApiError, BAD_PARAMETER, DENIED, Json};

pub use self::wire::{EdgeAnswer, EdgeRows, QuestionError};
pub use super::edge_key::EdgeKey;

/// The path of questions, below the base URL of an edge.
pub const PATH: &str = "/edge/v1/question";

/// The longest question in bytes.
const MAX_QUESTION: usize = 16 << 10;
/// The maximum number of decisions in an answer.
pub const MAX_ROWS: usize = 1_000;

/// The name of an edge and the base URL at which other edges ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeAddress {
    /// The name, as in its reports.
    pub name: String,
    /// The base URL, as in its reports.
    pub url: String,
}

/// A question of an edge to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeQuestion {
    /// The account that asks, which sees its own decisions and limits; none for the admin.
    pub account: Option<AccountSid>,
    /// The question.
    pub what: EdgeQuestionKind,
}

/// The question of an edge to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeQuestionKind {
    /// The decisions that a filter selects.
    Recent {
        /// The selection.
        filter: Box<Filter>,
        /// The maximum number of rows.
        limit: usize,
        /// The start of the rows.
        start: Start,
    },
    /// One decision.
    Find(DecisionSid),
    /// The names and sources that guess limits hold.
    Held,
    /// The release of one of them, by its id at the edge that is asked.
    Release(String),
}

pub(super) fn routes<S: Store>(api: &Arc<Api<S>>) -> Router {
    Router::new().route(PATH, post(answer::<S>)).with_state(Arc::clone(api))
}

async fn answer<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let options = &api.options;
    let (Some(edge), Some(admin), Some(decisions)) =
        (&options.edge, &options.admin, &options.decisions)
    else {
        return Err(ApiError::not_found("this edge answers no questions of other edges"));
    };
    let (parts, body) = request.into_parts();
    let authorization = authorization(&parts.headers).ok_or_else(ApiError::unauthorized)?;
    let body = read(body).await?;
    let verified = EdgeKey::new(admin).verify(authorization, &edge.url, SystemTime::now(), &body);
    verified.map_err(|error| match error {
        EdgeKeyError::Wrong => refused(
            "the edges have different admin tokens, or the asked edge has another --api-advertise",
        ),
        EdgeKeyError::Time => refused("the clocks of the edges differ by more than 30 s"),
    })?;
    let question = EdgeQuestion::from_json(&body)
        .map_err(|error| ApiError::bad(BAD_PARAMETER, error.to_string()))?;
    Ok(Json(answered(&*decisions.0, edge, question).await).into_response())
}

async fn answered(
    decisions: &dyn Decisions,
    edge: &EdgeAddress,
    question: EdgeQuestion,
) -> EdgeAnswer {
    let asker = Asker { account: question.account, asks_fleet: false };
    let (rows, silent) = match question.what {
        EdgeQuestionKind::Recent { filter, limit, start } => {
            let query = Query { filter: *filter, limit: limit.min(MAX_ROWS), start };
            let found = decisions.recent(asker, query).await;
            let rows = EdgeRows::Decisions { rows: found.answered.rows, has_more: found.has_more };
            (rows, found.answered.silent)
        }
        EdgeQuestionKind::Find(sid) => {
            let found = decisions.find(asker, sid).await;
            (EdgeRows::Decisions { rows: found.rows, has_more: false }, found.silent)
        }
        EdgeQuestionKind::Held => {
            let held = decisions.held(asker).await;
            (EdgeRows::Held { rows: held.rows }, held.silent)
        }
        EdgeQuestionKind::Release(id) => match decisions.release(asker, id).await {
            Released::Done => (EdgeRows::Released { done: true }, Vec::new()),
            Released::NotHeld => (EdgeRows::Released { done: false }, Vec::new()),
            Released::Silent(silent) => (EdgeRows::Released { done: false }, silent),
        },
    };
    EdgeAnswer::new(edge.name.clone(), SystemTime::now(), rows, silent)
}

/// The only Authorization header, if it is one of edges.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    value.to_str().ok().filter(|value| is_of_edge(value))
}

async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    match Limited::new(body, MAX_QUESTION).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(MAX_QUESTION)),
        Err(_) => Err(ApiError::bad(BAD_PARAMETER, "the request body ended early")),
    }
}

/// 403 with the reason, for the edge that asks. A 401 would ask for the credentials of an account.
fn refused(why: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, DENIED, why)
}
