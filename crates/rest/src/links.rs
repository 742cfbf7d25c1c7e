//! Links to resources: relative to the host, or absolute.

use axum::extract::OriginalUri;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Uri, header};

use super::RestOptions;
use sip_authz::AccountSid;

/// The base URL and the path of a request, from which its links are built.
#[derive(Clone)]
pub(super) struct Links {
    /// The base URL, `http://host/prefix`, without a final slash.
    base: String,
    /// The path within the router, without the prefix.
    path: String,
}

impl Links {
    pub(super) fn of(parts: &Parts, options: &RestOptions) -> Self {
        let path = parts.uri.path().to_owned();
        let base = match &options.public_base {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None => {
                let original = parts.extensions.get::<OriginalUri>().map(|original| &original.0);
                let original = original.unwrap_or(&parts.uri);
                let prefix = original.path().strip_suffix(&path).unwrap_or_default();
                let scheme = original.scheme_str().unwrap_or("http");
                format!("{scheme}://{}{prefix}", host(parts, original))
            }
        };
        Self { base, path }
    }

    /// The path of the request within the router.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The absolute URL of a path.
    pub(super) fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// The host and port of the request. Drops everything else that a `Host` header may contain.
fn host(parts: &Parts, original: &Uri) -> String {
    let header = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = original.authority().cloned();
    let authority = authority.or_else(|| header.and_then(|host| host.parse::<Authority>().ok()));
    match authority {
        Some(authority) => match authority.port_u16() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        },
        None => "localhost".to_owned(),
    }
}

/// The path of a SIP resource of the account, relative to the host.
pub(super) fn sip_uri(account: AccountSid, place: impl std::fmt::Display) -> String {
    format!("/2010-04-01/Accounts/{account}/SIP/{place}.json")
}
