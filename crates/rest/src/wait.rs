//! `?Wait=applied`: delays the response to a change until no edge decides by an older state.
//!
//! The change is committed whatever the result of the wait. Its response may contain values that the client
//! sees only once, such as an auth token. So the response is kept, and the state of the edges is added to it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::error::excerpt;
use super::error::{ApiError, BAD_PARAMETER};
use super::form::Param;
use super::server_error::ServerError;
use sip_authz_directory::{Confirmation, Directory};
use sip_authz_store::{Incarnation, Store};

/// The default and the largest `WaitSeconds`.
const DEFAULT_SECONDS: u64 = 30;
const MAX_SECONDS: u64 = 300;

/// The query parameters of a change.
pub(super) const PARAMS: &[Param] = &[Param::text("Wait"), Param::integer("WaitSeconds")];

const UNLISTED: &str = "the change is committed, but the store was restored from a backup a short time ago, \
                        and edges that are missing from it may not have confirmed it";
const BEHIND: &str = "the change is committed, but these edges have not confirmed it";
const UNKNOWN: &str = "the change is committed, but the state of the edges could not be read";

/// The time limit of `Wait=applied`, if the request has the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait(Option<Duration>);

impl Wait {
    /// Parses `Wait` and `WaitSeconds` in a query.
    pub(super) fn read(query: &str) -> Result<Self, ApiError> {
        let (mut waits, mut seconds) = (false, DEFAULT_SECONDS);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match name {
                "Wait" if value == "applied" => waits = true,
                "Wait" => {
                    let message = format!("Wait must be `applied`, got `{}`", excerpt(&value));
                    return Err(ApiError::bad(BAD_PARAMETER, message));
                }
                "WaitSeconds" => {
                    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                    let known = value.parse().ok();
                    let known = known.filter(|n| digits && (1..=MAX_SECONDS).contains(n));
                    seconds = known.ok_or_else(|| {
                        let value = excerpt(&value);
                        let message =
                            format!("WaitSeconds must be 1 to {MAX_SECONDS}, got `{value}`");
                        ApiError::bad(BAD_PARAMETER, message)
                    })?;
                }
                _ => {}
            }
        }
        Ok(Self(waits.then_some(Duration::from_secs(seconds))))
    }

    /// Waits until all edges have applied the committed change, then returns its `answer`. If they have not
    /// in time, adds the names of the edges that have not confirmed. `since` is the incarnation of the store
    /// before the change.
    pub(super) async fn then<S: Store>(
        self,
        directory: &Directory<S>,
        since: Incarnation,
        answer: Response,
    ) -> Response {
        let Some(limit) = self.0 else { return answer };
        match directory.confirm_since(since, limit).await {
            Ok(Confirmation::Everywhere) => answer,
            Ok(Confirmation::NotBy(edges)) => {
                let message = if edges.is_empty() { UNLISTED } else { BEHIND };
                accepted(answer, message, json!(edges)).await
            }
            Err(error) => {
                let mut answer = accepted(answer, UNKNOWN, Value::Null).await;
                ServerError::from(error).attach(&mut answer);
                answer
            }
        }
    }
}

/// Changes the status of `answer` to 202 and adds the fields `message` and `edges`, which no resource has.
async fn accepted(answer: Response, message: &str, edges: Value) -> Response {
    let (mut head, body) = answer.into_parts();
    head.status = StatusCode::ACCEPTED;
    // the body is already in memory, so reading it neither waits nor fails
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut fields = if body.is_empty() {
        let json = HeaderValue::from_static("application/json");
        head.headers.insert(header::CONTENT_TYPE, json);
        Map::from_iter([("status".to_owned(), json!(head.status.as_u16()))])
    } else {
        match serde_json::from_slice(&body) {
            Ok(fields) => fields,
            // unreachable: every such body is a JSON object. If not, the original body matters more
            Err(_) => return Response::from_parts(head, Body::from(body)),
        }
    };
    for (name, value) in [("message", json!(message)), ("edges", edges)] {
        fields.entry(name).or_insert(value);
    }
    Response::from_parts(head, Body::from(Value::Object(fields).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_parameters_are_parsed() {
        let wait = |query| Wait::read(query).ok();
        let seconds = |n| Some(Wait(Some(Duration::from_secs(n))));
        assert_eq!(wait(""), Some(Wait(None)));
        assert_eq!(wait("PageSize=2&WaitSeconds=3"), Some(Wait(None)));
        assert_eq!(wait("Wait=applied"), seconds(30));
        assert_eq!(wait("Wait=appl%69ed&WaitSeconds=300"), seconds(300));
        for wrong in [
            "Wait",
            "Wait=yes",
            "Wait=applied&WaitSeconds=0",
            "WaitSeconds=301",
            "WaitSeconds=%2B5",
        ] {
            assert_eq!(wait(wrong), None, "{wrong}");
        }
    }
}
