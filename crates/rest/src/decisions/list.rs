//! `GET /v1/Decisions` and `GET /v1/Decisions/{Sid}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::request::{Question, absent, answer, rows};
use super::{DecisionRecord, Filter, Query, SilentEdge};
use crate::Api;
use crate::error::ApiError;
use crate::form::Param;
use crate::links::Links;
use crate::page::Rows;
use sip_authz_store::Store;

pub(super) const KEY: &str = "decisions";

/// The query parameters of the list.
pub(super) const PARAMS: &[Param] = &[
    Param::text("Domain"),
    Param::text("User"),
    Param::text("Source"),
    Param::text("Outcome"),
    Param::text("Reason"),
    Param::text("CallId"),
    Param::text("Since"),
    Param::text("Until"),
];

pub(super) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, PARAMS, request).await?;
    let filter = question.filter()?;
    let written = filter.query();
    page(&question, filter, written, KEY, |record| json!(record)).await
}

/// Answers a page of the decisions that `filter` selects. Links keep `parameters`.
pub(super) async fn page(
    question: &Question,
    filter: Filter,
    parameters: String,
    key: &'static str,
    show: impl Fn(DecisionRecord) -> Value,
) -> Result<Response, ApiError> {
    let page = question.page(parameters)?;
    let start = Question::start(&page);
    let query = Query { filter, limit: page.size(), start };
    let found = question.decisions.recent(question.asker, query).await;
    let (rows, silent) = rows(page, start, found);
    Ok(answer(body(&rows.map(show), key, &question.links, &silent)))
}

/// The body of a page: the rows, the links and the edges that did not answer.
pub(super) fn body<A: Serialize>(
    rows: &Rows<A>,
    key: &str,
    links: &Links,
    silent: &[SilentEdge],
) -> Value {
    let mut body = rows.with_meta(key, links);
    if let Value::Object(fields) = &mut body {
        fields.insert("silent_edges".to_owned(), json!(silent));
    }
    body
}

pub(super) async fn fetch<S: Store>(
    State(api): State<Arc<Api<S>>>,
    sid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, &[], request).await?;
    Ok(answer(find(&question, sid).await?))
}

/// The decision with this SID, which the caller may see.
pub(super) async fn find(
    question: &Question,
    sid: Result<Path<String>, PathRejection>,
) -> Result<DecisionRecord, ApiError> {
    let Path(sid) = sid.map_err(|_| absent())?;
    let sid = sid.parse().map_err(|_| absent())?;
    let found = question.decisions.find(question.asker, sid).await;
    found.rows.into_iter().next().ok_or_else(|| match found.silent.as_slice() {
        [] => absent(),
        silent => ApiError::not_found(format!(
            "no edge that answers keeps this decision. {}",
            missing(silent)
        )),
    })
}

/// The edges that did not answer, in words.
pub(super) fn missing(silent: &[SilentEdge]) -> String {
    let edges: Vec<_> =
        silent.iter().map(|silent| format!("{} ({})", silent.edge, silent.reason)).collect();
    format!("Edges without an answer: {}", edges.join(", "))
}
