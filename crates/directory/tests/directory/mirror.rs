//! The records in memory follow the store: commits of other processes, lost commits and restored stores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sip_authz::model::Commit;
use sip_authz_directory::{Directory, DirectoryError, Page};
use sip_authz_store::{
    CommitEntry, CommitOutcome, Feed, Format, Head, LocalFeed, MemoryStore, Store, StoreError,
    StoreSnapshot,
};
use sip_authz_testing::site::settings;

/// A store that an operator can restore, and whose feeds can be silent.
#[derive(Clone, Default)]
struct Restorable {
    inner: Arc<Mutex<MemoryStore>>,
    is_silent: Arc<AtomicBool>,
    loads: Arc<AtomicUsize>,
}

impl Restorable {
    fn now(&self) -> MemoryStore {
        self.inner.lock().unwrap().clone()
    }

    /// The number of loads since the last call.
    fn loads(&self) -> usize {
        self.loads.swap(0, Ordering::Relaxed)
    }
}

struct MaybeSilent {
    feed: LocalFeed,
    is_silent: Arc<AtomicBool>,
}

impl Feed for MaybeSilent {
    async fn next(&mut self) -> Result<CommitEntry, StoreError> {
        if self.is_silent.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.feed.next().await
    }
}

impl Store for Restorable {
    type Feed = MaybeSilent;

    async fn head(&self) -> Result<Head, StoreError> {
        self.now().head().await
    }

    sip_authz_testing::reads_of!(self => self.now());

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.now().commit(head, commit).await
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.now().raise_format(head, format).await
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.now().load().await
    }

    async fn follow(&self, from: Head) -> Result<MaybeSilent, StoreError> {
        let feed = self.now().follow(from).await?;
        Ok(MaybeSilent { feed, is_silent: Arc::clone(&self.is_silent) })
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

async fn names(directory: &Directory<Restorable>) -> Vec<String> {
    let listing = directory.accounts(Page::first(100)).await.unwrap();
    listing.rows.into_iter().map(|account| account.friendly_name).collect()
}

#[tokio::test]
async fn commits_of_another_process_are_seen_without_another_load() {
    let store = Restorable::default();
    let ours = Directory::new(store.clone(), settings(), None);
    let theirs = Directory::new(store.clone(), settings(), None);
    assert!(names(&ours).await.is_empty());
    for n in 0..5 {
        theirs.create_account(&format!("theirs {n}")).await.unwrap();
        assert_eq!(names(&ours).await.len(), 2 * n + 1);
        ours.create_account(&format!("ours {n}")).await.unwrap();
        assert_eq!(names(&theirs).await.len(), 2 * n + 2);
    }
    assert_eq!(store.loads(), 2);
}

#[tokio::test]
async fn commits_that_the_feed_no_longer_has_lead_to_a_load() {
    let store = Restorable::default();
    let ours = Directory::new(store.clone(), settings(), None);
    let theirs = Directory::new(store.clone(), settings(), None);
    let account = theirs.create_account("first").await.unwrap().account.sid;
    assert_eq!(names(&ours).await, ["first"]);
    // more than a store keeps for feeds that lag behind
    for n in 0..4_200 {
        theirs.update_account(account, Some(&format!("name {n}")), None).await.unwrap();
    }
    store.loads();
    assert_eq!(names(&ours).await, ["name 4199"]);
    assert_eq!(store.loads(), 1);
    theirs.update_account(account, Some("last"), None).await.unwrap();
    assert_eq!(names(&ours).await, ["last"]);
    assert_eq!(store.loads(), 0);
}

#[tokio::test]
async fn many_own_commits_lead_to_no_load() {
    let store = Restorable::default();
    let ours = Directory::new(store.clone(), settings(), None);
    let account = ours.create_account("first").await.unwrap().account.sid;
    // more than a store keeps for feeds that lag behind
    for n in 0..4_200 {
        ours.update_account(account, Some(&format!("name {n}")), None).await.unwrap();
    }
    let theirs = Directory::new(store.clone(), settings(), None);
    theirs.create_account("theirs").await.unwrap();
    store.loads();
    assert_eq!(names(&ours).await, ["name 4199", "theirs"]);
    assert_eq!(store.loads(), 0);
}

#[tokio::test]
async fn a_restored_store_is_loaded_again() {
    let store = Restorable::default();
    let directory = Directory::new(store.clone(), settings(), None);
    directory.create_account("kept").await.unwrap();
    let backup = store.load().await.unwrap();
    let lost = directory.create_account("lost").await.unwrap().account.sid;
    store.loads();
    for further in ["", "another account at the number of the lost one", "and one more"] {
        let restored = MemoryStore::new();
        let commit = Commit::from(backup.records.clone());
        let outcome = restored.commit(Head::default(), commit).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(1));
        *store.inner.lock().unwrap() = restored.clone();
        if !further.is_empty() {
            let other = Directory::new(restored, settings(), None);
            other.create_account(further).await.unwrap();
        }
        let expected = [vec!["kept"], vec!["kept", further]];
        assert_eq!(names(&directory).await, expected[usize::from(!further.is_empty())]);
        assert_eq!(store.loads(), 1, "{further}");
        let gone = directory.account(lost).await;
        assert!(matches!(gone, Err(DirectoryError::NotFound(_))), "{gone:?}");
        directory.create_account("new").await.unwrap();
        assert_eq!(names(&directory).await.last().unwrap(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_feed_is_replaced() {
    let store = Restorable::default();
    let ours = Directory::new(store.clone(), settings(), None);
    assert!(names(&ours).await.is_empty());
    store.is_silent.store(true, Ordering::Relaxed);
    let theirs = Directory::new(store.clone(), settings(), None);
    theirs.create_account("theirs").await.unwrap();
    store.loads();
    assert_eq!(names(&ours).await, ["theirs"]);
    assert_eq!(store.loads(), 1);
}
