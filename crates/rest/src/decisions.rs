//! The decisions that the edges made recently: the questions that the API answers, and the trait of the
//! program that knows them.
//!
//! The API has no decisions of its own. A program that keeps some gives an implementation of [`Decisions`]
//! to [`RestOptions::decisions`](crate::RestOptions::decisions); without it the paths below answer 404.
//!
//! - `GET /v1/Decisions`: the newest decisions, by filters.
//! - `GET /v1/Decisions/Stream`: decisions as they are made, as server-sent events.
//! - `POST /v1/Decisions/Explain`: each step of a decision about a request that is not sent.
//! - `GET`, `DELETE /v1/Decisions/Limits`: the names and sources that guess limits hold.
//! - `GET /v1/Alerts`: refused calls, as Twilio's clients list them.

mod alerts;
mod answer;
mod asker;
mod describe;
mod explain;
mod filter;
mod limits;
mod list;
mod message;
mod place;
mod record;
mod request;
mod routes;
mod set;
mod steps;
mod stream;
mod time;
mod words;

use std::pin::Pin;

use futures_util::Stream;
use serde::{Deserialize, Serialize};
use sip_authz::{AccountSid, DecisionSid, Transport};
use utoipa::ToSchema;

pub use self::answer::{DecisionList, HeldList, LeftOut, PageLinks};
pub use self::filter::{Filter, Outcome};
pub use self::message::{PartsError, RequestParts, with_line_ends};
pub use self::place::{Place, PlaceError, Start};
pub use self::record::DecisionRecord;
pub use self::set::FilterError;
pub use self::steps::{RecordStep, StepNames};
pub use self::time::{micros, rfc3339};
pub use self::words::{CauseInWords, public_reason, quoted};

pub(crate) use self::describe::describe;
pub(crate) use self::routes::routes;

/// An answer that is ready later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The decisions that edges made recently.
///
/// Each question has an [`Asker`]. An account sees the decisions about its own domains and trunks. Requests
/// for unknown hosts belong to no account, so only the admin sees them.
pub trait Decisions: Send + Sync + 'static {
    /// Whether decisions are kept. If not, there are never rows, and a page can say so instead of showing
    /// an empty list. Default: true.
    fn keeps(&self) -> bool {
        true
    }

    /// The decisions that `query` selects, newest first.
    fn recent(&self, asker: Asker, query: Query) -> Later<'_, Found>;

    /// The decision with this SID: one row, or none if no edge that answers keeps it for this asker.
    fn find(&self, asker: Asker, sid: DecisionSid) -> Later<'_, Answered<DecisionRecord>>;

    /// The decisions that `filter` selects, from now on. None if the asker follows too many already.
    ///
    /// The asker follows until the stream is dropped. The API drops it when the client has gone, reads too
    /// slowly, or the program ends.
    fn follow(&self, asker: Asker, filter: Filter) -> Option<Followed>;

    /// Decides `question` by the running snapshot, and explains each step. Nothing is used up. A wrong
    /// response counts against the guess limits, as in a request.
    fn explain(
        &self,
        asker: Asker,
        question: Question,
    ) -> Later<'_, Result<Explained, ExplainError>>;

    /// The names and sources that guess limits hold now.
    fn held(&self, asker: Asker) -> Later<'_, Answered<Held>>;

    /// Forgets the wrong digests of a held name or source, by [`Held::id`].
    fn release(&self, asker: Asker, id: String) -> Later<'_, Released>;
}

/// Decisions as they are made.
pub type Followed = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// The sender of a question, and the edges that answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The account whose decisions it sees; none for the admin, who sees all.
    pub account: Option<AccountSid>,
    /// Whether the other edges of the fleet are asked too. False for the question of another edge.
    pub asks_fleet: bool,
}

/// A question for kept decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The decisions to select.
    pub filter: Filter,
    /// The maximum number of decisions.
    pub limit: usize,
    /// The start of the rows.
    pub start: Start,
}

/// The rows of all edges that answered.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The edges that did not answer.
    pub silent: Vec<SilentEdge>,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug)]
pub struct Found {
    /// The decisions, newest first.
    pub answered: Answered<DecisionRecord>,
    /// Whether there are more in the direction of [`Query::start`]: newer ones after [`Start::After`], else
    /// older ones.
    pub has_more: bool,
}

/// An edge that did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilentEdge {
    /// The name of the edge.
    pub edge: String,
    /// The reason in words.
    pub reason: String,
}

/// The result of [`Decisions::release`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// The wrong digests are forgotten.
    Done,
    /// Nothing is held under this id, or it belongs to another account.
    NotHeld,
    /// No edge that answered holds it, and these did not answer.
    Silent(Vec<SilentEdge>),
}

/// An event of a stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// A decision.
    Decision(Box<DecisionRecord>),
    /// The number of decisions that were left out, because the reader was too slow.
    LeftOut(u64),
    /// An edge does not answer, so its decisions are missing.
    Silent(SilentEdge),
}

/// A request to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The message, as on the wire.
    pub message: Vec<u8>,
    /// The address and port of the caller.
    pub source: std::net::SocketAddr,
    /// The transport.
    pub transport: Transport,
}

/// A decision with each of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The checks in the order of the decision.
    pub steps: Vec<ExplainedStep>,
    /// `accept`, `challenge` or `reject`.
    pub outcome: String,
    /// The status of the response; 200 for an accepted request.
    pub status: u16,
    /// The reason. For operators only: callers may get another.
    pub reason: String,
    /// The internal cause of a challenge or rejection.
    pub cause: Option<String>,
    /// The meaning of the cause.
    pub meaning: Option<String>,
    /// The advice to the operator.
    pub advice: Option<String>,
    /// The number of the snapshot that decided.
    pub snapshot: u64,
    /// The edge that decided.
    pub edge: String,
}

/// A check of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedStep {
    /// The check in words.
    pub text: String,
    /// Whether the check was passed; none for a step that decides nothing.
    pub passed: Option<bool>,
}

/// The reason why a request cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExplainError {
    /// The message has a defect, in words; the edge answers it before any decision.
    Message(String),
    /// The request is for a domain or trunk of another account, or of none.
    NotYours,
}

/// A name or source that a guess limit holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// The id, for [`Decisions::release`].
    pub id: String,
    /// The edge that holds it.
    pub edge: String,
    /// `name-from-source`, `source` or `name`.
    pub kind: String,
    /// The owner of the domain or trunk.
    pub account: String,
    /// The SID of the domain or trunk.
    pub target: String,
    /// The host of the domain or trunk.
    pub domain: Option<String>,
    /// The claimed user name; none for a source.
    pub user: Option<String>,
    /// The source as the limit counts it: an IPv4 address, or the /64 of an IPv6 address. None for a name.
    pub source: Option<String>,
    /// The time of the first wrong digest that counts, as far as it is known (RFC 3339): that of the oldest
    /// kept decision about it, else the latest time that it can have.
    pub since: String,
    /// The number of wrong digests that are kept.
    pub wrong: u64,
    /// The time at which a next digest is verified (RFC 3339), unless further wrong ones come.
    pub until: String,
}
