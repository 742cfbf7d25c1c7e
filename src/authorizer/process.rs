//! An authorizer in a process that did not create it.
//!
//! A fork copies the nonce key and the table of used nonces. Each copy would accept a captured digest
//! once more, so only the maker decides. A lock that another thread held at the fork is never
//! released in the child, so each method that takes a lock checks the process before it.

#[cfg(feature = "unstable-internals")]
use super::ForkGuard;
use super::{Authorizer, Decision, Explanation, Reason, Reject, Step};

/// The decision in a process that did not create the authorizer.
const OTHER_PROCESS: Decision = Decision::Reject(Reject::new(None, Reason::OtherProcess));

impl Authorizer {
    /// Whether this process did not create the authorizer.
    #[inline]
    pub(super) fn is_copy(&self) -> bool {
        !self.process.is_maker()
    }

    /// The authorizer as after a fork, for tests.
    #[cfg(feature = "unstable-internals")]
    pub(crate) fn in_other_process(self) -> Self {
        Self { process: ForkGuard::of_no_process(), ..self }
    }

    /// Refuses an INVITE and counts it. No event follows: a subscriber could wait for a lock.
    #[cold]
    pub(super) fn refuse_in_copy(&self) -> Decision {
        self.state.counters.count(&OTHER_PROCESS);
        OTHER_PROCESS
    }

    /// Refuses `many` INVITEs, as [`Self::refuse_in_copy`] does.
    #[cold]
    pub(super) fn refuse_all_in_copy(&self, many: usize, out: &mut Vec<Decision>) {
        out.clear();
        out.extend(std::iter::repeat_n(OTHER_PROCESS, many));
        self.state.counters.count_all(out);
    }

    /// Explains a refusal without counting it.
    #[cold]
    pub(super) fn explain_in_copy(&self) -> Explanation {
        Explanation { steps: vec![Step::OtherProcess], decision: OTHER_PROCESS, snapshot: None }
    }
}
