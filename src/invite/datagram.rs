//! Reads an INVITE or another request from a datagram, or from a message framed on a stream.

use std::net::SocketAddr;

use super::{CredentialsField, Invite, InviteError, Transport};
use crate::message::{Header, Message, StartLine};
use crate::method::Method;

impl<'a> Invite<'a> {
    /// Parses an INVITE from `bytes`, borrowed and without building a message. Rejects a message
    /// with a [`defect`](Message::defect); on all transports but UDP, with a
    /// [`stream_defect`](Message::stream_defect).
    ///
    /// # Errors
    ///
    /// [`InviteError`] if the message is not SIP, has another method, or has a defect.
    pub fn from_datagram(
        bytes: &'a [u8],
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError> {
        // borrowed, because a message is large to move
        let Some(message) = &Message::scan(bytes) else { return Err(InviteError::NotSip) };
        Self::from_message(message, source, transport)
    }

    /// Takes the parts from a scanned message.
    ///
    /// # Errors
    ///
    /// As [`Self::from_datagram`].
    pub fn from_message(
        message: &Message<'a>,
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError> {
        let StartLine::Request { method: "INVITE", uri } = message.start_line() else {
            return Err(InviteError::NotInvite);
        };
        Self::new(uri, source, transport).read(message)
    }

    /// Takes the parts from a scanned request of any method but ACK and CANCEL, which cannot be
    /// challenged (RFC 3261 §22.1).
    ///
    /// The message may be an INVITE. It should come from outside a dialog: a To tag makes no
    /// difference.
    ///
    /// # Errors
    ///
    /// [`InviteError::NotDecided`] for a response and these two methods, otherwise as
    /// [`Self::from_datagram`].
    pub fn from_request(
        message: &Message<'a>,
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError> {
        let StartLine::Request { method, uri } = message.start_line() else {
            return Err(InviteError::NotDecided);
        };
        if !is_decided(method) {
            return Err(InviteError::NotDecided);
        }
        let mut invite = Self::new(uri, source, transport);
        invite.method = Method::new(method);
        if invite.method.is_register() {
            invite.to = message.first(Header::To);
        }
        invite.read(message)
    }

    /// Checks the message and adds its fields.
    #[inline(always)]
    fn read(mut self, message: &Message<'a>) -> Result<Self, InviteError> {
        self.check(message)?;
        self.body = message.body();
        self.from = message.first(Header::From);
        self.received = Some(message.bytes().into());
        for field in message.credentials() {
            let name = match field.header {
                Header::Authorization => CredentialsField::Authorization,
                _ => CredentialsField::ProxyAuthorization,
            };
            self.add_credentials(name, field.value);
        }
        Ok(self)
    }

    /// Refuses a message with a defect on this transport.
    #[inline(always)]
    pub(super) fn check(&self, message: &Message<'_>) -> Result<(), InviteError> {
        let is_datagram = self.transport.retransmits();
        let defect = if is_datagram { message.defect() } else { message.stream_defect() };
        defect.map_or(Ok(()), |defect| Err(InviteError::Defect(defect)))
    }
}

/// Whether requests of this method are decided.
pub(super) fn is_decided(method: &str) -> bool {
    !matches!(method, "ACK" | "CANCEL")
}
