//! The options of the decision service.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The decision service for SIP servers on this machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DecideArgs {
    /// Answer SIP servers on this machine that ask whether a request may pass, at a Unix socket or a
    /// loopback address, by frames or over HTTP (repeatable). Without --sip, the program then does not
    /// listen for SIP. A client can name any source address. TCP and HTTP need a token: see
    /// --decide-token-file
    #[arg(long, value_name = "unix:PATH|tcp:ADDR|http:ADDR")]
    pub(crate) decide: Vec<DecideAddress>,

    /// Allow processes of this user, a name or a number, to connect to the Unix sockets of --decide
    /// (repeatable) [default: the user that runs the program]
    #[arg(long, value_name = "USER", requires = "decide")]
    pub(crate) decide_user: Vec<String>,

    /// Group of the Unix sockets of --decide, a name or a number; their mode is 0660 [default: the group
    /// that runs the program]
    #[arg(long, value_name = "GROUP", requires = "decide")]
    pub(crate) decide_group: Option<String>,

    /// File with the token of clients over TCP and HTTP, readable only by its owner [default: the token in
    /// SIP_AUTHZ_DECIDE_TOKEN]
    #[arg(long, value_name = "FILE", requires = "decide")]
    pub(crate) decide_token_file: Option<PathBuf>,
}

/// An address of the decision service. `Display` has the form of the option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecideAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// A loopback address and a port, for frames.
    Tcp(SocketAddr),
    /// A loopback address and a port, for HTTP.
    Http(SocketAddr),
}

impl FromStr for DecideAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => loopback(address).map(Self::Tcp),
            Some(("http", address)) => loopback(address).map(Self::Http),
            _ => Err("expected `unix:` and a path, or `tcp:` or `http:`, an IP address and a port"),
        }
    }
}

fn loopback(address: &str) -> Result<SocketAddr, &'static str> {
    let address: SocketAddr =
        address.parse().map_err(|_| "expected an IP address and a port after `tcp:` or `http:`")?;
    if !address.ip().to_canonical().is_loopback() {
        return Err("expected a loopback address: the connection is not encrypted");
    }
    Ok(address)
}

impl fmt::Display for DecideAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Http(address) => write!(f, "http:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unix_sockets_and_loopback_addresses() {
        for text in [
            "unix:/run/a/b.sock",
            "unix:a:b",
            "tcp:127.0.0.1:5090",
            "tcp:[::1]:0",
            "http:127.0.0.1:5091",
        ] {
            assert_eq!(text.parse::<DecideAddress>().unwrap().to_string(), text);
        }
        for (text, part) in [
            ("", "expected `unix:`"),
            ("unix:", "expected `unix:`"),
            ("/run/a/b.sock", "expected `unix:`"),
            ("udp:127.0.0.1:5090", "expected `unix:`"),
            ("tcp:127.0.0.1", "and a port"),
            ("tcp:localhost:5090", "an IP address"),
            ("tcp:192.0.2.1:5090", "loopback"),
            ("tcp:0.0.0.0:5090", "loopback"),
            ("tcp:[::]:5090", "loopback"),
            ("http:192.0.2.1:5091", "loopback"),
            ("http://127.0.0.1:5091", "an IP address"),
            ("http:127.0.0.1:5091/v1/decide", "an IP address"),
        ] {
            assert!(text.parse::<DecideAddress>().unwrap_err().contains(part), "{text}");
        }
    }
}
