//! A record has fields that this version ignores. The checksums of the store cover them, those of the records in memory
//! do not.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sip_authz::AccountSid;
use sip_authz::model::{AccountStatus, Commit, Key};
use sip_authz_directory::{Directory, Page};
use sip_authz_store::{
    CommitEntry, CommitOutcome, Feed, Format, Head, Incarnation, LocalFeed, MemoryStore, Store,
    StoreError, StoreSnapshot, Sum,
};
use sip_authz_testing::site::settings;

const IGNORED: Sum = Sum::from_bytes([7; 32]);

/// A store in memory with an incarnation, in which this account has ignored fields until it is written again.
#[derive(Clone)]
struct Ignoring {
    inner: MemoryStore,
    account: AccountSid,
    /// The number of the commit that wrote the account again.
    lost_by: Arc<Mutex<Option<u64>>>,
    loads: Arc<AtomicUsize>,
}

impl Ignoring {
    fn of(&self, head: Head) -> Head {
        let lost = self.lost_by.lock().unwrap().is_some_and(|number| head.number >= number);
        let sum = if lost { head.sum } else { head.sum.plus(IGNORED) };
        Head { incarnation: Incarnation { generation: 1, id: 1 }, sum, ..head }
    }
}

struct IgnoringFeed(LocalFeed, Ignoring);

impl Feed for IgnoringFeed {
    async fn next(&mut self) -> Result<CommitEntry, StoreError> {
        let CommitEntry { head, commit, put, replaced } = self.0.next().await?;
        let lost_here = *self.1.lost_by.lock().unwrap() == Some(head.number);
        let key = Key::Account(self.1.account);
        let of_account = |key_of| lost_here && key_of == key;
        let replaced = commit.writes().iter().zip(replaced.iter()).map(|(write, replaced)| {
            replaced.map(|sum| if of_account(write.key()) { sum.plus(IGNORED) } else { sum })
        });
        let replaced = replaced.collect();
        Ok(CommitEntry { head: self.1.of(head), commit, put, replaced })
    }
}

impl Store for Ignoring {
    type Feed = IgnoringFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.of(self.inner.head().await?))
    }

    sip_authz_testing::reads_of!(self => self.inner);

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        let before = self.inner.head().await?;
        if self.of(before) != head {
            return Ok(CommitOutcome::Conflict);
        }
        if commit.writes().iter().any(|write| write.key() == Key::Account(self.account)) {
            self.lost_by.lock().unwrap().get_or_insert(before.number + 1);
        }
        self.inner.commit(before, commit).await
    }

    async fn raise_format(&self, _: Head, _: Format) -> Result<CommitOutcome, StoreError> {
        unreachable!("the store has the newest format")
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let StoreSnapshot { head, records } = self.inner.load().await?;
        Ok(StoreSnapshot { head: self.of(head), records })
    }

    async fn follow(&self, from: Head) -> Result<IgnoringFeed, StoreError> {
        Ok(IgnoringFeed(self.inner.follow(from).await?, self.clone()))
    }
}

#[tokio::test]
async fn a_change_of_such_a_record_loads_nothing_again() {
    let inner = MemoryStore::new();
    let made = Directory::new(inner.clone(), settings(), None).create_account("later").await;
    let account = made.unwrap().account.sid;
    let (lost_by, loads) = Default::default();
    let store = Ignoring { inner, account, lost_by, loads };
    let [ours, theirs] = [(); 2].map(|()| Directory::new(store.clone(), settings(), None));
    let names = async |directory: &Directory<Ignoring>| {
        let listing = directory.accounts(Page::first(9)).await.unwrap();
        let names = listing.rows.into_iter().map(|account| account.friendly_name);
        names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    for directory in [&ours, &theirs] {
        assert_eq!(names(directory).await, ["later"]);
    }
    let suspended = Some(AccountStatus::Suspended);
    ours.update_account(account, Some("changed"), suspended).await.unwrap();
    ours.create_account("next").await.map(drop).unwrap();
    theirs.create_account("more").await.map(drop).unwrap();
    for directory in [&ours, &theirs] {
        assert_eq!(names(directory).await, ["changed", "more", "next"]);
    }
    assert_eq!(store.loads.load(Ordering::Relaxed), 2, "one load of each process");
}
