//! The SIP server: sockets, framing, and the answer to each message.

pub(crate) mod body;
mod challenges;
pub(crate) mod edge;
pub(crate) mod forward;
pub(crate) mod listeners;
pub(crate) mod naming;
pub(crate) mod outlets;
pub(crate) mod peer;
pub(crate) mod permits;
pub(crate) mod redirect;
pub(crate) mod respond;
pub(crate) mod route;
pub(crate) mod sdp;
pub(crate) mod shorten;
pub(crate) mod sockets;
pub(crate) mod stream;
mod stun;
pub(crate) mod tcp;
pub(crate) mod trusted;
pub(crate) mod udp;
pub(crate) mod undecided;
