//! The names of an edge: the address that it gives for itself, and what names the domain of a call whose
//! Request-URI names none.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use sip_authz::message::{Header, Message};
use sip_authz::model::DomainName;
use sip_authz::uri::{Scheme, SipUri, name_addr};
use sip_authz::{Invite, Transport};
use sip_authz_config::{Advertised, DomainSource};
use sip_authz_proxy::Leg;

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
    /// The address of the socket, which can be a wildcard address.
    local: Option<SocketAddr>,
    is_tls: bool,
    is_inside: bool,
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
        Self { advertise, domain, local: Some(local), is_tls: false, is_inside: false }
    }

    /// Sets whether the listener is for TLS, and whether it faces the next hops.
    pub(crate) fn with_role(self, is_tls: bool, is_inside: bool) -> Self {
        Self { is_tls, is_inside, ..self }
    }

    /// Whether this listener has the port, and the host is its name or address.
    fn has(&self, host: &str, port: u16) -> bool {
        if let Some((name, _)) = &self.advertise
            && name.rsplit_once(':').is_some_and(|(name, digits)| {
                name.eq_ignore_ascii_case(host) && digits.parse() == Ok(port)
            })
        {
            return true;
        }
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let (Some(local), Ok(ip)) = (self.local, bare.parse::<IpAddr>()) else { return false };
        let (own, ip) = (local.ip().to_canonical(), ip.to_canonical());
        // only an address of this machine can be bound
        local.port() == port
            && (own == ip || own.is_unspecified() && UdpSocket::bind((ip, 0)).is_ok())
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

    /// The address of the first listener, for messages of this edge itself.
    pub(crate) fn any_address(&self) -> String {
        let first = self.listeners.first();
        let advertise = first.and_then(|listener| Some(listener.advertise.as_ref()?.0.clone()));
        let local = first.and_then(|listener| listener.local);
        advertise.or_else(|| Some(local?.to_string())).unwrap_or_else(|| "edge.invalid".to_owned())
    }

    /// Whether a URI has the name or the address of a listener.
    pub(crate) fn names_us(&self, uri: &SipUri<'_>) -> bool {
        let default = if uri.scheme == Scheme::Sips { 5061 } else { 5060 };
        let port = uri.port.unwrap_or(default);
        self.listeners.iter().any(|listener| listener.has(uri.host, port))
    }

    /// Whether a listener is for TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.listeners.iter().any(|listener| listener.is_tls)
    }

    /// The listener from which messages go to a next hop: the first one that faces the next hops, else
    /// the first one, that has the transport and the kind of address.
    pub(crate) fn facing(&self, hop: &Leg) -> Option<Local> {
        let is_tls = hop.transport == Transport::Tls;
        let reaches = |local: SocketAddr| match local {
            // one socket for both
            SocketAddr::V6(local) if local.ip().is_unspecified() => true,
            local => {
                local.ip().to_canonical().is_ipv4() == hop.address.ip().to_canonical().is_ipv4()
            }
        };
        let fits = |it: &ListenerNames| it.is_tls == is_tls && it.local.is_some_and(reaches);
        let all = || self.listeners.iter().enumerate().filter(|(_, it)| fits(it));
        let (number, listener) = all().find(|(_, it)| it.is_inside).or_else(|| all().next())?;
        Some(Local::at(listener.local?, number))
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
        self.domain_hosts(message, local).fold(invite, Invite::with_domain_host)
    }

    /// The hosts that decide if the Request-URI names no domain.
    pub(crate) fn domain_hosts<'a>(
        &'a self,
        message: &Message<'a>,
        local: Local,
    ) -> impl Iterator<Item = &'a str> {
        let sources = self.default_domain.iter();
        sources.filter_map(move |source| self.domain_host(source, message, local))
    }

    /// The listener with this number.
    pub(crate) fn listener(&self, number: usize) -> Option<Local> {
        Some(Local::at(self.listeners.get(number)?.local?, number))
    }

    /// Whether any listener is for the next hops.
    pub(crate) fn has_inside(&self) -> bool {
        self.listeners.iter().any(|listener| listener.is_inside)
    }

    /// The addresses of listeners for the next hops that hosts outside can reach too: they listen on all
    /// addresses of the machine.
    pub(crate) fn exposed_inside(&self) -> impl Iterator<Item = SocketAddr> {
        let inside = self.listeners.iter().filter(|listener| listener.is_inside);
        inside.filter_map(|listener| listener.local).filter(|local| local.ip().is_unspecified())
    }

    /// Whether a listener is for the next hops.
    pub(crate) fn is_inside(&self, number: usize) -> bool {
        self.listeners.get(number).is_some_and(|listener| listener.is_inside)
    }

    /// Whether datagrams to callers can leave from a listener.
    pub(crate) fn has_udp_for_callers(&self, number: usize) -> bool {
        self.listeners.get(number).is_some_and(|listener| !listener.is_tls && !listener.is_inside)
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

    /// Listeners with an address, the roles `tls` and `inside`, and an address for callers.
    fn listeners(all: &[(&str, &str, Option<&str>)]) -> Naming {
        let mut naming = Naming::default();
        for (local, role, advertise) in all {
            let advertise = advertise.map(|advertise| advertise.parse().unwrap());
            let names = ListenerNames::new(advertise.as_ref(), None, local.parse().unwrap());
            naming.add(names.with_role(role.contains("tls"), role.contains("inside")));
        }
        naming
    }

    #[test]
    fn a_next_hop_has_a_listener_that_faces_it() {
        let one = listeners(&[("192.0.2.1:5060", "", None), ("192.0.2.1:5061", "tls", None)]);
        let two = listeners(&[
            ("192.0.2.1:5060", "", None),
            ("[2001:db8::1]:5060", "", None),
            ("10.0.0.1:5060", "inside", None),
        ]);
        let both = listeners(&[("[::]:5060", "", None)]);
        for (naming, transport, hop, expected) in [
            (&one, Transport::Udp, "10.0.0.2:5060", Some(0)),
            (&one, Transport::Tcp, "10.0.0.2:5060", Some(0)),
            (&one, Transport::Tls, "10.0.0.2:5061", Some(1)),
            (&one, Transport::Udp, "[2001:db8::2]:5060", None),
            (&two, Transport::Udp, "10.0.0.2:5060", Some(2)),
            (&two, Transport::Tcp, "[2001:db8::2]:5060", Some(1)),
            (&two, Transport::Tls, "10.0.0.2:5060", None),
            (&both, Transport::Udp, "10.0.0.2:5060", Some(0)),
            (&both, Transport::Udp, "[2001:db8::2]:5060", Some(0)),
        ] {
            let hop = Leg::hop(transport, hop.parse().unwrap());
            assert_eq!(naming.facing(&hop).map(|it| it.listener), expected, "{hop:?}");
        }
    }

    #[test]
    fn a_uri_names_us_by_host_and_port() {
        let naming = listeners(&[
            ("192.0.2.1:5060", "", Some("edge.example")),
            ("192.0.2.1:5061", "tls", Some("203.0.113.7:5071")),
            ("0.0.0.0:5070", "", None),
        ]);
        for uri in [
            "sip:192.0.2.1",
            "sip:192.0.2.1:5060;transport=tcp;lr",
            "sips:192.0.2.1",
            "sip:Edge.Example;lr",
            "sip:x@edge.example:5060",
            "sip:203.0.113.7:5071",
            "sip:127.0.0.1:5070",
        ] {
            assert!(naming.names_us(&SipUri::parse(uri).unwrap()), "{uri}");
        }
        for uri in [
            "sip:192.0.2.1:5070",
            "sip:192.0.2.2",
            "sip:edge.example:5061",
            "sip:edge.example.org",
            "sip:203.0.113.7",
            "sip:127.0.0.1",
            "sip:198.51.100.1:5070",
        ] {
            assert!(!naming.names_us(&SipUri::parse(uri).unwrap()), "{uri}");
        }
    }
}
