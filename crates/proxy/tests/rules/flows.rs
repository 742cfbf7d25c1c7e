//! Calls as they should go.

use sip_authz_proxy::Leg;
use sip_authz_testing::proxy_world::{Call, Peer, World, answer, answering, datagram, values};

use crate::{HOSTS, phone, phones};

/// Runs `f` for each transport of the phone and of the hop.
fn everywhere(f: impl Fn(&mut World, Leg, &str)) {
    for leg in phones() {
        for host in HOSTS {
            f(&mut World::new(), leg, host);
        }
    }
}

/// Sends a request of one side to the other, and the answer back.
#[track_caller]
fn exchange(world: &mut World, from: &mut Peer, to: Leg, method: &str) -> String {
    let request = from.request(method, "");
    let got = world.receive(&request, from.leg).sent_to(to);
    let back = answer(&got, 200, "x", to.address);
    world.receive(back, answering(to)).sent_to(from.leg);
    got
}

#[test]
fn a_call_has_all_requests_of_a_dialog_in_both_directions() {
    everywhere(|world, leg, host| {
        let Call { mut caller, mut callee, hop, .. } = world.call(leg, host, "1");
        let methods =
            ["INVITE", "ACK", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "MESSAGE", "OPTIONS"];
        for method in methods.into_iter().chain(["BYE"]) {
            if method == "ACK" {
                let ack = caller.request("ACK", "");
                world.receive(ack, leg).sent_to(hop);
                let ack = callee.request("ACK", "");
                world.receive(ack, callee.leg).sent_to(leg);
                continue;
            }
            let got = exchange(world, &mut caller, hop, method);
            assert_eq!(values(&got, "Route"), [""; 0], "{method}");
            assert_eq!(values(&got, "Max-Forwards"), ["69"]);
            assert_eq!(values(&got, "X-Authz-User"), ["alice"]);
            let got = exchange(world, &mut callee, leg, method);
            assert_eq!(values(&got, "Route"), [""; 0], "{method}");
            assert_eq!(values(&got, "X-Authz-User"), [""; 0]);
        }
    });
}

#[test]
fn a_call_is_cancelled_while_it_rings() {
    everywhere(|world, leg, host| {
        let mut caller = Peer::phone(leg, host, "1");
        let invite = caller.request("INVITE", "");
        let (hop, got) = world.receive(&invite, leg).sent();
        world.receive(answer(&got, 180, "t", hop.address), answering(hop)).sent_to(leg);
        let cancel = world.receive(caller.request("CANCEL", ""), leg).sent_to(hop);
        // the PBX knows the transaction by the branch (RFC 3261 §9.2)
        let branch = |text: &str| values(text, "Via")[0].split(";loop=").next().unwrap().to_owned();
        assert_eq!(branch(&cancel), branch(&got));
        world.receive(answer(&cancel, 200, "t", hop.address), answering(hop)).sent_to(leg);
        let ended = answer(&got, 487, "t", hop.address);
        let ended = world.receive(ended, answering(hop)).sent_to(leg);
        let ack = world.receive(caller.ack_of_failure(&ended), leg).sent_to(hop);
        assert_eq!(branch(&ack), branch(&got));
    });
}

#[test]
fn a_failure_is_acknowledged_hop_by_hop() {
    everywhere(|world, leg, host| {
        for (status, number) in [(486, "1"), (302, "2"), (404, "3"), (503, "4"), (603, "5")] {
            let mut caller = Peer::phone(leg, host, number);
            let (hop, got) = world.receive(caller.request("INVITE", ""), leg).sent();
            // the failure may come several times
            for _ in 0..3 {
                let busy = answer(&got, status, "t", hop.address);
                let busy = world.receive(busy, answering(hop)).sent_to(leg);
                world.receive(caller.ack_of_failure(&busy), leg).sent_to(hop);
            }
        }
    });
}

#[test]
fn retransmissions_have_the_same_bytes() {
    everywhere(|world, leg, host| {
        let Call { mut caller, mut callee, hop, invite, forwarded, answered } =
            world.call(leg, host, "1");
        let mut subscriber = Peer::phone(leg, host, "2");
        let subscribe = subscriber.request("SUBSCRIBE", "");
        let (other_hop, subscribed) = world.receive(&subscribe, leg).sent();
        let mut sent =
            vec![(invite, leg, hop, forwarded.clone()), (subscribe, leg, other_hop, subscribed)];
        for method in ["INVITE", "SUBSCRIBE", "NOTIFY", "UPDATE", "BYE"] {
            for (peer, to) in [(&mut caller, hop), (&mut callee, leg)] {
                let request = peer.request(method, "");
                let first = world.receive(&request, peer.leg).sent_to(to);
                sent.push((request, peer.leg, to, first));
            }
        }
        // a peer retransmits for 32 seconds, and a PBX may know that by the bytes alone
        for _ in 0..8 {
            world.seconds += 4;
            for (request, from, to, first) in &sent {
                assert_eq!(world.receive(request, *from).sent_to(*to), *first);
            }
            let ok = answer(&forwarded, 200, "callee-1", hop.address);
            assert_eq!(world.receive(ok, answering(hop)).sent_to(leg), answered);
        }
    });
}

#[test]
fn a_re_invite_is_cancelled_in_both_directions() {
    everywhere(|world, leg, host| {
        let Call { mut caller, mut callee, hop, .. } = world.call(leg, host, "1");
        let branch = |text: &str| values(text, "Via")[0].split(";loop=").next().unwrap().to_owned();
        for (peer, to) in [(&mut caller, hop), (&mut callee, leg)] {
            let invite = world.receive(peer.request("INVITE", ""), peer.leg).sent_to(to);
            let cancel = world.receive(peer.request("CANCEL", ""), peer.leg).sent_to(to);
            assert_eq!(branch(&cancel), branch(&invite));
            let ended = answer(&invite, 487, "t", to.address);
            let ended = world.receive(ended, answering(to)).sent_to(peer.leg);
            let ack = world.receive(peer.ack_of_failure(&ended), peer.leg).sent_to(to);
            assert_eq!(branch(&ack), branch(&invite));
        }
    });
}

#[test]
fn a_subscription_sends_notify_before_and_after_its_answer() {
    everywhere(|world, leg, host| {
        let mut phone = Peer::phone(leg, host, "1");
        let (hop, got) = world.receive(phone.request("SUBSCRIBE", ""), leg).sent();
        let mut server = Peer::answerer(answering(hop), &got, "t");
        // before the 202: the phone makes its dialog from this
        let notify = world.receive(server.request("NOTIFY", ""), server.leg).sent_to(leg);
        let mut early = Peer::answerer(leg, &notify, "");
        early.local = values(&notify, "To").concat();
        early.cseq = 1;
        exchange(world, &mut early, hop, "SUBSCRIBE");
        let ok = answer(&got, 202, "t", hop.address);
        phone.confirm(&world.receive(ok, answering(hop)).sent_to(leg));
        exchange(world, &mut server, leg, "NOTIFY");
        // it is refreshed for days
        for _ in 0..10 {
            world.seconds += 11 * 3600;
            exchange(world, &mut phone, hop, "SUBSCRIBE");
            exchange(world, &mut server, leg, "NOTIFY");
        }
    });
}

#[test]
fn a_restart_goes_unnoticed() {
    everywhere(|world, leg, host| {
        let Call { mut caller, mut callee, hop, forwarded, .. } = world.call(leg, host, "1");
        world.restart();
        let ok = answer(&forwarded, 200, "callee-1", hop.address);
        world.receive(ok, answering(hop)).sent_to(leg);
        exchange(world, &mut caller, hop, "INVITE");
        exchange(world, &mut callee, leg, "INVITE");
        world.restart();
        exchange(world, &mut callee, leg, "BYE");
        exchange(world, &mut caller, hop, "BYE");

        let mut ringing = Peer::phone(leg, host, "2");
        let invite = ringing.request("INVITE", "");
        let (hop, got) = world.receive(&invite, leg).sent();
        world.restart();
        let cancel = world.receive(ringing.request("CANCEL", ""), leg).sent_to(hop);
        assert_eq!(values(&cancel, "Via")[0], values(&got, "Via")[0]);
        let ended = answer(&got, 487, "t", hop.address);
        let ended = world.receive(ended, answering(hop)).sent_to(leg);
        world.restart();
        world.receive(ringing.ack_of_failure(&ended), leg).sent_to(hop);
    });
}

#[test]
fn a_rotated_key_goes_unnoticed() {
    everywhere(|world, leg, host| {
        let Call { mut caller, mut callee, hop, .. } = world.call(leg, host, "1");
        let branch = |text: &str| values(text, "Via")[0].split(";loop=").next().unwrap().to_owned();
        let mut ringing = Peer::phone(leg, host, "2");
        let invite = ringing.request("INVITE", "");
        let (other_hop, got) = world.receive(&invite, leg).sent();
        let again = caller.request("INVITE", "");
        let before = world.receive(&again, leg).sent_to(hop);
        let inner = callee.request("INVITE", "");
        let before_inner = world.receive(&inner, callee.leg).sent_to(leg);
        world.rotate();
        // transactions keep their branch
        for (request, from, to, first) in [
            (invite, leg, other_hop, &got),
            (ringing.request("CANCEL", ""), leg, other_hop, &got),
            (again, leg, hop, &before),
            (caller.request("CANCEL", ""), leg, hop, &before),
            (inner, callee.leg, leg, &before_inner),
            (callee.request("CANCEL", ""), callee.leg, leg, &before_inner),
        ] {
            let after = world.receive(&request, from).sent_to(to);
            assert_eq!(branch(&after), branch(first), "{request}");
        }
        let ended = answer(&got, 487, "t", other_hop.address);
        let ended = world.receive(ended, answering(other_hop)).sent_to(leg);
        world.receive(ringing.ack_of_failure(&ended), leg).sent_to(other_hop);
        exchange(world, &mut callee, leg, "INFO");
        exchange(world, &mut caller, hop, "BYE");
        // the routes of a dialog never change, so the second rotation ends it
        world.rotate();
        let bye = caller.request("BYE", "");
        assert_eq!(world.receive(bye, leg).name(), "rejected");
    });
}

#[test]
fn a_call_that_comes_back_spirals_and_its_answers_unwind() {
    let mut world = World::new();
    let mut caller = Peer::phone(phone(), "a.example", "1");
    let (hop, first) = world.receive(caller.request("INVITE", ""), phone()).sent();
    // the PBX is a proxy: it sends the call to a user of another domain, by way of the edge
    let pbx = answering(hop);
    let via = format!("Via: SIP/2.0/UDP {};branch=z9hG4bKpbx\r\nVia: SIP/2.0/UDP 10", hop.address);
    let onward = first.replacen("Via: SIP/2.0/UDP 10", &via, 1);
    let onward = onward.replacen("INVITE sip:100@a.example", "INVITE sip:200@b.example", 1);
    let (second_hop, second) = world.receive(&onward, pbx).sent();
    assert_eq!(second_hop.address.to_string(), "10.0.0.20:5060");
    assert_eq!(values(&second, "Record-Route").len(), 4);
    let ok = answer(&second, 200, "t", second_hop.address);
    let once = world.receive(ok, answering(second_hop)).sent_to(pbx);
    assert_eq!(values(&once, "Via").len(), 3);
    // the PBX takes its Via off
    let at_pbx = values(&once, "Via").remove(0);
    let once = crate::edited(&once, &format!("Via: {at_pbx}\r\n"), "");
    let twice = world.receive(once, pbx).sent_to(phone());
    assert_eq!(values(&twice, "Via").len(), 1);
    caller.confirm(&twice);
    // the requests of the dialog take the same way: the PBX follows the Route that names the edge
    let ack = caller.request("ACK", "");
    let ack = world.receive(ack, phone()).sent_to(hop);
    assert_eq!(values(&ack, "Route").len(), 2);
    world.receive(ack, pbx).sent_to(second_hop);
}

#[test]
fn a_pbx_can_merge_the_vias_and_write_our_parameters_in_another_order() {
    let mut world = World::new();
    let mut caller = Peer::phone(phone(), "a.example", "1");
    let (hop, got) = world.receive(caller.request("INVITE", ""), phone()).sent();
    let vias = values(&got, "Via");
    let text = answer(&got, 200, "t", hop.address);
    let first = text.find("Via: ").unwrap();
    let last = text.find("From: ").unwrap();
    let (start, params) = vias[0].split_once(";branch=").unwrap();
    let (branch, params) = params.split_once(';').unwrap();
    let (loops, leg) = params.split_once(';').unwrap();
    let moved = format!("{start};{leg};received=10.0.0.1;rport=5060;branch={branch};{loops}");
    for (name, top) in [("Via", &vias[0]), ("v", &vias[0]), ("VIA", &moved)] {
        let merged = format!("{name}: {top} , {}\r\n", vias[1]);
        let text = format!("{}{merged}{}", &text[..first], &text[last..]);
        let relayed = world.receive(text, answering(hop)).sent_to(phone());
        let left = if name == "v" { values(&relayed, "v") } else { values(&relayed, "Via") };
        assert_eq!(left, [vias[1].clone()]);
    }
}

#[test]
fn answers_go_to_the_port_that_the_phone_asks_for() {
    let mut world = World::new();
    world.reply_port = Some(5099);
    let mut caller = Peer::phone(phone(), "a.example", "1");
    let (hop, got) = world.receive(caller.request("INVITE", ""), phone()).sent();
    let ok = answer(&got, 200, "t", hop.address);
    world.receive(ok, answering(hop)).sent_to(datagram("192.0.2.10:5099"));
}
