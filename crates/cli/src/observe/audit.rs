//! The decision log: a line of JSON for each decision, for audits.
//!
//! Deciding threads put decisions into a bounded queue, and a writer thread takes them out. If the
//! queue is full or a write fails, decisions are dropped; a line of the log and a metric count them.
//! No call waits for the log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use sip_authz::{Decision, Transport};

use crate::observe::cause::{Cause, Handling};
use crate::observe::writer::Writer;
use crate::sip::peer::Peer;
use crate::system::output::{ProgramError, warn};

/// The sleep of the writer after an empty queue. The writer polls, since waking it would cost the
/// deciding threads a system call.
const PAUSE: Duration = Duration::from_millis(10);
/// The maximum number of decisions in one write.
const CHUNK: usize = 1_024;

/// The decision log: the queue and its writer.
pub(crate) struct Audit {
    queue: SyncSender<Entry>,
    shared: Arc<Shared>,
    writer: Writer,
}

/// The destination of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogSink {
    Stdout,
    File(PathBuf),
}

#[derive(Default)]
struct Shared {
    written: AtomicU64,
    lost: AtomicU64,
    reopen: AtomicBool,
    end: AtomicBool,
}

/// A decision or another message in the queue.
struct Entry {
    time: SystemTime,
    snapshot: Option<u64>,
    subject: Subject,
    transport: Transport,
    source: SocketAddr,
}

#[expect(clippy::large_enum_variant, reason = "nearly all entries are decisions")]
enum Subject {
    Decision(Decision),
    Other(Cause),
}

impl Audit {
    /// Opens the sink and starts the writer. `queue` is the capacity of the queue in decisions.
    /// Addresses and user names are written only with `names`.
    pub(crate) fn start(sink: LogSink, queue: usize, names: bool) -> Result<Self, ProgramError> {
        let out = open(&sink).map_err(|error| ProgramError::Setup(format!("{sink}: {error}")))?;
        let shared = Arc::new(Shared::default());
        let (queue, entries) = sync_channel(queue);
        let lines = Lines {
            sink,
            out,
            names,
            shared: Arc::clone(&shared),
            reported: 0,
            torn: false,
            failed: false,
        };
        let writer = Writer::start("decision log", move || lines.run(&entries))?;
        Ok(Self { queue, shared, writer })
    }

    /// Puts decisions of the snapshot with this number into the queue.
    pub(crate) fn put<'d>(
        &self,
        snapshot: Option<u64>,
        decisions: impl Iterator<Item = (Peer, &'d Decision)>,
    ) {
        let time = SystemTime::now();
        let mut lost = 0;
        for (Peer { source, transport, .. }, decision) in decisions {
            let subject = Subject::Decision(brief(decision));
            let entry = Entry { time, snapshot, subject, transport, source };
            lost += u64::from(self.queue.try_send(entry).is_err());
        }
        if lost > 0 {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Puts a message that is no decision into the queue.
    pub(crate) fn put_other(&self, cause: Cause, Peer { source, transport, .. }: Peer) {
        let (time, subject) = (SystemTime::now(), Subject::Other(cause));
        let entry = Entry { time, snapshot: None, subject, transport, source };
        if self.queue.try_send(entry).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks the writer to reopen the file, after a rotation moved it.
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

    pub(crate) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

/// The decision without the header values of a challenge, which the log does not contain.
fn brief(decision: &Decision) -> Decision {
    match decision {
        Decision::Challenge(challenge) => Decision::Challenge(challenge.without_values()),
        decision => decision.clone(),
    }
}

struct Lines {
    sink: LogSink,
    out: Box<dyn Write + Send>,
    names: bool,
    shared: Arc<Shared>,
    /// The number of dropped decisions that lines of the log have reported.
    reported: u64,
    /// Whether the last line may be incomplete.
    torn: bool,
    /// Whether the last write failed and a warning was printed.
    failed: bool,
}

impl Lines {
    fn run(mut self, entries: &Receiver<Entry>) {
        let mut bytes = Vec::new();
        loop {
            // read before the queue: decisions put before the end are in the queue by then
            let end = self.shared.end.load(Ordering::Acquire);
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            bytes.clear();
            let mut count = 0;
            for entry in entries.try_iter().take(CHUNK) {
                match &entry.subject {
                    Subject::Decision(decision) => {
                        push(&mut bytes, &Line::of(&entry, decision, self.names));
                    }
                    Subject::Other(cause) => {
                        push(&mut bytes, &OtherLine::of(&entry, *cause, self.names));
                    }
                }
                count += 1;
            }
            let lost = self.shared.lost.load(Ordering::Relaxed);
            if lost > self.reported {
                let time = text(SystemTime::now());
                push(&mut bytes, &Loss { time, lost: lost - self.reported });
            }
            if !bytes.is_empty() {
                self.write(&bytes, count, lost);
            }
            match (count, end) {
                (0, true) => return,
                (0, false) => std::thread::sleep(PAUSE),
                _ => {}
            }
        }
    }

    fn write(&mut self, bytes: &[u8], count: u64, lost: u64) {
        let mended = if self.torn { self.out.write_all(b"\n") } else { Ok(()) };
        match mended.and_then(|()| self.out.write_all(bytes)).and_then(|()| self.out.flush()) {
            Ok(()) => {
                (self.torn, self.failed, self.reported) = (false, false, lost);
                self.shared.written.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                self.torn = true;
                self.shared.lost.fetch_add(count, Ordering::Relaxed);
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
        match open(&self.sink) {
            Ok(out) => (self.out, self.torn) = (out, false),
            Err(error) => {
                warn(format_args!("warning: {}: {error}; the old file stays in use", self.sink));
            }
        }
    }
}

impl std::fmt::Display for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn open(sink: &LogSink) -> std::io::Result<Box<dyn Write + Send>> {
    Ok(match sink {
        LogSink::Stdout => Box::new(std::io::stdout()),
        LogSink::File(path) => Box::new(append(path)?),
    })
}

/// Opens the file to append to. A new file is readable and writable only by its owner.
fn append(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<u64>,
    transport: &'static str,
    outcome: &'static str,
    reason: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    repeat: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
}

/// A message that is no decision.
#[derive(Serialize)]
struct OtherLine {
    time: String,
    transport: &'static str,
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

#[derive(Serialize)]
struct Loss {
    time: String,
    lost: u64,
}

impl<'a> Line<'a> {
    fn of(entry: &Entry, decision: &'a Decision, names: bool) -> Self {
        let accept = match decision {
            Decision::Accept(accept) => Some(accept),
            _ => None,
        };
        let address = accept.and_then(|accept| accept.address);
        let credential = accept.and_then(|accept| accept.credential.as_ref());
        Self {
            time: text(entry.time),
            snapshot: entry.snapshot,
            transport: entry.transport.as_str(),
            outcome: decision.outcome(),
            reason: decision.reason(),
            status: decision.status(),
            code: match decision {
                Decision::Reject(reject) => reject.reason.code(),
                _ => None,
            },
            account: accept.map(|accept| accept.account.to_string()),
            target: decision.target().map(|target| target.to_string()),
            access_list: address.map(|matched| matched.list.to_string()),
            address: address.map(|matched| matched.address.to_string()),
            credential_list: credential.map(|matched| matched.list.to_string()),
            credential: credential.map(|matched| matched.credential.to_string()),
            repeat: accept.is_some_and(|accept| accept.repeat),
            source: names.then(|| entry.source()),
            username: credential.filter(|_| names).map(|matched| matched.username.as_str()),
        }
    }
}

impl Entry {
    fn source(&self) -> String {
        SocketAddr::new(self.source.ip().to_canonical(), self.source.port()).to_string()
    }
}

impl OtherLine {
    fn of(entry: &Entry, cause: Cause, names: bool) -> Self {
        Self {
            time: text(entry.time),
            transport: entry.transport.as_str(),
            outcome: cause.handling().as_str(),
            reason: cause.as_str(),
            status: match cause.handling() {
                Handling::Answered(status) => Some(status),
                _ => None,
            },
            source: names.then(|| entry.source()),
        }
    }
}

/// The time in UTC, to the microsecond.
fn text(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

fn push(bytes: &mut Vec<u8>, line: &impl Serialize) {
    // serializing strings and numbers to a Vec does not fail
    if serde_json::to_writer(&mut *bytes, line).is_ok() {
        bytes.push(b'\n');
    }
}
