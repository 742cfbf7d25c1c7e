//! The receivers of decisions besides the caller: log, decision log and metrics.

use std::time::Duration;

use sip_authz::Decision;
use sip_authz::metrics::Latencies;

use crate::observe::audit::Audit;
use crate::observe::log::DecisionLog;
use crate::sip::peer::Peer;

/// The log, the decision log and the latency histogram.
#[derive(Default)]
pub(crate) struct DecisionObservers {
    pub(crate) log: Option<DecisionLog>,
    pub(crate) audit: Option<Audit>,
    pub(crate) latencies: Latencies,
}

impl DecisionObservers {
    /// Passes a batch of decisions to all observers.
    ///
    /// `snapshot` is the number of the snapshot that decided; `took` is the time since the messages
    /// were received.
    pub(crate) fn notify<'d>(
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
