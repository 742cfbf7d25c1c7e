//! Attacks on requests that start something.

use sip_authz_proxy::{Flaw, Refusal};
use sip_authz_testing::proxy_world::{
    EDGE, INNER, Outcome, Peer, STRANGER, World, answer, answering, values,
};
use sip_authz_testing::torture::{CASES, Intent};

use crate::{edited, phone, stranger};

/// An INVITE of a phone.
fn invite(more: &str) -> String {
    Peer::phone(phone(), "a.example", "1").request("INVITE", more)
}

#[test]
fn a_preloaded_route_is_refused() {
    let mut world = World::new();
    let call = world.call(phone(), "b.example", "9");
    let [outside, inside] = [&call.caller.routes[0], &call.caller.routes[1]];
    let own = format!("<sip:{EDGE};lr>");
    for (routes, is_sent) in [
        (vec![own.as_str()], true),
        (vec!["<sip:a.example;lr>"], true),
        (vec!["\"Edge\" <sip:EDGE.example:5060;transport=udp;lr>;x=y"], true),
        // the token of a dialog counts for nothing: the call goes where it is decided to go
        (vec![outside], true),
        (vec![inside], true),
        (vec![outside, inside], false),
        (vec![inside, outside], false),
        (vec!["<sip:victim.example;lr>"], false),
        (vec!["<sip:10.0.0.20:5060;lr>"], false),
        (vec!["<sip:203.0.113.66>"], false),
        (vec![&own, "<sip:victim.example;lr>"], false),
        (vec![&own, &own], false),
        (vec!["<sip:victim.example;lr>", &own], false),
        (vec!["<sip:edge.example@victim.example;lr>"], false),
        (vec!["<sip:edge.example.victim.example;lr>"], false),
        (vec!["<sips:victim.example>"], false),
        (vec!["<tel:+1>"], false),
        (vec!["<sip:edge.example?Route=%3Csip:victim.example%3E>"], false),
    ] {
        let fields: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let one = format!("Route: {}\r\n", routes.join(","));
        for fields in [fields, one] {
            let outcome = world.receive(invite(&fields), phone());
            if is_sent {
                let (to, got) = outcome.sent();
                assert!(to.address.to_string().starts_with("10.0.0.1"), "{to:?}");
                assert_eq!(values(got, "Route"), [""; 0]);
            } else {
                assert!(matches!(outcome, Outcome::Refused(_)), "{routes:?} {outcome:?}");
            }
        }
    }
}

#[test]
fn maddr_and_headers_in_the_request_uri_are_refused() {
    let mut world = World::new();
    for (end, flaw) in [
        (";maddr=203.0.113.66", Flaw::Maddr),
        (";MADDR=203.0.113.66", Flaw::Maddr),
        (";transport=udp;maddr=203.0.113.66;lr", Flaw::Maddr),
        (";maddr", Flaw::Maddr),
        (";%6daddr=203.0.113.66", Flaw::Maddr),
        (";m%61%64dr=x", Flaw::Maddr),
        ("?Route=%3Csip:x%3E", Flaw::UriHeaders),
        (";lr?a=b", Flaw::UriHeaders),
        ("?", Flaw::UriHeaders),
    ] {
        let changed = edited(&invite(""), "a.example SIP/2.0", &format!("a.example{end} SIP/2.0"));
        let refused = Outcome::Refused(Refusal::Flaw(flaw));
        assert_eq!(world.receive(&changed, phone()), refused, "{end}");
        // a CANCEL too, and an ACK is not answered
        let cancel = changed.replace("INVITE", "CANCEL");
        assert_eq!(world.receive(cancel, phone()), refused, "{end}");
        let ack = changed.replace("INVITE", "ACK");
        assert_eq!(world.receive(ack, phone()), Outcome::Dropped, "{end}");
    }
    // maddr in a Via or Contact decides nothing
    let changed = edited(&invite(""), ";rport", ";rport;maddr=203.0.113.66");
    let (hop, got) = world.receive(changed, phone()).sent();
    let ok = answer(&got, 200, "t", hop.address);
    world.receive(ok, answering(hop)).sent_to(phone());
}

#[test]
fn a_loop_is_refused_and_a_spiral_passes() {
    let mut world = World::new();
    let (hop, got) = world.receive(invite("Route: <sip:edge.example;lr>\r\n"), phone()).sent();
    let pbx = answering(hop);
    // back with the Route that it came with
    let back = got.replacen("From: ", "Route: <sip:edge.example;lr>\r\nFrom: ", 1);
    assert_eq!(world.receive(&back, pbx), Outcome::Refused(Refusal::Loop));
    let at = back.rfind("\r\nVia: ").unwrap();
    let merged = format!("{} , {}", &back[..at], &back[at + 7..]);
    assert_eq!(world.receive(merged, pbx), Outcome::Refused(Refusal::Loop));
    let further = back.replacen("Via: ", "Via: SIP/2.0/UDP pbx;branch=z9hG4bKp\r\nVia: ", 1);
    assert_eq!(world.receive(further, pbx), Outcome::Refused(Refusal::Loop));
    // without it: once more, and not again
    let (hop, second) = world.receive(&got, pbx).sent();
    assert_eq!(world.receive(&second, answering(hop)), Outcome::Refused(Refusal::Loop));
    for (from, to) in [("sip:100@", "sip:101@"), ("@a.example SIP", "@b.example SIP")] {
        let spiral = second.replacen(from, to, 1);
        assert_eq!(world.receive(spiral, answering(hop)).name(), "sent", "{to}");
    }
    // after a rotation too
    world.rotate();
    assert_eq!(world.receive(&second, answering(hop)), Outcome::Refused(Refusal::Loop));
    // a mark of a phone is none
    let forged = edited(&invite(""), ";rport", ";rport;loop=0123456789abcdef");
    assert_eq!(world.receive(forged, phone()).name(), "sent");
}

#[test]
fn max_forwards_of_zero_is_refused() {
    let mut world = World::new();
    for (value, expected) in [
        ("0", None),
        ("00", None),
        ("1", Some("0")),
        ("01", Some("0")),
        ("70", Some("69")),
        ("255", Some("254")),
    ] {
        let changed = invite("").replace("Max-Forwards: 70", &format!("Max-Forwards: {value}"));
        for method in ["INVITE", "CANCEL", "ACK", "OPTIONS"] {
            let outcome = world.receive(changed.replace("INVITE", method), phone());
            match expected {
                Some(expected) => {
                    assert_eq!(values(outcome.sent().1, "Max-Forwards"), [expected]);
                }
                None if method == "ACK" => assert_eq!(outcome, Outcome::Dropped),
                None => assert_eq!(outcome, Outcome::Refused(Refusal::TooManyHops), "{method}"),
            }
        }
    }
    let without = edited(&invite(""), "Max-Forwards: 70\r\n", "");
    assert_eq!(values(world.receive(without, phone()).sent().1, "Max-Forwards"), ["70"]);
    for value in ["", "-1", "256", "1 0", "0x1", "70\r\nMax-Forwards: 70", "+1", "1,2", "\r\n 5"] {
        let changed = invite("").replace("Max-Forwards: 70", &format!("Max-Forwards: {value}"));
        let outcome = world.receive(changed, phone());
        assert!(matches!(outcome, Outcome::Refused(Refusal::Flaw(_))), "{value:?} {outcome:?}");
    }
}

#[test]
fn a_message_with_two_readings_is_not_forwarded() {
    let mut world = World::new();
    let text = invite("Subject: s\r\n");
    for (from, to) in [
        ("Subject: s\r\n", "Subject: s\nRoute: <sip:victim>\r\n"),
        ("Subject: s\r\n", "Subject: s\rRoute: <sip:victim>\r\n"),
        ("Subject: s\r\n", "Subject: s\0\r\n"),
        ("Subject: s\r\n", "Subject : s\r\n"),
        ("Subject: s\r\n", "Subject\t: s\r\n"),
        ("Subject: s\r\n", "Route : <sip:victim>\r\n"),
        ("Subject: s\r\n", "Subject: s\r\n\tRoute: <sip:victim>\r\nVia: x\r\n"),
        ("Subject: s\r\n", "Route\r\n : <sip:victim>\r\n"),
        ("Subject: s\r\n", "no colon\r\n"),
        ("Subject: s\r\n", ": empty\r\n"),
        ("Subject: s\r\n", "l: 0\r\n"),
        ("Subject: s\r\n", "Content-length: 5\r\n"),
        ("Subject: s\r\n", "i: other\r\n"),
        ("Subject: s\r\n", "f: <sip:x>;tag=1\r\n"),
        ("Subject: s\r\n", "t: <sip:x>\r\n"),
        ("Subject: s\r\n", "CSEQ: 1 INVITE\r\n"),
        ("Subject: s\r\n", "m: <sip:other>\r\n"),
        ("Subject: s\r\n", "v: SIP/2.0/UDP x, \r\n"),
        ("Subject: s\r\n", "Route:\r\n <sip:edge.example;lr>\r\n"),
        ("Subject: s\r\n", "Route: <sip:edge.example;lr>,\r\n"),
        ("Subject: s\r\n", "Record-Route: <sip:x>\r\n ,<sip:y>\r\n"),
        ("Subject: s\r\n", "Record-Route: x\r\n"),
        ("From: <", "From: \"<"),
        ("From: <", "From:\r\n <"),
        ("To: <sip:100@a.example>", "To: <sip:100@a.example>, <sip:x>"),
        ("To: <sip:100@a.example>", "To: <sip:100@a.example>;tag=1;tag=2"),
        ("Call-ID: 1", "Call-ID: 1 2"),
        ("Call-ID: 1", "Call-ID:"),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ("CSeq: 1 INVITE", "CSeq: 4294967296 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: 1\r\n INVITE"),
        ("Content-Length: 0", "Content-Length: 1"),
        ("Content-Length: 0", "Content-Length: -0"),
        ("Content-Length: 0", "Content-Length: 0, 0"),
        ("Content-Length: 0", "Content-Length:\r\n 0"),
        ("Content-Length: 0", "Content-Length: 0\r\nContent-Length: 0"),
        (" SIP/2.0\r\nVia", " SIP/2.0\nVia"),
        (" SIP/2.0\r\nVia", " SIP/2.0 \r\nVia"),
        (" SIP/2.0\r\nVia", "  SIP/2.0\r\nVia"),
        ("INVITE sip", "INVITE  sip"),
        ("INVITE sip:100@a.example", "INVITE sip:100@a.example sip:x"),
        (";rport\r\n", ";rport\r\nVia: SIP/2.0/UDP\r\n"),
        (";rport\r\n", ";rport;branch=z9hG4bKsecond\r\n"),
        (";rport\r\n", ";rport;x=\"\r\n"),
        ("\r\n\r\n", "\r\n\n"),
    ] {
        let outcome = world.receive(text.replacen(from, to, 1), phone());
        let is_refused = matches!(
            outcome,
            Outcome::Refused(Refusal::Flaw(_)) | Outcome::Rejected | Outcome::NotSip
        );
        assert!(is_refused, "{to:?} {outcome:?}");
    }
    // what follows the body is cut
    let smuggled = format!("{text}{}", invite("").replace("Call-ID: 1", "Call-ID: 2"));
    let (_, got) = world.receive(smuggled, phone()).sent();
    assert!(got.ends_with("\r\n\r\n") && got.matches("Call-ID").count() == 1);
}

/// Valid torture messages that have two readings, or a Route, an extension, or no hop left.
const NOT_PASSED: [&str; 9] = [
    "rfc4475/wsinv",
    "rfc4475/intmeth",
    "rfc4475/esc01",
    "rfc4475/longreq",
    "rfc4475/mpart01",
    "rfc4475/bext01",
    "rfc4475/zeromf",
    "rfc4475/esc02",
    "rfc5118/ipv6-in-sdp",
];

#[test]
fn valid_torture_messages_pass() {
    let mut world = World::new();
    world.methods = vec!["INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE", "BYE"];
    let mut passed = Vec::new();
    for case in CASES.iter().filter(|case| case.intent == Intent::Valid) {
        let text = case.bytes();
        let Some(end) = text.windows(2).position(|end| end == b"\r\n") else { continue };
        // their Request-URIs become ours
        let line = String::from_utf8_lossy(&text[..end]).into_owned();
        let parts: Vec<_> = line.split(' ').collect();
        let [method, uri, "SIP/2.0"] = parts[..] else { continue };
        if !uri.starts_with("sip:") {
            continue;
        }
        let user = uri.split_once('@').map_or("sip:x", |(user, _)| user);
        let mut changed = format!("{method} {user}@a.example SIP/2.0").into_bytes();
        changed.extend_from_slice(&text[end..]);
        match world.receive(&changed, phone()) {
            Outcome::Sent(..) => passed.push(case.file),
            // these have two readings, or ask for something
            outcome => assert!(NOT_PASSED.contains(&case.file), "{} {outcome:?}", case.file),
        }
    }
    assert_eq!(passed.len(), 22, "{passed:?}");
}

#[test]
fn record_routes_and_vias_of_a_phone_that_imitate_ours_lead_nowhere() {
    let mut world = World::new();
    let other = world.call(phone(), "a.example", "2");
    let via = values(&other.forwarded, "Via").remove(0);
    let routes = values(&other.forwarded, "Record-Route");
    let leg = via.split(";leg=").nth(1).unwrap();
    for more in [
        format!("Record-Route: {}\r\n", routes.join(",")),
        format!("Record-Route: <sip:x@{EDGE};transport=udp;lr>\r\n"),
        format!(
            "Record-Route: <sip:x@{INNER};transport=udp;lr>\r\nRecord-Route: {}\r\n",
            routes[0]
        ),
        format!("Via: {}\r\n", via.replace(";loop=", ";x=")),
        format!("Via: SIP/2.0/UDP {STRANGER};branch=z9hG4bKx;loop=0;leg={leg}\r\n"),
    ] {
        let mut caller = Peer::phone(phone(), "a.example", "1");
        let (hop, got) = world.receive(caller.request("INVITE", &more), phone()).sent();
        let ok = answer(&got, 200, "t", hop.address);
        let answered = world.receive(ok, answering(hop)).sent_to(phone());
        caller.confirm(&answered);
        // the elements before this side take off what they have recorded
        let below = caller.routes.len() - 2;
        caller.routes.drain(..below);
        let mut callee = Peer::answerer(answering(hop), &got, "t");
        world.receive(callee.request("INFO", ""), callee.leg).sent_to(phone());
        world.receive(caller.request("INFO", ""), phone()).sent_to(hop);
        // what the phone sends from its Via on is no answer of a hop
        let fake = edited(&answered, &format!("Via: {}\r\n", values(&answered, "Via")[0]), "");
        let relayed = world.receive(fake, stranger());
        assert!(matches!(relayed, Outcome::NotRelayed(_) | Outcome::NotSip), "{relayed:?}");
    }
    // in the place of the top Via
    let top = edited(&invite(""), ";rport", &format!(";rport;loop=0123456789abcdef;leg={leg}"));
    let (hop, got) = world.receive(top, phone()).sent();
    let ok = answer(&got, 200, "t", hop.address);
    world.receive(ok, answering(hop)).sent_to(phone());
}

#[test]
fn a_user_name_that_is_too_long_to_carry_is_refused() {
    let mut world = World::new();
    for (len, is_sent) in [(255, true), (256, false), (10_000, false)] {
        world.user = "x".repeat(len);
        let outcome = world.receive(invite(""), phone());
        assert_eq!(matches!(outcome, Outcome::Sent(..)), is_sent, "{len}");
        assert!(is_sent || outcome == Outcome::Refused(Refusal::TooLong));
        // without a dialog nothing is carried
        let options = Peer::phone(phone(), "a.example", "2").request("OPTIONS", "");
        assert_eq!(world.receive(options, phone()).name(), "sent");
    }
    // 255 bytes, and not characters
    world.user = "\u{e9}".repeat(128);
    assert_eq!(world.receive(invite(""), phone()), Outcome::Refused(Refusal::TooLong));
}

#[test]
fn only_proxy_require_is_an_extension_for_a_proxy() {
    let mut world = World::new();
    for (more, is_sent) in [
        ("Require: 100rel\r\n", true),
        ("Proxy-Require: foo\r\n", false),
        ("proxy-require: foo, bar\r\n", false),
        ("Proxy-Require:\r\n", false),
    ] {
        let outcome = world.receive(invite(more), phone());
        assert_eq!(matches!(outcome, Outcome::Sent(..)), is_sent, "{more}");
        assert!(is_sent || outcome == Outcome::Refused(Refusal::Extension));
    }
}
