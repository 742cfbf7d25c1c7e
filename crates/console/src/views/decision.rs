//! A decision with its steps: a page of its own, and the part that opens below a row.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use sip_authz::escape_line;
use sip_authz_rest::decisions::DecisionRecord;
use sip_authz_store::Store;

use super::advice::{Action, advice};
use super::steps::{StepLine, steps};
use crate::App;
use crate::frame::{Frame, View};
use crate::problem::{Problem, html};
use crate::texts::{Time, Word, answer, is_hidden, outcome, time};
use crate::visit::Visit;

/// The decision in words, for the page and for the part.
pub(crate) struct Detail {
    /// The way to `/console/` from the page that shows it.
    pub(crate) root: String,
    pub(crate) sid: String,
    pub(crate) headline: String,
    pub(crate) time: Time,
    pub(crate) word: Word,
    pub(crate) steps: Vec<StepLine>,
    pub(crate) answer: String,
    /// Whether the caller cannot tell this cause from others.
    pub(crate) hidden: bool,
    pub(crate) advice: String,
    pub(crate) actions: Vec<Action>,
    /// Further fields with their names.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) csrf: String,
    pub(crate) read_only: bool,
    /// The query that leads back here after a change.
    pub(crate) back: String,
}

#[derive(Template)]
#[template(path = "detail_alone.html")]
struct DetailAlone {
    detail: Detail,
}

#[derive(Template)]
#[template(path = "decision.html")]
struct DecisionPage {
    frame: Frame,
    detail: Detail,
}

/// `GET /console/decisions/{sid}`, with `?part` for the script.
pub(crate) async fn page<S: Store>(
    State(app): State<App<S>>,
    Path(sid): Path<String>,
    visit: Visit,
) -> Result<Response, Problem> {
    let Some(decisions) = app.console.options.kept_decisions() else {
        return Err(Problem::no_decisions());
    };
    let gone = || {
        Problem::not_found(
            "There is no such decision, or it is no longer kept. Recent decisions are kept in memory, in a \
             limited number.",
        )
    };
    let sid = sid.parse().map_err(|_| gone())?;
    let found = decisions.0.find(visit.asker(), sid).await;
    let silent: Vec<_> = found.silent.iter().map(|edge| edge.edge.as_str()).collect();
    let Some(record) = found.rows.into_iter().next() else {
        return Err(match silent.as_slice() {
            [] => gone(),
            edges => Problem::not_found(format!(
                "No edge that answered keeps this decision. These did not answer: {}.",
                edges.join(", ")
            )),
        });
    };
    let detail = detail(&app, &visit, &record).await?;
    if visit.part {
        return Ok(html(&DetailAlone { detail }));
    }
    let title = format!("{}: {}", detail.word.word, detail.headline);
    let frame = Frame::new(&app, &visit, View::Decisions, title).await?;
    Ok(html(&DecisionPage { frame, detail }))
}

/// The decision in words.
async fn detail<S: Store>(
    app: &App<S>,
    visit: &Visit,
    record: &DecisionRecord,
) -> Result<Detail, Problem> {
    let (advice, actions) = advice(app, visit, record).await?;
    Ok(Detail {
        // the part stands on the page of all rows
        root: if visit.part { String::new() } else { visit.root.clone() },
        sid: record.sid.clone(),
        headline: headline(record),
        time: time(&record.time),
        word: outcome(record),
        steps: steps(app, visit, record).await?,
        answer: answer(record),
        hidden: record.internal_cause().is_some_and(is_hidden),
        advice,
        actions,
        facts: facts(record),
        csrf: visit.session.csrf.clone(),
        read_only: app.console.options.read_only,
        back: format!("decisions/{}", record.sid),
    })
}

/// Caller, called and host in one line. Each is escaped, since a text with bidirectional controls could change
/// the order of the others.
fn headline(record: &DecisionRecord) -> String {
    let escaped = |text: &String| escape_line(text).to_string();
    let caller = [&record.username, &record.claimed_user, &record.from, &record.source];
    let caller = caller.into_iter().flatten().next();
    let caller = caller.map_or_else(|| "unknown caller".to_owned(), escaped);
    let called = record.called.as_ref().map(escaped).unwrap_or_default();
    let host = record.name.as_ref().or(record.host.as_ref()).map(escaped).unwrap_or_default();
    let method = match record.method.as_deref() {
        None | Some("INVITE") => String::new(),
        Some(method) => format!("{method} "),
    };
    let at = if host.is_empty() { String::new() } else { format!(" at {host}") };
    match called.as_str() {
        "" => format!("{method}{caller}{at}"),
        called => format!("{method}{caller} \u{2192} {called}{at}"),
    }
}

fn facts(record: &DecisionRecord) -> Vec<(&'static str, String)> {
    let number = |number: Option<u64>| number.map(crate::texts::grouped);
    let texts = [
        ("Source", record.source.clone()),
        ("Transport", Some(record.transport.to_uppercase())),
        ("Call-ID", record.call_id.clone()),
        ("CSeq", record.cseq.map(|cseq| cseq.to_string())),
        ("User-Agent", record.user_agent.clone()),
        ("From user", record.from.clone()),
        ("Header", record.header.clone()),
        ("Reason", Some(record.reason.clone())),
        ("Cause", record.cause.clone()),
        ("Code", record.code.map(|code| code.to_string())),
        ("Permissions", Some(record.permissions.join(", "))),
        ("Edge", Some(record.edge.clone())),
        ("Snapshot", number(record.snapshot)),
        (
            "Time taken",
            record.took_us.map(|us| format!("{} \u{b5}s", crate::texts::grouped(us.into()))),
        ),
        ("Shortened", Some(record.shortened.join(", "))),
    ];
    let given = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let given = given.map(|(name, text)| (name, escape_line(&text).to_string()));
    given.filter(|(_, text)| !text.is_empty()).collect()
}
