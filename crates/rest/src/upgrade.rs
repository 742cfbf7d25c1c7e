//! `/v1/Upgrade`: the format of the store, for the admin only. `POST` raises it once all edges support the new one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;
use super::request::ApiRequest;
use super::routes::Routes;
use sip_authz_directory::{Formats, Kind};
use sip_authz_store::Store;

/// The path.
pub const PATH: &str = "/v1/Upgrade";

pub(super) fn routes<S: Store>(routes: &mut Routes<S>) {
    routes.at(PATH, Kind::Store).admin().fetch(fetch::<S>).update(&[], finish::<S>);
}

/// The format of the store, and those that its edges support.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct Upgrade {
    /// The format of the store.
    pub format: u32,
    /// The newest format that the answering edge supports.
    pub newest_format: u32,
    /// The edges that report to the store, by name. Empty if the store has no reports, as without etcd.
    pub edges: Vec<UpgradeEdge>,
}

/// An edge, and the newest format of the store that it supports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct UpgradeEdge {
    /// The name of the edge.
    pub name: String,
    /// The newest format that it supports.
    pub newest_format: u32,
}

impl From<Formats> for Upgrade {
    fn from(formats: Formats) -> Self {
        let edges = formats.edges.into_iter();
        Self {
            format: formats.store.number(),
            newest_format: formats.newest.number(),
            edges: edges
                .map(|edge| UpgradeEdge { name: edge.name, newest_format: edge.newest.number() })
                .collect(),
        }
    }
}

async fn fetch<S: Store>(request: ApiRequest<S>) -> Result<Upgrade, ApiError> {
    Ok(request.directory.formats().await?.into())
}

async fn finish<S: Store>(request: ApiRequest<S>) -> Result<Upgrade, ApiError> {
    Ok(request.directory.finish_upgrade().await?.into())
}
