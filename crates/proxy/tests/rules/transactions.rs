//! Attacks with requests that follow an INVITE, and with its branch.

use sip_authz_proxy::{Refusal, Settings};
use sip_authz_testing::proxy_world::{
    Outcome, Peer, TENANTS, World, answer, answering, datagram, values,
};

use crate::{edited, phone, stranger};

/// A CANCEL or ACK of a transaction that is not known.
fn unknown(number: usize, method: &str) -> String {
    let mut peer = Peer::phone(stranger(), "a.example", &number.to_string());
    peer.remote.push_str(";tag=x");
    peer.request(method, "")
}

#[test]
fn a_flood_with_unknown_branches_is_limited() {
    for method in ["CANCEL", "ACK"] {
        let mut world = World::new();
        let sent = |world: &mut World, from: usize| {
            let outcomes = (from..from + 1_000)
                .map(|number| world.receive(unknown(number, method), stranger()));
            let mut sent = 0;
            for outcome in outcomes {
                match outcome {
                    Outcome::Sent(to, _) => {
                        assert!(TENANTS[0].legs().any(|leg| leg == to));
                        sent += 1;
                    }
                    outcome => assert_eq!(outcome, Outcome::Dropped),
                }
            }
            sent
        };
        assert_eq!(sent(&mut world, 0), 100);
        assert_eq!(sent(&mut world, 1_000), 0);
        // those of known calls pass meanwhile
        let mut caller = Peer::phone(phone(), "a.example", "known");
        let (hop, got) = world.receive(caller.request("INVITE", ""), phone()).sent();
        world.receive(caller.request("CANCEL", ""), phone()).sent_to(hop);
        let busy = answer(&got, 486, "t", hop.address);
        let busy = world.receive(busy, answering(hop)).sent_to(phone());
        world.receive(caller.ack_of_failure(&busy), phone()).sent_to(hop);
        world.seconds += 1;
        assert_eq!(sent(&mut world, 2_000), 100);
    }
}

#[test]
fn a_cancel_from_another_address_does_not_reach_the_transaction() {
    let mut world = World::new();
    let mut caller = Peer::phone(phone(), "a.example", "1");
    let (_, got) = world.receive(caller.request("INVITE", ""), phone()).sent();
    let branch = |text: &str| values(text, "Via")[0].split(";loop=").next().unwrap().to_owned();
    let cancel = caller.request("CANCEL", "");
    let (_, own) = world.receive(&cancel, phone()).sent();
    assert_eq!(branch(&own), branch(&got));
    // its own port does not count: phones behind a NAT
    let (_, own) = world.receive(&cancel, datagram("192.0.2.10:9")).sent();
    assert_eq!(branch(&own), branch(&got));
    let (_, forged) = world.receive(&cancel, stranger()).sent();
    assert_ne!(branch(&forged), branch(&got));
    for (from, to) in
        [("Call-ID: 1", "Call-ID: 2"), ("CSeq: 1 ", "CSeq: 2 "), ("tag=caller", "tag=x")]
    {
        let (_, other) = world.receive(edited(&cancel, from, to), phone()).sent();
        assert_ne!(branch(&other), branch(&got), "{to}");
    }
}

#[test]
fn cancel_and_ack_go_to_no_other_target() {
    let mut world = World::new();
    for method in ["CANCEL", "ACK"] {
        for (from, to) in [
            ("sip:100@a.example SIP", "sip:100@victim.example SIP"),
            ("sip:100@a.example SIP", "sip:10.0.0.10:5060 SIP"),
            ("sip:100@a.example SIP", "tel:+1 SIP"),
        ] {
            let outcome = world.receive(edited(&unknown(1, method), from, to), stranger());
            assert_eq!(outcome, Outcome::Dropped, "{method} {to}");
        }
        let routed =
            edited(&unknown(1, method), "From: ", "Route: <sip:victim.example;lr>\r\nFrom: ");
        let outcome = world.receive(routed, stranger());
        let expected = match method {
            "ACK" => Outcome::Dropped,
            _ => Outcome::Refused(Refusal::Route),
        };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn the_branch_of_a_call_leads_no_other_call_to_its_hop() {
    // a user of two tenants: the identity of one must not reach the hop of the other
    let mut world = World::new();
    let mut caller = Peer::phone(phone(), "a.example", "1");
    let invite = caller.request("INVITE", "");
    let (first, _) = world.receive(&invite, phone()).sent();
    for host in ["b.example", "c.example", "a.example"] {
        let other = edited(&invite, "sip:100@a.example SIP", &format!("sip:100@{host} SIP"));
        let (hop, got) = world.receive(other, phone()).sent();
        assert_eq!(hop == first, host == "a.example");
        assert_eq!(values(&got, "X-Authz-Domain"), [host]);
    }
}

#[test]
fn a_retransmission_goes_to_the_hop_of_its_invite() {
    let mut world = World::new();
    let mut caller = Peer::phone(phone(), "a.example", "1");
    let invite = caller.request("INVITE", "");
    let (hop, _) = world.receive(&invite, phone()).sent();
    // though no hop answers any more
    world.has_hops = false;
    world.seconds += 180;
    world.receive(&invite, phone()).sent_to(hop);
    world.receive(caller.request("CANCEL", ""), phone()).sent_to(hop);
    world.seconds += 181;
    assert_eq!(world.receive(&invite, phone()), Outcome::Refused(Refusal::NoHop));
    assert_eq!(world.receive(caller.request("CANCEL", ""), phone()), Outcome::Dropped);
    // a new one
    let invite = caller.request("INVITE", "");
    assert_eq!(world.receive(invite, phone()), Outcome::Refused(Refusal::NoHop));
}

#[test]
fn a_full_table_costs_no_call() {
    let mut world = World::with(Settings { remembered: 8, ..Settings::default() });
    let mut callers: Vec<_> =
        (0..100).map(|number| Peer::phone(phone(), "a.example", &number.to_string())).collect();
    let hops: Vec<_> = callers
        .iter_mut()
        .map(|caller| world.receive(caller.request("INVITE", ""), phone()).sent().0)
        .collect();
    for (caller, hop) in callers.iter_mut().zip(hops) {
        world.seconds += 1;
        world.receive(caller.request("CANCEL", ""), phone()).sent_to(hop);
    }
}

#[test]
fn a_phone_of_rfc_2543_has_a_transaction_too() {
    let mut world = World::new();
    let mut caller = Peer::phone(phone(), "a.example", "1");
    let old = |text: String| {
        let branch = values(&text, "Via")[0].split(";branch=").nth(1).unwrap().to_owned();
        edited(&text, &format!(";branch={branch}"), "")
    };
    let (hop, got) = world.receive(old(caller.request("INVITE", "")), phone()).sent();
    let cancel = world.receive(old(caller.request("CANCEL", "")), phone()).sent_to(hop);
    assert_eq!(values(&cancel, "Via")[0], values(&got, "Via")[0]);
}
