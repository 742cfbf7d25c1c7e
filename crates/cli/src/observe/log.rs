//! The log of `--log`: one line on stderr per decision, without addresses and user names by default.
//!
//! A writer thread prints the lines. If the reader of stderr stops, lines are dropped; no call waits.
//! Beyond the limits of lines a second, lines are left out. The writer reports both.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use sip_authz::{Decision, Sampling, escape_name};

use crate::observe::cause::{Cause, Handling};
use crate::observe::limits::{LineLimits, Rates};
use crate::observe::reasons::{self, Counters, NONE, PerReason, reasons, since};
use crate::observe::writer::Writer;
use crate::sip::peer::Caller;
use crate::system::output::{ProgramError, warn};

/// The maximum number of batches of lines that wait to be written.
const QUEUE: usize = 1_024;
/// The time between two lines about lines that were left out.
const REPORT: Duration = Duration::from_secs(1);

/// Writes decisions to stderr.
pub(crate) struct DecisionLog {
    sampling: Sampling,
    /// Whether addresses and user names are written.
    names: bool,
    decided: AtomicU64,
    /// The number of messages that are no decision.
    others: AtomicU64,
    /// Batches of lines; an empty text stops the writer.
    queue: SyncSender<String>,
    limits: LineLimits,
    missing: Arc<Missing>,
    writer: Writer,
}

/// Counts of lines that are not written.
#[derive(Default)]
struct Missing {
    lost: AtomicU64,
    left_out: Counters,
}

impl DecisionLog {
    /// Starts the writer thread. `rate` limits the lines a second for each reason, and for the accepted
    /// calls of each account.
    pub(crate) fn start(
        sampling: Sampling,
        names: bool,
        rate: Option<u32>,
    ) -> Result<Self, ProgramError> {
        let (queue, texts) = sync_channel(QUEUE);
        let missing = Arc::new(Missing::default());
        let unreported = Arc::clone(&missing);
        let writer = Writer::start("log", move || write_all(&texts, &unreported))?;
        let (decided, others) = (AtomicU64::new(0), AtomicU64::new(0));
        let limits = LineLimits::new(Rates { reason: rate, account: rate });
        Ok(Self { sampling, names, decided, others, queue, limits, missing, writer })
    }

    /// Writes the rest of the queue and stops the writer, within a time limit.
    pub(crate) fn end(&self) {
        if self.queue.try_send(String::new()).is_ok() {
            let _ = self.writer.ends();
        }
    }

    /// Queues the lines of the decisions that the sampling selects.
    pub(crate) fn write<'d>(
        &self,
        decisions: impl ExactSizeIterator<Item = (Caller, &'d Decision)>,
    ) {
        let first = self.decided.fetch_add(decisions.len() as u64, Ordering::Relaxed);
        let sampled = decisions
            .zip(first..)
            .filter(|((_, decision), number)| self.sampling.takes(decision, *number));
        let (time, now) = (SystemTime::now(), Instant::now());
        let admitted = sampled.filter(|((_, decision), _)| {
            let admits = self.limits.admits(decision, time, now);
            if !admits {
                self.missing.left_out.add(reasons::slot(decision), 1);
            }
            admits
        });
        let lines: String =
            admitted.map(|((caller, decision), _)| self.line(decision, caller)).collect();
        if !lines.is_empty() {
            self.queue(lines);
        }
    }

    /// Queues the line of a message that is no decision, if the sampling selects it.
    pub(crate) fn write_other(&self, cause: Cause, caller: Caller) {
        let number = self.others.fetch_add(1, Ordering::Relaxed);
        let selected = match self.sampling {
            Sampling::Nothing => false,
            Sampling::OneIn(n) => number.is_multiple_of(n.get().into()),
            _ => true,
        };
        if selected {
            self.queue(self.other_line(cause, caller));
        }
    }

    fn queue(&self, lines: String) {
        if let Err(error) = self.queue.try_send(lines) {
            let (TrySendError::Full(lines) | TrySendError::Disconnected(lines)) = error;
            self.missing.lost.fetch_add(lines.lines().count() as u64, Ordering::Relaxed);
        }
    }

    fn line(&self, decision: &Decision, Caller { source, transport }: Caller) -> String {
        let mut line = match decision {
            Decision::Accept(accept) => format!("accept target={}", accept.target),
            Decision::Challenge(challenge) => {
                let (status, stale) = (challenge.status(), challenge.stale);
                format!("challenge target={} status={status} stale={stale}", challenge.target)
            }
            Decision::Reject(reject) => {
                let target = reject.target.map_or_else(|| "-".to_owned(), |t| t.to_string());
                let reason = reject.reason;
                format!(
                    "reject target={target} status={} reason={}",
                    reason.status(),
                    reason.as_str()
                )
            }
        };
        // writing to a String does not fail
        let _ = write!(line, " transport={}", transport.as_str());
        if let Decision::Accept(accept) = decision {
            if let Some(address) = accept.address {
                let _ = write!(line, " list={} entry={}", address.list, address.address);
            }
            if let Some(credential) = &accept.credential {
                let _ = write!(line, " list={} user={}", credential.list, credential.credential);
            }
            if !accept.permissions.is_empty() {
                let names: Vec<_> = accept.permissions.iter().collect();
                let _ = write!(line, " permits={}", names.join(","));
            }
            if accept.repeat {
                line.push_str(" repeat");
            }
        }
        if self.names {
            let _ = write!(line, " source={source}");
            if let Decision::Accept(accept) = decision
                && let Some(credential) = &accept.credential
            {
                let name = escape_name(&credential.username);
                let _ = write!(line, " username=\"{name}\"");
            }
        }
        line.push('\n');
        line
    }

    fn other_line(&self, cause: Cause, Caller { source, transport }: Caller) -> String {
        let mut line = cause.handling().as_str().to_owned();
        if let Handling::Answered(status) = cause.handling() {
            let _ = write!(line, " status={status}");
        }
        let _ = write!(line, " reason=\"{}\" transport={}", cause.as_str(), transport.as_str());
        if self.names {
            let _ = write!(line, " source={source}");
        }
        line.push('\n');
        line
    }
}

fn write_all(texts: &Receiver<String>, missing: &Missing) {
    let (mut reported, mut due) = (NONE, Instant::now());
    loop {
        let end = match texts.recv_timeout(REPORT) {
            Ok(text) if text.is_empty() => true,
            Ok(text) => {
                let _ = std::io::stderr().lock().write_all(text.as_bytes());
                false
            }
            Err(error) => error == RecvTimeoutError::Disconnected,
        };
        let lost = missing.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            warn(format_args!("warning: {lost} lines of --log are lost: stderr was blocked"));
        }
        let now = Instant::now();
        if end || now >= due {
            due = now + REPORT;
            let left_out = missing.left_out.get();
            report_left_out(&since(&left_out, &reported));
            reported = left_out;
        }
        if end {
            return;
        }
    }
}

/// Prints how many lines were left out for each reason, unless there are none.
fn report_left_out(counts: &PerReason) {
    let total: u64 = counts.iter().sum();
    if total > 0 {
        let some = reasons().zip(counts).filter(|(_, count)| **count > 0);
        let counts: Vec<_> = some.map(|(reason, count)| format!("{reason} {count}")).collect();
        warn(format_args!("{total} lines of --log left out: {}", counts.join(", ")));
    }
}
