//! The causes of 500 and 503 responses. The embedding program receives them; the client does not.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;

use sip_authz_directory::DirectoryError;

/// A callback for the causes of 500 and 503 responses, which the responses themselves hide.
///
/// The causes: the store cannot be read or written, too many commits come at once, the records in the store
/// break a rule, or the operating system has no random bytes. The text of the error contains no secrets.
#[derive(Clone)]
pub struct OnFault(Arc<dyn Fn(&DirectoryError) + Send + Sync>);

impl OnFault {
    /// Wraps `report`. The router calls it for each such response, before it sends the response. `report`
    /// must not block, and many calls may come at once.
    pub fn new(report: impl Fn(&DirectoryError) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }
}

impl fmt::Debug for OnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFault")
    }
}

/// The cause of a 5xx response, an extension of the response until it leaves the router.
#[derive(Clone, Debug)]
pub(super) struct ServerError(Arc<DirectoryError>);

impl From<DirectoryError> for ServerError {
    fn from(error: DirectoryError) -> Self {
        Self(Arc::new(error))
    }
}

impl ServerError {
    /// Attaches the error to the response.
    pub(super) fn attach(self, response: &mut Response) {
        response.extensions_mut().insert(self);
    }

    /// Passes the error on, for an answer that cannot have it attached.
    pub(super) fn report(&self, on_fault: Option<&OnFault>) {
        if let Some(OnFault(report)) = on_fault {
            report(&self.0);
        }
    }
}

/// Passes the attached errors of the router's responses to `on_fault`.
pub(super) fn layer(router: Router, on_fault: Option<OnFault>) -> Router {
    let Some(OnFault(report)) = on_fault else { return router };
    router.layer(map_response(move |mut response: Response| {
        if let Some(ServerError(error)) = response.extensions_mut().remove() {
            report(&error);
        }
        std::future::ready(response)
    }))
}
