//! Questions to other edges over real sockets: edges that answer, and all kinds that do not.

mod follow;
mod honest;
mod silent;
#[cfg(feature = "tls")]
mod tls;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};
use sip_authz::model::Realm;
use sip_authz::{AccountSid, DecisionSid};
use sip_authz_directory::{Directory, Settings};
use sip_authz_rest::decisions::{Event, SilentEdge, Start};
use sip_authz_rest::edges::{EdgeAddress, EdgeKey};
use sip_authz_rest::{AdminToken, RestOptions, SharedDecisions};
use sip_authz_store::{Edge, Head, MemoryStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::args::ApiBounds;
use crate::hops::tls::Connector;
use crate::serving::api::Server;
use crate::system::secure::Security;

const TOKEN: &str = "the admin token";
const ADMIN: Asker = Asker { account: None, asks_fleet: true };

fn account() -> AccountSid {
    AccountSid::from_name(&["own"])
}

/// An asker for an account.
fn tenant() -> Asker {
    Asker { account: Some(account()), asks_fleet: true }
}

/// A decision of an edge at a time in microseconds.
fn row(edge: &str, micros: u64) -> DecisionRecord {
    let time = jiff::Timestamp::from_microsecond(micros.try_into().unwrap()).unwrap();
    let mut sid = [0; 16];
    sid[..8].copy_from_slice(&micros.to_be_bytes());
    sid[8..].copy_from_slice(&number_of(edge).to_be_bytes());
    let mut row = DecisionRecord::default();
    row.sid = DecisionSid::from_bytes(sid).to_string();
    row.edge = edge.to_owned();
    row.time = time.to_string();
    row.account = Some(account().to_string());
    (row.outcome, row.transport) = ("reject".to_owned(), "udp".to_owned());
    row
}

fn number_of(text: &str) -> u64 {
    text.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte))
}

/// The id of a held name, which ends in this number.
fn hex_id(number: &str) -> String {
    format!("{number:0>32}")
}

fn held(edge: &str, id: &str) -> Held {
    Held {
        id: hex_id(id),
        edge: edge.to_owned(),
        kind: "source".to_owned(),
        account: account().to_string(),
        target: "SD1".to_owned(),
        domain: None,
        user: None,
        source: Some("192.0.2.1".to_owned()),
        since: "2026-11-29T12:00:00Z".to_owned(),
        wrong: 3,
        until: "2026-11-29T12:01:00Z".to_owned(),
    }
}

/// Decisions of one edge in memory.
#[derive(Default)]
struct Kept {
    rows: Mutex<Vec<DecisionRecord>>,
    held: Mutex<Vec<Held>>,
    askers: Mutex<Vec<Asker>>,
    /// Whether it keeps none.
    off: bool,
    events: Mutex<VecDeque<Event>>,
}

impl Kept {
    fn of(rows: Vec<DecisionRecord>) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::new(rows), ..Self::default() })
    }

    fn silent(&self) -> Vec<SilentEdge> {
        let silent = SilentEdge { edge: "this".to_owned(), reason: "keeps none".to_owned() };
        if self.off { vec![silent] } else { Vec::new() }
    }
}

impl Decisions for Kept {
    fn recent(&self, asker: Asker, query: Query) -> Later<'_, Found> {
        self.askers.lock().unwrap().push(asker);
        let mut rows = self.rows.lock().unwrap().clone();
        rows.retain(|row| {
            let owner = row.account.clone();
            query.start.admits(row.place().unwrap())
                && query.filter.selects(row)
                && asker.account.is_none_or(|account| owner == Some(account.to_string()))
        });
        rows.sort_by_key(|row| row.place());
        let has_more = rows.len() > query.limit;
        let left = rows.len().saturating_sub(query.limit);
        match query.start {
            Start::After(_) => rows.truncate(query.limit),
            _ => drop(rows.drain(..left)),
        }
        rows.reverse();
        let answered = Answered { rows, silent: self.silent() };
        Box::pin(async move { Found { answered, has_more } })
    }

    fn find(&self, _: Asker, sid: DecisionSid) -> Later<'_, Answered<DecisionRecord>> {
        let mut rows = self.rows.lock().unwrap().clone();
        rows.retain(|row| row.sid == sid.to_string());
        let silent = self.silent();
        Box::pin(async move { Answered { rows, silent } })
    }

    fn follow(&self, _: Asker, _: Filter) -> Option<Followed> {
        let events: Vec<_> = self.events.lock().unwrap().drain(..).collect();
        (!self.off).then(|| stream::iter(events).chain(stream::pending()).boxed())
    }

    fn explain(&self, _: Asker, _: Question) -> Later<'_, Result<Explained, ExplainError>> {
        Box::pin(async { Err(ExplainError::NotYours) })
    }

    fn held(&self, _: Asker) -> Later<'_, Answered<Held>> {
        let rows = self.held.lock().unwrap().clone();
        let silent = self.silent();
        Box::pin(async move { Answered { rows, silent } })
    }

    fn release(&self, _: Asker, id: String) -> Later<'_, Released> {
        let mut held = self.held.lock().unwrap();
        let before = held.len();
        held.retain(|held| held.id != id);
        let released = if held.len() < before { Released::Done } else { Released::NotHeld };
        Box::pin(async move { released })
    }
}

fn edge(name: &str, api: Option<&str>) -> Edge {
    Edge { api: api.map(str::to_owned), ..Edge::new(name, Head::default()) }
}

/// Another edge: the real API over these decisions.
async fn real(name: &str, token: &str, decisions: Arc<Kept>) -> (Edge, Server) {
    real_at(name, token, decisions, "http://127.0.0.1", Security::None).await
}

/// As [`real`], at a free port of this scheme and host.
async fn real_at(
    name: &str,
    token: &str,
    decisions: Arc<Kept>,
    host: &str,
    security: Security,
) -> (Edge, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{host}:{}", listener.local_addr().unwrap().port());
    let realm: Realm = "test".parse().unwrap();
    let directory = Directory::new(MemoryStore::new(), Settings::new(realm), None);
    let options = RestOptions::default()
        .with_admin(AdminToken::new(token))
        .with_decisions(Some(SharedDecisions(decisions)))
        .with_edge(Some(EdgeAddress { name: name.to_owned(), url: url.clone() }));
    let router = sip_authz_rest::router(Arc::new(directory), options);
    let current = Arc::new(ArcSwap::from_pointee(router));
    let time = Duration::from_secs(30);
    let bounds = ApiBounds { connections: 64, head: time, request: time };
    (edge(name, Some(&url)), Server::start(listener, current, security, bounds))
}

/// A server that does something else than an edge.
struct Odd {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    /// The address of the last client.
    last: Arc<Mutex<Option<SocketAddr>>>,
}

impl Odd {
    /// Answers each request with these bytes, then waits for the end of the connection.
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::doing(move |mut stream: TcpStream| {
            let answer = answer.clone();
            async move {
                let _ = stream.write_all(&answer).await;
                // until the client goes
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
    }

    /// Answers with this JSON body.
    async fn with(status: &str, body: &Value) -> Self {
        let body = body.to_string();
        Self::saying(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    async fn doing<F>(act: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, last) = <(Arc<AtomicUsize>, Arc<Mutex<_>>)>::default();
        let odd = Self { address, requests: Arc::clone(&requests), last: Arc::clone(&last) };
        let act = Arc::new(act);
        tokio::spawn(async move {
            while let Ok((mut stream, client)) = listener.accept().await {
                requests.fetch_add(1, Ordering::Relaxed);
                *last.lock().unwrap() = Some(client);
                let act = Arc::clone(&act);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    act(stream).await;
                });
            }
        });
        odd
    }

    fn edge(&self, name: &str) -> Edge {
        edge(name, Some(&format!("http://{}", self.address)))
    }
}

/// This edge, called `this`, in a fleet with others.
fn peers(own: &Arc<Kept>, others: Vec<Edge>) -> Peers {
    peers_with(own, others, |_| {})
}

fn peers_with(
    own: &Arc<Kept>,
    mut others: Vec<Edge>,
    change: impl FnOnce(&mut PeerOptions),
) -> Peers {
    let url = "http://127.0.0.1:9".to_owned();
    others.push(edge("this", Some(&url)));
    let known = KnownEdges::new(move || {
        let others = others.clone();
        Box::pin(async move { Ok(others) })
    });
    let mut options = PeerOptions {
        name: "this".to_owned(),
        url: Some(url),
        key: AdminToken::new(TOKEN).as_ref().map(EdgeKey::new),
        insecure: false,
        known,
        connector: Connector::new("--api-ca", None).unwrap(),
        // longer than in the program, for slow machines
        limit: Duration::from_secs(30),
    };
    change(&mut options);
    let own: Arc<dyn Decisions> = Arc::<Kept>::clone(own);
    Peers::new(own, Arc::new(Fleet::new(options)))
}

fn query(limit: usize, start: Start) -> Query {
    Query { filter: Filter::default(), limit, start }
}

/// The times of the rows of an answer, in microseconds, and whether there are more.
fn times(found: &Found) -> (Vec<u64>, bool) {
    (found.answered.rows.iter().map(|row| row.micros().unwrap()).collect(), found.has_more)
}

fn names(silent: &[SilentEdge]) -> Vec<&str> {
    silent.iter().map(|silent| silent.edge.as_str()).collect()
}

/// An answer of the edge `name` with these decisions.
fn decisions_of(name: &str, rows: &[DecisionRecord]) -> Value {
    json!({"edge": name, "now_us": 1, "rows": {"decisions": {"rows": rows, "has_more": false}}})
}
