//! SIP over UDP: datagrams in, at most one datagram back for each to where it came from. Each core
//! has a thread and, where the system spreads datagrams over sockets, a socket; what has come
//! meanwhile is taken, decided and answered at once. When more comes than can be answered, all of it
//! is still taken: callers that were accepted lately are answered, and what is left of the time is
//! for the others, in order, as many of them as can wait.

#[cfg(target_os = "linux")]
#[path = "udp/many.rs"]
mod exchange;
#[cfg(not(target_os = "linux"))]
#[path = "udp/one.rs"]
mod exchange;
mod waiting;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sip_authz::Transport;
use tokio::sync::mpsc::UnboundedSender;

use crate::sip::edge::{BATCH, Desk, Edge};
use crate::sip::peer::Peer;
use exchange::{Inbox, Outbox};
use waiting::{Accepted, Waiting};

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// How long a thread waits for a datagram before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(100);
/// How long an answer may wait for room to be sent.
const SEND_WAIT: Duration = Duration::from_secs(1);
/// What is waited after an error of the socket.
const PAUSE: Duration = Duration::from_millis(1);
/// How often datagrams are taken before some of those that wait are answered, as more keep coming.
const MOST_TAKES: usize = 16;
/// How many of those that wait are answered before more are taken, which must not find the socket's
/// buffer full.
const AT_ONCE: usize = 32;

/// The threads that answer datagrams.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    end: Arc<AtomicBool>,
}

impl Workers {
    /// Begins to answer, one thread for each socket. `stopped` is told if a thread ends by itself.
    pub(crate) fn start(
        edge: &Arc<Edge>,
        sockets: Vec<UdpSocket>,
        local: SocketAddr,
        stopped: &UnboundedSender<String>,
    ) -> std::io::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let mut workers = Self { threads: Vec::new(), end: Arc::clone(&end) };
        for socket in sockets {
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(WAIT))?;
            socket.set_write_timeout(Some(SEND_WAIT))?;
            let alarm = Alarm { end: Arc::clone(&end), stopped: stopped.clone() };
            let edge = Arc::clone(edge);
            let thread = std::thread::Builder::new().name("udp".to_owned());
            let thread = thread.spawn(move || {
                let alarm = alarm;
                serve(&edge, &socket, local, &alarm.end);
            });
            workers.threads.push(thread?);
        }
        Ok(workers)
    }

    /// Ends the threads; what they have taken is answered first.
    pub(crate) fn end(self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // one that broke has told so
            let _ = thread.join();
        }
    }
}

/// Tells that a thread ended though it was not to.
struct Alarm {
    end: Arc<AtomicBool>,
    stopped: UnboundedSender<String>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.end.load(Ordering::Relaxed) {
            // nobody listens when the program ends
            let _ = self.stopped.send("a thread that answers datagrams has ended".to_owned());
        }
    }
}

fn serve(edge: &Edge, socket: &UdpSocket, local: SocketAddr, end: &AtomicBool) {
    let mut inbox = Inbox::new();
    let mut answerer = Answerer::new(edge, socket, local);
    let mut waiting = Waiting::default();
    let mut takes = 0;
    while !end.load(Ordering::Relaxed) {
        match inbox.receive(socket, waiting.is_empty()) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => {
                // such as an ICMP error for an earlier answer: nothing to do with the next datagram
                std::thread::sleep(PAUSE);
            }
        }
        if waiting.is_empty() && !inbox.is_full() {
            answerer.answer(inbox.datagrams());
            continue;
        }
        // more may have come by now than can be answered
        let now = Instant::now();
        let is_known = |source| answerer.accepted.has(source, now);
        let mut known = ArrayVec::<_, BATCH>::new();
        for (bytes, source) in inbox.datagrams() {
            if is_known(source) {
                let _ = known.try_push((bytes, source));
            } else if !waiting.push(bytes, source) {
                edge.totals.count_shed();
            }
        }
        answerer.answer(known.into_iter());
        takes += 1;
        if !inbox.is_full() || takes >= MOST_TAKES {
            takes = 0;
            answerer.answer(waiting.first(AT_ONCE));
            waiting.remove(AT_ONCE);
        }
    }
    // what was taken is answered; no more is taken, as more could come for ever
    while !waiting.is_empty() {
        answerer.answer(waiting.first(AT_ONCE));
        waiting.remove(AT_ONCE);
    }
}

/// Where datagrams are answered.
struct Answerer<'e> {
    edge: &'e Edge,
    socket: &'e UdpSocket,
    local: SocketAddr,
    desk: Desk,
    outbox: Outbox,
    accepted: Accepted,
}

impl<'e> Answerer<'e> {
    fn new(edge: &'e Edge, socket: &'e UdpSocket, local: SocketAddr) -> Self {
        let accepted = Accepted::new(Instant::now());
        Self { edge, socket, local, desk: Desk::default(), outbox: Outbox::new(), accepted }
    }

    fn answer<'a>(&mut self, datagrams: impl Iterator<Item = (&'a [u8], SocketAddr)>) {
        let now = Instant::now();
        let hop = |source| Peer { source, local: self.local, transport: Transport::Udp };
        let messages = datagrams.map(|(bytes, source)| (bytes, hop(source)));
        self.edge.answer_batch(messages, now, &mut self.desk);
        self.outbox.send(self.socket, &self.desk, || self.edge.totals.count_unsent());
        for source in self.desk.accepted() {
            self.accepted.remember(source, now);
        }
    }
}
