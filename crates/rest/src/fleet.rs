//! `GET /v1/Edges`: the last commit of the store, and the reports of the edges that follow it, for the admin only.
//!
//! The answer comes from the store alone. The other edges are not asked, so an edge that was killed is listed
//! until its report is removed.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, PathItem};

use super::Api;
use super::auth::{Caller, identify};
use super::error::{ApiError, Json};
use super::openapi::{Document, body, described};
use sip_authz_directory::DirectoryError;
use sip_authz_store::{Edge, Format, Head, Store};

/// The path.
pub const PATH: &str = "/v1/Edges";

/// The store and the edges that report to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct EdgeList {
    /// The last commit of the store.
    pub store: StoreHead,
    /// The name of the edge that answers; null if it has none.
    pub edge: Option<String>,
    /// The last report of each edge, by name. Empty if the store has no reports, as without etcd.
    pub edges: Vec<EdgeReport>,
}

/// The last commit of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct StoreHead {
    /// The number of the commit.
    pub number: u64,
    /// The number of records.
    pub records: u64,
    /// The id of the history that the number counts in. A restore from a backup begins another one.
    pub incarnation: String,
    /// The format of the store. Versions before formats do not send it.
    #[serde(default = "first_format")]
    pub format: u32,
}

/// The last report of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct EdgeReport {
    /// The name of the edge.
    pub name: String,
    /// The number of the last commit that it applied.
    pub commit: u64,
    /// The number of commits that it has not applied; null if its commit is from before a restore of the store.
    pub behind: Option<u64>,
    /// The time in seconds for which it decides calls without the store; null without a limit.
    pub lease_seconds: Option<u64>,
    /// The base URL of its API for the other edges; null if it has none.
    pub api: Option<String>,
    /// The newest format of the store that it supports. Versions before formats do not send it.
    #[serde(default = "first_format")]
    pub newest_format: u32,
}

fn first_format() -> u32 {
    Format::FIRST.number()
}

impl EdgeReport {
    fn of(edge: Edge, head: &Head) -> Self {
        let is_known =
            edge.applied.incarnation == head.incarnation || edge.counts_by_number(head.incarnation);
        let Edge { name, applied, lease, api, newest_format } = edge;
        Self {
            name,
            commit: applied.number,
            behind: is_known.then(|| head.number.saturating_sub(applied.number)),
            lease_seconds: lease.map(|lease| lease.as_secs()),
            api,
            newest_format: newest_format.number(),
        }
    }
}

pub(super) fn routes<S: Store>(api: &Arc<Api<S>>) -> Router {
    Router::new().route(PATH, get(list::<S>)).with_state(Arc::clone(api))
}

async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    if let Caller::Account(_) = identify(&api, request.headers()).await? {
        return Err(ApiError::forbidden("only the admin may list the edges"));
    }
    let store = api.directory.store();
    let edges = store.edges().await.map_err(DirectoryError::from)?;
    // after the reports, so that it has the commits that they name
    let head = store.head().await.map_err(DirectoryError::from)?;
    let format = if head.number == 0 { Edge::common_format(&edges) } else { head.format };
    let mut edges: Vec<_> = edges.into_iter().map(|edge| EdgeReport::of(edge, &head)).collect();
    edges.sort_by(|a, b| (&a.name, &a.api).cmp(&(&b.name, &b.api)));
    let options = &api.options;
    let address = || options.edge.as_ref().map(|edge| edge.name.clone());
    let Head { number, records, incarnation, .. } = head;
    let (incarnation, format) = (incarnation.to_string(), format.number());
    let store = StoreHead { number, records, incarnation, format };
    let edge = options.edge_name.clone().or_else(address);
    Ok(Json(EdgeList { store, edge, edges }).into_response())
}

/// Adds the operation to the OpenAPI document.
pub(super) fn describe(document: &mut Document) {
    let answer = body("The store and its edges", document.reference::<EdgeList>());
    let list = described("edge", "listEdges".to_owned(), "List: edges (admin)".to_owned());
    document.insert(PATH, PathItem::new(HttpMethod::Get, list.response("200", answer)));
}
