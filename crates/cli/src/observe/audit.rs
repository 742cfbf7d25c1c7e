//! The decision log: a line of JSON for each decision, for those who must be able to tell later who
//! was let in and why.
//!
//! Whoever decides puts the decision into a bounded queue and goes on; a thread of its own writes. If
//! the queue is full, or what is written to takes nothing, decisions are lost, and a line and a
//! metric tell how many. No call waits.

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

use crate::observe::writer::Writer;
use crate::sip::peer::Peer;
use crate::system::failure::{Failure, complain};

/// How long the writer sleeps when there was nothing. It looks by itself: waking it would cost those
/// who decide a call of the system.
const PAUSE: Duration = Duration::from_millis(10);
/// How many decisions are written at once at most.
const CHUNK: usize = 1_024;

/// Where lines are put.
pub(crate) struct Audit {
    queue: SyncSender<Entry>,
    shared: Arc<Shared>,
    writer: Writer,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
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

/// A decision in the queue.
struct Entry {
    time: SystemTime,
    snapshot: Option<u64>,
    decision: Decision,
    transport: Transport,
    source: SocketAddr,
}

impl Audit {
    /// Opens the place and starts the writer. The queue holds so many decisions; addresses and names
    /// of users are written with `names` alone.
    pub(crate) fn start(place: Place, queue: usize, names: bool) -> Result<Self, Failure> {
        let out = open(&place).map_err(|error| Failure::Setup(format!("{place}: {error}")))?;
        let shared = Arc::new(Shared::default());
        let (queue, entries) = sync_channel(queue);
        let lines = Lines {
            place,
            out,
            names,
            shared: Arc::clone(&shared),
            told: 0,
            torn: false,
            failed: false,
        };
        let writer = Writer::start("decision log", move || lines.run(&entries))?;
        Ok(Self { queue, shared, writer })
    }

    /// Puts decisions that were made by the snapshot of this number into the queue.
    pub(crate) fn put<'d>(
        &self,
        snapshot: Option<u64>,
        decisions: impl Iterator<Item = (Peer, &'d Decision)>,
    ) {
        let time = SystemTime::now();
        let mut lost = 0;
        for (Peer { source, transport, .. }, decision) in decisions {
            let decision = brief(decision);
            let entry = Entry { time, snapshot, decision, transport, source };
            lost += u64::from(self.queue.try_send(entry).is_err());
        }
        if lost > 0 {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Has the file opened anew, for one that was moved away.
    pub(crate) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Writes what is left and ends, unless nobody takes it.
    pub(crate) fn end(&self) {
        self.shared.end.store(true, Ordering::Release);
        if !self.writer.ends() {
            complain("the last decisions could not be written to the decision log");
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

/// The decision without the texts of a challenge, which nobody asks for later.
fn brief(decision: &Decision) -> Decision {
    match decision {
        Decision::Challenge(challenge) => Decision::Challenge(challenge.without_values()),
        decision => decision.clone(),
    }
}

struct Lines {
    place: Place,
    out: Box<dyn Write + Send>,
    names: bool,
    shared: Arc<Shared>,
    /// How many lost decisions a line has told of.
    told: u64,
    /// The last line may be there in part.
    torn: bool,
    /// Writing has failed, and it was told.
    failed: bool,
}

impl Lines {
    fn run(mut self, entries: &Receiver<Entry>) {
        let mut bytes = Vec::new();
        loop {
            // looked at first: what was put before the end is in the queue by then
            let end = self.shared.end.load(Ordering::Acquire);
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            bytes.clear();
            let mut count = 0;
            for entry in entries.try_iter().take(CHUNK) {
                push(&mut bytes, &Line::of(&entry, self.names));
                count += 1;
            }
            let lost = self.shared.lost.load(Ordering::Relaxed);
            if lost > self.told {
                let time = text(SystemTime::now());
                push(&mut bytes, &Loss { time, lost: lost - self.told });
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
                (self.torn, self.failed, self.told) = (false, false, lost);
                self.shared.written.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                self.torn = true;
                self.shared.lost.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failed, true) {
                    complain(format_args!("{}: {error}; decisions are lost", self.place));
                }
                // what does not work now does not work at once either
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn reopen(&mut self) {
        match open(&self.place) {
            Ok(out) => (self.out, self.torn) = (out, false),
            Err(error) => {
                complain(format_args!("{}: {error}; the old file stays in use", self.place));
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn open(place: &Place) -> std::io::Result<Box<dyn Write + Send>> {
    Ok(match place {
        Place::Stdout => Box::new(std::io::stdout()),
        Place::File(path) => Box::new(append(path)?),
    })
}

/// The file to append to; one that is made here is its owner's alone.
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

#[derive(Serialize)]
struct Loss {
    time: String,
    lost: u64,
}

impl<'a> Line<'a> {
    fn of(entry: &'a Entry, names: bool) -> Self {
        let decision = &entry.decision;
        let accept = match decision {
            Decision::Accept(accept) => Some(accept),
            _ => None,
        };
        let address = accept.and_then(|accept| accept.address);
        let credential = accept.and_then(|accept| accept.credential.as_ref());
        let source =
            || SocketAddr::new(entry.source.ip().to_canonical(), entry.source.port()).to_string();
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
            source: names.then(source),
            username: credential.filter(|_| names).map(|matched| matched.username.as_str()),
        }
    }
}

/// In UTC, to the microsecond.
fn text(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

fn push(bytes: &mut Vec<u8>, line: &impl Serialize) {
    // texts and numbers always have a form
    if serde_json::to_writer(&mut *bytes, line).is_ok() {
        bytes.push(b'\n');
    }
}
