//! The page changes of a commit, as a list that is applied in pieces.
//!
//! The list starts with changes of collections and names, which are computed from the old records. The
//! changes of records come last. So another process can compute the same list and continue.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use etcd_client::TxnOp;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::StoreError;
use super::layout::{Layout, collection_of, name_of};
use super::link::Link;
use super::members::{self, Members};
use super::page::{self, Page};
use super::payload::Entry;
use sip_authz_store::{collections, encoding, lookup};

/// The maximum number of operations in one transaction; etcd accepts 128, and some are for the head.
pub(super) const OPERATIONS: usize = 110;
/// The largest request that work with this limit can need.
pub(super) const fn largest(limit: usize) -> usize {
    limit + limit / 4
}

/// The maximum number of pages, and of changes, in one piece.
const PAGES: usize = 100;
const CHANGES: usize = 8_000;
/// The number of concurrent reads.
const READERS: usize = 8;

/// A change of one page.
pub(super) enum Change {
    Member { collection: String, member: String, added: bool },
    Name { name: Vec<u8>, record: String, put: bool },
    Record { text: String, value: Option<Zeroizing<Vec<u8>>> },
}

/// The position in the list of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Progress {
    /// Whether the changes of collections and names are applied.
    pub(super) records: bool,
    /// The number of applied changes in the current half of the list.
    pub(super) done: usize,
}

impl Progress {
    pub(super) const START: Self = Self { records: false, done: 0 };
}

/// All page changes of a commit, each with the key of its page.
pub(super) struct Work {
    /// The changes of collections and names, sorted by page.
    pub(super) index: Vec<(Vec<u8>, Change)>,
    /// The changes of records, sorted by page.
    pub(super) records: Vec<(Vec<u8>, Change)>,
}

/// A piece of the list.
pub(super) struct Piece {
    pub(super) operations: Vec<TxnOp>,
    pub(super) next: Progress,
}

/// The state before a commit.
#[derive(Default)]
pub(super) struct Old {
    /// The old values of the records that it writes.
    pub(super) values: HashMap<String, Vec<u8>>,
    /// The sizes in bytes of the pages with these records.
    pub(super) pages: HashMap<Vec<u8>, usize>,
}

/// Reads the old values of these records, as of a revision.
pub(super) async fn old_values(
    link: &Arc<Link>,
    layout: &Layout,
    entries: &[Entry],
    revision: i64,
) -> Result<Old, StoreError> {
    let mut pages = BTreeMap::<Vec<u8>, BTreeSet<&str>>::new();
    for entry in entries {
        pages.entry(layout.record(&entry.text)).or_default().insert(&entry.text);
    }
    let keys: Vec<Vec<u8>> = pages.keys().cloned().collect();
    let mut found = Old::default();
    each_page(link, &keys, revision, |at, value| {
        let Some(wanted) = pages.get(at) else { return Ok(()) };
        found.pages.insert(at.to_vec(), value.map_or(0, <[u8]>::len));
        page::each(value, |key, value| {
            if let Ok(key) = str::from_utf8(key)
                && wanted.contains(key)
            {
                found.values.insert(key.to_owned(), value.to_vec());
            }
            Ok(())
        })
    })
    .await?;
    Ok(found)
}

/// Calls `look` with each of these pages, as of a revision, in any order.
pub(super) async fn each_page(
    link: &Arc<Link>,
    keys: &[Vec<u8>],
    revision: i64,
    mut look: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut waiting: Vec<_> = keys.chunks(100).map(<[_]>::to_vec).collect();
    let mut reading = JoinSet::new();
    loop {
        while reading.len() < READERS
            && let Some(keys) = waiting.pop()
        {
            let link = Arc::clone(link);
            reading.spawn(async move {
                let read = link.read(&keys, Some(revision)).await;
                read.map(|read| (keys, read.values))
            });
        }
        let Some(read) = reading.join_next().await else { return Ok(()) };
        let (keys, values) = read.map_err(|error| StoreError::Other(error.to_string()))??;
        for (key, value) in keys.iter().zip(values) {
            look(key, value.as_ref().map(|value| value.value()))?;
        }
    }
}

impl Work {
    /// The page changes for `entries`, given the old values of their records.
    pub(super) fn of(
        layout: &Layout,
        entries: Vec<Entry>,
        old: &HashMap<String, Vec<u8>>,
    ) -> Result<Self, StoreError> {
        let mut membership = BTreeMap::<(String, String), bool>::new();
        let mut names = BTreeMap::<Vec<u8>, (String, bool)>::new();
        let mut put_names = Vec::new();
        for entry in &entries {
            if let Some(value) = old.get(&entry.text) {
                let record = encoding::decode(entry.key, value)?;
                for collection in collections(&record) {
                    membership.insert((collection_of(collection), entry.text.clone()), false);
                }
                if let Some(name) = lookup(&record) {
                    names.insert(name_of(&name), (entry.text.clone(), false));
                }
            }
            if let Some(record) = entry.record()? {
                for collection in collections(&record) {
                    membership.insert((collection_of(collection), entry.text.clone()), true);
                }
                put_names.extend(lookup(&record).map(|name| (name_of(&name), entry.text.clone())));
            }
        }
        // the order of the writes in the commit does not matter
        names.extend(put_names.into_iter().map(|(name, record)| (name, (record, true))));
        let mut index = Vec::with_capacity(membership.len() + names.len());
        for ((collection, member), added) in membership {
            let page = layout.collection(&collection);
            index.push((page, Change::Member { collection, member, added }));
        }
        for (name, (record, put)) in names {
            index.push((layout.name(&name), Change::Name { name, record, put }));
        }
        Ok(Self { index: sorted(index), records: records(layout, entries) })
    }

    /// The changes of records only, once the others are applied.
    pub(super) fn records_of(layout: &Layout, entries: Vec<Entry>) -> Self {
        Self { index: Vec::new(), records: records(layout, entries) }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len() + self.records.len()
    }

    /// The piece after `at`, or `None` at the end.
    pub(super) async fn piece(
        &self,
        link: &Arc<Link>,
        layout: &Layout,
        at: Progress,
        revision: i64,
    ) -> Result<Option<Piece>, StoreError> {
        let part = if at.records { &self.records } else { &self.index };
        let rest = part.get(at.done..).unwrap_or_default();
        if rest.is_empty() {
            let next = Progress { records: true, done: 0 };
            let step = (!at.records).then_some(next);
            return Ok(step.map(|next| Piece { operations: Vec::new(), next }));
        }
        let mut pages = 0;
        let mut last: Option<&Vec<u8>> = None;
        let fitting = rest.iter().take(CHANGES).take_while(|(page, _)| {
            pages += usize::from(last != Some(page));
            last = Some(page);
            pages <= PAGES
        });
        let mut many = fitting.count();
        loop {
            let some = rest.get(..many).unwrap_or_default();
            let (operations, bytes) = apply(link, layout, some, revision).await?;
            if (operations.len() <= OPERATIONS && bytes <= layout.limit) || many <= 1 {
                let next = Progress { done: at.done + many, ..at };
                return Ok(Some(Piece { operations, next }));
            }
            many /= 2;
        }
    }

    /// All changes in one piece.
    pub(super) async fn whole(
        &self,
        link: &Arc<Link>,
        layout: &Layout,
        revision: i64,
    ) -> Result<(Vec<TxnOp>, usize), StoreError> {
        let (mut operations, bytes) = apply(link, layout, &self.index, revision).await?;
        let (more, more_bytes) = apply(link, layout, &self.records, revision).await?;
        operations.extend(more);
        Ok((operations, bytes + more_bytes))
    }
}

fn records(layout: &Layout, entries: Vec<Entry>) -> Vec<(Vec<u8>, Change)> {
    let change =
        |Entry { text, value, .. }: Entry| (layout.record(&text), Change::Record { text, value });
    sorted(entries.into_iter().map(change).collect())
}

/// Sorts changes by page. On each page removals come first, so that the page never exceeds both its old
/// and its new size. Otherwise the changes of a page keep their order.
fn sorted(mut changes: Vec<(Vec<u8>, Change)>) -> Vec<(Vec<u8>, Change)> {
    let is_added = |change: &Change| match change {
        Change::Member { added, .. } => *added,
        Change::Name { put, .. } => *put,
        Change::Record { value, .. } => value.is_some(),
    };
    changes.sort_by(|one, two| (&one.0, is_added(&one.1)).cmp(&(&two.0, is_added(&two.1))));
    changes
}

/// The writes for these changes, and their size in bytes.
async fn apply(
    link: &Arc<Link>,
    layout: &Layout,
    changes: &[(Vec<u8>, Change)],
    revision: i64,
) -> Result<(Vec<TxnOp>, usize), StoreError> {
    let mut keys: Vec<_> = changes.iter().map(|(page, _)| page.clone()).collect();
    keys.dedup();
    let read = link.read(&keys, Some(revision)).await?;
    let mut writes = BTreeMap::<Vec<u8>, Option<Page>>::new();
    let mut large = BTreeMap::<Vec<u8>, Vec<(&str, bool)>>::new();
    let mut collections = BTreeMap::<&str, (Vec<u8>, Members, Vec<(&str, bool)>)>::new();
    for (key, value) in keys.into_iter().zip(&read.values) {
        let page = page::decode(value.as_ref().map(etcd_client::KeyValue::value))?;
        writes.insert(key, Some(page));
    }
    for (key, change) in changes {
        let Some(Some(page)) = writes.get_mut(key) else { continue };
        match change {
            Change::Record { text, value: Some(value) } => {
                page.insert(text.clone().into_bytes(), value.to_vec());
            }
            Change::Record { text, value: None } => {
                page.remove(text.as_bytes());
            }
            Change::Name { name, record, put: true } => {
                page.insert(name.clone(), record.clone().into_bytes());
            }
            Change::Name { name, record, put: false } => {
                // another change may have given the name to another record
                if page.get(name).is_some_and(|found| found == record.as_bytes()) {
                    page.remove(name);
                }
            }
            Change::Member { collection, member, added } => {
                let entry = match collections.entry(collection) {
                    std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        let members = Members::decode(page.get(collection.as_bytes()))?;
                        entry.insert((key.clone(), members, Vec::new()))
                    }
                };
                match &mut entry.1 {
                    Members::Few(keys) if *added => drop(keys.insert(member.clone())),
                    Members::Few(keys) => drop(keys.remove(member)),
                    Members::Many(..) => entry.2.push((member, *added)),
                }
            }
        }
    }
    for (collection, (key, mut members, changes)) in collections {
        let prefix = layout.members(collection);
        let at = |first: &str| [prefix.as_slice(), first.as_bytes()].concat();
        for (first, page) in members::grow(&mut members) {
            writes.insert(at(&first), page);
        }
        large.clear();
        for (member, added) in changes {
            let first = members.page_of(member).unwrap_or_default();
            large.entry(first.as_bytes().to_vec()).or_default().push((member, added));
        }
        let firsts: Vec<_> = large.keys().cloned().collect();
        let keys: Vec<_> =
            firsts.iter().map(|first| [prefix.as_slice(), first.as_slice()].concat()).collect();
        let read = link.read(&keys, Some(revision)).await?;
        for ((first, changes), value) in large.iter().zip(&read.values) {
            let page = page::decode(value.as_ref().map(etcd_client::KeyValue::value))?;
            let first = String::from_utf8_lossy(first).into_owned();
            for (first, page) in members::change(&mut members, first, page, changes) {
                writes.insert(at(&first), page);
            }
        }
        if let Some(Some(page)) = writes.get_mut(&key) {
            if members.is_empty() {
                page.remove(collection.as_bytes());
            } else {
                page.insert(collection.as_bytes().to_vec(), members.encode()?);
            }
        }
    }
    let mut operations = Vec::with_capacity(writes.len());
    let mut bytes = 0;
    for (key, page) in writes {
        bytes += key.len() + 32;
        operations.push(match page {
            // keep an empty page of members: a large collection has at least one page
            Some(page) if !page.is_empty() || layout.is_members(&key) => {
                let value = page::encode(&page)?;
                bytes += value.len();
                TxnOp::put(key, value, None)
            }
            _ => TxnOp::delete(key, None),
        });
    }
    Ok((operations, bytes))
}
