//! The JSON forms of questions between edges and of their answers.
//!
//! A question with an unknown field or kind is refused: an earlier edge would answer another question than
//! a later one asks. Unknown fields of answers are ignored.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sip_authz::AccountSid;

use super::super::decisions::{DecisionRecord, Filter, Held, Outcome, SilentEdge, Start, micros};
use super::{EdgeQuestion, EdgeQuestionKind};

/// The version of questions and answers.
const VERSION: u32 = 1;

/// A question that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown question, perhaps of a later version: {0}")]
pub struct QuestionError(String);

/// The answer of an edge to a question of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EdgeAnswer {
    /// The name of the edge that answers.
    pub edge: String,
    /// Its time, in microseconds since 1970.
    pub now_us: u64,
    /// The rows.
    pub rows: EdgeRows,
    /// The reason why rows of this edge are missing, such as that it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// The rows of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeRows {
    /// Decisions, newest first.
    Decisions {
        /// The decisions.
        rows: Vec<DecisionRecord>,
        /// Whether there are more in the direction of the question.
        has_more: bool,
    },
    /// Names and sources that guess limits hold.
    Held {
        /// The names and sources.
        rows: Vec<Held>,
    },
    /// The result of a release.
    Released {
        /// Whether something was held under the id.
        done: bool,
    },
}

impl EdgeAnswer {
    pub(super) fn new(
        edge: String,
        now: SystemTime,
        rows: EdgeRows,
        silent: Vec<SilentEdge>,
    ) -> Self {
        // an edge that asks no others can only name itself
        let missing = silent.into_iter().next().map(|silent| silent.reason);
        Self { edge, now_us: micros(now), rows, missing }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredQuestion {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    ask: Ask,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Ask {
    Recent { filter: WireFilter, limit: usize, start: WireStart },
    Find { sid: String },
    Held {},
    Release { id: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireStart {
    Newest,
    Before(String),
    After(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_us: Option<u64>,
}

impl EdgeQuestion {
    /// The body of the request.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let ask = match &self.what {
            EdgeQuestionKind::Recent { filter, limit, start } => Ask::Recent {
                filter: WireFilter::of(filter),
                limit: *limit,
                start: match start {
                    Start::Newest => WireStart::Newest,
                    Start::Before(place) => WireStart::Before(place.to_string()),
                    Start::After(place) => WireStart::After(place.to_string()),
                },
            },
            EdgeQuestionKind::Find(sid) => Ask::Find { sid: sid.to_string() },
            EdgeQuestionKind::Held => Ask::Held {},
            EdgeQuestionKind::Release(id) => Ask::Release { id: id.clone() },
        };
        let account = self.account.map(|account| account.to_string());
        // these types have no map with keys other than strings, so this does not fail
        serde_json::to_vec(&StoredQuestion { v: VERSION, account, ask }).unwrap_or_default()
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// If any part is malformed or unknown.
    pub fn from_json(body: &[u8]) -> Result<Self, QuestionError> {
        let wrong = |error: &dyn std::fmt::Display| QuestionError(error.to_string());
        let stored: StoredQuestion = serde_json::from_slice(body).map_err(|error| wrong(&error))?;
        if stored.v != VERSION {
            return Err(wrong(&format_args!("version {}", stored.v)));
        }
        // a malformed account is an error: without an account the question is the admin's
        let account = stored.account.map(|account| account.parse::<AccountSid>()).transpose();
        let account = account.map_err(|error| wrong(&error))?;
        let what = match stored.ask {
            Ask::Recent { filter, limit, start } => {
                let place = |text: String| text.parse().map_err(|error| wrong(&error));
                let start = match start {
                    WireStart::Newest => Start::Newest,
                    WireStart::Before(text) => Start::Before(place(text)?),
                    WireStart::After(text) => Start::After(place(text)?),
                };
                EdgeQuestionKind::Recent { filter: Box::new(filter.read()?), limit, start }
            }
            Ask::Find { sid } => {
                EdgeQuestionKind::Find(sid.parse().map_err(|error| wrong(&error))?)
            }
            Ask::Held {} => EdgeQuestionKind::Held,
            Ask::Release { id } => EdgeQuestionKind::Release(id),
        };
        Ok(Self { account, what })
    }
}

impl WireFilter {
    fn of(filter: &Filter) -> Self {
        // names each field, so that a new one is not forgotten here
        let Filter { domain, user, source, outcome, reason, call_id, since, until } =
            filter.clone();
        Self {
            domain,
            user,
            source: source.map(|prefix| prefix.to_string()),
            outcome: outcome.map(|outcome| outcome.as_str().to_owned()),
            reason,
            call_id,
            since_us: since.map(micros),
            until_us: until.map(micros),
        }
    }

    fn read(self) -> Result<Filter, QuestionError> {
        let source = self
            .source
            .map(|text| text.parse().map_err(|_| QuestionError(format!("source `{text}`"))));
        let outcome = self.outcome.map(|text| {
            let known = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text);
            known.ok_or_else(|| QuestionError(format!("outcome `{text}`")))
        });
        Ok(Filter {
            domain: self.domain,
            user: self.user,
            source: source.transpose()?,
            outcome: outcome.transpose()?,
            reason: self.reason,
            call_id: self.call_id,
            since: self.since_us.map(time).transpose()?,
            until: self.until_us.map(time).transpose()?,
        })
    }
}

fn time(micros: u64) -> Result<SystemTime, QuestionError> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros));
    time.ok_or_else(|| QuestionError(format!("time {micros}")))
}

#[cfg(test)]
mod tests {
    use sip_authz::DecisionSid;

    use super::super::super::decisions::Place;
    use super::*;

    fn round(question: &EdgeQuestion) {
        let body = question.to_json();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(EdgeQuestion::from_json(&body).as_ref(), Ok(question), "{text}");
    }

    #[test]
    fn questions_survive_their_text() {
        let sid = DecisionSid::from_bytes([7; 16]);
        let place = Place { micros: 5, sid };
        let full = Filter {
            domain: Some("a\"b.example".to_owned()),
            user: Some("ü".to_owned()),
            source: "2001:db8::/32".parse().ok(),
            outcome: Some(Outcome::Alert),
            reason: Some("no-credentials".to_owned()),
            call_id: Some("x@y".to_owned()),
            since: Some(time(1).unwrap()),
            until: Some(time(2).unwrap()),
        };
        let account = Some(AccountSid::from_name(&["a"]));
        for filter in [Filter::default(), full] {
            for start in [Start::Newest, Start::Before(place), Start::After(place)] {
                let filter = Box::new(filter.clone());
                let what = EdgeQuestionKind::Recent { filter, limit: 50, start };
                round(&EdgeQuestion { account, what });
            }
        }
        for what in [
            EdgeQuestionKind::Find(sid),
            EdgeQuestionKind::Held,
            EdgeQuestionKind::Release("a/b".to_owned()),
        ] {
            round(&EdgeQuestion { account: None, what });
        }
    }

    #[test]
    fn an_unknown_part_of_a_question_is_an_error() {
        let recent = r#"{"recent":{"filter":{},"limit":5,"start":"newest"}}"#;
        let body = |ask: &str| format!(r#"{{"v":1,"ask":{ask}}}"#);
        assert!(EdgeQuestion::from_json(body(recent).as_bytes()).is_ok());
        for wrong in [
            String::new(),
            "null".to_owned(),
            body("{}"),
            body(r#"{"everything":{}}"#),
            body(r#"{"held":{"all":true}}"#),
            body(r#"{"find":{"sid":"AC00"}}"#),
            body(r#"{"find":{}}"#),
            body(&recent.replace("{}", r#"{"realm":"x"}"#)),
            body(&recent.replace("{}", r#"{"source":"x"}"#)),
            body(&recent.replace("{}", r#"{"outcome":"x"}"#)),
            body(&recent.replace("5", "-5")),
            body(&recent.replace(r#""newest""#, r#""oldest""#)),
            body(&recent.replace(r#""newest""#, r#"{"before":"7"}"#)),
            body(recent).replace(r#""v":1"#, r#""v":2"#),
            body(recent).replace(r#""v":1,"#, ""),
            body(recent).replace(r#""v":1"#, r#""v":1,"account":"AC00""#),
            body(recent).replace(r#""v":1"#, r#""v":1,"account":"""#),
            body(recent).replace(r#""v":1"#, r#""v":1,"admin":true"#),
            body(recent) + "x",
        ] {
            assert!(EdgeQuestion::from_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
