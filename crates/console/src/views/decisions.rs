//! The recent decisions: the first page.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sip_authz::escape_line;
use sip_authz_rest::decisions::{
    DecisionRecord, Filter, FilterError, Outcome, Query, SilentEdge, Start,
};
use sip_authz_store::Store;

use crate::App;
use crate::fields::{Fields, query};
use crate::frame::{Frame, View};
use crate::problem::{Problem, html};
use crate::texts::{Time, Word, address_of, outcome, time, why};
use crate::visit::Visit;

/// The decisions of a page.
const PAGE: usize = 100;

/// A decision as a row.
pub(crate) struct DecisionRow {
    pub(crate) sid: String,
    pub(crate) time: Time,
    pub(crate) word: Word,
    pub(crate) domain: String,
    pub(crate) user: String,
    pub(crate) source: String,
    pub(crate) why: String,
    /// The query that keeps the chosen account.
    pub(crate) with: String,
}

impl DecisionRow {
    pub(crate) fn of(record: &DecisionRecord, with: &str) -> Self {
        let first = |fields: [&Option<String>; 2]| {
            let text =
                fields.into_iter().flatten().next().map(|text| escape_line(text).to_string());
            text.unwrap_or_default()
        };
        Self {
            sid: record.sid.clone(),
            time: time(&record.time),
            word: outcome(record),
            domain: first([&record.name, &record.host]),
            user: first([&record.username, &record.claimed_user]),
            source: record.source.as_deref().map(address_of).unwrap_or_default().to_owned(),
            why: why(record),
            with: with.to_owned(),
        }
    }
}

/// The row alone, for the stream.
#[derive(Template)]
#[template(path = "row_alone.html")]
pub(crate) struct RowAlone {
    pub(crate) root: &'static str,
    pub(crate) row: DecisionRow,
}

/// The filter in the query of a page, as it was sent.
#[derive(Default)]
pub(crate) struct FilterFields {
    pub(crate) outcome: String,
    pub(crate) domain: String,
    pub(crate) user: String,
    pub(crate) source: String,
    pub(crate) reason: String,
    pub(crate) call_id: String,
    pub(crate) error: String,
}

impl FilterFields {
    /// Reads the filter. An invalid field is an error on the page: there is then no filter.
    pub(crate) fn read(fields: &Fields) -> (Self, Option<Filter>) {
        let text = |name| fields.get(name).to_owned();
        let mut read = Self {
            outcome: text("outcome"),
            domain: text("domain"),
            user: text("user"),
            source: text("source"),
            reason: text("reason"),
            call_id: text("call-id"),
            error: String::new(),
        };
        let filter = read.filter();
        if let Err(error) = &filter {
            read.error = format!("{error}.");
        }
        (read, filter.ok())
    }

    fn filter(&self) -> Result<Filter, FilterError> {
        let outcome = match self.outcome.as_str() {
            "accepted" => Outcome::Accept.as_str(),
            "challenged" => Outcome::Challenge.as_str(),
            other => other,
        };
        let mut filter = Filter::default();
        for (parameter, text) in [
            ("Outcome", outcome),
            ("Domain", &self.domain),
            ("User", &self.user),
            ("Source", &self.source),
            ("Reason", &self.reason),
            ("CallId", &self.call_id),
        ] {
            filter.set(parameter, text)?;
        }
        Ok(filter)
    }

    /// The fields with their names in the query.
    fn pairs(&self) -> [(&'static str, &str); 6] {
        [
            ("outcome", &self.outcome),
            ("domain", &self.domain),
            ("user", &self.user),
            ("source", &self.source),
            ("reason", &self.reason),
            ("call-id", &self.call_id),
        ]
    }

    pub(crate) fn is_set(&self) -> bool {
        self.pairs().iter().any(|(_, text)| !text.is_empty())
    }
}

#[derive(Template)]
#[template(path = "decisions.html")]
struct DecisionsPage {
    frame: Frame,
    filter: FilterFields,
    rows: Vec<DecisionRow>,
    silent: Vec<SilentEdge>,
    accepted: usize,
    refused: usize,
    /// The query of the next page; empty on the last one.
    older: String,
    /// Whether the page shows the newest decisions, so that live rows fit on top.
    is_newest: bool,
    keeps: bool,
    newest: String,
}

/// `GET /console/`.
pub(crate) async fn list<S: Store>(
    State(app): State<App<S>>,
    visit: Visit,
) -> Result<Response, Problem> {
    let (filter, selected) = FilterFields::read(&visit.query);
    let decisions = app.console.options.kept_decisions();
    let start = match visit.query.get("before").parse() {
        Ok(place) => Start::Before(place),
        Err(_) => Start::Newest,
    };
    let (mut records, mut silent, mut has_more) = (Vec::new(), Vec::new(), false);
    if let Some((decisions, selected)) = decisions.zip(selected) {
        let asked = Query { filter: selected, limit: PAGE, start };
        let found = decisions.0.recent(visit.asker(), asked).await;
        (records, silent) = (found.answered.rows, found.answered.silent);
        has_more = found.has_more;
    }
    let account = visit.chosen_sid();
    let with = query(&[("account", &account)]);
    let pairs = |before: &str| {
        let account = [("account", account.as_str())];
        let pairs = account.into_iter().chain(filter.pairs()).chain([("before", before)]);
        query(&pairs.collect::<Vec<_>>())
    };
    let last = records.last().filter(|_| has_more).and_then(DecisionRecord::place);
    let older = last.map(|place| pairs(&place.to_string())).unwrap_or_default();
    let rows: Vec<_> = records.iter().map(|record| DecisionRow::of(record, &with)).collect();
    let count = |word| rows.iter().filter(|row| row.word.word == word).count();
    let (accepted, refused) = (count("accepted"), count("refused"));
    let page = DecisionsPage {
        frame: Frame::new(&app, &visit, View::Decisions, "Decisions").await?,
        newest: pairs(""),
        filter,
        rows,
        silent,
        accepted,
        refused,
        older,
        is_newest: start == Start::Newest,
        keeps: decisions.is_some(),
    };
    Ok(html(&page))
}
