//! The counters and gauges of an [`Authorizer`], exported to a recorder of the crate `metrics`.
//!
//! Deciding does not use the recorder. It adds to atomic counters of the authorizer, which costs a
//! few nanoseconds per call or batch, takes no lock and does not allocate. A program calls
//! [`record`] for each scrape, or once a second, to copy the values to the recorder. Counters are
//! set to absolute values, so the number of calls does not matter. The program installs an
//! exporter, for example `metrics-exporter-prometheus`.
//!
//! No label contains text from a request: outcomes and reasons are texts of this crate.
//!
//! | name | kind | description |
//! |---|---|---|
//! | `sip_authz_decisions_total` | counter | requests decided, by `outcome` and `reason` ([`Decision::reason`](crate::Decision::reason)) |
//! | `sip_authz_causes_total` | counter | challenges and rejections, by `outcome` and `cause` ([`Cause`](crate::Cause)) |
//! | `sip_authz_guesses_refused_total` | counter | credentials refused without verification, because a guess limit was exceeded |
//! | `sip_authz_foreign_nonces_total` | counter | credentials with a nonce of another authorizer, source or host |
//! | `sip_authz_snapshot_number` | gauge | the number of the snapshot in force |
//! | `sip_authz_snapshot_age_seconds` | gauge | time since the snapshot came into force |
//! | `sip_authz_snapshot_stale` | gauge | 1 while every INVITE is refused because the snapshot is stale, else 0 |
//! | `sip_authz_snapshot_deadline_seconds` | gauge | time left until the snapshot is stale; absent without a deadline |
//! | `sip_authz_replay_nonces` | gauge | used nonces in the replay table |
//! | `sip_authz_replay_nonces_max` | gauge | capacity of the replay table |
//! | `sip_authz_decision_seconds` | histogram | the [`Latencies`], exported by [`record_latencies`] |

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::authorizer::Authorizer;

/// Registers the descriptions of the metrics. Call it once, after installing the recorder.
pub fn describe() {
    describe_counter!("sip_authz_decisions_total", Unit::Count, "requests decided");
    describe_counter!(
        "sip_authz_causes_total",
        Unit::Count,
        "Challenges and rejections by their internal cause"
    );
    describe_counter!(
        "sip_authz_guesses_refused_total",
        Unit::Count,
        "Credentials refused without verification because a guess limit was exceeded"
    );
    describe_counter!(
        "sip_authz_foreign_nonces_total",
        Unit::Count,
        "Credentials with a nonce that was not issued here for their source and host"
    );
    describe_gauge!("sip_authz_snapshot_number", "Number of the snapshot in force");
    describe_gauge!(
        "sip_authz_snapshot_age_seconds",
        Unit::Seconds,
        "Time since the snapshot came into force"
    );
    describe_gauge!(
        "sip_authz_snapshot_stale",
        "1 while every INVITE is refused because the snapshot is stale"
    );
    describe_gauge!(
        "sip_authz_snapshot_deadline_seconds",
        Unit::Seconds,
        "Time until every INVITE is refused unless the snapshot is confirmed"
    );
    describe_gauge!("sip_authz_replay_nonces", "Used nonces in the replay table");
    describe_gauge!("sip_authz_replay_nonces_max", "Capacity of the replay table in nonces");
    describe_histogram!(
        "sip_authz_decision_seconds",
        Unit::Seconds,
        "Time from the receipt of a message to its decision"
    );
}

/// Exports the metrics of `authorizer` at `now`. Counts the replay table, which takes about a
/// millisecond at the default capacity, so do not call it for each decision.
///
/// In a child of a fork, install the recorder after the fork. An earlier one can wait for ever for a lock
/// that another thread held at the fork.
pub fn record(authorizer: &Authorizer, now: Instant) {
    let counts = authorizer.counts();
    for (outcome, reason, count) in counts.iter() {
        counter!("sip_authz_decisions_total", "outcome" => outcome, "reason" => reason)
            .absolute(count);
    }
    for (outcome, cause, count) in counts.causes() {
        counter!("sip_authz_causes_total", "outcome" => outcome, "cause" => cause.as_str())
            .absolute(count);
    }
    counter!("sip_authz_guesses_refused_total").absolute(authorizer.guesses_refused());
    counter!("sip_authz_foreign_nonces_total").absolute(authorizer.foreign_nonces());
    gauge!("sip_authz_snapshot_number").set(float(authorizer.snapshot().number()));
    gauge!("sip_authz_snapshot_age_seconds").set(authorizer.snapshot_age().as_secs_f64());
    gauge!("sip_authz_snapshot_stale").set(truth(authorizer.is_stale(now)));
    if let Some(deadline) = authorizer.refuses_from() {
        let left = deadline.saturating_duration_since(now);
        gauge!("sip_authz_snapshot_deadline_seconds").set(left.as_secs_f64());
    }
    let (used, capacity) = authorizer.remembered_nonces();
    gauge!("sip_authz_replay_nonces").set(float(used as u64));
    gauge!("sip_authz_replay_nonces_max").set(float(capacity as u64));
}

/// The bucket bounds of the histogram, in microseconds and as Prometheus writes them in seconds.
const BOUNDS: [(u64, &str); 16] = [
    (1, "1e-06"),
    (2, "2e-06"),
    (5, "5e-06"),
    (10, "1e-05"),
    (20, "2e-05"),
    (50, "5e-05"),
    (100, "0.0001"),
    (200, "0.0002"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_000, "0.002"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (1_000_000, "1"),
];

/// A histogram of decision times. The program measures them, because an authorizer reads no clock.
/// Several threads can add to it at the same time.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Counts by the lowest bound that is not exceeded; `above` counts the rest.
    buckets: [AtomicU64; BOUNDS.len()],
    above: AtomicU64,
    sum_ns: AtomicU64,
}

impl Latencies {
    /// Adds `decisions` decisions that took `took` each, for example those of a batch.
    pub fn observe(&self, took: Duration, decisions: u64) {
        let bucket = BOUNDS.iter().position(|(bound, _)| took <= Duration::from_micros(*bound));
        let bucket = bucket.and_then(|at| self.buckets.get(at)).unwrap_or(&self.above);
        bucket.fetch_add(decisions, Ordering::Relaxed);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(took_ns.saturating_mul(decisions), Ordering::Relaxed);
    }
}

/// Exports `latencies` as the series of a Prometheus histogram: `sip_authz_decision_seconds_bucket`
/// with the label `le`, `_sum` and `_count`. The histograms of the crate `metrics` take single
/// values only, and these are already counted.
pub fn record_latencies(latencies: &Latencies) {
    let mut sum = 0;
    for (bucket, (_, bound)) in latencies.buckets.iter().zip(BOUNDS) {
        sum += bucket.load(Ordering::Relaxed);
        counter!("sip_authz_decision_seconds_bucket", "le" => bound).absolute(sum);
    }
    sum += latencies.above.load(Ordering::Relaxed);
    counter!("sip_authz_decision_seconds_bucket", "le" => "+Inf").absolute(sum);
    counter!("sip_authz_decision_seconds_count").absolute(sum);
    let seconds = Duration::from_nanos(latencies.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
    gauge!("sip_authz_decision_seconds_sum").set(seconds);
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact for values up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_bounds_are_their_values() {
        let mut last = 0.0;
        for (micros, text) in BOUNDS {
            let bound: f64 = text.parse().unwrap();
            assert!((bound - Duration::from_micros(micros).as_secs_f64()).abs() < 1e-12, "{text}");
            assert!(bound > last);
            last = bound;
        }
    }

    #[test]
    fn each_latency_is_in_the_first_bucket_that_holds_it() {
        let latencies = Latencies::default();
        latencies.observe(Duration::ZERO, 1);
        latencies.observe(Duration::from_micros(1), 2);
        latencies.observe(Duration::from_nanos(1_001), 4);
        latencies.observe(Duration::from_secs(1), 8);
        latencies.observe(Duration::from_secs(2), 16);
        let buckets: Vec<_> = latencies.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        assert_eq!((buckets[0], buckets[1], buckets[15]), (3, 4, 8));
        assert_eq!(buckets.iter().sum::<u64>(), 15);
        assert_eq!(latencies.above.load(Ordering::Relaxed), 16);
        let expected = 2 * 1_000 + 4 * 1_001 + 8_000_000_000 + 32_000_000_000;
        assert_eq!(latencies.sum_ns.load(Ordering::Relaxed), expected);
    }
}
