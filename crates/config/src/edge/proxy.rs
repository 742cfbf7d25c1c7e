//! The proxies in front of an edge, and where they name the source of their callers.

use std::fmt;
use std::str::FromStr;

use sip_authz::acl::Prefix;

use super::address::shortened;

/// Addresses of proxies that name the source of their callers: an address or a prefix, never every
/// address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(Prefix);

impl TrustedProxy {
    /// The addresses.
    #[must_use]
    pub fn prefix(self) -> Prefix {
        self.0
    }
}

/// The place in which a trusted proxy names the source of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceFrom {
    /// A header field.
    Header,
    /// The Via below that of the last trusted proxy, with `received` and `rport`.
    Via,
}

/// The name of the header field in which a trusted proxy names the source of a request. No field of RFC
/// 3261 §20 has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHeader(String);

impl SourceHeader {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SourceHeader {
    fn default() -> Self {
        Self("X-Authz-Source".to_owned())
    }
}

/// A reason why a text is no trusted proxy or no place of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// Not an address or a prefix: the reason.
    Prefix(String),
    /// A prefix of every address.
    EveryAddress,
    /// Neither `header` nor `via`.
    Place(String),
    /// Not the name of a header field.
    Header(String),
    /// The name of a header field with another meaning.
    TakenHeader(String),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(why) => f.write_str(why),
            Self::EveryAddress => {
                f.write_str("expected the addresses of your proxies, not every address")
            }
            Self::Place(text) => write!(f, "expected `header` or `via`, found `{text}`"),
            Self::Header(text) => write!(
                f,
                "expected a header name of two or more letters, digits and hyphens, such as \
                 `X-Authz-Source`, found `{text}`"
            ),
            Self::TakenHeader(text) => write!(
                f,
                "expected a header without another meaning, such as `X-Authz-Source`, found `{text}`"
            ),
        }
    }
}

impl std::error::Error for ProxyError {}

impl FromStr for TrustedProxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let prefix: Prefix =
            text.parse().map_err(|error| ProxyError::Prefix(format!("{error}")))?;
        if prefix.is_whole_internet() {
            return Err(ProxyError::EveryAddress);
        }
        Ok(Self(prefix))
    }
}

impl FromStr for SourceFrom {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        match text {
            "header" => Ok(Self::Header),
            "via" => Ok(Self::Via),
            _ => Err(ProxyError::Place(shortened(text))),
        }
    }
}

/// The header fields that have another meaning: those of RFC 3261 §20 and of the answers.
#[rustfmt::skip]
const TAKEN: [&str; 46] = [
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Authentication-Info",
    "Authorization", "Call-ID", "Call-Info", "Contact", "Content-Disposition", "Content-Encoding",
    "Content-Language", "Content-Length", "Content-Type", "CSeq", "Date", "Error-Info", "Expires",
    "From", "In-Reply-To", "Max-Forwards", "Min-Expires", "MIME-Version", "Organization", "Priority",
    "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Require", "Record-Route", "Reply-To",
    "Require", "Retry-After", "Route", "Server", "Subject", "Supported", "Timestamp", "To",
    "Unsupported", "User-Agent", "Via", "Warning", "WWW-Authenticate", "X-Authz-Error", "Path",
];

impl FromStr for SourceHeader {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // one letter is a compact form
        if text.len() < 2 || !text.bytes().all(fits) {
            return Err(ProxyError::Header(shortened(text)));
        }
        match TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(text)) {
            true => Err(ProxyError::TakenHeader(shortened(text))),
            false => Ok(Self(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_header_has_no_other_meaning() {
        for text in ["X-Authz-Source", "x-real-ip", "P-Source_1", "X.Y"] {
            assert_eq!(text.parse(), Ok(SourceHeader(text.to_owned())));
        }
        for text in ["", "v", "X", "via", "CONTACT", "X-A:", "X A", "X-A\r\nB", "X-\u{e4}", "X-<>"]
        {
            assert!(text.parse::<SourceHeader>().is_err(), "{text}");
        }
    }

    #[test]
    fn not_every_address_is_trusted() {
        for text in ["192.0.2.1", "10.0.0.0/8", "2001:db8::/64"] {
            assert!(text.parse::<TrustedProxy>().is_ok(), "{text}");
        }
        for text in ["", "0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "192.0.2.1/24", "proxy.example"]
        {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }
}
