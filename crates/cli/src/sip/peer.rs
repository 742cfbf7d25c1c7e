//! The addresses and the transport of a message.

use std::net::SocketAddr;

use sip_authz::Transport;

/// The source of a message, and the local socket that received it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The source address. The answer always goes there, over UDP perhaps to another port.
    pub(crate) source: SocketAddr,
    /// The address of the local socket, which can be a wildcard address.
    pub(crate) local: SocketAddr,
    pub(crate) transport: Transport,
}
