//! Measures decisions in batches of 1, 8 and 64, single decisions, and bare hashing of the same
//! messages, in one run: `cargo bench --bench batch`. Then `python3 benches/ratios.py` prints medians
//! and ratios. Absolute times depend on the machine; compare the ratios.
//!
//! The INVITEs are prepared; the decisions parse the credentials headers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use sip_authz_testing::bench::support;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use md5::Md5;
use sha2::{Digest, Sha256};
use sip_authz::{Decision, Transport};
use sip_authz_testing::bench::support::{
    BATCH, Bare, Client, DOMAINS, Kind, LISTED, Packet, USERS, World, by_credential, same, user,
};

const SIZES: [usize; 3] = [1, 8, 64];

/// The time of `iters` decisions in batches of `size`, or single decisions without a size.
fn time(
    world: &World,
    size: Option<usize>,
    iters: u64,
    next: &mut dyn FnMut() -> Rc<[Packet]>,
    expected: fn(&Decision) -> bool,
) -> Duration {
    let (mut left, mut spent) = (usize::try_from(iters).unwrap(), Duration::ZERO);
    let mut out = Vec::with_capacity(BATCH);
    while left > 0 {
        let packets = next();
        let invites: Vec<_> = packets.iter().map(Packet::invite).take(left).collect();
        left -= invites.len();
        let mut right = 0;
        let start = Instant::now();
        for invites in invites.chunks(size.unwrap_or(BATCH)) {
            let invites = black_box(invites);
            if size.is_some() {
                world.authorizer.authorize_batch(invites, world.now, &mut out);
            } else {
                let decide = |invite| world.authorizer.authorize(invite, world.now);
                out.clear();
                out.extend(invites.iter().map(decide));
            }
            right += black_box(&out).iter().filter(|decision| expected(decision)).count();
        }
        spent += start.elapsed();
        assert_eq!(right, invites.len(), "unexpected decision");
    }
    spent
}

fn rows(
    c: &mut Criterion,
    world: &World,
    name: &str,
    expected: fn(&Decision) -> bool,
    mut next: impl FnMut() -> Rc<[Packet]>,
) {
    let mut group = c.benchmark_group("batch");
    for size in [None].into_iter().chain(SIZES.map(Some)) {
        let label = size.map_or("alone".to_owned(), |size| size.to_string());
        group.bench_function(BenchmarkId::new(name, label), |bencher| {
            bencher.iter_custom(|iters| time(world, size, iters, &mut next, expected));
        });
    }
    group.finish();
}

/// The bare hashing for the accepts of the client.
fn bare<D: Digest>(c: &mut Criterion, name: &str, client: &mut Client) {
    let message = |at: usize| client.bare::<D>(at % DOMAINS, &user(at % DOMAINS % USERS));
    let mut messages: Vec<Bare> = (0..BATCH).map(message).collect();
    let mut at = 0;
    c.bench_function(&format!("bare/{name}"), |bencher| {
        bencher.iter(|| {
            at = (at + 1) % BATCH;
            assert!(messages[at].verify::<D>());
        });
    });
}

fn batch(c: &mut Criterion) {
    let proved = |decision: &Decision| by_credential(decision, false);
    let world = &World::new();
    let client = |kind| Client::new(world, kind, Transport::Udp);
    let listed = same(Kind::Address, "", LISTED, Transport::Udp);
    rows(c, world, "address", Decision::is_accept, listed);
    let challenged = |decision: &Decision| matches!(decision, Decision::Challenge(_));
    rows(c, world, "challenge", challenged, same(Kind::Md5, "", LISTED, Transport::Udp));
    let mut md5 = client(Kind::Md5);
    rows(c, world, "md5", proved, || md5.batch());
    let mut sha256 = client(Kind::Sha256);
    rows(c, world, "sha256", proved, || sha256.batch());
    bare::<Md5>(c, "md5", &mut client(Kind::Md5));
    bare::<Sha256>(c, "sha256", &mut client(Kind::Sha256));
}

criterion_group! {
    name = benches;
    config = support::settings();
    targets = batch
}
criterion_main!(benches);
