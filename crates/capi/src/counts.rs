//! The number of decisions of a handle.

use std::sync::atomic::{AtomicU64, Ordering};

use sip_authz_decide::Outcome;

use crate::types::Counts;

/// The counters of a handle.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    challenged: AtomicU64,
    rejected: AtomicU64,
    undecided: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    /// Counts an answer; none for an error.
    pub(crate) fn count(&self, outcome: Option<Outcome>) {
        let counter = match outcome {
            Some(Outcome::Accept) => &self.accepted,
            Some(Outcome::Challenge) => &self.challenged,
            Some(Outcome::Reject) => &self.rejected,
            Some(Outcome::Undecided) => &self.undecided,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            struct_size: 0,
            accepted: of(&self.accepted),
            challenged: of(&self.challenged),
            rejected: of(&self.rejected),
            undecided: of(&self.undecided),
            failed: of(&self.failed),
        }
    }
}
