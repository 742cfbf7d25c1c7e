//! The ways on which messages come and go.

use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use sip_authz::Transport;

/// A way to a peer: the transport, the address, and the socket or connection.
///
/// A message came on a leg, and answers to it go back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leg {
    /// The transport: UDP, TCP or TLS.
    pub transport: Transport,
    /// The address of the peer.
    pub address: SocketAddr,
    /// The socket or connection.
    pub way: Way,
}

/// The socket or connection of a [`Leg`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// The UDP socket of the listener with this number.
    Listener(u16),
    /// The connection with this id, which the peer opened. An id is random and is never used again.
    Connection(u64),
    /// A next hop of the configuration: over UDP from the socket for hops, over streams on a connection
    /// that this side opened.
    Hop,
}

impl Leg {
    /// The maximum length of [`encoded`](Self::encoded), in bytes.
    pub(crate) const MAX_LEN: usize = 1 + 8 + 1 + 16 + 2;

    /// The leg to a next hop.
    #[must_use]
    pub const fn hop(transport: Transport, address: SocketAddr) -> Self {
        Self { transport, address, way: Way::Hop }
    }

    /// Whether this is a leg to a next hop.
    #[must_use]
    pub fn is_hop(&self) -> bool {
        self.way == Way::Hop
    }

    /// The leg in a form that [`decode`](Self::decode) reads. IPv6 scopes are left out.
    #[must_use]
    pub(crate) fn encoded(&self) -> ArrayVec<u8, { Self::MAX_LEN }> {
        let transport = match self.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
            // `decode` refuses it, so nothing is ever sent over another transport
            _ => 3,
        };
        let way = match self.way {
            Way::Listener(_) => 0,
            Way::Connection(_) => 1,
            Way::Hop => 2,
        };
        let ip = self.address.ip().to_canonical();
        let kind = transport | way << 2 | u8::from(ip.is_ipv6()) << 4;
        let mut out = ArrayVec::new();
        // a leg has at most MAX_LEN bytes
        let mut put = |bytes: &[u8]| {
            let _ = out.try_extend_from_slice(bytes);
        };
        put(&[kind]);
        match self.way {
            Way::Listener(number) => put(&number.to_be_bytes()),
            Way::Connection(id) => put(&id.to_be_bytes()),
            Way::Hop => {}
        }
        match ip {
            IpAddr::V4(ip) => put(&ip.octets()),
            IpAddr::V6(ip) => put(&ip.octets()),
        }
        put(&self.address.port().to_be_bytes());
        out
    }

    /// Takes a leg from the start of `bytes`. `None` if they do not begin with one.
    #[must_use]
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let [kind] = take(bytes)?;
        let transport = match kind & 3 {
            0 => Transport::Udp,
            1 => Transport::Tcp,
            2 => Transport::Tls,
            _ => return None,
        };
        let way = match kind >> 2 & 3 {
            0 => Way::Listener(u16::from_be_bytes(take(bytes)?)),
            1 => Way::Connection(u64::from_be_bytes(take(bytes)?)),
            2 => Way::Hop,
            _ => return None,
        };
        let ip = match kind >> 4 {
            0 => IpAddr::from(take::<4>(bytes)?),
            1 => IpAddr::from(take::<16>(bytes)?),
            _ => return None,
        };
        let port = u16::from_be_bytes(take(bytes)?);
        Some(Self { transport, address: SocketAddr::new(ip, port), way })
    }
}

/// Takes the first bytes.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_leg_is_read_as_it_was_written(
            transport in prop::sample::select(vec![Transport::Udp, Transport::Tcp, Transport::Tls]),
            v6: bool, ip: u128, port: u16, way in 0..3, number: u64,
        ) {
            let low = u32::try_from(ip >> 96).unwrap();
            let ip = if v6 { IpAddr::from(ip.to_be_bytes()) } else { IpAddr::from(low.to_be_bytes()) };
            let way = match way {
                0 => Way::Listener(u16::try_from(number >> 48).unwrap()),
                1 => Way::Connection(number),
                _ => Way::Hop,
            };
            let address = SocketAddr::new(ip.to_canonical(), port);
            let leg = Leg { transport, address, way };
            let mut bytes = leg.encoded().to_vec();
            prop_assert!(bytes.len() <= Leg::MAX_LEN);
            for end in 0..bytes.len() {
                prop_assert_eq!(Leg::decode(&mut &bytes[..end]), None);
            }
            bytes.push(7);
            let mut rest = &*bytes;
            prop_assert_eq!(Leg::decode(&mut rest), Some(leg));
            prop_assert_eq!(rest, &[7]);
        }
    }

    #[test]
    fn a_leg_of_a_transport_that_is_not_forwarded_is_never_read() {
        for transport in Transport::ALL {
            let leg = Leg::hop(*transport, ([192, 0, 2, 1], 5060).into());
            let read = Leg::decode(&mut leg.encoded().as_slice());
            let is_forwarded =
                matches!(transport, Transport::Udp | Transport::Tcp | Transport::Tls);
            assert_eq!(read, is_forwarded.then_some(leg), "{transport}");
        }
    }
}
