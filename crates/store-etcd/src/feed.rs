//! The feed of commits: an etcd watch on the one key that each commit overwrites.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, KeyValue, WatchOptions, WatchStream};
use tokio::time::{Instant, sleep, timeout};

use super::layout::State;
use super::link::failed;
use super::{Etcd, StoreError, payload};
use sip_authz_store::{CommitEntry, Feed};

/// After a watch has been silent for this long, the feed checks that the node is alive.
const SILENCE: Duration = Duration::from_secs(5);
/// The time limit for the answer to that check.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// The feed of an [`EtcdStore`](super::EtcdStore). After a failure it continues at another node from
/// the same position, unless etcd has compacted the commits after it.
pub struct EtcdFeed {
    etcd: Arc<Etcd>,
    /// The number of the last delivered commit.
    number: u64,
    /// The last etcd revision received.
    revision: i64,
    watch: Option<WatchStream>,
    received: VecDeque<KeyValue>,
}

/// Why a watch ended.
enum WatchError {
    /// The watch failed; another node may be able to continue.
    Failed(StoreError),
    /// etcd has compacted the commits after the position. Contains the oldest revision that it keeps.
    Compacted(i64),
}

/// Decodes the value of the log key: a head, and the writes unless they are staged.
pub(super) fn announced(value: &[u8]) -> Result<(State, &[u8]), StoreError> {
    let end = value.iter().position(|byte| *byte == b'\n');
    let (state, payload) = value.split_at(end.unwrap_or(value.len()));
    Ok((State::decode(state, 0)?, payload.get(1..).unwrap_or_default()))
}

impl EtcdFeed {
    pub(super) async fn new(etcd: Arc<Etcd>, from: u64) -> Result<Self, StoreError> {
        let (state, _) = etcd.state().await?;
        let number = state.head.number;
        let revision = match etcd.revision_of(from) {
            // no existing commit is wanted
            _ if number <= from => state.revision,
            Some(revision) => revision,
            // start as far back as etcd allows
            None => 0,
        };
        let (watch, received) = (None, VecDeque::new());
        let mut feed = Self { etcd, number: from, revision, watch, received };
        feed.connect().await?;
        Ok(feed)
    }

    /// Starts a watch from the last position.
    async fn connect(&mut self) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.etcd.link.give_up_after();
        let mut node = self.etcd.link.preferred();
        loop {
            let error = match self.connect_to(node).await {
                Ok(()) => return Ok(()),
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
            node += 1;
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect_to(&mut self, node: usize) -> Result<(), WatchError> {
        let client = self.etcd.link.client(node).await.map_err(WatchError::Failed)?;
        let mut watching = client.watch_client().max_decoding_message_size(usize::MAX);
        let options = WatchOptions::new()
            .with_start_revision(self.revision + 1)
            .with_progress_notify()
            .with_fragment();
        let timed_out = |_| {
            WatchError::Failed(StoreError::Unreachable("etcd did not answer a watch".to_owned()))
        };
        let watch =
            timeout(ALIVE_TIMEOUT, watching.watch(self.etcd.layout.log(), Some(options))).await;
        let mut watch =
            watch.map_err(timed_out)?.map_err(|error| WatchError::Failed(failed(&error)))?;
        // the first message confirms the watch
        let result = timeout(ALIVE_TIMEOUT, self.receive(&mut watch)).await.map_err(timed_out)?;
        if let Err(WatchError::Failed(_)) = result {
            // a node that has forgotten the login ends the watch, so the next attempt logs in again
            let _ = timeout(ALIVE_TIMEOUT, client.refresh_token()).await;
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
                return Err(WatchError::Failed(StoreError::Unreachable(
                    "a watch has ended".to_owned(),
                )));
            }
            Err(error) => return Err(WatchError::Failed(failed(&error))),
        };
        if answer.compact_revision() > 0 {
            return Err(WatchError::Compacted(answer.compact_revision()));
        }
        if answer.canceled() {
            let why = format!("etcd cancelled a watch: {}", answer.cancel_reason());
            return Err(WatchError::Failed(StoreError::Unreachable(why)));
        }
        for event in answer.events() {
            let Some(value) = event.kv() else { continue };
            if event.event_type() == EventType::Delete {
                let gone = "the commit log in etcd was deleted";
                return Err(WatchError::Failed(StoreError::Corrupt(gone.to_owned())));
            }
            if value.mod_revision() > self.revision {
                self.revision = value.mod_revision();
                self.received.push_back(value.clone());
            }
        }
        Ok(())
    }

    /// Waits for the next message of the watch. After a silence, requests a progress notification.
    async fn listen(&mut self) -> Result<(), WatchError> {
        let Some(mut watch) = self.watch.take() else {
            return Err(WatchError::Failed(StoreError::Unreachable(
                "a watch has ended".to_owned(),
            )));
        };
        if let Ok(result) = timeout(SILENCE, self.receive(&mut watch)).await {
            result?;
        } else {
            let timed_out = |_| {
                WatchError::Failed(StoreError::Unreachable(
                    "a watch did not answer in time".to_owned(),
                ))
            };
            let asked =
                timeout(ALIVE_TIMEOUT, watch.request_progress()).await.map_err(timed_out)?;
            asked.map_err(|error| WatchError::Failed(failed(&error)))?;
            timeout(ALIVE_TIMEOUT, self.receive(&mut watch)).await.map_err(timed_out)??;
        }
        self.watch = Some(watch);
        Ok(())
    }

    async fn read(&self, value: &KeyValue) -> Result<Option<CommitEntry>, StoreError> {
        let (state, payload) = announced(value.value())?;
        self.etcd.remember(state.head.number, value.mod_revision());
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
            self.connect().await?;
        }
    }
}
