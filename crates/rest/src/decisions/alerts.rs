//! `GET /v1/Alerts` and `GET /v1/Alerts/{Sid}`: rejected calls whose reason has a code, in the form of the
//! alerts of Twilio's monitor API.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::list;
use super::request::{Question, absent, answer};
use super::set::{end, start};
use super::{DecisionRecord, Filter, Outcome, micros, rfc3339};
use crate::Api;
use crate::dates::iso8601;
use crate::error::{ApiError, BAD_PARAMETER, excerpt};
use crate::form::{Form, Param};
use crate::links::Links;
use sip_authz::{Cause, escape_line};
use sip_authz_store::Store;

pub(super) const KEY: &str = "alerts";

/// The query parameters of the list.
pub(super) const PARAMS: &[Param] =
    &[Param::text("LogLevel"), Param::text("StartDate"), Param::text("EndDate")];

/// The level of every alert: its call was refused.
const LEVEL: &str = "error";

/// The levels that Twilio has.
const LEVELS: [&str; 4] = [LEVEL, "warning", "notice", "debug"];

/// A rejected call whose reason has a code.
#[derive(Serialize, ToSchema)]
#[schema(as = Alert)]
pub(super) struct AlertBody {
    /// Null if the call is for no account.
    #[schema(required)]
    account_sid: Option<String>,
    /// The call and the cause of its rejection, in words.
    alert_text: String,
    /// Always null: a call uses no API.
    #[schema(required)]
    api_version: Option<String>,
    #[schema(required)]
    date_created: Option<String>,
    #[schema(required)]
    date_generated: Option<String>,
    #[schema(required)]
    date_updated: Option<String>,
    /// The code of the reason.
    error_code: String,
    /// Always `error`.
    log_level: &'static str,
    /// The URL of the explanation of the code.
    more_info: String,
    /// Always null: the request is a call, not HTTP.
    #[schema(required)]
    request_method: Option<String>,
    /// Always null, as `request_method`.
    #[schema(required)]
    request_url: Option<String>,
    /// The SID of the domain or trunk.
    #[schema(required)]
    resource_sid: Option<String>,
    /// Always null.
    #[schema(required)]
    service_sid: Option<String>,
    sid: String,
    url: String,
}

/// An alert with the fields that a list leaves out.
#[derive(Serialize, ToSchema)]
#[schema(as = AlertInstance)]
pub(super) struct AlertInstance {
    #[serde(flatten)]
    alert: AlertBody,
    /// Always null: headers can hold digest responses, so they are not kept.
    #[schema(required)]
    request_headers: Option<String>,
    /// The fields of the decision, as a form. It has no digest response.
    request_variables: String,
    /// Always null.
    #[schema(required)]
    response_body: Option<String>,
    /// Always null.
    #[schema(required)]
    response_headers: Option<String>,
}

pub(super) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, PARAMS, request).await?;
    let (level, filter) = selection(&question.form)?;
    let parameters = parameters(level, &filter);
    if level.is_some_and(|level| level != LEVEL) {
        let page = question.page(parameters)?;
        let none = page.with_rows(Vec::<()>::new(), None, None);
        return Ok(answer(list::body(&none, KEY, &question.links, &[])));
    }
    let links = question.links.clone();
    let show = move |record| json!(AlertBody::of(&record, &links));
    list::page(&question, filter, parameters, KEY, show).await
}

pub(super) async fn fetch<S: Store>(
    State(api): State<Arc<Api<S>>>,
    sid: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let question = Question::read(&api, &[], request).await?;
    let record = list::find(&question, sid).await?;
    let alerts = Filter { outcome: Some(Outcome::Alert), ..Filter::default() };
    if !alerts.selects(&record) {
        return Err(absent());
    }
    Ok(answer(AlertInstance {
        request_headers: None,
        request_variables: variables(&record),
        response_body: None,
        response_headers: None,
        alert: AlertBody::of(&record, &question.links),
    }))
}

/// The level and the filter that the parameters name.
fn selection(form: &Form) -> Result<(Option<&'static str>, Filter), ApiError> {
    let given = |name| form.text(name).filter(|text| !text.is_empty());
    let level = given("LogLevel").map(|text| {
        LEVELS.into_iter().find(|known| *known == text).ok_or_else(|| {
            let text = excerpt(text);
            let message = format!("LogLevel must be error, warning, notice or debug, got `{text}`");
            ApiError::bad(BAD_PARAMETER, message)
        })
    });
    let mut filter = Filter { outcome: Some(Outcome::Alert), ..Filter::default() };
    filter.since = given("StartDate").map(|text| start("StartDate", text)).transpose()?;
    filter.until = given("EndDate").map(|text| end("EndDate", text)).transpose()?;
    if filter.since.zip(filter.until).is_some_and(|(since, until)| since > until) {
        return Err(ApiError::bad(BAD_PARAMETER, "StartDate must be no later than EndDate"));
    }
    Ok((level.transpose()?, filter))
}

/// The parameters in the links of pages.
fn parameters(level: Option<&str>, filter: &Filter) -> String {
    let mut parameters = Vec::from_iter(level.map(|level| format!("LogLevel={level}")));
    for (name, time) in [("StartDate", filter.since), ("EndDate", filter.until)] {
        if let Some(time) = time {
            parameters.push(format!("{name}={}", rfc3339(micros(time))));
        }
    }
    parameters.join("&")
}

impl AlertBody {
    fn of(record: &DecisionRecord, links: &Links) -> Self {
        let date = record.micros().and_then(|micros| iso8601(micros / 1_000_000));
        let code = record.code.map(|code| code.to_string()).unwrap_or_default();
        Self {
            account_sid: record.account.clone(),
            alert_text: text(record),
            api_version: None,
            date_created: date.clone(),
            date_generated: date.clone(),
            date_updated: date,
            more_info: links.absolute(&format!("/errors/{code}")),
            error_code: code,
            log_level: LEVEL,
            request_method: None,
            request_url: None,
            resource_sid: record.target.clone(),
            service_sid: None,
            sid: record.sid.clone(),
            url: links.absolute(&format!("/v1/Alerts/{}", record.sid)),
        }
    }
}

/// The call and the cause of its rejection. Characters in the texts of the caller that could
/// change how the line is shown are escaped.
fn text(record: &DecisionRecord) -> String {
    let method = record.method.as_deref().unwrap_or("request");
    let mut text = escape_line(method).to_string();
    for (before, part) in [
        ("to", &record.called),
        ("at", &record.host),
        ("from", &record.source),
        ("of user", &record.claimed_user),
    ] {
        if let Some(part) = part {
            // writing into a text does not fail
            let _ = write!(text, " {before} {}", escape_line(part));
        }
    }
    let _ = write!(text, ": {}", escape_line(&record.reason));
    if let Some(name) = &record.cause {
        let _ = write!(text, " ({})", escape_line(name));
        if let Some(cause) = Cause::ALL.iter().find(|cause| cause.as_str() == name) {
            let _ = write!(text, ": {}", cause.meaning());
        }
    }
    text
}

/// The fields of a record as a form.
fn variables(record: &DecisionRecord) -> String {
    let fields = json!(record);
    let mut form = Vec::new();
    for (name, value) in fields.as_object().into_iter().flatten() {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        form.push(format!("{name}={}", super::filter::encoded(&value)));
    }
    form.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_cannot_change_how_an_alert_is_shown() {
        let hostile = || Some("a\u{202e}b\u{9b}\u{1b}[2J\u{2028}\nc".to_owned());
        let mut record = DecisionRecord::default();
        (record.called, record.host, record.source) = (hostile(), hostile(), hostile());
        (record.claimed_user, record.method) = (hostile(), hostile());
        let text = text(&record);
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}");
        assert!(text.contains("at a\\u{202e}b"), "{text:?}");
    }
}
