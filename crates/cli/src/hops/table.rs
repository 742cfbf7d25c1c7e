//! The configured hops with their addresses, as one immutable table.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use sip_authz::Transport;
use sip_authz::model::{ForwardHop, HopTransport};
use sip_authz::uri::Host;
use sip_authz_proxy::Leg;
use tokio::task::AbortHandle;

use crate::hops::names::Addresses;
use crate::hops::peer::Peer;

/// A hop of the configuration over one transport.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) transport: Transport,
    pub(super) port: u16,
}

impl Place {
    /// The places of a hop: one for each transport on which calls may go there.
    pub(super) fn all(hop: &ForwardHop) -> impl Iterator<Item = Self> {
        let kinds = match hop.transport() {
            Some(transport) => [Some(transport), None],
            None => [Some(HopTransport::Udp), Some(HopTransport::Tcp)],
        };
        kinds.into_iter().flatten().map(|transport| Self::over(hop, transport))
    }

    /// The place of a hop for a call.
    pub(super) fn of(hop: &ForwardHop, over_stream: bool) -> Self {
        let default = if over_stream { HopTransport::Tcp } else { HopTransport::Udp };
        Self::over(hop, hop.transport().unwrap_or(default))
    }

    fn over(hop: &ForwardHop, transport: HopTransport) -> Self {
        Self {
            host: hop.host().clone(),
            port: hop.port().unwrap_or(transport.default_port()),
            transport: match transport {
                HopTransport::Udp => Transport::Udp,
                HopTransport::Tcp => Transport::Tcp,
                _ => Transport::Tls,
            },
        }
    }

    /// The name for the choice, the same on all machines of a fleet.
    fn id(&self) -> Box<[u8]> {
        let Self { host, port, transport } = self;
        format!("{}:{port};{}", host.as_str(), transport.as_str()).into_bytes().into()
    }
}

/// A peer and its task, which ends with the last table that has it.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) peer: Arc<Peer>,
    _task: Arc<Task>,
}

/// A task that is aborted on drop.
pub(super) struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    pub(super) fn new(peer: Arc<Peer>, task: AbortHandle) -> Self {
        Self { peer, _task: Arc::new(Task(task)) }
    }
}

/// A place and the peers at the addresses that its name has now.
pub(super) struct Target {
    pub(super) id: Box<[u8]>,
    /// Each with its name for the choice.
    pub(super) peers: Vec<(Box<[u8]>, Arc<Peer>)>,
}

/// The places and peers at one time.
#[derive(Default)]
pub(super) struct Table {
    targets: HashMap<Place, Target>,
    /// All peers at an address. Over TLS each name has its own.
    peers: HashMap<(Transport, SocketAddr), Vec<Running>>,
}

impl Table {
    /// Builds the table of these places. Peers of `old` stay; `start` starts others.
    pub(super) fn build<'a>(
        old: &Self,
        places: impl Iterator<Item = &'a Place>,
        addresses: impl Fn(&Host) -> Option<&'a Addresses>,
        start: impl Fn(Leg, &Host) -> Running,
    ) -> Self {
        let mut table = Self::default();
        let mut current = HashSet::new();
        for place in places {
            let mut peers = Vec::new();
            let known = addresses(&place.host).into_iter().flat_map(Addresses::iter);
            for (ip, is_current) in known {
                let address = SocketAddr::new(ip, place.port);
                let running = table.peer_or(place, address, || {
                    let found = old.running(place.transport, address, &place.host);
                    let start = || start(Leg::hop(place.transport, address), &place.host);
                    found.cloned().unwrap_or_else(start)
                });
                if is_current {
                    current.insert(Arc::as_ptr(&running));
                    peers.push((ip.to_string().into_bytes().into(), running));
                }
            }
            table.targets.insert(place.clone(), Target { id: place.id(), peers });
        }
        for running in table.peers.values().flatten() {
            running.peer.set_former(!current.contains(&Arc::as_ptr(&running.peer)));
        }
        table
    }

    fn peer_or(
        &mut self,
        place: &Place,
        address: SocketAddr,
        make: impl FnOnce() -> Running,
    ) -> Arc<Peer> {
        if let Some(running) = self.running(place.transport, address, &place.host) {
            return Arc::clone(&running.peer);
        }
        let running = make();
        let peer = Arc::clone(&running.peer);
        self.peers.entry((place.transport, address)).or_default().push(running);
        peer
    }

    fn running(&self, transport: Transport, address: SocketAddr, host: &Host) -> Option<&Running> {
        let mut all = self.peers.get(&(transport, address))?.iter();
        all.find(|running| transport != Transport::Tls || running.peer.host == *host)
    }

    pub(super) fn target(&self, place: &Place) -> Option<&Target> {
        self.targets.get(place)
    }

    /// The peers at the address of a leg, in the order of the configuration.
    pub(super) fn peers_at(&self, leg: &Leg) -> &[Running] {
        let address = SocketAddr::new(leg.address.ip().to_canonical(), leg.address.port());
        self.peers.get(&(leg.transport, address)).map_or(&[], |peers| peers)
    }
}
