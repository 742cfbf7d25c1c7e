//! `?Wait=applied`: a change is answered once no edge of a fleet decides by an older state.
//!
//! The change stands whatever comes of the wait, and its answer may have what is shown this once: a SID,
//! an auth token. So the answer is kept, and what is known of the edges is added to it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::error::{BAD_PARAMETER, Refusal};
use super::fault::Fault;
use super::form::Param;
use sip_authz_directory::{Confirmation, Directory};
use sip_authz_store::Store;

/// Seconds that a caller waits unless told otherwise, and at most.
const SECONDS: u64 = 30;
const MOST_SECONDS: u64 = 300;

/// What the query of a change can have.
pub(super) const PARAMS: &[Param] = &[Param::text("Wait"), Param::integer("WaitSeconds")];

const BEHIND: &str = "The change stands; these edges have not confirmed it";
const UNKNOWN: &str = "The change stands; it is not known which edges have it";

/// How long the caller of a change waits for all edges, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait(Option<Duration>);

impl Wait {
    /// Reads `Wait` and `WaitSeconds` of a query.
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let (mut waits, mut seconds) = (false, SECONDS);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match name {
                "Wait" if value == "applied" => waits = true,
                "Wait" => return Err(Refusal::bad(BAD_PARAMETER, "Wait must be `applied`")),
                "WaitSeconds" => {
                    let known = value.parse().ok().filter(|n| (1..=MOST_SECONDS).contains(n));
                    let message = "WaitSeconds must be a number from 1 to 300";
                    seconds = known.ok_or_else(|| Refusal::bad(BAD_PARAMETER, message))?;
                }
                _ => {}
            }
        }
        Ok(Self(waits.then_some(Duration::from_secs(seconds))))
    }

    /// The answer to a change that was carried out: `answer`, once all edges go by it, or with what is
    /// known of them.
    pub(super) async fn then<S: Store>(
        self,
        directory: &Directory<S>,
        answer: Response,
    ) -> Response {
        let Some(limit) = self.0 else { return answer };
        match directory.confirm(limit).await {
            Ok(Confirmation::Everywhere) => answer,
            Ok(Confirmation::NotBy(edges)) => accepted(answer, BEHIND, json!(edges)).await,
            Err(error) => {
                let mut answer = accepted(answer, UNKNOWN, Value::Null).await;
                Fault::from(error).beside(&mut answer);
                answer
            }
        }
    }
}

/// The answer with status 202, and beside its fields, of which none is called so, what is to be said.
async fn accepted(answer: Response, message: &str, edges: Value) -> Response {
    let (mut head, body) = answer.into_parts();
    head.status = StatusCode::ACCEPTED;
    // made whole in this process, so that nothing is waited for and nothing fails
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut fields = if body.is_empty() {
        let json = HeaderValue::from_static("application/json");
        head.headers.insert(header::CONTENT_TYPE, json);
        Map::from_iter([("status".to_owned(), json!(head.status.as_u16()))])
    } else {
        match serde_json::from_slice(&body) {
            Ok(fields) => fields,
            // what was to be answered matters more than what would be added
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
    fn what_a_query_asks_for() {
        let wait = |query| Wait::read(query).ok();
        let seconds = |n| Some(Wait(Some(Duration::from_secs(n))));
        assert_eq!(wait(""), Some(Wait(None)));
        assert_eq!(wait("PageSize=2&WaitSeconds=3"), Some(Wait(None)));
        assert_eq!(wait("Wait=applied"), seconds(30));
        assert_eq!(wait("Wait=appl%69ed&WaitSeconds=300"), seconds(300));
        for wrong in ["Wait", "Wait=yes", "Wait=applied&WaitSeconds=0", "WaitSeconds=301"] {
            assert_eq!(wait(wrong), None, "{wrong}");
        }
    }
}
