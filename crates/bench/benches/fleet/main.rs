//! Measures the figures of `docs/fleet.md`: the cost of changes and the time until edges apply them.
//! Starts an etcd cluster of three nodes on loopback (Debian: etcd-server, etcd-client).
//!
//! `cargo bench -p sip-authz-bench --bench fleet -- commits|lag|leader|cold` runs one measurement, and
//! without an argument all but `cold`. `SIP_AUTHZ_ROUNDS` is the number of rounds (default: 3). `lag` takes
//! the number of edges and of commits a second (default: 100 and 20). `cold` fills an etcd of one node with
//! a million domains and a million credentials, or with the count after it. It takes some minutes and one to
//! two gigabytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation)]

mod lag;

use sip_authz_testing::many_records;
use std::time::{Duration, Instant};

use sip_authz::model::{Account, Commit, Vocabulary};
use sip_authz::{AccountSid, Authorizer, Invite, Transport};
use sip_authz_store::Follower;
use sip_authz_store::{CommitOutcome, Store, Sum};
use sip_authz_store_etcd::{EtcdOptions, EtcdStore};
use sip_authz_store_sqlite::SqliteStore;
use sip_authz_testing::etcd_cluster::Cluster;

/// The length of a round of commits.
const ROUND_LENGTH: Duration = Duration::from_secs(5);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let rounds = std::env::var("SIP_AUTHZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(3);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments[..] {
        ["--child", count, first, ref urls @ ..] => {
            lag::child(count.parse().unwrap(), first.parse().unwrap(), urls);
        }
        [] => runtime.block_on(async {
            commits(rounds).await;
            lag::measure(rounds, 100, 20).await;
            leader(rounds).await;
        }),
        ["commits"] => runtime.block_on(commits(rounds)),
        ["lag"] => runtime.block_on(lag::measure(rounds, 100, 20)),
        ["lag", edges, rate] => {
            runtime.block_on(lag::measure(rounds, edges.parse().unwrap(), rate.parse().unwrap()));
        }
        ["leader"] => runtime.block_on(leader(rounds)),
        ["cold"] => runtime.block_on(cold(1_000_000)),
        ["cold", count] => runtime.block_on(cold(count.parse().unwrap())),
        _ => eprintln!("fleet [commits|lag [EDGES RATE]|leader|cold [COUNT]]"),
    }
}

fn options(cluster: &Cluster, first: usize) -> EtcdOptions {
    EtcdOptions::new(cluster.urls()).with_first_node(first)
}

fn one_record(writer: u32, n: u32) -> Commit {
    let mut commit = Commit::new();
    let writer = u8::try_from(writer).unwrap();
    commit.put(Account::new(AccountSid::from_bytes(many_records::sid(100 + writer, n))).into());
    commit
}

/// The median and the 99th percentile.
fn median_and_p99(values: &mut [f64]) -> (f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() * part / 100).min(values.len() - 1)];
    (at(50), at(99))
}

async fn commits(rounds: u32) {
    println!(
        "commits of one record per second, in {rounds} rounds of {} s:",
        ROUND_LENGTH.as_secs()
    );
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("fleet-{}", std::process::id()));
    for writers in [1, 8] {
        let mut rates = Vec::new();
        for _ in 0..rounds {
            let store = SqliteStore::open(&folder).unwrap();
            rates.push(rate(vec![store; writers]).await);
            std::fs::remove_dir_all(&folder).unwrap();
        }
        print_rates("SQLite", writers, &rates);
    }
    for writers in [1, 8] {
        let mut rates = Vec::new();
        for _ in 0..rounds {
            let cluster = Cluster::start(3);
            let store = |n| EtcdStore::new(&options(&cluster, n)).unwrap();
            rates.push(rate((0..writers).map(store).collect()).await);
        }
        print_rates("etcd, three nodes", writers, &rates);
    }
}

fn print_rates(store: &str, writers: usize, rates: &[f64]) {
    let rates: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("  {store}, writers: {writers}: {}", rates.join(", "));
}

/// Answered commits per second with one writer for each store. Each commit has the condition that the
/// head is unchanged; after a conflict the writer tries again.
async fn rate<S: Store>(stores: Vec<S>) -> f64 {
    let started = Instant::now();
    let writing: Vec<_> = stores
        .into_iter()
        .zip(0..)
        .map(|(store, writer)| {
            tokio::spawn(async move {
                let (mut n, mut head) = (0, store.head().await.unwrap());
                while started.elapsed() < ROUND_LENGTH {
                    let commit = one_record(writer, n);
                    // a new record replaces none
                    let put = Sum::of_write(&commit.writes()[0]).unwrap();
                    let after = head.after(&commit, &[put], &[None]).unwrap();
                    match store.commit(head, commit).await.unwrap() {
                        CommitOutcome::Committed(_) => (n, head) = (n + 1, after),
                        CommitOutcome::Conflict => head = store.head().await.unwrap(),
                    }
                }
                n
            })
        })
        .collect();
    let mut answered = 0;
    for writer in writing {
        answered += writer.await.unwrap();
    }
    f64::from(answered) / started.elapsed().as_secs_f64()
}

/// Measures the time from a kill of the leader to the answer of the next commit.
async fn leader(rounds: u32) {
    let cluster = Cluster::start(3);
    let store = EtcdStore::new(&options(&cluster, 0)).unwrap();
    let (mut stalls, mut n) = (Vec::new(), 0);
    for _ in 0..rounds * 3 {
        let leader = cluster.leader();
        cluster.kill(leader);
        let killed = Instant::now();
        loop {
            n += 1;
            let Ok(head) = store.head().await else { continue };
            let outcome = store.commit(head, one_record(0, n)).await;
            if let Ok(CommitOutcome::Committed(_)) = outcome {
                break;
            }
        }
        stalls.push(killed.elapsed().as_secs_f64());
        cluster.restart(leader);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    stalls.sort_unstable_by(f64::total_cmp);
    let text: Vec<_> = stalls.iter().map(|stall| format!("{stall:.2}")).collect();
    println!("leader killed, seconds to the next commit: {}", text.join(", "));
}

/// Measures the time from an etcd with records to a snapshot that decides.
async fn cold(count: u32) {
    const BATCH: u32 = 250_000;
    let cluster = Cluster::start_with(
        1,
        &["--quota-backend-bytes=8589934592", "--auto-compaction-mode=revision"],
    );
    let store = EtcdStore::new(&options(&cluster, 0)).unwrap();
    let started = Instant::now();
    let mut head = store.head().await.unwrap();
    for first in (0..count).step_by(BATCH as usize) {
        let commit = many_records::commit(first..count.min(first + BATCH));
        let number = head.number + 1;
        let outcome = store.commit(head, commit).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(number));
        head = store.head().await.unwrap();
        println!("  {:6.1} s: {number} commits folded in", started.elapsed().as_secs_f64());
    }
    let elapsed = started.elapsed().as_secs_f64();
    println!("{} records written in {elapsed:.0} s", head.records);
    let url = cluster.urls().remove(0);
    let status = |when: &str| {
        let status = cluster.ctl(&["--endpoints", &url, "endpoint", "status", "-w", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status.unwrap()).unwrap();
        let status = &status[0]["Status"];
        let size = status["dbSize"].as_f64().unwrap() / f64::from(1 << 20);
        println!("the database {when}: {size:.0} MiB");
        status["header"]["revision"].to_string()
    };
    let revision = status("as it was written");
    cluster.ctl(&[
        "--endpoints",
        &url,
        "--command-timeout=300s",
        "compact",
        "--physical",
        &revision,
    ]);
    cluster.ctl(&["--endpoints", &url, "--command-timeout=300s", "defrag"]);
    status("compacted and defragmented");
    println!("etcd's memory: {} MiB", cluster.memory(0) >> 20);
    for _ in 0..3 {
        let started = Instant::now();
        let since = || started.elapsed().as_secs_f64();
        let store = EtcdStore::new(&options(&cluster, 0)).unwrap();
        let (snapshot, head) = Follower::load(&store, Vocabulary::documented()).await.unwrap();
        println!("{:6.2} s snapshot of {} records", since(), head.records);
        let authorizer = Authorizer::new(snapshot).unwrap();
        let source = "192.0.2.7:5060".parse().unwrap();
        let invite = Invite::new("sip:1@d0.sip.example.com", source, Transport::Udp);
        assert_eq!(authorizer.authorize_now(&invite).status(), 407);
        println!("{:6.2} s first INVITE answered", since());
    }
    let mut times = Vec::new();
    for n in 0..200 {
        let head = store.head().await.unwrap();
        let begun = Instant::now();
        let outcome = store.commit(head, one_record(0, n)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed(head.number + 1));
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    let (median, p99) = median_and_p99(&mut times);
    println!("a commit of one record then: median {median:.1} ms, p99 {p99:.1} ms");
}
