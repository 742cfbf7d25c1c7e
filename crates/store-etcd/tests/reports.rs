//! When edges report, and what they write. Needs etcd (Debian: etcd-server, etcd-client).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod running;

use std::time::{Duration, Instant};

use running::*;
use sip_authz_directory::{Confirmation, Directory};
use sip_authz_store::{Edge, SharedStore as _, Store as _};
use sip_authz_testing::etcd_cluster::Cluster;
use sip_authz_testing::site::settings;

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn edges_report_a_commit_early_only_if_a_change_waits_for_it() {
    let cluster = Cluster::start(1);
    let writer = Directory::new(store(&cluster), settings(), None);
    let edge = Running::start(&cluster, "edge", LEASE).await;
    let reported = async || writer.store().edges().await.unwrap()[0].applied;
    for round in 0..2 {
        let before = reported().await;
        let mut head = before;
        for n in 1..6 {
            head = add(writer.store(), round * 10 + n).await;
        }
        edge.until("the commits are applied", |edge| edge.applied.head() == head).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(reported().await, before, "reported without need");
        let began = Instant::now();
        assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
        assert!(began.elapsed() < LEASE / 8, "{:?}", began.elapsed());
        assert_eq!(reported().await, head);
        assert!(edge.serves(1));
    }
}

/// A report that changes nothing is a read, and shows at once that the keys of the process are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_report_is_written_only_if_the_store_lacks_it() {
    let cluster = Cluster::start(1);
    let ctl = |arguments: &[&str]| {
        cluster.ctl(&[&["--endpoints", &cluster.urls()[0]], arguments].concat()).unwrap()
    };
    let [one, reader] = std::array::from_fn(|_| store(&cluster));
    let head = add(&reader, 1).await;
    let edge = Edge { lease: Some(LEASE), ..Edge::new("one", head) };
    let revision = || {
        let read = ctl(&["get", "none", "--write-out", "json"]);
        let read: serde_json::Value = serde_json::from_str(&read).unwrap();
        read["header"]["revision"].as_i64().unwrap()
    };
    one.report(edge.clone()).await.unwrap();
    let written = revision();
    for _ in 0..5 {
        assert_eq!(one.report(edge.clone()).await, Ok(head));
    }
    assert_eq!(revision(), written);
    // an operator or another process has removed one of its keys
    let keys = ctl(&["get", "--prefix", "sip-authz/", "--keys-only"]);
    let own: Vec<_> = keys.lines().filter(|key| key.contains("/one/")).collect();
    assert_eq!(own.len(), 3, "{own:?}");
    for key in own {
        ctl(&["del", key]);
        one.report(edge.clone()).await.unwrap();
        assert!(ctl(&["get", key]).contains(key), "{key} was not written again");
        assert_eq!(reader.edges().await.unwrap(), std::slice::from_ref(&edge));
    }
}

/// Two edges with one name ask each other to report. Neither may pause, and both stay listed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_live_edge_that_is_asked_reports_again_and_goes_on() {
    const SHORT: Duration = Duration::from_secs(2);
    let cluster = Cluster::start(1);
    let writer = Directory::new(store(&cluster), settings(), None);
    let head = add(writer.store(), 1).await;
    let edge = Running::start(&cluster, "same", SHORT).await;
    let namesake = store(&cluster);
    let report = Edge { lease: Some(SHORT), ..Edge::new("same", head) };
    let began = Instant::now();
    let mut conflicts = 0;
    while began.elapsed() < SHORT * 4 {
        namesake.report(report.clone()).await.unwrap();
        conflicts += u32::from(namesake.take_name_conflict());
        for _ in 0..10 {
            assert!(edge.serves(1), "it refuses calls after {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(writer.store().edges().await.unwrap().len(), 2, "{:?}", began.elapsed());
    }
    // asked at once and after each lease
    assert!((2..=6).contains(&conflicts), "{conflicts}");
    // killed: its report ends, and no change waits for it any more
    edge.tasks.iter().for_each(|task| task.abort());
    let killed = Instant::now();
    while writer.store().edges().await.unwrap().len() == 2 {
        namesake.report(report.clone()).await.unwrap();
        assert!(killed.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!edge.serves(1), "it was removed while it decides");
    assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
}
