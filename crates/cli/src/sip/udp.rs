//! SIP over UDP. Each datagram gets at most one datagram as answer, to its source address and of at most
//! three times its length.
//!
//! Each core has a thread and, where the system spreads datagrams over sockets, a socket of its own. A
//! thread receives all waiting datagrams, decides them as a batch and answers them.
//!
//! Under overload a thread still receives all datagrams. Those of callers that were accepted recently
//! are answered first, and those of strangers with the remaining time. Both wait in bounded queues, from
//! which datagrams that find no place are discarded. The accounts of the callers share the answers by
//! their cost, so one account takes neither the time of others nor that of strangers.
//!
//! The system keeps an answer to an address of its own network until it knows the hardware address
//! (ARP, NDP), three seconds if there is none. Meanwhile the answer takes room in the send buffer, so a
//! stranger with forged sources can fill it. On Linux a thread therefore never waits for room, and half
//! of the buffer is kept for the callers that were accepted recently.

mod accepted;
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
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sip_authz::Transport;
use sip_authz_proxy::Leg;
use tokio::sync::mpsc::UnboundedSender;

use crate::observe::recent::STREAMS;
use crate::sip::edge::{BATCH, BatchScratch, Edge};
use crate::sip::peer::{Local, Peer};
use crate::system::threads::Threads;
use accepted::Accepted;
use exchange::{Inbox, Outbox};
use waiting::{FairQueue, cost, cost_of, stranger_lane};

/// The maximum size of a datagram in bytes.
const MAX_DATAGRAM: usize = 65_535;
/// The wait for a datagram before a thread checks whether it must end.
const WAIT: Duration = Duration::from_millis(100);
/// Time limit to send an answer while the send buffer is full, where the thread waits for room.
const SEND_WAIT: Duration = Duration::from_secs(1);
/// The wait after an error of the socket.
const PAUSE: Duration = Duration::from_millis(1);
/// The maximum number of full receives before some of the strangers' datagrams are answered.
const MOST_TAKES: usize = 16;
/// The maximum number of received bytes before some of the strangers' datagrams are answered.
const MOST_BYTES: usize = 1 << 20;
/// The number of waiting datagrams that are answered before the next receive, if they are not longer
/// than usual. A larger number could let the socket's buffer overflow.
const AT_ONCE: usize = 32;

/// Starts one thread per socket, whose local address stands beside it. `stopped` gets a message if a
/// thread ends by itself. At their end the threads answer the datagrams that they received.
pub(crate) fn start(
    edge: &Arc<Edge>,
    sockets: Vec<(UdpSocket, Local)>,
    stopped: &UnboundedSender<String>,
) -> std::io::Result<Threads> {
    let mut threads = Threads::new(stopped);
    for (number, (socket, local)) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(WAIT))?;
        socket.set_write_timeout(Some(SEND_WAIT))?;
        let edge = Arc::clone(edge);
        threads.start("udp", "a UDP thread", move |end| {
            serve(&edge, &socket, local, STREAMS + 1 + number, end);
        })?;
    }
    Ok(threads)
}

fn serve(edge: &Edge, socket: &UdpSocket, local: Local, ring: usize, end: &AtomicBool) {
    let mut inbox = Inbox::new();
    let mut answerer = Answerer::new(edge, socket, local, ring);
    let (mut established, mut strangers) = (FairQueue::new(), FairQueue::new());
    let (mut takes, mut read) = (0, 0);
    while !end.load(Ordering::Relaxed) {
        let is_idle = established.is_empty() && strangers.is_empty();
        match inbox.receive(socket, is_idle) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => {
                // for example an ICMP error for an earlier answer; the next receive can succeed
                std::thread::sleep(PAUSE);
            }
        }
        if is_idle && !inbox.is_full() {
            answerer.answer(inbox.datagrams());
            continue;
        }
        // overload is possible from here on
        let now = Instant::now();
        let (mut first, mut known) = (ArrayVec::<_, BATCH>::new(), ArrayVec::<_, BATCH>::new());
        let (mut shed, mut known_cost, mut received) = (0, 0, 0);
        for (bytes, source) in inbox.datagrams() {
            received += bytes.len();
            match rank(edge, &answerer.accepted, source, local, now) {
                Rank::Trusted => _ = first.try_push((bytes, source)),
                Rank::Established(account) => {
                    known_cost += cost(bytes.len());
                    let _ = known.try_push((account, bytes, source));
                }
                Rank::Stranger => {
                    shed += strangers.push(stranger_lane(bytes.len()), bytes, source);
                }
            }
        }
        let most = if inbox.is_full() { AT_ONCE } else { BATCH };
        // where long datagrams take long to receive, answers may take half of that time
        let most_cost = cost_of(most).max(received / 2);
        let is_cheap = known.len() <= most && known_cost <= most_cost;
        if established.is_empty() && is_cheap {
            let known = known.into_iter().map(|(_, bytes, source)| (bytes, source));
            answerer.answer(first.into_iter().chain(known));
        } else {
            if !first.is_empty() {
                answerer.answer(first.into_iter());
            }
            for (account, bytes, source) in known {
                shed += established.push(account, bytes, source);
            }
            answerer.answer_waiting(&mut established, most, most_cost);
        }
        (0..shed).for_each(|_| edge.totals.count_shed());
        takes += 1;
        read += received;
        if !inbox.is_full() || takes >= MOST_TAKES || read >= MOST_BYTES {
            (takes, read) = (0, 0);
            answerer.answer_waiting(&mut strangers, AT_ONCE, cost_of(AT_ONCE));
        }
    }
    // answers the received datagrams, but receives no more: they might never end
    for queue in [&mut established, &mut strangers] {
        while !queue.is_empty() {
            answerer.answer_waiting(queue, BATCH, cost_of(BATCH));
        }
    }
}

/// The rank of a flow under overload.
enum Rank {
    /// A trusted proxy, a next hop, or a peer at a listener for next hops. The callers behind it have its
    /// address, and it sheds their floods itself.
    Trusted,
    /// A call from the flow was accepted within the hour, by an account whose SID ends so.
    Established(u16),
    Stranger,
}

fn rank(edge: &Edge, accepted: &Accepted, source: SocketAddr, local: Local, now: Instant) -> Rank {
    let is_hop = || {
        let leg = Leg::hop(Transport::Udp, source);
        edge.forwarding().is_some_and(|forwarding| forwarding.hops().is_hop(&leg))
    };
    let is_inside = edge.naming().is_inside(local.listener);
    if is_inside || edge.trusted().trusts(source.ip()) || is_hop() {
        return Rank::Trusted;
    }
    accepted.account_of(source, now).map_or(Rank::Stranger, Rank::Established)
}

/// Answers the datagrams of one socket.
struct Answerer<'e> {
    edge: &'e Edge,
    socket: &'e UdpSocket,
    local: Local,
    scratch: BatchScratch,
    outbox: Outbox,
    accepted: Accepted,
}

impl<'e> Answerer<'e> {
    fn new(edge: &'e Edge, socket: &'e UdpSocket, local: Local, ring: usize) -> Self {
        let accepted = Accepted::new(Instant::now());
        Self {
            edge,
            socket,
            local,
            scratch: BatchScratch::of_ring(ring),
            outbox: Outbox::new(),
            accepted,
        }
    }

    fn answer<'a>(&mut self, datagrams: impl Iterator<Item = (&'a [u8], SocketAddr)>) {
        let now = Instant::now();
        let peer = |source| Peer { source, local: self.local, transport: Transport::Udp };
        let messages = datagrams.map(|(bytes, source)| (bytes, peer(source)));
        self.edge.answer_batch(messages, now, &mut self.scratch);
        let (edge, accepted, local) = (self.edge, &self.accepted, self.local);
        let is_known = |source| !matches!(rank(edge, accepted, source, local, now), Rank::Stranger);
        let unsent = || self.edge.totals.count_unsent();
        self.outbox.send(self.socket, &self.scratch, is_known, unsent);
        for (source, account) in self.scratch.accepted() {
            self.accepted.remember(source, account, now);
        }
        edge.observers.hand_over(self.scratch.records());
    }

    /// Answers the next datagrams of a queue, see [`FairQueue::take`].
    fn answer_waiting(&mut self, queue: &mut FairQueue, most: usize, most_cost: usize) {
        let taken = queue.take(most, most_cost);
        if !taken.is_empty() {
            self.answer(taken.iter().map(|(bytes, source)| (&**bytes, *source)));
        }
    }
}
