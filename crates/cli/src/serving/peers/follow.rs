//! Follows the decisions of all edges: those of this one as they are made, those of the others by a
//! question a second.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use sip_authz::{AccountSid, DecisionSid};
use sip_authz_rest::decisions::{Event, Filter, Followed, Place, Start};
use sip_authz_rest::edges::{EdgeQuestion, EdgeQuestionKind, EdgeRows};
use sip_authz_store::Edge;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ask::{Fleet, Given, hide};
use super::merge;

/// The interval between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of decisions of one answer. If there are more, the next question follows soon.
const ROWS: usize = 500;
/// The interval after an answer that is not complete.
const SOON: Duration = Duration::from_millis(100);
/// A decision is kept a little after its time, so one of an earlier time can appear later. Microseconds.
const OVERLAP_US: u64 = 250_000;
/// The maximum number of events that wait for the reader.
const WAITING: usize = 512;

/// The decisions of `own` and of the other edges. The questions end with the stream.
pub(super) fn all(
    own: Followed,
    fleet: Arc<Fleet>,
    account: Option<AccountSid>,
    filter: Filter,
) -> Followed {
    let (events, others) = mpsc::channel(WAITING);
    let begun = Instant::now();
    tokio::spawn(async move {
        let (edges, silent) = (HashMap::new(), HashMap::new());
        let mut polled = Polled { account, filter, edges, silent, events };
        let closed = polled.events.clone();
        tokio::select! {
            () = closed.closed() => {}
            () = polled.run(&fleet, begun) => {}
        }
    });
    Box::pin(Merged { own, others, own_first: false })
}

/// The stream of this edge, and the events of the others.
struct Merged {
    own: Followed,
    others: mpsc::Receiver<Event>,
    /// Whether the own stream is asked first; the two take turns.
    own_first: bool,
}

impl Stream for Merged {
    type Item = Event;

    /// Ends with the stream of this edge.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let this = self.get_mut();
        this.own_first = !this.own_first;
        if !this.own_first
            && let Poll::Ready(Some(event)) = this.others.poll_recv(context)
        {
            return Poll::Ready(Some(event));
        }
        if let Poll::Ready(event) = this.own.as_mut().poll_next(context) {
            return Poll::Ready(event);
        }
        match this.others.poll_recv(context) {
            Poll::Ready(Some(event)) => Poll::Ready(Some(event)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The other edges, as far as a follower has seen them.
struct Polled {
    account: Option<AccountSid>,
    filter: Filter,
    /// By the name and the URL of the edge.
    edges: HashMap<(String, String), Position>,
    /// The reason of the last event about each silent edge.
    silent: HashMap<String, String>,
    events: mpsc::Sender<Event>,
}

/// The decisions of an edge that a follower has seen.
struct Position {
    /// The place after which the next question begins.
    after: Place,
    /// The decisions after that place that the follower has.
    seen: BTreeSet<Place>,
}

impl Polled {
    /// Asks the edges until the reader has gone.
    async fn run(&mut self, fleet: &Arc<Fleet>, mut since: Instant) {
        // the decisions of an edge count from the time at which the question before its first answer began
        loop {
            let begun = Instant::now();
            let Some(has_more) = self.round(fleet, since).await else { return };
            since = begun;
            tokio::time::sleep_until(begun + if has_more { SOON } else { INTERVAL }).await;
        }
    }

    /// Asks each edge once. Returns whether one has more; none once the reader has gone.
    async fn round(&mut self, fleet: &Arc<Fleet>, since: Instant) -> Option<bool> {
        let answers = fleet.ask(self.account, None, |edge| self.question(edge)).await;
        let (mut has_more, mut silent) = (false, HashMap::new());
        for Given { edge, url, answer } in answers.given {
            let EdgeRows::Decisions { rows, has_more: more } = answer.rows else { continue };
            let key = (edge, url);
            let Some(position) = self.edges.get_mut(&key) else {
                let before = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                let after = first(answer.now_us.saturating_sub(before));
                self.edges.insert(key, Position { after, seen: BTreeSet::new() });
                // the decisions since then are asked for soon
                has_more = true;
                continue;
            };
            let (mut new, mut newest) = (Vec::new(), position.after);
            // newest first
            for row in rows.into_iter().rev() {
                let place = row.place().filter(|place| *place > position.after);
                let Some(place) =
                    place.filter(|_| merge::fits(self.account, &self.filter, &key.0, &row))
                else {
                    continue;
                };
                newest = newest.max(place);
                if position.seen.insert(place) {
                    new.push(row);
                }
            }
            // an edge that claims to have more and sends nothing new waits like the others
            let more = more && newest > position.after;
            has_more |= more;
            position.advance(newest, more, answer.now_us);
            for row in new {
                self.events.send(Event::Decision(Box::new(row))).await.ok()?;
            }
        }
        for mut edge in answers.silent {
            if self.account.is_some() {
                hide(&mut edge);
            }
            if self.silent.get(&edge.edge) != Some(&edge.reason) {
                self.events.send(Event::Silent(edge.clone())).await.ok()?;
            }
            silent.insert(edge.edge, edge.reason);
        }
        self.silent = silent;
        Some(has_more)
    }

    /// The next question to an edge.
    fn question(&self, edge: &Edge) -> EdgeQuestion {
        let key = (edge.name.clone(), edge.api.clone().unwrap_or_default());
        let (limit, start) = match self.edges.get(&key) {
            Some(position) => (ROWS, Start::After(position.after)),
            // only for the time of the edge
            None => (1, Start::Newest),
        };
        let what = EdgeQuestionKind::Recent { filter: Box::new(self.filter.clone()), limit, start };
        EdgeQuestion { account: self.account, what }
    }
}

impl Position {
    /// Begins the next question after the newest decision if the edge has more; else a little before the
    /// time of the answer, since an earlier decision can still be kept.
    fn advance(&mut self, newest: Place, more: bool, now_us: u64) {
        if more {
            *self = Self { after: newest, seen: BTreeSet::new() };
            return;
        }
        let after = first(now_us.saturating_sub(OVERLAP_US));
        if after > self.after {
            self.after = after;
            self.seen = self.seen.split_off(&after);
        }
    }
}

/// The first place of this microsecond.
fn first(micros: u64) -> Place {
    Place { micros, sid: DecisionSid::from_bytes([0; 16]) }
}
