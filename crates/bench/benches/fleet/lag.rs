//! Measures the time from a commit until the last of many edges has applied it, and what the edges cost etcd.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sip_authz::model::Vocabulary;
use sip_authz::{Authorizer, Capacity};
use sip_authz_store::{CommitOutcome, Store as _};
use sip_authz_store::{Follower, Lease, Timer};
use sip_authz_store_etcd::{EtcdOptions, EtcdStore};

use crate::{median_and_p99, one_record, options};
use sip_authz_testing::etcd_cluster::Cluster;

/// The number of processes that run the edges.
const PROCESSES: usize = 4;
/// The commits in a round.
const COMMITS: u32 = 200;
/// The lease of each edge, as with `--stale-for`.
const LEASE: Duration = Duration::from_secs(20);

struct Clock;

impl Timer for Clock {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The system time. All processes run on one machine, so they share the clock.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Runs this many edges, each with its own store and watch. Prints when the last of them has applied
/// each commit, until standard input ends.
pub(super) fn child(count: usize, first: usize, urls: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (told, applied) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut last = BTreeMap::<u64, (usize, f64)>::new();
        for (number, at) in applied {
            let (edges, latest) = last.entry(number).or_default();
            (*edges, *latest) = (*edges + 1, f64::max(*latest, at));
            if *edges == count {
                println!("{number} {latest:.6}");
                last.remove(&number);
            }
        }
    });
    runtime.block_on(async {
        for n in first..first + count {
            let options = EtcdOptions::new(urls.to_vec()).with_first_node(n);
            let store = EtcdStore::new(&options).unwrap();
            let (snapshot, head) = Follower::load(&store, Vocabulary::documented()).await.unwrap();
            let capacity =
                Capacity::default().with_nonces(8_192).with_repeats(64).with_guesses(1_024);
            let authorizer = Authorizer::from_seed(snapshot, capacity, &[7; 32], Instant::now());
            let authorizer = Arc::new(authorizer);
            let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
            let (applied, told) = (follower.applied(), told.clone());
            let name = format!("edge{n}");
            let lease = Lease::new(store, authorizer, applied.clone(), name, Some(LEASE), &Clock);
            tokio::spawn(lease.run(Clock, |event| eprintln!("{event:?}")));
            tokio::spawn(follower.keep(Clock, |event| eprintln!("{event:?}")));
            tokio::spawn(async move {
                let mut number = head.number;
                while applied.wait(number + 1).await {
                    number += 1;
                    told.send((number, now())).unwrap();
                }
            });
        }
        println!("ready");
        let input = || std::io::stdin().lines().next();
        let _ = tokio::task::spawn_blocking(input).await;
    });
    runtime.shutdown_background();
}

/// With this many edges, and commits a second.
pub(super) async fn measure(rounds: u32, edges: usize, rate: u32) {
    println!(
        "{edges} edges in {PROCESSES} processes on an etcd of three nodes, {rate} commits a second:"
    );
    let cluster = Cluster::start(3);
    let store = EtcdStore::new(&options(&cluster, 0)).unwrap();
    let (each, mut children) = (edges / PROCESSES, Vec::new());
    for n in 0..PROCESSES {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--child", &each.to_string(), &(n * each).to_string()])
            .args(cluster.urls())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        children.push((child, lines));
    }
    let mut head = store.head().await.unwrap();
    for round in 0..rounds {
        let mut commits = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let (started, used, revision) =
            (Instant::now(), cluster.processor_time(), cluster.revision());
        for n in 0..COMMITS {
            ticks.tick().await;
            let begun = now();
            let commit = one_record(round, n);
            let number = head.number + 1;
            assert_eq!(store.commit(head, commit).await.unwrap(), CommitOutcome::Committed(number));
            commits.push((number, begun, now()));
            head = store.head().await.unwrap();
        }
        let took = started.elapsed().as_secs_f64();
        let used = (cluster.processor_time() - used).as_secs_f64() / took;
        let written = cluster.revision() - revision - u64::from(COMMITS);
        let reports = f64::from(u32::try_from(written).unwrap()) / took;
        let (mut begun_lags, mut lags) = (Vec::new(), Vec::new());
        let mut last = BTreeMap::<u64, f64>::new();
        for (_, lines) in &mut children {
            for _ in 0..COMMITS {
                let line = lines.next().unwrap().unwrap();
                let (number, at) = line.split_once(' ').unwrap();
                let latest = last.entry(number.parse().unwrap()).or_default();
                *latest = f64::max(*latest, at.parse().unwrap());
            }
        }
        for (number, begun, answered) in commits {
            begun_lags.push((last[&number] - begun) * 1_000.0);
            lags.push((last[&number] - answered) * 1_000.0);
        }
        let ((median, p99), (whole, whole_p99)) =
            (median_and_p99(&mut lags), median_and_p99(&mut begun_lags));
        println!(
            "  from its answer to the last edge: median {median:.1} ms, p99 {p99:.1} ms; from its \
             beginning: median {whole:.1} ms, p99 {whole_p99:.1} ms; {reports:.0} reports a second are \
             written; etcd uses {used:.2} cores"
        );
    }
    for (mut child, _) in children {
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        child.wait().unwrap();
    }
}
