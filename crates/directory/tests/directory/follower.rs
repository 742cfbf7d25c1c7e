//! The follower: a returned command applies to the next decision, and an error in the feed stops the follower
//! at the last valid snapshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz_testing::site;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sip_authz::model::rules::RuleError;
use sip_authz::model::{
    Account, AccountStatus, Commit, Domain, Key, Mapping, Password, Record, Vocabulary,
};
use sip_authz::{AccountSid, ApplyError, Authorizer, DomainSid, Snapshot};
use sip_authz_directory::{CredentialChange, Directory, DirectoryError, Secret};
use sip_authz_store::{CommitOutcome, Head, MemoryStore, Store, StoreError};
use sip_authz_store::{Follower, FollowerError, FollowerEvent, FollowerState, Timer};
use sip_authz_testing::kit::{HOST, INSIDE, PASSWORD};
use sip_authz_testing::site::{Probe, Scripted, Site, authorizer, settings};

fn account(n: u8) -> AccountSid {
    AccountSid::from_bytes([n; 16])
}

fn domain(n: u8) -> DomainSid {
    DomainSid::from_bytes([n; 16])
}

fn puts(records: impl IntoIterator<Item = Record>) -> Commit {
    let mut commit = Commit::new();
    for record in records {
        commit.put(record);
    }
    commit
}

fn documented() -> &'static Vocabulary {
    Vocabulary::documented()
}

fn password(text: &str) -> Secret {
    Secret::Password(Password::new(text.to_owned()))
}

async fn put(store: &impl Store, records: impl IntoIterator<Item = Record>) -> u64 {
    let head = store.head().await.unwrap();
    match store.commit(head, puts(records)).await.unwrap() {
        CommitOutcome::Committed(number) => number,
        CommitOutcome::Conflict => panic!("no other writer"),
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

/// Every returned command applies to the next call: 1,000 rounds, with the follower on other threads and
/// concurrent changes of other accounts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_returned_command_applies_to_the_next_call() {
    let site = Arc::new(Site::on(Probe::new(MemoryStore::new()), settings()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let noise: Vec<_> = (0..2)
        .map(|_| {
            let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
            tokio::spawn(async move {
                let owner = site.directory.create_account("noise").await.unwrap().account.sid;
                while !stop.load(Ordering::Relaxed) {
                    let name = "noise.example.com".parse().unwrap();
                    if let Ok(domain) = site.directory.create_domain(owner, name, |_| ()).await {
                        site.directory.delete_domain(owner, domain.sid).await.unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();

    let directory = &site.directory;
    let owner = directory.create_account("test").await.unwrap().account.sid;
    let domain = directory.create_domain(owner, HOST.parse().unwrap(), |_| ()).await.unwrap().sid;
    let list = directory.create_credential_list(owner, "users", None).await.unwrap().sid;
    let mapping = Mapping::CredentialList(domain.into(), list);
    let call = |password: &str| site.call_as(HOST, "alice", password).status();
    for nth in 0..1_000 {
        assert_eq!(call(PASSWORD), 403, "{nth}: nothing is mapped");
        directory.map(owner, mapping, None).await.unwrap();
        let alice = directory
            .create_credential(
                owner,
                list,
                "alice".parse().unwrap(),
                password(PASSWORD),
                false,
                None,
            )
            .await
            .unwrap()
            .sid;
        assert_eq!(call(PASSWORD), 200, "{nth}: a user that was just made");
        if nth % 4 == 0 {
            let change = CredentialChange::default().with_disabled(Some(true));
            directory.update_credential(owner, list, alice, change).await.unwrap();
            assert_eq!(site.call(HOST, INSIDE).status(), 407);
            directory.update_account(owner, None, Some(AccountStatus::Suspended)).await.unwrap();
            assert_eq!(call(PASSWORD), 603, "{nth}: suspended");
            directory.update_account(owner, None, Some(AccountStatus::Active)).await.unwrap();
            let change = CredentialChange::default()
                .with_secret(Some(password("Another-Horse-8")))
                .with_disabled(Some(false));
            directory.update_credential(owner, list, alice, change).await.unwrap();
            assert_eq!(call("Another-Horse-8"), 200, "{nth}: a password that was just set");
        }
        directory.unmap(owner, mapping).await.unwrap();
        directory.delete_credential(owner, list, alice).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for task in noise {
        task.await.unwrap();
    }
    let head = directory.store().head().await.unwrap().number;
    assert_eq!((site.applied.number(), site.authorizer.snapshot().number()), (head, head));
}

#[tokio::test]
async fn two_processes_follow_one_store() {
    let store = MemoryStore::new();
    let [one, two] =
        [Site::on(store.clone(), settings()).await, Site::on(store.clone(), settings()).await];
    let owner = one.directory.create_account("test").await.unwrap().account.sid;
    let domain =
        two.directory.create_domain(owner, HOST.parse().unwrap(), |_| ()).await.unwrap().sid;
    let offices = one.directory.create_ip_access_control_list(owner, "").await.unwrap().sid;
    let prefix = "192.0.2.0/24".parse().unwrap();
    two.directory.create_ip_address(owner, offices, "", prefix, false).await.unwrap();
    let mapping = Mapping::IpAccessControlList(domain.into(), offices);
    one.directory.map(owner, mapping, None).await.unwrap();
    // at once in the process of the command, elsewhere as soon as its follower applies it
    assert!(one.call(HOST, INSIDE).is_accept());
    within(two.applied.wait(store.head().await.unwrap().number)).await;
    assert!(two.call(HOST, INSIDE).is_accept());
    // a later process starts at the head
    let three = Site::on(store.clone(), settings()).await;
    assert_eq!(three.applied.number(), 5);
    assert!(three.call(HOST, INSIDE).is_accept());
    two.directory.unmap(owner, mapping).await.unwrap();
    within(three.applied.wait(6)).await;
    assert_eq!(three.call(HOST, INSIDE).status(), 403);
}

#[tokio::test]
async fn many_tasks_wait_for_different_commits() {
    let store = MemoryStore::new();
    let site = Site::on(store.clone(), settings()).await;
    within(site.applied.wait(0)).await;
    let waiting: Vec<_> = (0..60_u64)
        .map(|number| {
            let (applied, authorizer) = (site.applied.clone(), Arc::clone(&site.authorizer));
            tokio::spawn(async move {
                applied.wait(number).await;
                assert!(authorizer.snapshot().number() >= number);
                assert!(applied.number() >= number);
            })
        })
        .collect();
    // a cancelled wait does not affect the others
    let short = Duration::from_millis(5);
    assert!(tokio::time::timeout(short, site.applied.wait(60)).await.is_err());
    for n in 0..60 {
        put(&store, [Account::new(account(n)).into()]).await;
    }
    for task in waiting {
        within(task).await.unwrap();
    }
    within(site.applied.wait(60)).await;
}

/// A site whose follower loaded two commits (with domain 1) and then reads `script` instead of the real feed.
async fn scripted(
    script: impl IntoIterator<Item = Result<(u64, Commit), StoreError>>,
) -> Site<Scripted> {
    scripted_by(Scripted::new(script)).await
}

async fn scripted_by(store: Scripted) -> Site<Scripted> {
    put(&store, [Account::new(account(1)).into()]).await;
    let name = HOST.parse().unwrap();
    put(&store, [Domain::new(domain(1), account(1), name).into()]).await;
    Site::on(store, settings()).await
}

/// Waits for the follower to stop at commit `number`, and returns its error.
async fn stopped(mut site: Site<Scripted>, number: u64) -> FollowerError {
    let error = within(&mut site.follower).await.unwrap();
    assert_eq!(site.applied.number(), number);
    assert_eq!(site.authorizer.snapshot().number(), number);
    // domain 1 exists without mappings; other domains do not exist
    assert_eq!(site.call(HOST, INSIDE).status(), 403);
    assert_eq!(site.call("second.example.com", INSIDE).status(), 404);
    assert!(within(site.applied.wait(number)).await);
    // a wait for a commit that will never be applied ends
    assert!(!within(site.applied.wait(number + 1)).await);
    error
}

fn second(n: u8, host: &str) -> Commit {
    puts([Domain::new(domain(n), account(1), host.parse().unwrap()).into()])
}

#[tokio::test]
async fn a_feed_that_ends_stops_the_follower() {
    let lost = StoreError::Unreachable("connection lost".to_owned());
    let site = scripted([Err(lost.clone())]).await;
    assert_eq!(stopped(site, 2).await, FollowerError::Store(lost.clone()));
    // commits before the error are applied
    let site = scripted([Ok((3, second(2, "third.example.com"))), Err(lost.clone())]).await;
    let error = stopped(site, 3).await;
    assert_eq!(error.to_string(), "the store: connection lost");
}

#[tokio::test]
async fn a_commit_out_of_order_stops_the_follower() {
    for (got, number) in [(4, 2), (2, 2), (1, 2), (0, 2), (u64::MAX, 2)] {
        let site = scripted([Ok((got, second(2, "second.example.com")))]).await;
        assert_eq!(stopped(site, number).await, FollowerError::Gap { expected: 3, got });
    }
    // the same commit twice
    let third = || Ok((3, second(2, "third.example.com")));
    let error = stopped(scripted([third(), third()]).await, 3).await;
    assert_eq!(error.to_string(), "expected commit 4, got 3");
}

/// The feed lacks a write of a commit, so the store has more records than the follower saw.
#[tokio::test]
async fn a_write_that_is_missing_stops_the_follower() {
    let script = Scripted::new([Ok((3, second(2, "second.example.com")))]);
    let site = scripted_by(script.losing(second(3, "lost.example.com"))).await;
    let error = stopped(site, 2).await;
    assert!(matches!(error, FollowerError::Differs { number: 3, .. }), "{error:?}");
    let message = "commit 3: the store: expected 4 records at commit 3, found 3";
    assert_eq!(error.to_string(), message);
}

#[tokio::test]
async fn a_commit_that_breaks_a_rule_stops_the_follower() {
    // the second write is invalid, so the first has no effect either
    let mut commit = second(2, "second.example.com");
    let key = Key::Mapping(Mapping::CredentialList(
        domain(1).into(),
        sip_authz::CredentialListSid::from_bytes([9; 16]),
    ));
    commit.delete(key);
    let error = stopped(scripted([Ok((3, commit))]).await, 2).await;
    let rule = ApplyError::Rule { key, error: RuleError::Missing(key) };
    assert_eq!(error, FollowerError::Apply { number: 3, error: rule });
    assert!(error.to_string().starts_with("commit 3: mapping of CL"), "{error}");

    let taken = stopped(scripted([Ok((3, second(2, HOST)))]).await, 2).await;
    assert!(taken.to_string().contains("the name `digest.example.com` is taken by"), "{taken}");
}

#[tokio::test]
async fn a_follower_that_lags_too_far_must_reload() {
    let store = MemoryStore::new();
    let (snapshot, head) = Follower::load(&store, documented()).await.unwrap();
    assert_eq!(snapshot.number(), 0);
    let authorizer = Arc::new(authorizer(snapshot));
    let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
    put(&store, [Account::new(account(1)).into()]).await;
    put(&store, [Domain::new(domain(1), account(1), HOST.parse().unwrap()).into()]).await;
    for n in 0..5_000_u64 {
        put(&store, [Account::new(AccountSid::from_name(&[&n.to_string()])).into()]).await;
    }
    let error = within(follower.run()).await.unwrap_err();
    assert_eq!(error.to_string(), "the store: commit 1 is no longer in memory");
    assert_eq!(authorizer.snapshot().number(), 0);

    // a program then reloads and keeps the authorizer, with its record of nonces
    let (snapshot, head) = Follower::load(&store, documented()).await.unwrap();
    authorizer.replace_numbered(snapshot);
    let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
    let applied = follower.applied();
    assert_eq!(applied.number(), 5_002);
    let running = tokio::spawn(follower.run());
    let number = put(&store, [Account::new(account(2)).into()]).await;
    within(applied.wait(number)).await;
    assert_eq!(authorizer.snapshot().number(), 5_003);
    running.abort();
}

/// A timer that returns at once and records the requested times.
#[derive(Clone, Default)]
struct InstantTimer(Arc<Mutex<Vec<Duration>>>);

impl Timer for InstantTimer {
    async fn sleep(&self, time: Duration) {
        self.0.lock().unwrap().push(time);
        tokio::task::yield_now().await;
    }

    fn random(&self) -> u32 {
        u32::MAX
    }
}

/// A site with a follower that never stops and reads `script` first, with its timer and its events.
async fn kept(
    script: impl IntoIterator<Item = Result<(u64, Commit), StoreError>>,
) -> (Site<Scripted>, InstantTimer, Arc<Mutex<Vec<FollowerEvent>>>) {
    let mut site = scripted([]).await;
    site.follower.abort();
    let _ = (&mut site.follower).await;
    let mut store = Scripted::new(script);
    store.inner = site.directory.store().inner.clone();
    let (snapshot, head) = Follower::load(&store, documented()).await.unwrap();
    site.authorizer.replace_numbered(snapshot);
    let follower = Follower::new(store, Arc::clone(&site.authorizer), head);
    site.applied = follower.applied();
    let (timer, events) = (InstantTimer::default(), Arc::new(Mutex::new(Vec::new())));
    let (seen, applied) = (Arc::clone(&events), site.applied.clone());
    let keeping = follower.keep(timer.clone(), move |event| {
        let state = applied.state();
        assert!(
            match &event {
                FollowerEvent::Behind(FollowerError::Store(_)) => state == FollowerState::Away,
                FollowerEvent::Behind(_) =>
                    matches!(state, FollowerState::Behind | FollowerState::Stuck),
                FollowerEvent::Loaded(number) => applied.seen() >= *number,
                FollowerEvent::Following(_) => state == FollowerState::Following,
                _ => false,
            },
            "{state:?} after {event:?}"
        );
        seen.lock().unwrap().push(event);
    });
    site.follower = tokio::spawn(async move { match keeping.await {} });
    (site, timer, events)
}

/// A follower under `keep` reaches the head of the store after any error in its feed.
#[tokio::test]
async fn a_kept_follower_recovers_from_every_error() {
    let lost = || Err(StoreError::Unreachable("connection lost".to_owned()));
    let third = || Ok((3, second(2, "third.example.com")));
    let scripts: [Vec<Result<(u64, Commit), StoreError>>; 8] = [
        vec![],
        vec![lost()],
        vec![lost(), Err(StoreError::Corrupt("a torn page".to_owned())), lost()],
        vec![lost(), lost(), lost(), lost()],
        vec![third(), lost(), third()],
        vec![Ok((4, second(2, "second.example.com")))],
        vec![Ok((1, second(2, "second.example.com"))), lost()],
        vec![Ok((3, second(2, HOST)))],
    ];
    for (n, script) in scripts.into_iter().enumerate() {
        let quiet = script.is_empty();
        let (site, timer, events) = kept(script).await;
        let store = site.directory.store().inner.clone();
        let mut number = 0;
        for n in 5..8 {
            let host = format!("{n}.example.com");
            number =
                put(&store, [Domain::new(domain(n), account(1), host.parse().unwrap()).into()])
                    .await;
        }
        assert!(within(site.applied.wait(number)).await, "script {n}");
        let (snapshot, head) = Follower::load(&store, documented()).await.unwrap();
        assert_eq!((site.authorizer.snapshot().number(), site.applied.number()), (number, number));
        assert_eq!((head.number, site.applied.seen()), (number, number));
        let hosts = [HOST, "second.example.com", "third.example.com", "7.example.com"];
        assert_eq!(
            site::behaviour(&site.authorizer.snapshot(), &hosts, &[INSIDE], &[("alice", PASSWORD)]),
            site::behaviour(&snapshot, &hosts, &[INSIDE], &[("alice", PASSWORD)]),
        );
        let events = events.lock().unwrap();
        assert_eq!(events.is_empty(), quiet, "script {n}: {events:?}");
        let waited = timer.0.lock().unwrap();
        assert!(waited.iter().all(|time| *time <= Duration::from_secs(10)));
    }
}

#[tokio::test]
async fn a_follower_reloads_at_once_when_its_feed_is_corrupt() {
    let corrupt = StoreError::Corrupt("a torn page".to_owned());
    let (site, _, events) = kept([Err(corrupt.clone())]).await;
    let following = async {
        while !events.lock().unwrap().contains(&FollowerEvent::Following(2)) {
            tokio::task::yield_now().await;
        }
    };
    within(following).await;
    assert_eq!(site.applied.state(), FollowerState::Following);
    let behind = FollowerEvent::Behind(FollowerError::Store(corrupt));
    let expected = [behind, FollowerEvent::Loaded(2), FollowerEvent::Following(2)];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_follower_backs_off_and_reports_records_that_cannot_be_loaded() {
    let (mut site, timer, events) = kept([]).await;
    // a record that breaks a rule, written directly to the store
    let broken = Domain::new(domain(2), account(7), "second.example.com".parse().unwrap());
    let inner = site.directory.store().inner.clone();
    put(&inner, [broken.into()]).await;
    // a wait for a commit that cannot be applied ends
    assert!(!within(site.applied.wait(3)).await);
    while timer.0.lock().unwrap().len() < 12 {
        tokio::task::yield_now().await;
    }
    let waited: Vec<_> = timer.0.lock().unwrap().iter().take(12).map(Duration::as_millis).collect();
    let doubled = [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000, 10_000];
    assert_eq!(waited, doubled);
    assert_eq!((site.applied.state(), site.applied.seen()), (FollowerState::Stuck, 3));
    assert_eq!(site.authorizer.snapshot().number(), 2);
    // the follower recovers once the records are repaired
    let mut repaired = Commit::new();
    repaired.delete(Key::Target(domain(2).into()));
    let head = inner.head().await.unwrap();
    assert_eq!(inner.commit(head, repaired).await.unwrap(), CommitOutcome::Committed(4));
    assert!(
        within(async {
            while site.applied.number() < 4 {
                tokio::task::yield_now().await;
            }
            site.applied.wait(4).await
        })
        .await
    );
    let events = std::mem::take(&mut *events.lock().unwrap());
    assert!(matches!(events.first(), Some(FollowerEvent::Behind(FollowerError::Apply { .. }))));
    assert!(events.contains(&FollowerEvent::Loaded(4)), "{events:?}");
    assert_eq!(events.last(), Some(&FollowerEvent::Following(4)));
    assert_eq!((site.applied.state(), site.applied.seen()), (FollowerState::Following, 4));
    site.follower.abort();
    assert!((&mut site.follower).await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(site.applied.state(), FollowerState::Ended);
}

#[tokio::test]
async fn records_that_break_a_rule_are_not_loaded() {
    let store = MemoryStore::new();
    put(&store, [Account::new(account(1)).into()]).await;
    put(&store, [Domain::new(domain(1), account(7), HOST.parse().unwrap()).into()]).await;
    let error = Follower::load(&store, documented()).await.unwrap_err();
    assert!(matches!(error, FollowerError::Apply { number: 2, .. }), "{error:?}");
    let message = format!("commit 2: domain {0}: there is no account {1}", domain(1), account(7));
    assert_eq!(error.to_string(), message);
}

/// Without an authorizer in the process, a command returns once it is committed.
#[tokio::test]
async fn a_directory_without_a_follower_does_not_wait() {
    let directory = Directory::new(MemoryStore::new(), settings(), None);
    let made = within(directory.create_account("alone")).await.unwrap();
    assert_eq!(directory.account(made.account.sid).await.unwrap(), made.account);
}

/// Callers that cancel after their commit cannot commit faster than the follower applies.
#[tokio::test]
async fn a_command_starts_only_after_earlier_commits_are_applied() {
    let store = MemoryStore::new();
    let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
    let follower = Follower::new(store.clone(), authorizer, Head::default());
    let directory = Directory::new(store.clone(), settings(), Some(follower.applied()));
    let short = Duration::from_millis(20);
    for cancelled in 0..5 {
        let command = directory.create_account("cancelled");
        assert!(tokio::time::timeout(short, command).await.is_err(), "nothing is applied yet");
        assert_eq!(store.head().await.unwrap().number, 1, "after {cancelled} more");
    }
    let following = tokio::spawn(follower.run());
    within(directory.create_account("in time")).await.unwrap();
    assert_eq!(store.head().await.unwrap().number, 2);

    following.abort();
    let _ = following.await;
    let ended = within(directory.create_account("too late")).await;
    assert!(matches!(ended, Err(DirectoryError::NotFollowed)));
}
