//! The decision log: a line of JSON for each decision, for audits.
//!
//! Deciding threads put decisions into a bounded queue, and a writer thread takes them out. If the
//! queue is full or a write fails, decisions are lost; beyond the limit of lines a second they are left
//! out. Lines of the log and metrics count both. No call waits for the log.

mod line;
mod sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use metrics::{counter, describe_counter};
use sip_authz::{Authorizer, Sampling};

use self::sink::Output;
pub(crate) use self::sink::{LogSink, Rotation};
use crate::observe::limits::{LineKind, QueueShares, Rates};
use crate::observe::reasons::{Counters, NONE, PerReason, reasons, since, slot_of_verdict};
use crate::observe::record::Record;
use crate::observe::record::shown::Shown;
use crate::observe::selection::Selection;
use crate::observe::writer::Writer;
use crate::system::output::{ProgramError, warn};
use crate::system::words::output_error;

/// The sleep of the writer after an empty queue. The writer polls, since waking it would cost the
/// deciding threads a system call.
const PAUSE: Duration = Duration::from_millis(10);
/// The time between two lines about decisions that were left out.
const REPORT: Duration = Duration::from_secs(1);
/// The maximum number of decisions in one write.
const CHUNK: usize = 1_024;
/// A write gets no more decisions at this number of bytes, so that it fits into the smallest file.
const CHUNK_BYTES: usize = 48 << 10;

/// The settings of the decision log.
#[derive(Debug)]
pub(crate) struct AuditOptions {
    pub(crate) sink: LogSink,
    /// The capacity of the queue in decisions.
    pub(crate) queue: usize,
    /// Whether personal fields are written.
    pub(crate) names: bool,
    pub(crate) sampling: Sampling,
    pub(crate) rates: Rates,
    pub(crate) rotation: Option<Rotation>,
}

/// The decision log: the queue and its writer.
pub(crate) struct Audit {
    queue: SyncSender<Record>,
    selection: Selection,
    shared: Arc<Shared>,
    writer: Writer,
}

struct Shared {
    written: AtomicU64,
    lost: Counters,
    left_out: Arc<Counters>,
    shares: QueueShares,
    reopen: AtomicBool,
    end: AtomicBool,
}

impl Audit {
    /// Opens the sink and starts the writer. The snapshot of `authorizer` has the names of domains.
    pub(crate) fn start(
        options: AuditOptions,
        authorizer: Arc<Authorizer>,
    ) -> Result<Self, ProgramError> {
        let AuditOptions { sink, queue, names, sampling, rates, rotation } = options;
        let out = Output::open(&sink, rotation);
        let out =
            out.map_err(|error| ProgramError::Setup(format!("{sink}: {}", output_error(&error))))?;
        let selection = Selection::new(sampling, rates);
        let shared = Arc::new(Shared {
            written: AtomicU64::new(0),
            lost: Counters::default(),
            left_out: Arc::clone(&selection.left_out),
            shares: QueueShares::new(queue),
            reopen: AtomicBool::new(false),
            end: AtomicBool::new(false),
        });
        let (queue, records) = sync_channel(queue);
        let lines = Lines {
            sink,
            out,
            names,
            authorizer,
            shared: Arc::clone(&shared),
            reported: Missing { lost: NONE, left_out: NONE },
            due: Instant::now(),
            torn: false,
            failed: false,
        };
        let writer = Writer::start("decision log", move || lines.run(&records))?;
        Ok(Self { queue, selection, shared, writer })
    }

    /// The decisions that the log has.
    pub(super) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Puts a record into the queue. Counts it as lost if there is no place for it.
    pub(super) fn put(&self, record: Record) {
        let (kind, slot) = (LineKind::of_record(&record), slot_of_verdict(record.verdict));
        let shares = &self.shared.shares;
        if !shares.enters(kind) {
            self.shared.lost.add(slot, 1);
        } else if self.queue.try_send(record).is_err() {
            shares.leaves(kind);
            self.shared.lost.add(slot, 1);
        }
    }

    /// Asks the writer to reopen the file, after another program moved it.
    pub(crate) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Writes the rest of the queue and stops the writer; warns if that takes too long.
    pub(crate) fn end(&self) {
        self.shared.end.store(true, Ordering::Release);
        if !self.writer.ends() {
            warn("the last decisions could not be written: the decision log is blocked");
        }
    }

    /// Describes the metrics of the decision log.
    pub(crate) fn describe() {
        describe_counter!(
            "sip_authz_decision_log_lines_total",
            "Decisions written to the decision log"
        );
        describe_counter!(
            "sip_authz_decision_log_lost_total",
            "Decisions missing from the decision log"
        );
        describe_counter!(
            "sip_authz_decision_log_left_out_total",
            "Decisions left out of the decision log by its limits of lines a second, by reason"
        );
    }

    /// Records the metrics of the decision log.
    pub(crate) fn record(&self) {
        let Shared { written, lost, left_out, .. } = &*self.shared;
        counter!("sip_authz_decision_log_lines_total").absolute(written.load(Ordering::Relaxed));
        counter!("sip_authz_decision_log_lost_total").absolute(lost.total());
        for (reason, count) in reasons().zip(left_out.get()) {
            counter!("sip_authz_decision_log_left_out_total", "reason" => reason).absolute(count);
        }
    }
}

struct Lines {
    sink: LogSink,
    out: Output,
    names: bool,
    authorizer: Arc<Authorizer>,
    shared: Arc<Shared>,
    /// The counts of missing decisions that lines of the log have reported.
    reported: Missing,
    /// The time of the next line about decisions that were left out.
    due: Instant,
    /// Whether the last line may be incomplete.
    torn: bool,
    /// Whether the last write failed and a warning was printed.
    failed: bool,
}

/// Counts of decisions without a line.
#[derive(Clone, Copy)]
struct Missing {
    lost: PerReason,
    left_out: PerReason,
}

impl Lines {
    fn run(mut self, records: &Receiver<Record>) {
        let mut bytes = Vec::new();
        loop {
            // read before the queue: decisions put before the end are in the queue by then
            let end = self.shared.end.load(Ordering::Acquire);
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            bytes.clear();
            let decisions = self.take(records, &mut bytes);
            let missing = self.report(end, &mut bytes);
            if !bytes.is_empty() {
                self.write(&bytes, &decisions, missing);
            }
            match (decisions == NONE, end) {
                (true, true) => return,
                (true, false) => std::thread::sleep(PAUSE),
                _ => {}
            }
        }
    }

    /// Appends the lines of waiting decisions, and returns their number for each reason.
    fn take(&self, records: &Receiver<Record>, bytes: &mut Vec<u8>) -> PerReason {
        let mut decisions = NONE;
        let snapshot = self.authorizer.snapshot();
        for record in records.try_iter().take(CHUNK) {
            self.shared.shares.leaves(LineKind::of_record(&record));
            if let Some(count) = decisions.get_mut(slot_of_verdict(record.verdict)) {
                *count += 1;
            }
            line::push_record(bytes, &Shown::of(&record, self.names, &snapshot));
            if bytes.len() >= CHUNK_BYTES {
                break;
            }
        }
        decisions
    }

    /// Appends lines about missing decisions, and returns the counts that the log then has reported.
    fn report(&mut self, end: bool, bytes: &mut Vec<u8>) -> Missing {
        let mut missing = Missing { lost: self.shared.lost.get(), ..self.reported };
        line::push_lost(bytes, &since(&missing.lost, &self.reported.lost));
        let now = Instant::now();
        if end || now >= self.due {
            self.due = now + REPORT;
            missing.left_out = self.shared.left_out.get();
            line::push_left_out(bytes, &since(&missing.left_out, &self.reported.left_out));
        }
        missing
    }

    fn write(&mut self, bytes: &[u8], decisions: &PerReason, missing: Missing) {
        match self.out.make_room(bytes.len()) {
            Ok(rotated) => self.torn &= !rotated,
            Err(error) => warn(format_args!(
                "warning: {}: {error}; the file is not rotated and grows further",
                self.sink
            )),
        }
        let mended = if self.torn { self.out.write(b"\n") } else { Ok(()) };
        match mended.and_then(|()| self.out.write(bytes)) {
            Ok(()) => {
                (self.torn, self.failed, self.reported) = (false, false, missing);
                self.shared.written.fetch_add(decisions.iter().sum(), Ordering::Relaxed);
            }
            Err(error) => {
                self.torn = true;
                for (slot, count) in decisions.iter().enumerate() {
                    self.shared.lost.add(slot, *count);
                }
                if !std::mem::replace(&mut self.failed, true) {
                    warn(format_args!(
                        "warning: {}: {error}; decisions are missing from the decision log",
                        self.sink
                    ));
                }
                // an immediate retry would most likely fail too
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn reopen(&mut self) {
        match self.out.reopen() {
            Ok(is_another) => {
                // the incomplete line stays in the other file
                self.torn &= !is_another;
                warn(format_args!("reopened {}", self.sink));
            }
            Err(error) => {
                warn(format_args!("warning: {}: {error}; the old file stays in use", self.sink));
            }
        }
    }
}
