//! The health of any edge, which needs no credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::StatusCode;

use super::{Client, why};
use crate::system::api_url::ApiUrl;

/// Time limit for `/health`.
const HEALTH_TIME: Duration = Duration::from_secs(2);
/// Time limit for `/ready`, which asks no store.
const READY_TIME: Duration = Duration::from_secs(1);
/// The longest answer in bytes.
const MAX_HEALTH: u64 = 64 << 10;

/// The answer of an edge.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Health {
    pub(crate) status: Status,
    #[serde(default)]
    pub(crate) parts: BTreeMap<String, Part>,
}

/// The status of an edge as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    Degraded,
    Refusing,
    #[serde(rename = "no answer", skip_deserializing)]
    NoAnswer,
    /// The edge has no URL to ask.
    #[serde(skip_deserializing)]
    Unknown,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Refusing => "refusing",
            Self::NoAnswer => "no answer",
            Self::Unknown => "unknown",
        }
    }
}

/// The state of a part of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) state: String,
    /// The error in words; none if the part is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The reason why an edge did not answer, or not as expected.
struct NoHealth {
    /// Whether the time was over.
    is_late: bool,
    reason: String,
}

impl Client {
    /// Asks the edge at a base URL for its health, without credentials. The error is in words.
    ///
    /// `/health` waits for the store. If it takes too long, `/ready` is asked, which does not.
    pub(crate) fn health_of(&self, base: &str) -> Result<Health, String> {
        let late = match self.ask_health(base, "/health", HEALTH_TIME) {
            Err(no) if no.is_late => no.reason,
            other => return other.map_err(|no| no.reason),
        };
        let Ok(mut health) = self.ask_health(base, "/ready", READY_TIME) else { return Err(late) };
        if health.status == Status::Ok {
            health.status = Status::Degraded;
        }
        let error = format!("its check took longer than {} s", HEALTH_TIME.as_secs());
        let part = Part { state: "slow".to_owned(), error: Some(error) };
        health.parts.insert("store".to_owned(), part);
        Ok(health)
    }

    fn ask_health(&self, base: &str, path: &str, time: Duration) -> Result<Health, NoHealth> {
        let other = |reason: String| NoHealth { is_late: false, reason };
        let url = ApiUrl::parse(base).map_err(|why| other(why.to_owned()))?;
        if url.tls && !cfg!(feature = "tls") {
            return Err(other("this build has no TLS".to_owned()));
        }
        let failed = |error: ureq::Error| match error {
            ureq::Error::Timeout(_) => {
                let reason = format!("no answer within {} s", time.as_secs());
                NoHealth { is_late: true, reason }
            }
            ureq::Error::BodyExceedsLimit(_) => {
                NoHealth { is_late: false, reason: format!("more than {MAX_HEALTH} bytes") }
            }
            error => NoHealth { is_late: false, reason: why(&error) },
        };
        let base = base.trim_end_matches('/');
        // not signed: the token must not reach another host
        let request = self.agent.get(format!("{base}{path}"));
        let request = request.config().timeout_global(Some(time)).build();
        let answer = request.call().map_err(failed)?;
        let status = answer.status();
        if !matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE) {
            return Err(other(format!("unexpected status {status}")));
        }
        let body = answer.into_body().into_with_config().limit(MAX_HEALTH).read_to_vec();
        serde_json::from_slice(&body.map_err(failed)?)
            .map_err(|_| other(format!("not the health of sip-authz (status {status})")))
    }
}
