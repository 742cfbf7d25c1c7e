//! Refusals: which status and code each has, and the body that carries them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::fault::Fault;
use sip_authz_directory::{DirectoryError, Kind};
use sip_authz_store::StoreError;

pub(super) const BAD_PARAMETER: u32 = 20_001;
pub(super) const DENIED: u32 = 20_003;
pub(super) const WRONG_METHOD: u32 = 20_004;
pub(super) const PAGE_SIZE_TOO_LARGE: u32 = 20_007;
pub(super) const NOT_FOUND: u32 = 20_404;
pub(super) const READ_ONLY: u32 = 20_409;
pub(super) const INTERNAL: u32 = 20_500;
pub(super) const UNAVAILABLE: u32 = 20_503;
pub(super) const BAD_PAGE_TOKEN: u32 = 21_481;
pub(super) const UNKNOWN_PERMISSION: u32 = 50_104;
pub(super) const BAD_ROLE_TYPE: u32 = 50_105;

/// An answer other than the one that was wanted.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
    /// What the client is not told.
    fault: Option<Fault>,
}

/// The body of an error.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorAnswer<'a> {
    /// What went wrong, as a number.
    code: u32,
    /// What went wrong, in words.
    message: &'a str,
    /// Where the code is explained, relative to the host.
    more_info: String,
    /// The status of the answer.
    status: u16,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), fault: None }
    }

    /// A parameter or body that is wrong.
    pub(super) fn bad(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A parameter that is wrong for a resource of this kind.
    pub(super) fn invalid(kind: Kind, message: impl Into<String>) -> Self {
        Self::bad(validation_code(kind), message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, NOT_FOUND, message)
    }

    /// No credentials, or wrong ones.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, DENIED, "Authenticate")
    }

    /// Right credentials that do not permit this.
    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, DENIED, message)
    }

    pub(super) fn wrong_method() -> Self {
        let message = "The method is not allowed on this resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD, message)
    }

    fn because(self, error: DirectoryError) -> Self {
        Self { fault: Some(error.into()), ..self }
    }
}

/// Where a code is explained.
fn explanation(code: u32) -> String {
    format!("/errors/{code}")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let answer = ErrorAnswer {
            code: self.code,
            message: &self.message,
            more_info: explanation(self.code),
            status: self.status.as_u16(),
        };
        let mut response = (self.status, Json(&answer)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(fault) = self.fault {
            fault.beside(&mut response);
        }
        response
    }
}

/// A body in JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let json = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, json)], body).into_response()
            }
            // no answer has a map whose keys are not texts, which is all that can fail
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

impl From<DirectoryError> for Refusal {
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
            // what is behind these is the operator's affair, not the client's
            DirectoryError::NotFollowed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, message)
            }
            DirectoryError::Busy | DirectoryError::Store(_) => {
                let message = match &error {
                    DirectoryError::Store(StoreError::TooLarge(_)) => {
                        "The change is larger than the service can store"
                    }
                    DirectoryError::Store(StoreError::ReadOnly(_)) => {
                        "The service takes no changes at present, try again later"
                    }
                    _ => "The service cannot answer at present, try again later",
                };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, message).because(error)
            }
            // no random bytes, records that break a rule, and errors that this crate does not know yet
            _ => {
                let message = "An internal error has occurred";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, message).because(error)
            }
        }
    }
}

/// A value that the kind of resource cannot have.
fn validation_code(kind: Kind) -> u32 {
    match kind {
        Kind::Domain | Kind::DomainMapping => 21_231,
        Kind::IpAccessControlList => 21_235,
        Kind::IpAddress => 21_238,
        Kind::CredentialList => 21_240,
        Kind::Credential => 21_243,
        Kind::Trunk | Kind::TrunkMapping => 21_245,
        Kind::Account | Kind::Policy | Kind::Role => BAD_PARAMETER,
    }
}

/// One more than there can be.
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

/// Deleted while in use.
fn in_use_code(kind: Kind) -> u32 {
    match kind {
        Kind::Domain => 21_233,
        Kind::IpAccessControlList => 21_236,
        Kind::CredentialList => 21_241,
        Kind::Trunk => 21_247,
        other => validation_code(other),
    }
}

/// A host name that is none.
fn bad_name_code(kind: Kind) -> u32 {
    match kind {
        Kind::Domain => 21_232,
        other => validation_code(other),
    }
}

/// A host name that is another's.
fn taken_code(kind: Kind) -> u32 {
    match kind {
        Kind::Trunk => 21_248,
        other => bad_name_code(other),
    }
}
