//! REGISTER on its way to the registrar.

use sip_authz::Transport;
use sip_authz_proxy::{Flaw, Leg, Refusal};
use sip_authz_testing::proxy_world::{
    INNER, Outcome, Peer, World, answer, answering, connection, spelled, values,
};

use crate::{HOSTS, edited, phone, phones};

/// A REGISTER of a phone.
fn register(leg: Leg, host: &str, more: &str) -> String {
    Peer::phone(leg, host, "1").register(host, more)
}

#[test]
fn a_registration_carries_one_path_and_no_record_route() {
    for leg in phones() {
        for (host, transport) in HOSTS.into_iter().zip(["udp", "tcp", "tls"]) {
            let mut world = World::new();
            let (hop, got) = world.receive(register(leg, host, ""), leg).sent();
            let path = values(&got, "Path").concat();
            assert!(path.starts_with("<sip:"), "{path}");
            assert!(path.ends_with(&format!("@{INNER};transport={transport};lr>")), "{path}");
            assert_eq!(values(&got, "Record-Route"), [""; 0]);
            assert_eq!(values(&got, "Supported"), ["path"]);
            assert_eq!(values(&got, "X-Authz-User"), ["alice"]);
            assert_eq!(values(&got, "Contact"), values(register(leg, host, ""), "Contact"));
            // the registrar copies Path into its answer (RFC 3327 §5.3)
            let ok = answer(&got, 200, "r", hop.address);
            let ok = ok.replace("Contact:", &format!("Path: {path}\r\nContact:"));
            let relayed = world.receive(ok, answering(hop)).sent_to(leg);
            assert_eq!(values(&relayed, "Path"), [path]);
        }
    }
}

#[test]
fn a_retransmitted_registration_has_the_same_bytes() {
    for leg in phones() {
        let mut world = World::new();
        let mut phone = Peer::phone(leg, "a.example", "1");
        let text = phone.register("a.example", "");
        let first = world.receive(&text, leg).sent();
        world.seconds += 5;
        assert_eq!(world.receive(&text, leg).sent(), first);
        // the next one has a new token
        let next = world.receive(phone.register("a.example", ""), leg).sent().1;
        assert_ne!(values(&next, "Path"), values(&first.1, "Path"));
    }
}

#[test]
fn the_end_of_all_registrations_of_a_phone_passes() {
    let mut world = World::new();
    let text = register(phone(), "a.example", "Expires: 0\r\n");
    let contact = values(&text, "Contact").concat();
    let got = world.receive(edited(&text, &contact, "*"), phone()).sent().1;
    assert_eq!(values(&got, "Contact"), ["*"]);
    assert_eq!(values(&got, "Path").len(), 1);
}

#[test]
fn other_requests_get_no_path() {
    let mut world = World::new();
    for method in ["INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE", "REFER"] {
        let text = Peer::phone(phone(), "a.example", method).request(method, "");
        let got = world.receive(text, phone()).sent().1;
        assert_eq!(values(&got, "Path"), [""; 0], "{method}");
        assert_eq!(values(&got, "Supported"), [""; 0], "{method}");
    }
}

#[test]
fn paths_of_phones_are_removed_in_every_spelling() {
    let mut world = World::new();
    let token = world.register(phone(), "b.example", "other");
    for field in [
        "Path: <sip:victim.example;lr>",
        "path: <sip:victim.example;lr>",
        "PATH:<sip:victim.example;lr>",
        "pAtH:\t<sip:victim.example;lr>",
        "Path: <sip:victim.example;lr>, <sip:203.0.113.66;lr>",
        "Path: <sip:victim.example;lr>\r\nPATH: <sip:203.0.113.66;lr>",
        "Path:\r\n <sip:victim.example;lr>",
        "Path: <sip:victim.example;lr>\r\n ,<sip:203.0.113.66;lr>",
        "Path:",
        "Path: \"",
        "Subject: x\r\n Path: <sip:victim.example;lr>",
        "Subject: x\r\n\tpath\t: <sip:victim.example;lr>",
        &format!("Path: {token}"),
        &format!("Path: <sip:x@{INNER};lr>"),
    ] {
        for method in ["REGISTER", "INVITE", "OPTIONS"] {
            let more = format!("{field}\r\n");
            let text = match method {
                "REGISTER" => register(phone(), "a.example", &more),
                _ => Peer::phone(phone(), "a.example", "2").request(method, &more),
            };
            let got = world.receive(text, phone()).sent().1;
            assert!(!got.contains("victim") && !got.contains("203.0.113.66"), "{got}");
            let paths = spelled(got.as_bytes(), "path");
            assert_eq!(paths.len(), usize::from(method == "REGISTER"), "{got}");
            assert!(!paths.contains(&token));
        }
    }
    // these have two readings
    for field in ["Path : <sip:victim.example>", "Path\t: <sip:victim.example>"] {
        let outcome =
            world.receive(register(phone(), "a.example", &format!("{field}\r\n")), phone());
        let refused = Outcome::Refused(Refusal::Flaw(Flaw::SpaceBeforeColon));
        assert_eq!(outcome, refused, "{field}");
    }
    // other names stay
    for field in ["Paths: x", "X-Path: x", "P-ath: x", "Subject: Path"] {
        let got = world.receive(register(phone(), "a.example", &format!("{field}\r\n")), phone());
        assert!(got.sent().1.contains(field), "{field}");
    }
}

#[test]
fn the_option_tag_of_path_is_added_once() {
    let mut world = World::new();
    for (more, expected) in [
        ("", vec!["path"]),
        ("Supported: path\r\n", vec!["path"]),
        ("Supported: outbound, Path\r\n", vec!["outbound, Path"]),
        ("Supported: outbound\r\n", vec!["path", "outbound"]),
        ("Supported: paths\r\n", vec!["path", "paths"]),
    ] {
        let got = world.receive(register(phone(), "a.example", more), phone()).sent().1;
        assert_eq!(values(&got, "Supported"), expected);
    }
    let got = world.receive(register(phone(), "a.example", "k: gruu,path\r\n"), phone()).sent().1;
    assert_eq!(values(&got, "Supported"), [""; 0]);
}

#[test]
fn outbound_is_confirmed_to_the_phone_that_asks_for_it() {
    let mut world = World::new();
    let text = register(phone(), "a.example", "");
    let contact = values(&text, "Contact").concat();
    let asks = format!("{contact};reg-id=1;+sip.instance=\"<urn:uuid:1>\"");
    let asks = edited(&text, &contact, &asks);
    let via = format!("Via: {}\r\n", values(&text, "Via").concat());
    let behind = edited(&asks, &via, &format!("{via}Via: SIP/2.0/UDP 192.168.1.7\r\n"));
    for (text, expected) in [(&text, false), (&asks, true), (&behind, false)] {
        let got = world.receive(text, phone()).sent().1;
        let path = values(&got, "Path").concat();
        assert_eq!(path.ends_with(";lr;ob>"), expected, "{path}");
        assert!(expected || path.ends_with(";lr>"), "{path}");
    }
}

#[test]
fn the_route_of_a_registration_is_the_edge_or_nothing() {
    let mut world = World::new();
    let flow = world.register(phone(), "a.example", "1");
    for (route, is_sent) in [
        ("<sip:edge.example;lr>", true),
        // a token of a phone counts for nothing from outside
        ("<sip:victim.example;lr>", false),
        ("<sip:edge.example;lr>, <sip:victim.example;lr>", false),
    ] {
        let text = register(phone(), "a.example", &format!("Route: {route}\r\n"));
        let outcome = world.receive(text, phone());
        assert_eq!(matches!(outcome, Outcome::Sent(..)), is_sent, "{route}");
        assert!(is_sent || outcome == Outcome::Refused(Refusal::Route));
    }
    let text = register(phone(), "a.example", &format!("Route: {flow}\r\n"));
    assert_eq!(world.receive(text, phone()), Outcome::Refused(Refusal::NotInside));
}

#[test]
fn a_user_name_that_is_too_long_to_carry_is_refused() {
    let mut world = World::new();
    for (len, is_sent) in [(255, true), (256, false)] {
        world.user = "x".repeat(len);
        let outcome = world.receive(register(phone(), "a.example", ""), phone());
        assert_eq!(matches!(outcome, Outcome::Sent(..)), is_sent, "{len}");
        assert!(is_sent || outcome == Outcome::Refused(Refusal::TooLong));
    }
}

#[test]
fn each_registration_has_the_flow_on_which_it_came() {
    let mut world = World::new();
    let legs = [
        phone(),
        connection(Transport::Tcp, "192.0.2.20:40000", 11),
        connection(Transport::Tcp, "192.0.2.20:40000", 12),
    ];
    let paths = legs.map(|leg| world.register(leg, "a.example", "1"));
    // the same phone again, over another flow each time
    assert!(paths[0] != paths[1] && paths[1] != paths[2]);
    world.seconds += 1;
    assert_ne!(world.register(legs[0], "a.example", "2"), paths[0]);
}
