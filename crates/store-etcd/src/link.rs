//! Requests to the nodes of etcd. All go to one node until it fails, then to the next.
//!
//! Every request may be sent twice, since an answer can get lost. So each write has a condition that
//! only the first satisfies, or is idempotent.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_lock::OnceCell;
use etcd_client::{
    Client, ConnectOptions, Error, GetOptions, GetResponse, KeyValue, KvClient, ResponseHeader,
    Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use tokio::time::{Instant, sleep, timeout};

use super::StoreError;
use super::options::{BeforeWrite, EtcdOptions};

/// The time limit for one answer of one node.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest pause before another round over all nodes.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// The maximum number of read operations in one transaction; etcd accepts 128.
const READS: usize = 100;
/// The gRPC status of a request that needs more rights.
const PERMISSION_DENIED: i32 = 7;

pub(super) struct Link {
    nodes: Vec<Node>,
    options: ConnectOptions,
    /// The index of the node that answered last.
    preferred: AtomicUsize,
    give_up_after: Duration,
    before_write: Option<BeforeWrite>,
}

struct Node {
    url: String,
    client: OnceCell<Client>,
}

/// A failed request.
struct RequestError {
    error: StoreError,
    /// Whether every further attempt, at any node, would fail in the same way.
    is_final: bool,
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self { is_final: is_final(&error), error: failed(&error) }
    }
}

impl RequestError {
    fn unreachable(why: String) -> Self {
        Self { error: StoreError::Unreachable(why), is_final: false }
    }
}

/// The place and the time of an answer: its cluster and its revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) cluster: u64,
    pub(super) revision: i64,
}

impl At {
    pub(super) fn of(header: Option<&ResponseHeader>) -> Self {
        let (cluster, revision) = header.map_or((0, 0), |it| (it.cluster_id(), it.revision()));
        Self { cluster, revision }
    }
}

/// Several values as of one revision.
pub(super) struct Read {
    pub(super) revision: i64,
    /// The cluster that answered; 0 if no key was asked for.
    pub(super) cluster: u64,
    /// The values in the order of the requested keys.
    pub(super) values: Vec<Option<KeyValue>>,
}

impl Link {
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        if options.endpoints.is_empty() {
            return Err(StoreError::Other("no etcd node is configured".to_owned()));
        }
        let node = |url: &String| Node { url: url.clone(), client: OnceCell::new() };
        Ok(Self {
            nodes: options.endpoints.iter().map(node).collect(),
            options: options.connect(),
            preferred: AtomicUsize::new(options.first_node % options.endpoints.len()),
            give_up_after: options.give_up_after,
            before_write: options.before_write.clone(),
        })
    }

    pub(super) fn give_up_after(&self) -> Duration {
        self.give_up_after
    }

    /// The index of the node to use first.
    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// A client of the node at this index, modulo the number of nodes.
    pub(super) async fn client(&self, index: usize) -> Result<Client, StoreError> {
        self.connect(index).await.map_err(|failed| failed.error)
    }

    async fn connect(&self, index: usize) -> Result<Client, RequestError> {
        let node = self.nodes.get(index % self.nodes.len());
        let node =
            node.ok_or_else(|| RequestError::unreachable("no etcd node is configured".to_owned()))?;
        let connecting = async || {
            let connected = Client::connect([&node.url], Some(self.options.clone()));
            match timeout(ANSWER_TIMEOUT, connected).await {
                Ok(connected) => connected.map_err(RequestError::from),
                Err(_) => Err(RequestError::unreachable(format!(
                    "etcd at {} did not answer in time",
                    node.url
                ))),
            }
        };
        node.client.get_or_try_init(connecting).await.cloned()
    }

    /// Waits until this key can be read. Calls `on_failure` after each period of `give_up_after` in
    /// which no node answers.
    pub(super) async fn wait_until_ready(
        &self,
        key: Vec<u8>,
        mut on_failure: impl FnMut(&StoreError) + Send,
    ) -> Result<(), StoreError> {
        loop {
            let asked = self.try_call(|mut kv| {
                let key = key.clone();
                async move { kv.get(key, None).await }
            });
            match asked.await {
                Ok(_) => return Ok(()),
                Err(RequestError { error, is_final: true }) => return Err(error),
                Err(RequestError { error, .. }) => on_failure(&error),
            }
        }
    }

    async fn call<T, F>(&self, ask: impl Fn(KvClient) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.try_call(ask).await.map_err(|failed| failed.error)
    }

    /// Sends the request to one node after another until one answers or the time is up.
    async fn try_call<T, F>(&self, ask: impl Fn(KvClient) -> F) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + self.give_up_after;
        let mut pause = Duration::from_millis(20);
        let mut tried = 0;
        loop {
            let index = self.preferred();
            let failed = match self.connect(index).await {
                Err(failed) => failed,
                Ok(client) => {
                    let kv = client.kv_client().max_decoding_message_size(usize::MAX);
                    match timeout(ANSWER_TIMEOUT, ask(kv)).await {
                        Ok(Ok(answer)) => return Ok(answer),
                        Ok(Err(error)) => error.into(),
                        Err(_) => {
                            RequestError::unreachable("etcd did not answer in time".to_owned())
                        }
                    }
                }
            };
            if failed.is_final {
                return Err(failed);
            }
            // the first task that fails selects the next node; others find it selected already
            let next = (index + 1) % self.nodes.len();
            let _ =
                self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
            if Instant::now() >= deadline {
                return Err(failed);
            }
            tried += 1;
            if tried % self.nodes.len() == 0 {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Runs a transaction that writes.
    pub(super) async fn write(&self, txn: Txn) -> Result<TxnResponse, StoreError> {
        if let Some(before_write) = &self.before_write
            && !before_write()
        {
            // simulates a kill at this point
            std::future::pending::<()>().await;
        }
        self.read_by(txn).await
    }

    /// Runs a transaction that only reads.
    pub(super) async fn read_by(&self, txn: Txn) -> Result<TxnResponse, StoreError> {
        self.call(|mut kv| {
            let txn = txn.clone();
            async move { kv.txn(txn).await }
        })
        .await
    }

    /// Checks the alarms of the cluster, which the node knows that answered last. A user who may not ask sees
    /// none.
    pub(super) async fn check_alarms(&self) -> Result<(), StoreError> {
        let mut client = self.client(self.preferred()).await?.maintenance_client();
        let status = match timeout(ANSWER_TIMEOUT, client.status()).await {
            Ok(Ok(status)) => status,
            Ok(Err(Error::GRpcStatus(status))) if i32::from(status.code()) == PERMISSION_DENIED => {
                return Ok(());
            }
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => {
                return Err(StoreError::Unreachable("etcd did not answer in time".to_owned()));
            }
        };
        // each is `memberID:… alarm:NAME`
        let has = |alarm: &str| status.errors().iter().any(|error| error.contains(alarm));
        if has("alarm:CORRUPT") {
            Err(StoreError::Corrupt("etcd has the alarm CORRUPT: its nodes differ".to_owned()))
        } else if has("alarm:NOSPACE") {
            Err(StoreError::NoSpace(
                "etcd has the alarm NOSPACE: a node has reached its quota, so etcd takes no changes"
                    .to_owned(),
            ))
        } else {
            Ok(())
        }
    }

    /// Reads a range of keys.
    pub(super) async fn get(
        &self,
        key: Vec<u8>,
        options: GetOptions,
    ) -> Result<GetResponse, StoreError> {
        self.call(|mut kv| {
            let (key, options) = (key.clone(), options.clone());
            async move { kv.get(key, Some(options)).await }
        })
        .await
    }

    /// Reads the values of these keys, all as of one revision: the given one, or the latest.
    pub(super) async fn read(
        self: &Arc<Self>,
        keys: &[Vec<u8>],
        revision: Option<i64>,
    ) -> Result<Read, StoreError> {
        let mut read = Read { revision: revision.unwrap_or(0), cluster: 0, values: Vec::new() };
        for some in keys.chunks(READS) {
            let answer = self
                .call(|mut kv| {
                    let options = match read.revision {
                        0 => GetOptions::new(),
                        revision => GetOptions::new().with_revision(revision),
                    };
                    let get = |key: &Vec<u8>| TxnOp::get(key.clone(), Some(options.clone()));
                    let txn = Txn::new().and_then(some.iter().map(get).collect::<Vec<_>>());
                    async move { kv.txn(txn).await }
                })
                .await?;
            let at = At::of(answer.header());
            read.cluster = at.cluster;
            if read.revision == 0 {
                read.revision = at.revision;
            }
            for answer in answer.op_responses() {
                let TxnOpResponse::Get(mut answer) = answer else {
                    return Err(StoreError::Other("unexpected response from etcd".to_owned()));
                };
                read.values.push(answer.take_kvs().into_iter().next());
            }
        }
        Ok(read)
    }
}

/// Whether every further attempt, at any node, would fail in the same way.
fn is_final(error: &Error) -> bool {
    match error {
        // invalid argument, not found, permission denied, resource exhausted, failed precondition,
        // out of range (compacted), unimplemented, unauthenticated
        Error::GRpcStatus(status) => {
            let out_of_range = i32::from(status.code()) == 11;
            // a node that has just restarted may not have the revision yet
            let future = out_of_range && status.message().contains("future");
            [3, 5, 7, 8, 9, 11, 12, 16].contains(&i32::from(status.code())) && !future
        }
        Error::InvalidArgs(_) | Error::InvalidUri(_) => true,
        _ => false,
    }
}

/// Converts an error of a request. Leaves out the values that were sent.
pub(super) fn failed(error: &Error) -> StoreError {
    match error {
        Error::GRpcStatus(status) => {
            let why = format!("etcd: {}", status.message());
            classify(i32::from(status.code()), status.message())(why)
        }
        Error::TransportError(_) | Error::IoError(_) => {
            StoreError::Unreachable(format!("etcd: {error}"))
        }
        other => StoreError::Other(format!("etcd: {other}")),
    }
}

/// The kind of error for a gRPC status code and its message.
fn classify(code: i32, message: &str) -> fn(String) -> StoreError {
    const CANCELLED: i32 = 1;
    const UNKNOWN: i32 = 2;
    const INVALID_ARGUMENT: i32 = 3;
    const DEADLINE_EXCEEDED: i32 = 4;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const INTERNAL: i32 = 13;
    const UNAVAILABLE: i32 = 14;
    const DATA_LOSS: i32 = 15;
    match code {
        INVALID_ARGUMENT if message.contains("too large") => StoreError::TooLarge,
        // etcd has reached its quota, and rejects writes until an operator frees space
        RESOURCE_EXHAUSTED if message.contains("space exceeded") => StoreError::NoSpace,
        // the gRPC layer of the server has its own limit
        RESOURCE_EXHAUSTED if message.contains("larger than max") => StoreError::TooLarge,
        RESOURCE_EXHAUSTED | CANCELLED | UNKNOWN | DEADLINE_EXCEEDED | INTERNAL | UNAVAILABLE => {
            StoreError::Unreachable
        }
        DATA_LOSS => StoreError::Corrupt,
        _ => StoreError::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_statuses_map_to_store_errors() {
        let kind = |code, message: &str| classify(code, message)(String::new());
        let none = String::new;
        assert_eq!(kind(3, "etcdserver: request is too large"), StoreError::TooLarge(none()));
        assert_eq!(kind(3, "etcdserver: key is not provided"), StoreError::Other(none()));
        let quota = "etcdserver: mvcc: database space exceeded";
        assert_eq!(kind(8, quota), StoreError::NoSpace(none()));
        let large = "grpc: received message larger than max (3000000 vs. 2097152)";
        assert_eq!(kind(8, large), StoreError::TooLarge(none()));
        assert_eq!(kind(8, "etcdserver: too many requests"), StoreError::Unreachable(none()));
        assert_eq!(kind(14, "etcdserver: no leader"), StoreError::Unreachable(none()));
        assert_eq!(kind(15, "etcdserver: corrupt cluster"), StoreError::Corrupt(none()));
        assert_eq!(kind(7, "etcdserver: permission denied"), StoreError::Other(none()));
    }
}
