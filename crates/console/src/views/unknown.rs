//! Paths that lead nowhere.

use axum::extract::{FromRequestParts as _, Request, State};
use sip_authz_store::Store;

use crate::App;
use crate::problem::Problem;
use crate::visit::Visit;

/// Answers 404. Without a session these paths lead to the login form, like all paths.
pub(crate) async fn page<S: Store>(State(app): State<App<S>>, request: Request) -> Problem {
    let (mut parts, _) = request.into_parts();
    match Visit::from_request_parts(&mut parts, &app).await {
        Ok(_) => Problem::not_found("The console has no page at this address."),
        Err(problem) => problem,
    }
}
