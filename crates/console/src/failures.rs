//! The limit of failed logins, by source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The failed logins that a source has at once.
pub(crate) const BURST: u32 = 10;
/// The time after which a source may fail once more.
const REFILL: Duration = Duration::from_secs(6);
/// The wait before the answer to a failed login.
pub(crate) const DELAY: Duration = Duration::from_secs(1);
/// The sources that are remembered. While all of them are in use, further sources share one limit.
const MAX_SOURCES: usize = 4_096;
/// The source that stands for all that are not remembered.
const REST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

/// The failed logins of each source.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<IpAddr, Failed>>);

/// The time at which a source has all its attempts again. Each failure moves it by [`REFILL`].
struct Failed {
    free: Instant,
}

impl Failures {
    /// Counts an attempt of `source` before it is verified, so that attempts at the same time count too.
    /// Fails with the time to wait if the source has none left.
    pub(crate) fn attempt(&self, source: IpAddr) -> Result<IpAddr, Duration> {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SOURCES && !all.contains_key(&source) {
            all.retain(|_, failed| failed.free > now);
        }
        let counted =
            if all.len() < MAX_SOURCES || all.contains_key(&source) { source } else { REST };
        let failed = all.entry(counted).or_insert(Failed { free: now });
        let free = failed.free.max(now) + REFILL;
        let most = REFILL * BURST;
        match free.saturating_duration_since(now).checked_sub(most) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                failed.free = free;
                Ok(counted)
            }
        }
    }

    /// Takes back an attempt that succeeded.
    pub(crate) fn succeeded(&self, counted: IpAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = all.get_mut(&counted) {
            failed.free = failed.free.checked_sub(REFILL).unwrap_or(failed.free);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_has_ten_failures_then_one_in_six_seconds() {
        let failures = Failures::default();
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for _ in 0..BURST {
            assert!(failures.attempt(one).is_ok());
        }
        assert!(failures.attempt(one).is_err_and(|wait| wait <= REFILL));
        assert!(failures.attempt(other).is_ok());
        tokio::time::advance(REFILL).await;
        assert!(failures.attempt(one).is_ok() && failures.attempt(one).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn right_logins_are_not_limited() {
        let failures = Failures::default();
        for _ in 0..3 * BURST {
            let counted = failures.attempt([192, 0, 2, 1].into()).unwrap();
            failures.succeeded(counted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_further_sources_share_a_limit() {
        let failures = Failures::default();
        for number in 0..u32::try_from(MAX_SOURCES).unwrap() - 1 {
            assert!(failures.attempt(std::net::Ipv4Addr::from(number).into()).is_ok());
        }
        let further = |n: u32| failures.attempt(std::net::Ipv4Addr::from(0x0a00_0000 + n).into());
        assert!((0..BURST).all(|n| further(n).is_ok()));
        assert!(
            (BURST..3 * BURST).filter(|n| further(*n).is_err()).count()
                >= usize::try_from(BURST).unwrap()
        );
        assert!(failures.0.lock().unwrap().len() <= MAX_SOURCES + 1);
    }
}
