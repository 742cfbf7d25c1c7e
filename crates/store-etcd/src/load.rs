//! Loads all records as of one revision, several disjoint ranges concurrently.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::vec::IntoIter;

use etcd_client::GetOptions;
use tokio::task::JoinSet;

use super::link::Link;
use super::payload::Entry;
use super::{Etcd, StoreError, page};
use sip_authz::model::Record;
use sip_authz_store::{StoreSnapshot, Sum, encoding};

/// The number of ranges read concurrently.
const READERS: usize = 8;
/// The approximate number of records in one range.
const RECORDS: u64 = 2_000;

/// The records of a range, in the order of their keys.
#[derive(Default)]
struct Part {
    records: Vec<Record>,
    sum: Sum,
}

impl Etcd {
    pub(super) async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        let (state, revision) = self.state().await?;
        // a staged commit is committed, although it is not folded in yet
        let staged = match state.parts {
            0 => Vec::new(),
            _ => self.staged(&state, revision).await?,
        };
        let staged: BTreeMap<_, _> =
            staged.into_iter().map(|entry| (entry.text.clone(), entry)).collect();
        let staged = Arc::new(staged);
        self.read.store(0, Ordering::Relaxed);
        let mut ranges = self.layout.record_ranges(state.head.records / RECORDS);
        let mut reading = JoinSet::new();
        let mut parts = Vec::new();
        let (mut many, mut sum) = (0, Sum::ZERO);
        loop {
            while reading.len() < READERS
                && let Some((from, to)) = ranges.next()
            {
                let (link, staged) = (Arc::clone(&self.link), Arc::clone(&staged));
                reading.spawn(read(link, from, to, revision, staged));
            }
            let Some(part) = reading.join_next().await else { break };
            let part = part.map_err(|error| StoreError::Other(error.to_string()))??;
            many += part.records.len();
            sum = sum.plus(part.sum);
            self.read.store(many as u64, Ordering::Relaxed);
            parts.push(part.records);
        }
        let mut put = Vec::new();
        for entry in staged.values() {
            if let Some(record) = entry.record()? {
                sum = sum.plus(entry.sum().unwrap_or_default());
                put.push(record);
            }
        }
        many += put.len();
        parts.push(put);
        state.head.check(many as u64, sum)?;
        Ok(StoreSnapshot { head: state.head, records: merged(parts, many) })
    }
}

/// Merges parts that are sorted by key.
fn merged(parts: Vec<Vec<Record>>, many: usize) -> Vec<Record> {
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let key = |part: &IntoIter<Record>| part.as_slice().first().map(Record::key);
    let first = |(n, part): (usize, _)| Some(Reverse((key(part)?, n)));
    let mut next: BinaryHeap<_> = parts.iter().enumerate().filter_map(first).collect();
    let mut records = Vec::with_capacity(many);
    while let Some(mut least) = next.peek_mut() {
        let Reverse((_, n)) = *least;
        let Some(part) = parts.get_mut(n) else { break };
        records.extend(part.next());
        match key(part) {
            Some(key) => *least = Reverse((key, n)),
            None => drop(PeekMut::pop(least)),
        }
    }
    records
}

/// Reads the records of a range of pages, except those that `staged` replaces.
async fn read(
    link: Arc<Link>,
    from: Vec<u8>,
    to: Vec<u8>,
    revision: i64,
    staged: Arc<BTreeMap<String, Entry>>,
) -> Result<Part, StoreError> {
    let options = GetOptions::new().with_range(to).with_revision(revision);
    let answer = link.read_range(from, options).await?;
    let mut found = Vec::new();
    let mut sum = Sum::ZERO;
    for value in answer.kvs() {
        page::each(Some(value.value()), |text, value| {
            let text = str::from_utf8(text).map_err(|_| page::unreadable())?;
            if staged.contains_key(text) {
                return Ok(());
            }
            sum = sum.plus(Sum::of_encoded(text, value));
            let key = encoding::decode_key(text)?;
            found.push((key, encoding::decode(key, value)?));
            Ok(())
        })?;
    }
    found.sort_unstable_by_key(|(key, _)| *key);
    Ok(Part { records: found.into_iter().map(|(_, record)| record).collect(), sum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_authz::AccountSid;
    use sip_authz::model::Account;

    #[test]
    fn sorted_parts_are_merged_by_key() {
        let record = |n| Record::from(Account::new(AccountSid::from_bytes([n; 16])));
        let all: Vec<_> = (0..200).map(record).collect();
        for many in [1, 2, 7, 300] {
            let mut parts = vec![Vec::new(); many];
            for (n, record) in all.iter().enumerate() {
                parts[n * n % many].push(record.clone());
            }
            assert_eq!(merged(parts, all.len()), all);
        }
        assert_eq!(merged(Vec::new(), 0), []);
    }
}
