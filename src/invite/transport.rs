//! The transport over which a request came.

use std::fmt;
use std::str::FromStr;

/// The transport of a request, taken from the socket and not from a header.
///
/// `Display` writes [`as_str`](Self::as_str), and `FromStr` reads it in any case, so also
/// [`via_name`](Self::via_name).
///
/// ```
/// use sip_authz::Transport;
///
/// let transport: Transport = "TLS".parse()?;
/// assert_eq!(transport, Transport::Tls);
/// assert_eq!(transport.to_string(), "tls");
/// # Ok::<(), sip_authz::TransportError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// SCTP (RFC 4168).
    Sctp,
    /// TLS over SCTP (RFC 4168).
    TlsSctp,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// Every transport once.
    pub const ALL: &'static [Self] =
        &[Self::Udp, Self::Tcp, Self::Tls, Self::Sctp, Self::TlsSctp, Self::Ws, Self::Wss];

    /// The name in lower case, a stable text for logs and for the URI parameter `transport` (RFC 3261
    /// §19.1.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Sctp => "sctp",
            Self::TlsSctp => "tls-sctp",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The name in a Via, in upper case (RFC 3261 §20.42).
    #[must_use]
    pub const fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Sctp => "SCTP",
            Self::TlsSctp => "TLS-SCTP",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// Whether the transport is encrypted: true for TLS over TCP or SCTP, and for WebSocket over TLS.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::TlsSctp | Self::Wss)
    }

    /// Whether clients retransmit unanswered requests (RFC 3261 §17.1.1.2): true for UDP only, since the
    /// others are reliable.
    #[must_use]
    pub const fn retransmits(self) -> bool {
        matches!(self, Self::Udp)
    }
}

/// The text of [`Transport::as_str`].
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads a name in any case.
impl FromStr for Transport {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let named = |it: &&Self| it.as_str().eq_ignore_ascii_case(text);
        // limits the length of the message
        let error = || TransportError { input: text.chars().take(40).collect() };
        Self::ALL.iter().find(named).copied().ok_or_else(error)
    }
}

/// A text is not the name of a transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected udp, tcp, tls, sctp, tls-sctp, ws or wss, found `{input}`")]
pub struct TransportError {
    /// The text, shortened to 40 characters.
    input: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_read_in_any_case() {
        for transport in Transport::ALL {
            let name = transport.as_str();
            assert_eq!(transport.to_string(), name);
            assert_eq!(transport.via_name(), name.to_ascii_uppercase());
            for text in [name, transport.via_name(), &name.replacen('s', "S", 1)] {
                assert_eq!(text.parse(), Ok(*transport), "{text}");
            }
        }
        assert_eq!(format!("{:>5}|{:<5}", Transport::Udp, Transport::Wss), "  udp|wss  ");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", " udp", "udp ", "ud", "udpx", "tlssctp", "tls sctp", "sctp-tls", "dtls", "üdp"]
        {
            let error = text.parse::<Transport>().unwrap_err().to_string();
            let names: Vec<_> = Transport::ALL.iter().map(|it| it.as_str()).collect();
            let (last, names) = names.split_last().unwrap();
            assert_eq!(error, format!("expected {} or {last}, found `{text}`", names.join(", ")));
        }
        let error = "x".repeat(1_000).parse::<Transport>().unwrap_err().to_string();
        assert!(error.ends_with(&format!("found `{}`", "x".repeat(40))), "{error}");
    }

    #[test]
    fn transports_over_tls_are_secure_and_udp_alone_retransmits() {
        let secure = Transport::ALL.iter().filter(|it| it.is_secure());
        assert_eq!(Vec::from_iter(secure), [&Transport::Tls, &Transport::TlsSctp, &Transport::Wss]);
        let retransmits = Transport::ALL.iter().filter(|it| it.retransmits());
        assert_eq!(Vec::from_iter(retransmits), [&Transport::Udp]);
    }
}
