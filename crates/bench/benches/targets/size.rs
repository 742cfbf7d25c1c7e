//! Targets that depend on size: memory, publishing a change, decisions among a million domains.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sip_authz::Authorizer;

use crate::address;
use crate::report::{Report, Target, Unit};
use sip_authz_testing::bench::large::{KINDS, Large, host, invite, publish};

const MEMORY: [&str; 2] = ["memory-domain", "memory-credential"];
const PUBLISH: [&str; 4] =
    ["publish-median", "publish-p99", "publish-growth", "publish-readers-held-up"];
/// The size with which larger ones are compared.
const FEW: usize = 10_000;

pub(crate) fn measure(report: &mut Report) {
    let names = [&MEMORY[..], &PUBLISH, &address::NAMES].concat();
    if report.is_listing() {
        report.wants(&names);
        return;
    }
    if !names.iter().any(|name| report.is_asked_for(name)) {
        return;
    }
    let (domains, credentials) = match (report.options.small, report.options.full) {
        (true, _) => (2_000, 20_000),
        (false, true) => (1_000_000, 10_000_000),
        (false, false) => (1_000_000, 1_000_000),
    };
    let large = build(report, domains, credentials);
    address::measure(report, &large);
    publishing(report, &large);
}

/// The resident memory of this process in bytes, if the system reports it.
fn resident() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<f64>().ok()? * 4096.0)
}

/// The bytes for each of `count`: the larger of the net allocations and the growth of the process.
fn memory(report: &mut Report, name: &str, target: f64, count: usize, build: impl FnOnce()) {
    report.wants(&[name]);
    let (before, begun) = (resident(), Instant::now());
    let counted = allocation_counter::measure(build).bytes_current as f64;
    let took = begun.elapsed().as_secs_f64();
    let grown = resident().zip(before).map_or(0.0, |(after, before)| after - before);
    let each = counted.max(grown) / count as f64;
    let note = format!("of {count}, built in {took:.1} s");
    report.line(name, Unit::Bytes, each, Target::AtMost(target), &note);
}

fn build(report: &mut Report, domains: usize, credentials: usize) -> Large {
    let mut large = Large::new(domains, credentials);
    memory(report, MEMORY[0], 200.0, domains, || large.add_domains());
    memory(report, MEMORY[1], 220.0, credentials, || large.add_credentials());
    large
}

/// The slowest kind of change: its median and 99th percentile, in microseconds.
fn greatest(large: &Large, authorizer: &Authorizer, rounds: usize) -> ([f64; 2], &'static str) {
    let (mut greatest, mut which) = ([0.0_f64; 2], "");
    for kind in KINDS {
        publish(large, authorizer, kind, rounds / 20 * 2);
        let times = publish(large, authorizer, kind, rounds);
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_nanos() as f64 / 1e3;
        if at(50) > greatest[0] {
            which = kind;
        }
        greatest = [greatest[0].max(at(50)), greatest[1].max(at(99))];
    }
    (greatest, which)
}

fn publishing(report: &mut Report, large: &Large) {
    if !report.wants(&PUBLISH) {
        return;
    }
    let rounds = if report.options.small { 40 } else { 2_000 };
    let (authorizer, now) = large.authorizer();
    let ([median, p99], kind) = greatest(large, &authorizer, rounds);
    let few = FEW.min(large.credentials);
    let small = Large::whole(few / 10, few);
    let ([small_median, _], _) = greatest(&small, &small.authorizer().0, rounds);
    let note = format!(
        "{} domains, {} credentials; slowest kind: {kind}",
        large.domains, large.credentials
    );
    report.line(PUBLISH[0], Unit::Us, median, Target::AtMost(25.0), &note);
    report.line(PUBLISH[1], Unit::Us, p99, Target::AtMost(200.0), &note);
    let growth = median / small_median;
    let note = format!("{small_median:.1} us with {few} credentials");
    report.line(PUBLISH[2], Unit::Ratio, growth, Target::AtMost(2.0), &note);

    let quiet = held_up(large, &authorizer, now, median, None);
    let changed = held_up(large, &authorizer, now, median, Some(rounds));
    let note = "decisions longer than a change, per change, minus those without changes";
    let more = (changed - quiet).max(0.0);
    report.line(PUBLISH[3], Unit::Ratio, more, Target::AtMost(0.05), note);
}

/// The number of decisions of a reader that took longer than `limit_us`, per change published
/// meanwhile. The comparison without changes runs for as long as a change takes. If readers waited for
/// changes, the number would be one.
fn held_up(
    large: &Large,
    authorizer: &Authorizer,
    now: Instant,
    limit_us: f64,
    rounds: Option<usize>,
) -> f64 {
    let done = AtomicBool::new(false);
    let uris: Vec<String> = (0..256).map(|n| format!("sip:200@{}", host(n * 2))).collect();
    let limit = Duration::from_secs_f64(limit_us / 1e6);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut slow = 0;
            while !done.load(Ordering::Relaxed) {
                for uri in &uris {
                    let invite = invite(uri);
                    let begun = Instant::now();
                    _ = std::hint::black_box(authorizer.authorize(&invite, now));
                    slow += usize::from(begun.elapsed() > limit);
                }
            }
            slow
        });
        let begun = Instant::now();
        let changes = match rounds {
            Some(rounds) => {
                KINDS.iter().map(|kind| publish(large, authorizer, kind, rounds).len()).sum()
            }
            None => {
                std::thread::sleep(Duration::from_millis(200));
                (begun.elapsed().as_secs_f64() / limit.as_secs_f64()) as usize
            }
        };
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap() as f64 / changes.max(1) as f64
    })
}
