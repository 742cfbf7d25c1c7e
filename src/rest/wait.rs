//! `?Wait=applied`: a change is answered once no edge of a fleet decides by an older state.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::error::{BAD_PARAMETER, Json, Refusal};
use crate::directory::{Confirmation, Directory};
use crate::store::Store;

/// Seconds that a caller waits unless told otherwise, and at most.
const SECONDS: u64 = 30;
const MOST_SECONDS: u64 = 300;

/// How long the caller of a change waits for all edges, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait(Option<Duration>);

/// A change that stands, and that these edges may not know of yet.
#[derive(Serialize)]
struct NotConfirmed {
    status: u16,
    message: &'static str,
    edges: Vec<String>,
}

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

    /// The answer to a change that was carried out: `answer`, once all edges go by it.
    pub(super) async fn then<S: Store>(
        self,
        directory: &Directory<S>,
        answer: Response,
    ) -> Result<Response, Refusal> {
        let Some(limit) = self.0 else { return Ok(answer) };
        match directory.confirm(limit).await? {
            Confirmation::Everywhere => Ok(answer),
            Confirmation::NotBy(edges) => {
                let status = StatusCode::ACCEPTED;
                let message = "The change stands; these edges have not confirmed it";
                let body = NotConfirmed { status: status.as_u16(), message, edges };
                Ok((status, Json(body)).into_response())
            }
        }
    }
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
