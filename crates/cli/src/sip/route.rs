//! Finds the local address that the sender of a message can reach.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::sip::peer::Peer;

/// The time for which routes are cached; they rarely change.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// The maximum number of cached peers.
const MAX_PEERS: usize = 1_024;

/// A cache of the local address for packets to each peer.
#[derive(Default)]
pub(crate) struct Routes {
    known: HashMap<IpAddr, IpAddr>,
    since: Option<Instant>,
}

impl Routes {
    /// The address that the sender of a message can reach.
    pub(crate) fn local_address(&mut self, peer: Peer) -> SocketAddr {
        let mut local = peer.local.address;
        if local.ip().is_unspecified()
            && let Some(ip) = self.towards(peer.source)
        {
            local.set_ip(ip);
        }
        local.set_ip(local.ip().to_canonical());
        local
    }

    fn towards(&mut self, peer: SocketAddr) -> Option<IpAddr> {
        let now = Instant::now();
        let is_good = self.since.is_some_and(|since| now.duration_since(since) < GOOD_FOR);
        if !is_good || self.known.len() >= MAX_PEERS {
            self.known.clear();
            self.since = Some(now);
        }
        if let Some(known) = self.known.get(&peer.ip()) {
            return Some(*known);
        }
        let found = address_towards(peer)?;
        self.known.insert(peer.ip(), found);
        Some(found)
    }
}

/// The local address for packets to `peer`, from the routing table. Sends no packet.
fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use sip_authz::Transport;

    use super::*;

    #[test]
    fn a_wildcard_address_becomes_a_reachable_one() {
        let mut routes = Routes::default();
        for (source, local, expected) in [
            ("192.0.2.1:9", "192.0.2.2:5060", "192.0.2.2:5060"),
            ("127.0.0.1:9", "0.0.0.0:5060", "127.0.0.1:5060"),
            ("127.0.0.1:10", "0.0.0.0:5061", "127.0.0.1:5061"),
            ("[::ffff:127.0.0.1]:9", "[::]:5060", "127.0.0.1:5060"),
            ("[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:5060", "127.0.0.1:5060"),
        ] {
            let (source, local) = (source.parse().unwrap(), local.parse().unwrap());
            let peer = Peer { source, local, transport: Transport::Udp };
            assert_eq!(routes.local_address(peer).to_string(), expected, "{peer:?}");
        }
        assert_eq!(routes.known.len(), 2);
    }
}
