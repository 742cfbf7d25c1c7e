//! The receivers of decisions besides the caller: log, decision log and metrics.

use std::time::{Duration, Instant};

use sip_authz::Decision;
use sip_authz::metrics::Latencies;

use crate::observe::audit::Audit;
use crate::observe::cause::Cause;
use crate::observe::lines::LinesInSecond;
use crate::observe::log::DecisionLog;
use crate::sip::peer::Caller;

/// The log, the decision log and the latency histogram.
#[derive(Default)]
pub(crate) struct DecisionObservers {
    pub(crate) log: Option<DecisionLog>,
    pub(crate) audit: Option<Audit>,
    pub(crate) latencies: Latencies,
    /// For messages that are no decision.
    limit: LineLimit,
}

impl DecisionObservers {
    pub(crate) fn new(log: Option<DecisionLog>, audit: Option<Audit>) -> Self {
        Self { log, audit, ..Self::default() }
    }

    /// Passes a batch of decisions to all observers.
    ///
    /// `snapshot` is the number of the snapshot that decided; `took` is the time since the messages
    /// were received.
    pub(crate) fn notify<'d>(
        &self,
        snapshot: Option<u64>,
        took: Duration,
        decisions: impl ExactSizeIterator<Item = (Caller, &'d Decision)> + Clone,
    ) {
        self.latencies.observe(took, decisions.len() as u64);
        if let Some(log) = &self.log {
            log.write(decisions.clone());
        }
        if let Some(audit) = &self.audit {
            audit.put(snapshot, decisions);
        }
    }

    /// Passes a message with another outcome than that of its decision to the logs, to the text log
    /// unless it had too many in this second. The decision log has limits of its own.
    pub(crate) fn notify_other(&self, cause: Cause, caller: Caller, now: Instant) {
        if !cause.is_logged() {
            return;
        }
        if let Some(log) = self.log.as_ref().filter(|_| self.limit.takes(now)) {
            log.write_other(cause, caller);
        }
        if let Some(audit) = &self.audit {
            audit.put_other(cause, caller);
        }
    }
}

/// The maximum number of lines per second about messages that are no decision. A flood of garbage must
/// not displace decisions in the logs.
const LINES_PER_SECOND: u32 = 100;

/// Counts lines per second.
#[derive(Debug)]
struct LineLimit {
    start: Instant,
    /// By seconds since `start`.
    used: LinesInSecond,
}

impl Default for LineLimit {
    fn default() -> Self {
        Self { start: Instant::now(), used: LinesInSecond::default() }
    }
}

impl LineLimit {
    fn takes(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.start).as_secs();
        self.used.admits(second, LINES_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_limited_in_each_second() {
        let limit = LineLimit::default();
        let taken = |millis| {
            let now = limit.start + Duration::from_millis(millis);
            (0..150).filter(|_| limit.takes(now)).count()
        };
        assert_eq!([taken(0), taken(999), taken(1_000), taken(1_500)], [100, 0, 100, 0]);
        // a thread that is late does not reset the count
        assert_eq!([taken(999), taken(7_000)], [0, 100]);
    }
}
