//! Requests of next hops to registered phones, as they should go.

use sip_authz::Transport;
use sip_authz_proxy::{Leg, Refusal};
use sip_authz_testing::proxy_world::{
    EDGE, INNER, Inward, Outcome, Peer, World, answer, answering, connection, datagram,
    identity_fields, inner_connection, inner_datagram, to_hop, values,
};

use crate::{edited, phone, phones};

/// The ways on which a PBX sends requests: datagrams, connections that it opened, and connections that
/// this side opened.
pub(crate) fn pbxes() -> [Leg; 6] {
    let opened = |transport, address: &str| Leg::hop(transport, address.parse().unwrap());
    [
        inner_datagram("10.0.0.10:5060"),
        inner_connection(Transport::Tcp, "10.0.0.20:40000", 1),
        inner_connection(Transport::Tls, "10.0.0.30:40000", 2),
        opened(Transport::Tcp, "10.0.0.20:5060"),
        opened(Transport::Tls, "10.0.0.30:5061"),
        // a server beside the next hops
        inner_connection(Transport::Tcp, "10.0.0.99:40000", 3),
    ]
}

/// Runs `f` for each transport of the phone and way of the PBX, with the Path of the phone.
fn everywhere(f: impl Fn(&mut World, Leg, Leg, &str)) {
    for leg in phones() {
        for pbx in pbxes() {
            let mut world = World::new();
            let path = world.register(leg, "a.example", "1");
            f(&mut world, pbx, leg, &path);
        }
    }
}

/// Sends a request of one side to the other, and the answer back.
#[track_caller]
fn exchange(world: &mut World, from: &mut Peer, to: Leg, method: &str) -> String {
    let request = from.request(method, "");
    let got = world.receive(&request, from.leg).sent_to(to);
    let back = answer(&got, 200, "x", to.address);
    world.receive(back, answers(to)).sent_to(from.leg);
    got
}

/// The leg on which the peer of a leg answers: a PBX answers a datagram at the listener for hops.
fn answers(to: Leg) -> Leg {
    match (to.transport, to.is_hop()) {
        (Transport::Udp, true) => inner_datagram(&to.address.to_string()),
        _ => to,
    }
}

#[test]
fn a_call_to_a_phone_has_all_requests_of_a_dialog_in_both_directions() {
    everywhere(|world, from, leg, path| {
        let Inward { mut pbx, mut phone, forwarded, answered, .. } =
            world.call_phone(from, path, leg, "1");
        assert_eq!(values(&forwarded, "Route"), [""; 0]);
        assert_eq!(values(&forwarded, "Max-Forwards"), ["69"]);
        assert_eq!(values(&forwarded, "X-Authz-User"), [""; 0]);
        let recorded = values(&forwarded, "Record-Route");
        assert!(recorded[0].contains(&format!("@{EDGE};")), "{recorded:?}");
        assert!(recorded[1].contains(&format!("@{INNER};")), "{recorded:?}");
        assert_eq!(values(&answered, "Record-Route"), recorded);
        let target = |text: &str| text.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(target(&forwarded), "sip:alice@192.168.1.7:5062;ob");
        let to_pbx = to_hop(from);
        for method in ["INVITE", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "OPTIONS", "BYE"] {
            let got = exchange(world, &mut pbx, leg, method);
            assert_eq!(values(&got, "Route"), [""; 0], "{method}");
            assert_eq!(values(&got, "X-Authz-User"), [""; 0]);
            let got = exchange(world, &mut phone, to_pbx, method);
            assert_eq!(values(&got, "Route"), [""; 0], "{method}");
            // the phone is known by its registration
            assert_eq!(values(&got, "X-Authz-User"), ["alice"], "{method}");
            assert_eq!(values(&got, "X-Authz-Domain"), ["a.example"]);
            assert_eq!(values(&got, "X-Authz-Permits"), ["local,emergency"]);
            if method == "INVITE" {
                world.receive(pbx.request("ACK", ""), from).sent_to(leg);
                world.receive(phone.request("ACK", ""), leg).sent_to(to_pbx);
            }
        }
    });
}

#[test]
fn a_call_to_a_phone_is_cancelled_or_refused() {
    everywhere(|world, from, leg, path| {
        let branch = |text: &str| values(text, "Via")[0].split(";loop=").next().unwrap().to_owned();
        let mut pbx = Peer::pbx(from, path, "1");
        let got = world.receive(pbx.request("INVITE", ""), from).sent_to(leg);
        world.receive(answer(&got, 180, "t", leg.address), leg).sent_to(from);
        let cancel = world.receive(pbx.request("CANCEL", ""), from).sent_to(leg);
        assert_eq!(branch(&cancel), branch(&got));
        assert_eq!(values(&cancel, "Route"), [""; 0]);
        world.receive(answer(&cancel, 200, "t", leg.address), leg).sent_to(from);
        for status in [487, 486, 302, 603] {
            let ended = answer(&got, status, "t", leg.address);
            let ended = world.receive(ended, leg).sent_to(from);
            let ack = world.receive(pbx.ack_of_failure(&ended), from).sent_to(leg);
            assert_eq!(branch(&ack), branch(&got));
            assert_eq!(values(&ack, "Route"), [""; 0]);
        }
    });
}

#[test]
fn a_re_invite_of_the_phone_is_cancelled() {
    everywhere(|world, from, leg, path| {
        let Inward { mut phone, .. } = world.call_phone(from, path, leg, "1");
        let to = to_hop(from);
        let got = world.receive(phone.request("INVITE", ""), leg).sent_to(to);
        world.receive(phone.request("CANCEL", ""), leg).sent_to(to);
        let ended = answer(&got, 487, "t", to.address);
        let ended = world.receive(ended, answers(to)).sent_to(leg);
        world.receive(phone.ack_of_failure(&ended), leg).sent_to(to);
    });
}

#[test]
fn requests_outside_a_call_and_of_dialogs_that_were_not_recorded_go_by_token() {
    everywhere(|world, from, leg, path| {
        for (method, records) in [
            ("OPTIONS", false),
            ("MESSAGE", false),
            ("NOTIFY", false),
            ("INFO", false),
            ("UPDATE", false),
            ("BYE", false),
            ("PRACK", false),
            ("SUBSCRIBE", true),
            ("REFER", true),
            ("INVITE", true),
        ] {
            for tag in ["", ";tag=of-the-phone"] {
                let mut pbx = Peer::pbx(from, path, method);
                pbx.remote.push_str(tag);
                let got = exchange(world, &mut pbx, leg, method);
                let count = if records { 2 } else { 0 };
                assert_eq!(values(&got, "Record-Route").len(), count, "{method}");
                assert_eq!(values(&got, "Route"), [""; 0]);
            }
        }
        // the ACK of a dialog that was not recorded
        let mut pbx = Peer::pbx(from, path, "2");
        pbx.remote.push_str(";tag=of-the-phone");
        world.receive(pbx.request("ACK", ""), from).sent_to(leg);
    });
}

#[test]
fn a_subscription_at_the_phone_has_its_notifications() {
    everywhere(|world, from, leg, path| {
        for method in ["SUBSCRIBE", "REFER"] {
            let mut pbx = Peer::pbx(from, path, method);
            let got = world.receive(pbx.request(method, ""), from).sent_to(leg);
            let mut phone = Peer::answerer(leg, &got, "t");
            // before the 202
            exchange(world, &mut phone, to_hop(from), "NOTIFY");
            let ok = answer(&got, 202, "t", leg.address);
            pbx.confirm(&world.receive(ok, leg).sent_to(from));
            exchange(world, &mut pbx, leg, "SUBSCRIBE");
            exchange(world, &mut phone, to_hop(from), "NOTIFY");
        }
    });
}

#[test]
fn retransmissions_have_the_same_bytes() {
    let mut world = World::new();
    let path = world.register(phone(), "a.example", "1");
    let from = pbxes()[0];
    let Inward { invite, forwarded, answered, .. } = world.call_phone(from, &path, phone(), "1");
    world.seconds += 5;
    assert_eq!(world.receive(&invite, from).sent_to(phone()), forwarded);
    let ok = answer(&forwarded, 200, "phone-1", phone().address);
    assert_eq!(world.receive(ok, phone()).sent_to(from), answered);
}

#[test]
fn a_restart_and_a_rotated_key_go_unnoticed_over_udp() {
    for rotates in [false, true] {
        let mut world = World::new();
        let path = world.register(phone(), "a.example", "1");
        let from = pbxes()[0];
        let Inward { mut pbx, phone: mut callee, .. } = world.call_phone(from, &path, phone(), "1");
        let mut ringing = Peer::pbx(from, &path, "2");
        let got = world.receive(ringing.request("INVITE", ""), from).sent_to(phone());
        if rotates {
            world.rotate();
        } else {
            world.restart();
        }
        exchange(&mut world, &mut pbx, phone(), "INVITE");
        exchange(&mut world, &mut callee, to_hop(from), "INVITE");
        // the phone is called again at once
        world.call_phone(from, &path, phone(), "3");
        let cancel = world.receive(ringing.request("CANCEL", ""), from).sent_to(phone());
        let branch = |text: &str| values(text, "Via")[0].split(";loop=").next().unwrap().to_owned();
        assert_eq!(branch(&cancel), branch(&got));
        let ended = answer(&got, 487, "t", phone().address);
        let ended = world.receive(ended, phone()).sent_to(from);
        world.receive(ringing.ack_of_failure(&ended), from).sent_to(phone());
    }
}

#[test]
fn a_phone_that_comes_by_another_flow_goes_on_with_its_call() {
    let mut world = World::new();
    let [_, old, _] = phones();
    let path = world.register(old, "a.example", "1");
    let from = pbxes()[0];
    let Inward { phone: mut callee, .. } = world.call_phone(from, &path, old, "1");
    world.disconnect(old);
    let new = connection(Transport::Tcp, "192.0.2.20:40001", 21);
    let bye = callee.request("BYE", "");
    world.receive(bye, new).sent_to(to_hop(from));
    let invite = Peer::pbx(from, &path, "2").request("INVITE", "");
    assert_eq!(world.receive(&invite, from), Outcome::Refused(Refusal::FlowGone));
    let path = world.register(new, "a.example", "2");
    world.call_phone(from, &path, new, "3");
}

#[test]
fn requests_of_a_phone_go_to_the_hop_after_its_connection_has_ended() {
    for from in [pbxes()[1], pbxes()[2]] {
        let mut world = World::new();
        let path = world.register(phone(), "a.example", "1");
        let Inward { phone: mut callee, mut pbx, .. } = world.call_phone(from, &path, phone(), "1");
        let kept = to_hop(from);
        assert!(kept.is_hop() && kept.address.ip() == from.address.ip());
        world.disconnect(from);
        exchange(&mut world, &mut callee, kept, "INFO");
        // the hop opens another one
        pbx.leg = inner_connection(from.transport, &format!("{}:40001", from.address.ip()), 9);
        exchange(&mut world, &mut pbx, phone(), "INFO");
        exchange(&mut world, &mut callee, kept, "BYE");
    }
}

#[test]
fn a_phone_over_ipv6_is_called() {
    let mut world = World::new();
    let leg = datagram("[2001:db8::10]:5070");
    let path = world.register(leg, "a.example", "1");
    for (from, call_id) in
        [(inner_datagram("[2001:db8::20]:5060"), "1"), (pbxes()[0], "2"), (pbxes()[1], "3")]
    {
        let Inward { mut pbx, mut phone, .. } = world.call_phone(from, &path, leg, call_id);
        exchange(&mut world, &mut pbx, leg, "INVITE");
        let got = exchange(&mut world, &mut phone, to_hop(from), "BYE");
        assert_eq!(values(&got, "X-Authz-User"), ["alice"]);
    }
}

#[test]
fn a_call_between_two_phones_passes_the_edge_twice() {
    for leg in phones() {
        let mut world = World::new();
        let callee_leg = connection(Transport::Tls, "192.0.2.31:40000", 31);
        let path = world.register(callee_leg, "a.example", "1");
        let mut caller = Peer::phone(leg, "a.example", "1");
        let (hop, first) = world.receive(caller.request("INVITE", ""), leg).sent();
        // the PBX is a proxy: it records its route and sends the call to the registered contact
        let (pbx, below) = (answers(hop), values(&first, "Via"));
        let via = format!("Via: SIP/2.0/UDP {};branch=z9hG4bKpbx", hop.address);
        let own = format!("<sip:{};lr>", hop.address);
        let onward = first.replacen(
            &format!("Via: {}", below[0]),
            &format!("{via}\r\nRecord-Route: {own}\r\nRoute: {path}\r\nVia: {}", below[0]),
            1,
        );
        let onward = edited(&onward, "INVITE sip:100@a.example", "INVITE sip:bob@192.168.1.8");
        let got = world.receive(&onward, pbx).sent_to(callee_leg);
        let recorded = values(&got, "Record-Route");
        assert_eq!(recorded.len(), 5);
        assert_eq!(recorded[2], own);
        // each pass has its own tokens
        let mut different = recorded.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 5);
        let mut callee = Peer::answerer(callee_leg, &got, "t");

        // the answer unwinds
        let ok = answer(&got, 200, "t", callee_leg.address);
        let once = world.receive(ok, callee_leg).sent_to(pbx);
        let once = edited(&once, &format!("{via}\r\n"), "");
        let twice = world.receive(once, pbx).sent_to(leg);
        assert_eq!(values(&twice, "Via").len(), 1);
        caller.confirm(&twice);

        // requests of the dialog in both directions, each through the PBX
        let through = |world: &mut World, text: String| {
            let text = edited(&text, &format!("Route: {own}\r\n"), "");
            let via = format!("Via: SIP/2.0/UDP {};branch=z9hG4bKp\r\nVia", hop.address);
            world.receive(text.replacen("Via", &via, 1), pbx)
        };
        for method in ["ACK", "INVITE", "INFO", "BYE"] {
            let to_pbx = world.receive(caller.request(method, ""), leg).sent_to(hop);
            assert_eq!(values(&to_pbx, "Route").len(), 3);
            let got = through(&mut world, to_pbx).sent_to(callee_leg);
            assert_eq!(values(&got, "Route"), [""; 0]);
            let to_pbx = world.receive(callee.request(method, ""), callee_leg).sent_to(hop);
            assert_eq!(values(&to_pbx, "Route").len(), 3);
            through(&mut world, to_pbx).sent_to(leg);
        }

        // each phone has the tokens of the other one: they lead to the PBX without a name, also after a
        // request that renews them
        for (own, from, other) in [(&caller, leg, &callee), (&callee, callee_leg, &caller)] {
            let mut forged = Peer { leg: from, ..other.clone() };
            let got = world.receive(forged.request("INVITE", ""), from).sent_to(hop);
            assert_eq!(identity_fields(got.as_bytes()), [""; 0], "{}", own.local);
            let ok = answer(&got, 200, "t", hop.address);
            forged.confirm(&world.receive(ok, pbx).sent_to(from));
            assert_eq!(forged.routes.len(), 2);
            let got = world.receive(forged.request("REFER", ""), from).sent_to(hop);
            assert_eq!(identity_fields(got.as_bytes()), [""; 0], "{}", own.local);
        }

        // no token of one pass goes with one of the other
        let routes = caller.routes.clone();
        for (one, other) in [(0, 3), (0, 4), (1, 3), (1, 4), (3, 0), (4, 0), (3, 1), (4, 1)] {
            for (peer, from) in [(&caller, leg), (&callee, callee_leg), (&caller, pbx)] {
                let mut mixed = peer.clone();
                mixed.routes = vec![routes[one].clone(), routes[other].clone()];
                let outcome = world.receive(mixed.request("INFO", ""), from);
                assert!(!matches!(outcome, Outcome::Sent(..)), "{one} {other} {outcome:?}");
            }
        }
    }
}

#[test]
fn a_phone_calls_itself() {
    // caller and callee are one flow, and the initiator of both passes has one tag
    let mut world = World::new();
    let path = world.register(phone(), "a.example", "1");
    let (hop, first) =
        world.receive(Peer::phone(phone(), "a.example", "1").request("INVITE", ""), phone()).sent();
    let onward = first.replacen("Via", &format!("Route: {path}\r\nVia"), 1);
    let got = world.receive(&onward, answers(hop)).sent_to(phone());
    assert_eq!(values(&got, "Via").len(), 3);
    // the registrar sends it once more: this is a loop
    let again = got.replacen("Via", &format!("Route: {path}\r\nVia"), 1);
    assert_eq!(world.receive(&again, answers(hop)), Outcome::Refused(Refusal::Loop));
}

#[test]
fn the_pbx_asserts_an_identity_and_the_phone_does_not() {
    let asserted = "P-Asserted-Identity: <sip:boss@pbx.example>\r\nX-Authz-User: boss\r\n";
    everywhere(|world, from, leg, path| {
        let mut pbx = Peer::pbx(from, path, "1");
        let got = world.receive(pbx.request("INVITE", asserted), from).sent_to(leg);
        assert_eq!(values(&got, "P-Asserted-Identity"), ["<sip:boss@pbx.example>"]);
        assert_eq!(values(&got, "X-Authz-User"), [""; 0]);
        let with = |text: String| text.replacen("From: ", &format!("{asserted}From: "), 1);
        let ok = with(answer(&got, 200, "t", leg.address));
        let ok = world.receive(ok, leg).sent_to(from);
        assert_eq!(values(&ok, "P-Asserted-Identity"), [""; 0]);
        assert_eq!(values(&ok, "X-Authz-User"), [""; 0]);
        let mut phone = Peer::answerer(leg, &got, "t");
        let to = to_hop(from);
        let got = world.receive(phone.request("INFO", asserted), leg).sent_to(to);
        assert_eq!(values(&got, "P-Asserted-Identity"), [""; 0]);
        assert_eq!(values(&got, "X-Authz-User"), ["alice"]);
        let ok = with(answer(&got, 200, "t", to.address));
        let ok = world.receive(ok, answers(to)).sent_to(leg);
        assert_eq!(values(&ok, "P-Asserted-Identity"), ["<sip:boss@pbx.example>"]);
        assert_eq!(values(&ok, "X-Authz-User"), [""; 0]);
    });
}

#[test]
fn an_outbound_proxy_before_the_token_comes_off_too() {
    everywhere(|world, from, leg, path| {
        for first in [format!("<sip:{INNER};lr>"), "<sip:10.0.0.1:5060;transport=tcp>".to_owned()] {
            let mut pbx = Peer::pbx(from, path, "1");
            pbx.routes.insert(0, first);
            let got = exchange(world, &mut pbx, leg, "INVITE");
            assert_eq!(values(&got, "Route"), [""; 0]);
        }
    });
}

#[test]
fn a_hop_of_a_call_answers_from_the_listener_for_hops_too() {
    let mut world = World::new();
    let mut call = world.call(phone(), "a.example", "1");
    assert_ne!(answers(call.hop), answering(call.hop));
    let got = world.receive(call.caller.request("INFO", ""), phone()).sent_to(call.hop);
    let ok = answer(&got, 200, "t", call.hop.address);
    world.receive(ok, answers(call.hop)).sent_to(phone());
}
