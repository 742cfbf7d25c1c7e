//! Decisions in memory, which the tests add.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::poll_fn;
use sip_authz_rest::SharedDecisions;
use sip_authz_rest::decisions::{
    Answered, Asker, DecisionRecord, Decisions, Event, ExplainError, Explained, ExplainedStep,
    Filter, Followed, Found, Held, Later, Query, Question, Released, SilentEdge, Start,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

/// The streams that an asker may follow.
const MAX_FOLLOWED: usize = 2;

/// The time of decision 0.
const BEGIN: i64 = 1_795_324_811_000_000;

#[derive(Default)]
pub(super) struct Fake {
    rows: Mutex<Vec<DecisionRecord>>,
    followers: Mutex<Vec<(Asker, Filter, UnboundedSender<Event>)>>,
    held: Mutex<Vec<Held>>,
    /// The edges that do not answer.
    pub(super) silent: Mutex<Vec<SilentEdge>>,
    /// The questions to explain.
    pub(super) asked: Mutex<Vec<(Asker, Question)>>,
    pub(super) open_streams: Arc<AtomicUsize>,
}

/// A site with decisions.
pub(super) struct Kept {
    pub(super) site: Site,
    pub(super) fake: Arc<Fake>,
}

impl Kept {
    pub(super) async fn new() -> Self {
        Self::with(RestOptions::default()).await
    }

    pub(super) async fn with(options: RestOptions) -> Self {
        let fake = Arc::new(Fake::default());
        let shared = SharedDecisions(Arc::clone(&fake) as Arc<dyn Decisions>);
        let site = Site::with(options.with_decisions(Some(shared)), Limits::default()).await;
        Self { site, fake }
    }

    /// Adds the `n`th decision of the account, a rejection.
    pub(super) fn add(&self, n: u64) -> String {
        self.add_for(Some(&self.site.sid.clone()), n, |_| {})
    }

    /// Adds a decision, and tells it to the followers that may see it.
    pub(super) fn add_for(
        &self,
        account: Option<&str>,
        n: u64,
        change: impl Fn(&mut DecisionRecord),
    ) -> String {
        let mut record = rejection(n);
        record.account = account.map(str::to_owned);
        change(&mut record);
        let sid = record.sid.clone();
        for (asker, filter, sender) in self.fake.followers.lock().unwrap().iter() {
            if sees(*asker, record.account.as_deref()) && filter.selects(&record) {
                let _ = sender.send(Event::Decision(Box::new(record.clone())));
            }
        }
        self.fake.rows.lock().unwrap().push(record);
        sid
    }

    /// Forgets a decision, as a ring does.
    pub(super) fn forget(&self, sid: &str) {
        self.fake.rows.lock().unwrap().retain(|row| row.sid != sid);
    }

    /// Sends an event to all followers.
    pub(super) fn tell(&self, event: &Event) {
        for (_, _, sender) in self.fake.followers.lock().unwrap().iter() {
            let _ = sender.send(event.clone());
        }
    }

    /// Holds a name for an account.
    pub(super) fn hold(&self, account: &str, id: &str) {
        let held = Held {
            id: id.to_owned(),
            edge: "edge-1".to_owned(),
            kind: "name-from-source".to_owned(),
            account: account.to_owned(),
            target: format!("SD{DIGITS}"),
            domain: Some("sip.example.com".to_owned()),
            user: Some("alice".to_owned()),
            source: Some("192.0.2.7".to_owned()),
            since: "2026-11-22T05:20:11Z".to_owned(),
            wrong: 5,
            until: "2026-11-22T05:21:11Z".to_owned(),
        };
        self.fake.held.lock().unwrap().push(held);
    }

    pub(super) fn silence(&self, edge: &str, reason: &str) {
        let silent = SilentEdge { edge: edge.to_owned(), reason: reason.to_owned() };
        self.fake.silent.lock().unwrap().push(silent);
    }

    /// The SIDs of a page.
    pub(super) fn sids(page: &Value, key: &str) -> Vec<String> {
        let rows = page[key].as_array().unwrap_or_else(|| panic!("{page}")).iter();
        rows.map(|row| row["sid"].as_str().unwrap().to_owned()).collect()
    }
}

/// The SID of the `n`th decision.
pub(super) fn sid(n: u64) -> String {
    format!("NO{n:032x}")
}

/// The `n`th decision, for no account.
pub(super) fn rejection(n: u64) -> DecisionRecord {
    let micros = BEGIN + i64::try_from(n).unwrap() * 1_000;
    let mut record = DecisionRecord::default();
    record.sid = sid(n);
    record.edge = "edge-1".to_owned();
    let time = jiff::Timestamp::from_microsecond(micros).unwrap();
    record.time = format!("{time:.6}");
    record.transport = "udp".to_owned();
    record.outcome = "reject".to_owned();
    record.reason = "wrong-credentials".to_owned();
    record.cause = Some("wrong-password".to_owned());
    record.status = Some(403);
    record.code = Some(32_202);
    record.method = Some("INVITE".to_owned());
    record.target = Some(format!("SD{DIGITS}"));
    record.name = Some("sip.example.com".to_owned());
    record.host = Some("sip.example.com".to_owned());
    record.called = Some("+4930100".to_owned());
    record.claimed_user = Some("alice".to_owned());
    record.call_id = Some(format!("call-{n}"));
    record.source = Some("192.0.2.7:5060".to_owned());
    record
}

fn sees(asker: Asker, account: Option<&str>) -> bool {
    asker.account.is_none_or(|own| account == Some(&own.to_string()))
}

fn later<'a, T: Send + 'a>(value: T) -> Later<'a, T> {
    Box::pin(std::future::ready(value))
}

/// Counts a stream until it is dropped.
struct OpenStream(Arc<AtomicUsize>, UnboundedReceiver<Event>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Decisions for Fake {
    fn recent(&self, asker: Asker, query: Query) -> Later<'_, Found> {
        let all = self.rows.lock().unwrap();
        let seen = |row: &&DecisionRecord| {
            sees(asker, row.account.as_deref())
                && query.filter.selects(row)
                && query.start.admits(row.place().unwrap())
        };
        let mut rows: Vec<_> = all.iter().filter(seen).cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.place()));
        let has_more = rows.len() > query.limit;
        match query.start {
            Start::After(_) => drop(rows.drain(..rows.len().saturating_sub(query.limit))),
            Start::Newest | Start::Before(_) => rows.truncate(query.limit),
        }
        let silent = self.silent.lock().unwrap().clone();
        later(Found { answered: Answered { rows, silent }, has_more })
    }

    fn find(
        &self,
        asker: Asker,
        sid: sip_authz::DecisionSid,
    ) -> Later<'_, Answered<DecisionRecord>> {
        let all = self.rows.lock().unwrap();
        let is = |row: &&DecisionRecord| {
            row.sid == sid.to_string() && sees(asker, row.account.as_deref())
        };
        let rows = all.iter().filter(is).cloned().collect();
        later(Answered { rows, silent: self.silent.lock().unwrap().clone() })
    }

    fn follow(&self, asker: Asker, filter: Filter) -> Option<Followed> {
        let mut followers = self.followers.lock().unwrap();
        followers.retain(|(_, _, sender)| !sender.is_closed());
        if followers.iter().filter(|(other, ..)| *other == asker).count() >= MAX_FOLLOWED {
            return None;
        }
        let (sender, events) = unbounded_channel();
        followers.push((asker, filter, sender));
        self.open_streams.fetch_add(1, Ordering::SeqCst);
        let mut open = OpenStream(Arc::clone(&self.open_streams), events);
        Some(Box::pin(poll_fn(move |cx| open.1.poll_recv(cx))))
    }

    fn explain(
        &self,
        asker: Asker,
        question: Question,
    ) -> Later<'_, Result<Explained, ExplainError>> {
        let text = String::from_utf8(question.message.clone()).unwrap();
        self.asked.lock().unwrap().push((asker, question));
        if text.contains("defect") {
            return later(Err(ExplainError::Message("missing header From".to_owned())));
        }
        if asker.account.is_some() && text.contains("elsewhere") {
            return later(Err(ExplainError::NotYours));
        }
        let step = ExplainedStep { text: "the host is known".to_owned(), passed: Some(true) };
        later(Ok(Explained {
            steps: vec![step],
            outcome: "challenge".to_owned(),
            status: 407,
            reason: "asked".to_owned(),
            cause: None,
            meaning: None,
            advice: None,
            snapshot: 7,
            edge: "edge-1".to_owned(),
        }))
    }

    fn held(&self, asker: Asker) -> Later<'_, Answered<Held>> {
        let rows = self.held.lock().unwrap().clone();
        let rows = rows.into_iter().filter(|held| sees(asker, Some(&held.account))).collect();
        later(Answered { rows, silent: self.silent.lock().unwrap().clone() })
    }

    fn release(&self, asker: Asker, id: String) -> Later<'_, Released> {
        let mut held = self.held.lock().unwrap();
        let before = held.len();
        held.retain(|held| held.id != id || !sees(asker, Some(&held.account)));
        let silent = self.silent.lock().unwrap().clone();
        later(match (held.len() < before, silent.is_empty()) {
            (true, _) => Released::Done,
            (false, true) => Released::NotHeld,
            (false, false) => Released::Silent(silent),
        })
    }
}
