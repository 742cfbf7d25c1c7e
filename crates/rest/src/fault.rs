//! Why requests are answered 500 or 503: the client is not told, the embedding program is.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;

use sip_authz_directory::DirectoryError;

/// Whom the router tells of errors that are the operator's affair: the store cannot be read or written,
/// is too busy or holds what breaks a rule, or there are no random bytes. The answers, 503 or 500, do not
/// say what is behind them. The text of such an error has no secret in it.
#[derive(Clone)]
pub struct OnFault(Arc<dyn Fn(&DirectoryError) + Send + Sync>);

impl OnFault {
    /// Calls this for each request that meets such an error, before it is answered. It must not block,
    /// and there may be many.
    pub fn new(tell: impl Fn(&DirectoryError) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for OnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFault")
    }
}

/// What is behind an answer, carried beside it until it leaves the router.
#[derive(Clone, Debug)]
pub(super) struct Fault(Arc<DirectoryError>);

impl From<DirectoryError> for Fault {
    fn from(error: DirectoryError) -> Self {
        Self(Arc::new(error))
    }
}

impl Fault {
    pub(super) fn beside(self, response: &mut Response) {
        response.extensions_mut().insert(self);
    }
}

/// Tells of what is behind the answers of this router.
pub(super) fn layer(router: Router, on_fault: Option<OnFault>) -> Router {
    let Some(OnFault(tell)) = on_fault else { return router };
    router.layer(map_response(move |mut response: Response| {
        if let Some(Fault(error)) = response.extensions_mut().remove() {
            tell(&error);
        }
        std::future::ready(response)
    }))
}
