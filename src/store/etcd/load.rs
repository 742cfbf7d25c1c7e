//! All records as of one revision, read in ranges that are disjoint and several at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use etcd_client::GetOptions;
use tokio::task::JoinSet;

use super::link::Link;
use super::payload::Entry;
use super::{Etcd, StoreError, page};
use crate::model::Record;
use crate::store::{Loaded, Sum, encoding};

/// Ranges that are read at once.
const READERS: usize = 8;

/// The records of a range.
#[derive(Default)]
struct Part {
    records: Vec<Record>,
    sum: Sum,
}

impl Etcd {
    pub(super) async fn load(&self) -> Result<Loaded, StoreError> {
        let (state, revision) = self.state().await?;
        // what is not folded in yet counts all the same
        let staged = match state.parts {
            0 => Vec::new(),
            _ => self.staged(&state, revision).await?,
        };
        let staged: BTreeMap<_, _> =
            staged.into_iter().map(|entry| (entry.text.clone(), entry)).collect();
        let staged = Arc::new(staged);
        let mut ranges = self.layout.record_ranges();
        let mut reading = JoinSet::new();
        let mut whole = Part::default();
        loop {
            while reading.len() < READERS
                && let Some((from, to)) = ranges.next()
            {
                let (link, staged) = (Arc::clone(&self.link), Arc::clone(&staged));
                reading.spawn(read(link, from, to, revision, staged));
            }
            let Some(part) = reading.join_next().await else { break };
            let part = part.map_err(|error| StoreError(error.to_string()))??;
            whole.records.extend(part.records);
            whole.sum = whole.sum.plus(part.sum);
        }
        for entry in staged.values() {
            if let Some(record) = entry.record()? {
                whole.sum = whole.sum.plus(entry.sum().unwrap_or_default());
                whole.records.push(record);
            }
        }
        state.head.check(whole.records.len() as u64, whole.sum)?;
        let mut records = whole.records;
        records.sort_unstable_by_key(Record::key);
        Ok(Loaded { head: state.head, records })
    }
}

/// The records of a range of pages, without those that `staged` replaces.
async fn read(
    link: Arc<Link>,
    from: Vec<u8>,
    to: Vec<u8>,
    revision: i64,
    staged: Arc<BTreeMap<String, Entry>>,
) -> Result<Part, StoreError> {
    let options = GetOptions::new().with_range(to).with_revision(revision);
    let answer = link.get(from, options).await?;
    let mut part = Part::default();
    for value in answer.kvs() {
        page::each(Some(value.value()), |key, value| {
            let text = str::from_utf8(key).map_err(|_| page::unreadable())?;
            if staged.contains_key(text) {
                return Ok(());
            }
            part.sum = part.sum.plus(Sum::of_encoded(text, value));
            part.records.push(encoding::decode(encoding::decode_key(text)?, value)?);
            Ok(())
        })?;
    }
    Ok(part)
}
