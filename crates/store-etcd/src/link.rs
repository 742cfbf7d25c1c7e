//! Requests to the nodes of etcd. All go to one node until it fails or stalls, then to the next.
//!
//! A request can be sent several times, and etcd can run a copy long after the answer to another one: a stopped node
//! has it in its buffers. So each write satisfies one of these:
//!
//! - It has a condition that only the first copy satisfies.
//! - It creates or deletes keys with a random id that no process uses later.
//! - It repeats an older report or request of its process. The older one never counts for more than the newer one, and
//!   the process writes the newer one again. After the process has withdrawn its report, such a copy counts as that of a killed process.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_lock::OnceCell;
use etcd_client::{
    Client, ConnectOptions, Error, GetOptions, GetResponse, KeyValue, KvClient, ResponseHeader,
    Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::StoreError;
use super::options::{BeforeWrite, EtcdOptions};
use super::race::{ANSWER_TIMEOUT, Race, Request, RequestError};

/// The maximum number of read operations in one transaction; etcd accepts 128.
const READS: usize = 100;
/// A transaction with more read operations than this can have a large answer.
const FEW_READS: usize = 16;
/// The gRPC status of a request that needs more rights.
const PERMISSION_DENIED: i32 = 7;

pub(super) struct Link {
    nodes: Vec<Node>,
    options: ConnectOptions,
    race: Race,
    give_up_after: Duration,
    before_write: Option<BeforeWrite>,
}

struct Node {
    url: String,
    client: OnceCell<Client>,
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self { is_final: is_final(&error), error: failed(&error) }
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
            race: Race::new(options.endpoints.len(), options.first_node),
            give_up_after: options.give_up_after,
            before_write: options.before_write.clone(),
        })
    }

    pub(super) fn give_up_after(&self) -> Duration {
        self.give_up_after
    }

    /// The number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The index of the node to use first, and later the changes of it.
    pub(super) fn preferred(&self) -> watch::Receiver<usize> {
        self.race.subscribe()
    }

    /// Prefers the next node if this one is preferred.
    pub(super) fn avoid(&self, node: usize) {
        self.race.avoid(node);
    }

    /// A client of the node at this index, modulo the number of nodes.
    pub(super) async fn client(&self, index: usize) -> Result<Client, StoreError> {
        self.connect(index).await.map_err(|failed| failed.error)
    }

    async fn connect(&self, index: usize) -> Result<Client, RequestError> {
        let node = self.nodes.get(index % self.nodes.len());
        let node = node.ok_or_else(|| RequestError::unreachable("no etcd node is configured"))?;
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
            let asked = self.try_call(Request::Read, |client| {
                let (mut kv, key) = (kv(&client), key.clone());
                async move { kv.get(key, None).await }
            });
            match asked.await {
                Ok(_) => return Ok(()),
                Err(RequestError { error, is_final: true }) => return Err(error),
                Err(RequestError { error, .. }) => on_failure(&error),
            }
        }
    }

    /// Sends a request to one node after another until one answers or the time is up.
    pub(super) async fn call<T, F, E>(
        &self,
        request: Request,
        ask: impl Fn(Client) -> F + Sync,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, E>>,
        RequestError: From<E>,
    {
        self.try_call(request, ask).await.map_err(|failed| failed.error)
    }

    async fn try_call<T, F, E>(
        &self,
        request: Request,
        ask: impl Fn(Client) -> F + Sync,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, E>>,
        RequestError: From<E>,
    {
        // a connection to a stalled node costs no more than an answer that does not come
        let ask = &ask;
        let attempt = move |node| async move { Ok(ask(self.connect(node).await?).await?) };
        self.race.run(request, self.give_up_after, attempt).await
    }

    /// Runs a transaction that writes.
    pub(super) async fn write(&self, txn: Txn) -> Result<TxnResponse, StoreError> {
        if let Some(before_write) = &self.before_write
            && !before_write()
        {
            // simulates a kill at this point
            std::future::pending::<()>().await;
        }
        self.run(Request::Write, txn).await
    }

    /// Runs a transaction that only reads.
    pub(super) async fn read_by(&self, txn: Txn) -> Result<TxnResponse, StoreError> {
        self.run(Request::Read, txn).await
    }

    async fn run(&self, request: Request, txn: Txn) -> Result<TxnResponse, StoreError> {
        self.call(request, |client| {
            let (mut kv, txn) = (kv(&client), txn.clone());
            async move { kv.txn(txn).await }
        })
        .await
    }

    /// Checks the alarms of the cluster, which each node knows. A user who may not ask sees none.
    pub(super) async fn check_alarms(&self) -> Result<(), StoreError> {
        let status = self.call(Request::Read, |client| async move {
            match client.maintenance_client().status().await {
                Ok(status) => Ok(Some(status)),
                Err(Error::GRpcStatus(status)) if i32::from(status.code()) == PERMISSION_DENIED => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        let Some(status) = status.await? else { return Ok(()) };
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

    /// Reads a range of small values.
    pub(super) async fn get(
        &self,
        key: Vec<u8>,
        options: GetOptions,
    ) -> Result<GetResponse, StoreError> {
        self.get_by(Request::Read, key, options).await
    }

    /// Reads a range of pages.
    pub(super) async fn read_range(
        &self,
        from: Vec<u8>,
        options: GetOptions,
    ) -> Result<GetResponse, StoreError> {
        self.get_by(Request::Range, from, options).await
    }

    async fn get_by(
        &self,
        request: Request,
        key: Vec<u8>,
        options: GetOptions,
    ) -> Result<GetResponse, StoreError> {
        self.call(request, |client| {
            let (mut kv, key, options) = (kv(&client), key.clone(), options.clone());
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
            let options = match read.revision {
                0 => GetOptions::new(),
                revision => GetOptions::new().with_revision(revision),
            };
            let get = |key: &Vec<u8>| TxnOp::get(key.clone(), Some(options.clone()));
            let txn = Txn::new().and_then(some.iter().map(get).collect::<Vec<_>>());
            let request = if some.len() > FEW_READS { Request::Pages } else { Request::Read };
            let answer = self.run(request, txn).await?;
            let at = At::of(answer.header());
            read.cluster = at.cluster;
            if read.revision == 0 {
                read.revision = at.revision;
            }
            let values = found(&answer, 0)?;
            read.values.extend(values.into_iter().map(|values| values.into_iter().next()));
        }
        Ok(read)
    }
}

/// What the reads of a transaction have found, from the operation with the index `first` on.
pub(super) fn found(answer: &TxnResponse, first: usize) -> Result<Vec<Vec<KeyValue>>, StoreError> {
    let reads = answer.op_responses().into_iter().skip(first);
    reads
        .map(|read| match read {
            TxnOpResponse::Get(mut read) => Ok(read.take_kvs()),
            _ => Err(unexpected()),
        })
        .collect()
}

/// The error of an answer that does not fit its request.
pub(super) fn unexpected() -> StoreError {
    StoreError::Other("unexpected response from etcd".to_owned())
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(usize::MAX)
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
