//! Splits and checks `HOST[:PORT]`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use sip_authz::uri::Host;

/// A reason why a text is no listener, no advertised address or no source of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// An empty text.
    Empty,
    /// Digits without a colon, which are probably a port.
    OnlyPort(String),
    /// The text after the colon is not a port for a listener.
    Port(String),
    /// A user, and perhaps a password, before the host.
    User,
    /// A scheme or a transport before the address.
    Scheme(String),
    /// The text after the colon is not a port that callers can use.
    RealPort(String),
    /// An IPv6 address without brackets that seems to end in a port: the address and the port.
    Brackets(String, String),
    /// Several colons, but not an IPv6 address.
    Colons(String),
    /// Not an IPv6 address in brackets with an optional port.
    Ipv6(String),
    /// Not a host: the text, and the reason.
    Host(String, String),
    /// An advertised address without a host.
    NoHost(String),
    /// An advertised address that stands for no machine.
    NotReachable(String),
    /// An unknown part after a comma.
    Part(String),
    /// A part that is there twice.
    Twice(String),
    /// The value of `domain=` is not a domain name: the reason.
    Domain(String),
    /// Not a source of a domain.
    Source(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "expected an address such as `0.0.0.0:5060`, `:5060` or `localhost:5060`, found nothing",
            ),
            Self::OnlyPort(port) => {
                let port = shortened(port);
                write!(f, "expected an address, found `{port}`; write `:{port}` for all addresses")
            }
            Self::Port(port) => {
                write!(f, "expected a port from 0 to 65535, found `{}`", shortened(port))
            }
            Self::RealPort(port) => {
                write!(f, "expected a port from 1 to 65535, found `{}`", shortened(port))
            }
            Self::User => f.write_str("expected a host and a port without a user before them"),
            Self::Scheme(scheme) => {
                write!(f, "expected a host and a port without `{scheme}:`, such as `192.0.2.7:5060`")
            }
            Self::Brackets(address, port) => {
                write!(f, "an IPv6 address needs brackets before a port: `[{address}]:{port}`")
            }
            Self::Colons(text) => {
                let text = shortened(text);
                write!(f, "`{text}` is not an IPv6 address, and any other has one colon at most")
            }
            Self::Ipv6(text) => write!(
                f,
                "expected an IPv6 address in brackets and a port, such as `[::1]:5060`, found `{}`",
                shortened(text)
            ),
            Self::Host(host, why) => {
                let hint = if host == "*" { "; `:PORT` is all addresses" } else { "" };
                write!(f, "`{host}`: {why}{hint}")
            }
            Self::NoHost(text) => {
                write!(f, "expected a host that callers can reach, found `{}`", shortened(text))
            }
            Self::NotReachable(host) => {
                write!(f, "callers cannot reach `{host}`: it is not the address of one machine")
            }
            Self::Part(part) => {
                let part = shortened(part);
                write!(
                    f,
                    "expected `advertise=HOST[:PORT]`, `domain=NAME` or `inside`, found `{part}`"
                )
            }
            Self::Twice(name) if name == "inside" => f.write_str("expected one `inside`, found two"),
            Self::Twice(name) => write!(f, "expected one `{name}=`, found two"),
            Self::Domain(why) => write!(f, "domain: {why}"),
            Self::Source(text) => {
                write!(f, "expected `listener`, `route`, `to` or a domain name, found `{text}`")
            }
        }
    }
}

impl std::error::Error for AddressError {}

/// The ports that a text may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ports {
    /// Also 0, for a free port.
    AnyPort,
    /// Not 0.
    RealPort,
}

/// Words before an address that other programs know.
const SCHEMES: [&str; 8] = ["sip", "sips", "udp", "tcp", "tls", "ws", "wss", "http"];

/// Splits `HOST[:PORT]`. The host may be empty.
pub(super) fn split(text: &str, ports: Ports) -> Result<(&str, Option<u16>), AddressError> {
    if text.starts_with('[') {
        let wrong = || AddressError::Ipv6(text.to_owned());
        let end = text.find(']').ok_or_else(wrong)?;
        let (host, rest) = text.split_at_checked(end + 1).ok_or_else(wrong)?;
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((host, Some(port(digits, ports)?))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(wrong()),
        };
    }
    // a password must not be quoted as a port
    if text.contains('@') {
        return Err(AddressError::User);
    }
    // a machine may have such a name, so a port must not follow
    if let Some((scheme, rest)) = text.split_once(':')
        && rest.bytes().any(|byte| !byte.is_ascii_digit())
        && SCHEMES.iter().any(|name| name.eq_ignore_ascii_case(scheme))
    {
        return Err(AddressError::Scheme(scheme.to_owned()));
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((host, rest)) if !rest.contains(':') => Ok((host, Some(port(rest, ports)?))),
        // four decimal digits after an address are probably a port
        Some(_) => match text.rsplit_once(':') {
            Some((address, last))
                if last.len() >= 4
                    && last.bytes().all(|byte| byte.is_ascii_digit())
                    && address.parse::<Ipv6Addr>().is_ok() =>
            {
                Err(AddressError::Brackets(address.to_owned(), last.to_owned()))
            }
            _ if text.parse::<Ipv6Addr>().is_ok() => Ok((text, None)),
            _ => Err(AddressError::Colons(text.to_owned())),
        },
    }
}

fn port(digits: &str, ports: Ports) -> Result<u16, AddressError> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port =
        digits.parse().ok().filter(|port| is_plain && (*port > 0 || ports == Ports::AnyPort));
    port.ok_or_else(|| match ports {
        Ports::AnyPort => AddressError::Port(digits.to_owned()),
        Ports::RealPort => AddressError::RealPort(digits.to_owned()),
    })
}

/// Checks a host. Returns its canonical text, and the address if it is one.
pub(super) fn read_host(text: &str) -> Result<(String, Option<IpAddr>), AddressError> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(bare) = bare {
        let address: Ipv6Addr = bare.parse().map_err(|_| AddressError::Ipv6(text.to_owned()))?;
        return Ok((format!("[{address}]"), Some(address.into())));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        return Ok((host, Some(address)));
    }
    let host = Host::parse(text)
        .map_err(|error| AddressError::Host(shortened(text), error.to_string()))?;
    Ok((host.as_str().to_owned(), None))
}

/// The beginning of a text, without control characters.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
