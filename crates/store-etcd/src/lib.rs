//! A store in etcd (3.4 or later) that the edges of a fleet share.
//!
//! Records are packed into pages, since etcd is not made for ten million keys. Each commit is one etcd
//! transaction with the condition that the head is unchanged. The commit carries a random ID. If an
//! answer gets lost, the writer reads the ID to determine whether its commit took effect. All futures
//! need a tokio runtime.

mod commit;
mod edges;
mod feed;
mod history;
mod layout;
mod link;
mod load;
mod members;
mod namesakes;
mod options;
mod page;
mod payload;
mod race;
mod random;
mod size_limits;
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
    Collection, CommitOutcome, Edge, Format, Head, Lookup, SharedStore, Store, StoreError,
    StoreSnapshot, collections, encoding, lookup,
};
use tokio::sync::watch;

pub use self::feed::EtcdFeed;

/// The maximum number of heads in the cache.
const MAX_CACHED: usize = 64;
/// The interval between two searches for abandoned staged commits.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// A store in etcd. Clones are the same store.
#[derive(Clone)]
pub struct EtcdStore {
    etcd: Arc<Etcd>,
}

struct Etcd {
    link: Arc<Link>,
    layout: Layout,
    orphans_after: Duration,
    /// The random ID of this process in the keys of its reports.
    process: String,
    namesakes: Mutex<namesakes::Namesakes>,
    /// The number of the last commit that a change waits for, as the feed has seen it.
    awaited: watch::Sender<u64>,
    /// Whether etcd has accepted a request of the largest size.
    accepts_largest: AtomicBool,
    cache: Mutex<Cache>,
    /// The number of records that the current load has read.
    read: AtomicU64,
}

/// Cached facts that save requests.
#[derive(Default)]
struct Cache {
    /// The etcd revision and the id of each commit, by the number of its head.
    commits: BTreeMap<u64, (i64, String)>,
    /// The id of the etcd cluster.
    cluster: Option<u64>,
    seen: Option<history::Seen>,
    /// The lease that this process knows to be noted in etcd, in milliseconds.
    noted_lease: u64,
    /// The longest lease that this process has seen in this store, in milliseconds.
    longest_lease: u64,
    /// Staged commits that the head does not name, and the time when each was first found.
    staged: HashMap<String, Instant>,
    swept: Option<Instant>,
}

impl EtcdStore {
    /// A store in the etcd of these options. Sends no request yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Other`] if the options name no node, or the system has no random numbers.
    pub fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let etcd = Etcd {
            link: Arc::new(Link::new(options)?),
            layout: Layout::new(&options.root, options.limit),
            orphans_after: options.orphans_after,
            process: random::new_id()?,
            namesakes: Mutex::default(),
            awaited: watch::Sender::default(),
            accepts_largest: AtomicBool::default(),
            cache: Mutex::default(),
            read: AtomicU64::default(),
        };
        Ok(Self { etcd: Arc::new(etcd) })
    }

    /// Deletes the staged parts of large commits whose writers have died. Commits do this too, once a
    /// minute.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if etcd fails.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.etcd.sweep().await
    }
}

impl Cache {
    /// Whether another commit was seen under the number of this head.
    fn has_other(&self, state: &layout::State) -> bool {
        self.commits.get(&state.head.number).is_some_and(|(_, id)| *id != state.id)
    }

    /// Forgets what depends on the history of commits.
    fn forget(&mut self) {
        self.seen = None;
        self.commits.clear();
        self.noted_lease = 0;
    }

    /// Forgets that a lease is noted in etcd, since a restored store may lack it. Returns the longest one.
    fn lose_noted_lease(&mut self) -> u64 {
        self.noted_lease = 0;
        self.longest_lease
    }
}

impl Etcd {
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // no code panics while it holds the lock
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a commit that this revision wrote.
    fn remember(&self, state: &layout::State, revision: i64) {
        let mut cache = self.cache();
        // keep the first revision, since folding rewrites the head
        let commit = || (revision, state.id.clone());
        cache.commits.entry(state.head.number).or_insert_with(commit);
        while cache.commits.len() > MAX_CACHED {
            cache.commits.pop_first();
        }
    }

    fn revision_of(&self, number: u64) -> Option<i64> {
        self.cache().commits.get(&number).map(|(revision, _)| *revision)
    }

    fn sweep_is_due(&self) -> bool {
        let mut cache = self.cache();
        let due = cache.swept.is_none_or(|last| last.elapsed() >= SWEEP_INTERVAL);
        if due {
            cache.swept = Some(Instant::now());
        }
        due
    }

    /// Those of the staged commits in `found` that are old enough to count as abandoned.
    fn abandoned(&self, found: HashMap<String, Instant>) -> Vec<String> {
        let mut cache = self.cache();
        cache.staged.retain(|id, _| found.contains_key(id));
        let mut abandoned = Vec::new();
        for (id, now) in found {
            let since = *cache.staged.entry(id.clone()).or_insert(now);
            if since.elapsed() >= self.orphans_after {
                abandoned.push(id);
            }
        }
        abandoned
    }

    /// Reads the records with these keys, in this order, as of one revision. Skips missing records.
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
            Err(StoreError::Corrupt(
                "a collection in etcd lists records that do not belong to it".to_owned(),
            ))
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
        // the page holds only a hash of the name
        Ok(records.into_iter().find(|record| lookup(record).as_ref() == Some(wanted)))
    }
}

impl Store for EtcdStore {
    type Feed = EtcdFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.etcd.state().await?.0.head)
    }

    /// Also asks a node for alarms: with one, etcd can be read but not written.
    async fn health(&self) -> Result<(), StoreError> {
        self.etcd.state().await?;
        self.etcd.link.check_alarms().await
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
        usize::try_from(members.count()).map_err(|error| StoreError::Other(error.to_string()))
    }

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.etcd.commit(head, commit).await
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.etcd.raise_format(head, format).await
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        self.etcd.load().await
    }

    fn load_progress(&self) -> u64 {
        self.etcd.read.load(Ordering::Relaxed)
    }

    async fn follow(&self, from: Head) -> Result<EtcdFeed, StoreError> {
        EtcdFeed::new(Arc::clone(&self.etcd), from).await
    }

    async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        self.etcd.edges().await
    }

    async fn unlisted_for(&self) -> Result<Duration, StoreError> {
        self.etcd.unlisted_for().await
    }

    async fn await_reports(&self, number: u64) -> Result<(), StoreError> {
        self.etcd.await_reports(number).await
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl SharedStore for EtcdStore {
    /// One failed attempt is a round over all nodes.
    async fn wait_until_ready(
        &self,
        on_failure: impl FnMut(&StoreError) + Send,
    ) -> Result<(), StoreError> {
        self.etcd.link.wait_until_ready(self.etcd.layout.head(), on_failure).await
    }

    async fn report(&self, edge: Edge) -> Result<Head, StoreError> {
        self.etcd.report(edge).await
    }

    fn awaited(&self) -> u64 {
        *self.etcd.awaited.borrow()
    }

    async fn awaited_changed(&self, number: u64) {
        // the sender lives as long as this store
        let _ = self.etcd.awaited.subscribe().wait_for(|awaited| *awaited != number).await;
    }

    async fn withdraw_report(&self) -> Result<(), StoreError> {
        self.etcd.withdraw_report().await
    }

    async fn forget(&self, name: &str) -> Result<(), StoreError> {
        self.etcd.forget(name).await
    }

    fn take_name_conflict(&self) -> bool {
        self.etcd.take_name_conflict()
    }
}
