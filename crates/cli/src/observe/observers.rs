//! The receivers of decisions besides the caller: log, decision log, recent decisions and metrics.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sip_authz::Decision;
use sip_authz::message::Message;
use sip_authz::metrics::Latencies;

use crate::observe::audit::Audit;
use crate::observe::cause::Cause;
use crate::observe::lines::LinesInSecond;
use crate::observe::log::DecisionLog;
use crate::observe::method::MethodCounts;
use crate::observe::recent::{Recent, STREAMS, Sampling};
use crate::observe::record::{Asked, Moment, Record};
use crate::observe::selection::Selection;
use crate::observe::targets::TargetCounts;
use crate::sip::peer::Caller;

/// The log, the decision log, the recent decisions and the latency histogram.
#[derive(Default)]
pub(crate) struct DecisionObservers {
    pub(crate) log: Option<DecisionLog>,
    pub(crate) audit: Option<Audit>,
    recent: Option<Arc<Recent>>,
    pub(crate) latencies: Latencies,
    pub(crate) methods: MethodCounts,
    /// Counts by domain and trunk, for metrics.
    pub(crate) targets: Option<TargetCounts>,
    /// For messages that are no decision.
    limit: LineLimit,
}

impl DecisionObservers {
    pub(crate) fn new(log: Option<DecisionLog>, audit: Option<Audit>) -> Self {
        Self { log, audit, ..Self::default() }
    }

    /// Lets decisions be counted by domain and trunk.
    pub(crate) fn with_targets(self, targets: Option<TargetCounts>) -> Self {
        Self { targets, ..self }
    }

    /// Keeps recent decisions.
    pub(crate) fn with_recent(self, recent: Arc<Recent>) -> Self {
        Self { recent: Some(recent).filter(|recent| recent.is_on()), ..self }
    }

    /// Counts a batch of decisions, and records those that a log has or that are kept.
    ///
    /// `snapshot` is the number of the snapshot that decided; `decided` is the time of the decisions, and
    /// `took` that since the messages were received. `is_own` says whether a realm is one of this side.
    pub(crate) fn notify<'d>(
        &self,
        snapshot: Option<u64>,
        (decided, took): (Instant, Duration),
        decisions: impl ExactSizeIterator<Item = (Asked<'d>, &'d Decision)> + Clone,
        is_own: impl Fn(&str) -> bool,
        records: &mut PendingRecords,
    ) {
        let count = decisions.len() as u64;
        self.latencies.observe(took, count);
        self.methods.count(decisions.clone().map(|(asked, decision)| (asked.method, decision)));
        if let Some(targets) = &self.targets {
            targets.count(decisions.clone().map(|(_, decision)| decision));
        }
        let (log, audit) = (self.log.as_ref(), self.audit.as_ref());
        let log = log.map(|log| (log.selection(), log.selection().count(count)));
        let audit = audit.map(|audit| (audit.selection(), audit.selection().count(count)));
        if log.is_none() && audit.is_none() && self.recent.is_none() {
            return;
        }
        let recent = self.sampling(records, decided);
        let mut time = ReadOnce::default();
        for (at, (asked, decision)) in (0..).zip(decisions) {
            let mut takes = |log: Option<(&Selection, u64)>| {
                log.is_some_and(|(log, first)| {
                    log.takes(decision, first + at, (time.get(), decided))
                })
            };
            let (log, audit) = (takes(log), takes(audit));
            let recent = recent.is_some_and(|recent| recent.takes(decision));
            if log || audit || recent {
                let moment = Moment { time: time.get(), took: Some(took), snapshot };
                let record = Record::decided(&moment, &asked, decision, &is_own);
                records.waiting.push((Takers { log, audit, recent }, record));
            }
        }
    }

    /// Records a message with another outcome than that of its decision if a log has it or it is kept. The
    /// text log has it unless it had too many in this second; the decision log and the recent decisions
    /// have limits of their own.
    pub(crate) fn notify_other<'m>(
        &self,
        cause: Cause,
        caller: Caller,
        now: Instant,
        message: impl FnOnce() -> Option<Message<'m>>,
        records: &mut PendingRecords,
    ) {
        if !cause.is_logged()
            || (self.log.is_none() && self.audit.is_none() && self.recent.is_none())
        {
            return;
        }
        let mut time = ReadOnce::default();
        let log = self.log.as_ref().filter(|_| self.limit.takes(now));
        let log = log.is_some_and(DecisionLog::takes_other);
        let audit = self.audit.as_ref();
        let audit = audit.is_some_and(|audit| audit.selection().takes_other(cause, time.get()));
        let recent = self.sampling(records, now).is_some_and(|it| it.takes_other(cause));
        if log || audit || recent {
            let moment = Moment { time: time.get(), took: None, snapshot: None };
            let record = Record::other(&moment, caller, cause, message().as_ref());
            records.waiting.push((Takers { log, audit, recent }, record));
        }
    }

    fn sampling(&self, records: &PendingRecords, now: Instant) -> Option<Sampling<'_>> {
        self.recent.as_ref()?.sampling(records.ring, now)
    }

    /// Hands records over to the logs that take them, and keeps those that are kept.
    ///
    /// While a reader has the ring of a UDP thread, its records wait for the next batch.
    pub(crate) fn hand_over(&self, records: &mut PendingRecords) {
        let (mut is_logged, mut is_kept) = (false, false);
        for (takers, _) in &records.waiting {
            is_logged |= takers.log || takers.audit;
            is_kept |= takers.recent;
        }
        if is_logged {
            for (takers, record) in &mut records.waiting {
                if let Some(log) = self.log.as_ref().filter(|_| std::mem::take(&mut takers.log)) {
                    log.put(record.clone());
                }
                if let Some(audit) =
                    self.audit.as_ref().filter(|_| std::mem::take(&mut takers.audit))
                {
                    audit.put(record.clone());
                }
            }
        }
        if is_kept && let Some(recent) = &self.recent {
            let waits = records.ring == STREAMS || records.waiting.len() >= MAX_WAITING;
            let Some(mut ring) = recent.write(records.ring, waits) else { return };
            let all = records.waiting.drain(..);
            all.filter(|(takers, _)| takers.recent).for_each(|(_, record)| ring.push(record));
        }
        records.waiting.clear();
    }
}

/// The time of day, which is read once, and only if a record needs it.
#[derive(Default)]
struct ReadOnce(Option<SystemTime>);

impl ReadOnce {
    fn get(&mut self) -> SystemTime {
        *self.0.get_or_insert_with(SystemTime::now)
    }
}

/// The number of records of a UDP thread from which on it waits for its ring.
const MAX_WAITING: usize = 1_024;

/// Records that wait until the answers of their batch are sent. By default those of connections.
#[derive(Default)]
pub(crate) struct PendingRecords {
    waiting: Vec<(Takers, Record)>,
    /// The number of the ring that keeps them.
    ring: usize,
}

impl PendingRecords {
    /// The records of the thread that writes to the ring of this number.
    pub(crate) fn of_ring(ring: usize) -> Self {
        Self { waiting: Vec::new(), ring }
    }
}

/// The logs that have a line for a record, and whether it is kept.
#[derive(Clone, Copy)]
struct Takers {
    log: bool,
    audit: bool,
    recent: bool,
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
    use std::sync::Arc;

    use sip_authz::{Authorizer, Sampling, Snapshot, Transport};

    use super::*;
    use crate::observe::audit::{AuditOptions, LogSink};
    use crate::observe::limits::Rates;
    use crate::sip::peer::Source;

    #[test]
    fn a_log_has_records_once_they_are_handed_over() {
        let path = std::env::temp_dir().join(format!("sip-authz-records-{}", std::process::id()));
        // that of an earlier process with this id, to which the log would append
        let _ = std::fs::remove_file(&path);
        let options = AuditOptions {
            sink: LogSink::File(path.clone()),
            queue: 16,
            names: true,
            sampling: Sampling::All,
            rates: Rates { reason: Some(2), account: None },
            rotation: None,
        };
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        let audit = Audit::start(options, authorizer).unwrap();
        let observers = DecisionObservers::new(None, Some(audit));
        let source = Source::Known("192.0.2.1:9".parse().unwrap());
        let caller = Caller { source, transport: Transport::Udp };
        let mut records = PendingRecords::default();
        for cause in [Cause::Method, Cause::Method, Cause::Ok, Cause::NotSip] {
            observers.notify_other(cause, caller, Instant::now(), || None, &mut records);
        }
        // no log has a line for an answer without an error
        assert_eq!(records.waiting.len(), 3);
        observers.hand_over(&mut records);
        assert!(records.waiting.is_empty());
        observers.audit.as_ref().unwrap().end();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let reasons = ["method not allowed", "method not allowed", "not sip"];
        for (line, reason) in text.lines().zip(reasons) {
            assert!(line.contains(&format!("\"reason\":\"{reason}\"")), "{line}");
            assert!(line.ends_with("\"source\":\"192.0.2.1:9\"}"), "{line}");
        }
        assert_eq!(text.lines().count(), 3);
    }

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
