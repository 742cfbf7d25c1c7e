//! A node of an etcd cluster of three stops answering, and keeps its connections (SIGSTOP). A commit, and its arrival
//! at the feed of its writer, then wait for a limited time. Needs etcd (Debian: etcd-server, etcd-client).
//!
//! An election takes up to 4 s if both candidates have one vote, and longer on a busy machine. So a stall is repeated,
//! and the median counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sip_authz::AccountSid;
use sip_authz::model::{Account, Commit};
use sip_authz_store::{CommitOutcome, Feed, Head, Store, StoreError};
use sip_authz_store_etcd::{EtcdFeed, EtcdOptions, EtcdStore};
use sip_authz_testing::etcd_cluster::Cluster;

/// Runs one cluster at a time, since elections are slow on a busy machine.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The maximum number of rounds of which the median counts.
const ROUNDS: usize = 7;
/// The maximum time of a commit with its arrival while a follower is stopped, and while the leader is.
const FOLLOWER: Duration = Duration::from_secs(2);
const LEADER: Duration = Duration::from_secs(3);
/// The maximum wait for a state that must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(cluster: &Cluster, first: usize) -> EtcdOptions {
    let options = EtcdOptions::new(cluster.urls()).with_first_node(first);
    options.with_give_up_after(PATIENCE)
}

/// A writer that follows its own commits.
struct Writer {
    store: EtcdStore,
    feed: EtcdFeed,
    /// Stops the node before the next write.
    stops_at_write: Arc<AtomicBool>,
}

impl Writer {
    async fn start(cluster: &Arc<Cluster>, first: usize, stopped: usize) -> Self {
        let stops_at_write = Arc::new(AtomicBool::new(false));
        let (stops, freezing) = (Arc::clone(&stops_at_write), Arc::clone(cluster));
        let options = options(cluster, first).with_stop(move || {
            if stops.swap(false, Ordering::Relaxed) {
                freezing.freeze(stopped);
            }
            true
        });
        let store = EtcdStore::new(&options).unwrap();
        let feed = store.follow(store.head().await.unwrap()).await.unwrap();
        Self { store, feed, stops_at_write }
    }

    /// Commits, and waits until the feed has the commit. Returns the time of both.
    async fn commit(&mut self) -> Duration {
        let start = Instant::now();
        let head = self.store.head().await.unwrap();
        let number = head.number + 1;
        let mut commit = Commit::new();
        let name = number.to_string();
        commit.put(Account::new(AccountSid::from_name(&[&name])).into());
        let outcome = self.store.commit(head, commit).await.unwrap();
        // the only writer has no conflict, and no late copy of a request takes effect
        assert_eq!(outcome, CommitOutcome::Committed(number));
        arrival(&mut self.feed, number).await;
        start.elapsed()
    }

    /// Makes some commits. Returns the longest time of one.
    async fn commits(&mut self) -> Duration {
        let mut longest = Duration::ZERO;
        for _ in 0..5 {
            longest = longest.max(self.commit().await);
        }
        longest
    }
}

/// Waits until the feed has this commit.
async fn arrival(feed: &mut EtcdFeed, number: u64) {
    loop {
        let next = tokio::time::timeout(PATIENCE, feed.next()).await;
        if next.expect("the commit arrives").unwrap().head.number == number {
            return;
        }
    }
}

/// Waits until a node that was stopped takes part again.
fn thaw(cluster: &Cluster, node: usize) {
    cluster.thaw(node);
    let urls = cluster.urls();
    cluster.ctl(&["--endpoints", urls.get(node).unwrap(), "get", "none"]).expect("it answers");
    cluster.leader();
}

/// Whether the median of these times is at most `limit`; none if more are needed.
fn judge(times: &[Duration], limit: Duration) -> Option<bool> {
    let within = times.iter().filter(|time| **time <= limit).count();
    let majority = ROUNDS / 2 + 1;
    (within >= majority || times.len() - within >= majority).then_some(within >= majority)
}

/// Repeats rounds until the median of their times is known to be within the limit or not.
async fn median_is_within(limit: Duration, what: &str, mut round: impl AsyncFnMut() -> Duration) {
    let mut times = Vec::new();
    let is_within = loop {
        times.push(round().await);
        if let Some(is_within) = judge(&times, limit) {
            break is_within;
        }
    };
    println!("{what}: {times:.2?}");
    assert!(is_within, "{what}: {times:.2?} exceed {limit:?}");
}

/// Stops a node while a writer that prefers the node `first` commits: between two commits, and with a write under way.
/// Both are given the leader.
async fn check(
    limit: Duration,
    what: &str,
    stopped: impl Fn(usize) -> usize,
    first: impl Fn(usize) -> usize,
) {
    let _one = ONE.lock().await;
    let cluster = Arc::new(Cluster::start(3));
    for is_at_write in [false, true] {
        let when = if is_at_write { "at a write" } else { "between commits" };
        median_is_within(limit, &format!("{what}, {when}"), async || {
            let leader = cluster.leader();
            let (stopped, first) = (stopped(leader), first(leader));
            let mut writer = Writer::start(&cluster, first, stopped).await;
            writer.commits().await;
            if is_at_write {
                writer.stops_at_write.store(true, Ordering::Relaxed);
            } else {
                cluster.freeze(stopped);
            }
            let longest = writer.commits().await;
            thaw(&cluster, stopped);
            // the node has run the requests that it had in its buffers
            writer.commits().await;
            longest
        })
        .await;
    }
    // all commits are there once
    let loaded = EtcdStore::new(&options(&cluster, 0)).unwrap().load().await.unwrap();
    assert_eq!(loaded.records.len() as u64, loaded.head.number);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_follower_stalls_its_writer_for_at_most_two_seconds() {
    let follower = |leader| (leader + 1) % 3;
    check(FOLLOWER, "follower stopped", follower, follower).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_leader_stalls_its_writer_for_at_most_three_seconds() {
    check(LEADER, "leader stopped", |leader| leader, |leader| leader).await;
}

/// A follower sends its writes to the leader, and loses them there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_leader_stalls_the_writer_at_a_follower_for_at_most_three_seconds() {
    check(LEADER, "leader of another stopped", |leader| leader, |leader| (leader + 1) % 3).await;
}

/// A connection to a stopped node is accepted, and no request is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_writer_at_a_stopped_follower_commits_within_two_seconds() {
    let _one = ONE.lock().await;
    let cluster = Arc::new(Cluster::start(3));
    median_is_within(FOLLOWER, "new writer", async || {
        let stopped = (cluster.leader() + 1) % 3;
        cluster.freeze(stopped);
        let start = Instant::now();
        Writer::start(&cluster, stopped, stopped).await.commit().await;
        let time = start.elapsed();
        thaw(&cluster, stopped);
        time
    })
    .await;
}

/// The feed of an edge that sends no request notices a stopped node by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_idle_edge_leaves_a_stopped_follower_within_four_seconds() {
    let _one = ONE.lock().await;
    let cluster = Arc::new(Cluster::start(3));
    median_is_within(Duration::from_secs(4), "idle edge", async || {
        let leader = cluster.leader();
        let stopped = (leader + 1) % 3;
        let mut writer = Writer::start(&cluster, leader, stopped).await;
        let edge = EtcdStore::new(&options(&cluster, stopped)).unwrap();
        let mut feed = edge.follow(edge.head().await.unwrap()).await.unwrap();
        writer.commit().await;
        let Head { number, .. } = writer.store.head().await.unwrap();
        arrival(&mut feed, number).await;
        cluster.freeze(stopped);
        let start = Instant::now();
        writer.commit().await;
        arrival(&mut feed, number + 1).await;
        let time = start.elapsed();
        thaw(&cluster, stopped);
        time
    })
    .await;
}

/// A stopped node runs the first request of a staged commit once more, after the commit was swept as abandoned.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_late_copy_of_a_mark_does_not_bring_back_a_swept_commit() {
    let _one = ONE.lock().await;
    let cluster = Arc::new(Cluster::start(1));
    let (etcd, is_swept) = (Arc::clone(&cluster), Arc::new(AtomicBool::new(false)));
    let was_swept = Arc::clone(&is_swept);
    let options = options(&cluster, 0).with_limit(10_000).with_stop(move || {
        let url = etcd.urls().remove(0);
        let ctl = |arguments: &[&str]| {
            etcd.ctl(&[&["--endpoints", &url], arguments].concat()).expect("it answers")
        };
        let keys = ctl(&["get", "--prefix", "sip-authz/stage/", "--keys-only"]);
        // the mark and the first part
        if let [mark, _] = keys.split_whitespace().collect::<Vec<_>>()[..]
            && !is_swept.swap(true, Ordering::Relaxed)
        {
            ctl(&["del", "--prefix", mark]);
            ctl(&["put", "--", mark, ""]);
        }
        true
    });
    let store = EtcdStore::new(&options).unwrap();
    let mut commit = Commit::new();
    for n in 0..240 {
        commit.put(Account::new(AccountSid::from_name(&[&n.to_string()])).into());
    }
    let outcome = store.commit(Head::default(), commit).await;
    assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{outcome:?}");
    assert!(was_swept.load(Ordering::Relaxed));
    assert_eq!(store.load().await.unwrap().head, Head::default());
}
