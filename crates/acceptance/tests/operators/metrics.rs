//! The metrics of an authorizer in an independent recorder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::with_local_recorder;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use sip_authz::metrics::{Latencies, describe, record, record_latencies};
use sip_authz::model::{Account, Commit, Domain, IpAccessControlList, IpAddress, Mapping, Record};
use sip_authz::{
    AccountSid, Authorizer, Capacity, DomainSid, Invite, IpAccessControlListSid, IpAddressSid,
    Snapshot, Transport,
};
use sip_authz_store::metrics::{record_follower, record_health, record_lease};
use sip_authz_store::{CommitOutcome, MemoryStore, Store, StoreError};
use sip_authz_store::{Follower, Lease, Timer};

fn commit() -> Commit {
    let account = AccountSid::from_name(&["a"]);
    let domain = DomainSid::from_name(&["a", "d"]);
    let list = IpAccessControlListSid::from_name(&["a", "l"]);
    let address = IpAddressSid::from_name(&["a", "l", "1"]);
    let mut commit = Commit::new();
    for record in [
        Record::from(Account::new(account)),
        Domain::new(domain, account, "sip.example.com".parse().unwrap()).into(),
        IpAccessControlList::new(list, account).into(),
        IpAddress::new(address, list, "192.0.2.0/24".parse().unwrap()).into(),
        Mapping::IpAccessControlList(domain.into(), list).into(),
    ] {
        commit.put(record);
    }
    commit
}

fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// The value of a series.
fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn decided(page: &str, outcome: &str, reason: &str) -> f64 {
    let series = format!("sip_authz_decisions_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}");
    value(page, &series).unwrap_or_else(|| panic!("no {series} in {page}"))
}

#[test]
fn metrics_match_the_decisions() {
    let start = Instant::now();
    let snapshot = Snapshot::empty().apply(&commit()).unwrap();
    let capacity = Capacity::default().with_nonces(512);
    let authorizer = Authorizer::from_seed(snapshot, capacity, &[7; 32], start);
    let (recorder, handle) = recorder();
    with_local_recorder(&recorder, describe);
    let page = |now: Instant| {
        with_local_recorder(&recorder, || record(&authorizer, now));
        handle.render()
    };

    let invite =
        |uri: &'static str, source: &str| Invite::new(uri, source.parse().unwrap(), Transport::Udp);
    let inside = invite("sip:1@sip.example.com", "192.0.2.1:5060");
    let outside = invite("sip:1@sip.example.com", "198.51.100.1:5060");
    let nowhere = invite("sip:1@nowhere.example.com", "192.0.2.1:5060");
    let before = page(start);
    assert!(before.lines().all(|line| !line.contains("decisions_total{") || line.ends_with(" 0")));

    let mut out = Vec::new();
    let number = authorizer.authorize_batch(
        &[inside.clone(), inside.clone(), outside.clone(), nowhere.clone(), inside.clone()],
        start,
        &mut out,
    );
    assert_eq!(number, Some(1));
    for _ in 0..4 {
        let _ = authorizer.authorize(&outside, start);
        let _ = authorizer.explain(&outside, start);
    }
    let after = page(start);
    assert_eq!(decided(&after, "accept", "passed"), 3.0);
    assert_eq!(decided(&after, "reject", "address-not-listed"), 5.0);
    assert_eq!(decided(&after, "reject", "unknown-host"), 1.0);
    assert_eq!(decided(&after, "reject", "snapshot-stale"), 0.0);
    assert_eq!(authorizer.counts().total(), 9);
    assert_eq!(value(&after, "sip_authz_snapshot_number"), Some(1.0));
    assert_eq!(value(&after, "sip_authz_replay_nonces"), Some(0.0));
    assert_eq!(value(&after, "sip_authz_replay_nonces_max"), Some(512.0));
    assert_eq!(value(&after, "sip_authz_snapshot_stale"), Some(0.0));
    assert_eq!(value(&after, "sip_authz_snapshot_deadline_seconds"), None);

    // recording twice does not count twice
    assert_eq!(decided(&page(start), "accept", "passed"), 3.0);

    let deadline = start + Duration::from_secs(60);
    authorizer.refuse_from(Some(deadline));
    assert_eq!(authorizer.refuses_from(), Some(deadline));
    let page_then = page(start + Duration::from_secs(20));
    assert_eq!(value(&page_then, "sip_authz_snapshot_deadline_seconds"), Some(40.0));
    assert_eq!(authorizer.authorize_batch(&[inside], deadline, &mut out), None);
    let page_late = page(deadline);
    assert_eq!(decided(&page_late, "reject", "snapshot-stale"), 1.0);
    assert_eq!(value(&page_late, "sip_authz_snapshot_stale"), Some(1.0));
    assert_eq!(value(&page_late, "sip_authz_snapshot_deadline_seconds"), Some(0.0));
    authorizer.refuse_from(None);
    assert_eq!(authorizer.refuses_from(), None);
}

#[test]
fn a_change_resets_the_age() {
    let authorizer = Authorizer::new(Snapshot::empty()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(authorizer.snapshot_age() >= Duration::from_millis(50));
    let before = Instant::now();
    authorizer.apply(&commit()).unwrap();
    // the age has millisecond resolution
    assert!(authorizer.snapshot_age() <= before.elapsed() + Duration::from_millis(1));
    assert_eq!(authorizer.snapshot().number(), 1);
}

#[test]
fn latencies_become_the_series_of_a_histogram() {
    let (latencies, (recorder, handle)) = (Latencies::default(), recorder());
    for (micros, count) in [(3, 10), (300, 1), (5_000_000, 2)] {
        latencies.observe(Duration::from_micros(micros), count);
    }
    with_local_recorder(&recorder, || record_latencies(&latencies));
    let page = handle.render();
    let bucket = |le: &str| {
        value(&page, &format!("sip_authz_decision_seconds_bucket{{le=\"{le}\"}}")).unwrap()
    };
    assert_eq!([bucket("2e-06"), bucket("5e-06"), bucket("0.0002")], [0.0, 10.0, 10.0]);
    assert_eq!([bucket("0.0005"), bucket("1"), bucket("+Inf")], [11.0, 11.0, 13.0]);
    assert_eq!(value(&page, "sip_authz_decision_seconds_count"), Some(13.0));
    let sum = value(&page, "sip_authz_decision_seconds_sum").unwrap();
    assert!((sum - 10.000_33).abs() < 1e-9, "{sum}");
}

#[tokio::test]
async fn a_follower_reports_its_progress_and_its_end() {
    let store = MemoryStore::new();
    let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
    let head = store.head().await.unwrap();
    let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
    let applied = follower.applied();
    let task = tokio::spawn(follower.run());
    let (recorder, handle) = recorder();
    let look = || {
        with_local_recorder(&recorder, || record_follower(&applied));
        let page = handle.render();
        [
            "sip_authz_follower_commit_number",
            "sip_authz_store_commit_number",
            "sip_authz_follower_state{state=\"following\"}",
            "sip_authz_follower_state{state=\"away\"}",
            "sip_authz_follower_state{state=\"ended\"}",
        ]
        .map(|series| value(&page, series).unwrap())
    };
    assert_eq!(look(), [0.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(store.commit(head, commit()).await.unwrap(), CommitOutcome::Committed(1));
    assert!(applied.wait(1).await);
    assert_eq!(look(), [1.0, 1.0, 1.0, 0.0, 0.0]);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(look(), [1.0, 1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn metrics_show_the_state_of_the_store() {
    let (recorder, handle) = recorder();
    let full = StoreError::NoSpace("the disk is full".to_owned());
    for (checked, state) in [(Ok(()), "ok"), (Err(full), "no-space"), (Ok(()), "ok")] {
        with_local_recorder(&recorder, || record_health(&checked));
        let page = handle.render();
        for one in ["ok"].into_iter().chain(StoreError::KINDS) {
            let series = format!("sip_authz_store_state{{state=\"{one}\"}}");
            assert_eq!(value(&page, &series), Some(f64::from(u8::from(one == state))), "{one}");
        }
        assert!(StoreError::KINDS.contains(&StoreError::NoSpace(String::new()).kind()));
    }
}

/// A clock whose sleeps never end.
struct Standing;

impl Timer for Standing {
    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_lease_reports_the_age_of_its_confirmation() {
    let store = MemoryStore::new();
    let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
    let head = store.head().await.unwrap();
    let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
    let (length, before) = (Duration::from_secs(40), Instant::now());
    let (edge, applied) = (Arc::clone(&authorizer), follower.applied());
    let lease = Lease::new(store, edge, applied, "edge".to_owned(), Some(length), &Standing);
    let confirmed = lease.confirmed();
    let (recorder, handle) = recorder();
    let look = |length, now| {
        with_local_recorder(&recorder, || {
            record(&authorizer, now);
            record_lease(&confirmed, length, now);
        });
        let page = handle.render();
        ["age_seconds", "seconds"].map(|name| value(&page, &format!("sip_authz_lease_{name}")))
    };
    // without a confirmation, the age counts from the start of the lease
    let [age, told] = look(None, before + Duration::from_secs(100));
    assert!((99.0..=100.0).contains(&age.unwrap()) && told.is_none(), "{age:?} {told:?}");
    let running = tokio::spawn(lease.run(Standing, |_| ()));
    while authorizer.is_stale(Instant::now()) {
        tokio::task::yield_now().await;
    }
    let now = Instant::now() + Duration::from_secs(10);
    let [age, told] = look(Some(length), now);
    let longest = now.duration_since(before).as_secs_f64();
    assert!((10.0..=longest).contains(&age.unwrap()), "{age:?}");
    assert_eq!(told, Some(40.0));
    running.abort();
}
