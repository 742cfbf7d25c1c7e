//! The addresses and the transport of a message.

use std::fmt;
use std::net::SocketAddr;

use sip_authz::message::Message;
use sip_authz::{Invite, InviteError, Transport};
use sip_authz_proxy::{Leg, Way};

/// The source of a message, and the local socket that received it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The source address. The answer always goes there, over UDP perhaps to another port.
    pub(crate) source: SocketAddr,
    /// The local socket and its listener.
    pub(crate) local: Local,
    pub(crate) transport: Transport,
}

impl Peer {
    /// The way back to the source of the message.
    pub(crate) fn leg(&self) -> Leg {
        Leg { transport: self.transport, address: self.source, way: self.local.way }
    }
}

/// The caller that decisions and logs are about: the [`Peer`], or a caller behind a trusted proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) source: Source,
    /// The transport of the peer.
    pub(crate) transport: Transport,
}

/// The source of a caller. `Display` is for logs: the address and port, or `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Port 0 stands for an unknown port.
    Known(SocketAddr),
    /// A trusted proxy does not name it, or not for certain.
    Unknown,
    /// A Via has two `received` or two `rport`, so its INVITE is refused.
    Repeated,
}

impl Caller {
    /// The caller that is the peer itself.
    pub(crate) fn of(peer: Peer) -> Self {
        Self { source: Source::Known(peer.source), transport: peer.transport }
    }

    /// Takes the parts of a request that `peer` sent.
    pub(crate) fn request<'a>(
        self,
        message: &Message<'a>,
        peer: Peer,
    ) -> Result<Invite<'a>, InviteError> {
        match self.source {
            Source::Known(source) => Invite::from_request(message, source, self.transport),
            Source::Unknown | Source::Repeated => {
                let invite = Invite::from_request(message, peer.source, self.transport);
                invite.map(Invite::with_unknown_source)
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(source) => {
                SocketAddr::new(source.ip().to_canonical(), source.port()).fmt(f)
            }
            Self::Unknown | Self::Repeated => f.write_str("unknown"),
        }
    }
}

/// The local address of a message, its listener, and the way on which it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    /// The address of the socket, which can be a wildcard address.
    pub(crate) address: SocketAddr,
    /// The number of the listener.
    pub(crate) listener: usize,
    way: Way,
}

impl Local {
    /// The local address of a datagram at the listener of this number.
    pub(crate) fn at(address: SocketAddr, listener: usize) -> Self {
        // there are far fewer listeners than numbers
        let way = Way::Listener(u16::try_from(listener).unwrap_or(u16::MAX));
        Self { address, listener, way }
    }

    /// The local address of a message on a stream.
    pub(crate) fn on(address: SocketAddr, listener: usize, way: Way) -> Self {
        Self { address, listener, way }
    }
}

#[cfg(test)]
impl From<SocketAddr> for Local {
    fn from(address: SocketAddr) -> Self {
        Self::at(address, 0)
    }
}

#[cfg(test)]
impl std::str::FromStr for Local {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse::<SocketAddr>()?.into())
    }
}
