//! Measures the time until a change is in force: each kind, in small and large snapshots, compared with
//! other ways to share a map with readers. Then the same while two threads decide.
//!
//! `cargo bench --bench publish`. Sizes are numbers of credentials, with a tenth as many domains.
//! `PUBLISH_SIZES="10000 10000000" cargo bench --bench publish` needs 8 GB and some minutes.
//!
//! The peers hold 32 bytes for each entry, much less than a credential, and check nothing. One inserts
//! into an `imbl::HashMap`, the other copies a whole `HashMap`. Both then replace the old map.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use sip_authz::acl::Prefix;
use sip_authz::model::{Account, Commit, IpAccessControlList, IpAddress, Key};
use sip_authz::{Authorizer, Capacity, IpAddressSid, Snapshot};
use sip_authz_testing::bench::large::{Large, access_list, account, mix, publish_while_read, show};

/// Each kind of `large::KINDS`, with the two changes that it alternates.
const CHANGES: [(&str, [&str; 2]); 5] = [
    ("map", ["unmap", "map"]),
    ("address", ["add_address", "remove_address"]),
    ("credential", ["add_credential", "remove_credential"]),
    ("rename", ["rename", "rename_back"]),
    ("suspend", ["suspend", "resume"]),
];

/// Whether `cargo test` runs this (without `--bench`), with small sizes.
fn is_test() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

fn sizes() -> Vec<usize> {
    let given = std::env::var("PUBLISH_SIZES").unwrap_or_default();
    let given: Vec<usize> = given.split_whitespace().map(|size| size.parse().unwrap()).collect();
    match () {
        () if !given.is_empty() => given,
        () if is_test() => vec![1_000],
        () => vec![10_000, 1_000_000],
    }
}

/// A row for the changes of even rounds, or of odd rounds, which undo them. `change` returns the time
/// of the change in a round.
fn row(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    odd: bool,
    mut change: impl FnMut(usize) -> Duration,
) {
    let mut round = 0;
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                let times = [change(round), change(round + 1)];
                took += times[usize::from(odd)];
                round += 2;
            }
            took
        });
    });
}

fn apply(authorizer: &Authorizer, commit: &Commit) -> Duration {
    let began = Instant::now();
    let applied = authorizer.apply(commit);
    let took = began.elapsed();
    applied.unwrap();
    took
}

/// An entry of a peer's map.
fn entry(n: usize) -> ([u64; 2], [u64; 2]) {
    ([mix(n), mix(!n)], [0; 2])
}

/// Adds an entry to the contents of `map`, or removes it again, and returns the time that this took.
fn toggle<M>(
    map: &ArcSwap<M>,
    round: usize,
    change: impl FnOnce(&M, [u64; 2], bool) -> M,
) -> Duration {
    let (key, _) = entry(usize::MAX / 2 - round / 2);
    let began = Instant::now();
    let next = change(&map.load(), key, round.is_multiple_of(2));
    map.store(Arc::new(next));
    began.elapsed()
}

fn peers(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let map: imbl::HashMap<_, _> = (0..size).map(entry).collect();
    let map = ArcSwap::from_pointee(map);
    row(group, BenchmarkId::new("peer_imbl", size), false, |round| {
        toggle(
            &map,
            round,
            |map, key, add| if add { map.update(key, [0; 2]) } else { map.without(&key) },
        )
    });
    drop(map);
    let map: std::collections::HashMap<_, _> = (0..size).map(entry).collect();
    let map = ArcSwap::from_pointee(map);
    row(group, BenchmarkId::new("peer_rebuilt", size), false, |round| {
        toggle(&map, round, |map, key, add| {
            let mut next = map.clone();
            if add {
                next.insert(key, [0; 2])
            } else {
                next.remove(&key)
            };
            next
        })
    });
}

fn publish(criterion: &mut Criterion) {
    let mut report = Vec::new();
    for size in sizes() {
        let large = Large::whole(size / 10, size);
        let (authorizer, now) = large.authorizer();
        let mut group = criterion.benchmark_group("publish");
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        group.sample_size(20);
        for (kind, names) in CHANGES {
            for (odd, name) in [(false, names[0]), (true, names[1])] {
                row(&mut group, BenchmarkId::new(name, size), odd, |round| {
                    apply(&authorizer, &large.change(kind, round))
                });
            }
        }
        group.sample_size(10);
        peers(&mut group, size);
        group.finish();
        let rounds = if is_test() { 20 } else { 4_000 };
        let (changes, reads) = publish_while_read(&large, &authorizer, now, rounds);
        report.push((size, changes, reads));
    }
    println!("\n{:<22} {:>9} {:>9} {:>9}", "while two read, µs", "median", "p99", "worst");
    for (size, changes, reads) in report {
        println!("of {size} credentials");
        for (kind, times) in changes {
            show(kind, &times);
        }
        show("one decision", &reads);
    }
}

/// Changes one address of a long list.
fn address_of_list(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut report = Vec::new();
    for entries in [10, 100, 1_000, 10_000] {
        let put = |n: usize| {
            // a network of 16 to 32 bits
            let bits = u32::try_from(mix(n) >> 32).unwrap();
            let len = 16 + u8::try_from(mix(n) % 17).unwrap();
            let addr = bits >> (32 - len) << (32 - len);
            let prefix = Prefix::new(std::net::Ipv4Addr::from_bits(addr).into(), len).unwrap();
            let sid = (u128::from(mix(n)) << 64 | u128::from(mix(!n))).to_le_bytes();
            IpAddress::new(IpAddressSid::from_bytes(sid), access_list(0), prefix)
        };
        let list = IpAccessControlList::new(access_list(0), account(0));
        let first =
            Snapshot::builder().account(Account::new(account(0))).ip_access_control_list(list);
        let snapshot = (0..entries).fold(first, |builder, n| builder.ip_address(put(n))).build();
        let capacity = Capacity::default().with_nonces(0).with_repeats(0).with_guesses(0);
        let authorizer =
            Authorizer::from_seed(snapshot.unwrap(), capacity, &[7; 32], Instant::now());
        let mut change = |round: usize| {
            let (address, mut commit) = (put(entries + round / 2), Commit::new());
            if round.is_multiple_of(2) {
                commit.put(address.into());
            } else {
                commit.delete(Key::IpAddress(address.sid));
            }
            apply(&authorizer, &commit)
        };
        row(&mut group, BenchmarkId::new("address_of_list", entries), false, &mut change);
        // on a busy machine the medians vary less than the means above
        let mut times: Vec<_> = (0..if is_test() { 20 } else { 2_000 }).map(&mut change).collect();
        times.sort_unstable();
        report.push((format!("in a list of {entries}"), times));
    }
    group.finish();
    println!("\n{:<22} {:>9} {:>9} {:>9}", "one address, µs", "median", "p99", "worst");
    for (what, times) in report {
        show(&what, &times);
    }
}

criterion_group!(benches, publish, address_of_list);
criterion_main!(benches);
