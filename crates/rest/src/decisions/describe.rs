//! The questions about decisions in the OpenAPI document.

use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::schema::{AllOfBuilder, Array, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, RefOr, Response, ResponseBuilder, Schema};

use super::alerts::{self, AlertBody, AlertInstance};
use super::{DecisionList, DecisionRecord, Explained, HeldList, LeftOut, SilentEdge};
use super::{explain, list, request, stream};
use crate::form::Param;
use crate::openapi::{Document, body, described, envelope, form, place, query, typed};

const DECISION: &str = "decision";
const ALERT: &str = "alert";

/// Adds the operations.
pub(crate) fn describe(document: &mut Document) {
    let list = with_query(operation(DECISION, "listDecisions", "List: decision"), list::PARAMS);
    let list = with_query(list, request::PAGE);
    let answer = response::<DecisionList>(document, "A page of decisions, newest first");
    get(document, "/v1/Decisions", list.response("200", answer));

    let fetch = operation(DECISION, "fetchDecisionsInstance", "Fetch: decision");
    let answer = response::<DecisionRecord>(document, "The decision");
    get(document, "/v1/Decisions/{Sid}", fetch.parameter(place("Sid")).response("200", answer));

    let follow = operation(DECISION, "followDecisions", "Follow: decisions as they are made");
    let follow = with_query(follow, stream::PARAMS).response("200", events(document));
    let follow = follow.response("429", error("The caller follows too many streams"));
    get(document, "/v1/Decisions/Stream", follow);

    let explain = operation(DECISION, "explainDecision", "Explain: a message that is not sent")
        .request_body(Some(form(explain::PARAMS)));
    let answer = response::<Explained>(document, "The decision with its steps");
    let item = PathItem::new(HttpMethod::Post, explain.response("200", answer));
    document.insert("/v1/Decisions/Explain", item);

    let held = operation("guess limit", "listGuessLimits", "List: held names and sources");
    let answer = response::<HeldList>(document, "The names and sources that are held");
    get(document, "/v1/Decisions/Limits", held.response("200", answer));

    let release = operation("guess limit", "deleteGuessLimitsInstance", "Delete: guess limit")
        .parameter(place("Id"))
        .response("204", Response::new("Released"))
        .response("503", error("No edge that answers holds it, and others do not answer"));
    let item = PathItem::new(HttpMethod::Delete, release);
    document.insert("/v1/Decisions/Limits/{Id}", item);

    let list = with_query(operation(ALERT, "listAlerts", "List: alert"), alerts::PARAMS);
    let list = with_query(list, request::PAGE);
    let page = envelope(alerts::KEY, document.reference::<AlertBody>(), false);
    let silent = RefOr::T(Schema::Array(Array::new(document.reference::<SilentEdge>())));
    let silent = ObjectBuilder::new().property("silent_edges", silent).required("silent_edges");
    let page = AllOfBuilder::new().item(page).item(silent.build()).build();
    let page = body("A page of alerts, newest first", RefOr::T(Schema::AllOf(page)));
    get(document, "/v1/Alerts", list.response("200", page));

    let fetch = operation(ALERT, "fetchAlertsInstance", "Fetch: alert").parameter(place("Sid"));
    let answer = response::<AlertInstance>(document, "The alert");
    get(document, "/v1/Alerts/{Sid}", fetch.response("200", answer));
}

fn operation(tag: &str, id: &str, summary: &str) -> OperationBuilder {
    described(tag, id.to_owned(), summary.to_owned())
}

fn with_query(operation: OperationBuilder, params: &[Param]) -> OperationBuilder {
    params.iter().fold(operation, |operation, param| operation.parameter(query(param)))
}

fn response<A: ToSchema + 'static>(document: &mut Document, what: &str) -> Response {
    body(what, document.reference::<A>())
}

fn error(what: &str) -> Response {
    body(what, utoipa::openapi::Ref::from_schema_name("Error").into())
}

/// The description of the event stream. Its events are not JSON as a whole, so their data is in words.
fn events(document: &mut Document) -> Response {
    // the schemas of the data
    document.reference::<DecisionRecord>();
    document.reference::<LeftOut>();
    document.reference::<SilentEdge>();
    let what = "Server-sent events: `decision` with a Decision, `left-out` with a LeftOut, \
                `silent-edge` with a SilentEdge, and comments as heartbeats";
    let content = ContentBuilder::new().schema(Some(typed(Type::String))).build();
    ResponseBuilder::new().description(what).content("text/event-stream", content).build()
}

fn get(document: &mut Document, path: &str, operation: OperationBuilder) {
    document.insert(path, PathItem::new(HttpMethod::Get, operation));
}
