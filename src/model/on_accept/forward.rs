//! The hops of a forward: where the edge sends accepted calls.

use std::fmt;
use std::net::IpAddr;

use super::{OnAccept, OnAcceptError, listed};
use crate::uri::{Host, Scheme, SipUri, UriError};

/// The hops of a forward.
#[derive(Clone)]
pub struct Forward {
    /// The text without `forward:`.
    text: Box<str>,
    hops: Box<[ForwardHop]>,
}

/// A hop of a forward: host, port and transport, and its order among the hops.
///
/// The text form is a host or SIP URI with an optional port: no user, password, URI headers or
/// placeholders. `sips:` is TLS, also with `transport=tcp` (RFC 3261 §26.2.2).
///
/// | parameter | value |
/// |---|---|
/// | `transport` | `udp`, `tcp` or `tls`; not `udp` with `sips:` |
/// | `priority` | 0 to 65535, default 0 |
/// | `weight` | 1 to 65535, default 1 |
/// | `lr` | ignored |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardHop {
    host: Host,
    port: Option<u16>,
    transport: Option<HopTransport>,
    names_transport: bool,
    priority: u16,
    weight: u16,
}

/// The transport to a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HopTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// A reason why a text is not a hop of a forward.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HopError {
    /// A user part or password. The call keeps the user of its Request-URI.
    #[error("expected no user part")]
    User,
    /// URI headers.
    #[error("expected no URI headers")]
    Headers,
    /// The text is no host or SIP URI.
    #[error("expected a host or SIP URI: {0}")]
    Uri(UriError),
    /// An address that is not that of one machine: unspecified, multicast or broadcast.
    #[error("expected the address of one machine")]
    Address,
    /// A transport other than `udp`, `tcp` and `tls`. Holds the value, shortened.
    #[error("expected the transport udp, tcp or tls, found `{0}`")]
    Transport(String),
    /// `transport=udp` with `sips:`.
    #[error("expected no transport=udp with `sips:`, which is TLS")]
    SipsOverUdp,
    /// The priority is no number from 0 to 65535.
    #[error("expected a priority from 0 to 65535")]
    Priority,
    /// The weight is no number from 1 to 65535.
    #[error("expected a weight from 1 to 65535")]
    Weight,
    /// Another parameter, for example `maddr`. Holds its name, shortened.
    #[error("unknown parameter `{0}`, expected transport, priority, weight or lr")]
    Parameter(String),
    /// A second hop with the same host, port and transport.
    #[error("an earlier hop has the same host, port and transport")]
    Repeated,
}

impl Forward {
    /// The hops, in the order of the text; at least one.
    #[must_use]
    pub fn hops(&self) -> &[ForwardHop] {
        &self.hops
    }

    /// Parses the text behind `forward:`. `at` is the position of the first hop, for errors.
    pub(super) fn parse(list: &str, at: usize) -> Result<Self, OnAcceptError> {
        if let Some(brace) = list.chars().position(|c| matches!(c, '{' | '}')) {
            return Err(OnAcceptError::PlaceholderInHop { at: at + brace });
        }
        let count = list.split(',').count();
        if count > OnAccept::MAX_TARGETS {
            return Err(OnAcceptError::TooManyHops(count));
        }
        let mut hops: Vec<ForwardHop> = Vec::with_capacity(count);
        for (at, text) in listed(list, at) {
            let wrong = |error| OnAcceptError::Hop { at, error };
            let hop = ForwardHop::parse(text).map_err(wrong)?;
            if hops.iter().any(|earlier| earlier.is_same_place(&hop)) {
                return Err(wrong(HopError::Repeated));
            }
            hops.push(hop);
        }
        Ok(Self { text: list.into(), hops: hops.into() })
    }
}

/// Writes the text as parsed, without `forward:`.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Forward {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Forward {}

impl std::hash::Hash for Forward {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl ForwardHop {
    /// The host, in canonical form.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, if the text has one. Otherwise it is that of the SRV records of the host (RFC 3263 §4.2),
    /// or that of the transport: [`HopTransport::default_port`].
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The transport, if the text names one. Otherwise it is that of the NAPTR or SRV records of the host
    /// (RFC 3263 §4.1). Without such records calls that came over UDP go over UDP, and calls that came
    /// over TCP or TLS go over TCP.
    #[must_use]
    pub const fn transport(&self) -> Option<HopTransport> {
        self.transport
    }

    /// Whether the text has the parameter `transport`. With it, NAPTR records are not asked for (RFC 3263
    /// §4.1); [`transport`](Self::transport) of a `sips:` URI is TLS in any case.
    #[must_use]
    pub const fn names_transport(&self) -> bool {
        self.names_transport
    }

    /// The priority. Hops with the lowest number are used first (RFC 2782).
    #[must_use]
    pub const fn priority(&self) -> u16 {
        self.priority
    }

    /// The weight: the share of the calls among hops of the same priority (RFC 2782). Never 0.
    #[must_use]
    pub const fn weight(&self) -> u16 {
        self.weight
    }

    /// Whether both have the same host, port and transport. Ports are compared with their defaults, and
    /// IPv4-mapped addresses as IPv4.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        let port = |hop: &Self| {
            let transport = hop.transport.unwrap_or(HopTransport::Udp);
            hop.port.unwrap_or(transport.default_port())
        };
        let is_same_host = match (address(&self.host), address(&other.host)) {
            (Some(a), Some(b)) => a == b,
            _ => self.host == other.host,
        };
        is_same_host && self.transport == other.transport && port(self) == port(other)
    }

    fn parse(text: &str) -> Result<Self, HopError> {
        let sip;
        let text = match Scheme::of(text) {
            Some(Scheme::Sip | Scheme::Sips) => text,
            Some(Scheme::Tel) => return Err(HopError::Uri(UriError::UnsupportedScheme)),
            // `pbx.example.net:5060` looks like a scheme and a number
            Some(_) if !super::template::has_port(text) => {
                return Err(HopError::Uri(UriError::UnsupportedScheme));
            }
            _ => {
                sip = format!("sip:{text}");
                &sip
            }
        };
        if text.contains('@') {
            return Err(HopError::User);
        }
        if text.contains('?') {
            return Err(HopError::Headers);
        }
        let uri = SipUri::parse(text).map_err(HopError::Uri)?;
        let host = Host::parse(uri.host).map_err(|error| HopError::Uri(UriError::Host(error)))?;
        if address(&host).is_some_and(|address| !is_of_one_machine(address)) {
            return Err(HopError::Address);
        }
        let mut hop = Self {
            host,
            port: uri.port,
            transport: None,
            names_transport: false,
            priority: 0,
            weight: 1,
        };
        // the URI has each parameter at most once
        for parameter in uri.params.split(';').filter(|parameter| !parameter.is_empty()) {
            hop.set(parameter)?;
        }
        if uri.scheme == Scheme::Sips {
            if hop.transport == Some(HopTransport::Udp) {
                return Err(HopError::SipsOverUdp);
            }
            hop.transport = Some(HopTransport::Tls);
        }
        Ok(hop)
    }

    fn set(&mut self, parameter: &str) -> Result<(), HopError> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("transport") {
            let known = HopTransport::named(value);
            self.transport = Some(known.ok_or_else(|| HopError::Transport(shortened(value)))?);
            self.names_transport = true;
        } else if is("priority") {
            self.priority = number(value).ok_or(HopError::Priority)?;
        } else if is("weight") {
            self.weight = number(value).filter(|weight| *weight > 0).ok_or(HopError::Weight)?;
        } else if !is("lr") {
            return Err(HopError::Parameter(shortened(name)));
        }
        Ok(())
    }
}

impl HopTransport {
    const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// The value of the parameter `transport`: `udp`, `tcp` or `tls`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port of a hop without one: 5060, or 5061 for TLS (RFC 3261 §19.1.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for HopTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address of a host that is one. An IPv4-mapped address is the IPv4 address.
fn address(host: &Host) -> Option<IpAddr> {
    let text = host.as_str();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(text).parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_of_one_machine(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || is_broadcast)
}

/// A decimal number of at most five digits. `parse` alone accepts a sign.
fn number(text: &str) -> Option<u16> {
    let is_plain = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

fn shortened(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests;
