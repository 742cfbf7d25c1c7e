//! The store in memory conforms, and reports an error to feeds that lag too far behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::model::{Account, Commit, Vocabulary};
use sip_authz::{AccountSid, Snapshot};
use sip_authz_store::conformance::{conforms, rises};
use sip_authz_store::{
    CommitOutcome, Feed, Follower, Format, Head, MemoryStore, Records, Store, StoreError,
    StoreSnapshot,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms_on_several_threads() {
    conforms(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn it_conforms_on_one_thread() {
    conforms(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn the_format_of_an_older_store_rises() {
    let head = Head { number: 3, ..Head::default() };
    rises(MemoryStore::from(Records::from(StoreSnapshot::new(head, vec![]).unwrap()))).await;
}

#[tokio::test]
async fn clones_are_one_store() {
    let store = MemoryStore::new();
    let clone = store.clone();
    let mut commit = Commit::new();
    commit.put(Account::new(AccountSid::from_name(&["a"])).into());
    assert_eq!(clone.commit(Head::default(), commit).await.unwrap(), CommitOutcome::Committed(1));
    assert_eq!(store.load().await.unwrap(), clone.load().await.unwrap());
}

#[tokio::test]
async fn a_store_counts_on_from_its_first_number() {
    let store = MemoryStore::starting_at(7);
    let begin = Head { number: 7, format: Format::NEWEST, ..Head::default() };
    let mut feed = store.follow(begin).await.unwrap();
    let mut commit = Commit::new();
    commit.put(Account::new(AccountSid::from_name(&["a"])).into());
    let conflict = store.commit(Head::default(), commit.clone()).await.unwrap();
    assert_eq!(conflict, CommitOutcome::Conflict);
    assert_eq!(store.commit(begin, commit).await.unwrap(), CommitOutcome::Committed(8));
    let entry = feed.next().await.unwrap();
    assert_eq!((entry.head.number, store.head().await.unwrap()), (8, entry.head));
    let (snapshot, head) = Follower::load(&store, Vocabulary::documented()).await.unwrap();
    assert_eq!((snapshot.number(), head), (8, entry.head));
}

#[tokio::test]
async fn a_feed_that_lags_too_far_behind_fails() {
    let store = MemoryStore::new();
    let mut first = store.follow(Head::default()).await.unwrap();
    let mut second = store.follow(Head { number: 1, ..Head::default() }).await.unwrap();
    for number in 1..=4_097 {
        let mut commit = Commit::new();
        commit.put(Account::new(AccountSid::from_name(&["a"])).into());
        let head = store.head().await.unwrap();
        assert_eq!(store.commit(head, commit).await.unwrap(), CommitOutcome::Committed(number));
    }
    let gone = StoreError::Other("commit 1 is no longer in memory".to_owned());
    assert_eq!(first.next().await.unwrap_err(), gone);
    assert_eq!(gone.to_string(), "the store: commit 1 is no longer in memory");
    assert_eq!(second.next().await.unwrap().head.number, 2);
}

/// The records of the conformance test build a valid snapshot.
#[test]
fn the_full_records_keep_the_rules() {
    let vocabulary = Vocabulary::with(["callInternational"]).unwrap();
    let builder = Snapshot::builder().vocabulary(vocabulary);
    let records = sip_authz_store::conformance::full_records().into_iter();
    records.fold(builder, |builder, record| builder.record(record)).build().unwrap();
}
