//! All records at once, for the admin alone: out as a [`Document`], and in as one, by one commit.
//!
//! - `GET /admin/export` answers every record as of one commit; hashes of passwords and tokens only
//!   with `?secrets=true`.
//! - `POST /admin/import` writes what a document says, all or nothing; with `?dry_run=true` it tells
//!   what that would come to.

mod convert;
mod document;
mod value;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Api;
use super::auth::{Caller, identify};
use super::call::is_from_another_site;
use super::error::{BAD_PARAMETER, Json, READ_ONLY, Refusal};
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

/// What an import came to, or would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportAnswer {
    /// Records that were not there.
    pub new: usize,
    /// Records that were there and are different now.
    pub changed: usize,
    /// Records that are as they were.
    pub unchanged: usize,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What is allowed and will turn callers away.
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
) -> Result<Response, Refusal> {
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
) -> Result<Response, Refusal> {
    // who is asking comes first, so that nothing is read for strangers
    only_admin(&api, request.headers()).await?;
    if api.options.read_only {
        let message = "The resources come from a file and are not changed here";
        return Err(Refusal::new(StatusCode::CONFLICT, READ_ONLY, message));
    }
    if is_from_another_site(request.headers(), &api.options) {
        return Err(Refusal::forbidden("A page of another origin may not write"));
    }
    let dry_run = flag(&request, "dry_run")?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let media = content_type.and_then(|kind| kind.to_str().ok()?.split(';').next());
    if !media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
        let message = "The body must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, BAD_PARAMETER, message));
    }
    let document = read(request.into_body()).await?;
    let incoming = document.into_incoming();
    let incoming = incoming.map_err(|error| Refusal::bad(BAD_PARAMETER, error.to_string()))?;
    match api.directory.merge(incoming, dry_run).await {
        Ok(merged) => Ok(Json(ImportAnswer::of(&merged, dry_run)).into_response()),
        Err(MergeError::Directory(error)) => Err(error.into()),
        Err(refused) => Err(Refusal::bad(BAD_PARAMETER, refused.to_string())),
    }
}

async fn read(body: Body) -> Result<Document, Refusal> {
    // it may hold passwords
    let body: Zeroizing<Vec<u8>> = match Limited::new(body, MAX_DOCUMENT).collect().await {
        Ok(body) => Vec::from(body.to_bytes()).into(),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("The body must have at most {MAX_DOCUMENT} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, BAD_PARAMETER, message));
        }
        Err(_) => return Err(Refusal::bad(BAD_PARAMETER, "The body ended early")),
    };
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(BAD_PARAMETER, format!("The body: {error}")))
}

async fn only_admin<S: Store>(api: &Api<S>, headers: &HeaderMap) -> Result<(), Refusal> {
    match identify(api, headers).await? {
        Caller::Admin => Ok(()),
        Caller::Account(_) => Err(Refusal::forbidden("This is done with the admin token")),
    }
}

/// A parameter of the query that is `true` or `false`; false if it is not there. No other may be.
fn flag(request: &Request, name: &str) -> Result<bool, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let wrong = || Refusal::bad(BAD_PARAMETER, format!("The query can be {name}=true or nothing"));
    match query.split_once('=') {
        None if query.is_empty() => Ok(false),
        Some((given, "true")) if given == name => Ok(true),
        Some((given, "false")) if given == name => Ok(false),
        _ => Err(wrong()),
    }
}
