//! Receives and sends one datagram per system call, for systems without `recvmmsg`.

use std::net::{SocketAddr, UdpSocket};

use super::MAX_DATAGRAM;
use crate::sip::edge::BatchScratch;

/// The last received datagram.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    received: Option<(usize, SocketAddr)>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; MAX_DATAGRAM], received: None }
    }

    /// Waits for a datagram.
    pub(super) fn receive(&mut self, socket: &UdpSocket, _: bool) -> std::io::Result<()> {
        self.received = None;
        self.received = Some(socket.recv_from(&mut self.bytes)?);
        Ok(())
    }

    /// Always false: further datagrams wait at the socket, without priority for known callers.
    pub(super) fn is_full(&self) -> bool {
        false
    }

    /// The last received datagram, with its source.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let received = self.received.iter();
        received.map(|(length, source)| (self.bytes.get(..*length).unwrap_or_default(), *source))
    }
}

/// Sends answers one by one; needs no buffers.
pub(super) struct Outbox;

impl Outbox {
    pub(super) fn new() -> Self {
        Self
    }

    /// Sends all answers; calls `unsent` for each that fails.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        scratch: &BatchScratch,
        _is_known: impl Fn(SocketAddr) -> bool,
        unsent: impl Fn(),
    ) {
        for (bytes, to) in scratch.answers() {
            if socket.send_to(bytes, to).is_err() {
                unsent();
            }
        }
    }
}
