//! Measures the store in an SQLite file.
//!
//! - `sqlite_load write DIR COMMITS`: makes commits and prints a line after each.
//! - `sqlite_load commits DIR COMMITS`: prints the number of commits of one record per second.
//! - `sqlite_load make DIR COUNT`: makes a store with COUNT domains and COUNT credentials.
//! - `sqlite_load cold DIR`: prints the time from opening the file to the first decision.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz_testing::many_records;
use std::io::Write as _;
use std::time::Instant;

use sip_authz::model::{Account, Commit, Vocabulary};
use sip_authz::{AccountSid, Authorizer, Invite, Transport};
use sip_authz_store::Follower;
use sip_authz_store::{CommitOutcome, Store as _};
use sip_authz_store_sqlite::SqliteStore;
use sip_authz_testing::many_records::sid;

/// The number of domains, and of credentials, in one commit.
const BATCH: u32 = 10_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", folder, commits] => write(folder, commits.parse().unwrap(), true).await,
        ["commits", folder, commits] => write(folder, commits.parse().unwrap(), false).await,
        ["make", folder, count] => make(folder, count.parse().unwrap()).await,
        ["cold", folder] => cold(folder).await,
        _ => eprintln!("sqlite_load write|commits DIR COMMITS, make DIR COUNT, or cold DIR"),
    }
}

async fn write(folder: &str, commits: u32, tell: bool) {
    let store = SqliteStore::open(folder).unwrap();
    let mut head = store.head().await.unwrap();
    let started = Instant::now();
    for n in 0..commits {
        let mut commit = Commit::new();
        commit.put(Account::new(AccountSid::from_bytes(sid(0, n))).into());
        let number = head.number + 1;
        assert_eq!(store.commit(head, commit).await.unwrap(), CommitOutcome::Committed(number));
        head = store.head().await.unwrap();
        if tell {
            let mut out = std::io::stdout().lock();
            out.write_all(format!("{number}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    }
    if !tell {
        let rate = f64::from(commits) / started.elapsed().as_secs_f64();
        println!("{commits} sequential commits: {rate:.0} per second");
    }
}

async fn make(folder: &str, count: u32) {
    let store = SqliteStore::open(folder).unwrap();
    let mut head = store.head().await.unwrap();
    assert_eq!(head.number, 0, "not empty");
    let started = Instant::now();
    for first in (0..count).step_by(BATCH as usize) {
        let commit = many_records::commit(first..count.min(first + BATCH));
        let number = head.number + 1;
        assert_eq!(store.commit(head, commit).await.unwrap(), CommitOutcome::Committed(number));
        head = store.head().await.unwrap();
    }
    println!("{} records written in {:.1} s", head.records, started.elapsed().as_secs_f64());
}

async fn cold(folder: &str) {
    let started = Instant::now();
    let since = || started.elapsed().as_secs_f64();
    let store = SqliteStore::open(folder).unwrap();
    println!("{:6.2} s opened", since());
    let loading = tokio::spawn({
        let store = store.clone();
        async move { Follower::load(&store, Vocabulary::documented()).await }
    });
    let (snapshot, head) = loading.await.unwrap().unwrap();
    println!("{:6.2} s snapshot of {} records", since(), head.records);
    let authorizer = Authorizer::new(snapshot).unwrap();
    let invite = |uri| Invite::new(uri, "192.0.2.7:5060".parse().unwrap(), Transport::Udp);
    let decision = authorizer.authorize_now(&invite("sip:1@d0.sip.example.com"));
    assert_eq!(decision.status(), 407);
    println!("{:6.2} s first INVITE answered", since());
}
