//! The base URL of an API: that of a server, as clients name it, and that of an edge, as `--api-advertise`
//! gives it and reports carry it.

use std::net::IpAddr;

use sip_authz::uri::Host;

/// The URL of a server on the same machine with its default options.
pub(crate) const DEFAULT_API: &str = "http://127.0.0.1:8080";

/// The longest URL in bytes.
const MAX: usize = 512;

/// A base URL: `http` or `https`, a host, and optionally a port and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiUrl {
    text: String,
    /// Whether it is `https`.
    pub(crate) tls: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// The path, without a slash at the end; often empty.
    pub(crate) path: String,
}

impl ApiUrl {
    /// Reads a URL. A slash at its end is removed.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a URL such as https://edge1.example.com:8080";
        let text = text.trim_end_matches('/');
        if text.len() > MAX {
            return Err("expected at most 512 characters");
        }
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(EXPECTED),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)) {
            return Err("expected only a host, a port and a path");
        }
        let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
        let (host, port) = match colon {
            Some(colon) => {
                let (host, port) = authority.split_at(colon);
                let port = port.trim_start_matches(':');
                let port = Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
                (host, port.and_then(|port| port.parse().ok()).filter(|n| *n != 0).ok_or(EXPECTED)?)
            }
            None => (authority, if tls { 443 } else { 80 }),
        };
        let host = Host::parse(host).map_err(|_| EXPECTED)?;
        Ok(Self { text: text.to_owned(), tls, host, port, path: path.to_owned() })
    }

    /// The text, as edges report and compare it.
    #[cfg(any(feature = "etcd", test))]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether plain HTTP to this URL stays on the machine, or the URL has TLS.
    pub(crate) fn is_safe(&self) -> bool {
        let host = self.host.as_str();
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.tls || host == "localhost" || self.address().is_some_and(is_loopback)
    }

    /// The address, if the host is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.as_str().trim_matches(['[', ']']).parse().ok()
    }

    /// The host and port, for the header Host.
    #[cfg(any(feature = "etcd", test))]
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host.as_str(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_a_host_and_perhaps_a_port_and_a_path() {
        for (text, authority, path, safe) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "", true),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", "", true),
            ("http://[::1]", "[::1]:80", "", true),
            ("http://localhost:1/a/b/", "localhost:1", "/a/b", true),
            ("https://edge1.example.com", "edge1.example.com:443", "", true),
            ("https://[2001:db8::7]:8443/sip", "[2001:db8::7]:8443", "/sip", true),
            ("http://192.0.2.1:8080", "192.0.2.1:8080", "", false),
            ("http://edge1.example.com", "edge1.example.com:80", "", false),
            ("http://localhost.example.com", "localhost.example.com:80", "", false),
        ] {
            let url = ApiUrl::parse(text).unwrap();
            assert_eq!(
                (url.authority(), url.path.as_str()),
                (authority.to_owned(), path),
                "{text}"
            );
            assert_eq!(url.is_safe(), safe, "{text}");
            assert_eq!(ApiUrl::parse(url.as_str()).as_ref(), Ok(&url));
        }
        let long = format!("http://a.example/{}", "a".repeat(MAX));
        for text in [
            "",
            "http://",
            "http:///a",
            "https",
            "ftp://a.example",
            "a.example:8080",
            "HTTP://a.example",
            "http://a@b.example",
            "http://a:b@c.example",
            "http://a.example:0",
            "http://a.example:65536",
            "http://a.example:",
            "http://a.example:+1",
            "http://[::1",
            "http://::1",
            "http://a.example?b",
            "http://a.example/?b",
            "http://a.example/#b",
            "http://a.example/b c",
            "http://a.example/%2e",
            "http://a.example\r\nX: y",
            "http://a_b c",
            "http://a.example/b\u{7f}",
            &long,
        ] {
            assert!(ApiUrl::parse(text).is_err(), "{text}");
        }
    }
}
