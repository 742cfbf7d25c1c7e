//! Decisions by address lists only, compared with a memory access that misses the cache.

use std::hint::black_box;
use std::time::Instant;

use sip_authz::{Authorizer, Invite};

use crate::report::{Report, Target, Unit, ns_each};
use sip_authz_testing::bench::large::{Large, host, invite, mix};

/// The cache miss time for which the targets are set.
const MISS_NS: f64 = 130.0;
const BUSY: usize = 64;
/// Few enough that the requests stay in the cache, like a datagram just received.
const AT_ONCE: usize = 256;
pub(crate) const NAMES: [&str; 3] = ["address-64", "address-million", "address-million-batch"];

/// A walk through memory in which each step depends on the previous one.
struct Chase {
    lines: Vec<[u32; 16]>,
    at: u32,
}

impl Chase {
    const STEPS: usize = 2_000;

    fn new(bytes: usize) -> Self {
        let count = bytes / 64;
        let mut lines: Vec<[u32; 16]> = (0_u32..).take(count).map(|n| [n; 16]).collect();
        // Sattolo's shuffle: one cycle through all elements
        for i in (1..count).rev() {
            let j = usize::try_from(mix(i)).unwrap() % i;
            let (a, b) = (lines[i][0], lines[j][0]);
            (lines[i][0], lines[j][0]) = (b, a);
        }
        Self { lines, at: 0 }
    }

    fn step(&mut self) -> f64 {
        let begun = Instant::now();
        for _ in 0..Self::STEPS {
            self.at = self.lines[usize::try_from(self.at).unwrap()][0];
        }
        let took = begun.elapsed();
        black_box(self.at);
        ns_each(took, Self::STEPS)
    }
}

/// INVITEs for the same hosts each time, or for new random hosts, made just before.
struct Hosts {
    count: usize,
    next: usize,
}

impl Hosts {
    fn take(&mut self) -> Vec<String> {
        let number = |n: usize| {
            // in `Large`, domains with even numbers have address lists only
            let random = usize::try_from(mix(n)).unwrap() % self.count;
            if self.count <= BUSY { n % self.count * 2 } else { random / 2 * 2 }
        };
        let from = self.next;
        self.next += AT_ONCE;
        (from..self.next).map(|n| format!("sip:+14155550100@{}", host(number(n)))).collect()
    }
}

pub(crate) fn measure(report: &mut Report, large: &Large) {
    let asked = NAMES.map(|name| report.wants(&[name]));
    if asked == [false; 3] {
        return;
    }
    let (authorizer, now) = large.authorizer();
    let mut chase = Chase::new(if report.options.small { 1 << 20 } else { 256 << 20 });
    let mut out = Vec::new();
    let mut run = |authorizer: &Authorizer, hosts: &mut Hosts, at_once: bool| {
        let uris = hosts.take();
        let invites: Vec<Invite<'_>> = uris.iter().map(|uri| invite(uri)).collect();
        let begun = Instant::now();
        let right = if at_once {
            let mut right = 0;
            for invites in invites.chunks(64) {
                authorizer.authorize_batch(black_box(invites), now, &mut out);
                right += black_box(&out).iter().filter(|it| it.is_accept()).count();
            }
            right
        } else {
            let decide = |invite| black_box(authorizer.authorize(black_box(invite), now));
            invites.iter().filter(|invite| decide(invite).is_accept()).count()
        };
        let took = begun.elapsed();
        assert_eq!(right, AT_ONCE);
        ns_each(took, AT_ONCE)
    };
    let rows = [(BUSY, false, 80.0), (large.domains, false, 400.0), (large.domains, true, 180.0)];
    for ((name, asked), (count, at_once, target)) in NAMES.into_iter().zip(asked).zip(rows) {
        if !asked {
            continue;
        }
        let mut hosts = Hosts { count, next: 0 };
        let measured = report.compare(|| run(&authorizer, &mut hosts, at_once), || chase.step());
        let miss = measured.second;
        let scaled = target * miss / MISS_NS;
        let note = format!(
            "{:.2} of a cache miss, {miss:.0} ns here; {target} ns where it takes {MISS_NS}; {} domains",
            measured.ratio, large.domains,
        );
        report.line(name, Unit::Ns, measured.ratio * miss, Target::AtMost(scaled), &note);
    }
}
