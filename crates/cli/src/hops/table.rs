//! The configured hops with their addresses, as one immutable table.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sip_authz::Transport;
use sip_authz::model::{Forward, ForwardHop, HopTransport};
use sip_authz::uri::Host;
use sip_authz_proxy::{Candidate, Leg, choose};
use tokio::task::AbortHandle;

use crate::hops::names::Addresses;
use crate::hops::peer::Peer;
use crate::hops::services::{Route, Wanted};

/// The maximum number of addresses that calls to a place go to.
const MAX_PEERS: usize = 64;
/// The maximum number of further addresses of a place, for dialogs.
const MAX_FORMER_PEERS: usize = 192;

/// A hop of the configuration without its share of the calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
    /// None: that of records, or of the caller.
    pub(super) transport: Option<HopTransport>,
    /// Whether NAPTR records of the host count (RFC 3263 §4.1).
    naptr: bool,
}

impl Place {
    pub(super) fn of(hop: &ForwardHop) -> Self {
        let (port, transport) = (hop.port(), hop.transport());
        let naptr = port.is_none() && !hop.names_transport();
        Self { host: hop.host().clone(), port, transport, naptr }
    }

    /// Whether NAPTR and SRV records of the host count: it is a name without a port (RFC 3263 §4.2).
    pub(super) fn has_services(&self) -> bool {
        self.port.is_none() && literal(&self.host).is_none()
    }

    /// The services to look up. `tls`: whether NAPTR records can choose TLS.
    pub(super) fn wanted(&self, tls: bool) -> Wanted {
        let transport = self.transport.map(transport_of);
        Wanted { host: self.host.clone(), transport, naptr: self.naptr, tls }
    }

    /// The transports if no record chooses one.
    pub(super) fn transports(&self) -> &'static [Transport] {
        match self.transport {
            None => &[Transport::Udp, Transport::Tcp],
            Some(HopTransport::Udp) => &[Transport::Udp],
            Some(HopTransport::Tcp) => &[Transport::Tcp],
            Some(_) => &[Transport::Tls],
        }
    }

    /// The port if no record has one.
    pub(super) fn port(&self, transport: Transport) -> u16 {
        let named = if transport == Transport::Tls { HopTransport::Tls } else { HopTransport::Udp };
        self.port.unwrap_or(named.default_port())
    }

    /// The name for the choice, the same on all machines of a fleet.
    fn id(&self, over_stream: bool) -> Box<[u8]> {
        let default = if over_stream { Transport::Tcp } else { Transport::Udp };
        let transport = self.transport.map_or(default, transport_of);
        id(self.host.as_str(), self.port(transport), transport)
    }
}

/// The address, if a host is one.
pub(super) fn literal(host: &Host) -> Option<IpAddr> {
    let text = host.as_str().trim_matches(['[', ']']);
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn id(host: &str, port: u16, transport: Transport) -> Box<[u8]> {
    format!("{host}:{port};{}", transport.as_str()).into_bytes().into()
}

fn transport_of(transport: HopTransport) -> Transport {
    match transport {
        HopTransport::Udp => Transport::Udp,
        HopTransport::Tcp => Transport::Tcp,
        _ => Transport::Tls,
    }
}

/// The callers whose calls take a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callers {
    All,
    OverUdp,
    OverStream,
}

impl Callers {
    /// Those of a way over this transport. `follows_caller`: streams are for callers over streams only.
    fn of(place: &Place, transport: Transport, follows_caller: bool) -> Self {
        match transport {
            _ if place.transport.is_some() => Self::All,
            Transport::Udp => Self::OverUdp,
            _ if follows_caller => Self::OverStream,
            _ => Self::All,
        }
    }
}

/// A way to a place: a transport, a port and a name with addresses.
pub(super) struct Way<'a> {
    pub(super) callers: Callers,
    /// The place in the order of preference.
    pub(super) rank: u16,
    pub(super) transport: Transport,
    /// Priority and weight of the SRV record (RFC 2782).
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// The target of the SRV record; none if it is the host itself.
    pub(super) target: Option<&'a Host>,
    pub(super) addresses: &'a Addresses,
    /// Whether new calls take it.
    pub(super) is_current: bool,
}

impl<'a> Way<'a> {
    /// The ways to the addresses of the host itself.
    pub(super) fn to_host(
        place: &Place,
        transports: &[Transport],
        follows_caller: bool,
        addresses: &'a Addresses,
    ) -> Vec<Self> {
        let follows_caller = follows_caller && transports.contains(&Transport::Udp);
        let way = |(rank, transport)| Way {
            callers: Callers::of(place, transport, follows_caller),
            rank,
            transport,
            priority: 0,
            weight: 1,
            port: place.port(transport),
            target: None,
            addresses,
            is_current: true,
        };
        (0..).zip(transports.iter().copied()).map(way).collect()
    }

    /// The way to the target of an SRV record.
    pub(super) fn to_target(
        place: &Place,
        route: &'a Route,
        addresses: &'a Addresses,
        is_current: bool,
    ) -> Self {
        let Route { rank, transport, priority, weight, port, ref target } = *route;
        Self {
            callers: Callers::of(place, transport, false),
            rank,
            transport,
            priority,
            weight,
            port,
            target: Some(target),
            addresses,
            is_current,
        }
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

/// A place and the peers at the addresses that it has now.
pub(super) struct Target {
    /// Its name for the choice, for callers over UDP and over streams.
    ids: [Box<[u8]>; 2],
    /// Those of a lower rank come first.
    groups: Vec<Group>,
}

/// The peers of one way.
struct Group {
    callers: Callers,
    rank: u16,
    transport: Transport,
    id: Box<[u8]>,
    priority: u16,
    weight: u16,
    /// Each with its name for the choice.
    peers: Vec<(Box<[u8]>, Arc<Peer>)>,
}

impl Group {
    fn is_up(&self) -> bool {
        self.peers.iter().any(|(_, peer)| peer.is_up())
    }

    fn takes(&self, over_stream: bool, only_tls: bool) -> bool {
        let is_right = match self.callers {
            Callers::All => true,
            Callers::OverUdp => !over_stream,
            Callers::OverStream => over_stream,
        };
        is_right && (!only_tls || self.transport == Transport::Tls)
    }
}

impl Target {
    /// Its name for the choice.
    pub(super) fn id(&self, over_stream: bool) -> &[u8] {
        let [by_udp, by_stream] = &self.ids;
        if over_stream { by_stream } else { by_udp }
    }

    /// The lowest rank that is up for a call.
    pub(super) fn rank(&self, over_stream: bool, only_tls: bool) -> Option<u16> {
        let mut groups = self.groups.iter();
        let is_up = |group: &&Group| group.takes(over_stream, only_tls) && group.is_up();
        groups.find(is_up).map(|group| group.rank)
    }

    /// The peer for a call among those of this rank: by priority and weight of the SRV records, then one
    /// of the addresses, which share the weight of their name.
    pub(super) fn choose(
        &self,
        rank: u16,
        over_stream: bool,
        only_tls: bool,
        call_id: &[u8],
    ) -> Option<Leg> {
        let of_rank = |group: &&Group| group.rank == rank && group.takes(over_stream, only_tls);
        let groups = self.groups.iter().filter(of_rank).map(|group| {
            let Group { id, priority, weight, .. } = group;
            let (priority, weight) = (*priority, *weight);
            (Candidate { id, priority, weight, is_up: group.is_up() }, group)
        });
        let peers = choose(call_id, groups)?.peers.iter().map(|(id, peer)| {
            (Candidate { id, priority: 0, weight: 1, is_up: peer.is_up() }, peer.leg)
        });
        choose(call_id, peers)
    }

    /// All peers, each once.
    pub(super) fn peers(&self) -> Vec<&Arc<Peer>> {
        let mut seen = HashSet::new();
        let all = self.groups.iter().flat_map(|group| &group.peers).map(|(_, peer)| peer);
        all.filter(|peer| seen.insert(Arc::as_ptr(peer))).collect()
    }
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
        ways: impl Fn(&'a Place) -> Vec<Way<'a>>,
        start: impl Fn(Leg, &Host) -> Running,
    ) -> Self {
        let mut table = Self::default();
        let mut current = HashSet::new();
        for place in places {
            let mut groups = Vec::new();
            let [mut new, mut former] = [MAX_PEERS, MAX_FORMER_PEERS];
            for way in ways(place) {
                let mut peers = Vec::new();
                for (ip, is_current) in way.addresses.iter() {
                    let address = SocketAddr::new(ip, way.port);
                    let is_current = is_current && way.is_current;
                    let left = if is_current { &mut new } else { &mut former };
                    let Some(rest) = left.checked_sub(1) else { continue };
                    *left = rest;
                    let running = table.peer_or(place, way.transport, address, || {
                        let found = old.running(way.transport, address, &place.host);
                        let start = || start(Leg::hop(way.transport, address), &place.host);
                        found.cloned().unwrap_or_else(start)
                    });
                    if is_current {
                        if current.insert(Arc::as_ptr(&running)) && running.host == place.host {
                            running.set_target(way.target);
                        }
                        peers.push((ip.to_string().into_bytes().into(), running));
                    }
                }
                let Way { callers, rank, transport, priority, weight, port, target, .. } = way;
                if !peers.is_empty() {
                    let id = id(target.unwrap_or(&place.host).as_str(), port, transport);
                    groups.push(Group { callers, rank, transport, id, priority, weight, peers });
                }
            }
            groups.sort_by_key(|group| group.rank);
            let ids = [false, true].map(|over_stream| place.id(over_stream));
            table.targets.insert(place.clone(), Target { ids, groups });
        }
        for running in table.peers.values().flatten() {
            running.peer.set_former(!current.contains(&Arc::as_ptr(&running.peer)));
        }
        table
    }

    fn peer_or(
        &mut self,
        place: &Place,
        transport: Transport,
        address: SocketAddr,
        make: impl FnOnce() -> Running,
    ) -> Arc<Peer> {
        if let Some(running) = self.running(transport, address, &place.host) {
            return Arc::clone(&running.peer);
        }
        let running = make();
        let peer = Arc::clone(&running.peer);
        self.peers.entry((transport, address)).or_default().push(running);
        peer
    }

    fn running(&self, transport: Transport, address: SocketAddr, host: &Host) -> Option<&Running> {
        let mut all = self.peers.get(&(transport, address))?.iter();
        all.find(|running| transport != Transport::Tls || running.peer.host == *host)
    }

    pub(super) fn target(&self, place: &Place) -> Option<&Target> {
        self.targets.get(place)
    }

    /// A peer of these hops with the transport and IP address of a leg: one that is up if there is one,
    /// and the lowest port of several.
    pub(super) fn peer_behind(&self, forward: &Forward, leg: &Leg) -> Option<Leg> {
        let ip = leg.address.ip().to_canonical();
        let is_same = |peer: &&Arc<Peer>| {
            peer.leg.transport == leg.transport && peer.leg.address.ip().to_canonical() == ip
        };
        let targets = forward.hops().iter().filter_map(|hop| self.target(&Place::of(hop)));
        let same = targets.flat_map(Target::peers).filter(is_same);
        same.min_by_key(|peer| (!peer.is_up(), peer.leg.address.port())).map(|peer| peer.leg)
    }

    /// The peers at the address of a leg, in the order of the configuration.
    pub(super) fn peers_at(&self, leg: &Leg) -> &[Running] {
        let address = SocketAddr::new(leg.address.ip().to_canonical(), leg.address.port());
        self.peers.get(&(leg.transport, address)).map_or(&[], |peers| peers)
    }
}
