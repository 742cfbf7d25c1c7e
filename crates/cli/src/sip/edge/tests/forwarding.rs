//! Forwarding: which message leaves on which way.

use std::net::UdpSocket;
use std::time::Duration;

use sip_authz::model::{Account, Commit, Domain, IpAccessControlList, IpAddress, Mapping, Record};
use sip_authz::{AccountSid, DomainSid, IpAccessControlListSid, IpAddressSid};
use sip_authz_proxy::{Keys, Settings};

use super::*;
use crate::hops::{HopOptions, Hops, Receive};
use crate::sip::naming::ListenerNames;

const OUTSIDE: &str = "192.0.2.2:5060";
const PHONE: &str = "192.0.2.1:5070";

/// Nothing arrives on connections to next hops.
struct Nothing;

impl Receive for Nothing {
    fn message(&self, _: &[u8], _: Leg) -> Vec<u8> {
        Vec::new()
    }
}

/// An edge with two listeners, the second of which faces the hops; and the sockets of the second listener
/// and of a hop.
fn forwarding() -> (Edge, UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (inside, hop) = (bind(), bind());
    hop.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let answer: OnAccept = format!("forward:{}", hop.local_addr().unwrap()).parse().unwrap();
    let account = AccountSid::from_name(&["a"]);
    let (domain, acl) = (DomainSid::from_name(&["d"]), IpAccessControlListSid::from_name(&["l"]));
    let any = IpAddress::new(IpAddressSid::from_name(&["any"]), acl, "0.0.0.0/0".parse().unwrap());
    let mut commit = Commit::new();
    for record in [
        Record::from(Account::new(account)),
        IpAccessControlList::new(acl, account).into(),
        any.into(),
        Domain::new(domain, account, "sip.example".parse().unwrap()).into(),
        Mapping::IpAccessControlList(domain.into(), acl).into(),
    ] {
        commit.put(record);
    }
    let authorizer = Authorizer::new(Snapshot::empty().apply(&commit).unwrap()).unwrap();
    let mut naming = Naming::default();
    naming.add(ListenerNames::new(None, None, OUTSIDE.parse().unwrap()));
    let names = ListenerNames::new(None, None, inside.local_addr().unwrap());
    naming.add(names.with_role(false, true));
    let options = HopOptions {
        probe: Duration::ZERO,
        probe_wait: Duration::ZERO,
        ca: None,
        sent_by: "edge".to_owned(),
        tls: false,
    };
    let hops = Arc::new(Hops::new(options, Arc::new(Nothing)).unwrap());
    let keys = Keys::new((1, &[7; 32]), None).unwrap();
    let forwarding = Forwarding::new(keys, Settings::default(), Arc::clone(&hops));
    let sockets = vec![None, Some(inside.try_clone().unwrap())];
    let (tags, observers) = (TagKey::random().unwrap(), DecisionObservers::default());
    let edge = Edge::new(Arc::new(authorizer), tags, answer, ReplyPort::Auto, observers);
    let edge =
        edge.with_naming(naming).with_forwarding(forwarding, Outlets::new(sockets, Some(hops)));
    edge.set_hops(&edge.authorizer().snapshot());
    (edge, inside, hop)
}

fn request(method: &str, more: &str) -> String {
    format!(
        "{method} sip:100@sip.example SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKone\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@sip.example>;tag=f\r\nTo: <sip:100@sip.example>{more}\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\nContact: <sip:a@{PHONE}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Handles a datagram that came to the listener with this number. Returns the answers on its socket.
fn handle(
    edge: &Edge,
    bytes: &str,
    source: SocketAddr,
    listener: usize,
) -> Vec<(String, SocketAddr)> {
    let local = edge.naming().listener(listener).unwrap();
    let peer = Peer { source, local, transport: Transport::Udp };
    let mut scratch = BatchScratch::default();
    edge.answer_batch([(bytes.as_bytes(), peer)].into_iter(), Instant::now(), &mut scratch);
    let answers = scratch.answers();
    answers.map(|(bytes, to)| (String::from_utf8(bytes.to_vec()).unwrap(), to)).collect()
}

fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 4_096];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    (String::from_utf8(buffer[..len].to_vec()).unwrap(), from)
}

/// The values of a header, in order.
fn values<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    let field = |line: &'m str| line.strip_prefix(name)?.strip_prefix(": ");
    message.split("\r\n").filter_map(field).collect()
}

#[tokio::test]
async fn a_call_leaves_by_the_inside_and_its_answers_by_the_outside() {
    let (edge, inside, hop) = forwarding();
    let phone: SocketAddr = PHONE.parse().unwrap();
    let (at_inside, at_hop) = (inside.local_addr().unwrap(), hop.local_addr().unwrap());
    assert_eq!(handle(&edge, &request("INVITE", ""), phone, 0), []);
    let (invite, from) = receive(&hop);
    assert_eq!(from, at_inside);
    assert_eq!(values(&invite, "Via").len(), 2);
    assert_eq!(values(&invite, "Max-Forwards"), ["69"]);
    assert_eq!(values(&invite, "X-Authz-Domain"), ["sip.example"]);
    let routes = values(&invite, "Record-Route");
    assert!(
        routes[0].contains(&format!("@{at_inside};")) && routes[1].contains("@192.0.2.2:5060;")
    );

    // a response leaves from the socket of the first listener
    let head: String =
        invite.split_inclusive("\r\n").skip(1).filter(|line| !line.starts_with("To")).collect();
    let ringing = format!("SIP/2.0 180 Ringing\r\nTo: <sip:100@sip.example>;tag=t\r\n{head}");
    assert_eq!(handle(&edge, &ringing, at_hop, 1), []);
    assert_eq!(edge.totals.unsent(), 1, "the first listener has no socket in this test");
    let relayed = handle(&edge, &ringing, at_hop, 0);
    let [(relayed, to)] = relayed.as_slice() else { panic!("{relayed:?}") };
    assert_eq!((*to, values(relayed, "Via").len()), (phone, 1));
    // from elsewhere it leaves nowhere
    assert_eq!(handle(&edge, &ringing, "192.0.2.9:5060".parse().unwrap(), 0), []);

    // CANCEL and the ACK of a failure follow the INVITE; with a tag of this side an ACK does not
    for method in ["CANCEL", "ACK"] {
        assert_eq!(handle(&edge, &request(method, ";tag=t"), phone, 0), []);
        let (followed, _) = receive(&hop);
        assert!(followed.starts_with(method), "{followed}");
        assert_eq!(values(&followed, "Via")[0], values(&invite, "Via")[0]);
    }

    // requests of the dialog go by their Routes, both ways, and others are in no dialog
    let routes: String = routes.iter().rev().map(|value| format!("Route: {value}\r\n")).collect();
    let bye = request("BYE", ";tag=t").replace("Max-Forwards", &format!("{routes}Max-Forwards"));
    assert_eq!(handle(&edge, &bye, phone, 0), []);
    let (bye, _) = receive(&hop);
    assert!(bye.starts_with("BYE ") && values(&bye, "Route").is_empty(), "{bye}");
    let [(answer, _)] = &handle(&edge, &request("BYE", ";tag=t"), phone, 0)[..] else { panic!() };
    assert!(answer.starts_with("SIP/2.0 481 "), "{answer}");
}

#[tokio::test]
async fn the_ack_of_an_own_answer_goes_nowhere() {
    let (edge, _inside, hop) = forwarding();
    let phone: SocketAddr = PHONE.parse().unwrap();
    let refused = request("INVITE", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    let [(answer, _)] = &handle(&edge, &refused, phone, 0)[..] else { panic!() };
    assert!(answer.starts_with("SIP/2.0 483 "), "{answer}");
    let (_, tag) = values(answer, "To")[0].split_once(";tag=").unwrap();
    let ack = request("ACK", &format!(";tag={tag}"));
    hop.set_nonblocking(true).unwrap();
    // some phones repeat the Via of the answer
    for params in ["one", "one;rport", "one;received=192.0.2.1;rport=5070"] {
        assert_eq!(handle(&edge, &ack.replace("bKone", &format!("bK{params}")), phone, 0), []);
        assert!(hop.recv_from(&mut [0; 9]).is_err(), "{params}");
    }
    // after a restart, and on another machine with the same keys
    let (other, _inside, other_hop) = forwarding();
    assert_eq!(handle(&other, &ack, phone, 0), []);
    other_hop.set_nonblocking(true).unwrap();
    assert!(other_hop.recv_from(&mut [0; 9]).is_err());
    // one without a tag of this side goes to the hop of its domain
    assert_eq!(handle(&edge, &request("ACK", ";tag=other"), phone, 0), []);
    hop.set_nonblocking(false).unwrap();
    assert!(receive(&hop).0.starts_with("ACK "));
}

#[tokio::test]
async fn other_methods_are_decided_where_calls_are_forwarded() {
    let (edge, _inside, hop) = forwarding();
    let phone: SocketAddr = PHONE.parse().unwrap();
    assert_eq!(handle(&edge, &request("OPTIONS", ""), phone, 0), []);
    assert!(receive(&hop).0.starts_with("OPTIONS sip:100@sip.example "));
    // for the edge itself
    let own = request("OPTIONS", "").replace("sip:100@sip.example SIP", "sip:sip.example SIP");
    let [(answer, _)] = &handle(&edge, &own, phone, 0)[..] else { panic!() };
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    for (method, status) in [("BYE", 481), ("PRACK", 481), ("REGISTER", 403)] {
        let [(answer, _)] = &handle(&edge, &request(method, ""), phone, 0)[..] else { panic!() };
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
    }
}
