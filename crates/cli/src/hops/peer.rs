//! A next hop at one address: whether it answers, and the queue of its connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sip_authz::Transport;
use sip_authz::uri::Host;
use sip_authz_proxy::Leg;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::system::output::warn;

/// The maximum number of messages that wait for a connection.
pub(super) const MAX_MESSAGES: usize = 256;
/// The maximum number of bytes that wait for a connection.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The receiver of messages on connections that this side opened.
pub(crate) trait Receive: Send + Sync {
    /// Handles a message and returns the bytes to write back on its connection; empty for none. Must not
    /// wait.
    fn message(&self, bytes: &[u8], from: Leg) -> Vec<u8>;
}

/// Bytes for the connection to a hop.
#[derive(Debug)]
pub(super) enum Item {
    Message(Vec<u8>),
    Probe(Vec<u8>, Waiter),
}

/// The prober that waits for the response to an OPTIONS.
#[derive(Debug)]
pub(super) struct Waiter {
    /// The Call-ID of the request.
    pub(super) call_id: u128,
    pub(super) result: oneshot::Sender<ProbeResult>,
}

/// The result of a probe that ended in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// The status of the final response.
    Status(u16),
    /// The request could not be sent, for this reason.
    Unreachable(String),
    /// The connection ended before a response, for this reason.
    Broken(String),
}

impl Item {
    pub(super) fn bytes(&self) -> &[u8] {
        let (Self::Message(bytes) | Self::Probe(bytes, _)) = self;
        bytes
    }
}

/// A next hop at one address.
pub(crate) struct Peer {
    pub(super) leg: Leg,
    /// The host as configured: the name for TLS and for logs.
    pub(super) host: Host,
    /// The target of the SRV record that led here, for logs.
    target: Mutex<Option<Host>>,
    /// Whether probes decide if it is up. Otherwise it always is.
    probed: bool,
    state: AtomicU8,
    details: Mutex<Details>,
    queue: Sender<Item>,
    /// The number of bytes in the queue.
    queued: AtomicUsize,
    dropped: AtomicU64,
    /// Whether its name has other addresses now: dialogs still use it, new calls do not.
    former: AtomicBool,
    /// Wakes the prober.
    pub(super) wake: Notify,
    /// Makes the connection end.
    pub(super) reset: Notify,
}

/// The facts about the last change of the state and the last probe.
#[derive(Clone, Debug)]
pub(super) struct Details {
    pub(super) since: SystemTime,
    pub(super) status: Option<u16>,
    pub(super) reason: Option<String>,
    /// The time of the last line about a malformed message.
    warned: Option<Instant>,
}

/// The minimum time between two lines about malformed messages of a hop.
const QUIET: Duration = Duration::from_secs(60);

/// Not probed yet; counts as up, so that the first calls after the start pass.
const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

impl Peer {
    /// A peer that counts as up, and the receiving end of its queue.
    pub(super) fn new(leg: Leg, host: Host, probed: bool) -> (Self, Receiver<Item>) {
        let (queue, items) = channel(MAX_MESSAGES);
        let details =
            Details { since: SystemTime::now(), status: None, reason: None, warned: None };
        let peer = Self {
            leg,
            host,
            target: Mutex::default(),
            probed,
            state: AtomicU8::new(UNKNOWN),
            details: Mutex::new(details),
            queue,
            queued: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            former: AtomicBool::new(false),
            wake: Notify::new(),
            reset: Notify::new(),
        };
        (peer, items)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.leg.address
    }

    /// Notes the target of the SRV record that leads here, if one does.
    pub(super) fn set_target(&self, target: Option<&Host>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target.cloned();
    }

    pub(super) fn is_stream(&self) -> bool {
        self.leg.transport != Transport::Udp
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) != DOWN
    }

    pub(super) fn details(&self) -> Details {
        self.locked().clone()
    }

    /// Whether it is an address that its name no longer has.
    pub(super) fn is_former(&self) -> bool {
        self.former.load(Ordering::Relaxed)
    }

    /// Notes whether its name still has the address.
    pub(super) fn set_former(&self, former: bool) {
        let was = self.former.swap(former, Ordering::Relaxed);
        if was && !former {
            self.wake.notify_one();
        }
    }

    /// Queues bytes for the connection. Never waits: drops and counts them if the queue is full.
    pub(super) fn send(&self, item: Item) {
        let length = item.bytes().len();
        let before = self.queued.fetch_add(length, Ordering::Relaxed);
        if before > 0 && before.saturating_add(length) > MAX_BYTES {
            self.release(length);
            return self.count_dropped(&item);
        }
        if let Err(error) = self.queue.try_send(item) {
            self.release(length);
            self.count_dropped(&error.into_inner());
        }
    }

    /// Notes that bytes have left the queue.
    pub(super) fn release(&self, length: usize) {
        self.queued.fetch_sub(length, Ordering::Relaxed);
    }

    /// Counts a message that was not sent. Probes are no messages.
    pub(super) fn count_dropped(&self, item: &Item) {
        if matches!(item, Item::Message(_)) {
            self.count_lost(1);
        }
    }

    /// Counts messages that were not sent.
    pub(super) fn count_lost(&self, messages: u64) {
        self.dropped.fetch_add(messages, Ordering::Relaxed);
    }

    /// The number of messages that were not sent.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes a response to a probe after which the hop is up.
    pub(super) fn set_up(&self, status: u16) {
        let mut details = self.locked();
        details.status = Some(status);
        details.reason = None;
        if self.state.swap(UP, Ordering::Relaxed) == DOWN {
            details.since = SystemTime::now();
            warn(format_args!("{self} is up: it answered {status} to OPTIONS"));
        }
    }

    /// Notes that the hop takes no calls. Without probes it stays up, and the reason is logged.
    pub(super) fn set_down(&self, reason: &str, status: Option<u16>) {
        let mut details = self.locked();
        details.status = status.or(details.status);
        let is_new = details.reason.as_deref() != Some(reason);
        details.reason = Some(reason.to_owned());
        if !self.probed {
            if is_new {
                warn(format_args!("{self}: {reason}"));
            }
            return;
        }
        if self.state.swap(DOWN, Ordering::Relaxed) != DOWN {
            details.since = SystemTime::now();
            if !self.is_former() {
                warn(format_args!("{self} is down: {reason}"));
            }
        }
    }

    /// Logs that a message ended the connection, at most once a minute.
    pub(super) fn warn_malformed(&self, why: &dyn std::fmt::Display) {
        let mut details = self.locked();
        let now = Instant::now();
        if details.warned.is_none_or(|last| now.duration_since(last) >= QUIET) {
            details.warned = Some(now);
            warn(format_args!("{self} sent a malformed message ({why}): its connection is closed"));
        }
    }

    /// Forgets the reason of a failure once a connection is open. Without probes nothing else does.
    pub(super) fn note_connected(&self) {
        if !self.probed {
            self.locked().reason = None;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hop as in logs: `hop pbx.example.net (tcp 192.0.2.1:5060)`, or for the target of an SRV record
/// `hop pbx.example.net (tcp 192.0.2.1:5060, target a.example.net)`.
impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Leg { transport, address, .. } = self.leg;
        write!(f, "hop {} ({} {address}", self.host.as_str(), transport.as_str())?;
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        match &*target {
            Some(target) => write!(f, ", target {})", target.as_str()),
            None => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> (Peer, Receiver<Item>) {
        let address = SocketAddr::from(([127, 0, 0, 1], 5060));
        Peer::new(Leg::hop(Transport::Tcp, address), Host::parse("pbx.example").unwrap(), true)
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (peer, mut items) = peer();
        for _ in 0..MAX_MESSAGES + 3 {
            peer.send(Item::Message(vec![0; 4]));
        }
        assert_eq!((peer.dropped(), items.len()), (3, MAX_MESSAGES));
        assert_eq!(peer.queued.load(Ordering::Relaxed), 4 * MAX_MESSAGES);
        while let Ok(item) = items.try_recv() {
            peer.release(item.bytes().len());
        }
        // a message of any length passes an empty queue, and only then
        for (dropped, length) in [(3, 2 * MAX_BYTES), (4, 1)] {
            peer.send(Item::Message(vec![0; length]));
            assert_eq!(peer.dropped(), dropped);
        }
        // a probe is no message
        let (result, _) = oneshot::channel();
        peer.send(Item::Probe(vec![0], Waiter { call_id: 0, result }));
        assert_eq!(peer.dropped(), 4);
    }

    #[test]
    fn a_hop_that_was_never_probed_is_up() {
        let (peer, _items) = peer();
        assert!(peer.is_up());
        peer.set_down("no answer", None);
        assert!(!peer.is_up());
        assert_eq!(peer.details().reason.as_deref(), Some("no answer"));
        peer.set_up(404);
        assert!(peer.is_up());
        let Details { status, reason, .. } = peer.details();
        assert_eq!((status, reason), (Some(404), None));
    }

    #[test]
    fn a_hop_without_probes_stays_up() {
        let leg = Leg::hop(Transport::Tcp, SocketAddr::from(([127, 0, 0, 1], 5060)));
        let (peer, _items) = Peer::new(leg, Host::parse("pbx.example").unwrap(), false);
        peer.set_down("connection refused", None);
        assert!(peer.is_up());
        assert_eq!(peer.details().reason.as_deref(), Some("connection refused"));
        peer.note_connected();
        assert_eq!(peer.details().reason, None);
    }
}
