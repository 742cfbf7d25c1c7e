//! The way of a process to the store, with delays, losses and repeated messages.

use std::sync::Arc;
use std::time::Duration;

use sip_authz::model::{Commit, Key, Record};
use sip_authz_store::{
    Collection, CommitEntry, CommitOutcome, Edge, Feed, Format, Head, Incarnation, LocalFeed,
    Lookup, MemoryStore, SharedStore, Store, StoreError, StoreSnapshot,
};
use sip_authz_testing::virtual_time::Owner;

use super::World;

/// The connection of one process to the store.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) world: Arc<World>,
    pub(crate) client: Owner,
}

pub(crate) struct LinkFeed {
    link: Link,
    inner: LocalFeed,
    /// The history that it follows.
    incarnation: Incarnation,
    /// The number of restores before, if a restore ends this feed. Others then stay silent.
    ends_after: Option<u64>,
    last: Option<CommitEntry>,
}

impl Link {
    fn faults(&self) -> bool {
        *self.world.faults.lock().unwrap()
    }

    /// The store in memory that is in use at present.
    fn inner(&self) -> MemoryStore {
        self.world.storage().inner.clone()
    }

    fn is_old(&self) -> bool {
        self.world.old.lock().unwrap().contains(&self.client)
    }

    /// A process of the version before cannot read a store of a later format.
    fn check_format(&self, format: Format) -> Result<(), StoreError> {
        if self.is_old() && format > Format::FIRST {
            self.world.tally.lock().unwrap().outdated += 1;
            return Err(StoreError::Newer(format!("it has format {format}")));
        }
        Ok(())
    }

    fn is_cut(&self) -> bool {
        self.world.cut.lock().unwrap().contains(&self.client)
    }

    /// The delay of a message, or its loss.
    async fn travel(&self) -> Result<(), StoreError> {
        let time = &self.world.time;
        let slow = self.faults() && time.chance(5);
        time.ms(1 + time.below(if slow { 700 } else { 5 })).await;
        if self.is_cut() || (self.faults() && time.chance(2)) {
            time.ms(200).await;
            return Err(StoreError::Unreachable("the answer was lost".to_owned()));
        }
        Ok(())
    }

    /// Sends a request to the store. The store may execute it even if the answer is lost, and after the
    /// caller has stopped waiting.
    async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.travel().await?;
        let format = self.world.storage().format();
        self.check_format(format)?;
        let answer = asked.await;
        self.travel().await?;
        answer
    }
}

impl Link {
    /// Makes a commit, or raises the format, if the head is still `head`.
    async fn write(
        &self,
        head: Head,
        commit: Commit,
        format: Option<Format>,
    ) -> Result<CommitOutcome, StoreError> {
        self.ask(async {
            let mut storage = self.world.storage();
            if storage.head(self.world.time.elapsed()) != head {
                return Ok(CommitOutcome::Conflict);
            }
            // the store in memory has no incarnation
            let head = storage.inner.head().await?;
            let outcome = match format {
                None => storage.inner.commit(head, commit.clone()).await?,
                Some(format) => storage.inner.raise_format(head, format).await?,
            };
            storage.committed(&commit, outcome).await?;
            let mut tally = self.world.tally.lock().unwrap();
            tally.commits += 1;
            tally.raises += u64::from(format.is_some());
            Ok(outcome)
        })
        .await
    }
}

impl Store for Link {
    type Feed = LinkFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        self.ask(async { Ok(self.world.storage().head(self.world.time.elapsed())) }).await
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        self.ask(self.inner().get(key)).await
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Record>, StoreError> {
        self.ask(self.inner().find(lookup)).await
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.ask(self.inner().range(collection, after, limit)).await
    }

    async fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        self.ask(self.inner().count(collection)).await
    }

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.write(head, commit, None).await
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.write(head, Commit::new(), Some(format)).await
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        self.ask(async {
            let mut storage = self.world.storage();
            storage.head(self.world.time.elapsed());
            let StoreSnapshot { head, records } = storage.inner.load().await?;
            Ok(StoreSnapshot { head: storage.of_present(head), records })
        })
        .await
    }

    async fn follow(&self, from: Head) -> Result<LinkFeed, StoreError> {
        let following = self.ask(async {
            let mut storage = self.world.storage();
            let head = storage.head(self.world.time.elapsed());
            Ok((storage.follow(from).await?, head.incarnation))
        });
        let (inner, incarnation) = following.await?;
        let restores = self.world.storage().restores;
        let ends_after = self.world.time.chance(50).then_some(restores);
        Ok(LinkFeed { link: self.clone(), inner, incarnation, ends_after, last: None })
    }

    async fn edges(&self) -> Result<Vec<Edge>, StoreError> {
        self.ask(async { Ok(self.world.storage().edges.values().cloned().collect()) }).await
    }

    async fn unlisted_for(&self) -> Result<Duration, StoreError> {
        let now = || self.world.time.elapsed();
        self.ask(async { Ok(self.world.storage().unlisted_for(now())) }).await
    }

    async fn await_reports(&self, number: u64) -> Result<(), StoreError> {
        self.ask(async {
            self.world.storage().awaited = number;
            Ok(())
        })
        .await
    }

    async fn pause(&self, time: Duration) {
        self.world.time.sleep(time).await;
    }
}

impl SharedStore for Link {
    async fn wait_until_ready(
        &self,
        mut on_failure: impl FnMut(&StoreError) + Send,
    ) -> Result<(), StoreError> {
        while let Err(error) = self.head().await {
            on_failure(&error);
        }
        Ok(())
    }

    async fn report(&self, mut edge: Edge) -> Result<Head, StoreError> {
        if self.is_old() {
            edge.newest_format = Format::FIRST;
        }
        self.ask(async {
            let mut storage = self.world.storage();
            storage.edges.insert(edge.name.clone(), edge);
            Ok(storage.head(self.world.time.elapsed()))
        })
        .await
    }

    fn awaited(&self) -> u64 {
        if self.is_cut() { 0 } else { self.world.storage().awaited }
    }

    async fn awaited_changed(&self, number: u64) {
        while self.awaited() == number {
            self.world.time.ms(100).await;
        }
    }

    async fn withdraw_report(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn forget(&self, name: &str) -> Result<(), StoreError> {
        self.ask(async {
            self.world.storage().edges.remove(name);
            Ok(())
        })
        .await
    }

    fn take_name_conflict(&self) -> bool {
        false
    }
}

impl Feed for LinkFeed {
    async fn next(&mut self) -> Result<CommitEntry, StoreError> {
        let Link { world, .. } = &self.link;
        loop {
            self.link.travel().await?;
            if self.ends_after.is_some_and(|restores| world.storage().restores > restores) {
                return Err(StoreError::Unreachable("the feed has ended".to_owned()));
            }
            if self.link.faults() && world.time.chance(3) {
                // repeats the last message
                if let Some(last) = self.last.clone() {
                    return Ok(last);
                }
            }
            let mut waiting = std::pin::pin!(world.time.ms(500));
            let mut coming = std::pin::pin!(self.inner.next());
            let came = std::future::poll_fn(|context| {
                if let std::task::Poll::Ready(came) = coming.as_mut().poll(context) {
                    return std::task::Poll::Ready(Some(came));
                }
                waiting.as_mut().poll(context).map(|()| None)
            })
            .await;
            let Some(came) = came else { continue };
            let mut came = came?;
            self.link.check_format(came.head.format)?;
            came.head.incarnation = self.incarnation;
            if self.link.faults() && world.time.chance(3) {
                // the message is lost
                continue;
            }
            self.last = Some(came.clone());
            return Ok(came);
        }
    }
}
