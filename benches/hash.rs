//! Measures the hashing of digest verification, compared with the md-5 and sha2 crates in one run:
//! `cargo bench --bench hash`. Without a target-cpu, so that both are built for the baseline of the
//! architecture and choose instructions at run time.
//!
//! - `md5/block/…` and `sha256/block/…`: one block for each message of 55 bytes. A row hashes 64
//!   messages, so divide by 64.
//! - `verify/…`: the hashing of 64 verifications, each with H(A2) of `INVITE:` and a URI, hexadecimal,
//!   the response, hexadecimal and comparison. `bare` is the same as in `benches/authorize.rs`: two
//!   digests of the md-5 crate, on messages that are prepared except for the hexadecimal of H(A2). The
//!   others also build their messages from the parts.
//!
//! With `-- --table` it prints medians and ratios instead.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_precision_loss)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};
use sip_authz::internals::{hex16, same_hex};
use sip_authz_arch::*;

/// The size of a batch.
const MANY: usize = 64;
const SHORT_CNONCE: &str = "0a4f113b0a4f113b";
const LONG_CNONCE: &str = "0a4f113b0a4f113b0a4f113b0a4f113b";

/// The inputs of one verification.
struct Request {
    ha1: [u8; 32],
    nonce: String,
    nc: String,
    cnonce: &'static str,
    uri: String,
    response: String,
    /// The inputs of `bare`.
    a2: Vec<u8>,
    whole: Vec<u8>,
}

impl Request {
    fn new(number: usize, cnonce: &'static str) -> Self {
        let ha1 = hex16(&md5(format!("user{number:04}:example.com:secret").as_bytes()));
        let nonce = format!("{number:022x}");
        let nc = format!("{number:08x}");
        let uri = format!("sip:+14155550100@md5-{number}.sip.example.com");
        let a2 = format!("INVITE:{uri}").into_bytes();
        let ha2 = hex::encode(Md5::digest(&a2));
        let head = format!("{}:{nonce}:{nc}:{cnonce}:auth:", std::str::from_utf8(&ha1).unwrap());
        let whole = format!("{head}{ha2}").into_bytes();
        let response = hex::encode(Md5::digest(&whole));
        Self { ha1, nonce, nc, cnonce, uri, response, a2, whole }
    }

    fn bare(&mut self) -> bool {
        let ha2 = Md5::digest(black_box(&self.a2));
        let at = self.whole.len() - 32;
        hex::encode_to_slice(ha2, &mut self.whole[at..]).unwrap();
        let mut text = [0; 32];
        hex::encode_to_slice(Md5::digest(&self.whole), &mut text).unwrap();
        text == *black_box(self.response.as_bytes())
    }

    fn write_a2<const B: usize>(&self, message: &mut Message<B>) {
        let fits = message.push(b"INVITE:") && message.push(self.uri.as_bytes());
        assert!(fits);
    }

    /// Writes the message of the response except H(A2).
    fn write_head<const B: usize>(&self, message: &mut Message<B>) {
        let mut fits = message.push(&self.ha1);
        for part in [&self.nonce, &self.nc, self.cnonce, "auth"] {
            fits &= message.push(b":") && message.push(part.as_bytes());
        }
        assert!(fits && message.push(b":"));
    }

    fn ours(&self, a2: &mut Message<3>, response: &mut Message<3>) -> bool {
        self.write_a2(a2);
        self.write_head(response);
        let (ha2, partial) = PartialMd5::hash_interleaved(a2, response);
        assert!(response.push(&hex16(&ha2)));
        let hash = partial.finalize(response);
        a2.wipe();
        response.wipe();
        same_hex(&hex16(&hash), black_box(self.response.as_bytes()))
    }
}

/// The buffers of a batch, reused by the next.
struct Batch {
    a2: [Message<2>; MANY],
    responses: [Message<3>; MANY],
}

impl Batch {
    fn verify(&mut self, width: Width, requests: &[Request]) -> usize {
        let mut hashes = [[0; 16]; MANY];
        for ((request, a2), response) in requests.iter().zip(&mut self.a2).zip(&mut self.responses)
        {
            request.write_a2(a2);
            request.write_head(response);
        }
        md5_messages_with(width, &mut self.a2, &mut hashes);
        for (response, ha2) in self.responses.iter_mut().zip(&hashes) {
            assert!(response.push(&hex16(ha2)));
        }
        md5_messages_with(width, &mut self.responses, &mut hashes);
        let right = requests.iter().zip(&hashes).filter(|(request, hash)| {
            same_hex(&hex16(hash), black_box(request.response.as_bytes()))
        });
        right.count()
    }
}

/// A row: its name, and a function that repeats the measured operation [`MANY`] times.
type Row = (String, Box<dyn FnMut()>);

fn rows() -> Vec<Row> {
    fn row(name: impl Into<String>, run: impl FnMut() + 'static) -> Row {
        (name.into(), Box::new(run))
    }
    fn each<const N: usize>(mut hash: impl FnMut(&[u8]) -> [u8; N]) -> impl FnMut() {
        let messages = messages();
        move || {
            for message in &messages {
                black_box(hash(black_box(message)));
            }
        }
    }
    fn messages() -> [[u8; 55]; MANY] {
        std::array::from_fn(|at| [u8::try_from(at).unwrap(); 55])
    }
    fn write(batch: &mut [Message<1>]) {
        for (message, text) in batch.iter_mut().zip(black_box(messages())) {
            assert!(message.push(&text));
        }
    }
    let mut rows = vec![
        row("md5/block/crate", each(|it| Md5::digest(it).into())),
        row("md5/block/ours", each(md5)),
    ];
    for width in Width::available() {
        let mut batch = [const { Message::<1>::EMPTY }; MANY];
        rows.push(row(format!("md5/block/{}", width.name()), move || {
            let mut out = [[0; 16]; MANY];
            write(&mut batch);
            md5_messages_with(width, &mut batch, &mut out);
            black_box(out);
        }));
    }
    rows.push(row("sha256/block/crate", each(|it| Sha256::digest(it).into())));
    rows.push(row("sha256/block/ours", each(sha256)));
    for width in Width::available() {
        let mut batch = [const { Message::<1>::EMPTY }; MANY];
        rows.push(row(format!("sha256/block/{}", width.name()), move || {
            let mut out = [[0; 32]; MANY];
            write(&mut batch);
            sha256_messages_with(width, &mut batch, &mut out);
            black_box(out);
        }));
    }
    rows.push(row("sha512_256/block/crate", each(|it| Sha512_256::digest(it).into())));
    rows.push(row("sha512_256/block/ours", each(sha512_256)));

    for (label, cnonce) in [("cnonce16", SHORT_CNONCE), ("cnonce32", LONG_CNONCE)] {
        let requests = || (0..MANY).map(|at| Request::new(at, cnonce)).collect::<Vec<_>>();
        let mut own = requests();
        rows.push(row(format!("verify/{label}/bare"), move || {
            assert!(own.iter_mut().all(Request::bare));
        }));
        let (own, mut a2, mut response) = (requests(), Message::EMPTY, Message::EMPTY);
        rows.push(row(format!("verify/{label}/ours"), move || {
            assert!(own.iter().all(|it| it.ours(&mut a2, &mut response)));
        }));
        for width in Width::available() {
            let own = requests();
            let mut batch = Box::new(Batch {
                a2: std::array::from_fn(|_| Message::EMPTY),
                responses: std::array::from_fn(|_| Message::EMPTY),
            });
            rows.push(row(format!("verify/{label}/{}", width.name()), move || {
                assert_eq!(batch.verify(width, &own), MANY);
            }));
        }
    }
    rows
}

/// Runs all rows in turn many times, so that a disturbance affects all rows. Prints the median of each,
/// and its ratio to the first of its group.
fn table() {
    let mut rows = rows();
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..400 {
        for ((_, run), times) in rows.iter_mut().zip(&mut times) {
            run();
            let start = Instant::now();
            for _ in 0..4 {
                run();
            }
            times.push(start.elapsed().as_nanos() as f64 / (4 * MANY) as f64);
        }
    }
    println!("{:<32}{:>10}{:>8}", "row", "ns each", "ratio");
    let (mut group, mut first) = ("", 0.0);
    for ((name, _), times) in rows.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let (own, _) = name.rsplit_once('/').unwrap();
        if own != group {
            (group, first) = (own, median);
        }
        println!("{name:<32}{median:>10.1}{:>8.3}", median / first);
    }
}

fn main() {
    if std::env::args().any(|it| it == "--table") {
        return table();
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, mut run) in rows() {
        let (group, row) = name.rsplit_once('/').unwrap();
        let mut group = criterion.benchmark_group(group);
        group.throughput(criterion::Throughput::Elements(MANY as u64));
        group.bench_function(BenchmarkId::from_parameter(row), |bench| bench.iter(&mut run));
        group.finish();
    }
    criterion.final_summary();
}
