//! The incarnation of the store: an id of its history. The first process that notices a restore draws the next
//! one.
//!
//! etcd does not say that it was restored from a snapshot. A process notices it in one of these ways:
//!
//! - The store is behind a revision or a commit that the process has seen.
//! - A number has another commit.
//! - The cluster has another id than the one beside the incarnation.
//!
//! The next incarnation is written on condition that no other process has drawn one.
//!
//! The incarnation has a key of its own, since earlier versions refuse a head with a field that they do not
//! know. A store of an earlier version has none until a restore is noticed.

use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, KeyValue, Txn, TxnOp};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, State};
use super::link::At;
use super::random::random;
use super::{Etcd, StoreError};
use sip_authz_store::{Head, Incarnation};

/// The value of the history key. A field that a later version adds is ignored.
#[derive(Serialize, Deserialize)]
struct StoredHistory {
    generation: u64,
    id: String,
    /// The id of the etcd cluster in which this incarnation began.
    cluster: u64,
    /// Whether all edges that joined before it have refused their calls since, or reported.
    settled: bool,
}

/// The history of commits that the store is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct History {
    pub(super) incarnation: Incarnation,
    /// The cluster in which it began; none if no key says so.
    cluster: Option<u64>,
    settled: bool,
    /// The revision of its key; 0 without one.
    revision: i64,
}

/// The newest state that this process has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    history: History,
    /// When it was first seen.
    since: Instant,
    revision: i64,
    number: u64,
}

impl History {
    pub(super) fn decode(value: Option<&KeyValue>) -> Result<Self, StoreError> {
        let Some(value) = value else {
            let incarnation = Incarnation::default();
            return Ok(Self { incarnation, cluster: None, settled: true, revision: 0 });
        };
        let wrong = |why: &dyn std::fmt::Display| {
            StoreError::Corrupt(format!("the history in etcd: {why}"))
        };
        let stored: StoredHistory =
            serde_json::from_slice(value.value()).map_err(|error| wrong(&error))?;
        let id = u128::from_str_radix(&stored.id, 16).map_err(|error| wrong(&error))?;
        let incarnation = Incarnation { generation: stored.generation, id };
        let (cluster, settled) = (Some(stored.cluster), stored.settled);
        Ok(Self { incarnation, cluster, settled, revision: value.mod_revision() })
    }

    /// The history after this one, with the generation after `generation`, which begins in `cluster`.
    fn after(&self, generation: u64, cluster: u64, settled: bool) -> Result<Self, StoreError> {
        let id = u128::from_be_bytes(random()?);
        let incarnation = Incarnation { generation: generation.saturating_add(1), id };
        Ok(Self { incarnation, cluster: Some(cluster), settled, ..*self })
    }

    /// The write of this history.
    fn put(&self, layout: &Layout) -> Result<TxnOp, StoreError> {
        let Incarnation { generation, id } = self.incarnation;
        let (id, cluster) = (format!("{id:032x}"), self.cluster.unwrap_or_default());
        let stored = StoredHistory { generation, id, cluster, settled: self.settled };
        let value = serde_json::to_vec(&stored);
        let value = value.map_err(|error| StoreError::Other(error.to_string()))?;
        Ok(TxnOp::put(layout.history(), value, None))
    }

    /// The condition that the stored history is still this one.
    fn is_unchanged(&self, layout: &Layout) -> Compare {
        Compare::mod_revision(layout.history(), CompareOp::Equal, self.revision)
    }
}

impl Seen {
    /// Whether the store was restored since, given what a later read found. `has_other` says whether the
    /// store has another commit under the number of its head than this process has seen.
    fn is_restored(&self, history: &History, head: &Head, at: At, has_other: bool) -> bool {
        let (before, now) = (self.history.incarnation, history.incarnation);
        if now.generation > before.generation {
            // another process has noticed it
            return false;
        }
        now != before || at.revision < self.revision || head.number < self.number || has_other
    }
}

impl Etcd {
    /// Notes a commit that the feed has delivered, as a read would.
    pub(super) fn saw_commit(&self, state: &State, revision: i64) {
        let mut cache = self.cache();
        if let Some(seen) = &mut cache.seen
            && seen.history.incarnation == state.head.incarnation
        {
            seen.number = seen.number.max(state.head.number);
            seen.revision = seen.revision.max(revision);
            drop(cache);
            self.remember(state, revision);
        }
    }

    /// The newest state that this process has seen. Call it before a read, and [`Self::examine`] after it.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.cache().seen
    }

    /// The incarnation that the last read has found.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.seen().map(|seen| seen.history.incarnation).unwrap_or_default()
    }

    /// Compares a linearizable read with `before`, the newest state at its start. True if the store was not
    /// restored, or if another process has noticed it. Otherwise it draws the next incarnation, and the caller
    /// reads again.
    pub(super) async fn examine(
        &self,
        before: Option<Seen>,
        history: &History,
        state: &State,
        at: At,
    ) -> Result<bool, StoreError> {
        let has_other = self.cache().has_other(state);
        let is_elsewhere = history.cluster.is_some_and(|cluster| cluster != at.cluster);
        let is_restored =
            before.is_some_and(|before| before.is_restored(history, &state.head, at, has_other));
        if is_elsewhere || is_restored {
            let seen = before.map_or(0, |before| before.history.incarnation.generation);
            let generation = seen.max(history.incarnation.generation);
            // first, as the backup may lack the longest lease
            let longest = self.cache().lose_noted_lease();
            self.note_lease(longest).await?;
            // the first incarnation of a store is 1, also that of a store whose earlier version had none
            self.replace(history, &history.after(generation.max(1), at.cluster, false)?).await?;
            // the next read takes it up; until then, an answer from before the restore changes nothing
            return Ok(false);
        }
        let mut cache = self.cache();
        let last = cache.seen;
        let (now, newest) = (history.incarnation, last.map(|seen| seen.history.incarnation));
        if newest.is_some_and(|newest| newest.generation > now.generation) {
            // an answer from before the restore, looked at after it
            return Ok(false);
        }
        // in one step, so that no task finds the process without a state
        let is_other = newest.is_some_and(|newest| newest != now);
        if is_other {
            cache.forget();
        }
        let (number, revision) = (state.head.number, at.revision);
        let since = Instant::now();
        let seen = cache.seen.get_or_insert(Seen { history: *history, since, revision, number });
        seen.history = *history;
        seen.revision = seen.revision.max(revision);
        seen.number = seen.number.max(number);
        drop(cache);
        // the first commit draws the incarnation, and the revisions go on
        if is_other && last.is_some_and(|seen| seen.number > 0) {
            self.namesakes().forget_revisions();
        }
        Ok(true)
    }

    /// The write that draws the incarnation of a store without a history.
    pub(super) fn first_incarnation(&self) -> Result<Option<TxnOp>, StoreError> {
        let Some(cluster) = self.cache().cluster else { return Ok(None) };
        let first = History::decode(None)?.after(0, cluster, true)?;
        first.put(&self.layout).map(Some)
    }

    /// Replaces a history. If another process was faster, the next read shows what it wrote.
    async fn replace(&self, history: &History, next: &History) -> Result<(), StoreError> {
        let txn = Txn::new().when(vec![history.is_unchanged(&self.layout)]);
        self.link.write(txn.and_then(vec![next.put(&self.layout)?])).await?;
        Ok(())
    }

    /// The time in which edges may still decide whose reports a restore has removed.
    pub(super) async fn unlisted_for(&self) -> Result<Duration, StoreError> {
        if self.seen().is_none() {
            self.state().await?;
        }
        let Some(Seen { history, since, .. }) = self.seen() else {
            return Err(StoreError::Other("the history in etcd was not read".to_owned()));
        };
        if history.settled {
            return Ok(Duration::ZERO);
        }
        let longest = self.longest_lease().await?.0.max(self.cache().longest_lease);
        let left = Duration::from_millis(longest).saturating_sub(since.elapsed());
        if left.is_zero() {
            self.replace(&history, &History { settled: true, ..history }).await?;
        }
        Ok(left)
    }

    /// The longest lease that an edge of this store ever had by its key, in milliseconds, and the revision of
    /// the key.
    async fn longest_lease(&self) -> Result<(u64, i64), StoreError> {
        let read = self.link.read(&[self.layout.longest_lease()], None).await?;
        let Some(value) = read.values.first().and_then(Option::as_ref) else { return Ok((0, 0)) };
        let text = str::from_utf8(value.value()).unwrap_or_default();
        let longest = text.parse().map_err(|_| {
            StoreError::Corrupt(format!("the longest lease in etcd: {text:?} is no number"))
        })?;
        self.saw_lease(longest);
        Ok((longest, value.mod_revision()))
    }

    /// Keeps the longest lease that this process has seen, which a backup may lack.
    pub(super) fn saw_lease(&self, milliseconds: u64) {
        let mut cache = self.cache();
        cache.longest_lease = cache.longest_lease.max(milliseconds);
    }

    /// Notes the length of a lease before the first report with it, so that a restored store still knows it.
    pub(super) async fn note_lease(&self, milliseconds: u64) -> Result<(), StoreError> {
        self.saw_lease(milliseconds);
        while self.cache().noted_lease < milliseconds {
            let (longest, revision) = self.longest_lease().await?;
            if longest < milliseconds {
                let key = self.layout.longest_lease();
                let is_same = Compare::mod_revision(key.clone(), CompareOp::Equal, revision);
                let put = TxnOp::put(key, milliseconds.to_string(), None);
                let written = self.link.write(Txn::new().when(vec![is_same]).and_then(vec![put]));
                if !written.await?.succeeded() {
                    continue;
                }
            }
            self.cache().noted_lease = milliseconds;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_went_back_is_restored_unless_another_process_has_noticed() {
        let history = |generation, id| History {
            incarnation: Incarnation { generation, id },
            cluster: Some(1),
            settled: true,
            revision: 5,
        };
        let seen = Seen { history: history(2, 7), since: Instant::now(), revision: 50, number: 20 };
        let restored = |history: History, revision, number, has_other| {
            let head = Head { number, ..Head::default() };
            seen.is_restored(&history, &head, At { cluster: 1, revision }, has_other)
        };
        assert!(!restored(history(2, 7), 50, 20, false));
        assert!(!restored(history(2, 7), 60, 30, false));
        // a revision or a number that went back, another commit under a number
        assert!(restored(history(2, 7), 49, 20, false));
        assert!(restored(history(2, 7), 60, 19, false));
        assert!(restored(history(2, 7), 60, 20, true));
        // an earlier incarnation, or another of the same generation
        assert!(restored(history(1, 3), 60, 30, false));
        assert!(restored(history(2, 8), 60, 30, false));
        // a newer one was drawn by a process that has noticed
        assert!(!restored(history(3, 9), 10, 5, false));
    }
}
