//! A limit on a rate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bucket of tokens: so many a second, and at most those of one second at once.
pub(crate) struct Bucket {
    /// The time for a token.
    each: Duration,
    /// The time at which the bucket is full again.
    full: Mutex<Instant>,
}

/// The time in which an empty bucket is full.
const DEPTH: Duration = Duration::from_secs(1);

impl Bucket {
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Self { each: DEPTH / rate.max(1), full: Mutex::new(now) }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&self, now: Instant) -> bool {
        // a time is whole in any case
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full).max(now) + self.each;
        let is_free = next <= now + DEPTH;
        if is_free {
            *full = next;
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_a_burst_are_limited() {
        let start = Instant::now();
        let bucket = Bucket::new(10, start);
        let taken = |at: Duration, tries| (0..tries).filter(|_| bucket.take(start + at)).count();
        assert_eq!(taken(Duration::ZERO, 100), 10);
        assert_eq!(taken(Duration::from_millis(99), 100), 0);
        assert_eq!(taken(Duration::from_millis(350), 100), 3);
        assert_eq!(taken(Duration::from_secs(60), 100), 10);
        // a thread with an earlier time
        assert_eq!(taken(Duration::from_secs(59), 100), 0);
    }
}
