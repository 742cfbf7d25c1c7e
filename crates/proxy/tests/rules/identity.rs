//! Forged identity fields, and credentials that must not reach a hop.

use sip_authz_proxy::{IdentityFields, Settings};
use sip_authz_testing::proxy_world::{
    Call, Peer, World, answer, answering, identity_fields, values,
};

use crate::{HOSTS, phone};

/// Fields that claim an identity, in many spellings; each has the text `forged`.
fn forged() -> Vec<String> {
    let mut fields = Vec::new();
    for name in ["X-Authz-Account", "X-Authz-Domain", "X-Authz-User", "X-Authz-Permits"] {
        for name in [
            name.to_owned(),
            name.to_lowercase(),
            name.to_uppercase(),
            name.replace('-', "_"),
            name.to_lowercase().replacen('-', "_", 1),
        ] {
            for value in [
                ": forged",
                ":forged",
                ":\tforged\t",
                ":\r\n forged",
                ": a\r\n\tforged\r\n b",
                ": a, forged",
            ] {
                fields.push(format!("{name}{value}\r\n"));
            }
            fields.push(format!("Subject: a\r\n {name}: forged\r\n"));
            fields.push(format!("Subject: a\r\n\t{name} : forged\r\n b\r\n"));
        }
    }
    fields
}

/// Fields in which phones assert an identity.
const ASSERTED: [&str; 4] = [
    "P-Asserted-Identity: <sip:forged@a.example>\r\n",
    "p-asserted-IDENTITY: \"x\" <sip:forged@a.example>, <tel:+1>\r\n",
    "P_Asserted_Identity: <sip:forged@a.example>\r\n",
    "Remote-Party-ID: <sip:forged@a.example>;party=calling\r\n",
];

#[test]
fn forged_identity_fields_reach_nobody() {
    // hops over UDP and TCP
    for host in &HOSTS[..2] {
        let mut world = World::new();
        let Call { caller, callee, hop, forwarded, .. } = world.call(phone(), host, "1");
        for field in forged() {
            // unknown ACKs are limited
            world.seconds += 1;
            let mut new = Peer::phone(phone(), host, "2");
            for method in ["INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"] {
                let (_, got) = world.receive(new.request(method, &field), phone()).sent();
                assert!(!got.contains("forged"), "{method} {field}");
                assert_eq!(identity_fields(got.as_bytes()).len(), 4);
            }
            for method in ["CANCEL", "ACK"] {
                let (_, got) = world.receive(new.clone().request(method, &field), phone()).sent();
                assert!(!got.contains("forged"), "{method} {field}");
            }
            for (peer, to) in [(&caller, hop), (&callee, phone())] {
                for method in ["INVITE", "ACK", "BYE", "INFO", "CANCEL"] {
                    let request = peer.clone().request(method, &field);
                    let got = world.receive(request, peer.leg).sent_to(to);
                    assert!(!got.contains("forged"), "{method} {field}");
                }
                let got = world.receive(peer.clone().request("INFO", ""), peer.leg).sent_to(to);
                let back = answer(&got, 200, "x", to.address);
                let back = back.replacen("From: ", &format!("{field}From: "), 1);
                let got = world.receive(back, answering(to)).sent_to(peer.leg);
                assert!(!got.contains("forged"), "{field}");
            }
            let ok = answer(&forwarded, 200, "callee-1", hop.address);
            let ok = ok.replacen("From: ", &format!("{field}From: "), 1);
            let got = world.receive(ok, answering(hop)).sent_to(phone());
            assert!(!got.contains("forged"), "{field}");
        }
    }
}

#[test]
fn a_phone_asserts_nothing_and_a_hop_does() {
    for asserts in [false, true] {
        let identity = IdentityFields::default().with_asserted(asserts);
        let mut world = World::with(Settings { identity, remembered: 64, ..Settings::default() });
        let Call { caller, callee, hop, .. } = world.call(phone(), "a.example", "1");
        for field in ASSERTED {
            let of_phone = caller.clone().request("INFO", field);
            let got = world.receive(of_phone, phone()).sent_to(hop);
            assert!(!got.contains("forged"), "{field}");
            let expected = if asserts { vec!["<sip:alice@a.example>"] } else { vec![] };
            assert_eq!(values(&got, "P-Asserted-Identity"), expected);
            let of_hop = callee.clone().request("INFO", field);
            let got = world.receive(of_hop, callee.leg).sent_to(phone());
            assert!(got.contains(field));
            // responses: of the phone, and of the hop
            let with = |got: &str, to: std::net::SocketAddr| {
                let back = answer(got, 200, "x", to);
                back.replacen("From: ", &format!("{field}From: "), 1)
            };
            let back = with(&got, phone().address);
            let back = world.receive(back, phone()).sent_to(callee.leg);
            assert!(!back.contains("forged"), "{field}");
            let got = world.receive(caller.clone().request("INFO", ""), phone()).sent_to(hop);
            let back = with(&got, hop.address);
            let back = world.receive(back, answering(hop)).sent_to(phone());
            assert!(back.contains(field));
            // a new request
            let new = Peer::phone(phone(), "a.example", "2").request("INVITE", field);
            assert!(!world.receive(new, phone()).sent().1.contains("forged"));
        }
        let preferred = "P-Preferred-Identity: <sip:bob@a.example>\r\n";
        let got = world.receive(caller.clone().request("INFO", preferred), phone()).sent_to(hop);
        assert_eq!(got.contains(preferred), !asserts);
    }
}

#[test]
fn the_identity_within_a_dialog_is_that_of_its_token() {
    let mut world = World::new();
    let mut alice = world.call(phone(), "a.example", "1");
    world.user = "b\u{e9} b\r\nX-Authz-User: root".to_owned();
    let mut other = world.call(phone(), "a.example", "2");
    world.user = "carol".to_owned();
    world.restart();
    let got = world.receive(alice.caller.request("INFO", ""), phone()).sent_to(alice.hop);
    assert_eq!(values(&got, "X-Authz-User"), ["alice"]);
    assert_eq!(values(&got, "X-Authz-Domain"), ["a.example"]);
    assert_eq!(values(&got, "X-Authz-Permits"), ["local,emergency"]);
    let got = world.receive(other.caller.request("INFO", ""), phone()).sent_to(other.hop);
    assert_eq!(values(&got, "X-Authz-User"), ["b%C3%A9%20b%0D%0AX-Authz-User:%20root"]);
}

#[test]
fn credentials_for_our_realms_do_not_pass() {
    let ours = [
        "Authorization: Digest username=\"alice\", realm=\"a.example\", response=\"secret\"\r\n",
        "Proxy-Authorization: Digest realm=\"B.Example\", response=\"secret\"\r\n",
        "proxy-authorization:Digest realm=c.example,response=secret\r\n",
        "AUTHORIZATION: digest\r\n REALM\r\n =\r\n \"a.example\", response=\"secret\"\r\n",
        "Authorization: Digest realm=\"other\", response=\"x\", Digest realm=\"a.example\", response=\"secret\"\r\n",
        "Authorization: Digest realm=\"a.example\", response=\"secret\", realm=\"other\"\r\n",
        "Authorization: Digest realm=\"a\\.example\", response=\"secret\"\r\n",
        "Authorization: Digest opaque=\"\\\", realm=\\\"a.example\\\"\", realm=\"a.example\", response=\"secret\"\r\n",
        "Authorization: Digest response=\"secret\", realm=\"a.example\r\n",
        "Authorization: Unknown realm=\"a.example\", response=\"secret\"\r\n",
    ];
    let theirs = [
        "Authorization: Digest username=\"x\", realm=\"pbx\", response=\"theirs\"\r\n",
        "Proxy-Authorization: Digest realm=\"a.example.net\", response=\"theirs\"\r\n",
        "Authorization: Basic dGhlaXJz\r\n",
    ];
    let mut world = World::new();
    let Call { caller, callee, hop, .. } = world.call(phone(), "a.example", "1");
    for own in ours {
        for more in [own.to_owned(), own.repeat(3), format!("{}{own}{}", theirs[0], theirs[1])] {
            let new = Peer::phone(phone(), "a.example", "2");
            for method in ["INVITE", "CANCEL", "ACK", "OPTIONS"] {
                let (_, got) = world.receive(new.clone().request(method, &more), phone()).sent();
                assert!(!got.contains("secret"), "{method} {own}");
            }
            for (peer, to) in [(&caller, hop), (&callee, phone())] {
                for method in ["INVITE", "ACK", "BYE", "INFO", "CANCEL", "UPDATE"] {
                    let request = peer.clone().request(method, &more);
                    let got = world.receive(request, peer.leg).sent_to(to);
                    assert!(!got.contains("secret"), "{method} {own}");
                    assert_eq!(got.contains("theirs"), more.contains("theirs"));
                }
            }
        }
    }
    for field in theirs {
        let request = caller.clone().request("BYE", field);
        assert!(world.receive(request, phone()).sent_to(hop).contains(field));
    }
}
