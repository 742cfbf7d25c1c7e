//! Selects the decisions that a log has: by its sampling and its limits of lines a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use sip_authz::{Decision, Sampling};

use crate::observe::cause::Cause;
use crate::observe::limits::{LineLimits, Rates};
use crate::observe::reasons::{self, Counters};

/// The sampling and the limits of a log.
pub(super) struct Selection {
    pub(super) sampling: Sampling,
    decided: AtomicU64,
    limits: LineLimits,
    /// Counts of the decisions that a limit left out.
    pub(super) left_out: Arc<Counters>,
}

impl Selection {
    pub(super) fn new(sampling: Sampling, rates: Rates) -> Self {
        let (decided, left_out) = (AtomicU64::new(0), Arc::default());
        Self { sampling, decided, limits: LineLimits::new(rates), left_out }
    }

    /// Counts a batch of decisions, and returns the number of the first one.
    pub(super) fn count(&self, decisions: u64) -> u64 {
        self.decided.fetch_add(decisions, Ordering::Relaxed)
    }

    /// Whether the log has the decision of this number; counts its line.
    pub(super) fn takes(
        &self,
        decision: &Decision,
        number: u64,
        (time, now): (SystemTime, Instant),
    ) -> bool {
        if !self.sampling.takes(decision, number) {
            return false;
        }
        let admits = self.limits.admits(decision, time, now);
        if !admits {
            self.left_out.add(reasons::slot(decision), 1);
        }
        admits
    }

    /// Whether the log has a line for a message that is no decision, by its limits; counts the line.
    pub(super) fn takes_other(&self, cause: Cause, time: SystemTime) -> bool {
        let admits = self.limits.admits_other(cause, time);
        if !admits {
            self.left_out.add(reasons::slot_of(cause), 1);
        }
        admits
    }
}
