//! Token buckets, each stored as one time by the generic cell rate algorithm (GCRA).

use std::num::NonZeroU32;

/// Allowed rate of wrong digests: a token bucket that starts full; each wrong digest takes one
/// token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct GuessRate {
    /// The size of the token bucket.
    pub burst: NonZeroU32,
    /// The time in milliseconds for one token to return. In a policy at most
    /// [`Policy::MAX_GUESS_REFILL_MS`](crate::model::Policy::MAX_GUESS_REFILL_MS).
    pub refill_ms: NonZeroU32,
}

/// A token bucket is the time at which all its tokens are back (GCRA's theoretical arrival time).
/// All times are milliseconds of one clock. If `now_ms` steps back, no token returns, and buckets
/// look emptier until the clock catches up.
impl GuessRate {
    /// Whether less than one token is left.
    pub(super) fn is_over(self, idle_from_ms: u64, now_ms: u64) -> bool {
        idle_from_ms.saturating_sub(now_ms) > self.full_ms() - self.token_ms()
    }

    /// The bucket after a token was taken, if one was left.
    pub(super) fn take(self, idle_from_ms: u64, now_ms: u64) -> u64 {
        let after_ms = idle_from_ms.max(now_ms).saturating_add(self.token_ms());
        // the debt is at most one burst; but a debt from a later clock remains if the clock stepped
        // back
        after_ms.min(now_ms.saturating_add(self.full_ms()).max(idle_from_ms))
    }

    /// The bucket after a token was returned.
    pub(super) fn give_back(self, idle_from_ms: u64) -> u64 {
        idle_from_ms.saturating_sub(self.token_ms())
    }

    /// The number of tokens that a bucket owes, at most all.
    pub(crate) fn owed(self, idle_from_ms: u64, now_ms: u64) -> u32 {
        let owed = idle_from_ms.saturating_sub(now_ms).div_ceil(self.token_ms());
        u32::try_from(owed).unwrap_or(u32::MAX).min(self.burst.get())
    }

    /// The time from which a bucket has a token, if nothing takes one before.
    pub(crate) fn next_ms(self, idle_from_ms: u64) -> u64 {
        idle_from_ms.saturating_sub(self.full_ms() - self.token_ms())
    }

    /// The times between which the oldest token that a bucket owes was taken. A bucket knows only when
    /// all its tokens are back, and nothing of tokens that came back before.
    ///
    /// A token that is not back was taken less than the time to fill an empty bucket ago. A bucket never
    /// owes more than the tokens taken, so the oldest was taken no later than their refill time before
    /// all are back.
    pub(crate) fn oldest_ms(self, idle_from_ms: u64, now_ms: u64) -> [u64; 2] {
        let owed_ms = u64::from(self.owed(idle_from_ms, now_ms)).saturating_mul(self.token_ms());
        let latest_ms = idle_from_ms.saturating_sub(owed_ms).min(now_ms);
        [now_ms.saturating_sub(self.full_ms()).min(latest_ms), latest_ms]
    }

    /// The time for one token to return.
    pub(super) fn token_ms(self) -> u64 {
        u64::from(self.refill_ms.get())
    }

    /// The time to fill an empty bucket. The product of two 32-bit factors fits.
    pub(super) fn full_ms(self) -> u64 {
        u64::from(self.burst.get()) * self.token_ms()
    }
}
