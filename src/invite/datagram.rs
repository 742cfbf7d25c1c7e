//! Reads an INVITE from a datagram, or from a message framed on a stream.

use std::net::SocketAddr;

use super::{CredentialsField, Invite, InviteError, Transport};
use crate::message::{Header, Message, StartLine};

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
        let message = Message::scan(bytes).ok_or(InviteError::NotSip)?;
        Self::from_message(&message, source, transport)
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
        let is_datagram = transport.retransmits();
        let defect = if is_datagram { message.defect() } else { message.stream_defect() };
        if let Some(defect) = defect {
            return Err(InviteError::Defect(defect));
        }
        let mut invite = Self::new(uri, source, transport);
        invite.body = message.body();
        invite.from = message.first(Header::From);
        invite.received = Some(message.bytes().into());
        for field in message.credentials() {
            let name = match field.header {
                Header::Authorization => CredentialsField::Authorization,
                _ => CredentialsField::ProxyAuthorization,
            };
            invite.add_credentials(name, field.value);
        }
        Ok(invite)
    }
}
