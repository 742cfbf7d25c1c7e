//! An etcd that has reached its quota takes no changes, and stops no call. Needs etcd (Debian: etcd-server,
//! etcd-client).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod running;

use std::time::{Duration, Instant};

use running::*;
use sip_authz_directory::{Confirmation, Directory, DirectoryError};
use sip_authz_store::{Edge, Head, SharedStore as _, Store as _, StoreError};
use sip_authz_testing::etcd_cluster::Cluster;
use sip_authz_testing::site::settings;

const QUOTA: usize = 4 << 20;
const LEASE: Duration = Duration::from_secs(2);

struct Limited(Cluster);

impl Limited {
    fn start() -> Self {
        Self(Cluster::start_with(1, &["--quota-backend-bytes", &QUOTA.to_string()]))
    }

    fn ctl(&self, arguments: &[&str]) -> Option<String> {
        self.0.ctl(&[&["--endpoints", &self.0.urls()[0]], arguments].concat())
    }

    /// Writes other keys until etcd raises the alarm.
    fn fill(&self) {
        let large = "x".repeat(100 << 10);
        let written =
            (0..QUOTA).take_while(|n| self.ctl(&["put", &format!("junk/{n}"), &large]).is_some());
        assert!(written.count() < QUOTA >> 10);
        assert!(self.ctl(&["alarm", "list"]).unwrap().contains("NOSPACE"));
    }

    /// Recovers as the documentation of etcd says.
    fn recover(&self) {
        self.ctl(&["del", "--prefix", "junk/"]).unwrap();
        let status = self.ctl(&["endpoint", "status", "--write-out", "json"]).unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let revision = status[0]["Status"]["header"]["revision"].to_string();
        self.ctl(&["compact", &revision]).unwrap();
        self.ctl(&["defrag"]).unwrap();
        self.ctl(&["alarm", "disarm"]).unwrap();
    }
}

fn is_full<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::NoSpace(_))), "{result:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_etcd_without_space_stops_changes_and_no_calls() {
    let etcd = Limited::start();
    let writer = Directory::new(store(&etcd.0), settings(), None);
    let head = add(writer.store(), 1).await;
    let edge = Running::start(&etcd.0, "edge", LEASE).await;
    edge.until("the commit is applied", |edge| edge.applied.head() == head).await;
    assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
    assert_eq!(writer.store().health().await, Ok(()));
    etcd.fill();
    let refused = writer.import(with_domain(2)).await;
    assert!(matches!(refused, Err(DirectoryError::Store(StoreError::NoSpace(_)))), "{refused:?}");
    let health = writer.store().health().await.unwrap_err();
    assert!(matches!(&health, StoreError::NoSpace(why) if why.contains("NOSPACE")), "{health:?}");
    let filled = Instant::now();
    while filled.elapsed() < LEASE * 3 {
        assert!(edge.serves(1), "the edge refuses calls after {:?}", filled.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // what was confirmed stays so, and reads work
    assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
    assert_eq!(store(&etcd.0).load().await.unwrap().head, head);
    etcd.recover();
    assert_eq!(writer.store().health().await, Ok(()));
    writer.import(with_domain(2)).await.unwrap();
    assert_eq!(writer.confirm(PATIENCE).await.unwrap(), Confirmation::Everywhere);
    assert!(edge.serves(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_space_an_earlier_report_stands_and_no_new_one() {
    let etcd = Limited::start();
    let [one, two, reader] = std::array::from_fn(|_| store(&etcd.0));
    let head = add(&reader, 1).await;
    let edge = |name: &str, applied, lease| Edge { lease: Some(lease), ..Edge::new(name, applied) };
    let first = edge("one", Head::default(), LEASE);
    assert_eq!(one.report(first.clone()).await, Ok(head));
    etcd.fill();
    // it has applied a commit since, which it cannot report
    assert_eq!(one.report(edge("one", head, LEASE)).await, Ok(head));
    assert_eq!(reader.edges().await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(one.report(first).await, Ok(head));
    // another lease, another name, another process
    is_full(one.report(edge("one", head, LEASE * 2)).await);
    is_full(one.report(edge("other", head, LEASE)).await);
    is_full(two.report(edge("one", head, LEASE)).await);
    // an edge that no report shows may not go on
    reader.forget("one").await.unwrap();
    is_full(one.report(edge("one", head, LEASE)).await);
    etcd.recover();
    assert_eq!(one.report(edge("one", head, LEASE)).await, Ok(head));
    assert_eq!(reader.edges().await.unwrap(), [edge("one", head, LEASE)]);
}
