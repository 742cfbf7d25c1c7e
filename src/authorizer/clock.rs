//! Time as the authorizer sees it: milliseconds since it was made, never stepping back.

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

    /// The larger of `now` and the largest time seen, which it becomes.
    pub(super) fn advance(&self, now: Instant) -> u64 {
        let now_ms = self.since_start(now);
        let latest_ms = self.latest_ms.load(Ordering::Relaxed);
        // written once a millisecond at most, so that cores do not fight for the line
        if now_ms > latest_ms {
            return now_ms.max(self.latest_ms.fetch_max(now_ms, Ordering::Relaxed));
        }
        latest_ms
    }

    /// The larger of `now` and the largest time seen.
    pub(super) fn read(&self, now: Instant) -> u64 {
        self.since_start(now).max(self.latest_ms.load(Ordering::Relaxed))
    }

    /// The time `at` by this clock, whether it has come or not.
    pub(super) fn at(&self, at: Instant) -> u64 {
        self.since_start(at)
    }

    /// The time that is `ms` by this clock, if there is such a time.
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
