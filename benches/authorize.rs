//! Measures a decision of each kind, and bare hashing of the same message, in one run: `cargo bench
//! --bench authorize`. Then `python3 benches/ratios.py` prints medians and ratios. Absolute times
//! depend on the machine; compare the ratios.
//!
//! Each row is measured with these inputs:
//!
//! - `invite`: a prepared `Invite`; the decision parses the credentials header.
//! - `datagram`: a datagram of about 1,000 bytes, including `Invite::from_datagram`.
//! - `rsip`: a parsed `rsip::Request`, including `Invite::from_rsip`.
//!
//! 64 domains take turns. Each accept by digest uses a new nonce count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use sip_authz_testing::bench::support;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use sip_authz::{Decision, Invite, Reason, Transport};
use sip_authz_testing::bench::support::{
    BATCH, Bare, Client, DOMAINS, Kind, LISTED, LONG_CNONCE, Packet, UNLISTED, USERS, World,
    by_credential, rejected, same, user,
};

/// The input of a row.
#[derive(Clone, Copy)]
enum Input {
    Invite,
    Datagram,
    Rsip,
}

const BOTH: &[Input] = &[Input::Invite, Input::Datagram];
const ALL: &[Input] = &[Input::Invite, Input::Datagram, Input::Rsip];

/// The time of `iters` decisions on requests from `next`. Each decision must match `expected`.
fn time(
    world: &World,
    given: Input,
    iters: u64,
    next: &mut dyn FnMut() -> Rc<[Packet]>,
    expected: fn(&Decision) -> bool,
) -> Duration {
    let (mut left, mut spent) = (iters, Duration::ZERO);
    while left > 0 {
        let packets = next();
        let count = packets.len().min(usize::try_from(left).unwrap());
        left -= count as u64;
        let packets = &packets[..count];
        let decide = |invite: &Invite<'_>| {
            let decision = world.authorizer.authorize(black_box(invite), world.now);
            usize::from(expected(black_box(&decision)))
        };
        let mut right = 0;
        match given {
            Input::Invite => {
                let invites: Vec<_> = packets.iter().map(Packet::invite).collect();
                let start = Instant::now();
                right += invites.iter().map(decide).sum::<usize>();
                spent += start.elapsed();
            }
            Input::Datagram => {
                let start = Instant::now();
                right += packets.iter().map(|packet| decide(&packet.invite())).sum::<usize>();
                spent += start.elapsed();
            }
            Input::Rsip => {
                let parse = |packet: &Packet| rsip::Request::try_from(&packet.bytes[..]).unwrap();
                let requests: Vec<_> = packets.iter().map(parse).collect();
                let start = Instant::now();
                for (packet, request) in packets.iter().zip(&requests) {
                    let invite = Invite::from_rsip(request, packet.source, packet.transport);
                    right += decide(&invite.unwrap());
                }
                spent += start.elapsed();
            }
        }
        assert_eq!(right, count, "unexpected decision");
    }
    spent
}

fn row(
    c: &mut Criterion,
    world: &World,
    name: &str,
    givens: &[Input],
    expected: fn(&Decision) -> bool,
    mut next: impl FnMut() -> Rc<[Packet]>,
) {
    let mut group = c.benchmark_group("authorize");
    for given in givens {
        let label = match given {
            Input::Invite => "invite",
            Input::Datagram => "datagram",
            Input::Rsip => "rsip",
        };
        group.bench_function(BenchmarkId::new(name, label), |bencher| {
            bencher.iter_custom(|iters| time(world, *given, iters, &mut next, expected));
        });
    }
    group.finish();
}

fn authorize(c: &mut Criterion) {
    use Transport::{Tcp, Udp};

    let world = &World::new();
    let challenged = |d: &Decision| matches!(d, Decision::Challenge(it) if !it.stale);
    let stale = |d: &Decision| matches!(d, Decision::Challenge(it) if it.stale);
    let proved = |d: &Decision| by_credential(d, false);
    let client = |kind, transport| Client::new(world, kind, transport);

    let next = same(Kind::Address, "", LISTED, Udp);
    row(c, world, "accept_address", ALL, Decision::is_accept, next);
    row(c, world, "challenge", ALL, challenged, same(Kind::Md5, "", LISTED, Udp));

    let mut md5 = client(Kind::Md5, Udp);
    row(c, world, "accept_md5", ALL, proved, || md5.batch());
    let mut md5_tcp = client(Kind::Md5, Tcp);
    row(c, world, "accept_md5_tcp", BOTH, proved, || md5_tcp.batch());
    let mut long = Client { cnonce: LONG_CNONCE, ..client(Kind::Md5, Udp) };
    row(c, world, "accept_md5_cnonce32", BOTH, proved, || long.batch());
    let mut sha256 = client(Kind::Sha256, Udp);
    row(c, world, "accept_sha256", BOTH, proved, || sha256.batch());
    let mut sha512 = client(Kind::Sha512, Udp);
    row(c, world, "accept_sha512_256", BOTH, proved, || sha512.batch());

    let used = client(Kind::Md5, Tcp).batch();
    time(world, Input::Invite, BATCH as u64, &mut || Rc::clone(&used), proved);
    row(c, world, "replay_md5_tcp", BOTH, stale, || Rc::clone(&used));
    // a separate world, so that its time stands still and the older accepts stay valid
    let world = &World::new();
    let sent = Client::new(world, Kind::Md5, Udp).batch();
    time(world, Input::Invite, BATCH as u64, &mut || Rc::clone(&sent), proved);
    row(c, world, "repeat_md5_udp", BOTH, |d| by_credential(d, true), || Rc::clone(&sent));

    let wrong = |d: &Decision| rejected(d, Reason::WrongCredentials);
    let mut other_password = Client { password: "not that of", ..client(Kind::Md5, Udp) };
    row(c, world, "reject_wrong_password_md5", BOTH, wrong, || other_password.batch());
    let mut other_user = Client { user_prefix: "no", ..client(Kind::Md5, Udp) };
    row(c, world, "reject_unknown_user_md5", BOTH, wrong, || other_user.batch());

    let malformed = |d: &Decision| {
        let Decision::Reject(reject) = d else { return false };
        matches!(reject.reason, Reason::MalformedCredentials(_))
    };
    let packet = client(Kind::Md5, Udp).packet(0);
    let text = String::from_utf8(packet.bytes).unwrap();
    let header = text.lines().find(|line| line.starts_with("Proxy-")).unwrap();
    let header = format!("{}\r\n", header.replace("nc=", "nc=0"));
    row(c, world, "reject_malformed", BOTH, malformed, same(Kind::Md5, &header, LISTED, Udp));

    let unknown = |d: &Decision| rejected(d, Reason::UnknownHost);
    row(c, world, "reject_unknown_host", BOTH, unknown, same(Kind::Unknown, "", LISTED, Udp));
    let inactive = |d: &Decision| rejected(d, Reason::AccountInactive);
    let next = same(Kind::Suspended, "", LISTED, Udp);
    row(c, world, "reject_account_inactive", BOTH, inactive, next);
    let not_secure = |d: &Decision| rejected(d, Reason::NotSecure);
    row(c, world, "reject_not_secure", BOTH, not_secure, same(Kind::Secure, "", LISTED, Udp));
    let nothing = |d: &Decision| rejected(d, Reason::NothingMapped);
    row(c, world, "reject_nothing_mapped", BOTH, nothing, same(Kind::Empty, "", LISTED, Udp));
    let unlisted = |d: &Decision| rejected(d, Reason::AddressNotListed);
    let next = same(Kind::Address, "", UNLISTED, Udp);
    row(c, world, "reject_address_not_listed", BOTH, unlisted, next);

    let mut long = Client { cnonce: LONG_CNONCE, ..client(Kind::Md5, Udp) };
    bare::<Md5>(c, "md5_cnonce32", &mut long);
    bare::<Md5>(c, "md5", &mut client(Kind::Md5, Udp));
    bare::<Sha256>(c, "sha256", &mut client(Kind::Sha256, Udp));
    bare::<Sha512_256>(c, "sha512_256", &mut client(Kind::Sha512, Udp));
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

criterion_group! {
    name = benches;
    config = support::settings();
    targets = authorize
}
criterion_main!(benches);
