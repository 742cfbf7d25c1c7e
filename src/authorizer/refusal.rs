//! The whole response to a refused request.

use super::Authorizer;
use crate::decision::{Decision, Refusal};

impl Authorizer {
    /// The response to send for a decision of this authorizer; `None` for an accept.
    ///
    /// It is [`Decision::refusal`] with the Allow header that a 405 must have (RFC 3261 §21.4.6), by the
    /// snapshot in force. The header is missing if the domain or trunk was deleted since the decision.
    #[must_use]
    pub fn refusal<'a>(&self, decision: &'a Decision) -> Option<Refusal<'a>> {
        let refusal = decision.refusal()?;
        if !refusal.needs_allow() {
            return Some(refusal);
        }
        let snapshot = self.snapshot();
        let view = decision.target().and_then(|target| snapshot.target_view(target));
        Some(match view {
            Some(view) => refusal.with_allow(&view),
            None => refusal,
        })
    }
}
