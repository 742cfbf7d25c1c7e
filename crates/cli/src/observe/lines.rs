//! Counts lines a second, for logs that limit them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that is set back by more seconds than this starts a new second. Otherwise the time of a
/// thread that was delayed counts for the last second.
const DELAY: u64 = 10;
/// The low half of a word.
const LOW: u64 = u32::MAX as u64;

/// The lines of the last second: the second in the high half, the number of lines in the low half.
#[derive(Debug, Default)]
pub(super) struct LinesInSecond(AtomicU64);

impl LinesInSecond {
    /// Whether this second has less than `rate` lines; counts the line.
    pub(super) fn admits(&self, second: u64, rate: u32) -> bool {
        let second = second & LOW;
        let next = |word: u64| {
            let (last, lines) = (word >> 32, word & LOW);
            if second > last || last - second > DELAY {
                Some((second << 32) | 1)
            } else {
                // below the rate, so the count stays in its half
                (lines < u64::from(rate)).then(|| word + 1)
            }
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}
