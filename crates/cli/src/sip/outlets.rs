//! The ways out: the sockets and connections on which messages are forwarded.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sip_authz::Transport;
use sip_authz_proxy::{Leg, Way};
use socket2::SockRef;
use tokio::sync::mpsc;

use crate::hops::Hops;
use crate::sip::peer::Local;

/// The number of messages that wait for a connection. A further one is dropped: its peer does not read.
const QUEUE: usize = 64;
/// The number of parts of the table of connections, each with a lock of its own.
const SHARDS: usize = 16;

/// Sends messages that are no answers to the message in hand.
#[derive(Default)]
pub(crate) struct Outlets {
    /// The UDP socket of each listener by its number; none for listeners without UDP.
    sockets: Vec<Option<UdpSocket>>,
    connections: Arc<Connections>,
    hops: Option<Arc<Hops>>,
}

impl Outlets {
    pub(crate) fn new(sockets: Vec<Option<UdpSocket>>, hops: Option<Arc<Hops>>) -> Self {
        Self { sockets, connections: Arc::default(), hops }
    }

    /// The connections that peers opened.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Sends a message to a leg. A datagram to a next hop leaves from the socket of `listener`.
    ///
    /// Never waits. Returns false if the message cannot be sent.
    pub(crate) fn send(&self, leg: &Leg, listener: usize, bytes: &[u8]) -> bool {
        match (leg.way, leg.transport) {
            (Way::Listener(number), _) => {
                self.send_datagram(usize::from(number), leg.address, bytes)
            }
            (Way::Hop, Transport::Udp) => self.send_datagram(listener, leg.address, bytes),
            (Way::Connection(id), _) => self.connections.send(id, bytes),
            // the hops count what they drop
            (Way::Hop, _) => {
                self.hops.as_ref().inspect(|hops| hops.send(leg, bytes.to_vec())).is_some()
            }
        }
    }

    fn send_datagram(&self, listener: usize, to: SocketAddr, bytes: &[u8]) -> bool {
        let Some(socket) = self.sockets.get(listener).and_then(Option::as_ref) else {
            return false;
        };
        // a full send buffer must not hold up the thread
        #[cfg(target_os = "linux")]
        let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT.bits();
        #[cfg(not(target_os = "linux"))]
        let flags = 0;
        SockRef::from(socket).send_to_with_flags(bytes, &to.into(), flags).is_ok()
    }
}

/// The connections of a part of the table, by their ids.
type Shard = HashMap<u64, Open>;

/// An open connection: its local address, and the queue of messages for it.
struct Open {
    local: Local,
    sender: mpsc::Sender<Vec<u8>>,
}

/// The connections that peers opened, by their ids.
#[derive(Default)]
pub(crate) struct Connections {
    shards: [Mutex<Shard>; SHARDS],
}

/// A registered connection. It is unregistered on drop.
pub(crate) struct Registered {
    connections: Arc<Connections>,
    id: u64,
    /// The local address of the connection, with the way to it.
    pub(crate) local: Local,
    /// The messages to send on the connection.
    pub(crate) outgoing: mpsc::Receiver<Vec<u8>>,
}

impl Connections {
    /// Registers a connection of a listener under a random id.
    pub(crate) fn register(
        self: &Arc<Self>,
        address: SocketAddr,
        listener: usize,
    ) -> Result<Registered, getrandom::Error> {
        // with 64 random bits no id comes twice in the life of a process, or after it
        let id = getrandom::u64()?;
        let local = Local::on(address, listener, Way::Connection(id));
        let (sender, outgoing) = mpsc::channel(QUEUE);
        self.shard(id).insert(id, Open { local, sender });
        Ok(Registered { connections: Arc::clone(self), id, local, outgoing })
    }

    /// The local address of a connection that is still open.
    pub(crate) fn local(&self, id: u64) -> Option<Local> {
        self.shard(id).get(&id).map(|open| open.local)
    }

    fn send(&self, id: u64, bytes: &[u8]) -> bool {
        let sender = self.shard(id).get(&id).map(|open| open.sender.clone());
        sender.is_some_and(|sender| sender.try_send(bytes.to_vec()).is_ok())
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, Shard> {
        let [first, rest @ ..] = &self.shards;
        let at = usize::try_from(id % SHARDS as u64).unwrap_or(0);
        let shard = at.checked_sub(1).and_then(|at| rest.get(at)).unwrap_or(first);
        // a thread that panicked did so outside a change of the map
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.shard(self.id).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn leg(transport: Transport, address: SocketAddr, way: Way) -> Leg {
        Leg { transport, address, way }
    }

    #[test]
    fn a_connection_gets_its_messages_until_it_ends() {
        let outlets = Outlets::default();
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
        let mut one = outlets.connections().register(here, 0).unwrap();
        let other = outlets.connections().register(here, 0).unwrap();
        let to = leg(Transport::Tcp, here, Way::Connection(one.id));
        assert!(outlets.send(&to, 0, b"one") && outlets.send(&to, 0, b"two"));
        assert_eq!(one.outgoing.try_recv().unwrap(), b"one");
        assert_eq!(one.outgoing.try_recv().unwrap(), b"two");
        for _ in 0..QUEUE {
            assert!(outlets.send(&to, 0, b"more"));
        }
        assert!(!outlets.send(&to, 0, b"too many"));
        drop(one);
        assert!(!outlets.send(&to, 0, b"gone"));
        assert!(outlets.send(&leg(Transport::Tls, here, Way::Connection(other.id)), 0, b"other"));
    }

    #[test]
    fn a_datagram_leaves_from_the_socket_of_its_listener() {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (listener, peer) = (bind(), bind());
        let (from, to) = (listener.local_addr().unwrap(), peer.local_addr().unwrap());
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let outlets = Outlets::new(vec![None, Some(listener)], None);
        for (way, listener) in [(Way::Listener(1), 0), (Way::Hop, 1)] {
            assert!(outlets.send(&leg(Transport::Udp, to, way), listener, b"hello"));
            let mut buffer = [0; 16];
            let (len, source) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], source), (&b"hello"[..], from));
        }
        for (way, listener) in [(Way::Listener(0), 1), (Way::Listener(9), 1), (Way::Hop, 0)] {
            assert!(!outlets.send(&leg(Transport::Udp, to, way), listener, b"hello"), "{way:?}");
        }
    }
}
