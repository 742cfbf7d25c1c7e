//! One datagram by one call of the system, for systems without calls for many.

use std::net::{SocketAddr, UdpSocket};

use super::MAX_DATAGRAM;
use crate::sip::edge::Desk;

/// A datagram.
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

    /// Never: what comes meanwhile waits at the socket, and nobody goes first.
    pub(super) fn is_full(&self) -> bool {
        false
    }

    /// What was received last.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let received = self.received.iter();
        received.map(|(length, source)| (self.bytes.get(..*length).unwrap_or_default(), *source))
    }
}

/// What it takes to send answers: nothing.
pub(super) struct Outbox;

impl Outbox {
    pub(super) fn new() -> Self {
        Self
    }

    /// Sends all answers; each that cannot be sent is told to `unsent`.
    pub(super) fn send(&mut self, socket: &UdpSocket, desk: &Desk, unsent: impl Fn()) {
        for (bytes, to) in desk.answers() {
            if socket.send_to(bytes, to).is_err() {
                unsent();
            }
        }
    }
}
