//! The format of a store in etcd: a new one begins with the newest format that all edges support, and an edge that does
//! not support the format keeps its last records. Needs etcd (Debian: etcd-server, etcd-client).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod running;

use std::time::Duration;

use sip_authz::Snapshot;
use sip_authz::model::Vocabulary;
use sip_authz_store::conformance::rises;
use sip_authz_store::{
    CommitOutcome, Edge, Follower, FollowerState, Format, Head, SharedStore as _, Store as _,
    StoreError,
};
use sip_authz_testing::etcd_cluster::Cluster;

use running::{Running, store, with_domain};

const LEASE: Duration = Duration::from_secs(6);

fn ctl(cluster: &Cluster, arguments: &[&str]) -> String {
    let urls = cluster.urls().join(",");
    cluster.ctl(&[&["--endpoints", &urls], arguments].concat()).unwrap()
}

fn text(cluster: &Cluster, key: &str) -> String {
    ctl(cluster, &["get", "--print-value-only", &format!("sip-authz/{key}")])
}

/// An edge of a version without formats makes the first commit of a new store an old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_store_begins_with_a_format_that_all_edges_support() {
    let cluster = Cluster::start(1);
    let [own, other] = [store(&cluster), store(&cluster)];
    let old = Edge { newest_format: Format::FIRST, ..Edge::new("old", Head::default()) };
    other.report(old).await.unwrap();
    assert_eq!(own.edges().await.unwrap()[0].newest_format, Format::FIRST);
    let committed = own.commit(Head::default(), with_domain(1)).await.unwrap();
    assert_eq!(committed, CommitOutcome::Committed(1));
    let first = text(&cluster, "head");
    assert!(first.starts_with("{\"v\":2,") && !first.contains("format"), "{first}");
    other.withdraw_report().await.unwrap();
    assert_eq!(text(&cluster, "format/old"), "");
    rises(own.clone()).await;
    let risen = text(&cluster, "head");
    assert!(risen.starts_with("{\"v\":3,") && risen.contains("\"format\":2"), "{risen}");

    // the format rises only if the edges of that moment support it
    let cluster = Cluster::start(1);
    let [own, other] = [store(&cluster), store(&cluster)];
    let old = Edge { newest_format: Format::FIRST, ..Edge::new("old", Head::default()) };
    other.report(old.clone()).await.unwrap();
    own.commit(Head::default(), with_domain(1)).await.map(drop).unwrap();
    let head = own.head().await.unwrap();
    assert_eq!(own.raise_format(head, Format::NEWEST).await, Ok(CommitOutcome::Conflict));
    assert_eq!(own.head().await, Ok(head));

    // without such an edge it has the newest format
    let cluster = Cluster::start(1);
    let own = store(&cluster);
    own.report(Edge::new("new", Head::default())).await.unwrap();
    own.commit(Head::default(), with_domain(1)).await.map(drop).unwrap();
    assert_eq!(own.head().await.unwrap().format, Format::NEWEST);
}

/// The store becomes one of a later version under a running edge.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_edge_below_the_format_decides_by_its_last_records_until_its_lease_ends() {
    let cluster = Cluster::start(1);
    let own = store(&cluster);
    own.commit(Head::default(), with_domain(1)).await.map(drop).unwrap();
    let edge = Running::start(&cluster, "edge", LEASE).await;
    edge.until("it decides", |edge| edge.serves(1)).await;
    let later = text(&cluster, "head").replace("\"format\":2", "\"format\":3,\"later\":1");
    ctl(&cluster, &["put", "sip-authz/head", later.trim()]);
    // commits of the later version reach its feed as well
    ctl(&cluster, &["put", "sip-authz/log", later.trim()]);

    edge.until("it is outdated", |edge| edge.applied.state() == FollowerState::Outdated).await;
    assert!(edge.serves(1), "it decides by its last records");
    let head = own.head().await.unwrap_err();
    assert!(matches!(head, StoreError::Newer(_)), "{head}");
    let refused = own.commit(Head::default(), with_domain(2)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer(_)), "{refused}");
    assert_eq!(text(&cluster, "head"), later);
    // one that starts now refuses
    let loaded = Follower::load(&store(&cluster), Vocabulary::documented()).await;
    let refused = loaded.map(|(_, head): (Snapshot, Head)| head).unwrap_err().to_string();
    assert!(
        refused.contains("it has format 3, and this version supports formats up to 2"),
        "{refused}"
    );
    edge.until("its lease ends", |edge| !edge.serves(1)).await;
}
