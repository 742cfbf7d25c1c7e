//! Export and import of all records as a [`Document`], for the admin only.
//!
//! - `GET /admin/export` returns every record as of one commit. It includes hashes of passwords and
//!   tokens only with `?secrets=true`.
//! - `POST /admin/import` writes the records of a document in one commit, all or none. With
//!   `?dry_run=true` it checks the document and reports the changes without writing them.

mod convert;
mod document;
mod value;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Api;
use super::auth::{Caller, identify};
use super::error::excerpt;
use super::error::{ApiError, BAD_PARAMETER, Json};
use super::request::is_from_another_site;
use sip_authz_directory::{DirectoryError, MergeError, Merged};
use sip_authz_store::Store;

pub use self::convert::DocumentError;
pub use self::document::{
    AccessListEntry, AccountEntry, AddressEntry, CredentialEntry, CredentialListEntry, DatesEntry,
    Document, DomainEntry, Format, MappingEntry, PolicyEntry, Purpose, RoleEntry, TrunkEntry,
};
pub use self::value::{ListSid, Secret, Stamp, TargetSid};

/// The longest document in bytes. A credential with all its hashes takes about 500.
const MAX_DOCUMENT: usize = 512 << 20;

/// The result of an import, or of its dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportAnswer {
    /// The number of records that the import created.
    pub new: usize,
    /// The number of existing records that the import changed.
    pub changed: usize,
    /// The number of existing records that stayed the same.
    pub unchanged: usize,
    /// Whether this was a dry run, which writes nothing.
    pub dry_run: bool,
    /// Warnings about valid records that will make calls fail.
    pub warnings: Vec<String>,
}

impl ImportAnswer {
    fn of(merged: &Merged, dry_run: bool) -> Self {
        Self {
            new: merged.new,
            changed: merged.changed,
            unchanged: merged.unchanged,
            dry_run,
            warnings: merged.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(super) fn routes<S: Store>(api: &Arc<Api<S>>) -> Router {
    Router::new()
        .route("/admin/export", get(export::<S>))
        .route("/admin/import", post(import::<S>))
        .with_state(Arc::clone(api))
}

async fn export<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    only_admin(&api, request.headers()).await?;
    let secrets = flag(&request, "secrets")?;
    let loaded = api.directory.store().load().await.map_err(DirectoryError::from)?;
    let mut response = Json(Document::of(&loaded.records, secrets)).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

async fn import<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    // authentication comes first, so that the body of an unknown sender is never read
    only_admin(&api, request.headers()).await?;
    if api.options.read_only {
        return Err(ApiError::read_only());
    }
    if is_from_another_site(request.headers(), &api.options) {
        return Err(ApiError::cross_origin());
    }
    let dry_run = flag(&request, "dry_run")?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let media = content_type.and_then(|kind| kind.to_str().ok()?.split(';').next());
    if !media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::wrong_content_type("application/json", media));
    }
    let document = read(request.into_body()).await?;
    let incoming = document.into_incoming();
    let incoming = incoming.map_err(|error| ApiError::bad(BAD_PARAMETER, error.to_string()))?;
    match api.directory.merge(incoming, dry_run).await {
        Ok(merged) => Ok(Json(ImportAnswer::of(&merged, dry_run)).into_response()),
        Err(MergeError::Directory(error)) => Err(error.into()),
        Err(refused) => Err(ApiError::bad(BAD_PARAMETER, refused.to_string())),
    }
}

async fn read(body: Body) -> Result<Document, ApiError> {
    // wiped on drop, because a document may hold passwords
    let body: Zeroizing<Vec<u8>> = match Limited::new(body, MAX_DOCUMENT).collect().await {
        Ok(body) => Vec::from(body.to_bytes()).into(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(ApiError::too_large(MAX_DOCUMENT));
        }
        Err(_) => return Err(ApiError::bad(BAD_PARAMETER, "the request body ended early")),
    };
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad(BAD_PARAMETER, format!("invalid document: {error}")))
}

async fn only_admin<S: Store>(api: &Api<S>, headers: &HeaderMap) -> Result<(), ApiError> {
    match identify(api, headers).await? {
        Caller::Admin => Ok(()),
        Caller::Account(_) => {
            Err(ApiError::forbidden("only the admin may export and import records"))
        }
    }
}

/// The boolean query parameter `name`; false if absent. Any other parameter is an error.
fn flag(request: &Request, name: &str) -> Result<bool, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    match query.split_once('=') {
        None if query.is_empty() => Ok(false),
        Some((given, "true")) if given == name => Ok(true),
        Some((given, "false")) if given == name => Ok(false),
        _ => {
            let query = excerpt(query);
            let message = format!("expected the query {name}=true or {name}=false, got `{query}`");
            Err(ApiError::bad(BAD_PARAMETER, message))
        }
    }
}
