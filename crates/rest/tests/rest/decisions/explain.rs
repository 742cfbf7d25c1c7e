//! Messages to explain, whole or by their parts.

use std::net::SocketAddr;

use super::*;
use sip_authz::message::{Header, Message};

const PATH: &str = "/v1/Decisions/Explain";

/// The last message to explain, its source and its transport.
fn asked(kept: &Kept) -> (String, SocketAddr, Transport) {
    let asked = kept.fake.asked.lock().unwrap();
    let (asker, question) = asked.last().unwrap();
    assert_eq!(asker.account.unwrap().to_string(), kept.site.sid);
    let text = String::from_utf8(question.message.clone()).unwrap();
    (text, question.source, question.transport)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn parts_make_a_whole_message() {
    let kept = Kept::new().await;
    for (form, line, to, from, source, transport) in [
        (
            "Domain=a.example.com",
            "INVITE sip:a.example.com SIP/2.0",
            "<sip:a.example.com>",
            "<sip:anonymous@anonymous.invalid>;tag=explain",
            "192.0.2.7:5060",
            Transport::Udp,
        ),
        (
            "Domain=a.example.com&To=%2B4930100&From=alice&Transport=TLS",
            "INVITE sip:+4930100@a.example.com SIP/2.0",
            "<sip:+4930100@a.example.com>",
            "<sip:alice@a.example.com>;tag=explain",
            "192.0.2.7:5061",
            Transport::Tls,
        ),
        (
            "Domain=a.example.com&To=alice&Method=REGISTER&Transport=tcp",
            "REGISTER sip:a.example.com SIP/2.0",
            "<sip:alice@a.example.com>",
            "<sip:anonymous@anonymous.invalid>;tag=explain",
            "[2001:db8::7]:5060",
            Transport::Tcp,
        ),
        (
            "RequestUri=sips:1@b.example.com;transport=tcp&To=sip:2@c.example.com&From=sip:x@d.example",
            "INVITE sips:1@b.example.com;transport=tcp SIP/2.0",
            "<sip:2@c.example.com>",
            "<sip:x@d.example>;tag=explain",
            "[2001:db8::7]:5062",
            Transport::Udp,
        ),
    ] {
        let given = source.strip_suffix(":5060").unwrap_or(source);
        let form = format!("{form}&Source={given}&Message=");
        let answer = kept.site.call("POST", PATH, &form).await;
        assert_eq!(answer.status, 200, "{form}: {}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
        let (text, at, by) = asked(&kept);
        assert_eq!((at, by), (source.parse().unwrap(), transport), "{form}");
        let message = Message::scan(text.as_bytes()).unwrap();
        assert_eq!(message.defect(), None, "{text}");
        assert_eq!(text.lines().next(), Some(line));
        let field = |header| message.first(header).map(|value| str::from_utf8(value).unwrap());
        assert_eq!(field(Header::To), Some(to));
        assert_eq!(field(Header::From), Some(from));
        for header in [Header::Via, Header::CallId, Header::CSeq, Header::MaxForwards] {
            assert!(field(header).is_some(), "{text}");
        }
    }
    let fields = "steps, outcome, status, reason, cause, meaning, advice, snapshot, edge";
    let answer = kept.site.call("POST", PATH, "Domain=a.example.com&Source=192.0.2.7").await;
    assert_eq!(keys(&answer.json()), named(fields));
}

#[tokio::test]
async fn a_whole_message_is_asked_as_sent_or_gets_the_line_ends_of_sip() {
    let kept = Kept::new().await;
    let wire = "INVITE sip:a.example.com SIP/2.0\r\nTo: <sip:a>\n\r\n\r\nbody\n";
    for (sent, asked_for) in [
        (wire, wire),
        ("A b SIP/2.0\nTo: x\n\nbody\n", "A b SIP/2.0\r\nTo: x\r\n\r\nbody\n"),
        ("A b SIP/2.0\nTo: x\n", "A b SIP/2.0\r\nTo: x\r\n\r\n"),
        ("A b SIP/2.0\r\nTo: x", "A b SIP/2.0\r\nTo: x\r\n\r\n"),
        ("A b SIP/2.0\nTo: x", "A b SIP/2.0\r\nTo: x\r\n\r\n"),
    ] {
        let form = format!("Source=192.0.2.7&Transport=ws&Message={}", encoded(sent));
        assert_eq!(kept.site.call("POST", PATH, &form).await.status, 200);
        let (text, _, transport) = asked(&kept);
        assert_eq!((text.as_str(), transport), (asked_for, Transport::Ws));
    }
}

#[tokio::test]
async fn every_transport_is_asked_about_by_its_name_in_any_case() {
    let kept = Kept::new().await;
    for transport in Transport::ALL {
        for name in [transport.as_str(), transport.via_name()] {
            let form = format!("Source=192.0.2.7&Transport={name}&Domain=a.example.com");
            assert_eq!(kept.site.call("POST", PATH, &form).await.status, 200, "{name}");
            let (text, _, by) = asked(&kept);
            assert_eq!(by, *transport);
            let via = format!("\r\nVia: SIP/2.0/{} 192.0.2.7", transport.via_name());
            assert!(text.contains(&via), "{text}");
        }
    }
}

#[tokio::test]
async fn wrong_questions_are_named_and_not_asked() {
    let kept = Kept::new().await;
    let long = format!("Source=192.0.2.7&Domain=a&Message={}", "x".repeat(70_000));
    for (form, status, words) in [
        ("Domain=a.example.com", 400, "Source is required"),
        ("Domain=a.example.com&Source=", 400, "Source is required"),
        ("Domain=a&Source=host", 400, "Source must be an address with or without port"),
        ("Domain=a&Source=192.0.2.7:0x1", 400, "Source must be"),
        ("Domain=a&Source=192.0.2.7:70000", 400, "Source must be"),
        ("Domain=a&Source=192.0.2.0/24", 400, "Source must be"),
        ("Source=192.0.2.7", 400, "Message, RequestUri or Domain is required"),
        ("Source=192.0.2.7&To=alice", 400, "To must be a SIP URI, or a user beside Domain"),
        ("Source=192.0.2.7&RequestUri=sip:a&From=alice", 400, "From must be a SIP URI"),
        (
            "Source=192.0.2.7&RequestUri=sip:a&Domain=b",
            400,
            "Domain must be absent beside RequestUri",
        ),
        ("Source=192.0.2.7&Message=x&Domain=b", 400, "Domain must be absent beside Message"),
        ("Source=192.0.2.7&Message=x&Method=OPTIONS", 400, "Method must be absent beside Message"),
        (
            "Source=192.0.2.7&Domain=a&Transport=dtls",
            400,
            "Transport must be udp, tcp, tls, sctp, tls-sctp, ws or wss",
        ),
        ("Source=192.0.2.7&Domain=a%0D%0AX:%20y", 400, "Domain must be a text without spaces"),
        ("Source=192.0.2.7&Domain=a&To=x%3E;y", 400, "To must be a text without"),
        ("Source=192.0.2.7&Domain=a&From=%22x", 400, "From must be a text without"),
        ("Source=192.0.2.7&RequestUri=sip:a%20SIP/2.0", 400, "RequestUri must be a text without"),
        (
            "Source=192.0.2.7&Domain=a&Method=IN/VITE",
            400,
            "Method must be the name of a SIP method",
        ),
        (&long, 413, "the request body must have at most"),
    ] {
        let answer = kept.site.call("POST", PATH, form).await;
        assert_eq!((answer.status, answer.code()), (status, 20001), "{form:.80}: {}", answer.text);
        assert!(answer.text_of("message").starts_with(words), "{}", answer.text);
    }
    assert!(kept.fake.asked.lock().unwrap().is_empty());
    let answer = kept.site.call("POST", PATH, "Source=192.0.2.7&Domain=defect.example.com").await;
    assert_eq!((answer.status, answer.code()), (400, 20001));
    assert!(answer.text.contains("before any decision: missing header From"), "{}", answer.text);
    let elsewhere = "Source=192.0.2.7&Domain=elsewhere.example.com";
    refused(&kept.site, "POST", PATH, elsewhere, 404, 20404).await;
    let admin = kept.site.call_as(&kept.site.admin, "POST", PATH, elsewhere).await;
    assert_eq!(admin.status, 200, "{}", admin.text);
    refused(&kept.site, "GET", PATH, "", 405, 20004).await;
}
