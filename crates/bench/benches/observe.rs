//! Measures the cost of observing decisions, as ratios to no observer. All rows take turns in one run:
//! `cargo bench --bench observe --features metrics,tracing`.
//!
//! Counting is always on, and part of every row. A decision does not call the recorder of the crate
//! `metrics`, so its cost is the time of one `record`, which is printed last.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, clippy::cast_precision_loss)]

use std::hint::black_box;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use metrics::with_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use sip_authz::{Decision, EventOptions, Invite, Transport};
use sip_authz_testing::bench::support::{BATCH, Client, Kind, LISTED, Packet, World, same};
use tracing::Level;

/// The observers: a name, the level of the subscriber if there is one, and the decisions that it
/// receives.
const WAYS: [(&str, Option<(Level, &str)>); 5] = [
    ("no observer", None),
    ("a subscriber of warnings", Some((Level::WARN, "all"))),
    ("events, none", Some((Level::INFO, "none"))),
    ("events, 1/100", Some((Level::INFO, "1/100"))),
    ("events, all", Some((Level::INFO, "all"))),
];

/// The time of one decision in nanoseconds.
fn measure(world: &World, packets: &[Packet], way: Option<(Level, &str)>) -> f64 {
    let invites: Vec<Invite<'_>> = packets.iter().map(Packet::invite).collect();
    let decide = || {
        let begun = Instant::now();
        for invite in &invites {
            let decision = black_box(&world.authorizer).authorize(black_box(invite), world.now);
            assert!(matches!(decision, Decision::Accept(_)));
        }
        begun.elapsed().as_nanos() as f64 / invites.len() as f64
    };
    let Some((level, sampling)) = way else { return decide() };
    let options =
        EventOptions::default().with_sampling(sampling.parse().unwrap()).with_names(false);
    world.authorizer.set_events(options);
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(io::sink);
    tracing::subscriber::with_default(subscriber.finish(), decide)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn rows(name: &str, world: &World, rounds: usize, mut next: impl FnMut() -> Rc<[Packet]>) {
    let mut times = WAYS.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((_, way), times) in WAYS.iter().zip(&mut times) {
            times.push(measure(world, &next(), *way));
        }
    }
    let medians = times.map(|mut times| median(&mut times));
    for ((way, _), time) in WAYS.iter().zip(medians) {
        println!("{name:<10} {way:<26} {time:>8.0} ns  ratio {:.3}", time / medians[0]);
    }
}

fn main() {
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 301 } else { 1 };
    let world = World::new();
    rows("address", &world, rounds, same(Kind::Address, "", LISTED, Transport::Udp));
    let mut client = Client::new(&world, Kind::Md5, Transport::Tcp);
    rows("digest", &world, rounds, || client.batch());

    let recorder = PrometheusBuilder::new().build_recorder();
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            let record = || sip_authz::metrics::record(&world.authorizer, world.now);
            with_local_recorder(&recorder, record);
            begun.elapsed().as_nanos() as f64
        })
        .collect();
    let (record, counted) = (median(&mut times), world.authorizer.counts());
    let decided = counted.total();
    assert!(counted.of("accept") >= (2 * WAYS.len() * rounds * BATCH) as u64);
    println!("record     once per scrape              {record:>8.0} ns, of {decided} decisions");
}
