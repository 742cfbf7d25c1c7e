//! The limits of lines of a log: for each reason, and for the accepted calls of each account.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use sip_authz::{AccountSid, Decision};

use super::accounts::AccountLimits;
use super::reasons::{self, RateLimit};
use crate::observe::cause::Cause;
use crate::observe::record::{Record, Verdict};

/// Limits of lines a second; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// For each reason but `passed`, and for each cause.
    pub(crate) reason: Option<u32>,
    /// For the accepted calls of each account, after a burst of as many as in a minute.
    pub(crate) account: Option<u32>,
}

/// The subject of a line, as far as its limits depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// An accepted call of an account.
    Accept(AccountSid),
    /// Anything else. Strangers can cause it, or a caller can repeat it without a new call.
    Other,
}

impl LineKind {
    pub(super) fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Accept(accept) if !accept.repeat => Self::Accept(accept.account),
            _ => Self::Other,
        }
    }

    pub(super) fn of_record(record: &Record) -> Self {
        match (record.verdict, record.account) {
            (Verdict::Accept { repeat: false }, Some(account)) => Self::Accept(account),
            _ => Self::Other,
        }
    }
}

/// Decides which lines a log has.
pub(super) struct LineLimits {
    reasons: RateLimit,
    accounts: AccountLimits,
}

impl LineLimits {
    pub(super) fn new(rates: Rates) -> Self {
        Self { reasons: RateLimit::new(rates.reason), accounts: AccountLimits::new(rates.account) }
    }

    /// Whether a decision may have a line; counts the line.
    pub(super) fn admits(&self, decision: &Decision, time: SystemTime, now: Instant) -> bool {
        match LineKind::of(decision) {
            LineKind::Accept(account) => self.accounts.admits(account, now),
            LineKind::Other => self.reasons.admits(reasons::slot(decision), time),
        }
    }

    /// Whether a message that is no decision may have a line; counts the line.
    pub(super) fn admits_other(&self, cause: Cause, time: SystemTime) -> bool {
        self.reasons.admits(reasons::slot_of(cause), time)
    }
}

/// The places of a queue. Lines of the kind [`LineKind::Other`] take at most half of them, and an account
/// a number that depends on the free ones.
pub(super) struct QueueShares {
    places: usize,
    waiting: AtomicUsize,
    others: AtomicUsize,
    accounts: AccountLimits,
}

impl QueueShares {
    pub(super) fn new(places: usize) -> Self {
        let (waiting, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { places, waiting, others, accounts: AccountLimits::new(None) }
    }

    /// Takes a place, and returns whether there is one.
    pub(super) fn enters(&self, kind: LineKind) -> bool {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let enters = match kind {
            LineKind::Accept(account) => {
                self.accounts.enters(account, self.places.saturating_sub(waiting))
            }
            LineKind::Other => {
                let enters = self.others.fetch_add(1, Ordering::Relaxed) < (self.places / 2).max(1);
                if !enters {
                    self.others.fetch_sub(1, Ordering::Relaxed);
                }
                enters
            }
        };
        if !enters {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        enters
    }

    /// Returns a place.
    pub(super) fn leaves(&self, kind: LineKind) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match kind {
            LineKind::Accept(account) => self.accounts.leaves(account),
            LineKind::Other => _ = self.others.fetch_sub(1, Ordering::Relaxed),
        }
    }
}
