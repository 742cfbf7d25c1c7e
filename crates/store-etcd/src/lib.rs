//! A store in etcd (3.4 or later), which the edges of a fleet follow.
//!
//! Records are packed into pages, so that ten million of them fit what the engine is made for. Each
//! commit is one transaction on condition that the head is unchanged; its writer draws a name for it,
//! and so finds out what became of it when the answer gets lost. All futures need a tokio runtime.

mod commit;
mod edges;
mod feed;
mod layout;
mod link;
mod load;
mod members;
mod options;
mod page;
mod payload;
mod room;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::layout::{Layout, collection_of, name_of};
use self::link::Link;
use self::members::Members;
pub use self::options::EtcdOptions;
use sip_authz::model::{Commit, Key, Record};
use sip_authz_store::{
    Collection, Edge, Head, Loaded, Lookup, Outcome, Store, StoreError, collections, encoding,
    lookup,
};

pub use self::feed::EtcdFeed;

/// How many heads' revisions are remembered.
const REMEMBERED: usize = 64;
/// How often what was left behind is looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// A store in etcd. Clones are the same store.
#[derive(Clone)]
pub struct EtcdStore {
    etcd: Arc<Etcd>,
}

struct Etcd {
    link: Arc<Link>,
    layout: Layout,
    orphans_after: Duration,
    /// What names this process among edges.
    process: String,
    namesakes: Mutex<edges::Namesakes>,
    /// Whether etcd has taken a request of the largest size.
    roomy: AtomicBool,
    seen: Mutex<Seen>,
    /// How many records the load that is under way has read.
    read: AtomicU64,
}

/// What was seen of the store, to spare asking for it.
#[derive(Default)]
struct Seen {
    /// The revisions that heads were written at, by number.
    revisions: BTreeMap<u64, i64>,
    /// Staged commits that are no part of the head, and since when they have been seen.
    staged: HashMap<String, Instant>,
    swept: Option<Instant>,
}

impl EtcdStore {
    /// The store in the etcd that `options` tell of. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if no node is named, or the system has no random numbers.
    pub fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let etcd = Etcd {
            link: Arc::new(Link::new(options)?),
            layout: Layout::new(&options.root, options.limit),
            orphans_after: options.orphans_after,
            process: commit::new_id()?,
            namesakes: Mutex::default(),
            roomy: AtomicBool::default(),
            seen: Mutex::default(),
            read: AtomicU64::default(),
        };
        Ok(Self { etcd: Arc::new(etcd) })
    }

    /// Waits until the head can be read. `away` is told why it could not each time that all nodes have
    /// been asked in vain for a while.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a node answers, but not this one's password or the like: asking again would
    /// not help.
    pub async fn arrive(&self, away: impl FnMut(&StoreError)) -> Result<(), StoreError> {
        self.etcd.link.arrive(self.etcd.layout.head(), away).await
    }

    /// Whether an edge of another process has reported under the name that this one reports under,
    /// since this was asked last. Both are waited for by whoever waits for all edges.
    #[must_use]
    pub fn shares_its_name(&self) -> bool {
        self.etcd.shares_its_name()
    }

    /// Takes back what this process has reported, so that nobody waits for it. To be called once it
    /// reports no longer and decides nothing more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be told.
    pub async fn leave(&self) -> Result<(), StoreError> {
        self.etcd.leave().await
    }

    /// How many records the last load has read so far, which takes long where there are many. The
    /// head tells how many there are.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.etcd.read.load(Ordering::Relaxed)
    }

    /// Deletes parts of large commits that were staged and left behind by writers that are gone. It
    /// is also done by the way, with commits.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be asked.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.etcd.sweep().await
    }
}

impl Etcd {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        // nothing that is done under the lock panics
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, number: u64, revision: i64) {
        let mut seen = self.seen();
        // the first revision is kept: folding rewrites the head
        seen.revisions.entry(number).or_insert(revision);
        while seen.revisions.len() > REMEMBERED {
            seen.revisions.pop_first();
        }
    }

    fn revision_of(&self, number: u64) -> Option<i64> {
        self.seen().revisions.get(&number).copied()
    }

    fn sweep_is_due(&self) -> bool {
        let mut seen = self.seen();
        let due = seen.swept.is_none_or(|last| last.elapsed() >= SWEEP_EVERY);
        if due {
            seen.swept = Some(Instant::now());
        }
        due
    }

    /// Those of the staged commits `found` that have been there for long.
    fn left_behind(&self, found: HashMap<String, Instant>) -> Vec<String> {
        let mut seen = self.seen();
        seen.staged.retain(|id, _| found.contains_key(id));
        let mut left = Vec::new();
        for (id, now) in found {
            let since = *seen.staged.entry(id.clone()).or_insert(now);
            if since.elapsed() >= self.orphans_after {
                left.push(id);
            }
        }
        left
    }

    /// The records with these keys, as of one revision; those that there are, in this order.
    async fn records(
        &self,
        layout: &Layout,
        keys: &[String],
        revision: i64,
    ) -> Result<Vec<Record>, StoreError> {
        let mut pages: Vec<_> = keys.iter().map(|key| layout.record(key)).collect();
        pages.sort_unstable();
        pages.dedup();
        let read = self.link.read(&pages, Some(revision)).await?;
        let mut wanted: HashMap<&str, Option<Record>> =
            keys.iter().map(|key| (key.as_str(), None)).collect();
        for value in read.values.into_iter().flatten() {
            page::each(Some(value.value()), |key, value| {
                let key = str::from_utf8(key).map_err(|_| page::unreadable())?;
                if let Some(found) = wanted.get_mut(key) {
                    *found = Some(encoding::decode(encoding::decode_key(key)?, value)?);
                }
                Ok(())
            })?;
        }
        Ok(keys.iter().filter_map(|key| wanted.remove(key.as_str()).flatten()).collect())
    }

    async fn members(
        &self,
        layout: &Layout,
        collection: &str,
        revision: i64,
    ) -> Result<Members, StoreError> {
        let key = layout.collection(collection);
        let read = self.link.read(&[key], Some(revision)).await?;
        let value = read.values.first().and_then(Option::as_ref);
        let page = page::decode(value.map(etcd_client::KeyValue::value))?;
        Members::decode(page.get(collection.as_bytes()))
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let (state, revision) = self.settled().await?;
        let layout = self.layout.of(&state);
        let name = collection_of(collection);
        let after = after.map(encoding::key).unwrap_or_default();
        let members = self.members(&layout, &name, revision).await?;
        let mut found = Vec::new();
        match &members {
            Members::Few(keys) => {
                found.extend(keys.iter().filter(|key| **key > after).take(limit).cloned());
            }
            Members::Many(_, first) => {
                let begin = members.page_of(&after).unwrap_or_default();
                for first in first.range::<str, _>((Bound::Included(begin), Bound::Unbounded)) {
                    if found.len() >= limit {
                        break;
                    }
                    let key = [layout.members(&name).as_slice(), first.as_bytes()].concat();
                    let read = self.link.read(&[key], Some(revision)).await?;
                    let value = read.values.first().and_then(Option::as_ref);
                    let page = members::listed(value.map(etcd_client::KeyValue::value))?;
                    let rest = limit - found.len();
                    found.extend(page.into_iter().filter(|key| *key > after).take(rest));
                }
            }
        }
        let records = self.records(&layout, &found, revision).await?;
        let inside = |record| collections(record).any(|of| of == collection);
        let inside = records.iter().all(inside);
        if records.len() == found.len() && inside {
            Ok(records)
        } else {
            Err(StoreError("a collection in etcd lists records that are not in it".to_owned()))
        }
    }

    async fn find(&self, wanted: &Lookup) -> Result<Option<Record>, StoreError> {
        let (state, revision) = self.settled().await?;
        let layout = self.layout.of(&state);
        let name = name_of(wanted);
        let read = self.link.read(&[layout.name(&name)], Some(revision)).await?;
        let value = read.values.first().and_then(Option::as_ref);
        let page = page::decode(value.map(etcd_client::KeyValue::value))?;
        let Some(key) = page.get(&name) else { return Ok(None) };
        let key = str::from_utf8(key).map_err(|_| page::unreadable())?.to_owned();
        let records = self.records(&layout, &[key], revision).await?;
        // names are found by their hashes
        Ok(records.into_iter().find(|record| lookup(record).as_ref() == Some(wanted)))
    }
}

impl Store for EtcdStore {
    type Feed = EtcdFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.etcd.state().await?.0.head)
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        let (state, revision) = self.etcd.settled().await?;
        let layout = self.etcd.layout.of(&state);
        Ok(self.etcd.records(&layout, &[encoding::key(key)], revision).await?.pop())
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Record>, StoreError> {
        self.etcd.find(&lookup).await
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.etcd.range(collection, after, limit).await
    }

    async fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        let (state, revision) = self.etcd.settled().await?;
        let layout = self.etcd.layout.of(&state);
        let members = self.etcd.members(&layout, &collection_of(collection), revision).await?;
        usize::try_from(members.count()).map_err(|error| StoreError(error.to_string()))
    }

    async fn commit(&self, head: u64, commit: Commit) -> Result<Outcome, StoreError> {
        self.etcd.commit(head, commit).await
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.etcd.load().await
    }

    async fn follow(&self, from: u64) -> Result<EtcdFeed, StoreError> {
        EtcdFeed::new(Arc::clone(&self.etcd), from).await
    }

    async fn report(&self, edge: Edge) -> Result<u64, StoreError> {
        self.etcd.report(edge).await
    }

    async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        self.etcd.edges().await
    }

    async fn forget(&self, name: &str) -> Result<(), StoreError> {
        self.etcd.forget(name).await
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
