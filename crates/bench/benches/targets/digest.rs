//! Decisions by digest compared with bare hashing of the same messages, single and in batches.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use md5::Md5;
use sha2::{Digest, Sha256};
use sip_authz::Transport::{self, Tcp, Udp};
use sip_authz::digest::{Parsed, parse as parse_credentials};
use sip_authz::internals::{count_right, verify};
use sip_authz::{Decision, Invite};
use sip_authz_arch::{Width, hold_width};

use crate::report::{Comparison, Report, Target, Unit, ns_each};
use sip_authz_testing::bench::support::{
    BATCH, Bare, Client, DOMAINS, Kind, LISTED, Packet, REALM, USERS, World, by_credential, same,
    user,
};

/// Batches of these sizes must not be slower than single decisions. The ratio leaves room for noise: a
/// batch of one does the same work.
const SIZES: [usize; 6] = [1, 2, 4, 8, 16, 64];
const NOT_SLOWER: f64 = 1.03;

pub(crate) fn measure(report: &mut Report) {
    authorize::<Md5>(report, "authorize-md5-tcp", Kind::Md5, Tcp, 1.25);
    authorize::<Md5>(report, "authorize-md5-udp", Kind::Md5, Udp, 1.25);
    authorize::<Sha256>(report, "authorize-sha256-tcp", Kind::Sha256, Tcp, 1.5);
    authorize::<Sha256>(report, "authorize-sha256-udp", Kind::Sha256, Udp, 1.5);
    verification(report);
    batch(report, "batch-md5-avx512", "avx512f", 0.55);
    batch(report, "batch-md5-avx2", "avx2", 0.8);
    never_slower(report);
}

fn proved(decision: &Decision) -> bool {
    by_credential(decision, false)
}

/// The time per request of a batch, with single decisions.
fn one_at_a_time(world: &World, packets: &[Packet]) -> f64 {
    let invites: Vec<_> = packets.iter().map(Packet::invite).collect();
    let begun = Instant::now();
    let decide = |invite| world.authorizer.authorize(black_box(invite), world.now);
    let right = invites.iter().filter(|invite| proved(&black_box(decide(invite)))).count();
    let took = begun.elapsed();
    assert_eq!(right, invites.len());
    ns_each(took, invites.len())
}

/// The bare hashing for the accepts of a client.
fn bare<D: Digest>(client: &mut Client) -> impl FnMut() -> f64 + use<D> {
    let message = |at: usize| client.bare::<D>(at % DOMAINS, &user(at % DOMAINS % USERS));
    let mut messages: Vec<Bare> = (0..BATCH).map(message).collect();
    move || {
        let begun = Instant::now();
        let right = messages.iter_mut().filter_map(|it| it.verify::<D>().then_some(())).count();
        let took = begun.elapsed();
        assert_eq!(right, BATCH);
        ns_each(took, BATCH)
    }
}

fn authorize<D: Digest>(
    report: &mut Report,
    name: &str,
    kind: Kind,
    transport: Transport,
    target: f64,
) {
    if !report.wants(&[name]) {
        return;
    }
    let world = World::new();
    let bare = bare::<D>(&mut Client::new(&world, kind, transport));
    let mut client = Client::new(&world, kind, transport);
    let measured = report.compare(|| one_at_a_time(&world, &client.batch()), bare);
    let note = format!("{:.0} ns, bare hashing {:.0} ns", measured.first, measured.second);
    report.line(name, Unit::Ratio, measured.ratio, Target::AtMost(target), &note);
}

/// The library's verification of parsed headers, single and interleaved.
fn verification(report: &mut Report) {
    const NAMES: [(&str, f64); 2] = [("verify-md5", 0.70), ("verify-md5-batch", 0.12)];
    let world = World::new();
    let client = &mut Client::new(&world, Kind::Md5, Udp);
    let packets = client.batch();
    let invites: Vec<_> = packets.iter().map(Packet::invite).collect();
    let mut headers = Vec::new();
    for (at, invite) in invites.iter().enumerate() {
        let name = user(at % USERS);
        let ha1 = Md5::digest(format!("{name}:{REALM}:{} {name}", client.password));
        match parse_credentials(invite.credentials()[0].1, REALM) {
            Parsed::Credentials(credentials) => headers.push((credentials, ha1)),
            _ => panic!("not read"),
        }
    }
    for (name, target) in NAMES {
        if !report.wants(&[name]) {
            continue;
        }
        let ours = || {
            let headers = black_box(&headers[..]);
            let begun = Instant::now();
            let right = if name.ends_with("batch") {
                count_right(headers)
            } else {
                let right = headers.iter();
                right.filter(|(asked, ha1)| verify(asked, ha1, "INVITE", b"")).count()
            };
            let took = begun.elapsed();
            assert_eq!(right, BATCH);
            ns_each(took, BATCH)
        };
        let measured = report.compare(ours, bare::<Md5>(&mut Client::new(&world, Kind::Md5, Udp)));
        let Comparison { first, second, ratio } = measured;
        let note = format!("{first:.0} ns, bare hashing {second:.0} ns");
        report.line(name, Unit::Ratio, ratio, Target::AtMost(target), &note);
    }
}

/// The time per request, in batches of `size`.
fn in_batches(
    world: &World,
    packets: &[Packet],
    size: usize,
    out: &mut Vec<Decision>,
    expected: impl Fn(&Decision) -> bool,
) -> f64 {
    time_each(packets, size, out, expected, |invites, out| {
        world.authorizer.authorize_batch(invites, world.now, out);
    })
}

/// The same number of requests, one at a time.
fn one_by_one(
    world: &World,
    packets: &[Packet],
    size: usize,
    out: &mut Vec<Decision>,
    expected: impl Fn(&Decision) -> bool,
) -> f64 {
    time_each(packets, size, out, expected, |invites, out| {
        out.clear();
        out.extend(invites.iter().map(|invite| world.authorizer.authorize(invite, world.now)));
    })
}

/// The time per request, given to `decide` in slices of `size`.
fn time_each(
    packets: &[Packet],
    size: usize,
    out: &mut Vec<Decision>,
    expected: impl Fn(&Decision) -> bool,
    decide: impl Fn(&[Invite<'_>], &mut Vec<Decision>),
) -> f64 {
    let invites: Vec<_> = packets.iter().map(Packet::invite).collect();
    let mut right = 0;
    let begun = Instant::now();
    for invites in invites.chunks(size) {
        decide(black_box(invites), out);
        right += black_box(&*out).iter().filter(|decision| expected(decision)).count();
    }
    let took = begun.elapsed();
    assert_eq!(right, invites.len());
    ns_each(took, invites.len())
}

fn batch(report: &mut Report, name: &str, instructions: &str, target: f64) {
    if !report.wants(&[name]) {
        return;
    }
    let Some(width) = Width::available().find(|width| width.name() == instructions) else {
        return report.absent(name, &format!("this processor has no {instructions}"));
    };
    let held = hold_width(width);
    let world = World::new();
    let bare = bare::<Md5>(&mut Client::new(&world, Kind::Md5, Udp));
    let mut client = Client::new(&world, Kind::Md5, Udp);
    let mut out = Vec::new();
    let ours = || in_batches(&world, &client.batch(), BATCH, &mut out, proved);
    let measured = report.compare(ours, bare);
    drop(held);
    let note =
        format!("{:.0} ns each of 64, bare hashing {:.0} ns", measured.first, measured.second);
    report.line(name, Unit::Ratio, measured.ratio, Target::AtMost(target), &note);
}

/// The requests of a row of `batch-never-slower-…`.
type Source<'w> = Box<dyn FnMut() -> Rc<[Packet]> + 'w>;

fn never_slower(report: &mut Report) {
    type Row = (&'static str, Kind, fn(&Decision) -> bool);
    const ROWS: [Row; 4] = [
        ("batch-never-slower-address", Kind::Address, Decision::is_accept),
        ("batch-never-slower-challenge", Kind::Md5, |d| matches!(d, Decision::Challenge(_))),
        ("batch-never-slower-md5", Kind::Md5, proved),
        ("batch-never-slower-sha256", Kind::Sha256, proved),
    ];
    for (name, kind, expected) in ROWS {
        if !report.wants(&[name]) {
            continue;
        }
        let (mut worst, mut note) = (0.0, String::new());
        for size in SIZES {
            let world = World::new();
            let source = || -> Source<'_> {
                if kind == Kind::Address || name.ends_with("challenge") {
                    return Box::new(same(kind, "", LISTED, Udp));
                }
                let mut client = Client::new(&world, kind, Udp);
                Box::new(move || client.batch())
            };
            let (mut first, mut second) = (source(), source());
            let (mut out, mut other_out) = (Vec::new(), Vec::new());
            let measured = report.compare(
                || in_batches(&world, &first(), size, &mut out, expected),
                || one_by_one(&world, &second(), size, &mut other_out, expected),
            );
            if measured.ratio > worst {
                let (in_batch, alone) = (measured.first, measured.second);
                worst = measured.ratio;
                note = format!(
                    "worst of {SIZES:?} at {size}: {in_batch:.0} ns, one at a time {alone:.0} ns"
                );
            }
        }
        report.line(name, Unit::Ratio, worst, Target::AtMost(NOT_SLOWER), &note);
    }
}
