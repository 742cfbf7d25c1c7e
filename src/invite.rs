//! The parts of a request that a decision needs, borrowed from any parser.

mod datagram;
mod fields;
mod fixed_list;
#[cfg(feature = "rsip")]
mod rsip;
mod transport;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use self::fixed_list::FixedList;
pub use self::transport::{Transport, TransportError};
use crate::message::Defect;
use crate::method::Method;

/// Maximum number of credentials headers kept.
pub(crate) const MAX_CREDENTIALS: usize = 16;
/// Maximum number of hosts kept by [`Invite::with_domain_host`].
const MAX_DOMAIN_HOSTS: usize = 4;

/// The two credentials headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialsField {
    /// `Authorization`, the response to a 401.
    Authorization,
    /// `Proxy-Authorization`, the response to a 407.
    ProxyAuthorization,
}

/// The parts of a request that a decision needs: an INVITE, or another request from outside a dialog.
///
/// The method is a part, because the digest covers it (RFC 3261 §22.4) and a domain or trunk admits
/// some methods only. Of the constructors that read a message, [`Self::from_request`] and
/// [`Self::from_fields`] take other methods, and the others reject all but INVITE.
///
/// It borrows the message only until it is decided. The buffer of the message can then be reused, also in the
/// arms of a `match` on the decision.
///
/// Take the source and the transport from the socket, not from headers. Behind a proxy that you
/// trust, take the source that the proxy names, or mark it as unknown:
/// [`Self::with_unknown_source`].
#[derive(Clone)]
pub struct Invite<'a> {
    pub(crate) method: Method<'a>,
    request_uri: Cow<'a, str>,
    source: SocketAddr,
    is_source_known: bool,
    transport: Transport,
    credentials: FixedList<(CredentialsField, &'a [u8]), MAX_CREDENTIALS>,
    too_many_credentials: bool,
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    received: Option<Cow<'a, [u8]>>,
    body: &'a [u8],
    domain_hosts: FixedList<&'a str, MAX_DOMAIN_HOSTS>,
}

/// Shows neither addresses nor header values, because it may be logged.
impl fmt::Debug for Invite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite")
            .field("transport", &self.transport)
            .field("credentials", &self.credentials.len())
            .field("too_many_credentials", &self.too_many_credentials)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A message that cannot be used as an INVITE.
///
/// Its text may be sent to the caller with a 400: it names the flaw and repeats nothing of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// Another method, or a response.
    #[error("not an INVITE request")]
    NotInvite,
    /// No request that [`Invite::from_request`] or [`Invite::from_fields`] takes: a response, ACK or
    /// CANCEL.
    #[error("a response, ACK or CANCEL, which are not decided")]
    NotDecided,
    /// Not a SIP message.
    #[error("not a SIP message")]
    NotSip,
    /// A SIP message that is not well-formed.
    #[error("{0}")]
    Defect(Defect),
    /// The other parser has read another host in the Request-URI than this crate does.
    #[error("the parsers read different hosts in the Request-URI")]
    HostMismatch,
}

impl<'a> Invite<'a> {
    /// Creates an INVITE for `request_uri`, received from `source` over `transport`, without
    /// credentials. For another method add [`Self::with_method`].
    ///
    /// Without [`Self::with_received`], retransmissions are not recognised. Without
    /// [`Self::with_from`], a target that compares From with the user rejects every caller.
    pub fn new(
        request_uri: impl Into<Cow<'a, str>>,
        source: SocketAddr,
        transport: Transport,
    ) -> Self {
        Self {
            method: Method::INVITE,
            request_uri: request_uri.into(),
            source,
            is_source_known: true,
            transport,
            credentials: FixedList::new(),
            too_many_credentials: false,
            from: None,
            to: None,
            received: None,
            body: &[],
            domain_hosts: FixedList::new(),
        }
    }

    /// Sets the method as sent, in the same case: it is a part of the digest (RFC 3261 §22.4).
    ///
    /// No domain or trunk admits ACK, CANCEL, BYE, PRACK or a text that is not a token. A REGISTER is
    /// decided by the lists that are mapped for registrations, and needs [`Self::with_to`].
    #[must_use]
    pub fn with_method(mut self, method: &'a str) -> Self {
        self.method = Method::new(method);
        self
    }

    /// Adds the value of a credentials header. Add them in the order of the message.
    #[must_use]
    pub fn with_credentials(mut self, field: CredentialsField, value: &'a [u8]) -> Self {
        self.add_credentials(field, value);
        self
    }

    fn add_credentials(&mut self, field: CredentialsField, value: &'a [u8]) {
        self.too_many_credentials |= !self.credentials.push((field, value));
    }

    /// Sets the value of From, which
    /// [`Policy::from_must_match`](crate::model::Policy::from_must_match) compares with the user.
    #[must_use]
    pub fn with_from(mut self, value: &'a [u8]) -> Self {
        self.from = Some(value);
        self
    }

    /// Sets the value of To, which must name the authenticated user at this domain in a REGISTER.
    /// Without it, every REGISTER is rejected. Other methods do not need it.
    #[must_use]
    pub fn with_to(mut self, value: &'a [u8]) -> Self {
        self.to = Some(value);
        self
    }

    /// Sets the received message, by which a retransmission is recognised: it has the same bytes
    /// (RFC 3261 §17.1.1.2). Pass the whole datagram, or if there is none, a text that contains
    /// every field and the body.
    #[must_use]
    pub fn with_received(mut self, message: impl Into<Cow<'a, [u8]>>) -> Self {
        self.received = Some(message.into());
        self
    }

    /// Marks the source as unknown: a trusted proxy sent the INVITE and did not name its caller. Create
    /// the INVITE with the address of the proxy.
    ///
    /// No access list admits it, not even one with `0.0.0.0/0`. Nonces are bound to the address of the
    /// proxy, and wrong digests of all unknown sources behind it are counted together.
    #[must_use]
    pub fn with_unknown_source(mut self) -> Self {
        self.is_source_known = false;
        self
    }

    /// Sets the body: the Content-Length bytes after the blank line.
    #[must_use]
    pub fn with_body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// The number of hosts that [`Self::with_domain_host`] keeps.
    pub const MAX_DOMAIN_HOSTS: usize = MAX_DOMAIN_HOSTS;

    /// Adds a host that names the domain or trunk if the Request-URI names none.
    ///
    /// It names none if no domain or trunk has its host, or if it is a `tel:` URI or a service URN
    /// (`urn:service:sos`, RFC 5031), which have no host.
    ///
    /// The hosts are tried in the order in which they were added. Of more than
    /// [`MAX_DOMAIN_HOSTS`](Self::MAX_DOMAIN_HOSTS) the others are ignored, and so is a text that is
    /// not a host. A Request-URI whose host names a domain or trunk, or that is malformed, is
    /// decided as without them.
    ///
    /// An accept still rests on this Request-URI: a digest-uri is compared with it, not with the
    /// host given here.
    #[must_use]
    pub fn with_domain_host(mut self, host: &'a str) -> Self {
        // the doc says that further ones are ignored
        let _ = self.domain_hosts.push(host);
        self
    }

    /// The hosts of [`Self::with_domain_host`], in order.
    #[must_use]
    pub fn domain_hosts(&self) -> &[&'a str] {
        &self.domain_hosts
    }

    /// The method as sent.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method.name()
    }

    /// The Request-URI.
    #[must_use]
    pub fn request_uri(&self) -> &str {
        &self.request_uri
    }

    /// The source address and port; that of a proxy if [`Self::is_source_known`] is false. Port 0 means
    /// that the port is unknown.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    /// Whether [`Self::source`] is that of the caller. False after [`Self::with_unknown_source`].
    #[must_use]
    pub fn is_source_known(&self) -> bool {
        self.is_source_known
    }

    /// The address that access lists are searched for; none if it is unknown.
    pub(crate) fn caller_ip(&self) -> Option<IpAddr> {
        self.is_source_known.then(|| self.source.ip())
    }

    /// The address and port of the caller; none if one of them is unknown, because several callers
    /// would then have the same.
    pub(crate) fn flow(&self) -> Option<SocketAddr> {
        (self.is_source_known && self.source.port() != 0).then_some(self.source)
    }

    /// The transport of the request.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The credentials headers in order, at most sixteen; see [`Self::has_too_many_credentials`].
    #[must_use]
    pub fn credentials(&self) -> &[(CredentialsField, &'a [u8])] {
        &self.credentials
    }

    /// Whether the message had more credentials headers than are kept. Targets with credential
    /// lists reject such an INVITE.
    #[must_use]
    pub fn has_too_many_credentials(&self) -> bool {
        self.too_many_credentials
    }

    /// The value of From, if set.
    #[must_use]
    pub fn from(&self) -> Option<&'a [u8]> {
        self.from
    }

    /// The value of To, if set. The constructors that read a message set it for REGISTER only.
    #[must_use]
    pub fn to(&self) -> Option<&'a [u8]> {
        self.to
    }

    /// The received message, if set.
    #[must_use]
    pub fn received(&self) -> Option<&[u8]> {
        self.received.as_deref()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}
