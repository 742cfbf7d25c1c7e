//! The table `[edge]`: where an edge listens, the name that it gives for itself, what names the domain of a
//! call, and the proxies in front of it. The command line of the program reads the same values.

mod address;
mod proxy;
mod table;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use sip_authz::model::DomainName;

pub use address::AddressError;
use address::{Ports, read_host, shortened, split};
pub use proxy::{ProxyError, SourceFrom, SourceHeader, TrustedProxy};

/// The settings of an edge. Empty lists and absent values are not in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Edge {
    /// Listeners for SIP over UDP and TCP.
    pub sip: Vec<Listener>,
    /// Listeners for SIP over TLS.
    pub sips: Vec<Listener>,
    /// The address of this edge for callers, for listeners on a private or wildcard address.
    pub advertise: Option<Advertised>,
    /// The sources of a domain for calls whose Request-URI names none, in this order.
    pub default_domain: Vec<DomainSource>,
    /// Certificate chain for SIP over TLS (PEM). A relative path is relative to the file's folder after
    /// [`load`](crate::load).
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM), a path as that of the certificate.
    pub tls_key: Option<PathBuf>,
    /// The proxies that name the source of their callers.
    pub trusted_proxy: Vec<TrustedProxy>,
    /// The place in which these proxies name it.
    pub source_from: Option<SourceFrom>,
    /// The header field of [`SourceFrom::Header`].
    pub source_header: Option<SourceHeader>,
}

/// A listener: an address, and the names that belong to it. Written
/// `ADDR[,advertise=HOST[:PORT]][,domain=NAME][,inside]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listener {
    /// The addresses.
    pub place: Place,
    /// The port, 0 for a free one; none for the default of the protocol.
    pub port: Option<u16>,
    /// The address of this listener for callers.
    pub advertise: Option<Advertised>,
    /// The name that [`DomainSource::Listener`] gives to its calls.
    pub domain: Option<DomainName>,
    /// Whether it faces the next hops: calls that are forwarded leave from here.
    pub inside: bool,
    address: String,
}

/// The addresses of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// All addresses of the machine, IPv4 and IPv6.
    All,
    /// This address. Its port has no meaning; [`Listener::port`] has it.
    Address(SocketAddr),
    /// The addresses of this name.
    Name(String),
}

/// An address under which callers reach an edge: `HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advertised {
    /// A host name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port; none for the port of the listener.
    pub port: Option<u16>,
}

/// A value that names the domain of a call whose Request-URI names none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DomainSource {
    /// The domain of the listener ([`Listener::domain`]).
    Listener,
    /// The host of the first Route header.
    Route,
    /// The host of To.
    To,
    /// This name.
    Name(DomainName),
}

impl Listener {
    /// The address as it was written, without the other parts.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl FromStr for Listener {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (address, mut rest) = match text.split_once(',') {
            Some((address, rest)) => (address, Some(rest)),
            None => (text, None),
        };
        let (place, port) = place(address)?;
        let (mut advertise, mut domain, mut inside) = (None, None, None);
        while let Some(parts) = rest {
            let (part, after) = match parts.split_once(',') {
                Some((part, after)) => (part, Some(after)),
                None => (parts, None),
            };
            rest = after;
            let is_new = match part.split_once('=') {
                Some(("advertise", value)) => advertise.replace(value.parse()?).is_none(),
                Some(("domain", value)) => {
                    let name: Result<DomainName, _> = value.parse();
                    let name = name.map_err(|error| AddressError::Domain(error.to_string()))?;
                    domain.replace(name).is_none()
                }
                None if part == "inside" => inside.replace(()).is_none(),
                _ => return Err(AddressError::Part(part.to_owned())),
            };
            if !is_new {
                return Err(AddressError::Twice(part.split('=').next().unwrap_or(part).to_owned()));
            }
        }
        let inside = inside.is_some();
        Ok(Self { place, port, advertise, domain, inside, address: address.to_owned() })
    }
}

/// Reads the address of a listener.
fn place(text: &str) -> Result<(Place, Option<u16>), AddressError> {
    // an IPv6 address may have a numeric scope, which a host of SIP cannot have
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok((Place::Address(address), Some(address.port())));
    }
    let (host, port) = split(text, Ports::AnyPort)?;
    if host.is_empty() {
        return match port {
            Some(_) => Ok((Place::All, port)),
            None => Err(AddressError::Empty),
        };
    }
    if host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::OnlyPort(host.to_owned()));
    }
    let place = match read_host(host)? {
        (_, Some(ip)) => Place::Address(SocketAddr::new(ip, 0)),
        (name, None) => Place::Name(name),
    };
    Ok((place, port))
}

impl FromStr for Advertised {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text, Ports::RealPort)?;
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        let (host, ip) = read_host(host)?;
        if ip.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return Err(AddressError::NotReachable(host));
        }
        Ok(Self { host, port })
    }
}

impl Advertised {
    /// The host as an IP address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        let text = self.host.trim_start_matches('[').trim_end_matches(']');
        text.parse().ok()
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for DomainSource {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.to_ascii_lowercase().as_str() {
            "listener" => Ok(Self::Listener),
            "route" => Ok(Self::Route),
            "to" => Ok(Self::To),
            _ => {
                let source = text.parse().map(Self::Name);
                source.map_err(|_| AddressError::Source(shortened(text)))
            }
        }
    }
}

impl fmt::Display for DomainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener => f.write_str("listener"),
            Self::Route => f.write_str("route"),
            Self::To => f.write_str("to"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(text: &str) -> (Place, Option<u16>) {
        let listener: Listener = text.parse().unwrap();
        (listener.place, listener.port)
    }

    #[test]
    fn all_forms_of_a_listener() {
        let at = |text: &str| Place::Address(SocketAddr::new(text.parse().unwrap(), 0));
        let name = |text: &str| Place::Name(text.to_owned());
        for (text, expected) in [
            (":5060", (Place::All, Some(5060))),
            (":0", (Place::All, Some(0))),
            ("localhost:5070", (name("localhost"), Some(5070))),
            ("Edge.Example.com", (name("edge.example.com"), None)),
            ("edge-1:5060", (name("edge-1"), Some(5060))),
            ("192.0.2.1", (at("192.0.2.1"), None)),
            ("::1", (at("::1"), None)),
            ("::", (at("::"), None)),
            ("[::1]", (at("::1"), None)),
            ("2001:db8::5", (at("2001:db8::5"), None)),
        ] {
            assert_eq!(listener(text), expected, "{text}");
        }
        for text in ["0.0.0.0:5060", "[::]:5060", "[fe80::1%2]:5060", "192.0.2.1:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(listener(text), (Place::Address(address), Some(address.port())), "{text}");
        }
    }

    #[test]
    fn a_listener_has_names() {
        let text = "0.0.0.0:5060,advertise=[2001:DB8:0::7]:5080,domain=SIP.example.com";
        let listener: Listener = text.parse().unwrap();
        let advertise = listener.advertise.unwrap();
        assert_eq!(advertise.to_string(), "[2001:db8::7]:5080");
        assert_eq!(advertise.ip(), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(listener.domain.unwrap().to_string(), "sip.example.com");
        assert_eq!(listener.address, "0.0.0.0:5060");
        let listener: Listener = ":5060,domain=a.example,advertise=Edge.example".parse().unwrap();
        let advertise = listener.advertise.unwrap();
        assert_eq!((advertise.to_string().as_str(), advertise.ip()), ("edge.example", None));
    }

    #[test]
    fn errors_of_listeners_are_precise() {
        for (text, part) in [
            ("", "expected an address"),
            ("5060", "write `:5060` for all addresses"),
            ("0.0.0.0:", "expected a port from 0 to 65535, found ``"),
            ("0.0.0.0:x", "expected a port from 0 to 65535, found `x`"),
            ("0.0.0.0:65536", "found `65536`"),
            ("0.0.0.0:+5060", "found `+5060`"),
            ("0.0.0.0: 5060", "found ` 5060`"),
            ("here:5060:udp", "`here:5060:udp` is not an IPv6 address"),
            ("::1:5060", "an IPv6 address needs brackets before a port: `[::1]:5060`"),
            ("2001:db8::1:15060", "`[2001:db8::1]:15060`"),
            ("[::1", "expected an IPv6 address in brackets"),
            ("[::1]5060", "expected an IPv6 address in brackets"),
            ("[edge]:5060", "expected an IPv6 address in brackets"),
            ("[fe80::1%eth0]:5060", "expected an IPv6 address in brackets"),
            ("300.1.1.1:5060", "`300.1.1.1`: malformed ipv4 address"),
            ("*:5060", "`*`: bad character in the host; `:PORT` is all addresses"),
            ("udp:192.0.2.1:5060", "without `udp:`"),
            ("SIP:edge", "without `SIP:`"),
            ("sip:alice:secret@edge", "without a user"),
            (":5060,advertise=alice:secret@edge", "without a user"),
            ("a b", "bad character"),
            (":5060,", "expected `advertise=HOST[:PORT]`, `domain=NAME` or `inside`, found ``"),
            (":5060,advertise", "found `advertise`"),
            (":5060,adverise=a", "found `adverise=a`"),
            (":5060,advertise=", "expected a host that callers can reach, found ``"),
            (":5060,advertise=:5060", "found `:5060`"),
            (":5060,advertise=a:0", "expected a port from 1 to 65535, found `0`"),
            (":5060,advertise=0.0.0.0", "callers cannot reach `0.0.0.0`"),
            (":5060,advertise=[::]:5060", "callers cannot reach `[::]`"),
            (":5060,advertise=224.0.0.1", "callers cannot reach"),
            (":5060,advertise=a\r\nb", "bad character"),
            (":5060,domain=", "domain:"),
            (":5060,domain=a b", "domain:"),
            (":5060,domain=a,domain=b", "expected one `domain=`, found two"),
            (":5060,advertise=a,advertise=a", "expected one `advertise=`, found two"),
        ] {
            let error = text.parse::<Listener>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn sources_of_a_domain() {
        for text in ["listener", "route", "to", "sos.example.com"] {
            assert_eq!(text.parse::<DomainSource>().unwrap().to_string(), text);
        }
        assert_eq!("To".parse(), Ok(DomainSource::To));
        for text in ["", "a b", "from:", "to,route"] {
            let error = text.parse::<DomainSource>().unwrap_err().to_string();
            assert!(error.contains("`listener`, `route`, `to` or a domain name"), "{error}");
        }
    }
}
