//! The log of `--log`: one line on stderr per decision, without personal fields by default.
//!
//! A writer thread prints the lines. If the reader of stderr stops, lines are dropped; no call waits.
//! Beyond the limits of lines a second, lines are left out. The writer reports both.

mod line;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sip_authz::{Authorizer, Sampling};

use crate::observe::limits::Rates;
use crate::observe::reasons::{Counters, NONE, PerReason, reasons, since};
use crate::observe::record::Record;
use crate::observe::record::shown::Shown;
use crate::observe::selection::Selection;
use crate::observe::writer::{LAST, Writer};
use crate::system::output::{ProgramError, warn};

/// The maximum number of records that wait to be written.
const QUEUE: usize = 2_048;
/// The maximum number of lines in one write.
const CHUNK: usize = 64;
/// The wait for room in the queue at the end of the program.
const PAUSE: Duration = Duration::from_millis(5);
/// The time between two lines about lines that were left out.
const REPORT: Duration = Duration::from_secs(1);

/// Writes decisions to stderr.
pub(crate) struct DecisionLog {
    selection: Selection,
    /// The number of messages that are no decision.
    others: AtomicU64,
    /// Records; none stops the writer.
    queue: SyncSender<Option<Record>>,
    lost: Arc<AtomicU64>,
    writer: Writer,
}

impl DecisionLog {
    /// Starts the writer thread. `names` includes the personal fields. `rate` limits the lines a second for
    /// each reason, and for the accepted calls of each account. The snapshot of `authorizer` has the names
    /// of domains.
    pub(crate) fn start(
        sampling: Sampling,
        names: bool,
        rate: Option<u32>,
        authorizer: Arc<Authorizer>,
    ) -> Result<Self, ProgramError> {
        let (queue, records) = sync_channel(QUEUE);
        let selection = Selection::new(sampling, Rates { reason: rate, account: rate });
        let lost = Arc::new(AtomicU64::new(0));
        let left_out = Arc::clone(&selection.left_out);
        let lines = Lines { names, authorizer, lost: Arc::clone(&lost), left_out };
        let writer = Writer::start("log", move || lines.run(&records))?;
        Ok(Self { selection, others: AtomicU64::new(0), queue, lost, writer })
    }

    /// Writes the rest of the queue and stops the writer, within a time limit.
    pub(crate) fn end(&self) {
        let begun = Instant::now();
        while self.queue.try_send(None).is_err() {
            if begun.elapsed() >= LAST {
                return warn("the last lines of --log could not be written: stderr is blocked");
            }
            std::thread::sleep(PAUSE);
        }
        let _ = self.writer.ends();
    }

    /// The decisions that the log has.
    pub(super) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Whether the sampling selects the next message that is no decision.
    pub(super) fn takes_other(&self) -> bool {
        let number = self.others.fetch_add(1, Ordering::Relaxed);
        match self.selection.sampling {
            Sampling::Nothing => false,
            Sampling::OneIn(n) => number.is_multiple_of(n.get().into()),
            _ => true,
        }
    }

    /// Queues a record. Counts it as lost if there is no place for it.
    pub(super) fn put(&self, record: Record) {
        if self.queue.try_send(Some(record)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The writer of the lines.
struct Lines {
    names: bool,
    authorizer: Arc<Authorizer>,
    lost: Arc<AtomicU64>,
    left_out: Arc<Counters>,
}

impl Lines {
    fn run(self, records: &Receiver<Option<Record>>) {
        let (mut reported, mut due, mut text) = (NONE, Instant::now(), String::new());
        loop {
            text.clear();
            let end = match records.recv_timeout(REPORT) {
                Ok(first) => self.take(first, records, &mut text),
                Err(error) => error == RecvTimeoutError::Disconnected,
            };
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                warn(format_args!(
                    "warning: {lost} lines of --log are lost: stderr took them too slowly"
                ));
            }
            let now = Instant::now();
            if end || now >= due {
                due = now + REPORT;
                let left_out = self.left_out.get();
                report_left_out(&since(&left_out, &reported));
                reported = left_out;
            }
            if end {
                return;
            }
        }
    }

    /// Appends the lines of the waiting records. Returns whether the log ends.
    fn take(
        &self,
        first: Option<Record>,
        records: &Receiver<Option<Record>>,
        text: &mut String,
    ) -> bool {
        let snapshot = self.authorizer.snapshot();
        for record in std::iter::once(first).chain(records.try_iter()).take(CHUNK) {
            let Some(record) = record else { return true };
            line::push(text, &Shown::of(&record, self.names, &snapshot));
        }
        false
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
