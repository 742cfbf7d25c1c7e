//! Who is told of decisions besides the caller: log, decision log, metrics.

use std::time::Duration;

use sip_authz::Decision;
use sip_authz::metrics::Latencies;

use crate::observe::audit::Audit;
use crate::observe::log::DecisionLog;
use crate::sip::peer::Peer;

/// Who watches the decisions.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) log: Option<DecisionLog>,
    pub(crate) audit: Option<Audit>,
    pub(crate) latencies: Latencies,
}

impl Watch {
    /// Tells of a batch: by which snapshot it was decided, and how long that took from when the
    /// messages were taken.
    pub(crate) fn tell<'d>(
        &self,
        snapshot: Option<u64>,
        took: Duration,
        decisions: impl ExactSizeIterator<Item = (Peer, &'d Decision)> + Clone,
    ) {
        self.latencies.observe(took, decisions.len() as u64);
        if let Some(log) = &self.log {
            log.write(decisions.clone());
        }
        if let Some(audit) = &self.audit {
            audit.put(snapshot, decisions);
        }
    }
}
