//! The proxies in front of the edge, and the place in which they name their callers.

use clap::ValueEnum;
use sip_authz::acl::Prefix;

use crate::sip::trusted::{SourcePlace, TrustedProxies};

/// The proxies in front of the edge.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// Take the source of requests from what the proxy at this address says, see --source-from; an
    /// address or a prefix (repeatable). A sender at this address can name any source
    #[arg(long, value_name = "CIDR", value_parser = trusted_prefix)]
    trusted_proxy: Vec<Prefix>,

    /// Where a trusted proxy names the source of a request
    #[arg(long, value_name = "PLACE", value_enum, default_value_t = SourceFrom::Header)]
    #[arg(requires = "trusted_proxy")]
    source_from: SourceFrom,

    /// Header field with the source of a request, as IP:PORT or [IPv6]:PORT. The trusted proxy must
    /// remove it from the requests of callers
    #[arg(long, value_name = "NAME", default_value = "X-Authz-Source", value_parser = field_name)]
    #[arg(requires = "trusted_proxy")]
    source_header: String,
}

/// Where a trusted proxy names the source of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SourceFrom {
    /// Header field of --source-header
    Header,
    /// Via below that of the last trusted proxy, with `received` and `rport`
    Via,
}

impl ProxyArgs {
    /// The proxies that the options trust.
    pub(crate) fn trusted(&self) -> TrustedProxies {
        let place = match self.source_from {
            SourceFrom::Header => SourcePlace::Header(self.source_header.clone()),
            SourceFrom::Via => SourcePlace::Via,
        };
        TrustedProxies::new(self.trusted_proxy.clone(), place)
    }
}

fn trusted_prefix(text: &str) -> Result<Prefix, String> {
    let prefix: Prefix = text.parse().map_err(|error| format!("{error}"))?;
    if prefix.is_whole_internet() {
        return Err("expected the addresses of your proxies, not every address".to_owned());
    }
    Ok(prefix)
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

/// Accepts the name of a header field that has no other meaning. One letter is a compact form.
fn field_name(text: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() < 2 || !text.bytes().all(fits) {
        return Err(
            "expected a header name of letters, digits and hyphens, such as X-Authz-Source",
        );
    }
    match TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(text)) {
        true => Err("expected a header without another meaning, such as X-Authz-Source"),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_header_has_no_other_meaning() {
        for text in ["X-Authz-Source", "x-real-ip", "P-Source_1", "X.Y"] {
            assert_eq!(field_name(text), Ok(text.to_owned()));
        }
        for text in ["", "v", "X", "via", "CONTACT", "X-A:", "X A", "X-A\r\nB", "X-\u{e4}", "X-<>"]
        {
            assert!(field_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn not_every_address_is_trusted() {
        for text in ["192.0.2.1", "10.0.0.0/8", "2001:db8::/64"] {
            assert!(trusted_prefix(text).is_ok(), "{text}");
        }
        for text in ["", "0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "192.0.2.1/24", "proxy.example"]
        {
            assert!(trusted_prefix(text).is_err(), "{text}");
        }
    }
}
