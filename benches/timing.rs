//! Tests whether decision times reveal which users exist, with the statistical test of dudect (Reparaz,
//! Balasch, Verbauwhede, 2017). It only reports: the exit code is always 0.
//!
//! It decides requests of two classes that must be indistinguishable, in random order, and times each
//! decision. Welch's t-test compares the two means, over all times and over the times below
//! percentiles, since other load causes the slowest. |t| below 4.5 shows no difference. The first row
//! compares a class with itself and shows the noise of t on this machine.
//!
//! `cargo bench --bench timing` takes two minutes, `-- --quick` less than 20 s. Run it on a quiet
//! machine.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sip_authz::digest::{Algorithm, GuessRate, HashFunction};
use sip_authz::model::{Credential, CredentialList, GuessPolicy, Ha1Set, Mapping, Policy, Record};
use sip_authz::{Capacity, Invite, Transport};
use sip_authz_testing::kit::*;

/// The number of users of each kind. Names take turns, so that no user stays in the cache.
const USERS: usize = 512;
/// The number of users that no request names. A request for an unknown name does the work for a random
/// user instead. With few users, that could be one requested just before, which is faster.
const FILLERS: usize = 16_384;
/// The number of requests of each class, all different. Each is sent again only once it no longer
/// counts as a retransmission.
const POOL: usize = 4_096;
/// The virtual time between requests.
const STEP: Duration = Duration::from_millis(10);
/// The percentiles at which times are cropped.
const CROPS: [f64; 7] = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25];

const SOURCE: &str = "198.51.100.7:5060";

/// The kind of user in a request. All names have the same length.
#[derive(Clone, Copy)]
enum Who {
    /// An enabled user of a mapped list, with a wrong password.
    Wrong,
    /// Like [`Self::Wrong`], with other users. The two must not differ, or the test itself is wrong.
    WrongToo,
    /// Like [`Self::Wrong`], with the correct password.
    Right,
    Unknown,
    /// A disabled user, with the correct password.
    Disabled,
    /// A user of a list that is not mapped, with the correct password.
    Unlisted,
    /// An enabled user without a hash for the algorithm.
    NoHash,
    /// An enabled user of two mapped lists, with a wrong password for both.
    Twice,
    /// A malformed header, answered without a digest. The two classes must differ.
    Malformed,
}

impl Who {
    fn name(self, n: usize) -> String {
        let letter = match self {
            Self::Wrong | Self::Right | Self::Malformed => 'a',
            Self::WrongToo => 'b',
            Self::Unknown => 'u',
            Self::Disabled => 'd',
            Self::Unlisted => 'l',
            Self::NoHash => 'n',
            Self::Twice => 't',
        };
        format!("{letter}user{:04}", n % USERS)
    }

    fn password(self) -> &'static str {
        match self {
            Self::Wrong | Self::WrongToo | Self::Unknown | Self::NoHash | Self::Twice => {
                "Wrong-Horse-77"
            }
            Self::Right | Self::Disabled | Self::Unlisted | Self::Malformed => PASSWORD,
        }
    }
}

struct Pair {
    title: &'static str,
    classes: [Who; 2],
    algorithm: Algorithm,
    userhash: bool,
    /// The number of mapped lists. The users are in one of them, those of [`Who::Twice`] in two.
    lists: usize,
    /// Whether all names have exceeded their limit from the start.
    beyond: bool,
}

const fn pair(title: &'static str, first: Who, second: Who) -> Pair {
    let algorithm = Algorithm::Md5;
    Pair { title, classes: [first, second], algorithm, userhash: false, lists: 1, beyond: false }
}

const PAIRS: [Pair; 14] = [
    pair("control: wrong, other users", Who::WrongToo, Who::Wrong),
    pair("unknown user", Who::Unknown, Who::Wrong),
    pair("disabled user", Who::Disabled, Who::Wrong),
    pair("user of an unmapped list", Who::Unlisted, Who::Wrong),
    pair("user without the hash", Who::NoHash, Who::Wrong),
    Pair { userhash: true, ..pair("unknown by userhash", Who::Unknown, Who::Wrong) },
    Pair { lists: 3, ..pair("unknown, three lists", Who::Unknown, Who::Wrong) },
    Pair { lists: 12, ..pair("unknown, twelve lists", Who::Unknown, Who::Wrong) },
    Pair { lists: 3, ..pair("in two of three lists", Who::Twice, Who::Wrong) },
    Pair { lists: 12, ..pair("in two of twelve lists", Who::Twice, Who::Wrong) },
    Pair {
        algorithm: Algorithm::Sha512_256Sess,
        ..pair("unknown, SHA-512-256-sess", Who::Unknown, Who::Wrong)
    },
    Pair { beyond: true, ..pair("right password, beyond the limit", Who::Right, Who::Wrong) },
    Pair { beyond: true, ..pair("unknown, beyond the limit", Who::Unknown, Who::Wrong) },
    pair("control: malformed, must differ", Who::Malformed, Who::Wrong),
];

impl Pair {
    fn world(&self) -> World {
        let many = unlimited();
        let one =
            GuessRate { burst: 1.try_into().unwrap(), refill_ms: 3_600_000.try_into().unwrap() };
        let policy = offering(&[self.algorithm])
            .with_userhash(self.userhash)
            .with_nonce_lifetime(Policy::MAX_NONCE_LIFETIME)
            .with_guesses(GuessPolicy::default().with_source(many).with_pair(if self.beyond {
                one
            } else {
                many
            }));
        let world = World::with(policy, Capacity::default(), &[9; 32]);
        world.apply(|commit| {
            let filler = user(LIST, "filler", PASSWORD).ha1;
            for n in 0..FILLERS {
                let name = format!("f{n:08}");
                let (sid, username) = (credential(LIST, &name), name.parse().unwrap());
                let filler = Credential::new(sid, list(LIST), username, filler.clone());
                commit.put(Record::Credential(filler));
                // spread among the fillers, so that they are not close together in memory
                if !n.is_multiple_of(FILLERS / USERS) {
                    continue;
                }
                let n = n / (FILLERS / USERS);
                for who in [Who::Wrong, Who::WrongToo] {
                    commit.put(Record::Credential(user(LIST, &who.name(n), PASSWORD)));
                }
                if self.lists > 1 {
                    for one in [LIST, "more 1"] {
                        commit.put(Record::Credential(user(one, &Who::Twice.name(n), PASSWORD)));
                    }
                }
                let disabled = user(LIST, &Who::Disabled.name(n), PASSWORD);
                commit.put(Record::Credential(Credential { disabled: true, ..disabled }));
                let unlisted = user(OTHER_LIST, &Who::Unlisted.name(n), PASSWORD);
                commit.put(Record::Credential(unlisted));
                let other = match self.algorithm.hash_function() {
                    HashFunction::Md5 => HashFunction::Sha256,
                    _ => HashFunction::Md5,
                };
                let name = Who::NoHash.name(n);
                let hash = "5a".repeat(other.output_len());
                let (username, realm) = (name.parse().unwrap(), REALM.parse().unwrap());
                let ha1 = Ha1Set::from_hex(&username, &realm, [(other, &*hash)]).unwrap();
                let sid = credential(LIST, &name);
                commit.put(Record::Credential(Credential::new(sid, list(LIST), username, ha1)));
            }
            for n in 1..self.lists {
                let more = format!("more {n}");
                let record = CredentialList::new(list(&more), account(), REALM.parse().unwrap());
                commit.put(Record::CredentialList(record));
                commit.put(Record::Credential(user(&more, "erin", PASSWORD)));
                let target = domain(HOST).into();
                commit.put(Record::from(Mapping::CredentialList(target, list(&more))));
            }
        });
        world
    }

    /// The datagrams of both classes, created alternately so that their memory layout is similar. Each
    /// has its own branch, and all share one valid nonce.
    fn datagrams(&self, world: &World) -> [Vec<Vec<u8>>; 2] {
        let challenge = world.challenge(&Request::to(HOST), SOURCE);
        let mut datagrams = [Vec::new(), Vec::new()];
        for n in 0..POOL {
            for class in [n % 2, 1 - n % 2] {
                let who = self.classes[class];
                let branch = format!("z9hG4bK{class}{n:06}");
                let request = Request { branch, ..Request::to(HOST) };
                let value = &challenge.values[0];
                let header = Header::answer(value, &request, &who.name(n), who.password());
                let text = match who {
                    Who::Malformed => header.text_with("algorithm", "MD6"),
                    _ => header.text(),
                };
                datagrams[class].push(request.with(&text).bytes());
            }
        }
        datagrams
    }

    /// The times of all decisions within `length`, in nanoseconds, by class.
    fn measure(&self, length: Duration) -> [Vec<f64>; 2] {
        let world = self.world();
        let datagrams = self.datagrams(&world);
        let source = SOURCE.parse().unwrap();
        let mut now = world.start;
        let mut next = [0_usize; 2];
        let mut times = [Vec::new(), Vec::new()];
        let mut random = Instant::now().elapsed().as_nanos() as u64 ^ 0x9e37_79b9_7f4a_7c15;
        // the first round warms caches and uses up limits; it is not measured
        let warm_up = 4 * POOL;
        let end = Instant::now() + length;
        for round in 0_usize.. {
            if round % 1_024 == 0 && round > warm_up && Instant::now() >= end {
                break;
            }
            // xorshift64*
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            let class = (random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 63) as usize;
            let bytes = &datagrams[class][next[class] % POOL];
            next[class] += 1;
            now += STEP;
            // parsed just before, so that the INVITE is in the cache for both classes
            let invite = Invite::from_datagram(bytes, source, Transport::Udp).unwrap();
            let began = Instant::now();
            let decision = black_box(world.authorizer.authorize(black_box(&invite), now));
            let took = began.elapsed();
            drop(decision);
            if round > warm_up {
                times[class].push(took.as_nanos() as f64);
            }
        }
        times
    }
}

/// Mean, variance of the mean, and count.
fn moments(times: impl Iterator<Item = f64> + Clone) -> (f64, f64, f64) {
    let count = times.clone().count() as f64;
    let mean = times.clone().sum::<f64>() / count;
    let variance = times.map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance / count, count)
}

/// Welch's t of the times below a limit, and the difference of the means.
fn welch(times: &[Vec<f64>; 2], limit: f64) -> (f64, f64) {
    let [first, second] = times
        .each_ref()
        .map(|times| moments(times.iter().copied().filter(move |time| *time <= limit)));
    let difference = first.0 - second.0;
    (difference / (first.1 + second.1).sqrt(), difference)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    // without --bench, `cargo test` runs this with small sizes
    let length = match (has("--quick"), has("--bench")) {
        (true, _) => Duration::from_millis(1_200),
        (false, true) => Duration::from_secs(10),
        (false, false) => Duration::from_millis(10),
    };
    println!(
        "{:36} {:>9} {:>9} {:>10} {:>8} {:>8}",
        "", "decisions", "median ns", "apart ns", "t", "crop"
    );
    let mut control = 4.5_f64;
    for (n, pair) in PAIRS.into_iter().enumerate() {
        let times = pair.measure(length);
        let mut sorted: Vec<f64> = times.iter().flatten().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part) as usize];
        let (mut t, mut apart, mut crop) = (0.0_f64, 0.0, 0.0);
        for part in CROPS {
            let (of_crop, difference) = welch(&times, at(part));
            if of_crop.is_finite() && of_crop.abs() >= t.abs() {
                (t, apart, crop) = (of_crop, difference, part);
            }
        }
        if n == 0 {
            control = control.max(t.abs());
        }
        let verdict = match t.abs() {
            t if t < 4.5 => "no difference shown",
            t if t < 2.0 * control => "no more than twice the control",
            _ => "difference",
        };
        let Pair { title, .. } = pair;
        let (count, median) = (sorted.len(), at(0.5));
        println!("{title:36} {count:9} {median:9.0} {apart:+10.1} {t:+8.1} {crop:8.2} {verdict}");
    }
}
