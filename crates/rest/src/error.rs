//! Error responses: the status and code of each error, and the body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::login::{self, LoginUser};
use super::server_error::{OnFault, ServerError};
use sip_authz_directory::{DirectoryError, Kind};
use sip_authz_store::StoreError;

pub(super) const BAD_PARAMETER: u32 = 20_001;
pub(super) const DENIED: u32 = 20_003;
pub(super) const WRONG_METHOD: u32 = 20_004;
pub(super) const PAGE_SIZE_TOO_LARGE: u32 = 20_007;
pub(super) const NOT_FOUND: u32 = 20_404;
/// A conflict with the state of the server: read-only resources, or the format of the store.
pub(super) const CONFLICT: u32 = 20_409;
pub(super) const TOO_MANY: u32 = 20_429;
pub(super) const INTERNAL: u32 = 20_500;
pub(super) const UNAVAILABLE: u32 = 20_503;
pub(super) const BAD_PAGE_TOKEN: u32 = 21_481;
pub(super) const UNKNOWN_PERMISSION: u32 = 50_104;
pub(super) const BAD_ROLE_TYPE: u32 = 50_105;

/// An error response.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: u32,
    message: String,
    /// The cause of a 5xx response, which is hidden from the client.
    cause: Option<ServerError>,
    /// The user whose credentials were wrong.
    login: Option<LoginUser>,
}

/// The body of an error response.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorBody<'a> {
    /// The error code.
    code: u32,
    /// The error in words.
    message: &'a str,
    /// The path of the explanation of the code.
    more_info: String,
    /// The HTTP status.
    status: u16,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), cause: None, login: None }
    }

    /// 400 for an invalid parameter or body.
    pub(super) fn bad(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 for an invalid parameter of a resource of this kind.
    pub(super) fn invalid(kind: Kind, message: impl Into<String>) -> Self {
        Self::bad(validation_code(kind), message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, NOT_FOUND, message)
    }

    /// 401 for missing or wrong credentials.
    pub(super) fn unauthorized() -> Self {
        let message = "missing or wrong credentials: expected an account SID and its auth token";
        Self::new(StatusCode::UNAUTHORIZED, DENIED, message)
    }

    /// 401 for whole credentials of this user that are wrong.
    pub(super) fn wrong_login(user: LoginUser) -> Self {
        Self { login: Some(user), ..Self::unauthorized() }
    }

    /// 403 for valid credentials that do not permit the request.
    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, DENIED, message)
    }

    pub(super) fn wrong_method() -> Self {
        let message = "the resource does not support this method; see the Allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD, message)
    }

    /// 403 for a write from a browser page of another origin.
    pub(super) fn cross_origin() -> Self {
        Self::forbidden("a page of another origin may not make changes")
    }

    /// 409 for a write while a file defines the resources.
    pub(super) fn read_only() -> Self {
        let message = "the resources are read-only: the server takes them from a file";
        Self::new(StatusCode::CONFLICT, CONFLICT, message)
    }

    /// 413 for a body of more than `max` bytes.
    pub(super) fn too_large(max: usize) -> Self {
        let message = format!("the request body must have at most {max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, BAD_PARAMETER, message)
    }

    /// 415 for a body of another media type.
    pub(super) fn wrong_content_type(expected: &str, found: Option<&str>) -> Self {
        let found =
            found.map_or_else(|| "none".to_owned(), |found| format!("`{}`", excerpt(found)));
        let message = format!("Content-Type must be {expected}, got {found}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, BAD_PARAMETER, message)
    }

    /// The same error with a note after its message.
    pub(super) fn with_note(self, note: &str) -> Self {
        Self { message: format!("{}; {note}", self.message), ..self }
    }

    /// The status, code and message, for an answer whose status is sent already. Passes on the cause.
    pub(super) fn report(self, on_fault: Option<&OnFault>) -> (u16, u32, String) {
        if let Some(cause) = &self.cause {
            cause.report(on_fault);
        }
        (self.status.as_u16(), self.code, self.message)
    }

    fn with_cause(self, error: DirectoryError) -> Self {
        Self { cause: Some(error.into()), ..self }
    }
}

/// The path of the explanation of a code.
fn explanation(code: u32) -> String {
    format!("/errors/{code}")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            code: self.code,
            message: &self.message,
            more_info: explanation(self.code),
            status: self.status.as_u16(),
        };
        let mut response = (self.status, Json(&body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(cause) = self.cause {
            cause.attach(&mut response);
        }
        if let Some(user) = self.login {
            login::attach(user, &mut response);
        }
        response
    }
}

/// A JSON response body.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let json = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, json)], body).into_response()
            }
            // unreachable: only a map with keys other than strings fails, and no body has one
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        let message = error.to_string();
        match error {
            DirectoryError::NotFound(_) => Self::not_found(message),
            DirectoryError::Invalid { kind, .. } => Self::invalid(kind, message),
            DirectoryError::TooMany { kind, .. } => Self::bad(limit_code(kind), message),
            DirectoryError::InUse { kind, .. } => Self::bad(in_use_code(kind), message),
            DirectoryError::BadName { kind, .. } => Self::bad(bad_name_code(kind), message),
            DirectoryError::NameTaken { kind, .. } => Self::bad(taken_code(kind), message),
            DirectoryError::UnknownPermission(_) => Self::bad(UNKNOWN_PERMISSION, message),
            DirectoryError::EdgesBehind { .. } | DirectoryError::Unlisted { .. } => {
                Self::new(StatusCode::CONFLICT, CONFLICT, message)
            }
            DirectoryError::Store(StoreError::Format(reason)) => {
                let message = format!(
                    "{reason}; the admin raises it with `sip-authz upgrade finish` once all edges are upgraded"
                );
                Self::new(StatusCode::CONFLICT, CONFLICT, message)
            }
            DirectoryError::NotFollowed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, message)
            }
            // the cause goes to the operator, not to the client
            DirectoryError::Busy | DirectoryError::Store(_) => {
                let message = match &error {
                    DirectoryError::Store(StoreError::TooLarge(_)) => {
                        "the change is too large for the store"
                    }
                    DirectoryError::Store(StoreError::ReadOnly(_)) => {
                        "the store accepts no changes at present, try again later"
                    }
                    DirectoryError::Store(StoreError::NoSpace(_)) => {
                        "the store has no space for changes at present, try again later"
                    }
                    DirectoryError::Store(StoreError::Newer(_)) => {
                        "this edge is too old for the store and needs an upgrade"
                    }
                    _ => "the service is temporarily unavailable, try again later",
                };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, message).with_cause(error)
            }
            // no random bytes, records in the store that break a rule, and variants added later
            _ => {
                let message = "internal server error";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, message).with_cause(error)
            }
        }
    }
}

/// The code of an invalid parameter.
fn validation_code(kind: Kind) -> u32 {
    match kind {
        Kind::Domain | Kind::DomainMapping => 21_231,
        Kind::IpAccessControlList => 21_235,
        Kind::IpAddress => 21_238,
        Kind::CredentialList => 21_240,
        Kind::Credential => 21_243,
        Kind::Trunk | Kind::TrunkMapping => 21_245,
        Kind::Account | Kind::Policy | Kind::Role | Kind::SecondaryAuthToken | Kind::Store => {
            BAD_PARAMETER
        }
    }
}

/// The code of a reached limit.
fn limit_code(kind: Kind) -> u32 {
    match kind {
        Kind::Domain => 21_230,
        Kind::IpAccessControlList => 21_234,
        Kind::IpAddress => 21_237,
        Kind::CredentialList => 21_239,
        Kind::Credential => 21_242,
        Kind::Trunk => 21_244,
        other => validation_code(other),
    }
}

/// The code of the deletion of a resource in use.
fn in_use_code(kind: Kind) -> u32 {
    match kind {
        Kind::Domain => 21_233,
        Kind::IpAccessControlList => 21_236,
        Kind::CredentialList => 21_241,
        Kind::Trunk => 21_247,
        other => validation_code(other),
    }
}

/// The code of an invalid host name.
fn bad_name_code(kind: Kind) -> u32 {
    match kind {
        Kind::Domain => 21_232,
        other => validation_code(other),
    }
}

/// The code of a host name that another resource has.
fn taken_code(kind: Kind) -> u32 {
    match kind {
        Kind::Trunk => 21_248,
        other => bad_name_code(other),
    }
}

/// Up to 40 characters of a rejected value, for error messages.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
