//! An error of a call.

use crate::codes::{ResultCode, SIP_AUTHZ_ARGUMENT, SIP_AUTHZ_TOO_LONG};

/// An error of a call: its result, and a text for logs.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ResultCode,
    /// May be empty.
    pub(crate) detail: String,
    /// Whether the request is at fault, not the host or the service.
    pub(crate) is_of_request: bool,
}

impl Failure {
    pub(crate) fn new(code: ResultCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), is_of_request: false }
    }

    /// A wrong argument other than a request.
    pub(crate) fn argument(detail: impl Into<String>) -> Self {
        Self::new(SIP_AUTHZ_ARGUMENT, detail)
    }

    /// A request that the caller of the host has made wrong, or the host has passed wrong.
    pub(crate) fn request(detail: impl Into<String>) -> Self {
        Self { is_of_request: true, ..Self::argument(detail) }
    }

    /// A request that does not fit into a frame.
    pub(crate) fn too_long(detail: impl Into<String>) -> Self {
        Self { is_of_request: true, ..Self::new(SIP_AUTHZ_TOO_LONG, detail) }
    }
}
