//! The description of an operation: one method of one path.

use axum::http::StatusCode;
use axum::routing::MethodFilter;

use super::form::Param;
use sip_authz_directory::Kind;

/// The action of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Fetch,
    /// A listing, with the JSON key of its rows.
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

/// The permitted callers of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The account itself, or the admin on its behalf.
    Account,
    /// Only the admin.
    Admin,
}

/// One method of one path.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) kind: Kind,
    pub(super) access: Access,
    pub(super) params: &'static [Param],
    /// Whether the path ends in a parameter with the suffix `.json`.
    pub(super) suffixed: bool,
    /// Whether links are relative to the host (2010-04-01) instead of absolute.
    pub(super) has_uris: bool,
}
