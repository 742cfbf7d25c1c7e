//! Attacks on the flow tokens of registered phones.

use sip_authz::Transport;
use sip_authz_proxy::{Flaw, Leg, Refusal, Settings};
use sip_authz_testing::proxy_world::{
    EDGE, INNER, Inward, Outcome, Peer, START, TENANTS, World, connection, datagram,
    inner_connection, inner_datagram, to_hop, values,
};

use crate::phones::pbxes;
use crate::{edited, phone, phones, stranger};

/// The methods of requests to phones.
const METHODS: [&str; 13] = [
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "MESSAGE",
    "NOTIFY",
    "SUBSCRIBE",
    "REFER",
    "INFO",
    "UPDATE",
    "PRACK",
    "FOO",
];

/// The refusal of a request; an ACK is dropped.
fn refused(method: &str, refusal: Refusal) -> Outcome {
    if method == "ACK" { Outcome::Dropped } else { Outcome::Refused(refusal) }
}

/// The token in a Path or Route.
fn token(route: &str) -> &str {
    route.strip_prefix("<sip:").unwrap().split('@').next().unwrap()
}

/// Checks that no request with these Routes goes anywhere from this leg.
#[track_caller]
fn go_nowhere(world: &mut World, from: Leg, routes: &[&str], why: &str) {
    for method in METHODS {
        for tag in ["", ";tag=x"] {
            let mut pbx = Peer::pbx(from, "", method);
            pbx.remote.push_str(tag);
            pbx.routes = routes.iter().map(ToString::to_string).collect();
            let outcome = world.receive(pbx.request(method, ""), from);
            assert!(!matches!(outcome, Outcome::Sent(..)), "{why}: {method} {outcome:?}");
        }
    }
}

#[test]
fn a_token_counts_for_nothing_from_outside() {
    for leg in phones() {
        let mut world = World::new();
        let path = world.register(leg, "a.example", "1");
        for from in [
            leg,
            phone(),
            stranger(),
            // who pretends to be the PBX
            datagram("10.0.0.10:5060"),
            connection(Transport::Tcp, "10.0.0.20:5060", 14),
            connection(Transport::Tls, "10.0.0.30:5061", 15),
        ] {
            for method in METHODS {
                for tag in ["", ";tag=x"] {
                    for target in ["sip:alice@192.168.1.7", "sip:alice@a.example", "sip:a.example"]
                    {
                        let mut peer = Peer::pbx(from, &path, method);
                        peer.remote.push_str(tag);
                        peer.target = target.to_owned();
                        let outcome = world.receive(peer.request(method, ""), from);
                        let expected = refused(method, Refusal::NotInside);
                        assert_eq!(outcome, expected, "{from:?} {method}");
                    }
                }
            }
        }
    }
}

#[test]
fn floods_without_a_token_reach_no_phone() {
    let mut world = World::new();
    world.register(phone(), "a.example", "1");
    let contact = phone().address;
    for from in [stranger(), datagram("192.0.2.10:5071"), pbxes()[0], pbxes()[1]] {
        for method in METHODS {
            for target in [
                format!("sip:x@{contact}"),
                "sip:alice@a.example".to_owned(),
                format!("sip:alice@{EDGE}"),
                format!("sip:alice@{INNER}"),
            ] {
                for routes in
                    [vec![], vec![format!("<sip:{contact};lr>")], vec![format!("<sip:{INNER};lr>")]]
                {
                    let mut peer = Peer::pbx(from, "", method);
                    (peer.routes, peer.target) = (routes, target.clone());
                    // a caller can be admitted, but then it goes to a hop
                    if let Outcome::Sent(to, _) = world.receive(peer.request(method, ""), from) {
                        assert!(to.is_hop(), "{method} {to:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_flow_that_is_gone_is_answered_430() {
    for leg in phones().into_iter().filter(|leg| leg.transport != Transport::Udp) {
        let mut world = World::new();
        let path = world.register(leg, "a.example", "1");
        world.call_phone(pbxes()[0], &path, leg, "1");
        world.disconnect(leg);
        // another connection of this address has another id
        let again = Leg { way: sip_authz_proxy::Way::Connection(50), ..leg };
        world.register(again, "b.example", "2");
        for from in pbxes() {
            for method in METHODS {
                let outcome = world.receive(Peer::pbx(from, &path, "2").request(method, ""), from);
                assert_eq!(outcome, refused(method, Refusal::FlowGone), "{method}");
            }
        }
    }
    assert_eq!(Refusal::FlowGone.status(), (430, "Flow Failed"));
}

#[test]
fn a_sips_uri_reaches_a_phone_over_tls_alone() {
    for leg in phones() {
        let mut world = World::new();
        let path = world.register(leg, "a.example", "1");
        for from in pbxes() {
            for method in METHODS {
                let mut pbx = Peer::pbx(from, &path, method);
                pbx.target = "SIPS:alice@a.example".to_owned();
                let outcome = world.receive(pbx.request(method, ""), from);
                let ends_call = matches!(method, "ACK" | "BYE" | "CANCEL");
                match leg.transport == Transport::Tls || ends_call {
                    true => _ = outcome.sent_to(leg),
                    false => assert_eq!(outcome, refused(method, Refusal::NotSecure), "{method}"),
                }
            }
        }
    }
    let answer = (480, "Temporarily Unavailable (SIPS Not Allowed)");
    assert_eq!(Refusal::NotSecure.status(), answer);
}

#[test]
fn a_request_of_a_call_to_a_connection_that_has_ended_is_answered_430() {
    for leg in phones().into_iter().filter(|leg| leg.transport != Transport::Udp) {
        let mut world = World::new();
        let path = world.register(leg, "a.example", "1");
        let from = pbxes()[0];
        let inward = world.call_phone(from, &path, leg, "1");
        let outward = world.call(leg, "a.example", "2");
        let (mut callee, mut caller) = (inward.phone, outward.caller);
        world.disconnect(leg);
        for mut hop in [inward.pbx, outward.callee] {
            for method in METHODS {
                let outcome = world.receive(hop.request(method, ""), hop.leg);
                assert_eq!(outcome, refused(method, Refusal::FlowGone), "{method}");
            }
        }
        // requests of the phone pass, by another connection
        let again = Leg { way: sip_authz_proxy::Way::Connection(50), ..leg };
        world.receive(callee.request("BYE", ""), again).sent_to(to_hop(from));
        world.receive(caller.request("BYE", ""), again).sent_to(outward.hop);
    }
}

#[test]
fn a_token_expires_and_a_registration_renews_it() {
    let settings = Settings { flow_life: 100, remembered: 8, ..Settings::default() };
    let mut world = World::with(settings);
    let (from, path) = (pbxes()[0], world.register(phone(), "a.example", "1"));
    world.seconds = START + 100;
    let renewed = world.register(phone(), "a.example", "2");
    world.call_phone(from, &path, phone(), "1");
    world.seconds = START + 101;
    for method in METHODS {
        let outcome = world.receive(Peer::pbx(from, &path, "2").request(method, ""), from);
        assert_eq!(outcome, refused(method, Refusal::FlowGone), "{method}");
    }
    let Inward { mut pbx, .. } = world.call_phone(from, &renewed, phone(), "3");
    // the call lasts longer than the token of its INVITE
    world.seconds = START + 500;
    world.receive(pbx.request("INFO", ""), from).sent_to(phone());
    // a token of the future
    world.seconds = START - 301;
    let outcome = world.receive(Peer::pbx(from, &path, "4").request("INVITE", ""), from);
    assert_eq!(outcome, Outcome::Refused(Refusal::FlowGone));
}

#[test]
fn only_what_ends_a_call_passes_after_an_account_is_closed() {
    let mut world = World::new();
    let (from, path) = (pbxes()[0], world.register(phone(), "a.example", "1"));
    let Inward { mut pbx, phone: mut callee, .. } = world.call_phone(from, &path, phone(), "1");
    world.close(TENANTS[0].account());
    for method in METHODS {
        let outcome = world.receive(Peer::pbx(from, &path, "2").request(method, ""), from);
        if matches!(method, "ACK" | "CANCEL" | "BYE") {
            outcome.sent_to(phone());
        } else {
            assert_eq!(outcome, Outcome::Refused(Refusal::Closed), "{method}");
        }
    }
    // within the call as with other calls
    let closed = Outcome::Refused(Refusal::Closed);
    assert_eq!(world.receive(pbx.request("INFO", ""), from), closed);
    assert_eq!(world.receive(callee.request("INFO", ""), phone()), closed);
    world.receive(pbx.request("BYE", ""), from).sent_to(phone());
    world.receive(callee.request("BYE", ""), phone()).sent_to(to_hop(from));
    world.open(TENANTS[0].account());
    world.call_phone(from, &path, phone(), "3");
}

#[test]
fn a_token_leads_to_no_registrar() {
    let mut world = World::new();
    let path = world.register(phone(), "a.example", "1");
    for from in pbxes() {
        for method in ["REGISTER", "PUBLISH"] {
            for tag in ["", ";tag=x"] {
                let mut pbx = Peer::pbx(from, &path, "1");
                pbx.remote.push_str(tag);
                let outcome = world.receive(pbx.request(method, ""), from);
                assert_eq!(outcome, Outcome::Refused(Refusal::NotForPhones), "{method}");
            }
        }
    }
}

#[test]
fn each_changed_letter_of_a_token_is_noticed() {
    let mut world = World::new();
    let (from, path) = (pbxes()[0], world.register(phone(), "a.example", "1"));
    let invite = Peer::pbx(from, &path, "1").request("INVITE", "");
    for at in 0..token(&path).len() {
        let mut changed = token(&path).to_owned().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = invite.replace(token(&path), &String::from_utf8(changed).unwrap());
        assert_eq!(world.receive(changed, from), Outcome::Rejected, "{at}");
    }
    world.receive(invite, from).sent_to(phone());
}

#[test]
fn tokens_of_other_purposes_or_places_go_nowhere() {
    let mut world = World::new();
    let path = world.register(phone(), "a.example", "1");
    let other = world.register(stranger_with_an_account(), "b.example", "2");
    let from = pbxes()[0];
    let Inward { pbx, phone: callee, forwarded, .. } = world.call_phone(from, &path, phone(), "1");
    let outward = world.call(phone(), "a.example", "1").caller;
    let via = values(&forwarded, "Via").remove(0);
    let legs = via.split(";leg=").nth(1).unwrap();
    let branch = via.split(";branch=").nth(1).unwrap().split(';').next().unwrap();
    let of = |text: &str| path.replace(token(&path), text);
    let (cut, lower) = (&token(&path)[1..], token(&path).to_lowercase());
    for from in [from, pbxes()[1], pbxes()[3]] {
        for (routes, why) in [
            (vec![&*pbx.routes[0]], "a token of a dialog"),
            (vec![&*pbx.routes[1]], "a token of a dialog"),
            (vec![&*callee.routes[0], &*callee.routes[1]], "tokens of another dialog"),
            (vec![&*outward.routes[0]], "a token of a call to a hop"),
            (vec![&*outward.routes[1]], "a token of a call to a hop"),
            (vec![&*of(legs)], "the token of a Via"),
            (vec![&*of(branch)], "a branch"),
            (vec![&*of("")], "an empty token"),
            (vec![&*of(cut)], "a token that is cut off"),
            (vec![&*of(&lower)], "a token in another case"),
            (vec![&*of(&format!("{}=", token(&path)))], "a padded token"),
            (vec![&*of(&format!("{}:pw", cut))], "a cut token with a password"),
            (vec!["<sip:victim.example;lr>", &path], "behind a Route to elsewhere"),
            (vec!["<tel:+1>", &path], "behind a Route of another scheme"),
            (vec![&*format!("<sip:x@{INNER};lr>"), &path], "behind a user of the edge"),
            (vec![&*pbx.routes[0], &path], "behind a token of a dialog"),
            (vec![&*of(cut), &path], "behind a token that is cut off"),
            (vec![&*format!("<sip:{INNER};lr>"), "<sip:victim.example;lr>", &path], "third"),
            (
                vec![&*format!("<sip:{INNER};lr>"), &*format!("<sip:{INNER};lr>"), &path],
                "behind two Routes to the edge",
            ),
        ] {
            go_nowhere(&mut world, from, &routes, why);
        }
    }
    // as a token of a dialog, in both places and for both sides
    for (peer, to) in [(&pbx, phone()), (&callee, to_hop(from))] {
        for flow in [&path, &other] {
            for at in 0..2 {
                let mut peer = peer.clone();
                peer.routes[at].clone_from(flow);
                match world.receive(peer.request("INFO", ""), peer.leg) {
                    // the token is on top, and the sender is inside: it goes to the phone of the token
                    Outcome::Sent(to, _) if at == 0 && peer.leg == from => {
                        assert_eq!(to == phone(), *flow == path);
                    }
                    outcome => assert!(!matches!(outcome, Outcome::Sent(..)), "{at} {to:?}"),
                }
            }
        }
    }
}

/// A phone of another tenant.
fn stranger_with_an_account() -> Leg {
    datagram("192.0.2.99:5060")
}

#[test]
fn the_request_uri_and_further_routes_lead_nowhere() {
    let mut world = World::new();
    let path = world.register(phone(), "a.example", "1");
    let other = world.register(stranger_with_an_account(), "b.example", "2");
    let from = pbxes()[0];
    let victim = "<sip:victim.example;lr>".to_owned();
    for target in ["sip:x@victim.example", "sip:100@b.example", "sip:x@10.0.0.20", "tel:+1"] {
        for more in [
            vec![],
            vec![victim.clone()],
            vec![other.clone()],
            vec![path.clone()],
            vec![format!("<sip:{INNER};lr>"), victim.clone()],
        ] {
            let mut pbx = Peer::pbx(from, &path, "1");
            pbx.target = target.to_owned();
            pbx.routes.extend(more.clone());
            let got = world.receive(pbx.request("MESSAGE", ""), from).sent_to(phone());
            assert_eq!(values(&got, "Route"), more);
            assert!(got.starts_with(&format!("MESSAGE {target} SIP/2.0\r\n")));
            // all in one field
            let one = format!("Route: {}\r\n", pbx.routes.join(" , "));
            pbx.routes.clear();
            let got = world.receive(pbx.request("MESSAGE", &one), from).sent_to(phone());
            assert_eq!(values(&got, "Route").concat(), more.join(" , "));
        }
    }
}

#[test]
fn a_message_with_two_readings_is_not_forwarded_to_a_phone() {
    let mut world = World::new();
    let (from, path) = (pbxes()[0], world.register(phone(), "a.example", "1"));
    for method in ["INVITE", "MESSAGE", "CANCEL", "ACK"] {
        let text = Peer::pbx(from, &path, "1").request(method, "Subject: s\r\n");
        for (from_text, to_text) in [
            ("Subject: s\r\n", "Subject : s\r\n"),
            ("Subject: s\r\n", "Subject: s\rX: y\r\n"),
            ("Subject: s\r\n", "i: other\r\n"),
            ("Subject: s\r\n", "Max-Forwards: 5\r\n"),
            ("Subject: s\r\n", "Route: x\r\n"),
            ("Route: ", "Route:\r\n "),
            ("Call-ID: 1", "Call-ID: 1 2"),
            (&*format!("CSeq: 1 {method}"), "CSeq: 1 FOO"),
            ("Content-Length: 0", "Content-Length: 1"),
        ] {
            if !text.contains(from_text) {
                continue;
            }
            let outcome = world.receive(edited(&text, from_text, to_text), from);
            let is_refused = match outcome {
                Outcome::Refused(Refusal::Flaw(_)) => method != "ACK",
                ref other => method == "ACK" && *other == Outcome::Dropped,
            };
            assert!(is_refused, "{method} {to_text:?} {outcome:?}");
        }
    }
    let invite = Peer::pbx(from, &path, "1").request("INVITE", "");
    for (end, flaw) in [(";maddr=203.0.113.66", Flaw::Maddr), ("?Route=x", Flaw::UriHeaders)] {
        let changed = edited(&invite, ";ob SIP/2.0", &format!("{end} SIP/2.0"));
        assert_eq!(world.receive(changed, from), Outcome::Refused(Refusal::Flaw(flaw)));
    }
}

#[test]
fn hops_loops_and_extensions_are_checked() {
    let mut world = World::new();
    let (from, path) = (pbxes()[0], world.register(phone(), "a.example", "1"));
    let invite = Peer::pbx(from, &path, "1").request("INVITE", "");
    let zero = edited(&invite, "Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(world.receive(zero, from), Outcome::Refused(Refusal::TooManyHops));
    let extension = edited(&invite, "From: ", "Proxy-Require: foo\r\nFrom: ");
    assert_eq!(world.receive(extension, from), Outcome::Refused(Refusal::Extension));
    let got = world.receive(&invite, from).sent_to(phone());
    let back = got.replacen("From: ", &format!("Route: {path}\r\nFrom: "), 1);
    assert_eq!(world.receive(back, from), Outcome::Refused(Refusal::Loop));
}

#[test]
fn nobody_speaks_as_the_pbx_of_a_call_to_a_phone() {
    let mut world = World::new();
    let (from, path) = (pbxes()[0], world.register(phone(), "a.example", "1"));
    let Inward { pbx, phone: callee, .. } = world.call_phone(from, &path, phone(), "1");
    for leg in [
        phone(),
        stranger(),
        datagram("10.0.0.11:5060"),
        // another hop
        inner_datagram("10.0.0.11:5060"),
        inner_connection(Transport::Tcp, "10.0.0.20:40000", 1),
        Leg::hop(Transport::Tcp, "10.0.0.20:5060".parse().unwrap()),
    ] {
        let outcome = world.receive(pbx.clone().request("BYE", ""), leg);
        assert_eq!(outcome, Outcome::Refused(Refusal::Elsewhere), "{leg:?}");
        // the sides are exchanged
        for routes in [pbx.routes.clone(), callee.routes.clone()] {
            for (local, remote) in
                [(&pbx.local, &pbx.remote), (&pbx.remote, &pbx.local), (&pbx.local, &pbx.local)]
            {
                let mut forged = Peer { leg, routes: routes.clone(), ..pbx.clone() };
                (forged.local, forged.remote) = (local.clone(), remote.clone());
                // who has the tokens of the phone reaches the PBX of this call, and nothing else
                if let Outcome::Sent(to, _) = world.receive(forged.request("BYE", ""), leg) {
                    assert_eq!(to, to_hop(from));
                }
            }
        }
    }
    // answers are those of the phone alone
    let mut again = Peer::pbx(from, &path, "2");
    let got = world.receive(again.request("INVITE", ""), from).sent_to(phone());
    let ok = sip_authz_testing::proxy_world::answer(&got, 200, "t", phone().address);
    for leg in [stranger(), datagram("192.0.2.10:5071"), from] {
        let outcome = world.receive(&ok, leg);
        let elsewhere = Outcome::NotRelayed(sip_authz_proxy::NotRelayed::Elsewhere);
        assert_eq!(outcome, elsewhere, "{leg:?}");
    }
    world.receive(ok, phone()).sent_to(from);
}

#[test]
fn two_megabytes_of_tokens_are_refused() {
    let mut world = World::new();
    let (from, path) = (pbxes()[0], world.register(phone(), "a.example", "1"));
    let invite = Peer::pbx(from, &path, "1").request("INVITE", "");
    let (long, many) = ("A".repeat(2 << 20), format!("{path},").repeat(5_000));
    for changed in [
        invite.replace(token(&path), &long),
        invite.replacen("Route: ", &format!("Route: {many}"), 1),
        invite.replacen("Route: ", &format!("Route: {path}\r\n").repeat(5_000), 1),
    ] {
        let outcome = world.receive(changed, from);
        assert!(!matches!(outcome, Outcome::Sent(..)), "{outcome:?}");
    }
}
