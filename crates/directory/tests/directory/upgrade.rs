//! The format of the store: what it gates, and what raises it.

use sip_authz_directory::{Directory, DirectoryError, EdgeFormat, Kind};
use sip_authz_store::{
    Edge, Format, Head, MemoryStore, Records, Store as _, StoreError, StoreSnapshot,
};
use sip_authz_testing::site::{Probe, settings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sip_authz::AccountSid;
use sip_authz::model::{Account, Commit};

/// A store of an earlier version, which has the account `own`.
async fn old_store() -> (MemoryStore, AccountSid) {
    let sid = AccountSid::from_name(&["own"]);
    let head = Head { number: 5, ..Head::default() };
    let store = MemoryStore::from(Records::from(StoreSnapshot::new(head, vec![]).unwrap()));
    let mut commit = Commit::new();
    commit.put(Account::new(sid).into());
    store.commit(head, commit).await.map(drop).unwrap();
    (store, sid)
}

fn edge(name: &str, newest_format: Format) -> Edge {
    Edge { newest_format, ..Edge::new(name, Head::default()) }
}

#[tokio::test]
async fn a_new_record_waits_until_the_format_is_raised() {
    let (store, sid) = old_store().await;
    let directory = Directory::new(store.clone(), settings(), None);
    let before = store.load().await.unwrap();
    let refused = directory.create_secondary_token(sid).await.err().unwrap();
    assert!(matches!(refused, DirectoryError::Store(StoreError::Format(_))), "{refused}");
    assert_eq!(store.load().await.unwrap(), before);
    // all else goes on
    directory.rotate_token(sid).await.map(drop).unwrap();

    let formats = directory.formats().await.unwrap();
    assert_eq!((formats.store, formats.newest), (Format::FIRST, Format::NEWEST));
    let number = store.head().await.unwrap().number;
    let finished = directory.finish_upgrade().await.unwrap();
    assert_eq!((finished.store, finished.edges), (Format::NEWEST, vec![]));
    assert_eq!(store.head().await.unwrap().number, number + 1);
    directory.create_secondary_token(sid).await.map(drop).unwrap();
    // again changes nothing
    let number = store.head().await.unwrap().number;
    assert_eq!(directory.finish_upgrade().await.unwrap().store, Format::NEWEST);
    assert_eq!(store.head().await.unwrap().number, number);
}

#[tokio::test]
async fn the_format_waits_for_all_edges() {
    let (store, _) = old_store().await;
    let store = Probe::new(store);
    let directory = Directory::new(store.clone(), settings(), None);
    let set = |edges: &[Edge]| *store.counts.edges.lock().unwrap() = edges.to_vec();
    let [old, new] = [Format::FIRST, Format::NEWEST];
    let later = Format::new(new.number() + 1).unwrap();
    set(&[edge("west", old), edge("north", later), edge("east", old), edge("south", new)]);
    let formats = directory.formats().await.unwrap();
    assert_eq!(formats.behind(), ["east", "west"]);
    let last = formats.edges.last().unwrap();
    assert_eq!((last.name.as_str(), last.newest), ("west", old));
    let names: Vec<_> = formats.edges.iter().map(|edge: &EdgeFormat| &*edge.name).collect();
    assert_eq!(names, ["east", "north", "south", "west"]);
    let refused = directory.finish_upgrade().await.unwrap_err();
    assert_eq!(refused.to_string(), "format 2 needs an upgrade of these edges: east, west");
    assert_eq!(store.head().await.unwrap().format, old);
    set(&[edge("west", new), edge("north", later)]);
    assert_eq!(directory.finish_upgrade().await.unwrap().store, new);
    // an edge that reports later does not undo it
    set(&[edge("west", old)]);
    assert_eq!(directory.finish_upgrade().await.unwrap().store, new);
}

#[tokio::test]
async fn the_format_waits_for_edges_that_a_restored_store_does_not_list() {
    let (store, _) = old_store().await;
    let store = Probe::new(store);
    let directory = Directory::new(store.clone(), settings(), None);
    *store.counts.unlisted_for.lock().unwrap() = Duration::from_millis(1_500);
    let refused = directory.finish_upgrade().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the store was restored from a backup, which may lack reports of edges; try again in 2 s"
    );
    assert_eq!(store.head().await.unwrap().format, Format::FIRST);
    *store.counts.unlisted_for.lock().unwrap() = Duration::ZERO;
    assert_eq!(directory.finish_upgrade().await.unwrap().store, Format::NEWEST);
}

#[tokio::test]
async fn an_empty_store_has_the_format_that_all_edges_support() {
    let store = Probe::new(MemoryStore::new());
    let directory = Directory::new(store.clone(), settings(), None);
    *store.counts.edges.lock().unwrap() = vec![edge("old", Format::FIRST)];
    assert_eq!(directory.formats().await.unwrap().store, Format::FIRST);
    let refused = directory.finish_upgrade().await.unwrap_err();
    assert!(matches!(refused, DirectoryError::EdgesBehind { .. }), "{refused}");
}

/// The commands of this process that come one after the other do not keep the format from rising.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_format_rises_beside_commands() {
    let (store, sid) = old_store().await;
    let store = Probe::yielding(store);
    let directory = Arc::new(Directory::new(store.clone(), settings(), None));
    let ended = Arc::new(AtomicBool::new(false));
    let commands: Vec<_> = (0..8)
        .map(|_| {
            let (directory, ended) = (Arc::clone(&directory), Arc::clone(&ended));
            tokio::spawn(async move {
                let mut count = 0;
                while !ended.load(Ordering::Relaxed) {
                    directory.rotate_token(sid).await.map(drop).unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    while store.head().await.unwrap().number < 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(directory.finish_upgrade().await.unwrap().store, Format::NEWEST);
    ended.store(true, Ordering::Relaxed);
    for command in commands {
        assert!(command.await.unwrap() > 0);
    }
    directory.create_secondary_token(sid).await.map(drop).unwrap();
}

#[tokio::test]
async fn a_new_store_begins_with_the_newest_format() {
    let store = MemoryStore::new();
    let directory = Directory::new(store.clone(), settings(), None);
    assert_eq!(directory.formats().await.unwrap().store, Format::NEWEST);
    assert_eq!(directory.finish_upgrade().await.unwrap().store, Format::NEWEST);
    assert_eq!(store.head().await.unwrap(), Head::default());
    directory.create_account("a").await.map(drop).unwrap();
    assert_eq!(store.head().await.unwrap().format, Format::NEWEST);
}

#[tokio::test]
async fn a_secondary_token_works_beside_the_first_until_it_replaces_it() {
    let store = MemoryStore::new();
    let directory = Directory::new(store.clone(), settings(), None);
    let made = directory.create_account("own").await.unwrap();
    let (sid, first) = (made.account.sid, made.token.to_string());
    let accepts = async |token: &str| directory.authenticate(sid, token).await.unwrap().is_some();
    let missing = DirectoryError::NotFound(Kind::SecondaryAuthToken);
    assert_eq!(directory.delete_secondary_token(sid).await, Err(missing.clone()));
    assert_eq!(directory.promote_secondary_token(sid).await, Err(missing.clone()));

    let second = directory.create_secondary_token(sid).await.unwrap().token.to_string();
    assert_ne!(first, second);
    assert!(accepts(&first).await && accepts(&second).await && !accepts("").await);
    let twice = directory.create_secondary_token(sid).await.err().unwrap();
    assert!(twice.to_string().contains("promote or delete it first"), "{twice}");
    // a login ends with its own token
    let login = directory.authenticate(sid, &second).await.unwrap().unwrap();
    let account = directory.delete_secondary_token(sid).await.unwrap();
    assert!(!account.has_token(login.token) && account.token == made.account.token);
    assert!(accepts(&first).await && !accepts(&second).await);

    let third = directory.create_secondary_token(sid).await.unwrap().token.to_string();
    // a thief of the first token may have made it
    let rotated = directory.rotate_token(sid).await.unwrap().token.to_string();
    assert!(!accepts(&first).await && !accepts(&third).await && accepts(&rotated).await);
    assert_eq!(directory.promote_secondary_token(sid).await, Err(missing.clone()));
    let third = directory.create_secondary_token(sid).await.unwrap().token.to_string();
    let account = directory.promote_secondary_token(sid).await.unwrap();
    assert!(account.secondary_token.is_none() && accepts(&third).await);
    assert!(!accepts(&rotated).await);
    assert_eq!(directory.promote_secondary_token(sid).await, Err(missing));
}
