//! The names of an edge: the address that it gives for itself, and what names the domain of a call whose
//! Request-URI names none.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sip_authz::Invite;
use sip_authz::message::{Header, Message};
use sip_authz::model::DomainName;
use sip_authz::uri::{SipUri, name_addr};
use sip_authz_config::{Advertised, DomainSource};

use crate::sip::peer::{Local, Peer};
use crate::sip::route::Routes;

/// The names of all listeners, and what names the domain of a call.
#[derive(Default)]
pub(crate) struct Naming {
    listeners: Vec<ListenerNames>,
    default_domain: Vec<DomainSource>,
}

/// The names of a listener.
#[derive(Default)]
pub(crate) struct ListenerNames {
    /// Host and port for callers, and the host if it is an IP address.
    advertise: Option<(String, Option<IpAddr>)>,
    domain: Option<DomainName>,
}

impl ListenerNames {
    /// The names of the listener with the address `local`.
    pub(crate) fn new(
        advertise: Option<&Advertised>,
        domain: Option<DomainName>,
        local: SocketAddr,
    ) -> Self {
        let advertise = advertise.map(|advertise| {
            let port = advertise.port.unwrap_or(local.port());
            (format!("{}:{port}", advertise.host), advertise.ip())
        });
        Self { advertise, domain }
    }
}

/// An address under which a caller reaches this edge. `Display` is host and port, for a SIP URI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OwnAddress<'n> {
    name: Option<&'n str>,
    address: SocketAddr,
    ip: IpAddr,
}

impl OwnAddress<'_> {
    /// The IP address: that of the machine if the name is no address.
    pub(crate) fn ip(&self) -> IpAddr {
        self.ip
    }
}

impl fmt::Display for OwnAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => self.address.fmt(f),
        }
    }
}

impl Naming {
    /// Names without listeners.
    pub(crate) fn new(default_domain: Vec<DomainSource>) -> Self {
        Self { listeners: Vec::new(), default_domain }
    }

    /// Adds the names of the next listener.
    pub(crate) fn add(&mut self, listener: ListenerNames) {
        self.listeners.push(listener);
    }

    /// Host and port for callers of each listener that has its own, with the listener's number.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = (usize, &str)> {
        let listeners = self.listeners.iter().enumerate();
        listeners.filter_map(|(number, it)| Some((number, it.advertise.as_ref()?.0.as_str())))
    }

    /// The address for the sender of a message.
    pub(crate) fn own_address(&self, peer: Peer, routes: &mut Routes) -> OwnAddress<'_> {
        let listener = self.listeners.get(peer.local.listener);
        match listener.and_then(|names| names.advertise.as_ref()) {
            Some((name, Some(ip))) => {
                OwnAddress { name: Some(name), address: peer.local.address, ip: *ip }
            }
            named => {
                let address = routes.local_address(peer);
                let name = named.map(|(name, _)| name.as_str());
                OwnAddress { name, address, ip: address.ip() }
            }
        }
    }

    /// Adds the hosts that decide if the Request-URI names no domain.
    pub(crate) fn add_domain_hosts<'a>(
        &'a self,
        invite: Invite<'a>,
        message: &Message<'a>,
        local: Local,
    ) -> Invite<'a> {
        self.default_domain.iter().fold(invite, |invite, source| {
            match self.domain_host(source, message, local) {
                Some(host) => invite.with_domain_host(host),
                None => invite,
            }
        })
    }

    fn domain_host<'a>(
        &'a self,
        source: &'a DomainSource,
        message: &Message<'a>,
        local: Local,
    ) -> Option<&'a str> {
        match source {
            DomainSource::Listener => {
                self.listeners.get(local.listener)?.domain.as_ref().map(DomainName::as_str)
            }
            source => domain_host(source, message),
        }
    }
}

/// The hosts that these sources give for a datagram. Sources without a host are left out, and the domain
/// of a listener, which the datagram does not show.
pub(crate) fn domain_hosts<'a>(
    sources: &'a [DomainSource],
    bytes: &'a [u8],
) -> Vec<(&'a DomainSource, &'a str)> {
    let Some(message) = Message::scan(bytes) else { return Vec::new() };
    let hosts = sources.iter().filter_map(|source| Some((source, domain_host(source, &message)?)));
    hosts.collect()
}

/// The host that a source gives for a message; none for the domain of a listener.
fn domain_host<'a>(source: &'a DomainSource, message: &Message<'a>) -> Option<&'a str> {
    let host = |value| Some(SipUri::parse_request_uri(name_addr(value)?.uri).ok()?.host);
    match source {
        DomainSource::Route => host(first_element(message.first(Header::Route)?)),
        DomainSource::To => host(message.first(Header::To)?),
        DomainSource::Name(name) => Some(name.as_str()),
        _ => None,
    }
}

/// The text before the first comma that is neither in quotes nor in angle brackets.
fn first_element(value: &[u8]) -> &[u8] {
    let (mut is_quoted, mut is_escaped, mut is_uri) = (false, false, false);
    let end = value.iter().position(|byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted => is_escaped = !was_escaped,
            b'"' if !is_uri && !was_escaped => is_quoted = !is_quoted,
            b'<' if !is_quoted => is_uri = true,
            b'>' if !is_quoted => is_uri = false,
            b',' => return !is_quoted && !is_uri,
            _ => {}
        }
        false
    });
    value.get(..end.unwrap_or(value.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sip_authz::Transport;

    use super::*;

    fn message(headers: &str) -> Vec<u8> {
        format!(
            "INVITE tel:911 SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
             Call-ID: 1\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// The hosts that these sources give for a message with these headers, at the second listener.
    fn hosts(sources: &str, headers: &str) -> Vec<String> {
        let sources = sources.split(',').map(|source| source.parse().unwrap()).collect();
        let mut naming = Naming::new(sources);
        let local = "192.0.2.2:5060".parse().unwrap();
        naming.add(ListenerNames::default());
        let domain = "Listener.Example".parse().unwrap();
        naming.add(ListenerNames::new(None, Some(domain), local));
        let bytes = message(headers);
        let message = Message::scan(&bytes).unwrap();
        let invite = Invite::new("tel:911", "192.0.2.1:9".parse().unwrap(), Transport::Udp);
        let invite = naming.add_domain_hosts(invite, &message, Local::at(local, 1));
        invite.domain_hosts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_come_in_the_order_of_their_sources() {
        let headers = "To: <sip:911@to.example>\r\nRoute: <sip:route.example;lr>\r\n";
        assert_eq!(
            hosts("to,listener,fixed.example,route", headers),
            ["to.example", "listener.example", "fixed.example", "route.example"]
        );
        assert_eq!(hosts("route,to", "To: <tel:911>\r\n"), [""; 0]);
    }

    #[test]
    fn the_first_route_is_read() {
        for (headers, expected) in [
            ("Route: <sip:a.example;lr>, <sip:b.example;lr>\r\n", Some("a.example")),
            ("Route: <sip:a.example;lr>\r\nRoute: <sip:b.example;lr>\r\n", Some("a.example")),
            ("Route: <sip:p1@a.example:5080;lr;x=1,2>,<sip:b.example>\r\n", Some("a.example")),
            ("Route: \"b, \\\" <sip:b.example>\" <sip:a.example>;x=\",\"\r\n", Some("a.example")),
            ("Route: <sips:[2001:db8::1]:5061;lr>\r\n", Some("[2001:db8::1]")),
            ("route:\r\n <sip:a.example>\r\n", Some("a.example")),
            ("Route: <sip:a@b@c.example>\r\n", None),
            ("Route: <tel:1>, <sip:a.example>\r\n", None),
            ("Route: <sip:a.example\r\n", None),
            ("Route: a.example\r\n", None),
            ("Route: ,<sip:a.example>\r\n", None),
            ("Route: <sip:a b>\r\n", None),
            ("Route: \r\n", None),
            ("Record-Route: <sip:a.example>\r\n", None),
            ("", None),
        ] {
            let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(hosts("route", headers), expected, "{headers}");
        }
    }

    #[test]
    fn an_address_for_callers_replaces_that_of_the_machine() {
        let mut naming = Naming::default();
        let local: SocketAddr = "127.0.0.1:5062".parse().unwrap();
        for advertise in ["203.0.113.7", "[2001:db8::7]:5080", "Edge.example", "edge.example:5080"]
        {
            let advertise = advertise.parse().unwrap();
            naming.add(ListenerNames::new(Some(&advertise), None, local));
        }
        naming.add(ListenerNames::default());
        let own = |number| {
            let local = Local::at(local, number);
            let source = "127.0.0.1:9".parse().unwrap();
            let peer = Peer { source, local, transport: Transport::Udp };
            let own = naming.own_address(peer, &mut Routes::default());
            (own.to_string(), own.ip().to_string())
        };
        for (number, (text, ip)) in [
            ("203.0.113.7:5062", "203.0.113.7"),
            ("[2001:db8::7]:5080", "2001:db8::7"),
            // the session description has an address in any case
            ("edge.example:5062", "127.0.0.1"),
            ("edge.example:5080", "127.0.0.1"),
            ("127.0.0.1:5062", "127.0.0.1"),
            ("127.0.0.1:5062", "127.0.0.1"),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(own(number), (text.to_owned(), ip.to_owned()), "{number}");
        }
        let advertised: Vec<_> = naming.advertised().map(|(number, _)| number).collect();
        assert_eq!(advertised, [0, 1, 2, 3]);
    }
}
