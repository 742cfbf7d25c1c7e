//! The reports of edges. Each process has one key, which it overwrites with each report.
//!
//! Two edges may share a name by mistake, for example on machines made from one image. Each process has
//! its own key, so the report of one never counts for the other. A killed process leaves its report
//! behind; the next process with the same name removes it.
//!
//! This does not use the leases of etcd. A former leader that does not yet know its successor may renew
//! or revoke them (3.4.23), which is not safe for fencing. A report is a write, so a majority of the
//! nodes has accepted it.
//!
//! The applied head and the URL of an edge's API have keys of their own beside the report: earlier versions
//! refuse a report with a field that they do not know. The report alone says whether a process counts.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use serde::{Deserialize, Serialize};

use super::layout::EdgeKey;
use super::link::At;
use super::{Etcd, StoreError};
use sip_authz_store::{Edge, Head, Incarnation, Sum};

/// Another process with the same name and without a lease counts as gone after this silence, if it has
/// not reported since this process started. Edges without a lease report every ten seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// The longest base URL in bytes. A longer one is not used.
const MAX_API: usize = 512;

/// A report. A field that a later version adds is ignored; one that must not be ignored raises `v`.
#[derive(Serialize, Deserialize)]
struct StoredReport {
    v: u32,
    applied: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_ms: Option<u64>,
}

/// The head that an edge has applied. Two histories can have the same number, but not the same head.
#[derive(Serialize, Deserialize)]
struct StoredHead {
    number: u64,
    generation: u64,
    id: String,
    records: u64,
    sum: String,
}

impl StoredHead {
    fn of(head: &Head) -> Self {
        let Incarnation { generation, id } = head.incarnation;
        let sum = hex::encode(head.sum.as_bytes());
        let Head { number, records, .. } = *head;
        Self { number, generation, id: format!("{id:032x}"), records, sum }
    }

    /// The head. None if it is unreadable: then the report counts for no commit.
    fn read(value: &KeyValue) -> Option<Head> {
        let Self { number, generation, id, records, sum: text } =
            serde_json::from_slice(value.value()).ok()?;
        let mut sum = [0; 32];
        hex::decode_to_slice(text, &mut sum).ok()?;
        let incarnation = Incarnation { generation, id: u128::from_str_radix(&id, 16).ok()? };
        Some(Head { incarnation, number, records, sum: Sum::from_bytes(sum) })
    }
}

impl StoredReport {
    fn read(value: &KeyValue) -> Result<Self, StoreError> {
        let wrong = |error: &dyn std::fmt::Display| {
            StoreError::Corrupt(format!("invalid report of an edge: {error}"))
        };
        let written: Self = serde_json::from_slice(value.value()).map_err(|error| wrong(&error))?;
        if written.v != 1 {
            return Err(wrong(&format_args!("unsupported version {}", written.v)));
        }
        Ok(written)
    }

    fn lease(&self) -> Option<Duration> {
        self.lease_ms.map(Duration::from_millis)
    }
}

/// The base URL of an edge's API.
#[derive(Serialize, Deserialize)]
struct StoredApi {
    v: u32,
    url: String,
}

impl StoredApi {
    /// The URL. None if it is unreadable: no decision depends on it, so the edge then just has none.
    fn read(value: &KeyValue) -> Option<String> {
        let stored: Self = serde_json::from_slice(value.value()).ok()?;
        (stored.v == 1 && stored.url.len() <= MAX_API).then_some(stored.url)
    }
}

/// The report of another process with the same name.
struct Other {
    keys: Keys,
    revision: i64,
    lease: Option<Duration>,
}

/// The keys that a process writes, in the order of [`EdgeKey::ALL`].
type Keys = [Vec<u8>; 3];

impl Other {
    fn report(&self) -> &Vec<u8> {
        let [report, _, _] = &self.keys;
        report
    }
}

/// The other processes that report under the same name.
#[derive(Default)]
pub(super) struct Namesakes {
    /// The keys of this process.
    own: Option<Keys>,
    /// The revision of the first report of this process.
    first: Option<i64>,
    /// For each other process, the revision of its last report and the time when this process first
    /// read it.
    last_reports: HashMap<Vec<u8>, (i64, Instant)>,
    /// Whether another process has reported since this one started.
    has_conflict: bool,
}

impl Namesakes {
    /// Forgets what rests on revisions: a restored store has other ones.
    pub(super) fn forget_revisions(&mut self) {
        self.first = None;
        self.last_reports.clear();
    }

    /// Updates the last reports of others, as of `revision`, the revision of this process's report.
    /// Returns the reports of processes that are gone.
    fn gone(&mut self, revision: i64, others: Vec<Other>, now: Instant) -> Vec<Other> {
        let first = *self.first.get_or_insert(revision);
        self.last_reports.retain(|key, _| others.iter().any(|other| other.report() == key));
        let mut gone = Vec::new();
        for other in others {
            // a process that has not reported since this one started may be its predecessor
            let is_concurrent = other.revision > first;
            let since = match self.last_reports.get(other.report()) {
                Some((revision, since)) if *revision == other.revision => *since,
                _ => {
                    self.last_reports.insert(other.report().clone(), (other.revision, now));
                    self.has_conflict |= is_concurrent;
                    now
                }
            };
            let silent = now.saturating_duration_since(since);
            let is_gone = match other.lease {
                // it has refused all calls since its lease ended, and reports again before it decides
                Some(lease) => silent >= lease,
                None => !is_concurrent && silent >= SILENCE_LIMIT,
            };
            if is_gone {
                gone.push(other);
            }
        }
        gone
    }
}

impl Etcd {
    pub(super) fn namesakes(&self) -> std::sync::MutexGuard<'_, Namesakes> {
        // no code panics while it holds the lock
        self.namesakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another process has reported under the same name since the last call.
    pub(super) fn take_name_conflict(&self) -> bool {
        std::mem::take(&mut self.namesakes().has_conflict)
    }

    pub(super) async fn withdraw_report(&self) -> Result<(), StoreError> {
        let own = self.namesakes().own.take();
        if let Some(own) = own {
            let deletes = own.map(|key| TxnOp::delete(key, None));
            self.link.write(Txn::new().and_then(deletes)).await?;
        }
        Ok(())
    }

    pub(super) async fn report(&self, edge: Edge) -> Result<Head, StoreError> {
        // rounded up, so that no change waits too short a time
        let milliseconds = |lease: Duration| u64::try_from(lease.as_micros().div_ceil(1_000));
        let lease_ms = edge.lease.map(|lease| milliseconds(lease).unwrap_or(u64::MAX));
        let json = |value: serde_json::Result<Vec<u8>>| {
            value.map_err(|error| StoreError::Other(error.to_string()))
        };
        if let Some(milliseconds) = lease_ms {
            self.note_lease(milliseconds).await?;
        }
        let written = StoredReport { v: 1, applied: edge.applied.number, lease_ms };
        let value = json(serde_json::to_vec(&written))?;
        let own = EdgeKey::ALL.map(|key| self.layout.of_edge(key, &edge.name, &self.process));
        self.namesakes().own = Some(own.clone());
        let [own_report, own_applied, own_api] = own.clone();
        let put = TxnOp::put(own_report.clone(), value, None);
        let applied = json(serde_json::to_vec(&StoredHead::of(&edge.applied)))?;
        let applied = TxnOp::put(own_applied, applied, None);
        let api = match edge.api.filter(|url| url.len() <= MAX_API) {
            Some(url) => {
                let value = json(serde_json::to_vec(&StoredApi { v: 1, url }))?;
                TxnOp::put(own_api, value, None)
            }
            None => TxnOp::delete(own_api, None),
        };
        let head = TxnOp::get(self.layout.head(), None);
        let history = TxnOp::get(self.layout.history(), None);
        let called = EdgeKey::ALL.map(|key| self.layout.edges_called(key, &edge.name));
        let [called_report, called_applied, called_api] = called.clone();
        let same = TxnOp::get(called_report.clone(), Some(GetOptions::new().with_prefix()));
        let keys = GetOptions::new().with_prefix().with_keys_only();
        let heads = TxnOp::get(called_applied.clone(), Some(keys.clone()));
        let apis = TxnOp::get(called_api.clone(), Some(keys));
        // one transaction, so that the head is as of the same revision as the report
        let all = vec![put, applied, api, head, history, same, heads, apis];
        let before = self.seen();
        let answer = self.link.write(Txn::new().and_then(all)).await?;
        let unexpected = || StoreError::Other("unexpected response from etcd".to_owned());
        let at = At::of(answer.header());
        let revision = at.revision;
        let answers = answer.op_responses();
        let [
            _,
            _,
            _,
            TxnOpResponse::Get(head),
            TxnOpResponse::Get(history),
            TxnOpResponse::Get(same),
            TxnOpResponse::Get(heads),
            TxnOpResponse::Get(apis),
        ] = answers.as_slice()
        else {
            return Err(unexpected());
        };
        let (head, history) = (head.kvs().first(), history.kvs().first());
        let Some(state) = self.state_of(before, head, history, at).await? else {
            // restored: a later head includes every commit before the report, too
            return Ok(self.state().await?.0.head);
        };
        // skips names that start with this name and a slash
        let id_of = |key: &[u8], prefix: &[u8]| {
            let id = key.strip_prefix(prefix).filter(|id| !id.contains(&b'/'));
            id.map(<[u8]>::to_vec)
        };
        let mut others = Vec::new();
        for value in same.kvs() {
            let id = id_of(value.key(), &called_report).filter(|_| value.key() != own_report);
            if let Some(id) = id {
                let keys = called.each_ref().map(|called| [called.as_slice(), &id].concat());
                let lease = StoredReport::read(value)?.lease();
                others.push(Other { keys, revision: value.mod_revision(), lease });
            }
        }
        // an earlier version removes a report without the keys beside it
        let mut left_behind = Vec::new();
        for (found, called) in [(heads, called_applied), (apis, called_api)] {
            for key in found.kvs().iter().map(KeyValue::key) {
                let mut kept = others.iter().map(|other| &other.keys).chain([&own]).flatten();
                if id_of(key, &called).is_some() && !kept.any(|kept| kept == key) {
                    left_behind.push(key.to_vec());
                }
            }
        }
        let gone = self.namesakes().gone(revision, others, Instant::now());
        // if one of these fails, the next report tries again
        for other in gone {
            let (report, revision) = (other.report().clone(), other.revision);
            let still = Compare::mod_revision(report, CompareOp::Equal, revision);
            let deletes = other.keys.map(|key| TxnOp::delete(key, None));
            let _ = self.link.write(Txn::new().when(vec![still]).and_then(deletes)).await;
        }
        for key in left_behind {
            let _ = self.link.write(Txn::new().and_then([TxnOp::delete(key, None)])).await;
        }
        Ok(state.head)
    }

    pub(super) async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        let reports = self.layout.all_edges(EdgeKey::Report);
        let found = self.link.get(reports.clone(), GetOptions::new().with_prefix()).await?;
        let heads = self.by_process(EdgeKey::Applied, StoredHead::read).await?;
        let urls = self.by_process(EdgeKey::Api, StoredApi::read).await?;
        let edge = |value: &KeyValue| {
            let written = StoredReport::read(value)?;
            let rest = value.key().strip_prefix(reports.as_slice()).unwrap_or_default();
            let api = urls.get(rest).cloned();
            // A head that is read later can be newer than the report. Earlier versions report a number alone.
            let unknown = Head { number: written.applied, ..Head::default() };
            let applied = heads.get(rest).copied().unwrap_or(unknown);
            let rest = String::from_utf8_lossy(rest);
            let name = rest.rsplit_once('/').map_or(&*rest, |(name, _)| name).to_owned();
            self.saw_lease(written.lease_ms.unwrap_or_default());
            Ok(Edge { name, applied, lease: written.lease(), api })
        };
        found.kvs().iter().map(edge).collect()
    }

    /// The readable values of this key of all processes, by the rest of their keys.
    async fn by_process<T>(
        &self,
        key: EdgeKey,
        read: impl Fn(&KeyValue) -> Option<T>,
    ) -> Result<HashMap<Vec<u8>, T>, StoreError> {
        let prefix = self.layout.all_edges(key);
        let found = self.link.get(prefix.clone(), GetOptions::new().with_prefix()).await?;
        let of = |value| {
            let rest = KeyValue::key(value).strip_prefix(prefix.as_slice())?;
            Some((rest.to_vec(), read(value)?))
        };
        Ok(found.kvs().iter().filter_map(of).collect())
    }

    pub(super) async fn forget(&self, name: &str) -> Result<(), StoreError> {
        for called in EdgeKey::ALL.map(|key| self.layout.edges_called(key, name)) {
            let options = GetOptions::new().with_prefix().with_keys_only();
            let found = self.link.get(called.clone(), options).await?;
            for value in found.kvs() {
                let id = value.key().strip_prefix(called.as_slice()).unwrap_or_default();
                if !id.contains(&b'/') {
                    let delete = TxnOp::delete(value.key(), None);
                    self.link.write(Txn::new().and_then(vec![delete])).await?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(20);

    struct Fixture {
        namesakes: Namesakes,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self { namesakes: Namesakes::default(), start: Instant::now() }
        }

        /// The number of other processes that are gone at a report of this time and revision, and
        /// whether there is a conflict.
        fn report(&mut self, seconds: u64, revision: i64, others: &[(i64, bool)]) -> (usize, bool) {
            let other = |(n, (revision, leased)): (usize, &(i64, bool))| Other {
                keys: [vec![u8::try_from(n).unwrap()], Vec::new(), Vec::new()],
                revision: *revision,
                lease: leased.then_some(LEASE),
            };
            let others = others.iter().enumerate().map(other).collect();
            let now = self.start + Duration::from_secs(seconds);
            let gone = self.namesakes.gone(revision, others, now).len();
            (gone, std::mem::take(&mut self.namesakes.has_conflict))
        }
    }

    #[test]
    fn a_predecessor_is_gone_after_its_lease_or_a_silence() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.report(0, 10, &[(4, true), (5, false)]), (0, false));
        assert_eq!(fixture.report(19, 20, &[(4, true), (5, false)]), (0, false));
        assert_eq!(fixture.report(20, 30, &[(4, true), (5, false)]), (1, false));
        assert_eq!(fixture.report(59, 40, &[(4, true), (5, false)]), (1, false));
        assert_eq!(fixture.report(60, 50, &[(4, true), (5, false)]), (2, false));
    }

    #[test]
    fn a_concurrent_process_is_a_conflict_and_is_gone_only_after_its_lease() {
        for leased in [true, false] {
            let mut fixture = Fixture::new();
            // it started before this process, or later
            for first in [&[(4, leased)][..], &[]] {
                fixture.report(0, 10, first);
                assert_eq!(fixture.report(10, 20, &[(15, leased)]), (0, true));
                assert_eq!(fixture.report(20, 30, &[(25, leased)]), (0, true));
                assert_eq!(fixture.report(39, 40, &[(25, leased)]), (0, false));
                assert_eq!(fixture.report(100, 50, &[(25, leased)]), (usize::from(leased), false));
                assert_eq!(
                    fixture.report(3_600, 60, &[(25, leased)]),
                    (usize::from(leased), false)
                );
                fixture = Fixture::new();
            }
        }
    }
}
