//! The authorizer's clock: monotonic milliseconds since its start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) struct Clock {
    start: Instant,
    /// The largest time seen.
    latest_ms: AtomicU64,
}

impl Clock {
    pub(super) fn starting_at(start: Instant) -> Self {
        Self { start, latest_ms: AtomicU64::new(0) }
    }

    /// Advances the clock to `now` and returns it; an earlier `now` returns the latest time seen.
    pub(super) fn advance(&self, now: Instant) -> u64 {
        let now_ms = self.since_start(now);
        let latest_ms = self.latest_ms.load(Ordering::Relaxed);
        // at most one write a millisecond, so that cores do not contend for the cache line
        if now_ms > latest_ms {
            return now_ms.max(self.latest_ms.fetch_max(now_ms, Ordering::Relaxed));
        }
        latest_ms
    }

    /// `now`, or the latest time seen if that is later. Does not advance the clock.
    pub(super) fn read(&self, now: Instant) -> u64 {
        self.since_start(now).max(self.latest_ms.load(Ordering::Relaxed))
    }

    /// `at` in milliseconds of this clock, in the past or future.
    pub(super) fn at(&self, at: Instant) -> u64 {
        self.since_start(at)
    }

    /// The `Instant` for `ms` of this clock, or none if it overflows.
    pub(super) fn when(&self, ms: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(ms))
    }

    fn since_start(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_steps_back() {
        let start = Instant::now();
        let clock = Clock::starting_at(start);
        assert_eq!(clock.advance(start + Duration::from_hours(1)), 3_600_000);
        assert_eq!(clock.advance(start), 3_600_000);
        assert_eq!(clock.read(start), 3_600_000);
        assert_eq!(clock.read(start + Duration::from_hours(2)), 7_200_000);
        assert_eq!(clock.advance(start + Duration::from_millis(3_600_001)), 3_600_001);
    }
}
