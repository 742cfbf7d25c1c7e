//! SIP over UDP: datagrams in, at most one datagram back for each to where it came from. Each core
//! has a thread and, where the system spreads datagrams over sockets, a socket; what has come
//! meanwhile is taken, decided and answered at once.

#[cfg(target_os = "linux")]
#[path = "udp/many.rs"]
mod exchange;
#[cfg(not(target_os = "linux"))]
#[path = "udp/one.rs"]
mod exchange;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sip_authz::Transport;
use tokio::sync::mpsc::UnboundedSender;

use crate::edge::{Desk, Edge, Hop};
use exchange::{Inbox, Outbox};

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// How long a thread waits for a datagram before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(100);
/// How long an answer may wait for room to be sent.
const SEND_WAIT: Duration = Duration::from_secs(1);
/// What is waited after an error of the socket.
const PAUSE: Duration = Duration::from_millis(1);

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
    let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
    let mut desk = Desk::default();
    while !end.load(Ordering::Relaxed) {
        match inbox.receive(socket) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(_) => {
                // such as an ICMP error for an earlier answer: nothing to do with the next datagram
                std::thread::sleep(PAUSE);
                continue;
            }
        }
        let hop = |source| Hop { source, local, transport: Transport::Udp };
        let messages = inbox.datagrams().map(|(bytes, source)| (bytes, hop(source)));
        edge.answer_batch(messages, Instant::now(), &mut desk);
        outbox.send(socket, &desk, || edge.totals.count_unsent());
    }
}
