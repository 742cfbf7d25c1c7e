//! The JSON bodies of answers with rows, for programs that read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DecisionRecord, Held, SilentEdge};

/// The body of `GET /v1/Decisions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct DecisionList {
    /// The decisions, newest first.
    pub decisions: Vec<DecisionRecord>,
    /// The links to other pages.
    pub meta: PageLinks,
    /// The edges whose decisions are missing, because they did not answer.
    #[serde(default)]
    pub silent_edges: Vec<SilentEdge>,
}

/// The `meta` of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PageMeta)]
#[non_exhaustive]
pub struct PageLinks {
    /// The first page.
    pub first_page_url: String,
    /// The name of the field with the rows.
    pub key: String,
    /// The page with older rows; none on the last page.
    #[schema(required)]
    pub next_page_url: Option<String>,
    /// The page number of the client. It only appears in links.
    pub page: u32,
    /// The maximum number of rows of a page.
    pub page_size: u32,
    /// The page with newer rows; none on the first page.
    #[schema(required)]
    pub previous_page_url: Option<String>,
    /// This page.
    pub url: String,
}

/// The body of `GET /v1/Decisions/Limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct HeldList {
    /// The names and sources that are held.
    pub limits: Vec<Held>,
    /// The edges whose limits are missing, because they did not answer.
    #[serde(default)]
    pub silent_edges: Vec<SilentEdge>,
}

/// The data of the event `left-out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOut {
    /// The number of decisions that were left out, because the reader was too slow.
    pub count: u64,
}
