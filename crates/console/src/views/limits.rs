//! The names and sources that guess limits hold.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use sip_authz_rest::decisions::{Held, Released, SilentEdge};
use sip_authz_store::Store;

use crate::App;
use crate::fields::query;
use crate::frame::{Frame, View};
use crate::problem::{Problem, html, redirect};
use crate::texts::{Time, grouped, time};
use crate::visit::{Change, Visit};

pub(super) struct HeldRow {
    id: String,
    what: String,
    domain: String,
    since: Time,
    until: Time,
    wrong: String,
    edge: String,
    label: String,
}

#[derive(Template)]
#[template(path = "limits.html")]
struct LimitsPage {
    frame: Frame,
    rows: Vec<HeldRow>,
    silent: Vec<SilentEdge>,
    keeps: bool,
}

pub(crate) fn routes<S: Store>() -> Router<App<S>> {
    Router::new().route("/console/limits", get(page::<S>).post(release::<S>))
}

/// `GET /console/limits`.
async fn page<S: Store>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Problem> {
    let decisions = app.console.options.kept_decisions();
    let (mut rows, mut silent) = (Vec::new(), Vec::new());
    if let Some(decisions) = decisions {
        let held = decisions.0.held(visit.asker()).await;
        (rows, silent) = (held.rows, held.silent);
    }
    let page = LimitsPage {
        frame: Frame::new(&app, &visit, View::Limits, "Limits").await?,
        rows: rows.into_iter().map(row).collect(),
        silent,
        keeps: decisions.is_some(),
    };
    Ok(html(&page))
}

/// `POST /console/limits`: releases a name or source.
async fn release<S: Store>(State(app): State<App<S>>, change: Change) -> Result<Response, Problem> {
    let Some(decisions) = app.console.options.decisions.clone() else {
        return Err(Problem::no_decisions());
    };
    let id = change.form.get("id").to_owned();
    let done = match decisions.0.release(change.visit.asker(), id).await {
        Released::Done => "released",
        Released::NotHeld => "not-held",
        Released::Silent(edges) => {
            let names: Vec<_> = edges.iter().map(|edge| edge.edge.as_str()).collect();
            let text = format!(
                "No edge that answered holds this. These did not answer: {}. Try again later.",
                names.join(", ")
            );
            let status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
            return Err(Problem::new(status, "Not unlocked", text));
        }
    };
    let pairs = [("account", change.visit.chosen_sid()), ("done", done.to_owned())];
    let pairs = pairs.each_ref().map(|(name, value)| (*name, value.as_str()));
    Ok(redirect(&format!("./limits{}", query(&pairs))))
}

fn row(held: Held) -> HeldRow {
    let (user, source) = (held.user.unwrap_or_default(), held.source.unwrap_or_default());
    let (what, name) = match (user.as_str(), source.as_str()) {
        ("", source) => (format!("source {source}, all names"), source.to_owned()),
        (user, "") => (format!("name {user}, all sources"), user.to_owned()),
        (user, source) => (format!("name {user} from source {source}"), user.to_owned()),
    };
    HeldRow {
        label: format!("Unlock {name}"),
        id: held.id,
        what,
        domain: held.domain.unwrap_or(held.target),
        since: time(&held.since),
        until: time(&held.until),
        wrong: grouped(held.wrong),
        edge: held.edge,
    }
}
