//! Finds the addresses of the listeners, and opens their sockets.

use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _, UdpSocket,
};

use sip_authz_config::{Advertised, Listener, Place};

use crate::args::ServeArgs;
use crate::sip::naming::{ListenerNames, Naming};
use crate::sip::sockets::{self, Bind, SipSockets};
use crate::system::output::{ProgramError, warn};

/// The listeners for SIP, with their addresses.
pub(crate) struct Listeners {
    sip: Vec<Resolved>,
    sips: Vec<Resolved>,
    naming: Naming,
}

/// An address to listen on.
struct Resolved {
    /// The option that names it.
    option: &'static str,
    bind: Bind,
    listener: Listener,
    /// The address for callers. Without it, answers name the address of the socket.
    advertise: Option<Advertised>,
}

/// The sockets of the listeners.
pub(crate) struct OpenListeners {
    pub(crate) sip: Vec<SipSockets>,
    pub(crate) sips: Vec<(TcpListener, SocketAddr)>,
    /// The names of the listeners: first those of `sip`, then those of `sips`.
    pub(crate) naming: Naming,
}

impl Listeners {
    /// Resolves the addresses. A name stands for those of its addresses that are of this machine.
    pub(crate) fn resolve(args: &ServeArgs) -> Result<Self, ProgramError> {
        let listen = &args.listen;
        let mut sip = resolve_all("--sip", &listen.sip, 5060)?;
        #[cfg(feature = "tls")]
        let mut sips = resolve_all("--sips", &args.tls.sips, 5061)?;
        #[cfg(not(feature = "tls"))]
        let mut sips: Vec<Resolved> = Vec::new();
        check_overlaps(&sip, &sips)?;
        let ipv4: Vec<u16> = sip.iter().chain(&sips).filter_map(ipv4_port).collect();
        for resolved in sip.iter_mut().chain(&mut sips) {
            resolved.bind.only_v6 = ipv4.contains(&resolved.bind.address.port());
            let own = resolved.listener.advertise.clone();
            let hidden = is_hidden(resolved.bind.address.ip());
            resolved.advertise = own.or_else(|| listen.advertise.clone().filter(|_| hidden));
        }
        for resolved in &mut sips {
            // the port of the default is that of --sip
            if let (None, Some(advertise)) = (&resolved.listener.advertise, &mut resolved.advertise)
            {
                advertise.port = None;
            }
        }
        let naming = Naming::new(listen.default_domain.clone());
        Ok(Self { sip, sips, naming })
    }

    /// The number of listeners for connections.
    pub(crate) fn count(&self) -> usize {
        self.sip.len() + self.sips.len()
    }

    /// The number of listeners for datagrams.
    pub(crate) fn udp_count(&self) -> usize {
        self.sip.len()
    }

    /// Opens the sockets, with this number of UDP sockets for each address.
    pub(crate) fn open(self, threads: usize) -> Result<OpenListeners, ProgramError> {
        let Self { sip, sips, mut naming } = self;
        let mut open =
            OpenListeners { sip: Vec::new(), sips: Vec::new(), naming: Naming::default() };
        for resolved in sip {
            let sockets = SipSockets::open(resolved.bind, threads)?;
            naming.add(resolved.names(sockets.address));
            open.sip.push(sockets);
        }
        for resolved in sips {
            let (listener, address) = sockets::listen(resolved.bind, "tls")?;
            naming.add(resolved.names(address));
            open.sips.push((listener, address));
        }
        open.naming = naming;
        Ok(open)
    }
}

impl Resolved {
    fn names(self, local: SocketAddr) -> ListenerNames {
        let (is_tls, is_inside) = (self.option == "--sips", self.listener.inside);
        let names = ListenerNames::new(self.advertise.as_ref(), self.listener.domain, local);
        names.with_role(is_tls, is_inside)
    }
}

fn resolve_all(
    option: &'static str,
    listeners: &[Listener],
    default_port: u16,
) -> Result<Vec<Resolved>, ProgramError> {
    let mut all = Vec::new();
    for listener in listeners {
        let port = listener.port.unwrap_or(default_port);
        let wrong =
            |why: String| ProgramError::Setup(format!("{option} {}: {why}", listener.address()));
        let addresses = match &listener.place {
            Place::Address(address) => {
                let mut address = *address;
                address.set_port(port);
                vec![address]
            }
            Place::Name(name) => addresses_of(name, port, option, listener).map_err(wrong)?,
            // one socket for both, if the system has IPv6
            _ => vec![match is_of_this_machine(Ipv6Addr::UNSPECIFIED.into()) {
                true => (Ipv6Addr::UNSPECIFIED, port).into(),
                false => (Ipv4Addr::UNSPECIFIED, port).into(),
            }],
        };
        all.extend(addresses.into_iter().map(|address| Resolved {
            option,
            bind: address.into(),
            listener: listener.clone(),
            advertise: None,
        }));
    }
    Ok(all)
}

/// The addresses of a name that are of this machine, IPv4 first.
fn addresses_of(
    name: &str,
    port: u16,
    option: &str,
    listener: &Listener,
) -> Result<Vec<SocketAddr>, String> {
    let is_localhost = name == "localhost";
    let found: Vec<SocketAddr> = if is_localhost {
        // RFC 6761 §6.3: loopback, whatever a name server says
        vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
    } else {
        let found = (name, port).to_socket_addrs();
        found.map_err(|error| format!("the name cannot be resolved: {error}"))?.collect()
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in &found {
        if is_of_this_machine(address.ip()) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        } else if !is_localhost {
            warn(format_args!(
                "{option} {}: {} is not an address of this machine, and is left out",
                listener.address(),
                address.ip()
            ));
        }
    }
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if addresses.is_empty() {
        return Err("the name has no address of this machine".to_owned());
    }
    Ok(addresses)
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The port of an IPv4 listener, if it is a fixed one.
fn ipv4_port(resolved: &Resolved) -> Option<u16> {
    let address = resolved.bind.address;
    (address.is_ipv4() && address.port() > 0).then_some(address.port())
}

/// Refuses two listeners for one address. The system would report an address in use.
fn check_overlaps(sip: &[Resolved], sips: &[Resolved]) -> Result<(), ProgramError> {
    let all: Vec<&Resolved> = sip.iter().chain(sips).collect();
    for (number, one) in all.iter().enumerate() {
        for other in all.iter().take(number) {
            let (a, b) = (one.bind.address, other.bind.address);
            let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            if a.port() == b.port() && a.port() > 0 && a.is_ipv4() == b.is_ipv4() && same_ip {
                return Err(ProgramError::Setup(format!(
                    "{} {}: {} {} listens on this address too",
                    one.option,
                    one.listener.address(),
                    other.option,
                    other.listener.address()
                )));
            }
        }
    }
    Ok(())
}

/// Whether callers in other networks cannot reach an address: it is private or a wildcard.
fn is_hidden(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // RFC 6598: addresses between a provider and its customers
            let is_shared = a == 100 && b & 0xc0 == 64;
            ip.is_unspecified()
                || ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || is_shared
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use sip_authz_config::Edge;
    #[cfg(feature = "tls")]
    use sip_authz_config::Options;

    use super::*;
    use crate::args::{Args, Command};

    fn resolve(listeners: &[&str]) -> Result<Vec<Resolved>, String> {
        let listeners: Vec<Listener> = listeners.iter().map(|text| text.parse().unwrap()).collect();
        let all = resolve_all("--sip", &listeners, 5060).map_err(|error| format!("{error:?}"))?;
        check_overlaps(&all, &[]).map_err(|error| format!("{error:?}"))?;
        Ok(all)
    }

    fn addresses(listener: &str) -> Vec<String> {
        resolve(&[listener]).unwrap().iter().map(|it| it.bind.address.to_string()).collect()
    }

    #[test]
    fn addresses_of_each_form() {
        assert_eq!(addresses("192.0.2.1"), ["192.0.2.1:5060"]);
        assert_eq!(addresses("::1"), ["[::1]:5060"]);
        assert_eq!(addresses("[::]:5070"), ["[::]:5070"]);
        assert_eq!(addresses("localhost:5070")[0], "127.0.0.1:5070");
        assert_eq!(addresses("LocalHost")[0], "127.0.0.1:5060");
        let all = addresses(":5070");
        assert!(all == ["[::]:5070"] || all == ["0.0.0.0:5070"], "{all:?}");
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let error = resolve(&["no-such-host.invalid:5060"]).err().unwrap();
        assert!(
            error.contains("--sip no-such-host.invalid:5060: the name cannot be resolved"),
            "{error}"
        );
    }

    #[test]
    fn two_listeners_for_one_address_are_an_error() {
        for (one, other) in [
            ("127.0.0.1:5060", "127.0.0.1"),
            ("0.0.0.0:5060", "127.0.0.1:5060"),
            ("192.0.2.1", "0.0.0.0"),
            ("[::]:5060", "[::1]:5060"),
            ("localhost:5060", "127.0.0.1:5060"),
        ] {
            let error = resolve(&[one, other]).err().unwrap();
            let part = format!("--sip {other}: --sip {one} listens on this address too");
            assert!(error.contains(&part), "{error}");
        }
        for (one, other) in [
            ("0.0.0.0:5060", "[::]:5060"),
            ("0.0.0.0:5060", ":5061"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:5060", "127.0.0.2:5060"),
        ] {
            assert!(resolve(&[one, other]).is_ok(), "{one} {other}");
        }
    }

    /// The listeners of a command line and a file.
    fn listeners(options: &[&str], file: Edge) -> Listeners {
        let args = ["", "serve", "--on-accept=ok"].iter().chain(options);
        let args = Args::try_parse_from(args).unwrap();
        let Command::Serve(args) = args.command else { panic!("{args:?}") };
        Listeners::resolve(&args.completed(file).unwrap()).unwrap()
    }

    #[test]
    fn the_default_is_loopback() {
        let listeners = listeners(&[], Edge::default());
        let all: Vec<_> = listeners.sip.iter().map(|it| it.bind.address.to_string()).collect();
        assert_eq!((all, listeners.count()), (vec!["127.0.0.1:5060".to_owned()], 1));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn an_advertised_address_is_for_listeners_that_hide_theirs() {
        let file = "[edge]\nsips = ['10.0.0.7', '203.0.113.7', '10.0.0.8,advertise=tls.example:5071']\n\
                    tls_cert = 'chain.pem'\ntls_key = 'key.pem'";
        let file = sip_authz_config::parse(file, &Options::new()).unwrap().edge;
        let options = [
            "--sip=10.0.0.7",
            "--sip=203.0.113.7",
            "--sip=203.0.113.8,advertise=own.example",
            "--sip=[::]:5070",
            "--advertise=edge.example:5080",
        ];
        let listeners = listeners(&options, file);
        let told = |all: &[Resolved]| -> Vec<String> {
            let one = |it: &Resolved| it.advertise.as_ref().map(ToString::to_string);
            all.iter().map(|it| one(it).unwrap_or_default()).collect()
        };
        let sip = ["edge.example:5080", "", "own.example", "edge.example:5080"];
        assert_eq!(told(&listeners.sip), sip);
        // the port of the default is that of --sip
        assert_eq!(told(&listeners.sips), ["edge.example", "", "tls.example:5071"]);
    }

    #[test]
    fn an_ipv6_wildcard_leaves_ipv4_to_another_listener_of_its_port() {
        for (options, expected) in [
            (&["--sip=[::]:5060"][..], &[false][..]),
            (&["--sip=[::]:5060", "--sip=0.0.0.0:5060"], &[true, true]),
            (&["--sip=127.0.0.1:5060", "--sip=[::]:5060"], &[true, true]),
            (&["--sip=[::]:5060", "--sip=0.0.0.0:5061"], &[false, true]),
            (&["--sip=[::]:0", "--sip=0.0.0.0:0"], &[false, false]),
        ] {
            let listeners = listeners(options, Edge::default());
            let only_v6: Vec<_> = listeners.sip.iter().map(|it| it.bind.only_v6).collect();
            assert_eq!(only_v6, expected, "{options:?}");
        }
    }

    #[test]
    fn private_and_wildcard_addresses_are_hidden() {
        for ip in [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_hidden(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.7", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(!is_hidden(ip.parse().unwrap()), "{ip}");
        }
    }
}
