//! Measures a snapshot of a given size: memory by kind, time to build, time until one change is in
//! force (alone, and while two threads decide), and lookups.
//!
//! `cargo bench --bench memory -- [DOMAINS [CREDENTIALS]]`, by default 50,000 and 500,000. The targets
//! are for `-- 1000000 10000000`, which needs 3 GB and some minutes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

use std::hint::black_box;
use std::time::Instant;

use sip_authz::Authorizer;
use sip_authz::internals::{count_named, count_named_at_once, count_users, count_users_at_once};
use sip_authz_testing::bench::large::{
    KINDS, Large, host, invite, mix, publish, publish_while_read, show, username,
};

/// The resident memory of this process in bytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<f64>().ok());
    pages.unwrap_or_default() * 4096.0
}

/// The processor time of this process in seconds.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // skip the name, which may contain spaces, and eleven fields; then user and system time in 1/100 s
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Runs `build` and prints its costs: memory by both measures, for each of `count`, and time.
fn measured(what: &str, count: usize, build: impl FnOnce()) {
    let (before, began, busy) = (resident(), Instant::now(), processor());
    let counted = allocation_counter::measure(build).bytes_current;
    let (took, busy, resident) = (began.elapsed(), processor() - busy, resident() - before);
    let each = count.max(1) as f64;
    println!(
        "{what:<22} {count:>10} {:>8.1} {:>8.1} {:>9.2} {busy:>9.2}",
        resident / each,
        counted as f64 / each,
        took.as_secs_f64()
    );
}

/// Nanoseconds for each of `count`, the best of five runs.
fn each(count: usize, mut run: impl FnMut()) -> f64 {
    let once = |_| {
        let began = Instant::now();
        run();
        began.elapsed().as_nanos() as f64 / count as f64
    };
    (0..5).map(once).fold(f64::INFINITY, f64::min)
}

fn look_ups(large: &Large, authorizer: &Authorizer, now: Instant) {
    let count = 200_000.min(large.domains);
    let domains: Vec<usize> =
        (0..count).map(|n| usize::try_from(mix(n)).unwrap() % large.domains / 2 * 2).collect();
    let hosts: Vec<String> = domains.iter().map(|n| host(*n)).collect();
    let at: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let busy: Vec<&str> = at.iter().copied().take(64).cycle().take(count).collect();
    println!("\n{:<34} {:>9}", "look-up", "ns");
    let row = |what: &str, ns: f64| println!("{what:<34} {ns:>9.1}");
    let named =
        |hosts: &[&str]| each(count, || assert_eq!(count_named(&large.snapshot, hosts), count));
    row("64 hosts", named(&busy));
    row("hosts at random", named(&at));
    row("the same, 64 at a time", {
        each(count, || assert_eq!(count_named_at_once(&large.snapshot, &at), count))
    });
    let users: Vec<String> = (0..count)
        .map(|n| username(usize::try_from(mix(n)).unwrap() % large.credentials))
        .collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    row("users at random, most of no list", {
        each(count, || {
            _ = black_box(count_users(&large.snapshot, &host(1), &users));
        })
    });
    row("the same, 64 at a time", {
        each(count, || {
            _ = black_box(count_users_at_once(&large.snapshot, &host(1), &users));
        })
    });
    let uris: Vec<String> = hosts.iter().map(|host| format!("sip:200@{host}")).collect();
    let decide = |uris: &[String]| {
        each(uris.len(), || {
            assert!(uris.iter().all(|uri| authorizer.authorize(&invite(uri), now).is_accept()));
        })
    };
    let busy: Vec<String> = uris.iter().take(64).cycle().take(count).cloned().collect();
    row("authorize by address, 64 domains", decide(&busy));
    row("authorize by address, at random", decide(&uris));
}

fn changes(large: &Large, authorizer: &Authorizer, now: Instant) {
    let rounds = 4_000;
    println!("\n{:<22} {:>9} {:>9} {:>9}", "one change, µs", "median", "p99", "worst");
    for kind in KINDS {
        publish(large, authorizer, kind, 200);
        show(kind, &publish(large, authorizer, kind, rounds));
    }
    println!("while two threads decide");
    let (changes, reads) = publish_while_read(large, authorizer, now, rounds);
    for (kind, times) in changes {
        show(kind, &times);
    }
    show("and one decision", &reads);
}

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    // without --bench, `cargo test` runs this with small sizes
    let small = !std::env::args().any(|argument| argument == "--bench");
    let domains = sizes.first().copied().unwrap_or(if small { 2_000 } else { 50_000 });
    let credentials = sizes.get(1).copied().unwrap_or(domains * 10);
    println!(
        "{:<22} {:>10} {:>8} {:>8} {:>9} {:>9}",
        "bytes for each", "count", "resident", "counted", "built, s", "busy, s"
    );
    let mut large = None;
    measured("account with its lists", domains.div_ceil(100), || {
        large = Some(Large::new(domains, credentials));
    });
    let mut large = large.unwrap();
    measured("domain", domains, || large.add_domains());
    measured("credential", credentials, || large.add_credentials());
    let (authorizer, now) = large.authorizer();
    look_ups(&large, &authorizer, now);
    if !small {
        changes(&large, &authorizer, now);
    }
}
