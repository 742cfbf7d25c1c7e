//! Counts the instructions of common decisions under callgrind, with a limit for each in
//! `benches/instructions.txt`: `cargo bench --bench instructions`. Exits with 1 if a count exceeds its
//! limit.
//!
//! Needs valgrind. The counts do not depend on the load of the machine. Callgrind supports AVX2, but
//! neither AVX-512 nor SHA-NI, so this measures the scalar and the AVX2 path. `--bench targets`
//! measures the others.
//!
//! With `-- --set` it writes new limits, a tenth above the counts. The counts vary, since tables hash
//! under random keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, clippy::cast_possible_truncation)]

use sip_authz_testing::bench::callgrind::{self, Row as Counted};
use std::hint::black_box;
use std::process::ExitCode;

use sip_authz::{Decision, Invite, Transport};
use sip_authz_testing::bench::support::{
    BATCH, Client, Kind, LISTED, Packet, World, by_credential, rejected, same,
};

const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// The number of decisions in a batch, each counted as one.
const MANY: usize = 32;

/// The counted operation: one decision, a batch of decisions, or parsing a datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Decision,
    Batch,
    Datagram,
}

type Row = (&'static str, What, Kind, Transport, &'static str, fn(&Decision) -> bool);

const PASSWORD: &str = "secret of";
const ROWS: [Row; 11] = {
    use Transport::{Tcp, Udp};
    use What::{Batch, Datagram, Decision as One};
    [
        ("authorize-md5-tcp", One, Kind::Md5, Tcp, PASSWORD, proved),
        ("authorize-md5-udp", One, Kind::Md5, Udp, PASSWORD, proved),
        ("authorize-sha256-udp", One, Kind::Sha256, Udp, PASSWORD, proved),
        ("authorize-address", One, Kind::Address, Udp, "", Decision::is_accept),
        ("challenge", One, Kind::Md5, Udp, "", challenged),
        ("foreign-nonce", One, Kind::Md5, Udp, PASSWORD, challenged),
        ("wrong-password", One, Kind::Md5, Udp, "not that of", wrong),
        ("datagram", Datagram, Kind::Md5, Udp, PASSWORD, proved),
        ("batch-32-md5", Batch, Kind::Md5, Udp, PASSWORD, proved),
        ("batch-32-sha256", Batch, Kind::Sha256, Udp, PASSWORD, proved),
        ("batch-32-address", Batch, Kind::Address, Udp, "", Decision::is_accept),
    ]
};

fn proved(decision: &Decision) -> bool {
    by_credential(decision, false)
}

fn challenged(decision: &Decision) -> bool {
    matches!(decision, Decision::Challenge(_))
}

fn wrong(decision: &Decision) -> bool {
    rejected(decision, sip_authz::Reason::WrongCredentials)
}

#[inline(never)]
fn counted_decision(world: &World, invite: &Invite<'_>) -> Decision {
    black_box(world).authorizer.authorize(black_box(invite), world.now)
}

#[inline(never)]
fn counted_batch(world: &World, invites: &[Invite<'_>], out: &mut Vec<Decision>) {
    black_box(world).authorizer.authorize_batch(black_box(invites), world.now, out);
}

#[inline(never)]
fn counted_datagram(packet: &Packet) -> Invite<'_> {
    black_box(packet).invite()
}

/// The job of this program under callgrind: one counted operation, after others that do the one-time
/// setup.
fn probe(name: &str) {
    let (_, what, kind, transport, password, expected) =
        *ROWS.iter().find(|row| row.0 == name).unwrap();
    let world = World::new();
    let [before, packets] = if password.is_empty() {
        let mut next = same(kind, "", LISTED, transport);
        [next(), next()]
    } else {
        let mut client = Client { password, ..Client::new(&world, kind, transport) };
        if name == "foreign-nonce" {
            client.nonces.fill("A".repeat(22));
        }
        [client.batch(), client.batch()]
    };
    let mut out = Vec::with_capacity(BATCH);
    let invites: Vec<_> = before.iter().map(Packet::invite).collect();
    let (first, second) = invites.split_at(MANY);
    assert!(first.iter().all(|invite| expected(&world.authorizer.authorize(invite, world.now))));
    world.authorizer.authorize_batch(second, world.now, &mut out);
    assert!(out.iter().all(expected));

    let invites: Vec<_> = packets.iter().take(MANY).map(Packet::invite).collect();
    match what {
        What::Decision => assert!(expected(&counted_decision(&world, &invites[0]))),
        What::Batch => {
            counted_batch(&world, &invites, &mut out);
            assert!(out.iter().all(expected) && out.len() == MANY);
        }
        What::Datagram => {
            let invite = counted_datagram(&packets[0]);
            assert!(expected(&world.authorizer.authorize(&invite, world.now)));
        }
    }
}

fn main() -> ExitCode {
    let rows = ROWS.map(|(name, what, ..)| match what {
        What::Decision => Counted { name, function: "counted_decision", pieces: 1 },
        What::Batch => Counted { name, function: "counted_batch", pieces: MANY as u32 },
        What::Datagram => Counted { name, function: "counted_datagram", pieces: 1 },
    });
    let head = "# The instruction limits of benches/instructions.rs, for a batch per INVITE. Set by\n\
        # `cargo bench --bench instructions -- --set`.\n";
    callgrind::main(&rows, probe, LIMITS, head)
}
