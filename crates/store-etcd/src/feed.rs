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

/// The silence of a watch after which its node has to show that it is alive.
const SILENCE: Duration = Duration::from_secs(5);
/// The time limit for that.
const SIGN: Duration = Duration::from_secs(3);

/// The feed of an [`EtcdStore`](super::EtcdStore). After a failure it continues at another node from the
/// same position, as long as etcd has not compacted the commits since.
pub struct EtcdFeed {
    etcd: Arc<Etcd>,
    /// The number of the last commit that was delivered.
    number: u64,
    /// The last etcd revision that was seen.
    revision: i64,
    watch: Option<WatchStream>,
    came: VecDeque<KeyValue>,
}

/// Why a watch ended.
enum Broken {
    /// The watch failed; another node may be able to continue.
    Cut(StoreError),
    /// etcd has compacted the commits since; the oldest kept revision.
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
            // nothing that is already there is wanted
            _ if number <= from => state.revision,
            Some(revision) => revision,
            // from as far back as there is
            None => 0,
        };
        let (watch, came) = (None, VecDeque::new());
        let mut feed = Self { etcd, number: from, revision, watch, came };
        feed.connect().await?;
        Ok(feed)
    }

    /// Starts a watch from the last position.
    async fn connect(&mut self) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.etcd.link.give_up_after();
        let mut place = self.etcd.link.preferred();
        loop {
            let error = match self.connect_to(place).await {
                Ok(()) => return Ok(()),
                Err(Broken::Compacted(kept)) if self.revision == 0 => {
                    // without a known position, start at the oldest kept revision
                    self.revision = kept.max(2) - 1;
                    continue;
                }
                Err(Broken::Compacted(_)) => {
                    let next = self.number + 1;
                    return Err(StoreError::Other(format!("commit {next} is no longer kept")));
                }
                Err(Broken::Cut(error)) => error,
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            place += 1;
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect_to(&mut self, place: usize) -> Result<(), Broken> {
        let client = self.etcd.link.client(place).await.map_err(Broken::Cut)?;
        let mut watching = client.watch_client().max_decoding_message_size(usize::MAX);
        let options = WatchOptions::new()
            .with_start_revision(self.revision + 1)
            .with_progress_notify()
            .with_fragment();
        let late =
            |_| Broken::Cut(StoreError::Unreachable("etcd does not answer a watch".to_owned()));
        let watch = timeout(SIGN, watching.watch(self.etcd.layout.log(), Some(options))).await;
        let mut watch = watch.map_err(late)?.map_err(|error| Broken::Cut(failed(&error)))?;
        // the first answer says whether the watch exists
        let heard = timeout(SIGN, self.hear(&mut watch)).await.map_err(late)?;
        if let Err(Broken::Cut(_)) = heard {
            // a node that has forgotten the login ends the watch: the next attempt logs in again
            let _ = timeout(SIGN, client.refresh_token()).await;
        }
        heard?;
        self.watch = Some(watch);
        Ok(())
    }

    /// Handles the next message of the watch.
    async fn hear(&mut self, watch: &mut WatchStream) -> Result<(), Broken> {
        let answer = match watch.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Err(Broken::Cut(StoreError::Unreachable("a watch has ended".to_owned())));
            }
            Err(error) => return Err(Broken::Cut(failed(&error))),
        };
        if answer.compact_revision() > 0 {
            return Err(Broken::Compacted(answer.compact_revision()));
        }
        if answer.canceled() {
            let why = format!("a watch was ended: {}", answer.cancel_reason());
            return Err(Broken::Cut(StoreError::Unreachable(why)));
        }
        for event in answer.events() {
            let Some(value) = event.kv() else { continue };
            if event.event_type() == EventType::Delete {
                let gone = "the log in etcd was deleted";
                return Err(Broken::Cut(StoreError::Corrupt(gone.to_owned())));
            }
            if value.mod_revision() > self.revision {
                self.revision = value.mod_revision();
                self.came.push_back(value.clone());
            }
        }
        Ok(())
    }

    /// Waits for the next message of the watch, and asks for a progress notification after a silence.
    async fn listen(&mut self) -> Result<(), Broken> {
        let Some(mut watch) = self.watch.take() else {
            return Err(Broken::Cut(StoreError::Unreachable("a watch has ended".to_owned())));
        };
        if let Ok(heard) = timeout(SILENCE, self.hear(&mut watch)).await {
            heard?;
        } else {
            let late = |_| {
                Broken::Cut(StoreError::Unreachable("a watch gives no sign of life".to_owned()))
            };
            let asked = timeout(SIGN, watch.request_progress()).await.map_err(late)?;
            asked.map_err(|error| Broken::Cut(failed(&error)))?;
            timeout(SIGN, self.hear(&mut watch)).await.map_err(late)??;
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
            // removed from the queue only after it was read whole, since this future may be dropped
            while let Some(value) = self.came.front().cloned() {
                let read = self.read(&value).await?;
                self.came.pop_front();
                let Some(next) = read else { continue };
                if next.head.number != self.number + 1 {
                    let due = self.number + 1;
                    return Err(StoreError::Other(format!("commit {due} is no longer kept")));
                }
                self.number = next.head.number;
                return Ok(next);
            }
            let broken = match self.listen().await {
                Ok(()) => continue,
                Err(broken) => broken,
            };
            if let Broken::Compacted(_) = broken {
                let next = self.number + 1;
                return Err(StoreError::Other(format!("commit {next} is no longer kept")));
            }
            self.connect().await?;
        }
    }
}
