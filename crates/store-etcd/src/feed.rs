//! The feed of commits: an etcd watch on the one key that each commit overwrites, on the incarnation of the store,
//! and on the number of the commit that a change waits for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, KeyValue, WatchOptions, WatchStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::history::History;
use super::layout::State;
use super::link::failed;
use super::{Etcd, StoreError, payload};
use sip_authz_store::{CommitEntry, Feed, Head, Incarnation};

/// After a watch has been silent for this long, the feed checks that the node is alive. For 1,000 edges without commits,
/// three nodes (etcd 3.4) then use a tenth of a processor. With 5 s they use as much, since HTTP/2 then sends pings. With
/// 1 s they use a fifth.
const SILENCE: Duration = Duration::from_secs(2);
/// The time limit for the answer to that check, which the node gives by itself, and for a new watch.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time limit for a new watch once all nodes have failed.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(3);

/// The feed of an [`EtcdStore`](super::EtcdStore). After a failure it continues at another node from
/// the same position, unless etcd has compacted the commits after it. It also does so once requests prefer another
/// node, as they notice a stalled node first.
pub struct EtcdFeed {
    etcd: Arc<Etcd>,
    /// The history that is followed; the default one before the first commit of the store.
    incarnation: Incarnation,
    /// The number of the last delivered commit.
    number: u64,
    /// The last etcd revision received.
    revision: i64,
    watch: Option<WatchStream>,
    /// The node of the watch.
    node: usize,
    /// The node that requests prefer.
    preferred: watch::Receiver<usize>,
    received: VecDeque<KeyValue>,
}

/// Why a watch ended.
enum WatchError {
    /// The watch failed; another node may be able to continue.
    Failed(StoreError),
    /// etcd has compacted the commits after the position. Contains the oldest revision that it keeps.
    Compacted(i64),
}

impl WatchError {
    fn unreachable(why: &str) -> Self {
        Self::Failed(StoreError::Unreachable(why.to_owned()))
    }

    fn timed_out() -> Self {
        Self::unreachable("a watch did not answer in time")
    }
}

/// Decodes the value of the log key: a head, and the writes unless they are staged.
pub(super) fn announced(value: &[u8]) -> Result<(State, &[u8]), StoreError> {
    let end = value.iter().position(|byte| *byte == b'\n');
    let (state, payload) = value.split_at(end.unwrap_or(value.len()));
    Ok((State::decode(state, 0)?, payload.get(1..).unwrap_or_default()))
}

impl EtcdFeed {
    pub(super) async fn new(etcd: Arc<Etcd>, from: Head) -> Result<Self, StoreError> {
        let (state, now) = etcd.state().await?;
        let number = state.head.number;
        // an empty store has none in its head, but may have one in its history
        let incarnation = etcd.incarnation();
        if from.number > 0 && from.incarnation != incarnation {
            return Err(StoreError::restored(state.head.number));
        }
        let from = from.number;
        let revision = match etcd.revision_of(from) {
            // no existing commit is wanted
            _ if number <= from => now,
            Some(revision) => revision,
            // start as far back as etcd allows
            None => 0,
        };
        let (watch, received) = (None, VecDeque::new());
        let (preferred, number, node) = (etcd.link.preferred(), from, 0);
        let mut feed =
            Self { etcd, incarnation, number, revision, watch, node, preferred, received };
        feed.connect().await?;
        Ok(feed)
    }

    /// Starts a watch from the last position.
    async fn connect(&mut self) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.etcd.link.give_up_after();
        let nodes = self.etcd.link.len();
        // later changes of it move the feed, also if its watch is at another node
        let first = *self.preferred.borrow_and_update();
        let mut tried = 0;
        loop {
            let node = (first + tried) % nodes;
            let limit = if tried < nodes { ALIVE_TIMEOUT } else { PATIENT_TIMEOUT };
            let connected = timeout(limit, self.connect_to(node)).await;
            let error = match connected.unwrap_or_else(|_| Err(WatchError::timed_out())) {
                Ok(()) => {
                    self.node = node;
                    return Ok(());
                }
                Err(WatchError::Compacted(kept)) if self.revision == 0 => {
                    // without a known position, start at the oldest kept revision
                    self.revision = kept.max(2) - 1;
                    continue;
                }
                Err(WatchError::Compacted(_)) => {
                    let next = self.number + 1;
                    return Err(StoreError::Other(format!("commit {next} is no longer in etcd")));
                }
                Err(WatchError::Failed(error)) => error,
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            tried += 1;
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect_to(&mut self, node: usize) -> Result<(), WatchError> {
        let client = self.etcd.link.client(node).await.map_err(WatchError::Failed)?;
        let mut watching = client.watch_client().max_decoding_message_size(usize::MAX);
        let options = WatchOptions::new()
            .with_start_revision(self.revision + 1)
            .with_range([self.etcd.layout.log().as_slice(), b"\0"].concat())
            .with_progress_notify()
            .with_fragment();
        let from = self.etcd.layout.history();
        let watch = watching.watch(from, Some(options)).await;
        let mut watch = watch.map_err(|error| WatchError::Failed(failed(&error)))?;
        // the first message confirms the watch
        let result = self.receive(&mut watch).await;
        if let Err(WatchError::Failed(_)) = result {
            // a node that has forgotten the login ends the watch, so the next attempt logs in again
            let _ = client.refresh_token().await;
        }
        result?;
        self.watch = Some(watch);
        Ok(())
    }

    /// Handles the next message of the watch.
    async fn receive(&mut self, watch: &mut WatchStream) -> Result<(), WatchError> {
        let answer = match watch.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Err(WatchError::unreachable("a watch has ended"));
            }
            Err(error) => return Err(WatchError::Failed(failed(&error))),
        };
        if answer.compact_revision() > 0 {
            return Err(WatchError::Compacted(answer.compact_revision()));
        }
        if answer.canceled() {
            let why = format!("etcd cancelled a watch: {}", answer.cancel_reason());
            return Err(WatchError::unreachable(&why));
        }
        let latest_awaited = self.etcd.layout.latest_awaited();
        for event in answer.events() {
            let Some(value) = event.kv() else { continue };
            if value.key() == latest_awaited {
                self.etcd.saw_awaited(value.value());
                continue;
            }
            if event.event_type() == EventType::Delete {
                let gone = "the commit log or the history in etcd was deleted";
                return Err(WatchError::Failed(StoreError::Corrupt(gone.to_owned())));
            }
            // the first commit and the incarnation have one revision; a repeated commit is known by its number
            if value.mod_revision() >= self.revision {
                self.revision = value.mod_revision();
                self.received.push_back(value.clone());
            }
        }
        Ok(())
    }

    /// Waits for the next message of the watch. After a silence, requests a progress notification. Returns with an
    /// error when requests prefer another node.
    async fn listen(&mut self) -> Result<(), WatchError> {
        let Some(mut watch) = self.watch.take() else {
            return Err(WatchError::unreachable("a watch has ended"));
        };
        let (mut preferred, node) = (self.preferred.clone(), self.node);
        let link = Arc::clone(&self.etcd.link);
        let listening = async {
            if let Ok(result) = timeout(SILENCE, self.receive(&mut watch)).await {
                return result;
            }
            let check = async {
                let asked = watch.request_progress().await;
                asked.map_err(|error| WatchError::Failed(failed(&error)))?;
                self.receive(&mut watch).await
            };
            timeout(ALIVE_TIMEOUT, check).await.unwrap_or_else(|_| {
                link.avoid(node);
                Err(WatchError::timed_out())
            })
        };
        let moving = async {
            // the sender, a part of the link, outlives this
            while preferred.changed().await.is_ok() {
                if *preferred.borrow_and_update() != node {
                    break;
                }
            }
        };
        tokio::select! {
            heard = listening => heard?,
            () = moving => return Err(WatchError::unreachable("requests prefer another node")),
        }
        self.watch = Some(watch);
        Ok(())
    }

    /// Checks that the store is still in the history that this feed follows. The first commit draws it.
    fn check(&mut self, head: Head) -> Result<(), StoreError> {
        if self.number == 0 && self.received.is_empty() {
            self.incarnation = self.etcd.incarnation();
            return Ok(());
        }
        if head.incarnation == self.incarnation {
            Ok(())
        } else {
            Err(StoreError::restored(head.number))
        }
    }

    /// The commit in a value of the log key. None for an earlier one, and for the incarnation of the store.
    async fn read(&mut self, value: &KeyValue) -> Result<Option<CommitEntry>, StoreError> {
        if value.key() == self.etcd.layout.history() {
            let incarnation = History::decode(Some(value))?.incarnation;
            // those before are part of the history that is followed
            if incarnation.generation > self.incarnation.generation {
                if self.number > 0 {
                    let (state, _) = self.etcd.state().await?;
                    return Err(StoreError::restored(state.head.number));
                }
                self.incarnation = incarnation;
            }
            return Ok(None);
        }
        if self.number == 0 && self.incarnation == Incarnation::default() {
            self.etcd.state().await?;
            self.incarnation = self.etcd.incarnation();
        }
        let (mut state, payload) = announced(value.value())?;
        state.head.incarnation = self.incarnation;
        self.etcd.saw_commit(&state, value.mod_revision());
        if state.head.number <= self.number {
            return Ok(None);
        }
        let entries = match state.parts {
            0 => payload::entries(payload)?,
            _ => self.etcd.staged(&state, value.mod_revision()).await?,
        };
        payload::commit_entry(state.head, &entries).map(Some)
    }
}

impl Feed for EtcdFeed {
    async fn next(&mut self) -> Result<CommitEntry, StoreError> {
        loop {
            // removed from the queue only once it is read completely, since the caller may drop this
            // future
            while let Some(value) = self.received.front().cloned() {
                let read = self.read(&value).await?;
                self.received.pop_front();
                let Some(next) = read else { continue };
                if next.head.number != self.number + 1 {
                    let expected = self.number + 1;
                    return Err(StoreError::Other(format!(
                        "commit {expected} is no longer in etcd"
                    )));
                }
                self.number = next.head.number;
                return Ok(next);
            }
            let error = match self.listen().await {
                Ok(()) => continue,
                Err(error) => error,
            };
            if let WatchError::Compacted(_) = error {
                let next = self.number + 1;
                return Err(StoreError::Other(format!("commit {next} is no longer in etcd")));
            }
            // the watch of a restored store would wait for revisions that are yet to come
            let (state, _) = self.etcd.state().await?;
            self.check(state.head)?;
            self.connect().await?;
        }
    }
}
