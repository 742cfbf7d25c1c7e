//! Attacks on responses.

use sip_authz::Transport;
use sip_authz_proxy::{Leg, NotRelayed};
use sip_authz_testing::proxy_world::{
    Outcome, Peer, STRANGER, World, answer, answering, connection, datagram, values,
};

use crate::{HOSTS, edited, phone, phones, stranger};

const NOT_OURS: Outcome = Outcome::NotRelayed(NotRelayed::NotOurs);
const ELSEWHERE: Outcome = Outcome::NotRelayed(NotRelayed::Elsewhere);

/// A call that rings: the request as the hop got it, its answer, and the leg to the hop.
fn ringing(world: &mut World, leg: Leg, host: &str) -> (String, String, Leg) {
    let (hop, got) = world.receive(Peer::phone(leg, host, "1").request("INVITE", ""), leg).sent();
    let ok = answer(&got, 200, "t", hop.address);
    (got, ok, hop)
}

#[test]
fn a_forged_response_with_a_victim_as_second_via_goes_nowhere() {
    let mut world = World::new();
    let (got, ok, hop) = ringing(&mut world, phone(), "a.example");
    let vias = values(&got, "Via");
    let (start, end) = (ok.find("Via: ").unwrap(), ok.find("Record-Route: ").unwrap());
    let with = |vias: &str| format!("{}{vias}{}", &ok[..start], &ok[end..]);
    let victim = "Via: SIP/2.0/UDP victim.example:53;branch=z9hG4bKx\r\n";
    let own = vias[0].split(";branch=").next().unwrap();
    for top in [
        format!("Via: {own};branch=z9hG4bKx\r\n"),
        format!(
            "Via: {own};branch=z9hG4bK0123456789abcdef0123456789abcdef;loop=0123456789abcdef;leg=AAAA\r\n"
        ),
        format!("Via: {}\r\n", vias[1]),
        victim.to_owned(),
        // ours is not on top
        format!("{victim}Via: {}\r\n", vias[0]),
        format!("Via: SIP/2.0/UDP x, {}\r\n", vias[0]),
    ] {
        for from in [answering(hop), stranger(), phone()] {
            assert_eq!(world.receive(with(&format!("{top}{victim}")), from), NOT_OURS, "{top}");
        }
    }
    // a right one leads to the phone, whatever is second; and only from the hop
    let right = with(&format!("Via: {}\r\n{victim}", vias[0]));
    assert_eq!(world.receive(&right, stranger()), ELSEWHERE);
    world.receive(&right, answering(hop)).sent_to(phone());
    // without a second one it is an answer for the edge
    let alone = with(&format!("Via: {}\r\n", vias[0]));
    assert_eq!(world.receive(alone, answering(hop)), Outcome::NotRelayed(NotRelayed::NoVia));
}

#[test]
fn each_changed_letter_of_our_via_is_noticed() {
    let mut world = World::new();
    let (got, ok, hop) = ringing(&mut world, phone(), "a.example");
    let via = values(&got, "Via").remove(0);
    let mark = via.find(";loop=").unwrap();
    let leg = via.find(";leg=").unwrap();
    for at in via.find("branch=").unwrap() + 7..via.len() {
        // the mark counts in requests only
        if (mark..=leg).contains(&at) || via[at..].starts_with("leg=") {
            continue;
        }
        let mut changed = via.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        let outcome = world.receive(ok.replace(&via, &changed), answering(hop));
        assert!(matches!(outcome, Outcome::NotRelayed(_)), "{at} {changed}");
    }
    for more in [";leg=x", ";LEG=x", ";branch=x", ";leg", ";branch"] {
        let outcome = world.receive(ok.replace(&via, &format!("{via}{more}")), answering(hop));
        assert!(matches!(outcome, Outcome::NotRelayed(_)), "{more}");
    }
}

#[test]
fn a_response_from_elsewhere_goes_nowhere() {
    for phone in phones() {
        for host in HOSTS {
            let mut world = World::new();
            let (_, ok, hop) = ringing(&mut world, phone, host);
            let (ip, port) = (hop.address.ip(), hop.address.port());
            let other_port = format!("{ip}:{}", port + 1);
            let same = hop.address.to_string();
            let mut elsewhere = vec![
                stranger(),
                phone,
                datagram(&other_port),
                datagram(&format!("10.0.0.99:{port}")),
                // connections that the hop or somebody else opened
                connection(Transport::Tcp, &same, 5),
                connection(Transport::Tls, &same, 5),
                connection(Transport::Tcp, &other_port, 5),
                Leg::hop(Transport::Tcp, other_port.parse().unwrap()),
                Leg::hop(Transport::Tls, other_port.parse().unwrap()),
            ];
            for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
                if transport != hop.transport {
                    elsewhere.push(answering(Leg::hop(transport, hop.address)));
                }
            }
            for from in elsewhere {
                assert_eq!(world.receive(&ok, from), ELSEWHERE, "{from:?}");
            }
            world.receive(&ok, answering(hop)).sent_to(phone);
            world.rotate();
            world.restart();
            world.receive(&ok, answering(hop)).sent_to(phone);
            world.rotate();
            assert_eq!(world.receive(&ok, answering(hop)), NOT_OURS);
        }
    }
}

#[test]
fn a_phone_answers_from_its_own_leg_only() {
    for phone in phones() {
        let mut world = World::new();
        let mut call = world.call(phone, "a.example", "1");
        let got = world.receive(call.callee.request("INFO", ""), call.callee.leg).sent_to(phone);
        let ok = answer(&got, 200, "x", phone.address);
        let mut elsewhere = vec![stranger(), datagram("192.0.2.77:5070"), answering(call.hop)];
        elsewhere.extend(phones().into_iter().filter(|leg| *leg != phone));
        elsewhere.push(connection(phone.transport, &phone.address.to_string(), 99));
        for from in elsewhere {
            assert_eq!(world.receive(&ok, from), ELSEWHERE, "{from:?}");
        }
        world.receive(&ok, phone).sent_to(answering(call.hop));
        // the answer of one phone is none for the request of another
        let victim = format!("SIP/2.0/UDP {STRANGER}:53;branch=z9hG4bKx");
        let second = values(&got, "Via").remove(1);
        world.receive(edited(&ok, &second, &victim), phone).sent_to(answering(call.hop));
    }
}

#[test]
fn the_token_of_one_request_is_none_for_another() {
    let mut world = World::new();
    let (got, ok, hop) = ringing(&mut world, phone(), "a.example");
    let other = phones()[1];
    let (second, _, _) = ringing(&mut world, other, "a.example");
    let parts = |text: &str| {
        let via = values(text, "Via").remove(0);
        let (head, leg) = via.split_once(";leg=").unwrap();
        (head.to_owned(), leg.to_owned())
    };
    let ((head, leg), (other_head, other_leg)) = (parts(&got), parts(&second));
    for changed in [format!("{head};leg={other_leg}"), format!("{other_head};leg={leg}")] {
        let via = format!("{head};leg={leg}");
        assert_eq!(world.receive(ok.replace(&via, &changed), answering(hop)), NOT_OURS);
    }
    // the token of a Route
    let route = values(&got, "Record-Route").remove(1);
    let token = route.trim_start_matches("<sip:").split('@').next().unwrap();
    assert_eq!(world.receive(ok.replace(&leg, token), answering(hop)), NOT_OURS);
}

#[test]
fn a_response_with_two_readings_goes_nowhere() {
    let mut world = World::new();
    let (got, ok, hop) = ringing(&mut world, phone(), "a.example");
    let via = values(&got, "Via").remove(0);
    for (from, to) in [
        ("SIP/2.0 200", "SIP/2.0  200"),
        ("SIP/2.0 200", "sip/2.0 200"),
        ("SIP/2.0 200 Text\r\n", "SIP/2.0 200 Text\n"),
        ("Via: ", "Via : "),
        ("Via: ", "Via:\r\n "),
        ("Via: ", "Via: ,"),
        ("To: ", "t: <sip:x>\r\nTo: "),
        ("To: ", "Subject: a\rVia: x\r\nTo: "),
        ("Content-Length: 0", "Content-Length: 5"),
        ("Content-Length: 0", "Content-Length: 0\r\nl: 0"),
        ("Call-ID", "i"),
    ] {
        let outcome = world.receive(ok.replacen(from, to, 1), answering(hop));
        let stays = from == "Call-ID";
        assert_eq!(matches!(outcome, Outcome::Sent(..)), stays, "{to:?}");
    }
    // a request with our Via is no response
    let request = got.replacen("INVITE sip:100@a.example", "BYE sip:x@a.example", 1);
    assert!(request.contains(&via));
    assert!(!matches!(world.receive(request, answering(hop)), Outcome::Sent(..)));
}
