//! Counts allocations, and the instructions of a decision under callgrind.

use std::hint::black_box;
use std::process::ExitCode;
use std::rc::Rc;

use sip_authz::{Decision, Reason, Transport};

use crate::report::{Report, Target, Unit};
use sip_authz_testing::bench::callgrind;
use sip_authz_testing::bench::support::{
    Client, Kind, LISTED, Packet, UNLISTED, World, by_credential, rejected, same,
};

pub(crate) fn measure(report: &mut Report) {
    instructions(report, "instructions-md5-tcp", Transport::Tcp);
    instructions(report, "instructions-md5-udp", Transport::Udp);
    allocations(report);
}

/// One decision in a function of its own, which callgrind counts.
#[inline(never)]
fn probed(world: &World, packet: &Packet) -> Decision {
    black_box(world).authorizer.authorize(&black_box(packet).invite(), world.now)
}

/// The same without parsing the datagram.
#[inline(never)]
fn probed_invite(world: &World, invite: &sip_authz::Invite<'_>) -> Decision {
    black_box(world).authorizer.authorize(black_box(invite), world.now)
}

/// The job of this program under callgrind: one counted decision, after others that do the one-time
/// setup.
pub(crate) fn run(name: &str) -> ExitCode {
    let transport = if name.ends_with("udp") { Transport::Udp } else { Transport::Tcp };
    let world = World::new();
    let mut client = Client::new(&world, Kind::Md5, transport);
    let warm = client.batch();
    assert!(warm.iter().all(|packet| probed(&world, packet).is_accept()));
    let packets = client.batch();
    let decision = probed_invite(&world, &packets[0].invite());
    if decision.is_accept() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn instructions(report: &mut Report, name: &str, transport: Transport) {
    if !report.wants(&[name]) {
        return;
    }
    let probe = if transport == Transport::Udp { "md5-udp" } else { "md5-tcp" };
    match callgrind::count("probed_invite", &["--probe", probe]) {
        Ok(count) => {
            let note = "by callgrind, which shows neither SHA-NI nor AVX-512";
            report.line(name, Unit::Count, count, Target::AtMost(4_500.0), note);
        }
        Err(why) => report.absent(name, &why),
    }
}

type Row = (&'static str, fn(&Decision) -> bool, Box<dyn FnMut() -> Rc<[Packet]>>);

fn accepts(world: &World) -> Vec<Row> {
    let client = |kind, transport| {
        let mut client = Client::new(world, kind, transport);
        Box::new(move || client.batch())
    };
    let proved: fn(&Decision) -> bool = |decision| by_credential(decision, false);
    let listed = same(Kind::Address, "", LISTED, Transport::Udp);
    vec![
        ("address", Decision::is_accept, Box::new(listed)),
        ("MD5 over UDP", proved, client(Kind::Md5, Transport::Udp)),
        ("MD5 over TCP", proved, client(Kind::Md5, Transport::Tcp)),
        ("SHA-256", proved, client(Kind::Sha256, Transport::Udp)),
        ("SHA-512/256", proved, client(Kind::Sha512, Transport::Udp)),
    ]
}

fn rejects(world: &World) -> Vec<Row> {
    let wrong: fn(&Decision) -> bool = |d| rejected(d, Reason::WrongCredentials);
    let from = |kind, source| Box::new(same(kind, "", source, Transport::Udp));
    let client = || Client::new(world, Kind::Md5, Transport::Udp);
    let mut other_password = Client { password: "not that of", ..client() };
    let mut other_user = Client { user_prefix: "no", ..client() };
    vec![
        ("wrong password", wrong, Box::new(move || other_password.batch())),
        ("unknown user", wrong, Box::new(move || other_user.batch())),
        ("unknown host", |d| rejected(d, Reason::UnknownHost), from(Kind::Unknown, LISTED)),
        ("suspended", |d| rejected(d, Reason::AccountInactive), from(Kind::Suspended, LISTED)),
        ("not secure", |d| rejected(d, Reason::NotSecure), from(Kind::Secure, LISTED)),
        ("nothing mapped", |d| rejected(d, Reason::NothingMapped), from(Kind::Empty, LISTED)),
        ("not listed", |d| rejected(d, Reason::AddressNotListed), from(Kind::Address, UNLISTED)),
    ]
}

/// Each with parsing of the datagram, single and in batches.
fn allocations(report: &mut Report) {
    type Rows = fn(&World) -> Vec<Row>;
    let groups: [(&str, Rows); 2] =
        [("allocations-accept", accepts), ("allocations-reject", rejects)];
    for (name, rows) in groups {
        if !report.wants(&[name]) {
            continue;
        }
        let world = World::new();
        let (mut total, mut kinds) = (0, Vec::new());
        for (kind, expected, mut next) in rows(&world) {
            let (one, many) = (next(), next());
            let alone = allocation_counter::measure(|| {
                assert!(one.iter().all(|packet| expected(&probed(&world, packet))), "{kind}");
            });
            let invites: Vec<_> = many.iter().map(Packet::invite).collect();
            let mut out = Vec::with_capacity(invites.len());
            let in_batch = allocation_counter::measure(|| {
                world.authorizer.authorize_batch(&invites, world.now, &mut out);
            });
            assert!(out.iter().all(expected), "{kind}");
            let count = alone.count_total + in_batch.count_total;
            if count > 0 {
                kinds.push(kind);
            }
            total += count;
        }
        let note = if kinds.is_empty() {
            "of every kind, datagram read, alone and in batches".to_owned()
        } else {
            format!("in {}", kinds.join(", "))
        };
        report.line(name, Unit::Count, total as f64, Target::AtMost(0.0), &note);
    }
}
