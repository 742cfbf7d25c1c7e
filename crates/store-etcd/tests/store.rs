//! The store in etcd conforms. Commits too large for one transaction are atomic wherever their writer
//! is killed. Needs etcd (Debian: etcd-server, etcd-client).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, Commit, Credential, CredentialList, Domain, Ha1Set, Key, Realm, Record, UserName,
};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, DomainSid};
use sip_authz_store::conformance::conforms;
use sip_authz_store::{
    Collection, CommitOutcome, Edge, Feed, Format, Head, Lookup, SharedStore, Store, StoreError,
    StoreSnapshot,
};
use sip_authz_store_etcd::{EtcdOptions, EtcdStore};
use sip_authz_testing::etcd_cluster::Cluster;
use tokio::sync::Notify;

static ROOTS: AtomicU64 = AtomicU64::new(0);

fn options(cluster: &Cluster) -> EtcdOptions {
    let root = format!("t{}/", ROOTS.fetch_add(1, Ordering::Relaxed));
    // on a slow machine an answer takes long
    EtcdOptions::new(cluster.urls()).with_root(root).with_give_up_after(Duration::from_secs(60))
}

fn store(options: &EtcdOptions) -> EtcdStore {
    EtcdStore::new(options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms() {
    let cluster = Cluster::start(3);
    conforms(async || store(&options(&cluster))).await;
}

fn list() -> CredentialListSid {
    CredentialListSid::from_name(&["users"])
}

fn realm() -> Realm {
    "example.com".parse().unwrap()
}

fn owner() -> Vec<Record> {
    let account = AccountSid::from_name(&["a"]);
    vec![Account::new(account).into(), CredentialList::new(list(), account, realm()).into()]
}

fn user(n: usize, generation: u32) -> Record {
    let name: UserName = format!("user{n}").parse().unwrap();
    let hash = format!("{generation:08x}{n:024x}");
    let ha1 = Ha1Set::from_hex(&name, &realm(), [(HashFunction::Md5, hash.as_str())]).unwrap();
    let sid = CredentialSid::from_name(&["a", &n.to_string()]);
    Credential::new(sid, list(), name, ha1).into()
}

/// A commit of users and the owner of their list.
fn import(users: usize, generation: u32) -> Commit {
    let mut commit = Commit::new();
    for record in owner().into_iter().chain((0..users).map(|n| user(n, generation))) {
        commit.put(record);
    }
    commit
}

/// Commits on the head of the store.
async fn write(store: &EtcdStore, commit: Commit) -> Result<CommitOutcome, StoreError> {
    store.commit(store.head().await?, commit).await
}

/// The sorted records after an import.
fn after(commit: &Commit) -> Vec<Record> {
    let mut records: Vec<_> = commit
        .writes()
        .iter()
        .map(|write| match write {
            sip_authz::model::Write::Put(record) => record.clone(),
            sip_authz::model::Write::Delete(_) => panic!("an import contains no deletion"),
        })
        .collect();
    records.sort_unstable_by_key(Record::key);
    records
}

/// Commits with a store that stops before write number `allowed`, counted from 0. Returns whether it
/// reached that write.
async fn stopped_at(options: &EtcdOptions, allowed: i64, head: Head, commit: Commit) -> bool {
    let (left, stopped) = (Arc::new(AtomicI64::new(allowed)), Arc::new(Notify::new()));
    let told = Arc::clone(&stopped);
    let stopping = options.clone().with_stop(move || {
        let go_on = left.fetch_sub(1, Ordering::Relaxed) > 0;
        if !go_on {
            told.notify_one();
        }
        go_on
    });
    let store = store(&stopping);
    tokio::select! {
        outcome = store.commit(head, commit) => {
            assert_eq!(outcome.unwrap(), CommitOutcome::Committed(head.number + 1));
            false
        }
        () = stopped.notified() => true,
    }
}

fn root(options: &EtcdOptions) -> String {
    let text = format!("{options:?}");
    text.split("root: \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

async fn staged_keys(cluster: &Cluster, options: &EtcdOptions) -> usize {
    let root = root(options);
    let found = cluster.ctl(&[
        "--endpoints",
        &cluster.urls()[0],
        "get",
        "--prefix",
        "--keys-only",
        &format!("{root}stage/"),
    ]);
    found.unwrap().lines().filter(|line| !line.is_empty()).count()
}

/// Checks a store after a kill: all reads see the old records or all see the new, and commits continue.
/// Returns whether the commit took effect.
async fn check_atomic(
    store: &EtcdStore,
    old: &StoreSnapshot,
    new: &[Record],
    sample: usize,
) -> bool {
    let loaded = store.load().await.unwrap();
    let took_effect = loaded.head.number > old.head.number;
    if took_effect {
        assert_eq!(loaded.head.number, old.head.number + 1);
        assert!(loaded.records == new, "all new records");
    } else {
        assert!(loaded == *old, "all old records");
    }
    let expected = &loaded.records;
    let of_list = Collection::Credentials(list());
    let users: Vec<_> =
        expected.iter().filter(|r| matches!(r, Record::Credential(_))).cloned().collect();
    assert_eq!(store.count(of_list).await.unwrap(), users.len());
    assert_eq!(store.range(of_list, None, sample).await.unwrap(), users[..users.len().min(sample)]);
    for record in users.iter().step_by((users.len() / 10).max(1)) {
        let Record::Credential(user) = record else { unreachable!() };
        assert_eq!(store.get(record.key()).await.unwrap().as_ref(), Some(record));
        let lookup = Lookup::User(user.list, user.username.clone());
        assert_eq!(store.find(lookup).await.unwrap().as_ref(), Some(record));
    }
    took_effect
}

/// A writer is killed before each of its writes in turn. All readers see the old or the new records.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_commit_is_atomic_wherever_its_writer_is_killed() {
    let cluster = Cluster::start(1);
    let (old, new) = (import(700, 1), import(1_500, 2));
    let (mut took_effect, mut had_not) = (0, 0);
    for allowed in 0.. {
        let options = options(&cluster).with_orphans_after(Duration::ZERO);
        let first = store(&options);
        assert_eq!(write(&first, old.clone()).await.unwrap(), CommitOutcome::Committed(1));
        let before = first.load().await.unwrap();
        assert!(before.records == after(&old));
        let mut feed = store(&options).follow(before.head).await.unwrap();
        let killed = stopped_at(&options, allowed, before.head, new.clone()).await;
        let next = store(&options);
        if check_atomic(&next, &before, &after(&new), 100).await {
            took_effect += 1;
        } else {
            had_not += 1;
        }
        // the next writer continues the commit and removes all staged parts
        let head = next.head().await.unwrap();
        let mut commit = Commit::new();
        commit.delete(user(3, 0).key());
        let number = head.number + 1;
        assert_eq!(next.commit(head, commit).await.unwrap(), CommitOutcome::Committed(number));
        next.sweep().await.unwrap();
        next.sweep().await.unwrap();
        assert_eq!(staged_keys(&cluster, &options).await, 0);
        // an edge receives each commit once and complete
        let mut at = before.head;
        while at.number < number {
            let came = feed.next().await.unwrap();
            came.check(at).unwrap();
            at = came.head;
        }
        assert_eq!(at, next.load().await.unwrap().head);
        if !killed {
            println!("{allowed} steps: {had_not} times the old records, {took_effect} the new");
            break;
        }
    }
    assert!(had_not >= 3 && took_effect >= 10, "{had_not} and {took_effect}");
}

/// The same with 100,000 records, at a few steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_import_of_100_000_records_is_atomic_wherever_it_is_killed() {
    let cluster = Cluster::start(1);
    let new = import(100_000, 2);
    let expected = after(&new);
    let nothing = StoreSnapshot { head: Head::default(), records: Vec::new() };
    let began = Instant::now();
    // during staging, just before and after it takes effect, and during folding
    for (allowed, visible) in [(0, false), (1, false), (12, false), (40, true), (700, true)] {
        let options = options(&cluster).with_orphans_after(Duration::ZERO);
        assert!(
            stopped_at(&options, allowed, nothing.head, new.clone()).await,
            "expected more writes"
        );
        let next = store(&options);
        let took_effect = check_atomic(&next, &nothing, &expected, 1_000).await;
        assert_eq!(took_effect, visible, "killed before write {allowed}");
        next.sweep().await.unwrap();
        next.sweep().await.unwrap();
        assert_eq!(staged_keys(&cluster, &options).await, 0);
    }
    println!("five imports of 100,000 in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_in_staging_is_not_swept_at_once() {
    let cluster = Cluster::start(1);
    let options = options(&cluster);
    assert!(stopped_at(&options, 3, Head::default(), import(20_000, 1)).await);
    let other = store(&options);
    other.sweep().await.unwrap();
    assert!(staged_keys(&cluster, &options).await > 0);
    // a commit whose parts are swept too early fails as a whole
    let hasty = store(&options.clone().with_orphans_after(Duration::ZERO));
    hasty.sweep().await.unwrap();
    assert_eq!(staged_keys(&cluster, &options).await, 0);
}

/// A commit that etcd could not fold in is rejected before it is announced.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_cannot_be_folded_in_is_rejected_and_others_succeed() {
    let cluster = Cluster::start_with(1, &["--max-request-bytes", "8000"]);
    let options = options(&cluster).with_limit(6_000);
    let store = store(&options);
    let account = |n: u64| Account::new(AccountSid::from_name(&[&n.to_string()]));
    let commit = |put: Range<u64>, deleted: Range<u64>| {
        let mut commit = Commit::new();
        for n in put {
            commit.put(account(n).into());
        }
        for n in deleted {
            commit.delete(Key::Account(account(n).sid));
        }
        commit
    };
    // a page lists the keys of all accounts while they are few
    let mut head = 0;
    let refused = loop {
        match write(&store, commit(head..head + 1, 0..0)).await {
            Ok(outcome) => assert_eq!(outcome, CommitOutcome::Committed(head + 1)),
            Err(StoreError::TooLarge(why)) => break why,
            Err(error) => panic!("{error:?}"),
        }
        head += 1;
    };
    assert!((130..160).contains(&head), "{head} accounts");
    assert!(refused.contains("/m/") && refused.contains("6000"), "{refused}");
    let before = store.load().await.unwrap();
    // many accounts at once, and a record larger than a request
    assert!(write(&store, commit(1_000..1_400, 0..0)).await.is_err());
    let mut large = account(5);
    large.friendly_name = "x".repeat(7_000);
    let mut one = Commit::new();
    one.put(large.into());
    let large = write(&store, one).await.unwrap_err();
    assert!(matches!(&large, StoreError::TooLarge(why) if why.contains("a record of")), "{large}");
    // none of these commits changed anything
    let other = EtcdStore::new(&options).unwrap();
    assert!(other.load().await.unwrap() == before);
    assert_eq!(before.head.number, head);
    assert_eq!(usize::try_from(head).unwrap(), other.count(Collection::Accounts).await.unwrap());
    assert_eq!(staged_keys(&cluster, &options).await, 0);
    // other commits succeed, and so do deletions
    let domain = Domain::new(DomainSid::from_name(&["d"]), account(0).sid, "d".parse().unwrap());
    let mut one = Commit::new();
    one.put(domain.into());
    assert_eq!(write(&other, one).await.unwrap(), CommitOutcome::Committed(head + 1));
    let gone = write(&other, commit(0..0, 1..2)).await.unwrap();
    assert_eq!(gone, CommitOutcome::Committed(head + 2));
    let gone = write(&store, commit(0..0, 2..20)).await.unwrap();
    assert_eq!(gone, CommitOutcome::Committed(head + 3));
    let back = write(&store, commit(2..10, 0..0)).await.unwrap();
    assert_eq!(back, CommitOutcome::Committed(head + 4));
    let left = usize::try_from(head).unwrap() - 11;
    assert_eq!(other.count(Collection::Accounts).await.unwrap(), left);
    assert_eq!(other.load().await.unwrap().records.len(), left + 1);
}

/// An etcd with a limit below its default.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_etcd_with_a_low_limit_rejects_large_commits() {
    let cluster = Cluster::start_with(1, &["--max-request-bytes", "50000"]);
    let options = options(&cluster);
    let store = store(&options);
    assert_eq!(write(&store, import(20, 1)).await.unwrap(), CommitOutcome::Committed(1));
    let before = store.load().await.unwrap();
    for _ in 0..2 {
        let refused = write(&store, import(700, 2)).await.unwrap_err().reason().to_owned();
        assert!(refused.contains("--max-request-bytes"), "{refused}");
    }
    assert!(store.load().await.unwrap() == before);
    assert_eq!(staged_keys(&cluster, &options).await, 0);
    assert_eq!(write(&store, import(21, 2)).await.unwrap(), CommitOutcome::Committed(2));
    let mut one = Commit::new();
    one.delete(user(3, 0).key());
    assert_eq!(write(&store, one).await.unwrap(), CommitOutcome::Committed(3));
}

/// Machines made from one image share a name. Each process counts, and each reports the conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_edge_with_a_shared_name_is_waited_for() {
    let cluster = Cluster::start(1);
    let options = options(&cluster);
    let [writer, one, two, third] = std::array::from_fn(|_| store(&options));
    let edge = |name: &str, number, lease: Option<u64>| Edge {
        lease: lease.map(Duration::from_millis),
        ..Edge::new(name, at(number))
    };
    // the edges that a change waits for
    let behind = async || {
        let edges = writer.edges().await.unwrap();
        edges
            .into_iter()
            .filter(|edge| edge.applied.number < 1)
            .map(|edge| edge.name)
            .collect::<Vec<_>>()
    };
    one.report(edge("same", 0, None)).await.unwrap();
    two.report(edge("same", 0, None)).await.unwrap();
    let _ = write(&writer, import(1, 1)).await.unwrap();
    // the report of the faster edge does not count for the other
    for _ in 0..3 {
        two.report(edge("same", 1, None)).await.unwrap();
        assert_eq!(behind().await, ["same"]);
    }
    one.report(edge("same", 1, None)).await.unwrap();
    // the other was asked, and counts for nothing until it has reported again
    assert_eq!(behind().await, ["same"]);
    two.report(edge("same", 1, None)).await.unwrap();
    assert_eq!(behind().await, [""; 0]);
    assert!(one.take_name_conflict() && two.take_name_conflict());
    assert!(
        !one.take_name_conflict() && !two.take_name_conflict(),
        "reported once for each conflict"
    );
    writer.forget("same").await.unwrap();
    assert_eq!(writer.edges().await.unwrap(), []);
    // a process removes the report of its predecessor once the lease ends, and no other report
    one.report(edge("again", 0, Some(300))).await.unwrap();
    third.report(edge("again", 1, Some(60_000))).await.unwrap();
    writer.report(edge("again/2", 1, Some(1))).await.unwrap();
    assert_eq!(writer.edges().await.unwrap().len(), 3);
    tokio::time::sleep(Duration::from_millis(310)).await;
    third.report(edge("again", 1, Some(60_000))).await.unwrap();
    let left = [edge("again", 1, Some(60_000)), edge("again/2", 1, Some(1))];
    let mut found = writer.edges().await.unwrap();
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(found, left);
    assert!(!third.take_name_conflict(), "the other is its predecessor");
    // a process that withdraws its report leaves none
    third.withdraw_report().await.unwrap();
    assert_eq!(writer.edges().await.unwrap(), left[1..]);
}

/// The keys and values below a prefix of the store's root, as `etcdctl` prints them.
fn raw(cluster: &Cluster, options: &EtcdOptions, prefix: &str) -> Vec<(String, String)> {
    let key = format!("{}{prefix}", root(options));
    let found = cluster.ctl(&["--endpoints", &cluster.urls()[0], "get", "--prefix", &key]).unwrap();
    let lines: Vec<_> = found.lines().map(str::to_owned).collect();
    lines.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn at(number: u64) -> Head {
    Head { number, ..Head::default() }
}

/// A report as the versions before URLs read it: an unknown field is an error.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EarlierReport {
    v: u32,
    applied: u64,
    lease_ms: Option<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn earlier_versions_and_this_one_read_each_others_reports() {
    let cluster = Cluster::start(1);
    let options = options(&cluster);
    let put = |key: &str, value: &str| {
        let key = format!("{}{key}", root(&options));
        cluster.ctl(&["--endpoints", &cluster.urls()[0], "put", &key, value]).unwrap();
    };
    let [one, reader] = std::array::from_fn(|_| store(&options));
    let url = Some("https://one.example:8080/sip".to_owned());
    let lease = Some(Duration::from_secs(60));
    let own = Edge { lease, api: url, ..Edge::new("one", at(7)) };
    one.report(own.clone()).await.unwrap();
    // an earlier version reads this report
    let [(key, value)] = raw(&cluster, &options, "edge/").try_into().unwrap();
    let earlier: EarlierReport = serde_json::from_str(&value).unwrap();
    assert_eq!((earlier.v, earlier.applied, earlier.lease_ms), (1, 7, Some(60_000)));
    // this version reads a report of an earlier one, which has no URL, and of a later one
    put("edge/two/0001", r#"{"v":1,"applied":3}"#);
    put("edge/two/0002", r#"{"v":1,"applied":4,"later":true}"#);
    let other = |number| Edge { newest_format: Format::FIRST, ..Edge::new("two", at(number)) };
    let found = reader.edges().await.unwrap();
    assert_eq!(found, [own.clone(), other(3), other(4)]);
    // a later version supports a later format; an unreadable one is the first
    for (format, expected) in [("3", 3), ("", 1), ("0", 1), ("x", 1), ("1.5", 1)] {
        put("format/two/0001", format);
        assert_eq!(reader.edges().await.unwrap()[1].newest_format.number(), expected, "{format}");
    }
    // an unreadable URL is none, and hides no report
    for url in ["garbage", r#"{"v":2,"url":"http://a.example"}"#, r#"{"v":1}"#, ""] {
        put("api/two/0001", url);
        assert_eq!(reader.edges().await.unwrap(), found, "{url}");
    }
    put("api/two/0001", &format!(r#"{{"v":1,"url":"http://{}"}}"#, "a".repeat(600)));
    assert_eq!(reader.edges().await.unwrap(), found);
    put("api/two/0001", r#"{"v":1,"url":"http://a.example","later":1}"#);
    let urls = |edges: Vec<Edge>| edges.into_iter().map(|edge| edge.api).collect::<Vec<_>>();
    let two = Some("http://a.example".to_owned());
    assert_eq!(urls(reader.edges().await.unwrap()), [own.api.clone(), two, None]);
    // an earlier version removes the report of a killed process without its URL
    put("api/one/0000", r#"{"v":1,"url":"http://left.example"}"#);
    put("api/one/more/0003", r#"{"v":1,"url":"http://more.example"}"#);
    one.report(own.clone()).await.unwrap();
    let keys = |prefix| raw(&cluster, &options, prefix).into_iter().map(|(key, _)| key);
    let kept: Vec<_> = keys("api/").map(|key| key.replace(&root(&options), "")).collect();
    let own_key = key.replace(&root(&options), "").replace("edge/", "api/");
    assert_eq!(kept, [own_key.as_str(), "api/one/more/0003", "api/two/0001"]);
    // without a URL any more
    one.report(Edge { api: None, ..own.clone() }).await.unwrap();
    assert_eq!(keys("api/one/").count(), 1);
    one.report(own).await.unwrap();
    assert_eq!(keys("api/one/").count(), 2);
    one.withdraw_report().await.unwrap();
    assert_eq!((keys("edge/one/").count(), keys("api/one/").count()), (0, 1));
    reader.forget("two").await.unwrap();
    assert_eq!((keys("edge/").count(), keys("api/").count()), (0, 1));
}

/// Reads a list while its pages grow and shrink.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn long_lists_are_read_in_order() {
    let cluster = Cluster::start(1);
    let store = store(&options(&cluster));
    let _ = write(&store, import(10_000, 1)).await.unwrap();
    let of_list = Collection::Credentials(list());
    for head in 1..6_u64 {
        let mut commit = Commit::new();
        for n in (0..10_000).skip(usize::try_from(head).unwrap()).step_by(6) {
            commit.delete(user(n, 0).key());
        }
        assert_eq!(write(&store, commit).await.unwrap(), CommitOutcome::Committed(head + 1));
        let mut keys: Vec<Key> = Vec::new();
        loop {
            let page = store.range(of_list, keys.last().copied(), 777).await.unwrap();
            keys.extend(page.iter().map(Record::key));
            if page.len() < 777 {
                break;
            }
        }
        assert!(keys.is_sorted());
        assert_eq!(store.count(of_list).await.unwrap(), keys.len());
        let loaded = store.load().await.unwrap();
        assert_eq!(loaded.records.len(), keys.len() + 2);
    }
}
