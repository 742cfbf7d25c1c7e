//! Counts the instructions that the messages of one forwarded call take under callgrind, with a limit for
//! each in `benches/forward.txt`: `cargo bench -p sip-authz-proxy --bench forward`. Exits with 1 if a count
//! exceeds its limit.
//!
//! Needs valgrind. The counts do not depend on the load of the machine. They begin with the scanned
//! message, as the proxy gets it, and end with the bytes that are sent. The decision, the sockets and the
//! names of the listeners are not part of them.
//!
//! With `-- --set` it writes new limits, a tenth above the counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use sip_authz::message::{Message, StartLine};
use sip_authz::model::Target;
use sip_authz::uri::SipUri;
use sip_authz::{AccountSid, DomainSid, Transport};
use sip_authz_proxy::{
    Admitted, Arrival, Keys, Leg, Now, Proxy, Settings, Surroundings, Verdict, Way,
};
use sip_authz_testing::bench::callgrind::{self, Row};
use sip_authz_testing::proxy_world::values;

const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/forward.txt");

const HEAD: &str = "# The instruction limits of benches/forward.rs, for the messages of one call. Set by\n\
    # `cargo bench -p sip-authz-proxy --bench forward -- --set`.\n";

/// The messages of a call, in their order.
const MESSAGES: [&str; 8] =
    ["tag-of-407", "ack-of-407", "invite", "180", "200-of-invite", "ack", "bye", "200-of-bye"];

const PHONE: &str = "192.0.2.10:5062";
const HOP: &str = "10.0.0.20:5060";
const SDP: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n";

/// One domain, and an edge with two addresses.
struct Site;

impl Surroundings for Site {
    fn own_address(&self, leg: &Leg) -> String {
        let address = if leg.is_hop() { "10.0.0.7:5060" } else { "203.0.113.7:5060" };
        address.to_owned()
    }

    fn names_us(&self, uri: &SipUri<'_>) -> bool {
        uri.host == "203.0.113.7"
    }

    fn is_own_realm(&self, realm: &str) -> bool {
        realm == "sip.example.com"
    }

    fn is_open(&self, _: AccountSid) -> bool {
        true
    }

    fn name(&self, _: Target) -> String {
        "sip.example.com".to_owned()
    }

    fn is_inside(&self, leg: &Leg) -> bool {
        leg.is_hop()
    }

    fn is_alive(&self, _: &Leg) -> bool {
        true
    }
}

/// [`handle`] in a function of its own, which callgrind counts.
#[inline(never)]
fn counted_message(
    proxy: &Proxy,
    name: &str,
    message: &Message<'_>,
    arrival: &Arrival,
    out: &mut Vec<u8>,
) -> Option<Leg> {
    handle(proxy, name, message, arrival, out)
}

/// Gives the proxy a message. Returns the leg to which it sends the message; none if it goes nowhere, as
/// is right for the messages about the 407.
#[inline(always)]
fn handle(
    proxy: &Proxy,
    name: &str,
    message: &Message<'_>,
    arrival: &Arrival,
    out: &mut Vec<u8>,
) -> Option<Leg> {
    let source = arrival.from.address.ip();
    match (name, black_box(message).start_line()) {
        ("tag-of-407", _) => {
            out.extend(proxy.to_tag(message, source).unwrap().to_string().into_bytes());
            None
        }
        ("ack-of-407", _) => {
            assert!(proxy.is_own_tag(message, source));
            None
        }
        (_, StartLine::Response { .. }) => proxy.relay(message, &arrival.from, &Site, out).ok(),
        (_, StartLine::Request { method: "INVITE", .. }) => {
            let target = Target::Domain(DomainSid::from_bytes([2; 16]));
            let account = AccountSid::from_bytes([1; 16]);
            let admitted = Admitted { account, target, user: "alice", permits: "" };
            let choose = || Some(Leg::hop(Transport::Udp, HOP.parse().unwrap()));
            proxy.forward(message, arrival, &admitted, choose, &Site, out).ok()
        }
        _ => match proxy.within_dialog(message, arrival, &Site, out) {
            Verdict::Send(leg) => Some(leg),
            _ => None,
        },
    }
}

/// Makes a call, and counts the message with this name, after a call that does the one-time setup.
fn probe(counted: &str) {
    let start = Now { instant: Instant::now(), seconds: 1_800_000_000 };
    let keys = Keys::new((1, &[1; 32]), None).unwrap();
    let proxy = Proxy::new(keys, Settings::default(), start.instant);
    for (number, counted) in [(1, ""), (2, counted)] {
        call(&proxy, start, number, counted);
    }
}

fn call(proxy: &Proxy, now: Now, number: u32, counted: &str) {
    let (mut routes, mut tag, mut forwarded) = (String::new(), String::new(), String::new());
    for name in MESSAGES {
        let request = |method: &str, cseq: u32, more: &str, body: &str| {
            let uri =
                if routes.is_empty() { "sip:100@sip.example.com" } else { "sip:10.0.0.20:5060" };
            let length = body.len();
            format!(
                "{method} {uri} SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {PHONE};branch=z9hG4bK-4711-{number}-{cseq}\r\n\
                 From: <sip:alice@sip.example.com>;tag=4711f{number}\r\n\
                 To: <sip:100@sip.example.com>{tag}\r\n{routes}\
                 Call-ID: {number}-4711@192.0.2.10\r\nCSeq: {cseq} {method}\r\n{more}\
                 Max-Forwards: 70\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        };
        let answer = |status: u16, more: &str, body: &str| {
            let mut text = format!("SIP/2.0 {status} Text\r\n");
            for field in ["Via", "Record-Route", "From"] {
                for value in values(&forwarded, field) {
                    text += &format!("{field}: {value}\r\n");
                }
            }
            let [to, call_id, cseq] =
                ["To", "Call-ID", "CSeq"].map(|it| values(&forwarded, it).concat());
            let tag = if to.contains(";tag=") { "" } else { ";tag=4712t1" };
            let length = body.len();
            text + &format!(
                "To: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}\
                 Content-Length: {length}\r\n\r\n{body}"
            )
        };
        let contact = "Contact: <sip:alice@192.0.2.10:5062;transport=UDP>\r\n";
        let invite = |more: &str| format!("{contact}{more}Content-Type: application/sdp\r\n");
        let credentials = "Proxy-Authorization: Digest username=\"alice\",realm=\"sip.example.com\",\
            cnonce=\"6b8b4567\",nc=00000001,qop=auth,uri=\"sip:203.0.113.7:5060\",\
            nonce=\"bTqzHmVxP0hJk6gS2vcd1A\",response=\"d41d8cd98f00b204e9800998ecf8427e\",\
            algorithm=MD5\r\n";
        let of_hop = "Contact: <sip:10.0.0.20:5060;transport=UDP>\r\n";
        let bytes = match name {
            "tag-of-407" => request("INVITE", 1, &invite(""), SDP),
            "ack-of-407" => request("ACK", 1, "", ""),
            "invite" => request("INVITE", 2, &invite(credentials), SDP),
            "180" => answer(180, of_hop, ""),
            "200-of-invite" => answer(200, of_hop, SDP),
            "ack" => request("ACK", 2, "", ""),
            "bye" => request("BYE", 3, "", ""),
            _ => answer(200, "", ""),
        };
        let listener = |address: &str| Leg {
            transport: Transport::Udp,
            address: address.parse().unwrap(),
            way: Way::Listener(0),
        };
        let from = listener(if bytes.starts_with("SIP/2.0") { HOP } else { PHONE });
        let arrival = Arrival { from, answers_to: from.address, now };
        let message = Message::scan(bytes.as_bytes()).unwrap();
        let mut out = Vec::with_capacity(4_096);
        let sent = if name == counted {
            counted_message(proxy, name, &message, &arrival, &mut out)
        } else {
            handle(proxy, name, &message, &arrival, &mut out)
        };
        let out = String::from_utf8(out).unwrap();
        match name {
            "tag-of-407" => tag = format!(";tag={out}"),
            "ack-of-407" => tag.clear(),
            _ => assert_eq!(sent.unwrap().is_hop(), !bytes.starts_with("SIP/2.0"), "{name}"),
        }
        match name {
            "invite" | "bye" => forwarded = out,
            "200-of-invite" => {
                let recorded = values(&out, "Record-Route");
                assert_eq!(recorded.len(), 2);
                routes = recorded.iter().rev().map(|it| format!("Route: {it}\r\n")).collect();
                tag = ";tag=4712t1".to_owned();
            }
            _ => {}
        }
    }
}

fn main() -> ExitCode {
    let rows = MESSAGES.map(|name| Row { name, function: "counted_message", pieces: 1 });
    callgrind::main(&rows, probe, LIMITS, HEAD)
}
