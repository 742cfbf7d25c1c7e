//! The other end of a message: the address that sent it and the socket that took it.

use std::net::SocketAddr;

use sip_authz::Transport;

/// Where a message came from and where it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Where it came from; the answer goes there and nowhere else.
    pub(crate) source: SocketAddr,
    /// Where it came in; a wildcard address for a socket that is bound to one.
    pub(crate) local: SocketAddr,
    pub(crate) transport: Transport,
}
