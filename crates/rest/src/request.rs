//! A request that passed authentication, with its account, resource and parameters.

use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::auth::{AdminToken, Caller, identify};
use super::error::{ApiError, BAD_PARAMETER};
use super::form::Form;
use super::links::Links;
use super::operation::{Access, Operation, Verb};
use super::page::PageRequest;
use super::{Api, RestOptions};
use sip_authz::AccountSid;
use sip_authz::model::Account;
use sip_authz_directory::{Directory, DirectoryError, Kind};
use sip_authz_store::Store;

/// The path parameter with the SID of the account.
const ACCOUNT: &str = "AccountSid";

/// The header with the SID of the account that the admin acts for, on paths without an account.
pub(super) const ACCOUNT_HEADER: &str = "SIP-Authz-Account";

/// The media type of form bodies.
const FORM: &str = "application/x-www-form-urlencoded";

/// A request that passed authentication and the checks that all operations share.
pub(super) struct ApiRequest<S: Store> {
    pub(super) directory: Arc<Directory<S>>,
    pub(super) form: Form,
    pub(super) links: Links,
    kind: Kind,
    max_page_size: u32,
    query: String,
    account: Option<AccountSid>,
    path: Vec<(String, String)>,
    /// The secret part of the key that authenticates page tokens.
    seal: [u8; 32],
}

impl<S: Store> ApiRequest<S> {
    /// Authenticates a request and reads its parameters. Authentication comes first, so that the body of
    /// an unknown sender is never read.
    pub(super) async fn read(
        api: &Api<S>,
        operation: &Operation,
        request: Request,
    ) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let caller = identify(api, &parts.headers).await?;
        let path = path_params(&mut parts, operation).await?;
        let chosen = chosen_account(&parts.headers)?;
        let account = acting_for(api, operation, caller, &path, chosen).await?;
        // everyone who may read the listing has the same secret, and it survives a restart
        let seal = match &account {
            Some(account) => account.token.map(|token| token.0),
            None => api.options.admin.as_ref().map(AdminToken::hash),
        };
        let writes = !matches!(operation.verb, Verb::List(_) | Verb::Fetch);
        if writes && api.options.read_only {
            return Err(ApiError::read_only());
        }
        if writes && is_from_another_site(&parts.headers, &api.options) {
            return Err(ApiError::cross_origin());
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

    /// The account that the request is for. Every operation on an account's resources has one.
    pub(super) fn account(&self) -> Result<AccountSid, ApiError> {
        self.account.ok_or_else(|| absent(self.kind))
    }

    /// The SID in a path parameter. A malformed SID answers 404, like one that does not exist.
    pub(super) fn sid<T: FromStr>(&self, name: &str) -> Result<T, ApiError> {
        find(&self.path, name).ok_or_else(|| absent(self.kind))
    }

    /// The requested page of a listing.
    pub(super) fn page(&self) -> Result<PageRequest, ApiError> {
        let key = page_key(self.seal, &self.links);
        PageRequest::read(self.kind, self.max_page_size, &self.query, key)
    }
}

/// The key that authenticates the page tokens of a listing. `seal` is a secret of its readers.
pub(super) fn page_key(seal: [u8; 32], links: &Links) -> [u8; 16] {
    let mut hash = Sha256::new_with_prefix("page token");
    hash.update(seal);
    hash.update(links.path());
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// Whether the headers of a browser show that the request comes from a page of a foreign origin. A
/// browser submits forms across origins without a preflight, with the credentials it has stored. Other
/// clients send neither `Origin` nor `Sec-Fetch-Site`.
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

pub(super) fn absent(kind: Kind) -> ApiError {
    DirectoryError::NotFound(kind).into()
}

fn find<T: FromStr>(path: &[(String, String)], name: &str) -> Option<T> {
    let (_, text) = path.iter().find(|(known, _)| known == name)?;
    text.parse().ok()
}

/// The parameters in the path, without the suffix `.json`.
async fn path_params(
    parts: &mut Parts,
    operation: &Operation,
) -> Result<Vec<(String, String)>, ApiError> {
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

/// The account in the header [`ACCOUNT_HEADER`].
pub(super) fn chosen_account(headers: &HeaderMap) -> Result<Option<AccountSid>, ApiError> {
    let mut all = headers.get_all(ACCOUNT_HEADER).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        let is_absent = !headers.contains_key(ACCOUNT_HEADER);
        let message = format!("the header {ACCOUNT_HEADER} must not be repeated");
        return if is_absent { Ok(None) } else { Err(ApiError::bad(BAD_PARAMETER, message)) };
    };
    let sid = value.to_str().ok().and_then(|text| text.parse().ok());
    sid.map(Some).ok_or_else(|| absent(Kind::Account))
}

/// The account that the caller acts for. `None` for the admin on paths for the admin alone. The path or
/// the header names the account; an account can name only itself.
async fn acting_for<S: Store>(
    api: &Api<S>,
    operation: &Operation,
    caller: Caller,
    path: &[(String, String)],
    chosen: Option<AccountSid>,
) -> Result<Option<Account>, ApiError> {
    let is_named = path.iter().any(|(name, _)| name == ACCOUNT);
    let named = find::<AccountSid>(path, ACCOUNT);
    if is_named && named.is_none() {
        return Err(absent(Kind::Account));
    }
    if named.is_some() && chosen.is_some() && named != chosen {
        let message = format!("the path and the header {ACCOUNT_HEADER} name different accounts");
        return Err(ApiError::bad(BAD_PARAMETER, message));
    }
    match (caller, named.or(chosen)) {
        (Caller::Account(login), Some(sid)) if login.account.sid != sid => {
            Err(absent(Kind::Account))
        }
        (Caller::Account(_), _) if operation.access == Access::Admin => {
            Err(ApiError::forbidden(match operation.kind {
                Kind::Store => "only the admin may raise the format of the store",
                _ => "only the admin may manage accounts",
            }))
        }
        (Caller::Account(login), _) => Ok(Some(login.account)),
        (Caller::Admin, Some(sid)) => Ok(Some(api.directory.account(sid).await?)),
        (Caller::Admin, None) if operation.access == Access::Admin => Ok(None),
        (Caller::Admin, None) => Err(ApiError::forbidden(&format!(
            "this path needs the credentials of an account, or those of the admin and the header \
             {ACCOUNT_HEADER} with the SID of an account"
        ))),
    }
}

/// Reads the whole body of a form.
pub(super) async fn form_body(
    parts: &Parts,
    body: Body,
    options: &RestOptions,
) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let declared = parts.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > options.max_body) {
        return Err(ApiError::too_large(options.max_body));
    }
    let body = match Limited::new(body, options.max_body).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(ApiError::too_large(options.max_body));
        }
        Err(_) => return Err(ApiError::bad(BAD_PARAMETER, "the request body ended early")),
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let media = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !body.is_empty() && !media.eq_ignore_ascii_case(FORM) {
        return Err(ApiError::wrong_content_type(FORM, content_type));
    }
    Ok(Zeroizing::new(body.into()))
}
