//! Reads an INVITE or another request from the parts that a SIP stack has parsed.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::datagram::is_decided;
use super::{CredentialsField, Invite, InviteError, Transport};
use crate::message::{Header, Parts, trim};

impl<'a> Invite<'a> {
    /// Takes the parts of a request that a SIP stack has parsed: an INVITE or another method, except
    /// ACK and CANCEL, which cannot be challenged (RFC 3261 §22.1).
    ///
    /// If the stack has the received bytes, use [`Self::from_datagram`] or [`Self::from_request`]
    /// instead. They see more.
    ///
    /// - `method` as sent, in the same case.
    /// - `uri`: the Request-URI as sent, neither unescaped nor normalised.
    /// - `fields`: the name and value of each header field in the order of the message, repeated ones
    ///   one by one. Names may be long or compact, in any case, with or without the white space
    ///   before the colon. A value may have white space around it, and folds if the stack keeps them.
    ///   The items are pairs of references. For a `Vec` of pairs, pass
    ///   `headers.iter().map(|(name, value)| (name, value))`.
    /// - `body`: the bytes after the blank line. Those beyond Content-Length are cut off.
    ///
    /// Over UDP this allocates a copy of all parts, by which a retransmission is recognised (RFC
    /// 3261 §17.1.1.2). Over other transports it borrows and does not allocate.
    ///
    /// ```
    /// use sip_authz::{Invite, Transport};
    ///
    /// let parsed = [
    ///     ("v", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1"),
    ///     ("From", "<sip:alice@example.com>;tag=1"),
    ///     ("To", "<sip:100@example.com>"),
    ///     ("Call-ID", "one@192.0.2.7"),
    ///     ("CSeq", "1 INVITE"),
    /// ];
    /// let source = "192.0.2.7:5060".parse()?;
    /// let uri = "sip:100@example.com";
    /// let invite = Invite::from_fields("INVITE", uri, parsed, b"", source, Transport::Udp)?;
    /// assert_eq!(invite.from(), Some(&b"<sip:alice@example.com>;tag=1"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # What this cannot see
    ///
    /// The checks are those of [`Self::from_datagram`], and on transports other than UDP those for
    /// streams. Refused there, and not visible in the parts, are:
    ///
    /// - a SIP version other than 2.0,
    /// - doubled spaces and tabs in the request line; on a stream, white space at its end,
    /// - line ends that are not CRLF, and a head without a blank line,
    /// - a line that is no header field, if the stack drops it or takes it for a field,
    /// - a repeated field, and too many fields, if the stack merges, drops or replaces some,
    /// - a blank fold, if the stack joins folds,
    /// - a control character, if the stack trims or replaces it,
    /// - on a stream a folded Content-Length, if the stack joins its lines,
    /// - a body that is shorter than Content-Length, if the stack corrects the field,
    /// - a head of more than [`MAX_HEAD`](crate::message::MAX_HEAD) bytes, if the stack drops some,
    /// - other flaws of the method, the Request-URI or a value, if the stack corrects them.
    ///
    /// A stack that reads the message in another way than the next server is as dangerous as one that
    /// changes it. On a stream, [`frame`](crate::message::frame) refuses more than this.
    ///
    /// # Errors
    ///
    /// - [`InviteError::NotSip`] if the method is not a token, or the Request-URI is empty.
    /// - [`InviteError::NotDecided`] for ACK and CANCEL.
    /// - [`InviteError::Defect`] for the other defects. A name that is not a token is a
    ///   [`FieldName`](crate::message::Defect::FieldName). A value with a CR or LF that begins no fold
    ///   is a [`LineEnd`](crate::message::Defect::LineEnd).
    pub fn from_fields<N, V>(
        method: &'a str,
        uri: impl Into<Cow<'a, str>>,
        fields: impl IntoIterator<Item = (&'a N, &'a V)>,
        body: &'a [u8],
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Self, InviteError>
    where
        N: AsRef<[u8]> + ?Sized + 'a,
        V: AsRef<[u8]> + ?Sized + 'a,
    {
        let mut invite = Self::new(uri, source, transport).with_method(method);
        let parts = Parts::new(method, &invite.request_uri);
        let mut parts = parts.ok_or(InviteError::NotSip)?;
        if !is_decided(method) {
            return Err(InviteError::NotDecided);
        }
        let mut copy = transport.retransmits().then(AllParts::default);
        for (name, value) in fields {
            let (name, value) = (name.as_ref(), value.as_ref());
            let Some(header) = parts.add(name, value) else { break };
            match header {
                Header::Authorization => {
                    invite.add_credentials(CredentialsField::Authorization, trim(value));
                }
                Header::ProxyAuthorization => {
                    invite.add_credentials(CredentialsField::ProxyAuthorization, trim(value));
                }
                _ => {}
            }
            if let Some(copy) = &mut copy {
                copy.add(name);
                copy.add(value);
            }
        }
        let message = parts.finish(body);
        invite.check(&message)?;
        invite.body = message.body();
        invite.from = message.first(Header::From);
        if invite.method.is_register() {
            invite.to = message.first(Header::To);
        }
        if let Some(mut copy) = copy {
            copy.add(method.as_bytes());
            copy.add(invite.request_uri.as_bytes());
            copy.add(body);
            invite.received = Some(copy.text.into());
        }
        Ok(invite)
    }
}

/// A text that two requests share only if all their parts are equal: each part after its length.
#[derive(Default)]
struct AllParts {
    text: Vec<u8>,
}

impl AllParts {
    fn add(&mut self, part: &[u8]) {
        self.text.extend_from_slice(&part.len().to_le_bytes());
        self.text.extend_from_slice(part);
    }
}
