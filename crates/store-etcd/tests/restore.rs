//! etcd is restored from a snapshot while edges follow it: they notice, and no change counts as applied
//! everywhere while an edge decides by a state from before. Needs etcd (Debian: etcd-server, etcd-client).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod running;

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use running::*;
use sip_authz::model::{Commit, Key, Target};
use sip_authz_directory::{Confirmation, Directory};
use sip_authz_store::{CommitOutcome, Edge, Feed as _, SharedStore as _, Store as _, StoreError};
use sip_authz_store_etcd::{EtcdOptions, EtcdStore};
use sip_authz_testing::etcd_cluster::Cluster;
use sip_authz_testing::folder::Folder;
use sip_authz_testing::site::settings;
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn edges_notice_a_restore_and_load_the_restored_records() {
    for is_other in [false, true] {
        let (cluster, folder) = (Cluster::start(1), Folder::new());
        let [one, two] = std::array::from_fn(|_| store(&cluster));
        let first = add(&one, 1).await;
        assert_eq!(first.incarnation.generation, 1);
        let edge = Running::start(&cluster, "edge", Duration::from_secs(2)).await;
        let file = folder.join("snapshot");
        cluster.save(&file);
        for n in 2..6 {
            add(&one, n).await;
        }
        let before = two.head().await.unwrap();
        assert_eq!((before.number, before.incarnation), (5, first.incarnation));
        let mut feed = two.follow(before).await.unwrap();
        edge.until("all commits are applied", |edge| edge.applied.head() == before).await;
        cluster.restore(&file, is_other);
        // the commits after the backup are gone, and so is their history
        let after = one.head().await.unwrap();
        assert_eq!((after.number, after.records, after.sum), (1, 2, first.sum));
        assert_eq!(after.incarnation.generation, 2);
        // all agree on one incarnation
        assert_eq!([two.head().await.unwrap(), store(&cluster).head().await.unwrap()], [after; 2]);
        let ended = tokio::time::timeout(PATIENCE, feed.next()).await.unwrap();
        assert!(matches!(ended, Err(StoreError::Restored(_))), "{ended:?}");
        assert!(matches!(two.follow(before).await.err(), Some(StoreError::Restored(_))));
        edge.until("the edge has the restored records", |edge| edge.applied.head() == after).await;
        edge.until("it decides", |edge| edge.serves(1)).await;
        assert!(!edge.serves(5));
        let next = add(&two, 9).await;
        edge.until("the edge follows", |edge| edge.applied.head() == next).await;
        // the numbers overtake those of before
        for n in 10..16 {
            add(&two, n).await;
        }
        assert!(matches!(one.follow(before).await.err(), Some(StoreError::Restored(_))));
    }
}

/// A process that starts after the restore has no memory of the store. A new cluster shows itself by its
/// id.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restore_into_a_new_cluster_is_noticed_by_a_new_process() {
    let (cluster, folder) = (Cluster::start(1), Folder::new());
    let first = add(&store(&cluster), 1).await;
    let file = folder.join("snapshot");
    cluster.save(&file);
    cluster.restore(&file, true);
    let after = store(&cluster).head().await.unwrap();
    assert_eq!(after.number, first.number);
    assert_eq!(after.incarnation.generation, first.incarnation.generation + 1);
    assert_eq!(store(&cluster).head().await.unwrap(), after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_after_a_restore_is_confirmed_only_once_no_edge_decides_by_the_old_state() {
    const LEASE: Duration = Duration::from_secs(4);
    for is_other in [false, true] {
        let (cluster, folder) = (Cluster::start(1), Folder::new());
        let writer = Directory::new(store(&cluster), settings(), None);
        add(writer.store(), 1).await;
        let listed = Running::start(&cluster, "listed", LEASE).await;
        let file = folder.join("snapshot");
        cluster.save(&file);
        // in no report of the backup
        let unlisted = Running::start(&cluster, "unlisted", LEASE).await;
        for n in 2..6 {
            add(writer.store(), n).await;
        }
        assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
        assert!(listed.serves(1) && unlisted.serves(1));
        // cut off: it neither follows nor reports any more, and decides until its lease ends
        unlisted.tasks.iter().for_each(JoinHandle::abort);
        let cut = Instant::now();
        cluster.restore(&file, is_other);
        let mut commit = Commit::new();
        commit.delete(Key::Target(Target::Domain(domain(1))));
        writer.import(commit).await.unwrap();
        // the backup lists one edge alone, with a report that any commit of its history satisfies
        let early = writer.confirm(Duration::from_millis(100)).await.unwrap();
        assert_ne!(early, Confirmation::Everywhere);
        assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
        assert!(!listed.serves(1) && !unlisted.serves(1), "an edge decides by the old state");
        assert!(cut.elapsed() >= LEASE * 9 / 10);
        // later changes are confirmed at once
        writer.import(with_domain(7)).await.unwrap();
        let began = Instant::now();
        assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
        assert!(began.elapsed() < LEASE);
    }
}

/// An edge that was cut off during the restore returns once the numbers have overtaken it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_report_from_before_a_restore_counts_for_no_commit_after_it() {
    let (cluster, folder) = (Cluster::start(1), Folder::new());
    let [late, other] = std::array::from_fn(|_| store(&cluster));
    let writer = Directory::new(store(&cluster), settings(), None);
    add(&other, 1).await;
    let file = folder.join("snapshot");
    cluster.save(&file);
    for n in 2..6 {
        add(&other, n).await;
    }
    let before = late.head().await.unwrap();
    cluster.restore(&file, false);
    for n in 10..14 {
        add(&other, n).await;
    }
    let head = other.head().await.unwrap();
    assert_eq!((head.number, head == before), (before.number, false));
    let edge = Edge::new("late", before);
    let answer = late.report(edge.clone()).await.unwrap();
    assert_eq!(answer, head);
    let limit = Duration::from_millis(200);
    let named = Confirmation::NotBy(vec!["late".to_owned()]);
    assert_eq!(writer.confirm(limit).await.unwrap(), named);
    late.report(Edge { applied: head, ..edge }).await.unwrap();
    assert_eq!(writer.confirm(limit).await.unwrap(), Confirmation::Everywhere);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_planned_before_a_restore_is_refused_after_it() {
    for is_other in [false, true] {
        let (cluster, folder) = (Cluster::start(1), Folder::new());
        let [late, other] = std::array::from_fn(|_| store(&cluster));
        let first = add(&other, 1).await;
        let file = folder.join("snapshot");
        cluster.save(&file);
        for n in 2..6 {
            add(&other, n).await;
        }
        let before = late.head().await.unwrap();
        cluster.restore(&file, is_other);
        // the same records in another history
        let restored = other.head().await.unwrap();
        assert!(restored.has_records_of(first) && restored != first);
        assert_eq!(late.commit(first, with_domain(9)).await.unwrap(), CommitOutcome::Conflict);
        // the same number with other records
        for n in 10..14 {
            add(&other, n).await;
        }
        let head = other.head().await.unwrap();
        assert_eq!((head.number, head.records), (before.number, before.records));
        assert_eq!(late.commit(before, with_domain(9)).await.unwrap(), CommitOutcome::Conflict);
        assert_eq!(store(&cluster).head().await.unwrap(), head);
        assert_eq!(add(&late, 9).await.number, head.number + 1);
    }
}

/// The store is restored after a commit has read its head and before it writes. No process notices, and the
/// commits after the restore have the revisions of the lost ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_meets_a_restore_writes_nothing() {
    let (cluster, folder) = (Cluster::start(1), Folder::new());
    let file = folder.join("snapshot");
    {
        let other = store(&cluster);
        add(&other, 1).await;
        cluster.save(&file);
        for n in 2..6 {
            add(&other, n).await;
        }
    }
    let (reached, at_write) = mpsc::channel();
    let (restored, go_on) = mpsc::channel::<()>();
    let go_on = Mutex::new(go_on);
    let options = EtcdOptions::new(cluster.urls()).with_stop(move || {
        // a later write finds the other end closed
        let _ = reached.send(());
        // the other tasks of this thread go on elsewhere
        let _ = tokio::task::block_in_place(|| go_on.lock().unwrap().recv());
        true
    });
    let late = EtcdStore::new(&options).unwrap();
    let before = late.head().await.unwrap();
    let commit = tokio::spawn(async move { late.commit(before, with_domain(9)).await });
    tokio::task::spawn_blocking(move || at_write.recv().unwrap()).await.unwrap();
    cluster.restore(&file, false);
    let other = store(&cluster);
    for n in 10..14 {
        add(&other, n).await;
    }
    let head = other.head().await.unwrap();
    assert_eq!((head.number, head.incarnation), (before.number, before.incarnation));
    drop(restored);
    assert_eq!(commit.await.unwrap().unwrap(), CommitOutcome::Conflict);
    assert_eq!(other.head().await.unwrap(), head);
}

/// An etcd that lost its contents is as good as restored from an empty backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn edges_follow_a_store_that_was_emptied() {
    let cluster = Cluster::start(1);
    let writer = Directory::new(store(&cluster), settings(), None);
    for n in 1..4 {
        add(writer.store(), n).await;
    }
    let edge = Running::start(&cluster, "edge", Duration::from_secs(2)).await;
    edge.until("it serves the first domain", |edge| edge.serves(1)).await;
    let url = &cluster.urls()[0];
    cluster.ctl(&["--endpoints", url, "del", "--prefix", "sip-authz/"]).unwrap();
    edge.until("it serves nothing", |edge| !edge.serves(1)).await;
    // commits that come often, so that the feed is never silent
    let deadline = Instant::now() + PATIENCE;
    let mut n = 10;
    while !edge.serves(10) {
        assert!(Instant::now() < deadline, "the edge serves the new domains");
        let head = add(writer.store(), n).await;
        assert_eq!(head.incarnation.generation, 2);
        n += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
    edge.until("it decides by all commits", |edge| edge.serves(n - 1)).await;
}
