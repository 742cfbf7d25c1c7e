//! The records of the store, kept in memory.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, Shared, select};
use sip_authz_store::{CommitEntry, Feed, Head, Records, Store, StoreError};

/// The wait for a commit that the head shows and the feed does not deliver.
const COMMIT_WAIT: Duration = Duration::from_secs(5);

/// The records of a store in memory. It loads them at the first use, and then follows the commits of the
/// store. It loads them again if the store went back or the feed has lost a commit.
pub(super) struct Mirror<S: Store> {
    /// The newest known state of the store; none before the first use.
    current: Mutex<Option<Records>>,
    /// The commits after `current`, or from a little before it on. Held while a reader catches up.
    feed: async_lock::Mutex<Option<S::Feed>>,
    heads: HeadReads,
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
        self.lock().clone().unwrap_or_default()
    }

    /// The records as of the store's head at the time of the call, or of a newer one.
    pub(super) async fn at_head(&self, store: &Arc<S>) -> Result<Records, StoreError> {
        let head = self.heads.read(store).await?;
        if let Some(records) = self.lock().clone().filter(|records| records.head() == head) {
            return Ok(records);
        }
        let mut feed = self.feed.lock().await;
        if let Some(feed) = feed.as_mut()
            && let Ok(records) = self.catch_up(store, feed, head).await
        {
            return Ok(records);
        }
        // a feed that failed is not used again, even if this future is dropped
        *feed = None;
        // many commits of this process leave a feed behind that nobody reads, not the records
        let current = self.lock().as_ref().map(|records| records.head().number);
        if let Some(number) = current {
            let mut following = store.follow(number).await?;
            if let Ok(records) = self.catch_up(store, &mut following, head).await {
                *feed = Some(following);
                return Ok(records);
            }
        }
        let (records, following) = self.load(store).await?;
        *feed = Some(following);
        Ok(records)
    }

    /// Loads all records. A commit of this process during the load is kept.
    async fn load(&self, store: &S) -> Result<(Records, S::Feed), StoreError> {
        let mut records = store.load_records().await?;
        let mut feed = store.follow(records.head().number).await?;
        loop {
            let head = store.head().await?;
            {
                let mut current = self.lock();
                let at = current.as_ref().map_or(0, |records| records.head().number);
                // the store went back, if its head is below a known one
                if at <= records.head().number || head.number < at {
                    *current = Some(records.clone());
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
        let number = current.as_ref().map_or(0, |records| records.head().number);
        if number < after.head().number {
            *current = Some(after.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Records>> {
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
