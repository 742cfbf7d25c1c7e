//! The reports of edges: one key for each process, which each of its reports overwrites.
//!
//! Two edges may have one name by mistake, for example on machines made from one image. Each process has a
//! key of its own, so that the report of one never counts for the other. A killed process leaves its
//! report behind; the next process with the same name removes it.
//!
//! The leases of etcd are not used. A former leader that does not yet know of its successor may renew or
//! end them (3.4.23), which is not safe for fencing. A report is a write, which a majority of the nodes
//! has accepted.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use serde::{Deserialize, Serialize};

use super::layout::State;
use super::{Etcd, StoreError};
use sip_authz_store::Edge;

/// The silence, since the first report of this process, after which another process of the same name
/// without a lease counts as gone. Edges without a lease report every ten seconds.
const SILENT: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    applied: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_ms: Option<u64>,
}

impl Written {
    fn read(value: &KeyValue) -> Result<Self, StoreError> {
        let wrong = |error: &dyn std::fmt::Display| {
            StoreError::Corrupt(format!("the report of an edge cannot be read: {error}"))
        };
        let written: Self = serde_json::from_slice(value.value()).map_err(|error| wrong(&error))?;
        if written.v != 1 {
            return Err(wrong(&format_args!("unknown version {}", written.v)));
        }
        Ok(written)
    }

    fn lease(&self) -> Option<Duration> {
        self.lease_ms.map(Duration::from_millis)
    }
}

/// The report of another process of the same name.
struct Other {
    key: Vec<u8>,
    revision: i64,
    lease: Option<Duration>,
}

/// The other processes that report under the same name.
#[derive(Default)]
pub(super) struct Namesakes {
    /// The key that this process reports under.
    own: Option<Vec<u8>>,
    /// The revision of this process's first report.
    first: Option<i64>,
    /// For each other process the revision of its last report, and when that was first seen.
    seen: HashMap<Vec<u8>, (i64, Instant)>,
    /// Whether another process has reported while this one was running.
    beside: bool,
}

impl Namesakes {
    /// Notes the last reports of others as of `revision`, at which this process reported, and returns the
    /// reports of processes that are gone.
    fn gone(&mut self, revision: i64, others: Vec<Other>, now: Instant) -> Vec<Other> {
        let first = *self.first.get_or_insert(revision);
        self.seen.retain(|key, _| others.iter().any(|other| other.key == *key));
        let mut gone = Vec::new();
        for other in others {
            // a process that has not reported since this one started may be its predecessor
            let beside = other.revision > first;
            let since = match self.seen.get(&other.key) {
                Some((revision, since)) if *revision == other.revision => *since,
                _ => {
                    self.seen.insert(other.key.clone(), (other.revision, now));
                    self.beside |= beside;
                    now
                }
            };
            let silent = now.saturating_duration_since(since);
            let is_gone = match other.lease {
                // it refuses all calls by now, and reports again before it decides
                Some(lease) => silent >= lease,
                None => !beside && silent >= SILENT,
            };
            if is_gone {
                gone.push(other);
            }
        }
        gone
    }
}

impl Etcd {
    fn namesakes(&self) -> std::sync::MutexGuard<'_, Namesakes> {
        // no code panics while it holds the lock
        self.namesakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another process has reported under the same name since the last call.
    pub(super) fn take_name_conflict(&self) -> bool {
        std::mem::take(&mut self.namesakes().beside)
    }

    pub(super) async fn withdraw_report(&self) -> Result<(), StoreError> {
        let own = self.namesakes().own.take();
        if let Some(own) = own {
            let delete = TxnOp::delete(own, None);
            self.link.write(Txn::new().and_then(vec![delete])).await?;
        }
        Ok(())
    }

    pub(super) async fn report(&self, edge: Edge) -> Result<u64, StoreError> {
        // rounded up, so that nobody waits too short
        let whole = |lease: Duration| u64::try_from(lease.as_micros().div_ceil(1_000));
        let lease_ms = edge.lease.map(|lease| whole(lease).unwrap_or(u64::MAX));
        let written = Written { v: 1, applied: edge.applied, lease_ms };
        let value =
            serde_json::to_vec(&written).map_err(|error| StoreError::Other(error.to_string()))?;
        let own = self.layout.edge(&edge.name, &self.process);
        self.namesakes().own = Some(own.clone());
        let put = TxnOp::put(own.clone(), value, None);
        let head = TxnOp::get(self.layout.head(), None);
        let called = self.layout.edges_called(&edge.name);
        let same = TxnOp::get(called.clone(), Some(GetOptions::new().with_prefix()));
        // one transaction: the head is the one that the report was written at
        let answer = self.link.write(Txn::new().and_then(vec![put, head, same])).await?;
        let unasked = || StoreError::Other("etcd did not answer what it was asked".to_owned());
        let revision = answer.header().map_or(0, |header| header.revision());
        let answers = answer.op_responses();
        let [_, TxnOpResponse::Get(head), TxnOpResponse::Get(same)] = answers.as_slice() else {
            return Err(unasked());
        };
        let number = match head.kvs().first() {
            Some(value) => State::decode(value.value(), value.mod_revision())?.head.number,
            None => 0,
        };
        let mut others = Vec::new();
        for value in same.kvs() {
            let id = value.key().strip_prefix(called.as_slice()).unwrap_or_default();
            // another name that contains a slash may begin with this name
            if value.key() != own.as_slice() && !id.contains(&b'/') {
                let (key, revision) = (value.key().to_vec(), value.mod_revision());
                others.push(Other { key, revision, lease: Written::read(value)?.lease() });
            }
        }
        let gone = self.namesakes().gone(revision, others, Instant::now());
        for other in gone {
            let still = Compare::mod_revision(other.key.clone(), CompareOp::Equal, other.revision);
            let delete = TxnOp::delete(other.key, None);
            // if this fails, the next report tries again
            let _ = self.link.write(Txn::new().when(vec![still]).and_then(vec![delete])).await;
        }
        Ok(number)
    }

    pub(super) async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        let prefix = self.layout.all_edges();
        let found = self.link.get(prefix.clone(), GetOptions::new().with_prefix()).await?;
        let edge = |value: &KeyValue| {
            let written = Written::read(value)?;
            let rest = value.key().strip_prefix(prefix.as_slice()).unwrap_or_default();
            let rest = String::from_utf8_lossy(rest);
            let name = rest.rsplit_once('/').map_or(&*rest, |(name, _)| name).to_owned();
            Ok(Edge { name, applied: written.applied, lease: written.lease() })
        };
        found.kvs().iter().map(edge).collect()
    }

    pub(super) async fn forget(&self, name: &str) -> Result<(), StoreError> {
        let called = self.layout.edges_called(name);
        let options = GetOptions::new().with_prefix().with_keys_only();
        let found = self.link.get(called.clone(), options).await?;
        for value in found.kvs() {
            let id = value.key().strip_prefix(called.as_slice()).unwrap_or_default();
            if !id.contains(&b'/') {
                let delete = TxnOp::delete(value.key(), None);
                self.link.write(Txn::new().and_then(vec![delete])).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(20);

    struct Told {
        namesakes: Namesakes,
        start: Instant,
    }

    impl Told {
        fn new() -> Self {
            Self { namesakes: Namesakes::default(), start: Instant::now() }
        }

        /// Which others are gone at a report of this time and revision, and whether one is beside.
        fn at(&mut self, seconds: u64, revision: i64, others: &[(i64, bool)]) -> (usize, bool) {
            let other = |(n, (revision, leased)): (usize, &(i64, bool))| Other {
                key: vec![u8::try_from(n).unwrap()],
                revision: *revision,
                lease: leased.then_some(LEASE),
            };
            let others = others.iter().enumerate().map(other).collect();
            let now = self.start + Duration::from_secs(seconds);
            let gone = self.namesakes.gone(revision, others, now).len();
            (gone, std::mem::take(&mut self.namesakes.beside))
        }
    }

    #[test]
    fn what_a_process_follows_on_goes_when_it_cannot_decide_or_is_silent() {
        let mut told = Told::new();
        assert_eq!(told.at(0, 10, &[(4, true), (5, false)]), (0, false));
        assert_eq!(told.at(19, 20, &[(4, true), (5, false)]), (0, false));
        assert_eq!(told.at(20, 30, &[(4, true), (5, false)]), (1, false));
        assert_eq!(told.at(59, 40, &[(4, true), (5, false)]), (1, false));
        assert_eq!(told.at(60, 50, &[(4, true), (5, false)]), (2, false));
    }

    #[test]
    fn one_that_reports_beside_is_told_of_and_goes_only_with_its_lease() {
        for leased in [true, false] {
            let mut told = Told::new();
            // it was there before, and goes on; or it came later
            for first in [&[(4, leased)][..], &[]] {
                told.at(0, 10, first);
                assert_eq!(told.at(10, 20, &[(15, leased)]), (0, true));
                assert_eq!(told.at(20, 30, &[(25, leased)]), (0, true));
                assert_eq!(told.at(39, 40, &[(25, leased)]), (0, false));
                assert_eq!(told.at(100, 50, &[(25, leased)]), (usize::from(leased), false));
                assert_eq!(told.at(3_600, 60, &[(25, leased)]), (usize::from(leased), false));
                told = Told::new();
            }
        }
    }
}
