//! The records of the store, kept in memory.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, Shared, select};
use sip_authz_store::{CommitEntry, Feed, Head, Incarnation, Records, Store, StoreError};

/// The number of the newest heads that are kept, to recognise them in reports of edges.
const KEPT_HEADS: usize = 4_096;
/// The wait for a commit that the head shows and the feed does not deliver.
const COMMIT_WAIT: Duration = Duration::from_secs(5);

/// The records of a store in memory. It loads them at the first use, and then follows the commits of the
/// store. It loads them again if the store went back or the feed has lost a commit.
pub(super) struct Mirror<S: Store> {
    /// The newest known state of the store; none before the first use.
    current: Mutex<Option<Current>>,
    /// The commits after `current`, or from a little before it on. Held while a reader catches up.
    feed: async_lock::Mutex<Option<S::Feed>>,
    heads: HeadReads,
}

/// A state of the store.
struct Current {
    records: Records,
    /// The heads of the commits that led to it, oldest first, without those before a load.
    heads: VecDeque<Head>,
}

/// Reads of the store's head. Callers that wait for one to end share the next one.
#[derive(Default)]
struct HeadReads {
    last: Mutex<Option<HeadRead>>,
}

#[derive(Clone)]
struct HeadRead {
    /// Set before the store is asked. A later caller needs a later read: this one may miss a commit that
    /// the caller knows of.
    has_begun: Arc<AtomicBool>,
    head: Shared<BoxFuture<'static, Result<Head, StoreError>>>,
}

impl<S: Store> Mirror<S> {
    pub(super) fn new() -> Self {
        Self {
            current: Mutex::new(None),
            feed: async_lock::Mutex::new(None),
            heads: HeadReads::default(),
        }
    }

    /// The newest known state of the store; no records before the first [`Self::at_head`].
    pub(super) fn current(&self) -> Records {
        self.lock().as_ref().map(|current| current.records.clone()).unwrap_or_default()
    }

    /// Whether a commit of the history that led to [`Self::current`] had this head.
    pub(super) fn had(&self, head: &Head) -> bool {
        self.lock().as_ref().is_some_and(|current| {
            let behind = current.records.head().number.checked_sub(head.number);
            let index = behind.and_then(|behind| {
                current.heads.len().checked_sub(usize::try_from(behind).ok()? + 1)
            });
            index.and_then(|index| current.heads.get(index)) == Some(head)
        })
    }

    /// The records as of the store's head at the time of the call, or of a newer one.
    pub(super) async fn at_head(&self, store: &Arc<S>) -> Result<Records, StoreError> {
        let head = self.heads.read(store).await?;
        let current = self.current();
        if current.head() == head && head.number > 0 {
            return Ok(current);
        }
        let mut feed = self.feed.lock().await;
        if let Some(feed) = feed.as_mut()
            && let Ok(records) = self.catch_up(store, feed, head).await
        {
            return Ok(records);
        }
        // a feed that failed is not used again, even if this future is dropped
        *feed = None;
        // many commits of this process leave an unread feed behind, not the records
        let current = self.lock().as_ref().map(|current| current.records.head());
        if let Some(from) = current
            && let Ok(mut following) = store.follow(from).await
            && let Ok(records) = self.catch_up(store, &mut following, head).await
        {
            *feed = Some(following);
            return Ok(records);
        }
        let (records, following) = self.load(store).await?;
        *feed = Some(following);
        Ok(records)
    }

    /// Loads all records. A commit of this process during the load is kept.
    async fn load(&self, store: &S) -> Result<(Records, S::Feed), StoreError> {
        let mut records = store.load_records().await?;
        let mut feed = store.follow(records.head()).await?;
        loop {
            let head = store.head().await?;
            {
                let mut current = self.lock();
                let at = current.as_ref().map(|it| it.records.head()).unwrap_or_default();
                let loaded = records.head();
                // the store went back, if its head is below a known one
                if at.number <= loaded.number
                    || head.number < at.number
                    || at.incarnation != loaded.incarnation
                {
                    let heads = VecDeque::from([loaded]);
                    *current = Some(Current { records: records.clone(), heads });
                    return Ok((records, feed));
                }
            }
            records = records.after_entry(&next(store, &mut feed).await?)?;
        }
    }

    /// Takes the records after a commit of this process, before the feed delivers it.
    pub(super) fn committed(&self, after: &Records) {
        self.advance(after);
    }

    async fn catch_up(
        &self,
        store: &S,
        feed: &mut S::Feed,
        mut head: Head,
    ) -> Result<Records, StoreError> {
        loop {
            let records = self.current();
            let at = records.head();
            if at == head {
                return Ok(records);
            }
            if at.number >= head.number {
                // a commit of this process was faster than the read of the head, or the store went back
                let now = store.head().await?;
                // the first commit of a store draws its incarnation
                if now.incarnation != at.incarnation
                    && let Some(records) = records.renamed(now)
                {
                    self.rename(at, &records);
                    head = now;
                    continue;
                }
                // Within a history, a number has one commit: only the prediction of the own commit's checksum was wrong.
                let is_drawn = now.incarnation != Incarnation::default();
                let is_same = (now.incarnation, now.number, now.records)
                    == (at.incarnation, at.number, at.records);
                if is_drawn && is_same && now != at {
                    self.rename(at, &records.under(now));
                    head = now;
                    continue;
                }
                if now.number <= at.number && now != at {
                    return Err(StoreError::Corrupt("the store went back".to_owned()));
                }
                head = now;
                continue;
            }
            let entry = next(store, feed).await?;
            if entry.head.number > at.number {
                self.advance(&records.after_entry(&entry)?);
            }
        }
    }

    fn advance(&self, after: &Records) {
        let mut current = self.lock();
        let (Some(Current { records, heads }), head) = (&mut *current, after.head()) else {
            return;
        };
        let is_same = records.head().incarnation == head.incarnation || records.head().number == 0;
        if is_same && records.head().number < head.number {
            if records.head().number + 1 < head.number {
                // other commits came between
                heads.clear();
            }
            heads.push_back(head);
            if heads.len() > KEPT_HEADS {
                heads.pop_front();
            }
            *records = after.clone();
        }
    }

    /// Replaces the records with this head by the same ones in another incarnation.
    fn rename(&self, before: Head, renamed: &Records) {
        if let Some(current) = &mut *self.lock()
            && current.records.head() == before
        {
            current.heads = VecDeque::from([renamed.head()]);
            current.records = renamed.clone();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        // no code panics while it holds the lock
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeadReads {
    /// The head at a time after the call.
    async fn read<S: Store>(&self, store: &Arc<S>) -> Result<Head, StoreError> {
        let read = {
            // no code panics while it holds the lock
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            match &*last {
                Some(read) if !read.has_begun.load(Ordering::SeqCst) => read.clone(),
                before => {
                    let (before, store) = (before.clone(), Arc::clone(store));
                    let has_begun = Arc::<AtomicBool>::default();
                    let begins = Arc::clone(&has_begun);
                    let head = async move {
                        if let Some(before) = before {
                            let _ = before.head.await;
                        }
                        begins.store(true, Ordering::SeqCst);
                        store.head().await
                    };
                    last.insert(HeadRead { has_begun, head: head.boxed().shared() }).clone()
                }
            }
        };
        read.head.await
    }
}

/// The next commit of a feed, which is already in the store.
async fn next<S: Store>(store: &S, feed: &mut S::Feed) -> Result<CommitEntry, StoreError> {
    // A store of one process returns from the pause at once. Its feed has the commit by then.
    match select(pin!(feed.next()), pin!(store.pause(COMMIT_WAIT))).await {
        Either::Left((entry, _)) => entry,
        Either::Right(..) => {
            Err(StoreError::Unreachable("the feed does not deliver a commit".to_owned()))
        }
    }
}
