//! The reports of edges. Each process has keys of its own.
//!
//! A report that says the same as the last one is a linearizable read: it returns the head, and checks that
//! the keys of the process still stand as it wrote them. So an etcd without space stops changes, and no edge
//! that has reported before. A process writes again if its keys are gone, or if another one has asked for that.
//!
//! This does not use the leases of etcd. A former leader that does not yet know its successor may renew
//! or revoke them (3.4.23), which is not safe for fencing. A read here asks a majority of the nodes.
//!
//! The applied head, the URL of an edge's API and its newest format have keys of their own beside the report:
//! earlier versions refuse a report with a field that they do not know. The report alone says whether a process counts.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnResponse};
use serde::{Deserialize, Serialize};

use super::layout::EdgeKey;
use super::link::{At, found, unexpected};
use super::namesakes::{Namesakes, Other, Report};
use super::{Etcd, StoreError};
use sip_authz_store::{Edge, Format, Head, Incarnation, Sum};

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
    /// Versions without formats write none.
    #[serde(default)]
    format: Option<u32>,
}

impl StoredHead {
    fn of(head: &Head) -> Self {
        let Incarnation { generation, id } = head.incarnation;
        let sum = hex::encode(head.sum.as_bytes());
        let Head { number, records, format, .. } = *head;
        let format = Some(format.number());
        Self { number, generation, id: format!("{id:032x}"), records, sum, format }
    }

    /// The head. None if it is unreadable: then the number of the report alone counts.
    fn read(value: &KeyValue) -> Option<Head> {
        let Self { number, generation, id, records, sum: text, format } =
            serde_json::from_slice(value.value()).ok()?;
        let mut sum = [0; 32];
        hex::decode_to_slice(text, &mut sum).ok()?;
        let incarnation = Incarnation { generation, id: u128::from_str_radix(&id, 16).ok()? };
        let (sum, format) = (Sum::from_bytes(sum), Format::new(format.unwrap_or(1))?);
        Some(Head { incarnation, number, records, sum, format })
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

/// The newest format of an edge in its key. None if it is unreadable, as for an edge that writes none.
fn read_format(value: &KeyValue) -> Option<Format> {
    Format::new(str::from_utf8(value.value()).ok()?.parse().ok()?)
}

/// The readable values of a key of all processes, by the rest of their keys behind `prefix`.
fn by_process<T>(
    found: &[KeyValue],
    prefix: &[u8],
    read: impl Fn(&KeyValue) -> Option<T>,
) -> HashMap<Vec<u8>, T> {
    let of = |value| {
        let rest = KeyValue::key(value).strip_prefix(prefix)?;
        Some((rest.to_vec(), read(value)?))
    };
    found.iter().filter_map(of).collect()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Other(error.to_string()))
}

/// The id of a process in its key. None if the key is of a name that starts with this name and a slash.
fn id_of<'k>(key: &'k [u8], called: &[u8]) -> Option<&'k [u8]> {
    key.strip_prefix(called).filter(|id| !id.contains(&b'/'))
}

/// The reports of all processes of one name, as the store has them.
struct Found {
    /// The head as of the same revision.
    head: Head,
    revision: i64,
    /// The keys of all these processes, in the order of [`EdgeKey::ALL`].
    keys: [Vec<KeyValue>; EdgeKey::ALL.len()],
}

impl Found {
    fn value(&self, of: EdgeKey, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(of as usize)?.iter().find(|found| found.key() == key)
    }

    /// Whether the store has what the process has written.
    fn has(&self, report: &Report) -> bool {
        EdgeKey::ALL
            .into_iter()
            .zip(&report.keys)
            .zip(&report.values)
            .all(|((of, key), value)| self.value(of, key).map(KeyValue::value) == value.as_deref())
    }

    /// Whether the store has an earlier report of the process with the same lease, and no other process asks
    /// for the next one.
    fn has_earlier(&self, report: &Report) -> bool {
        let [own, applied, ..] = &report.keys;
        let stored = self.value(EdgeKey::Report, own).map(StoredReport::read);
        self.value(EdgeKey::Applied, applied).is_some()
            && matches!(stored, Some(Ok(stored)) if stored.lease_ms == report.lease_ms)
    }
}

impl Etcd {
    pub(super) fn namesakes(&self) -> MutexGuard<'_, Namesakes> {
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
        let report = self.report_of(&edge)?;
        if let Some(milliseconds) = report.lease_ms {
            self.note_lease(milliseconds).await?;
        }
        let is_written = self.namesakes().written.as_ref() == Some(&report);
        if is_written {
            let found = self.exchange(&edge.name, Vec::new()).await?;
            if found.has(&report) {
                let others = self.others(&edge.name, &report, &found)?;
                // an earlier version takes a process of its name that writes nothing for ended
                if !others.iter().any(|other| other.is_asked) {
                    self.deal_with(&edge.name, others, &report, &found).await;
                    return Ok(found.head);
                }
            }
        }
        match self.write_report(&edge.name, &report).await {
            // the earlier report stays, which counts for fewer commits
            Err(StoreError::NoSpace(why)) => {
                let found = self.exchange(&edge.name, Vec::new()).await?;
                let stands = found.has_earlier(&report);
                stands.then_some(found.head).ok_or(StoreError::NoSpace(why))
            }
            written => written,
        }
    }

    fn report_of(&self, edge: &Edge) -> Result<Report, StoreError> {
        // rounded up, so that no change waits too short a time
        let milliseconds = |lease: Duration| u64::try_from(lease.as_micros().div_ceil(1_000));
        let lease_ms = edge.lease.map(|lease| milliseconds(lease).unwrap_or(u64::MAX));
        let stored = StoredReport { v: 1, applied: edge.applied.number, lease_ms };
        let api = edge.api.clone().filter(|url| url.len() <= MAX_API);
        let api = api.map(|url| json(&StoredApi { v: 1, url })).transpose()?;
        let applied = json(&StoredHead::of(&edge.applied))?;
        let format = edge.newest_format.to_string().into_bytes();
        let values = [Some(json(&stored)?), Some(applied), api, Some(format)];
        let keys = EdgeKey::ALL.map(|key| self.layout.of_edge(key, &edge.name, &self.process));
        Ok(Report { keys, values, lease_ms })
    }

    async fn write_report(&self, name: &str, report: &Report) -> Result<Head, StoreError> {
        self.namesakes().own = Some(report.keys.clone());
        let write = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| match value {
            Some(value) => TxnOp::put(key.clone(), value.clone(), None),
            None => TxnOp::delete(key.clone(), None),
        };
        let writes = report.keys.iter().zip(&report.values).map(write).collect();
        let found = self.exchange(name, writes).await?;
        self.namesakes().written = Some(report.clone());
        let others = self.others(name, report, &found)?;
        self.deal_with(name, others, report, &found).await;
        Ok(found.head)
    }

    /// Makes these writes, and reads the head and the keys of all processes with this name, in one transaction.
    /// So the head and the keys are as of the same revision.
    async fn exchange(&self, name: &str, writes: Vec<TxnOp>) -> Result<Found, StoreError> {
        let count = writes.len();
        let called = EdgeKey::ALL.map(|key| self.layout.edges_called(key, name));
        let prefix = |key| TxnOp::get(key, Some(GetOptions::new().with_prefix()));
        let heads = [self.layout.head(), self.layout.history()].map(|key| TxnOp::get(key, None));
        let all: Vec<_> = writes.into_iter().chain(heads).chain(called.map(prefix)).collect();
        let all = Txn::new().and_then(all);
        loop {
            let before = self.seen();
            let answer = match count {
                0 => self.link.read_by(all.clone()).await?,
                _ => self.link.write(all.clone()).await?,
            };
            let at = At::of(answer.header());
            let Ok([head, history, keys @ ..]) = <[_; 6]>::try_from(found(&answer, count)?) else {
                return Err(unexpected());
            };
            // after a restore, the next answer is of the restored store
            if let Some(state) = self.state_of(before, head.first(), history.first(), at).await? {
                return Ok(Found { head: state.head, revision: at.revision, keys });
            }
        }
    }

    /// The other processes of this name.
    fn others(&self, name: &str, own: &Report, found: &Found) -> Result<Vec<Other>, StoreError> {
        let called = EdgeKey::ALL.map(|key| self.layout.edges_called(key, name));
        let [called_report, ..] = &called;
        let [reports, ..] = &found.keys;
        let mut others = Vec::new();
        for value in reports {
            let id = id_of(value.key(), called_report)
                .filter(|_| !own.keys.iter().any(|own| own == value.key()));
            let Some(id) = id else { continue };
            let keys = called.each_ref().map(|called| [called.as_slice(), id].concat());
            let report = StoredReport::read(value)?;
            let lease = report.lease();
            let [_, applied, ..] = &keys;
            let is_asked = found.value(EdgeKey::Applied, applied).is_none();
            // the report without its commit, so that it counts for no change
            let question = json(&StoredReport { applied: 0, ..report })?;
            others.push(Other { keys, question, revision: value.mod_revision(), lease, is_asked });
        }
        Ok(others)
    }

    /// Asks the others to report again, removes the keys of ended processes, and keys without a report.
    async fn deal_with(&self, name: &str, others: Vec<Other>, own: &Report, found: &Found) {
        let called = EdgeKey::ALL.map(|key| self.layout.edges_called(key, name));
        let [called_report, ..] = &called;
        let [_, beside @ ..] = &found.keys;
        // An earlier version removes a report without the keys beside it.
        let mut left_behind = Vec::new();
        for (found, called) in beside.iter().zip(called.iter().skip(1)) {
            for key in found.iter().map(KeyValue::key) {
                let mut kept = others.iter().map(|other| &other.keys).chain([&own.keys]).flatten();
                if let Some(id) = id_of(key, called)
                    && !kept.any(|kept| kept == key)
                {
                    left_behind.push((key.to_vec(), [called_report.as_slice(), id].concat()));
                }
            }
        }
        let steps = self.namesakes().steps(found.revision, &others, Instant::now());
        // if one of these fails, the next report tries again
        for (other, step) in others.into_iter().zip(steps) {
            let Some(txn) = other.txn(step, own) else { continue };
            let done = self.link.write(txn).await.ok().filter(TxnResponse::succeeded);
            let revision = done.map(|done| At::of(done.header()).revision);
            self.namesakes().done(&other, step, revision, Instant::now());
        }
        for (key, report) in left_behind {
            let is_alone = Compare::version(report, CompareOp::Equal, 0);
            let delete = Txn::new().when([is_alone]).and_then([TxnOp::delete(key, None)]);
            let _ = self.link.write(delete).await;
        }
    }

    pub(super) async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        Ok(self.edges_at().await?.0)
    }

    /// The edges, and the condition that no other process has reported since.
    pub(super) async fn edges_and_no_others(&self) -> Result<(Vec<Edge>, Compare), StoreError> {
        let (edges, revision) = self.edges_at().await?;
        let reports = self.layout.all_edges(EdgeKey::Report);
        // each process has a key of its own
        let was_there = Compare::create_revision(reports, CompareOp::Less, revision + 1);
        Ok((edges, was_there.with_prefix()))
    }

    /// The edges, and the revision as of which their reports were read.
    async fn edges_at(&self) -> Result<(Vec<Edge>, i64), StoreError> {
        let prefixes = EdgeKey::ALL.map(|key| self.layout.all_edges(key));
        let all =
            |prefix: &Vec<u8>| TxnOp::get(prefix.clone(), Some(GetOptions::new().with_prefix()));
        let reads: Vec<_> = prefixes.iter().map(all).collect();
        let answer = self.link.read_by(Txn::new().and_then(reads)).await?;
        let Ok([reports, heads, urls, formats]) = <[_; 4]>::try_from(found(&answer, 0)?) else {
            return Err(unexpected());
        };
        let [of_reports, of_heads, of_urls, of_formats] = &prefixes;
        let heads = by_process(&heads, of_heads, StoredHead::read);
        let urls = by_process(&urls, of_urls, StoredApi::read);
        let formats = by_process(&formats, of_formats, read_format);
        let edge = |value: &KeyValue| {
            let written = StoredReport::read(value)?;
            let rest = value.key().strip_prefix(of_reports.as_slice()).unwrap_or_default();
            let api = urls.get(rest).cloned();
            let newest_format = formats.get(rest).copied().unwrap_or_default();
            // earlier versions report a number alone
            let unknown = Head { number: written.applied, ..Head::default() };
            let applied = heads.get(rest).copied().unwrap_or(unknown);
            let rest = String::from_utf8_lossy(rest);
            let name = rest.rsplit_once('/').map_or(&*rest, |(name, _)| name).to_owned();
            self.saw_lease(written.lease_ms.unwrap_or_default());
            Ok(Edge { name, applied, lease: written.lease(), api, newest_format })
        };
        let edges: Result<Vec<_>, StoreError> = reports.iter().map(edge).collect();
        Ok((edges?, At::of(answer.header()).revision))
    }

    /// Takes a value of the key that [`Self::await_reports`] writes. An unreadable one is none: it only decides when
    /// an edge reports.
    pub(super) fn saw_awaited(&self, value: &[u8]) {
        let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        self.awaited.send_replace(number.unwrap_or_default());
    }

    /// Asks the edges to report commit `number` soon.
    pub(super) async fn await_reports(&self, number: u64) -> Result<(), StoreError> {
        let put = TxnOp::put(self.layout.latest_awaited(), number.to_string(), None);
        self.link.write(Txn::new().and_then([put])).await?;
        Ok(())
    }

    pub(super) async fn forget(&self, name: &str) -> Result<(), StoreError> {
        for called in EdgeKey::ALL.map(|key| self.layout.edges_called(key, name)) {
            let options = GetOptions::new().with_prefix().with_keys_only();
            let found = self.link.get(called.clone(), options).await?;
            for value in found.kvs() {
                let id = value.key().strip_prefix(called.as_slice()).unwrap_or_default();
                if !id.contains(&b'/') {
                    // a late copy of the request leaves what a live process has written again
                    let created = value.create_revision();
                    let is_same = Compare::create_revision(value.key(), CompareOp::Equal, created);
                    let delete = TxnOp::delete(value.key(), None);
                    self.link.write(Txn::new().when(vec![is_same]).and_then(vec![delete])).await?;
                }
            }
        }
        Ok(())
    }
}
