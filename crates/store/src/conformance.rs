//! A test that every implementation of [`Store`] must pass. Feature `conformance`.
//!
//! [`conforms`] tests a store through its trait only: reads after commits, compared with a map; racing
//! commits; loads beside writers; feeds that lag, wait and are dropped. It panics at the first
//! violation, so call it from a test:
//!
//! ```
//! use sip_authz_store::MemoryStore;
//! use sip_authz_store::conformance::conforms;
//!
//! #[tokio::main(worker_threads = 4)] // in a test: #[tokio::test(flavor = "multi_thread")]
//! async fn main() {
//!     // each call makes an empty store
//!     conforms(async || MemoryStore::new()).await;
//! }
//! ```
//!
//! It cannot test that a store keeps its commits through crashes, cut connections and full disks. Write
//! separate tests for those.
// a test reports a violation by a panic
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod formats;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use formats::rises;
pub use records::full_records;

use super::{
    Collection, CommitEntry, CommitOutcome, Feed, Format, Head, Incarnation, ListKey, Lookup,
    Store, StoreSnapshot, Sum, collections, lookup,
};
use sip_authz::digest::HashFunction;
use sip_authz::model::{
    Account, Commit, Credential, Dates, Domain, Ha1Set, Key, Mapping, MappingRecord, Record, Trunk,
    UserName, Write,
};
use sip_authz::{AccountSid, CredentialListSid, CredentialSid, DomainSid, RoleSid, TrunkSid};

/// Tests twelve stores from `make`, which must be empty and have no other writer. Needs a tokio runtime
/// with a clock. On a multi-threaded runtime, commits race on several threads.
///
/// # Panics
///
/// If a store violates a rule. The backtrace names the function of the rule, and the message says what
/// differs.
pub async fn conforms<S: Store, F: Future<Output = S>>(make: impl Fn() -> F) {
    an_empty_store_has_no_records(make().await).await;
    a_commit_needs_the_current_head(make().await).await;
    every_record_is_read_back_unchanged(make().await).await;
    indexes_follow_changes_of_records(make().await).await;
    names_can_be_swapped_in_one_commit(make().await).await;
    ranges_continue_after_a_deleted_key(make().await).await;
    random_commits_match_a_map(make().await).await;
    one_of_racing_commits_wins(make().await).await;
    a_load_is_consistent_with_one_head(make().await).await;
    feeds_deliver_each_commit_once_in_order(make().await).await;
    waiting_for_a_feed_can_be_cancelled(make().await).await;
    a_dropped_commit_takes_effect_completely_or_not_at_all(make().await).await;
}

fn account(n: u8) -> AccountSid {
    AccountSid::from_bytes([n; 16])
}

fn list(n: u8) -> CredentialListSid {
    CredentialListSid::from_bytes([n; 16])
}

fn domain(n: u8) -> DomainSid {
    DomainSid::from_bytes([n; 16])
}

fn role(n: u8) -> RoleSid {
    RoleSid::from_bytes([n; 16])
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn user(n: u8, of: u8, username: &str, carries: Option<u8>) -> Credential {
    let md5 = format!("{n:032x}");
    let realm = "example.com".parse().unwrap();
    let ha1 = Ha1Set::from_hex(&name(username), &realm, [(HashFunction::Md5, md5.as_str())]);
    let sid = CredentialSid::from_bytes([n; 16]);
    let credential = Credential::new(sid, list(of), name(username), ha1.unwrap());
    Credential { role: carries.map(role), ..credential }
}

fn named(n: u8, host: &str) -> Domain {
    Domain::new(domain(n), account(1), host.parse().unwrap())
}

fn puts(records: impl IntoIterator<Item = Record>) -> Commit {
    let mut commit = Commit::new();
    for record in records {
        commit.put(record);
    }
    commit
}

/// Commits at the current head.
async fn write(store: &impl Store, commit: Commit) -> u64 {
    let before = store.head().await.unwrap();
    let committed = store.commit(before, commit).await.unwrap();
    let head = store.head().await.unwrap();
    assert_eq!(committed, CommitOutcome::Committed(before.number + 1));
    assert_eq!(head.number, before.number + 1);
    head.number
}

/// A head without the incarnation, which a store draws at random.
fn plain(head: Head) -> Head {
    Head { incarnation: Incarnation::default(), ..head }
}

async fn loaded(store: &impl Store) -> StoreSnapshot {
    let StoreSnapshot { head, records } = store.load().await.unwrap();
    assert_eq!(head, store.head().await.unwrap());
    StoreSnapshot { head: plain(head), records }
}

/// The snapshot that a store with these records must load.
fn holding(number: u64, records: impl IntoIterator<Item = Record>) -> StoreSnapshot {
    let records: Vec<_> = records.into_iter().collect();
    let sum = records.iter().fold(Sum::ZERO, |sum, record| sum.plus(Sum::of(record).unwrap()));
    let head = Head { number, records: records.len() as u64, sum, ..Head::default() };
    let format = if number == 0 { Format::FIRST } else { Format::NEWEST };
    StoreSnapshot { head: Head { format, ..head }, records }
}

/// The head after a commit of a feed. Panics if it does not follow the previous head.
fn checked(head: Head, next: &CommitEntry) -> Head {
    next.check(head).unwrap();
    assert!(next.check(next.head).is_err(), "a repeated commit");
    next.head
}

async fn keys(store: &impl Store, collection: Collection) -> Vec<Key> {
    let records = store.range(collection, None, usize::MAX).await.unwrap();
    assert_eq!(store.count(collection).await.unwrap(), records.len(), "{collection:?}");
    records.iter().map(Record::key).collect()
}

async fn an_empty_store_has_no_records(store: impl Store) {
    assert_eq!(store.head().await.unwrap(), Head::default());
    assert_eq!(store.get(Key::Account(account(1))).await.unwrap(), None);
    assert_eq!(store.find(Lookup::User(list(1), name("alice"))).await.unwrap(), None);
    assert_eq!(keys(&store, Collection::Accounts).await, []);
    assert_eq!(loaded(&store).await, holding(0, []));
}

/// Heads that differ from this one in one part each.
fn others(head: Head) -> [Head; 7] {
    let Head { incarnation, number, records, sum, format } = head;
    let other_format = if format == Format::FIRST { Format::NEWEST } else { Format::FIRST };
    let later = Incarnation { generation: incarnation.generation + 1, ..incarnation };
    let other = Incarnation { id: !incarnation.id, ..incarnation };
    [
        Head { incarnation: later, ..head },
        Head { incarnation: other, ..head },
        Head { number: number + 1, ..head },
        Head { number: u64::MAX, ..head },
        Head { records: records + 1, ..head },
        Head { sum: sum.plus(Sum::from_bytes([1; 32])), ..head },
        Head { format: other_format, ..head },
    ]
}

async fn a_commit_needs_the_current_head(store: impl Store) {
    let commit = |n| puts([Account::new(account(n)).into()]);
    let empty = Head::default();
    for wrong in others(empty) {
        assert_eq!(store.commit(wrong, commit(1)).await.unwrap(), CommitOutcome::Conflict);
    }
    assert_eq!(loaded(&store).await, holding(0, []));
    assert_eq!(store.commit(empty, commit(1)).await.unwrap(), CommitOutcome::Committed(1));
    let first = store.head().await.unwrap();
    for wrong in others(first).into_iter().chain([empty]) {
        assert_eq!(store.commit(wrong, commit(2)).await.unwrap(), CommitOutcome::Conflict);
    }
    assert_eq!(store.head().await.unwrap(), first);
    assert_eq!(keys(&store, Collection::Accounts).await, [Key::Account(account(1))]);
    assert_eq!(store.commit(first, commit(2)).await.unwrap(), CommitOutcome::Committed(2));
    let mut commit = Commit::new();
    commit.delete(Key::Account(account(1)));
    assert_eq!(store.commit(first, commit.clone()).await.unwrap(), CommitOutcome::Conflict);
    let second = store.head().await.unwrap();
    assert_eq!(store.commit(second, commit).await.unwrap(), CommitOutcome::Committed(3));
    assert_eq!(keys(&store, Collection::Accounts).await, [Key::Account(account(2))]);
}

async fn every_record_is_read_back_unchanged(store: impl Store) {
    let records = full_records();
    let mut feed = store.follow(Head::default()).await.unwrap();
    let commit = puts(records.clone());
    write(&store, commit.clone()).await;
    for record in &records {
        assert_eq!(store.get(record.key()).await.unwrap().as_ref(), Some(record));
        for collection in collections(record) {
            let rows = store.range(collection, None, 100).await.unwrap();
            assert!(rows.contains(record), "{} in {collection:?}", record.key());
        }
        if let Some(name) = lookup(record) {
            assert_eq!(store.find(name).await.unwrap().as_ref(), Some(record));
        }
    }
    let mut sorted = records;
    sorted.sort_by_key(Record::key);
    assert_eq!(loaded(&store).await, holding(1, sorted));
    assert_eq!(*feed.next().await.unwrap().commit, commit);
}

async fn indexes_follow_changes_of_records(store: impl Store) {
    let alice = user(1, 1, "alice", Some(1));
    let mapping = Mapping::CredentialList(domain(1).into(), list(1));
    let mapped = MappingRecord { role: Some(role(1)), ..mapping.into() };
    write(&store, puts([named(1, "a.example.com").into(), alice.clone().into(), mapped.into()]))
        .await;
    let carriers = keys(&store, Collection::CarriersOf(role(1))).await;
    assert_eq!(carriers, [Key::Credential(alice.sid), Key::Mapping(mapping)]);
    assert_eq!(
        keys(&store, Collection::MappingsOf(ListKey::CredentialList(list(1)))).await.len(),
        1
    );

    // another name, another role, no role
    let moved = Credential { role: Some(role(2)), ..alice.clone() };
    write(
        &store,
        puts([named(1, "b.example.com").into(), moved.into(), MappingRecord::from(mapping).into()]),
    )
    .await;
    let host = |text: &str| Lookup::Name(text.parse().unwrap());
    assert_eq!(store.find(host("a.example.com")).await.unwrap(), None);
    let found = store.find(host("b.example.com")).await.unwrap();
    assert_eq!(found, Some(named(1, "b.example.com").into()));
    assert_eq!(keys(&store, Collection::CarriersOf(role(1))).await, []);
    assert_eq!(keys(&store, Collection::CarriersOf(role(2))).await, [Key::Credential(alice.sid)]);
    assert_eq!(keys(&store, Collection::Domains(account(1))).await.len(), 1);
    assert_eq!(keys(&store, Collection::Domains(account(2))).await, []);

    let mut commit = Commit::new();
    commit.delete(Key::Credential(alice.sid)).delete(Key::Mapping(mapping));
    commit.delete(Key::Target(domain(1).into()));
    write(&store, commit).await;
    assert_eq!(store.find(host("b.example.com")).await.unwrap(), None);
    assert_eq!(store.find(Lookup::User(list(1), name("alice"))).await.unwrap(), None);
    for collection in [
        Collection::CarriersOf(role(2)),
        Collection::Credentials(list(1)),
        Collection::Mappings(domain(1).into()),
        Collection::MappingsOf(ListKey::CredentialList(list(1))),
        Collection::Domains(account(1)),
    ] {
        assert_eq!(keys(&store, collection).await, [], "{collection:?}");
    }
    assert_eq!(loaded(&store).await, holding(3, []));
}

async fn names_can_be_swapped_in_one_commit(store: impl Store) {
    write(&store, puts([named(1, "a.example").into(), named(2, "b.example").into()])).await;
    // the order of the writes does not matter
    let swaps = [(1, "b.example", 2, "a.example"), (2, "b.example", 1, "a.example")];
    for (one, name_of_one, two, name_of_two) in swaps {
        write(&store, puts([named(one, name_of_one).into(), named(two, name_of_two).into()])).await;
        for (n, text) in [(one, name_of_one), (two, name_of_two)] {
            let found = store.find(Lookup::Name(text.parse().unwrap())).await.unwrap();
            assert_eq!(found.map(|found| found.key()), Some(Key::Target(domain(n).into())));
        }
    }
    // a commit can give the name of a deleted record to another
    let mut commit = Commit::new();
    commit.put(named(3, "a.example").into()).delete(Key::Target(domain(1).into()));
    write(&store, commit).await;
    let found = store.find(Lookup::Name("a.example".parse().unwrap())).await.unwrap();
    assert_eq!(found.map(|found| found.key()), Some(Key::Target(domain(3).into())));
}

async fn ranges_continue_after_a_deleted_key(store: impl Store) {
    // lists 1 and 3 are neighbours of list 2; their users must not appear in it
    let users = (0..30).map(|n: u8| user(n, 1 + n % 3, &format!("u{n}"), None).into());
    write(&store, puts(users)).await;
    let of_two = Collection::Credentials(list(2));
    let all = keys(&store, of_two).await;
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted());
    for size in 1..=12 {
        let mut pages = Vec::new();
        loop {
            let page = store.range(of_two, pages.last().copied(), size).await.unwrap();
            pages.extend(page.iter().map(Record::key));
            if page.len() < size {
                break;
            }
        }
        assert_eq!(pages, all, "pages of {size}");
    }
    assert_eq!(store.range(of_two, None, 0).await.unwrap(), []);
    assert_eq!(store.range(of_two, Some(all[9]), 5).await.unwrap(), []);
    let mut commit = Commit::new();
    commit.delete(all[4]);
    write(&store, commit).await;
    let behind = store.range(of_two, Some(all[4]), 2).await.unwrap();
    assert_eq!(behind.iter().map(Record::key).collect::<Vec<_>>(), all[5..7]);
    let behind = store.range(of_two, Some(all[3]), 2).await.unwrap();
    assert_eq!(behind.iter().map(Record::key).collect::<Vec<_>>(), all[5..7]);
    // a key of another kind is a valid start too
    let first = store.range(of_two, Some(Key::FIRST), 1).await.unwrap();
    assert_eq!(first.iter().map(Record::key).collect::<Vec<_>>(), all[..1]);
    let last = Key::Role(role(0xff));
    assert_eq!(store.range(of_two, Some(last), 5).await.unwrap(), []);
}

async fn random_commits_match_a_map(store: impl Store) {
    let mut random = 1_u64;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from((random >> 33) % bound).unwrap()
    };
    let mut feed = store.follow(Head::default()).await.unwrap();
    let mut head = Head::default();
    let mut records = BTreeMap::<Key, Record>::new();
    let mut everywhere = BTreeSet::new();
    for number in 1..=200 {
        let mut commit = Commit::new();
        let mut written = BTreeSet::new();
        for _ in 0..=below(4) {
            let (n, of, carries) = (below(8), below(3), Some(below(3)).filter(|n| *n > 0));
            let record: Record = match below(4) {
                0 => named(n, &format!("{n}-{of}.example")).into(),
                1 => {
                    let role = carries.map(role);
                    let mapping = Mapping::CredentialList(domain(of).into(), list(n));
                    MappingRecord { role, since: number, ..mapping.into() }.into()
                }
                2 => Trunk::new(TrunkSid::from_bytes([n; 16]), account(of), None).into(),
                // each user has its own name
                _ => user(n, of, &format!("user{n}"), carries).into(),
            };
            if !written.insert(record.key()) {
                continue;
            }
            everywhere.extend(collections(&record));
            if below(3) > 0 || !records.contains_key(&record.key()) {
                records.insert(record.key(), record.clone());
                commit.put(record);
            } else {
                records.remove(&record.key());
                commit.delete(record.key());
            }
        }
        assert_eq!(write(&store, commit).await, number);
        // a follower computes the store's checksum from the replaced records
        head = checked(head, &feed.next().await.unwrap());
        if number % 10 > 0 {
            continue;
        }
        let loaded = loaded(&store).await;
        assert_eq!(loaded, holding(number, records.values().cloned()));
        for collection in &everywhere {
            let inside =
                records.values().filter(|record| collections(record).any(|of| of == *collection));
            let inside: Vec<_> = inside.map(Record::key).collect();
            assert_eq!(keys(&store, *collection).await, inside, "{collection:?}");
        }
        for record in records.values() {
            if let Some(name) = lookup(record) {
                assert_eq!(store.find(name).await.unwrap().as_ref(), Some(record));
            }
        }
    }
}

async fn one_of_racing_commits_wins(store: impl Store) {
    let store = Arc::new(store);
    let racers: Vec<_> = (0..8_u8)
        .map(|racer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut won = Vec::new();
                let mut lost = 0;
                while won.len() < 20 {
                    let head = store.head().await.unwrap();
                    tokio::task::yield_now().await;
                    // all racers increment one counter
                    let counter = store.get(Key::Account(account(0))).await.unwrap();
                    let count = match counter {
                        Some(Record::Account(account)) => account.dates.updated,
                        _ => 0,
                    };
                    let dates = Dates { created: 0, updated: count + 1 };
                    let won_before = u8::try_from(won.len()).unwrap();
                    let mut sid = [racer; 16];
                    sid[..2].copy_from_slice(&[1, won_before]);
                    let mine = Account::new(AccountSid::from_bytes(sid));
                    let counter = Account { dates, ..Account::new(account(0)) };
                    match store.commit(head, puts([counter.into(), mine.into()])).await.unwrap() {
                        CommitOutcome::Committed(number) => won.push(number),
                        CommitOutcome::Conflict => lost += 1,
                    }
                }
                (won, lost)
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for racer in racers {
        let (won, lost) = racer.await.unwrap();
        assert!(lost < 10_000);
        numbers.extend(won);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=160).collect::<Vec<_>>());
    match store.get(Key::Account(account(0))).await.unwrap() {
        Some(Record::Account(account)) => assert_eq!(account.dates.updated, 160),
        other => panic!("{other:?}"),
    }
    assert_eq!(keys(&*store, Collection::Accounts).await.len(), 161);
}

/// Two records that hold the number of their commit. Every commit writes both.
fn pair(number: u64) -> [Record; 2] {
    let dates = Dates { created: number, updated: number };
    [1, 2].map(|n| Account { dates, ..Account::new(account(n)) }.into())
}

fn number_of(record: &Record) -> u64 {
    match record {
        Record::Account(account) => account.dates.updated,
        other => panic!("{other:?}"),
    }
}

async fn a_load_is_consistent_with_one_head(store: impl Store) {
    let store = Arc::new(store);
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 1..=200 {
                write(&*store, puts(pair(number))).await;
                tokio::task::yield_now().await;
            }
        }
    });
    loop {
        let StoreSnapshot { head, records } = store.load().await.unwrap();
        let number = head.number;
        assert_eq!(plain(head), holding(number, records.clone()).head);
        assert_eq!(records.len(), if number == 0 { 0 } else { 2 });
        assert!(records.iter().all(|record| number_of(record) == number));
        let rows = store.range(Collection::Accounts, None, 2).await.unwrap();
        assert!(rows.iter().all(|row| number_of(row) == number_of(&rows[0])), "a torn page");
        if number == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

async fn feeds_deliver_each_commit_once_in_order(store: impl Store) {
    let store = Arc::new(store);
    let follow = |from: Head| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut feed = store.follow(from).await.unwrap();
            let (mut head, from) = (from, from.number);
            for expected in from + 1..=200 {
                let next = feed.next().await.unwrap();
                assert_eq!(next.head.number, expected);
                head = checked(head, &next);
                let [Write::Put(one), Write::Put(two)] = next.commit.writes() else { panic!() };
                assert_eq!([one.clone(), two.clone()], pair(expected));
            }
        })
    };
    let start = Head::default();
    let mut heads = vec![start];
    let mut followers = vec![follow(start), follow(start)];
    for number in 1..=200 {
        write(&*store, puts(pair(number))).await;
        heads.push(store.head().await.unwrap());
        if number % 50 == 0 {
            // from the beginning, from here, and from the previous commit
            let previous = heads[heads.len() - 2];
            followers.extend([follow(start), follow(heads[heads.len() - 1]), follow(previous)]);
        }
    }
    for follower in followers {
        tokio::time::timeout(Duration::from_secs(60), follower).await.unwrap().unwrap();
    }
}

async fn waiting_for_a_feed_can_be_cancelled(store: impl Store) {
    let mut feed = store.follow(Head::default()).await.unwrap();
    let short = Duration::from_millis(20);
    assert!(tokio::time::timeout(short, feed.next()).await.is_err());
    write(&store, puts(pair(1))).await;
    assert_eq!(feed.next().await.unwrap().head.number, 1);
    // a cancelled wait does not consume a commit
    for number in 2..30 {
        let waited = tokio::select! {
            biased;
            next = feed.next() => Some(next.unwrap().head.number),
            _ = write(&store, puts(pair(number))) => None,
        };
        if waited.is_none() {
            assert_eq!(feed.next().await.unwrap().head.number, number);
        }
    }
    // a dropped feed does not block commits
    drop(feed);
    let head = store.head().await.unwrap().number;
    write(&store, puts(pair(head + 1))).await;
}

async fn a_dropped_commit_takes_effect_completely_or_not_at_all(store: impl Store) {
    for polls in 0..12_u64 {
        let before = store.head().await.unwrap();
        let head = before.number;
        {
            let mut commit = Box::pin(store.commit(before, puts(pair(head + 1))));
            for _ in 0..polls {
                let poll = std::future::poll_fn(|context| {
                    std::task::Poll::Ready(commit.as_mut().poll(context).is_ready())
                });
                if poll.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // the dropped commit may still complete later; then the next attempt returns a conflict
        let mut expected = head + 1;
        loop {
            let last = store.head().await.unwrap();
            let at = last.number;
            assert!(at == head || at == head + 1);
            expected = expected.max(at + 1);
            if let CommitOutcome::Committed(number) =
                store.commit(last, puts(pair(at + 1))).await.unwrap()
            {
                assert_eq!(number, at + 1);
                break;
            }
        }
        let StoreSnapshot { head: Head { number, .. }, records } = store.load().await.unwrap();
        assert_eq!(number, expected);
        assert!(records.len() == 2 && records.iter().all(|record| number_of(record) == number));
    }
}
