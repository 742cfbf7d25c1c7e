//! Edges follow an etcd cluster of three nodes while nodes are killed, frozen and restarted. Afterwards
//! every edge has the same number and checksum, no commit is missing or applied twice, and no answered
//! commit is lost. Needs etcd (Debian: etcd-server, etcd-client).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sip_authz::model::{Account, Commit, Key, Vocabulary};
use sip_authz::{AccountSid, Authorizer, Capacity};
use sip_authz_store::{Applied, Follower, FollowerEvent, Timer};
use sip_authz_store::{CommitOutcome, Feed, Head, Store};
use sip_authz_store_etcd::{EtcdOptions, EtcdStore};
use sip_authz_testing::etcd_cluster::Cluster;
use tokio::task::JoinHandle;

/// Runs one cluster at a time, since elections are slow on a busy machine.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const EDGES: usize = 6;
const WRITERS: u64 = 3;
/// The maximum wait for a state that must come.
const PATIENCE: Duration = Duration::from_secs(120);

struct Clock;

impl Timer for Clock {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

async fn keep(follower: Follower<EtcdStore>, events: Arc<Mutex<Vec<FollowerEvent>>>) {
    match follower.keep(Clock, move |event| events.lock().unwrap().push(event)).await {}
}

struct Edge {
    store: EtcdStore,
    authorizer: Arc<Authorizer>,
    applied: Applied,
    events: Arc<Mutex<Vec<FollowerEvent>>>,
    task: JoinHandle<()>,
}

impl Edge {
    async fn start(options: &EtcdOptions) -> Self {
        let store = EtcdStore::new(options).unwrap();
        let (snapshot, head) = Follower::load(&store, Vocabulary::documented()).await.unwrap();
        let capacity = Capacity::default().with_nonces(8_192).with_repeats(64).with_guesses(1_024);
        let authorizer =
            Arc::new(Authorizer::from_seed(snapshot, capacity, &[7; 32], Instant::now()));
        let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
        let (applied, events) = (follower.applied(), Arc::default());
        let task = tokio::spawn(keep(follower, Arc::clone(&events)));
        Self { store, authorizer, applied, events, task }
    }

    /// Stops the follower; the authorizer keeps its snapshot.
    async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Starts the follower again from where it stopped.
    fn resume(&mut self) {
        let (store, authorizer) = (self.store.clone(), Arc::clone(&self.authorizer));
        let follower = Follower::new(store, authorizer, self.applied.head());
        self.applied = follower.applied();
        self.task = tokio::spawn(keep(follower, Arc::clone(&self.events)));
    }

    fn loads(&self) -> usize {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| matches!(event, FollowerEvent::Loaded(_))).count()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The results that the writers received.
#[derive(Default)]
struct WriterLog {
    /// The number and key of each answered commit, and the time of the answer.
    answered: Vec<(u64, Key, Instant)>,
    /// Commits that returned an error. They may have taken effect.
    unknown: Vec<Key>,
}

/// An etcd cluster, edges that follow it, and writers that never pause.
struct Fleet {
    cluster: Cluster,
    edges: Vec<Edge>,
    log: Arc<Mutex<WriterLog>>,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
    /// Every commit of a feed from the first on, by number.
    history: Arc<Mutex<BTreeMap<u64, Vec<Key>>>>,
    historian: JoinHandle<()>,
}

fn options(cluster: &Cluster, first: usize) -> EtcdOptions {
    let options = EtcdOptions::new(cluster.urls()).with_first_node(first);
    // on a slow machine an election takes long
    options.with_give_up_after(Duration::from_secs(60))
}

fn account(writer: u64, n: u64) -> AccountSid {
    AccountSid::from_name(&[&writer.to_string(), &n.to_string()])
}

async fn write(store: EtcdStore, writer: u64, log: Arc<Mutex<WriterLog>>, stop: Arc<AtomicBool>) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(head) = store.head().await else { continue };
        let record = Account::new(account(writer, n));
        let key = Key::Account(record.sid);
        let mut commit = Commit::new();
        commit.put(record.into());
        match store.commit(head, commit).await {
            Ok(CommitOutcome::Committed(number)) => {
                log.lock().unwrap().answered.push((number, key, Instant::now()));
                n += 1;
            }
            Ok(CommitOutcome::Conflict) => {}
            Err(error) => {
                println!("writer {writer}: {error}");
                log.lock().unwrap().unknown.push(key);
                n += 1;
            }
        }
        // leaves CPU time for elections
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn record_history(store: EtcdStore, history: Arc<Mutex<BTreeMap<u64, Vec<Key>>>>) {
    let mut from = Head::default();
    loop {
        if let Ok(mut feed) = store.follow(from).await {
            while let Ok(next) = feed.next().await {
                from = next.head;
                let keys = next.commit.writes().iter().map(sip_authz::model::Write::key).collect();
                assert!(
                    history.lock().unwrap().insert(from.number, keys).is_none(),
                    "{from:?} was delivered twice"
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Fleet {
    async fn start() -> Self {
        let cluster = Cluster::start(3);
        let mut edges = Vec::new();
        for n in 0..EDGES {
            edges.push(Edge::start(&options(&cluster, n)).await);
        }
        let (log, stop, history) = (Arc::default(), Arc::default(), Arc::default());
        let writers = (0..WRITERS)
            .map(|n| {
                let first = usize::try_from(n).unwrap();
                let store = EtcdStore::new(&options(&cluster, first)).unwrap();
                tokio::spawn(write(store, n, Arc::clone(&log), Arc::clone(&stop)))
            })
            .collect();
        let store = EtcdStore::new(&options(&cluster, 0)).unwrap();
        let historian = tokio::spawn(record_history(store, Arc::clone(&history)));
        let fleet = Self { cluster, edges, log, stop, writers, history, historian };
        fleet.some_commits().await;
        fleet
    }

    /// Waits for further commits that are answered.
    async fn some_commits(&self) {
        let answered = || self.log.lock().unwrap().answered.len();
        let (before, deadline) = (answered(), Instant::now() + PATIENCE);
        while answered() < before + 50 {
            assert!(Instant::now() < deadline, "no commits");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until all edges and the history have this commit.
    async fn all_have(&self, number: u64) {
        for (n, edge) in self.edges.iter().enumerate() {
            let waiting = tokio::time::timeout(PATIENCE, edge.applied.wait(number));
            assert!(waiting.await.is_ok_and(|applied| applied), "edge {n} is behind");
        }
        let deadline = Instant::now() + PATIENCE;
        while self.history.lock().unwrap().len() < usize::try_from(number).unwrap() {
            assert!(Instant::now() < deadline, "the history ends early");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn rest(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Stops the writers, waits until all edges have applied the head, and compares the states.
    async fn check_final_state(mut self, what: &str) -> Vec<Edge> {
        // after the last failure
        self.some_commits().await;
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            writer.await.unwrap();
        }
        let store = EtcdStore::new(&options(&self.cluster, 0)).unwrap();
        let loaded = store.load().await.unwrap();
        let head = loaded.head;
        for n in 1..3 {
            let other = EtcdStore::new(&options(&self.cluster, n)).unwrap();
            assert_eq!(other.load().await.unwrap(), loaded, "node {n}");
        }
        self.all_have(head.number).await;
        for (n, edge) in self.edges.iter().enumerate() {
            assert_eq!(edge.applied.head(), head, "edge {n}");
            assert_eq!(edge.authorizer.snapshot().number(), head.number);
        }
        self.historian.abort();
        let log = self.log.lock().unwrap();
        let history = self.history.lock().unwrap();
        assert!(history.keys().copied().eq(1..=head.number), "numbers are missing");
        // each answered commit is in the history once, under its number
        for (number, key, _) in &log.answered {
            assert_eq!(history[number], [*key]);
        }
        let mut keys: Vec<_> = history.values().flatten().copied().collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "a commit was applied twice");
        let effective = log.unknown.iter().filter(|key| keys.binary_search(key).is_ok()).count();
        assert_eq!(log.answered.len() + effective, all, "unknown commits");
        assert!(loaded.records.iter().map(|record| record.key()).eq(keys));
        let mut times: Vec<_> = log.answered.iter().map(|(_, _, at)| *at).collect();
        times.sort_unstable();
        let stall = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        println!(
            "{what}: {} commits, {} of unknown outcome ({effective} took effect); the longest time \
             without a commit was {} ms; edges reloaded {} times",
            log.answered.len(),
            log.unknown.len(),
            stall.as_millis(),
            self.edges.iter().map(Edge::loads).sum::<usize>(),
        );
        drop((log, history));
        std::mem::take(&mut self.edges)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_leader_is_killed() {
    let _one = ONE.lock().await;
    let fleet = Fleet::start().await;
    let leader = fleet.cluster.leader();
    fleet.cluster.kill(leader);
    fleet.rest(5).await;
    fleet.cluster.restart(leader);
    fleet.rest(2).await;
    fleet.check_final_state("leader killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_node_is_killed_in_turn() {
    let _one = ONE.lock().await;
    let fleet = Fleet::start().await;
    for n in 0..3 {
        fleet.cluster.kill(n);
        fleet.rest(3).await;
        fleet.cluster.restart(n);
        fleet.cluster.leader();
        fleet.rest(3).await;
    }
    fleet.check_final_state("each node killed in turn").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_nodes_are_killed_and_come_back() {
    let _one = ONE.lock().await;
    let fleet = Fleet::start().await;
    for n in 0..3 {
        fleet.cluster.kill(n);
    }
    fleet.rest(3).await;
    for n in 0..3 {
        fleet.cluster.restart(n);
    }
    fleet.rest(4).await;
    fleet.check_final_state("all nodes killed, 3 s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_leader_is_cut_off_and_comes_back() {
    let _one = ONE.lock().await;
    let fleet = Fleet::start().await;
    let leader = fleet.cluster.leader();
    fleet.cluster.freeze(leader);
    fleet.rest(8).await;
    fleet.cluster.thaw(leader);
    fleet.rest(2).await;
    fleet.check_final_state("leader cut off for 8 s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn history_is_compacted_while_an_edge_lags() {
    let _one = ONE.lock().await;
    let mut fleet = Fleet::start().await;
    // an edge that stops while commits continue, and whose next commits are compacted
    let mut lagging = Edge::start(&options(&fleet.cluster, 0)).await;
    lagging.stop().await;
    let before = lagging.applied.head();
    fleet.some_commits().await;
    let url = fleet.cluster.urls()[0].clone();
    let status = fleet.cluster.ctl(&["--endpoints", &url, "endpoint", "status", "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status.unwrap()).unwrap();
    let revision = status[0]["Status"]["header"]["revision"].to_string();
    // the others have all that is compacted
    fleet.all_have(fleet.edges[0].store.head().await.unwrap().number).await;
    fleet.cluster.ctl(&["--endpoints", &url, "compact", &revision]).unwrap();
    assert_eq!(lagging.applied.head(), before);
    lagging.resume();
    fleet.rest(3).await;
    fleet.edges.push(lagging);
    let edges = fleet.check_final_state("compacted while an edge lags").await;
    assert!(edges.last().unwrap().loads() > 0, "it must reload");
    assert!(edges.iter().rev().skip(1).all(|edge| edge.loads() == 0), "the others must not reload");
}

/// A feed without a reader does not block thousands of commits, and misses none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watcher_is_slow() {
    let _one = ONE.lock().await;
    let cluster = Cluster::start(3);
    let store = EtcdStore::new(&options(&cluster, 0)).unwrap();
    let mut slow =
        EtcdStore::new(&options(&cluster, 1)).unwrap().follow(Head::default()).await.unwrap();
    let began = Instant::now();
    for n in 0..2_000 {
        let mut account = Account::new(account(0, n));
        account.friendly_name = "x".repeat(2_000);
        let mut commit = Commit::new();
        commit.put(account.into());
        let head = store.head().await.unwrap();
        assert_eq!(store.commit(head, commit).await.unwrap(), CommitOutcome::Committed(n + 1));
    }
    println!("2,000 sequential commits in {:?}", began.elapsed());
    let mut at = sip_authz_store::Head::default();
    while at.number < 2_000 {
        let next = tokio::time::timeout(PATIENCE, slow.next()).await.unwrap().unwrap();
        next.check(at).unwrap();
        at = next.head;
    }
    assert_eq!(at, store.head().await.unwrap());
}
