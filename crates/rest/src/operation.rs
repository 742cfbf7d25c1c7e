//! What one method of one path does, and who may call it.

use axum::http::StatusCode;
use axum::routing::MethodFilter;

use super::form::Param;
use sip_authz_directory::Kind;

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Fetch,
    /// With the key that the rows stand under.
    List(&'static str),
    Update,
    Delete,
}

impl Verb {
    pub(super) fn filter(self) -> MethodFilter {
        match self {
            Self::Fetch | Self::List(_) => MethodFilter::GET,
            Self::Create | Self::Update => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Create => StatusCode::CREATED,
            Self::Fetch | Self::List(_) | Self::Update => StatusCode::OK,
            Self::Delete => StatusCode::NO_CONTENT,
        }
    }
}

/// Who may call an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The account, and the admin for it.
    Account,
    /// The admin alone.
    Admin,
}

/// One method of one path.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) kind: Kind,
    pub(super) access: Access,
    pub(super) params: &'static [Param],
    /// Whether the last place in the path ends in `.json`.
    pub(super) suffixed: bool,
    /// Whether links are relative to the host (2010-04-01), not absolute.
    pub(super) has_uris: bool,
}
