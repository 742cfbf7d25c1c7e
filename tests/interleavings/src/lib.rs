//! Properties of sip-authz's replay, retransmission and guess tables under a scheduler that picks
//! the interleaving of threads. The tables are compiled from the library's sources with the
//! scheduler's locks. The runs are in `tests/`.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

#[path = "../../../src/digest/buckets.rs"]
mod buckets;
#[path = "../../../src/digest/evicted.rs"]
mod evicted;
#[path = "../../../src/digest/framed.rs"]
mod framed;
#[path = "../../../src/digest/guess.rs"]
mod guess;
#[path = "../../../src/digest/rate.rs"]
mod rate;
#[path = "../../../src/digest/replay.rs"]
mod replay;
#[path = "../../../src/digest/retransmission.rs"]
mod retransmission;

/// The parts of `src/digest/credentials.rs` that the tables use.
mod credentials {
    pub(super) const MAX_USERNAME: usize = 64;
}

/// Replaces `src/digest/function.rs` of the library.
mod function {
    pub(super) const MAX_HEX_LEN: usize = 64;
}

/// Replaces `src/digest/sync.rs` of the library.
mod sync {
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;

    pub(super) fn prefetch<T>(_: &T) {}
}

use std::num::NonZeroU32;
use std::sync::Arc;

use guess::{GuessLimiter, Scope};
use rate::GuessRate;
use replay::{Admission, ReplayTable};
use retransmission::{Insertion, RetransmissionCache};
use shuttle::thread;
use siphasher::sip::SipHasher13;

const KEY: [u8; 16] = *b"0123456789abcdef";
const SCOPE: Scope<'_> = Scope { account: b"account of alice", target: b"domain of alice1" };

/// Runs `work` on each thread and collects the results.
fn on_threads<T: Send + 'static>(
    count: u32,
    work: impl Fn(u32) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let work = work.clone();
            thread::spawn(move || work(number))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Of several responses with the same nonce and count, exactly one is fresh.
pub fn one_count_is_accepted_once(threads: u32) {
    let table = Arc::new(ReplayTable::new(0, &KEY));
    let answers = on_threads(threads, move |_| table.admit(1, 1, 1));
    let fresh = answers.iter().filter(|answer| **answer == Admission::Fresh).count();
    assert_eq!(fresh, 1, "{answers:?}");
}

/// Each nonce count is accepted once, in any order, while other threads query.
pub fn each_count_is_accepted_once(threads: u32) {
    const COUNTS: u32 = 4;
    let table = Arc::new(ReplayTable::new(0, &KEY));
    let answers = on_threads(threads, {
        let table = table.clone();
        move |number| {
            let order = (0..COUNTS).map(|step| (step + number) % COUNTS + 1);
            let mut fresh = Vec::new();
            for nc in order {
                let asked = table.would_admit(7, 7, Some(nc));
                let answer = table.admit(7, 7, nc);
                // a used count stays used
                assert!(asked == Admission::Fresh || answer == Admission::Replayed);
                fresh.extend((answer == Admission::Fresh).then_some(nc));
            }
            assert!(table.len() <= 1);
            fresh
        }
    });
    let mut fresh: Vec<_> = answers.into_iter().flatten().collect();
    fresh.sort_unstable();
    assert_eq!(fresh, [1, 2, 3, 4]);
}

/// Without a count, a nonce is accepted once in total, and not after a use with a count.
pub fn both_forms_are_accepted_once_in_total() {
    let table = Arc::new(ReplayTable::new(0, &KEY));
    let answers = on_threads(4, move |number| match number {
        0 | 1 => table.admit_once(1, 1),
        _ => table.admit(1, 1, 1),
    });
    let fresh = answers.iter().filter(|answer| **answer == Admission::Fresh).count();
    assert_eq!(fresh, 1, "{answers:?}");
}

/// Ascending stamps whose nonces share a bucket, by the hash of `ReplayTable::bucket`.
fn of_one_bucket(count: usize) -> Vec<u64> {
    let bucket = |stamp: &u64| {
        let name = u128::from(*stamp) << 64;
        SipHasher13::new_with_key(&KEY).hash(&name.to_le_bytes()) % 64
    };
    let wanted = bucket(&0);
    (0..).filter(|stamp| bucket(stamp) == wanted).take(count).collect()
}

/// Threads overflow one bucket in different orders: no nonce is accepted twice, evicted nonces stay
/// rejected, and the newest is always accepted.
pub fn evicted_nonces_stay_rejected(threads: u32) {
    let mut stamps = of_one_bucket(12);
    let newest = stamps.pop().unwrap();
    let table = Arc::new(ReplayTable::new(0, &KEY));
    let answers = on_threads(threads, {
        let (table, stamps) = (table.clone(), stamps.clone());
        move |number| {
            let mut order = stamps.clone();
            match number % 3 {
                0 => {}
                1 => order.reverse(),
                _ => order.rotate_left(5),
            }
            order.retain(|stamp| table.admit(*stamp, 0, 1) == Admission::Fresh);
            order
        }
    });
    let mut fresh: Vec<_> = answers.into_iter().flatten().collect();
    let passed = fresh.len();
    fresh.sort_unstable();
    fresh.dedup();
    assert_eq!(fresh.len(), passed, "one passed twice");
    assert_eq!(table.len(), 8, "they share a bucket");
    assert!(stamps.iter().all(|stamp| table.admit(*stamp, 0, 1) != Admission::Fresh));
    assert_eq!(table.admit(newest, 0, 1), Admission::Fresh);
}

/// Of identical requests, one is inserted and the others are repeats; none is refused.
pub fn identical_requests_insert_once(threads: u32) {
    let tables = Arc::new((RetransmissionCache::new(0), ReplayTable::new(0, &KEY)));
    let answers = on_threads(threads, move |_| {
        let (repeats, replays) = &*tables;
        let answer = repeats.insert_if(5, 1, 0, || replays.admit(1, 1, 1) == Admission::Fresh);
        assert!(repeats.contains(5, 0));
        answer
    });
    let new = answers.iter().filter(|answer| **answer == Insertion::Inserted).count();
    assert_eq!(new, 1, "{answers:?}");
    assert!(!answers.contains(&Insertion::Refused), "{answers:?}");
}

/// Counterexample: with two separate steps, some interleaving refuses a retransmission.
pub fn two_step_insertion_of_identical_requests() {
    let tables = Arc::new((RetransmissionCache::new(0), ReplayTable::new(0, &KEY)));
    let refused = on_threads(2, move |_| {
        let (repeats, replays) = &*tables;
        if repeats.contains(5, 0) {
            return false;
        }
        if replays.admit(1, 1, 1) == Admission::Replayed {
            return true;
        }
        let _ = repeats.insert_if(5, 1, 0, || true);
        false
    });
    assert!(!refused.contains(&true), "a retransmission was refused");
}

/// A used nonce count with another fingerprint is refused and stores nothing.
pub fn one_count_with_two_fingerprints_is_accepted_once() {
    let tables = Arc::new((RetransmissionCache::new(0), ReplayTable::new(0, &KEY)));
    let answers = on_threads(3, {
        let tables = tables.clone();
        move |number| {
            let (repeats, replays) = &*tables;
            let admit = || replays.admit(1, 1, 1) == Admission::Fresh;
            repeats.insert_if(u128::from(number), 1, 0, admit)
        }
    });
    let new: Vec<_> = (0..3).filter(|at| answers[*at as usize] == Insertion::Inserted).collect();
    assert_eq!(new.len(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Insertion::Refused).count(), 2);
    assert!((0..3).all(|number| tables.0.contains(number, 0) == new.contains(&number)));
}

/// Threads that query before they record exceed the burst by at most one less than their number,
/// and empty the bucket.
pub fn threads_exceed_a_burst_by_less_than_their_number(threads: u32) {
    const BURST: u32 = 3;
    let rate = GuessRate {
        burst: NonZeroU32::new(BURST).unwrap(),
        refill_ms: NonZeroU32::new(1_000).unwrap(),
    };
    let limiter = Arc::new(GuessLimiter::new(0, &KEY));
    let attempts = on_threads(threads, {
        let limiter = limiter.clone();
        move |_| {
            let key = limiter.name_key(SCOPE, b"alice");
            let mut attempts = 0;
            while attempts < BURST + 1 && !limiter.is_over(key, rate, 0) {
                attempts += 1;
                limiter.record(key, rate, 0);
            }
            attempts
        }
    });
    let sum: u32 = attempts.iter().sum();
    assert!((BURST..BURST + threads).contains(&sum), "{attempts:?}");
    let key = limiter.name_key(SCOPE, b"alice");
    assert!(limiter.is_over(key, rate, 999) && !limiter.is_over(key, rate, 1_000));
}

/// No record is lost: as many records as the burst empty the bucket exactly.
pub fn no_record_is_lost(threads: u32) {
    let rate = GuessRate { burst: NonZeroU32::new(threads).unwrap(), refill_ms: NonZeroU32::MIN };
    let limiter = Arc::new(GuessLimiter::new(0, &KEY));
    let over_before = on_threads(threads, {
        let limiter = limiter.clone();
        move |_| {
            let key = limiter.name_key(SCOPE, b"alice");
            let over = limiter.is_over(key, rate, 0);
            limiter.record(key, rate, 0);
            over
        }
    });
    assert!(!over_before.contains(&true), "a token too many was taken");
    assert!(limiter.is_over(limiter.name_key(SCOPE, b"alice"), rate, 0));
}

/// Threads that evict each other's sources from one bucket forgive none: each source is over its
/// limit afterwards.
pub fn no_evicted_source_is_forgiven(threads: u32) {
    const SOURCES: u32 = 6;
    let rate = GuessRate { burst: NonZeroU32::MIN, refill_ms: NonZeroU32::new(60_000).unwrap() };
    let limiter = Arc::new(GuessLimiter::new(0, &KEY));
    // the smallest table has 64 buckets of eight; these sources share a bucket
    let addresses = (0..u32::MAX).map(|bits| std::net::Ipv4Addr::from_bits(bits).into());
    let keys = addresses.map(|address| limiter.pair_key(SCOPE, b"alice", address));
    let in_one_bucket = keys.filter(|key| key.source % 64 == 0).take((threads * SOURCES) as usize);
    let sources = Arc::new(in_one_bucket.collect::<Vec<_>>());
    let used = sources.clone();
    on_threads(threads, {
        let limiter = limiter.clone();
        move |thread| {
            let own = used.iter().skip((thread * SOURCES) as usize).take(SOURCES as usize);
            own.for_each(|key| limiter.record(*key, rate, 0));
        }
    });
    assert!(sources.iter().all(|key| limiter.is_over(*key, rate, 0)));
}
