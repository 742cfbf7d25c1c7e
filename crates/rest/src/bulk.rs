//! Export and import of all records as a [`Document`], for the admin only.
//!
//! - `GET /admin/export` streams every record as of one commit. It includes hashes of passwords and tokens
//!   only with `?secrets=true`.
//! - `POST /admin/import` writes the records of a document. With `?dry_run=true` it checks the document and
//!   reports the changes without writing them.
//!
//! A document of at most 10,000 entries and 16 MiB is one commit, all or none. A larger one is applied in
//! parts while it arrives, each part in one commit. Then each record must come after those that it refers
//! to, as in an export. If such an import fails, the error has a token for the parameter `resume`: with
//! it the same document again goes on after the entries that were applied.
//!
//! A request with `Accept: application/x-ndjson` is answered at once, by an [`ImportLine`] for each
//! report of progress and one for the result.

mod aside;
mod convert;
mod document;
mod entry;
mod export;
mod import;
mod reader;
mod token;
mod value;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use self::import::{Failed, Import, ImportOptions};
use super::Api;
use super::auth::{Caller, identify};
use super::error::excerpt;
use super::error::{ApiError, BAD_PARAMETER, Json};
use super::request::is_from_another_site;
use sip_authz_directory::Merged;
use sip_authz_store::Store;

pub use self::document::{
    AccessListEntry, AccountEntry, AddressEntry, CredentialEntry, CredentialListEntry, DatesEntry,
    Document, DocumentError, DomainEntry, Format, MappingEntry, PolicyEntry, Purpose, RoleEntry,
    TrunkEntry,
};
pub use self::entry::Entry;
pub use self::reader::{DocumentReader, ReadEntry, ReadError};
pub use self::value::{ListSid, Secret, Stamp, TargetSid};

/// The media type of an import's progress.
pub const LINES: &str = "application/x-ndjson";

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

/// The progress of an import in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportProgress {
    /// The number of entries at the beginning of the document that are applied.
    pub applied: u64,
    /// The number of records that this request created.
    pub new: usize,
    /// The number of existing records that this request changed.
    pub changed: usize,
    /// The number of existing records that stayed the same.
    pub unchanged: usize,
    /// The token to go on after the applied entries.
    pub resume: String,
}

/// A failed import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportFailure {
    /// The HTTP status that an answer without progress has.
    pub status: u16,
    /// The error code.
    pub code: u32,
    /// The error in words.
    pub message: String,
    /// The entries that are applied; none if nothing has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<ImportProgress>,
}

/// A line of the answer to an import with progress. The last one is a result or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImportLine {
    /// The progress so far.
    Progress(ImportProgress),
    /// The result.
    Result(ImportAnswer),
    /// The import failed.
    Error(ImportFailure),
}

impl ImportLine {
    fn encode(&self) -> Vec<u8> {
        // no map has keys other than strings, so it cannot fail
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
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
    let secrets = flag(request.uri(), "secrets")?;
    let records = api.directory.records().await?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, export::body(records, secrets)).into_response())
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
    let options = import_options(request.uri())?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let media = content_type.and_then(|kind| kind.to_str().ok()?.split(';').next());
    if !media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::wrong_content_type("application/json", media));
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let with_progress = accept.is_some_and(|accept| accept.contains(LINES));
    let body = request.into_body();
    if !with_progress {
        return match Import::new(&api.directory, options, None).run(body).await {
            Ok(answer) => Ok(Json(answer).into_response()),
            Err(Failed { error, applied: None }) => Err(error),
            Err(Failed { error, applied: Some(progress) }) => {
                let ImportProgress { applied, resume, .. } = progress;
                let state = format!("{applied} entries are applied; go on with ?resume={resume}");
                Err(error.with_note(&state))
            }
        };
    }
    let lines = aside::body(move |sender| async move {
        let import = Import::new(&api.directory, options, Some(&sender));
        let last = match import.run(body).await {
            Ok(answer) => ImportLine::Result(answer),
            Err(Failed { error, applied }) => {
                let (status, code, message) = error.report(api.options.on_fault.as_ref());
                ImportLine::Error(ImportFailure { status, code, message, applied })
            }
        };
        if sender.send(last.encode()).await.is_ok() {
            let _ = sender.end().await;
        }
    });
    Ok(([(header::CONTENT_TYPE, LINES)], lines).into_response())
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
fn flag(uri: &Uri, name: &str) -> Result<bool, ApiError> {
    let query = uri.query().unwrap_or_default();
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

fn import_options(uri: &Uri) -> Result<ImportOptions, ApiError> {
    let Some(token) = uri.query().and_then(|query| query.strip_prefix("resume=")) else {
        let dry_run = flag(uri, "dry_run")?;
        return Ok(ImportOptions { dry_run, resume: None });
    };
    match token.parse() {
        Ok(token) => Ok(ImportOptions { dry_run: false, resume: Some(token) }),
        Err(()) => {
            let message = format!(
                "expected resume=TOKEN with a token of an import, got `{}`",
                excerpt(token)
            );
            Err(ApiError::bad(BAD_PARAMETER, message))
        }
    }
}
