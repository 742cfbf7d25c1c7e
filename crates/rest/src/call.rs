//! A request that has been let in: who for, which resource, with which parameters.

use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::auth::{AdminToken, Caller, identify};
use super::error::{BAD_PARAMETER, READ_ONLY, Refusal};
use super::form::Form;
use super::links::Links;
use super::operation::{Access, Operation, Verb};
use super::page::Wanted;
use super::{Api, RestOptions};
use sip_authz::AccountSid;
use sip_authz::model::Account;
use sip_authz_directory::{Directory, Kind};
use sip_authz_store::Store;

/// What the parameter in a path is called that names the account.
const ACCOUNT: &str = "AccountSid";

/// A request that has been let in.
pub(super) struct Call<S: Store> {
    pub(super) directory: Arc<Directory<S>>,
    pub(super) form: Form,
    pub(super) links: Links,
    kind: Kind,
    max_page_size: u32,
    query: String,
    account: Option<AccountSid>,
    path: Vec<(String, String)>,
    /// What page tokens are sealed with, beside the path.
    seal: [u8; 32],
}

impl<S: Store> Call<S> {
    /// Lets a request in: who is asking comes first, so that nothing is read for strangers.
    pub(super) async fn read(
        api: &Api<S>,
        operation: &Operation,
        request: Request,
    ) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let caller = identify(api, &parts.headers).await?;
        let path = path_params(&mut parts, operation).await?;
        let account = acting_for(api, operation, caller, &path).await?;
        // all who may read the listing share it, and it outlives this process
        let seal = match &account {
            Some(account) => account.token.map(|token| token.0),
            None => api.options.admin.as_ref().map(AdminToken::hash),
        };
        let writes = !matches!(operation.verb, Verb::List(_) | Verb::Fetch);
        if writes && api.options.read_only {
            let message = "The resources come from a file and are not changed here";
            return Err(Refusal::new(StatusCode::CONFLICT, READ_ONLY, message));
        }
        if writes && is_from_another_site(&parts.headers, &api.options) {
            return Err(Refusal::forbidden("A page of another origin may not write"));
        }
        let has_form = matches!(operation.verb, Verb::Create | Verb::Update);
        let body = if has_form {
            form_body(&parts, body, &api.options).await?
        } else {
            Zeroizing::default()
        };
        let form = Form::read(operation.kind, operation.params, &body)?;
        Ok(Self {
            directory: Arc::clone(&api.directory),
            form,
            links: Links::of(&parts, &api.options),
            kind: operation.kind,
            max_page_size: api.options.max_page_size,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            account: account.as_ref().map(|account| account.sid),
            path,
            seal: seal.unwrap_or_default(),
        })
    }

    /// The account that the call is for; every operation on an account's resources has one.
    pub(super) fn account(&self) -> Result<AccountSid, Refusal> {
        self.account.ok_or_else(|| absent(self.kind))
    }

    /// A SID in the path; a malformed one is answered like one that is not there.
    pub(super) fn sid<T: FromStr>(&self, name: &str) -> Result<T, Refusal> {
        find(&self.path, name).ok_or_else(|| absent(self.kind))
    }

    /// Which page is asked for.
    pub(super) fn page(&self) -> Result<Wanted, Refusal> {
        let mut hash = Sha256::new_with_prefix("page token");
        hash.update(self.seal);
        hash.update(self.links.path());
        let hash: [u8; 32] = hash.finalize().into();
        let key = hash.first_chunk().copied().unwrap_or_default();
        Wanted::read(self.kind, self.max_page_size, &self.query, key)
    }
}

/// Whether a browser says that the request comes from a page of an origin that may not call. Forms
/// are sent across origins without asking, with credentials that the browser keeps; programs other
/// than browsers send neither header.
pub(super) fn is_from_another_site(headers: &HeaderMap, options: &RestOptions) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text(header::ORIGIN) {
        Some(origin) if options.cors_origins.iter().any(|allowed| allowed == origin) => false,
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_none() || authority != text(header::HOST)
        }
        None => headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site"),
    }
}

fn absent(kind: Kind) -> Refusal {
    Refusal::not_found(format!("there is no such {kind}"))
}

fn find<T: FromStr>(path: &[(String, String)], name: &str) -> Option<T> {
    let (_, text) = path.iter().find(|(known, _)| known == name)?;
    text.parse().ok()
}

/// What the path's places hold, the last one without the suffix.
async fn path_params(
    parts: &mut Parts,
    operation: &Operation,
) -> Result<Vec<(String, String)>, Refusal> {
    let raw = RawPathParams::from_request_parts(parts, &()).await;
    let raw = raw.map_err(|_| absent(operation.kind))?;
    let mut all: Vec<_> = raw.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    if operation.suffixed
        && let Some((_, last)) = all.last_mut()
    {
        *last = last.strip_suffix(".json").ok_or_else(|| absent(operation.kind))?.to_owned();
    }
    Ok(all)
}

/// The account that the caller may act for here.
async fn acting_for<S: Store>(
    api: &Api<S>,
    operation: &Operation,
    caller: Caller,
    path: &[(String, String)],
) -> Result<Option<Account>, Refusal> {
    let named = path.iter().any(|(name, _)| name == ACCOUNT);
    let sid = find::<AccountSid>(path, ACCOUNT);
    match (caller, sid) {
        (_, None) if named => Err(absent(Kind::Account)),
        (Caller::Account(account), Some(sid)) if account.sid != sid => Err(absent(Kind::Account)),
        (Caller::Account(_), _) if operation.access == Access::Admin => {
            Err(Refusal::forbidden("Accounts are administered with the admin token"))
        }
        (Caller::Account(account), _) => Ok(Some(account)),
        (Caller::Admin, Some(sid)) => Ok(Some(api.directory.account(sid).await?)),
        (Caller::Admin, None) if operation.access == Access::Admin => Ok(None),
        (Caller::Admin, None) => {
            Err(Refusal::forbidden("This path is an account's own; sign in as the account"))
        }
    }
}

/// The body of a form, whole.
async fn form_body(
    parts: &Parts,
    body: Body,
    options: &RestOptions,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let declared = parts.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > options.max_body) {
        return Err(too_large(options));
    }
    let body = match Limited::new(body, options.max_body).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large(options)),
        Err(_) => return Err(Refusal::bad(BAD_PARAMETER, "The body ended early")),
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let media = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !body.is_empty() && !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let message = "The body must be application/x-www-form-urlencoded";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, BAD_PARAMETER, message));
    }
    Ok(Zeroizing::new(body.into()))
}

fn too_large(options: &RestOptions) -> Refusal {
    let message = format!("The body must have at most {} bytes", options.max_body);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, BAD_PARAMETER, message)
}
