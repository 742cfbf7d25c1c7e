//! Asks all other edges of the fleet one question at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use sip_authz::AccountSid;
use sip_authz_rest::decisions::SilentEdge;
use sip_authz_rest::edges::{EdgeAnswer, EdgeKey, EdgeQuestion, EdgeQuestionKind, PATH};
use sip_authz_store::Edge;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::http::{HttpClient, Sent};
use super::known::KnownEdges;
use crate::hops::tls::Connector;
use crate::system::api_url::ApiUrl;

/// The maximum number of edges that are asked.
const MAX_EDGES: usize = 256;
/// The maximum number of open questions to one edge, so that one that hangs does not hold up the others.
const MAX_OPEN: usize = 8;
/// The maximum number of open questions of one account to all edges, so that one account leaves room to others.
const MAX_OWN: usize = 3;
/// The number of shares of accounts; accounts with the same share wait for each other.
const SHARES: usize = 64;
/// The maximum number of open questions of this process.
const MAX_OPEN_IN_ALL: usize = 128;
/// The maximum size of a row in JSON, in bytes: a record has 512 bytes, of which JSON escapes each at worst.
const MAX_ROW: usize = 4 << 10;
/// The maximum number of rows without a limit of their own: held limits.
const MAX_HELD: usize = 1_000;
/// The name in answers for edges that the store does not name.
const UNKNOWN: &str = "unknown edges";
/// The maximum length of a message of another edge, in characters.
const MAX_MESSAGE: usize = 160;

/// The options of an edge that asks others.
pub(crate) struct PeerOptions {
    /// The name of this edge.
    pub(crate) name: String,
    /// The URL that it reports, if any.
    pub(crate) url: Option<String>,
    /// The key of questions; none without an admin token.
    pub(crate) key: Option<EdgeKey>,
    /// Whether plain HTTP to other machines is allowed.
    pub(crate) insecure: bool,
    /// The reports of all edges.
    pub(crate) known: KnownEdges,
    pub(crate) connector: Connector,
    /// The time limit of a question to all edges.
    pub(crate) limit: Duration,
}

/// The other edges of a fleet, and the means to ask them.
pub(crate) struct Fleet {
    pub(super) name: String,
    url: Option<String>,
    key: Option<EdgeKey>,
    insecure: bool,
    known: KnownEdges,
    client: HttpClient,
    limit: Duration,
    open: Semaphore,
    /// The permits for open questions of accounts, by its SID; the first is the admin's.
    shares: Vec<Semaphore>,
    /// The permits for open questions to each URL.
    peers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The answers to one question, and the edges that did not answer.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) given: Vec<Given>,
    pub(super) silent: Vec<SilentEdge>,
}

/// The answer of an edge.
pub(super) struct Given {
    /// The name of the edge.
    pub(super) edge: String,
    /// Its URL.
    pub(super) url: String,
    pub(super) answer: EdgeAnswer,
}

impl Fleet {
    pub(crate) fn new(options: PeerOptions) -> Self {
        let PeerOptions { name, url, key, insecure, known, connector, limit } = options;
        let (client, open) = (HttpClient::new(connector), Semaphore::new(MAX_OPEN_IN_ALL));
        let shares = (0..=SHARES).map(|_| Semaphore::new(MAX_OWN)).collect();
        let peers = Mutex::default();
        Self { name, url, key, insecure, known, client, limit, open, shares, peers }
    }

    /// Asks all other edges, or those with the name `only`, each its own question. Returns after
    /// the time limit at most.
    pub(super) async fn ask(
        self: &Arc<Self>,
        account: Option<AccountSid>,
        only: Option<&str>,
        question: impl Fn(&Edge) -> EdgeQuestion,
    ) -> Answers {
        let (limit, deadline) = (self.limit.as_secs(), Instant::now() + self.limit);
        let (edges, error) = self.known.get().await;
        let mut answers = Answers::default();
        let Some(_share) = self.share(account, deadline).await else {
            let reason = "the account asks too many questions at a time".to_owned();
            let silent =
                |edge: &Edge| SilentEdge { edge: edge.name.clone(), reason: reason.clone() };
            answers.silent = self.others(&edges).into_iter().map(silent).collect();
            return answers;
        };
        if let Some(error) = error {
            let reason = format!("the store does not name the edges: {error}");
            answers.silent.push(SilentEdge { edge: UNKNOWN.to_owned(), reason });
        }
        let others = self.others(&edges);
        let others = others.into_iter().filter(|edge| only.is_none_or(|name| edge.name == name));
        let mut asked = JoinSet::new();
        for (number, edge) in others.enumerate() {
            if number >= MAX_EDGES {
                let reason = format!("only {MAX_EDGES} edges are asked");
                answers.silent.push(SilentEdge { edge: edge.name.clone(), reason });
                continue;
            }
            let (fleet, question, edge) = (Arc::clone(self), question(edge), edge.clone());
            asked.spawn(async move {
                let late = || format!("no answer within {limit} s");
                let answer = timeout_at(deadline, fleet.ask_one(&edge, &question)).await;
                (edge, answer.map_err(|_| late()).and_then(|answer| answer))
            });
        }
        while let Some(joined) = asked.join_next().await {
            match joined {
                Ok((edge, Ok(answer))) => {
                    if let Some(reason) = &answer.missing {
                        let reason = plain(reason);
                        answers.silent.push(SilentEdge { edge: edge.name.clone(), reason });
                    }
                    let url = edge.api.unwrap_or_default();
                    answers.given.push(Given { edge: edge.name, url, answer });
                }
                Ok((edge, Err(reason))) => {
                    answers.silent.push(SilentEdge { edge: edge.name, reason });
                }
                // the task neither panics nor is it aborted
                Err(_) => {}
            }
        }
        // the same order for each question
        answers.silent.sort_by(|a, b| a.edge.cmp(&b.edge));
        answers.given.sort_by(|a, b| (&a.edge, &a.url).cmp(&(&b.edge, &b.url)));
        answers
    }

    /// Waits for the share of an account until the deadline.
    async fn share(
        &self,
        account: Option<AccountSid>,
        deadline: Instant,
    ) -> Option<SemaphorePermit<'_>> {
        // the last byte of a SID is random, or that of a hash
        let number = account.map_or(0, |account| {
            let [.., last] = *account.as_bytes();
            1 + usize::from(last) % SHARES
        });
        timeout_at(deadline, self.shares.get(number)?.acquire()).await.ok()?.ok()
    }

    /// The reports of other processes, each name and URL once.
    fn others<'e>(&self, edges: &'e [Edge]) -> Vec<&'e Edge> {
        let mut seen = HashSet::new();
        let is_other = |edge: &&Edge| edge.name != self.name || edge.api != self.url;
        let others = edges.iter().filter(is_other);
        let others: Vec<_> = others.filter(|edge| seen.insert((&edge.name, &edge.api))).collect();
        let listed: HashSet<_> = others.iter().filter_map(|edge| edge.api.as_deref()).collect();
        self.permits().retain(|url, _| listed.contains(url.as_str()));
        others
    }

    fn permits(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        // no code panics while it holds the lock
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_one(&self, edge: &Edge, question: &EdgeQuestion) -> Result<EdgeAnswer, String> {
        let Some(key) = &self.key else {
            return Err(format!("{} has no admin token to ask it with", self.name));
        };
        let Some(url) = &edge.api else {
            return Err("it has no --api-advertise".to_owned());
        };
        let parsed = ApiUrl::parse(url).map_err(|why| format!("its --api-advertise: {why}"))?;
        if self.url.as_ref() == Some(url) {
            return Err(format!("it reports the --api-advertise of {}", self.name));
        }
        if !parsed.is_safe() && !self.insecure {
            let why = "its --api-advertise is plain HTTP on another machine";
            return Err(format!("{why}; {} allows it with --insecure-api", self.name));
        }
        let permits = {
            let mut peers = self.permits();
            let permits = peers.entry(url.clone());
            Arc::clone(permits.or_insert_with(|| Arc::new(Semaphore::new(MAX_OPEN))))
        };
        // neither is ever closed
        let _one = permits.acquire().await.map_err(|error| error.to_string())?;
        let _all = self.open.acquire().await.map_err(|error| error.to_string())?;
        let body = question.to_json();
        let rows = match &question.what {
            EdgeQuestionKind::Recent { limit, .. } => *limit,
            EdgeQuestionKind::Held => MAX_HELD,
            EdgeQuestionKind::Find(_) | EdgeQuestionKind::Release(_) => 1,
        };
        let sent = Sent {
            url: &parsed,
            path: PATH,
            authorization: key.authorization(url, SystemTime::now(), &body),
            body,
            max_answer: rows.saturating_add(1).saturating_mul(MAX_ROW),
        };
        let (status, body) = self.client.post(sent).await?;
        let answer = read(status, &body)?;
        if answer.edge != edge.name {
            return Err(format!("the edge `{}` answers at its URL", plain(&answer.edge)));
        }
        Ok(answer)
    }
}

/// Reads an answer, or returns the reason why it is none.
fn read(status: StatusCode, body: &[u8]) -> Result<EdgeAnswer, String> {
    if status == StatusCode::OK {
        let answer = serde_json::from_slice(body);
        return answer.map_err(|_| "its answer is not one of sip-authz".to_owned());
    }
    if status.is_redirection() {
        return Err("it redirects the question, which is not followed".to_owned());
    }
    if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
        return Err(
            "it answers no questions of other edges (status 404); is it an earlier version, \
                    or without an admin token?"
                .to_owned(),
        );
    }
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        message: String,
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(error) => Err(format!("it refuses the question: {}", plain(&error.message))),
        Err(_) => Err(format!("it answers with status {}", status.as_u16())),
    }
}

/// Hides the reason from an account: it can name addresses of the operator's network.
pub(super) fn hide(silent: &mut SilentEdge) {
    "it did not answer".clone_into(&mut silent.reason);
}

/// A text of another edge, without control characters and not too long.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}
