//! Attacks on requests within dialogs.

use sip_authz::Transport;
use sip_authz_proxy::{Leg, Refusal, Settings};
use sip_authz_testing::proxy_world::{
    Call, Outcome, Peer, START, TENANTS, World, answering, connection, datagram, values,
};

use crate::{phone, phones, stranger};

/// The methods of requests within a dialog.
const METHODS: [&str; 9] =
    ["INVITE", "BYE", "ACK", "UPDATE", "INFO", "PRACK", "NOTIFY", "MESSAGE", "REFER"];

/// Checks that requests of a stranger with these Routes go nowhere.
#[track_caller]
fn go_nowhere(world: &mut World, peer: &Peer, routes: &[&str], why: &str) {
    for method in METHODS {
        let mut peer = peer.clone();
        peer.routes = routes.iter().map(ToString::to_string).collect();
        peer.target = "sip:x@victim.example".to_owned();
        let outcome = world.receive(peer.request(method, ""), stranger());
        assert!(!matches!(outcome, Outcome::Sent(..)), "{why}: {method} {outcome:?}");
    }
}

/// The token in a Route.
fn token(route: &str) -> &str {
    route.strip_prefix("<sip:").unwrap().split('@').next().unwrap()
}

#[test]
fn a_to_tag_without_a_token_goes_nowhere() {
    let mut world = World::new();
    let Call { caller, callee, .. } = world.call(phone(), "a.example", "1");
    for peer in [&caller, &callee] {
        go_nowhere(&mut world, peer, &[], "no route");
        for route in [
            "<sip:edge.example:5060;lr>",
            "<sip:10.0.0.1:5060;transport=udp;lr>",
            "<sip:token@edge.example:5060;lr>",
            "<sip:AAAA@edge.example:5060;lr>",
            "<sip:victim.example;lr>",
        ] {
            go_nowhere(&mut world, peer, &[route], route);
            go_nowhere(&mut world, peer, &[route, route], route);
            go_nowhere(&mut world, peer, &[route, "<sip:victim.example;lr>"], route);
        }
    }
}

#[test]
fn a_token_of_another_dialog_goes_nowhere() {
    let mut world = World::new();
    let one = world.call(phone(), "a.example", "1");
    let two = world.call(phone(), "a.example", "2");
    for (peer, other) in [(&one.caller, &two.caller), (&one.callee, &two.callee)] {
        let [top, second] = [0, 1].map(|at| other.routes[at].as_str());
        let [own_top, own_second] = [0, 1].map(|at| peer.routes[at].as_str());
        go_nowhere(&mut world, peer, &[top, second], "both of another dialog");
        go_nowhere(&mut world, peer, &[own_top, second], "one of another dialog");
        go_nowhere(&mut world, peer, &[top, own_second], "one of another dialog");
        // the dialog is changed to that of the token in some parts only
        let mut changed = peer.clone();
        changed.call_id = other.call_id.clone();
        go_nowhere(&mut world, &changed, &[top, second], "the Call-ID of the token");
        let mut changed = other.clone();
        changed.call_id.push('x');
        go_nowhere(&mut world, &changed, &[top, second], "another Call-ID");
        let mut changed = other.clone();
        changed.call_id.make_ascii_uppercase();
        changed.local = changed.local.replace("caller", "Caller");
        changed.remote = changed.remote.replace("caller", "Caller");
        go_nowhere(&mut world, &changed, &[top, second], "another case of the tag");
        let mut changed = other.clone();
        for (from, to) in [("caller-2", "caller-"), ("caller-", "caller-2x")] {
            changed.local = changed.local.replace(from, to);
            changed.remote = changed.remote.replace(from, to);
            go_nowhere(&mut world, &changed, &[top, second], "another tag");
        }
        // boundaries move
        let mut changed = other.clone();
        changed.call_id = "2c".to_owned();
        changed.local = changed.local.replace("caller-2", "aller-2");
        changed.remote = changed.remote.replace("caller-2", "aller-2");
        go_nowhere(&mut world, &changed, &[top, second], "a moved boundary");
    }
}

#[test]
fn a_side_cannot_take_the_tag_of_the_other_one() {
    let mut world = World::new();
    let Call { caller, callee, .. } = world.call(phone(), "a.example", "1");
    // From and To exchanged: the sender's own tag must be on its side
    for peer in [&caller, &callee] {
        let mut turned = peer.clone();
        std::mem::swap(&mut turned.local, &mut turned.remote);
        let routes: Vec<_> = peer.routes.iter().map(String::as_str).collect();
        go_nowhere(&mut world, &turned, &routes, "exchanged tags");
    }
    // both tags are that of the callee
    let mut equal = caller.clone();
    equal.local.clone_from(&caller.remote);
    let routes: Vec<_> = caller.routes.iter().map(String::as_str).collect();
    go_nowhere(&mut world, &equal, &routes, "both tags of the callee");
    // both are that of the caller: it leads to the hop that it always leads to
    let mut equal = caller.clone();
    equal.remote.clone_from(&caller.local);
    let bye = equal.request("BYE", "");
    let (to, _) = world.receive(bye, phone()).sent();
    assert!(to.is_hop());
}

#[test]
fn tokens_of_other_hops_sides_or_purposes_go_nowhere() {
    let mut world = World::new();
    let Call { caller, callee, forwarded, .. } = world.call(phone(), "a.example", "1");
    // the same Call-ID and tag, to another tenant, in the same second
    let other = world.call(phone(), "b.example", "1");
    let via = values(&forwarded, "Via").remove(0);
    let legs = via.split(";leg=").nth(1).unwrap().to_owned();
    let branch = via.split(";branch=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    for (peer, foreign) in [(&caller, &other.caller), (&callee, &other.callee)] {
        let [top, second] = [0, 1].map(|at| peer.routes[at].as_str());
        let [other_top, other_second] = [0, 1].map(|at| foreign.routes[at].as_str());
        let of = |text: &str| top.replace(token(top), text);
        let swapped =
            [top.replace(token(top), token(second)), second.replace(token(second), token(top))];
        for (routes, why) in [
            (vec![top, other_second], "the hop of another tenant"),
            (vec![other_top, second], "the hop of another tenant"),
            (vec![top], "the top one only"),
            (vec![second], "the second one only"),
            (vec![top, top], "the top one twice"),
            (vec![second, second], "the second one twice"),
            (vec!["<sip:edge.example;lr>", top, second], "one before"),
            (vec![top, "<sip:edge.example;lr>", second], "one between"),
            (vec![top, "<sip:victim.example;lr>", second], "one between"),
            (vec![top, second, top, second], "both twice"),
            (vec![top, second, second, top], "both twice"),
            (vec![&of(&legs), second], "the token of a Via"),
            (vec![top, &of(&legs)], "the token of a Via"),
            (vec![&of(&branch), second], "a branch"),
            (vec![top, &of("")], "an empty token"),
            (vec![&of(&token(top)[1..]), second], "a token that is cut off"),
            (vec![&of(&token(top).to_lowercase()), second], "a token in another case"),
            (vec![&of(&format!("{}=", token(top))), second], "a padded token"),
            (vec![&of(&format!("{}A", token(top))), second], "a longer token"),
        ] {
            go_nowhere(&mut world, peer, &routes, why);
        }
        // in the order for the other side, each token in the place of the other
        let swapped: Vec<_> = swapped.iter().map(String::as_str).collect();
        go_nowhere(&mut world, peer, &swapped, "exchanged");
    }
}

#[test]
fn each_changed_letter_of_a_token_is_noticed() {
    let mut world = World::new();
    let Call { mut caller, .. } = world.call(phone(), "a.example", "1");
    let bye = caller.request("BYE", "");
    for route in caller.routes.clone() {
        for at in 0..token(&route).len() {
            let mut changed = token(&route).to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let bye = bye.replace(token(&route), &changed);
            assert_eq!(world.receive(bye, stranger()), Outcome::Rejected, "{at}");
        }
    }
    assert_eq!(world.receive(bye, stranger()).name(), "sent");
}

#[test]
fn a_dialog_ends_after_its_life_and_is_renewed() {
    let expired = Outcome::Refused(Refusal::Expired);
    for (method, renews) in [
        ("INVITE", true),
        ("UPDATE", true),
        ("SUBSCRIBE", true),
        ("INFO", false),
        ("NOTIFY", false),
    ] {
        for by_callee in [false, true] {
            let mut world =
                World::with(Settings { life: 100, remembered: 8, ..Settings::default() });
            let Call { mut caller, mut callee, hop, .. } = world.call(phone(), "a.example", "1");
            world.seconds = START + 100;
            let (peer, to) = if by_callee { (&mut callee, phone()) } else { (&mut caller, hop) };
            let request = peer.request(method, "");
            world.receive(request, peer.leg).sent_to(to);
            world.seconds = START + 101;
            let bye = caller.request("BYE", "");
            let outcome = world.receive(bye, phone());
            assert_eq!(outcome == expired, !renews, "{method}");
            // a restart forgets renewals, and the tokens are those of the INVITE
            world.restart();
            assert_eq!(world.receive(callee.request("BYE", ""), callee.leg), expired);
            assert_eq!(world.receive(caller.request("INVITE", ""), phone()), expired);
            // nothing is answered to an ACK
            assert_eq!(world.receive(caller.request("ACK", ""), phone()), Outcome::Dropped);
        }
    }
}

#[test]
fn a_token_of_the_future_is_not_valid_yet() {
    let mut world = World::new();
    world.seconds = START + 1_000;
    let Call { mut caller, hop, .. } = world.call(phone(), "a.example", "1");
    world.seconds = START + 699;
    let outcome = world.receive(caller.request("INFO", ""), phone());
    assert_eq!(outcome, Outcome::Refused(Refusal::Expired));
    // clocks of a fleet differ by less than five minutes
    world.seconds = START + 700;
    world.receive(caller.request("INFO", ""), phone()).sent_to(hop);
}

#[test]
fn only_bye_and_ack_pass_after_an_account_is_closed() {
    let mut world = World::new();
    let Call { mut caller, mut callee, hop, .. } = world.call(phone(), "a.example", "1");
    let mut other = world.call(phone(), "b.example", "2");
    world.close(TENANTS[0].account());
    for method in METHODS.into_iter().chain(["CANCEL", "SUBSCRIBE", "OPTIONS", "bye", "Bye"]) {
        for (peer, to) in [(&mut caller, hop), (&mut callee, phone())] {
            let request = peer.request(method, "");
            let outcome = world.receive(request, peer.leg);
            if matches!(method, "BYE" | "ACK") {
                outcome.sent_to(to);
            } else {
                assert_eq!(outcome, Outcome::Refused(Refusal::Closed), "{method}");
            }
        }
    }
    let request = other.caller.request("INVITE", "");
    world.receive(request, phone()).sent_to(other.hop);
    world.open(TENANTS[0].account());
    world.receive(caller.request("INFO", ""), phone()).sent_to(hop);
}

#[test]
fn a_phone_cannot_speak_as_the_hop() {
    let mut world = World::new();
    let Call { mut callee, hop, .. } = world.call(phone(), "a.example", "1");
    let info = callee.request("INFO", "");
    let elsewhere = Outcome::Refused(Refusal::Elsewhere);
    for leg in [
        phone(),
        stranger(),
        datagram("10.0.0.100:5060"),
        // the hop of another tenant
        datagram("10.0.0.11:5061"),
        datagram("10.0.0.20:5060"),
        connection(Transport::Tcp, "10.0.0.20:5060", 5),
        Leg::hop(Transport::Tcp, "10.0.0.20:5060".parse().unwrap()),
    ] {
        if leg.address.ip() != hop.address.ip() {
            assert_eq!(world.receive(&info, leg), elsewhere, "{leg:?}");
        }
    }
    // an ACK is not answered
    assert_eq!(world.receive(callee.request("ACK", ""), phone()), Outcome::Dropped);
    // the hop may send from any port and connection
    for leg in [
        answering(hop),
        datagram(&format!("{}:40001", hop.address.ip())),
        datagram(&format!("[::ffff:{}]:40001", hop.address.ip())),
        connection(Transport::Tls, &format!("{}:40001", hop.address.ip()), 9),
    ] {
        world.receive(&info, leg).sent_to(phone());
    }
}

#[test]
fn the_request_uri_leads_nowhere_within_a_dialog() {
    let mut world = World::new();
    let Call { caller, callee, hop, .. } = world.call(phone(), "a.example", "1");
    for target in [
        "sip:x@victim.example",
        "sip:100@b.example",
        "sip:10.0.0.20:5060;transport=tcp",
        "tel:+123",
        "sip:edge.example",
    ] {
        for (peer, to) in [(&caller, hop), (&callee, phone())] {
            let mut peer = peer.clone();
            peer.target = target.to_owned();
            world.receive(peer.request("INFO", ""), peer.leg).sent_to(to);
        }
    }
}

#[test]
fn a_sips_uri_goes_on_over_tls_or_ends_a_call() {
    for leg in phones() {
        for method in ["INVITE", "UPDATE", "INFO", "MESSAGE", "REFER", "ACK", "BYE"] {
            let mut world = World::new();
            let Call { mut caller, mut callee, hop, .. } = world.call(leg, "a.example", "1");
            for (peer, to) in [(&mut caller, hop), (&mut callee, leg)] {
                peer.target = "sips:x@victim.example".to_owned();
                let outcome = world.receive(peer.request(method, ""), peer.leg);
                match to.transport == Transport::Tls || matches!(method, "ACK" | "BYE") {
                    true => _ = outcome.sent_to(to),
                    false => assert_eq!(outcome, Outcome::Refused(Refusal::NotSecure), "{method}"),
                }
            }
        }
    }
}

#[test]
fn further_routes_stay_for_the_hop() {
    let mut world = World::new();
    let Call { mut caller, hop, .. } = world.call(phone(), "a.example", "1");
    let other = world.call(phone(), "a.example", "2");
    // a third token is one of another dialog
    let third = other.caller.routes[0].clone();
    caller.routes.extend(["<sip:pbx.example;lr>".to_owned(), third.clone()]);
    let got = world.receive(caller.request("INFO", ""), phone()).sent_to(hop);
    assert_eq!(values(&got, "Route"), ["<sip:pbx.example;lr>".to_owned(), third]);
    // all in one field
    let one = format!("Route: {}\r\n", caller.routes.join(" , "));
    caller.routes.clear();
    let got = world.receive(caller.request("INFO", &one), phone()).sent_to(hop);
    assert_eq!(values(&got, "Route").len(), 1);
    assert!(values(&got, "Route")[0].starts_with("<sip:pbx.example;lr>"));
}

#[test]
fn a_dialog_of_a_hop_that_was_removed_goes_on() {
    // the token names the hop, so that calls end as they should
    let mut world = World::new();
    let Call { mut caller, mut callee, hop, .. } = world.call(phone(), "a.example", "1");
    world.restart();
    world.has_hops = false;
    let new = Peer::phone(phone(), "a.example", "2").request("INVITE", "");
    assert_eq!(world.receive(new, phone()), Outcome::Refused(Refusal::NoHop));
    world.receive(caller.request("INVITE", ""), phone()).sent_to(hop);
    world.receive(callee.request("BYE", ""), callee.leg).sent_to(phone());
}

#[test]
fn two_megabytes_of_tokens_are_refused() {
    let mut world = World::new();
    let Call { mut caller, .. } = world.call(phone(), "a.example", "1");
    let bye = caller.request("BYE", "");
    let long = "A".repeat(2 << 20);
    let [top, second] = [0, 1].map(|at| caller.routes[at].clone());
    for changed in [
        bye.replace(token(&top), &long),
        bye.replace(token(&second), &long),
        bye.replacen("Route: ", &format!("Route: {}", format!("{top},").repeat(5_000)), 1),
        bye.replacen("Route: ", &format!("Route: {top}\r\n").repeat(5_000), 1),
        bye.replacen("rport", &format!("rport;leg={long}"), 1),
    ] {
        let outcome = world.receive(changed, phone());
        assert!(!matches!(outcome, Outcome::Sent(..)), "{}", outcome.name());
    }
    // as long as a head can be
    for len in [500, 1_100, 1_200, 4_000, 20_000] {
        let changed = bye.replace(token(&top), &long[..len]);
        let outcome = world.receive(changed, phone());
        assert!(!matches!(outcome, Outcome::Sent(..)), "{}", outcome.name());
    }
}

#[test]
fn a_registration_is_decided_whatever_its_token() {
    let mut world = World::new();
    let Call { caller, callee, .. } = world.call(phone(), "a.example", "1");
    for peer in [&caller, &callee] {
        for method in ["REGISTER", "PUBLISH"] {
            let request = peer.clone().request(method, "");
            assert_eq!(world.receive(request, peer.leg), Outcome::Rejected, "{method}");
        }
    }
}

#[test]
fn a_dialog_of_a_phone_without_a_tag_leads_to_its_hop_only() {
    // RFC 2543
    let mut world = World::new();
    let mut caller = Peer::phone(phone(), "a.example", "1");
    caller.local = "<sip:old@a.example>".to_owned();
    let (hop, forwarded) = world.receive(caller.request("INVITE", ""), phone()).sent();
    let ok = sip_authz_testing::proxy_world::answer(&forwarded, 200, "t", hop.address);
    caller.confirm(&world.receive(ok, answering(hop)).sent_to(phone()));
    world.receive(caller.request("BYE", ""), phone()).sent_to(hop);
    // no tag, and an empty one
    for local in ["<sip:eve@a.example>;tag=x", "<sip:eve@a.example>;tag=\"\""] {
        let mut other = caller.clone();
        other.local = local.to_owned();
        let outcome = world.receive(other.request("BYE", ""), stranger());
        assert!(!matches!(outcome, Outcome::Sent(..)), "{local}: {}", outcome.name());
    }
}

#[test]
fn a_loop_within_a_dialog_is_found() {
    let mut world = World::new();
    let Call { mut caller, hop, .. } = world.call(phone(), "a.example", "1");
    let routes: String = caller.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
    let got = world.receive(caller.request("INFO", ""), phone()).sent_to(hop);
    // the hop sends it back with the Routes that it came with
    let back = got.replacen("From: ", &format!("{routes}From: "), 1);
    assert_eq!(world.receive(back, answering(hop)), Outcome::Refused(Refusal::Loop));
}

#[test]
fn extensions_and_hops_are_checked_within_a_dialog() {
    let mut world = World::new();
    let Call { caller, callee, hop, .. } = world.call(phone(), "a.example", "1");
    for (peer, to) in [(&caller, hop), (&callee, phone())] {
        for method in METHODS.into_iter().chain(["CANCEL"]) {
            let mut peer = peer.clone();
            let require = peer.request(method, "Proxy-Require: foo\r\n");
            let zero = peer.request(method, "").replace("Max-Forwards: 70", "Max-Forwards: 0");
            let malformed =
                peer.request(method, "").replace("Max-Forwards: 70", "Max-Forwards: 256");
            let [required, zero, malformed] =
                [require, zero, malformed].map(|request| world.receive(request, peer.leg));
            if matches!(method, "ACK" | "CANCEL") {
                required.sent_to(to);
            } else {
                assert_eq!(required, Outcome::Refused(Refusal::Extension));
            }
            if method == "ACK" {
                assert_eq!((zero, malformed), (Outcome::Dropped, Outcome::Dropped));
            } else {
                assert_eq!(zero, Outcome::Refused(Refusal::TooManyHops));
                assert!(matches!(malformed, Outcome::Refused(Refusal::Flaw(_))));
            }
        }
    }
}
