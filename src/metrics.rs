//! The figures of an [`Authorizer`], given to a recorder of the crate `metrics`.
//!
//! Deciding touches no recorder: it adds to plain atomic numbers of the authorizer, which costs some
//! nanoseconds for each call or batch, takes no lock and allocates nothing, whatever recorder there
//! is and whether or not there is one. A program calls [`record`] when it is scraped, or each second,
//! and so brings the numbers over; counters are set to what they are (`absolute`), so it does not
//! matter how often. An exporter installed by the program, such as `metrics-exporter-prometheus`,
//! sees them from then on.
//!
//! No label holds anything that a request said: outcomes and reasons are texts of this crate.
//!
//! | name | kind | what it is |
//! |---|---|---|
//! | `sip_authz_decisions_total` | counter | INVITEs decided, by `outcome` and `reason` ([`Decision::reason`](crate::Decision::reason)) |
//! | `sip_authz_guesses_refused_total` | counter | credentials not looked at, since too many wrong ones had come |
//! | `sip_authz_foreign_nonces_total` | counter | credentials with a nonce of another authorizer, source or host |
//! | `sip_authz_snapshot_number` | gauge | the number of the snapshot in force |
//! | `sip_authz_snapshot_age_seconds` | gauge | for how long it has been in force |
//! | `sip_authz_snapshot_stale` | gauge | 1 while every INVITE is refused as stale, else 0 |
//! | `sip_authz_snapshot_deadline_seconds` | gauge | time left until that begins; there if a deadline is set |
//! | `sip_authz_replay_nonces` | gauge | used nonces that are remembered |
//! | `sip_authz_replay_nonces_max` | gauge | how many fit |
//! | `sip_authz_decision_seconds` | histogram | what [`Latencies`] were told, by [`record_latencies`] |

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::authorizer::Authorizer;

/// Tells the recorder what the figures are. To be called once, after the recorder is there.
pub fn describe() {
    describe_counter!("sip_authz_decisions_total", Unit::Count, "INVITEs decided");
    describe_counter!(
        "sip_authz_guesses_refused_total",
        Unit::Count,
        "Credentials not looked at because too many wrong ones had come"
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
        "Time since the snapshot in force was put there"
    );
    describe_gauge!(
        "sip_authz_snapshot_stale",
        "1 while every INVITE is refused because nobody confirmed the snapshot"
    );
    describe_gauge!(
        "sip_authz_snapshot_deadline_seconds",
        Unit::Seconds,
        "Time until every INVITE is refused unless the snapshot is confirmed"
    );
    describe_gauge!("sip_authz_replay_nonces", "Used nonces that are remembered");
    describe_gauge!("sip_authz_replay_nonces_max", "Used nonces that can be remembered");
    describe_histogram!(
        "sip_authz_decision_seconds",
        Unit::Seconds,
        "Time from taking up a message to its decision"
    );
}

/// Gives the figures of `authorizer` to the recorder, as of `now`. Walks the table of used nonces,
/// which takes about a millisecond at the default capacity: not for the path of a call.
pub fn record(authorizer: &Authorizer, now: Instant) {
    for (outcome, reason, count) in authorizer.counts().iter() {
        counter!("sip_authz_decisions_total", "outcome" => outcome, "reason" => reason)
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

/// The bounds of the histogram, in microseconds and as Prometheus writes them in seconds.
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

/// How long decisions took, as a program measured them: an authorizer reads no clock. Many threads
/// can add to it at a time.
#[derive(Debug, Default)]
pub struct Latencies {
    /// By the first bound that is not exceeded; what exceeds all is in `above`.
    buckets: [AtomicU64; BOUNDS.len()],
    above: AtomicU64,
    sum_ns: AtomicU64,
}

impl Latencies {
    /// Adds so many decisions that took so long each, such as those of a batch.
    pub fn observe(&self, took: Duration, decisions: u64) {
        let bucket = BOUNDS.iter().position(|(bound, _)| took <= Duration::from_micros(*bound));
        let bucket = bucket.and_then(|at| self.buckets.get(at)).unwrap_or(&self.above);
        bucket.fetch_add(decisions, Ordering::Relaxed);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(took_ns.saturating_mul(decisions), Ordering::Relaxed);
    }
}

/// Gives `latencies` to the recorder, as the series that Prometheus makes of a histogram:
/// `sip_authz_decision_seconds_bucket` with the label `le`, `_sum` and `_count`. A recorder's own
/// histograms take single values, and adding up is done here already.
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

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_what_their_texts_say() {
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
