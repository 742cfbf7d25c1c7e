//! The destination of answers over UDP, and requests whose Via or To cannot be read.

use std::time::Duration;

use crate::metrics::{address, wait_for_all};
use crate::support::{Caller, Request, Server, file, header, status};

const CONFIG: &str = r#"
realm = "example"
[[ip_access_control_lists]]
name = "inside"
addresses = ["127.0.0.0/8"]
[[credential_lists]]
name = "staff"
credentials = [{ username = "alice", password = "correct horse" }]
[[domains]]
name = "by-address.example"
ip_access_control_lists = ["inside"]
[[domains]]
name = "by-password.example"
credential_lists = ["staff"]
"#;

fn server(more: &[&str]) -> Server {
    let path = file("edge.toml", CONFIG);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    Server::start(&[&args[..], more].concat())
}

/// Sends an INVITE with a Via from one port while another port listens, and checks at which the answer
/// arrives.
fn check(server: &Server, via: impl Fn(&Caller, &Caller) -> String, at_source: bool) {
    let (phone, other) = (Caller::new(server), Caller::new(server));
    let via = via(&phone, &other);
    let request = Request::invite("sip:1@by-address.example").via(&via);
    phone.send(request.text().as_bytes());
    let (reached, unreached) = if at_source { (&phone, &other) } else { (&other, &phone) };
    let answer = reached.receive().unwrap_or_else(|| panic!("no answer to {via}"));
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(unreached.receive_within(Duration::from_millis(1)), None, "{via}");
}

#[test]
fn an_answer_goes_to_the_port_that_via_chooses() {
    let server = server(&[]);
    let to_other = |more: &'static str| {
        move |_: &Caller, other: &Caller| {
            format!("SIP/2.0/UDP 127.0.0.1:{};branch=z9hG4bK1{more}", other.port())
        }
    };
    // phones that send from one port and listen on another
    check(&server, to_other(""), false);
    check(&server, to_other(";maddr=127.0.0.2"), false);
    check(&server, to_other(";received=127.0.0.2"), false);
    // RFC 3581
    check(&server, to_other(";rport"), true);
    check(&server, to_other(";RPORT=1 "), true);
    // phones behind a NAT that do not ask for rport
    for host in ["10.0.0.1", "phone.example", "localhost", "127.0.0.2", "[::1]"] {
        check(&server, |_, other| format!("SIP/2.0/UDP {host}:{}", other.port()), true);
    }
    check(&server, |_, other| format!("SIP/2.0/UDP [::ffff:127.0.0.1]:{}", other.port()), false);
    // ports of other services, and values that are no port
    for port in [0, 53, 1_023, 65_536, 99_999] {
        check(&server, |_, _| format!("SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK1"), true);
    }
}

#[test]
fn an_option_forces_the_port_of_answers() {
    let source = server(&["--udp-reply-port", "source"]);
    let plain = |host: &'static str, more: &'static str| {
        move |_: &Caller, other: &Caller| format!("SIP/2.0/UDP {host}:{}{more}", other.port())
    };
    for (host, more) in [("127.0.0.1", ""), ("127.0.0.1", ";rport"), ("10.0.0.1", "")] {
        check(&source, plain(host, more), true);
    }
    let sent_by = server(&["--udp-reply-port", "sent-by"]);
    for (host, more) in
        [("127.0.0.1", ""), ("127.0.0.1", ";rport"), ("10.0.0.1", ""), ("a.example", ";maddr=x")]
    {
        check(&sent_by, plain(host, more), false);
    }
    // without a readable port only the source is left
    check(&sent_by, |_, _| "SIP/2.0/UDP 10.0.0.1:0".to_owned(), true);
    check(&sent_by, |_, other| format!("SIP/2.0/UDP 10.0.0.1:{};", other.port()), true);
}

/// The answers to two ports of one phone, in one batch, each go to their own port.
#[cfg(target_os = "linux")]
#[test]
fn a_batch_has_answers_to_several_ports() {
    let server = server(&["--udp-workers", "1"]);
    let (phone, other) = (Caller::new(&server), Caller::new(&server));
    server.freeze();
    for nth in 0..20 {
        let rport = if nth % 2 == 0 { ";rport" } else { "" };
        let via = format!("SIP/2.0/UDP 127.0.0.1:{};branch=z9hG4bK{nth}{rport}", other.port());
        let invite = Request::invite("sip:1@by-address.example").via(&via);
        phone.send(invite.call_id(&format!("{nth}")).text().as_bytes());
    }
    server.signal("CONT");
    for (caller, remainder) in [(&phone, 0), (&other, 1)] {
        let mut received: Vec<usize> = (0..10)
            .map(|_| header(&caller.receive().unwrap(), "Call-ID").unwrap().parse().unwrap())
            .collect();
        received.sort_unstable();
        assert!(received.into_iter().eq((0..20).filter(|nth| nth % 2 == remainder)));
    }
}

#[test]
fn an_unreadable_via_is_echoed_and_the_request_decided() {
    let server = server(&[]);
    let phone = Caller::new(&server);
    for via in [
        "SIP/2.0/UDP [fe80::1%eth0]:5060;branch=z9hG4bK1;rport",
        "SIP/2.0/UDP [fe80::21dd:868d:b9cc:fd78%4]:5060;branch=z9hG4bK1;rport",
        "SIP/2.0/UDP 2001:db8::1:5060;branch=z9hG4bK1;rport",
        "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1;",
        "SIP/2.0/UDP 127.0.0.1:5070;;branch=z9hG4bK1",
        "SIP/2.0/UDP h;",
        "SIP/2.0/UDP h,",
        "SIP/2.0/UDP h;branch=\"z9hG4bK1",
        "SIP/2.0/UDP h:506000;rport",
        "SIP/2.0/UDP h:;rport",
        "SIP/2.0/UDP phone_1 name;rport",
        "SIP/7.0/UDP h;branch=z9hG4bK1",
        "HTTP/1.1/UDP h;branch=z9hG4bK1",
        "UDP h;branch=z9hG4bK1",
        "nonsense",
        "",
    ] {
        for (uri, expected) in
            [("sip:1@by-address.example", 200), ("sip:1@by-password.example", 407)]
        {
            let answer = phone.ask(&Request::invite(uri).via(via).text());
            assert_eq!(status(&answer), expected, "{via}: {answer}");
            assert_eq!(header(&answer, "Via").as_deref(), Some(via), "{answer}");
        }
        let options = phone.ask(&Request::new("OPTIONS", "sip:a").via(via).text());
        assert_eq!(status(&options), 200, "{via}: {options}");
    }
}

#[test]
fn parameters_of_the_request_uri_do_not_refuse_other_methods() {
    let server = server(&[]);
    let phone = Caller::new(&server);
    for uri in ["sip:a;lr;lr", "sip:a;transport=", "sip:a;;x", "sip:a;", "sip:a?x", "sip:a:5060;?"]
    {
        for method in ["OPTIONS", "BYE"] {
            let answer = phone.ask(&Request::new(method, uri).to("<sip:a>").text());
            assert_eq!(status(&answer), 200, "{uri}: {answer}");
        }
    }
    let answer = phone.ask(&Request::new("OPTIONS", "sip:a:0").to("<sip:a>").text());
    assert_eq!(status(&answer), 400, "{answer}");
}

#[test]
fn an_unreadable_to_is_echoed_and_the_request_decided() {
    let server = server(&[]);
    let phone = Caller::new(&server);
    let invite = |to: &str| Request::invite("sip:1@by-address.example").to(to);
    for to in [
        "Bond, James <sip:100@example.com>",
        "\"Bond <sip:100@example.com>",
        "<sip:100@example.com",
        "sip:a@b?x=y",
        "<100@example.com>;x=",
        "nobody",
        "<>",
    ] {
        let answer = phone.ask(&invite(to).text());
        assert_eq!(status(&answer), 200, "{to}: {answer}");
        let echoed = header(&answer, "To").unwrap();
        let tag = echoed.strip_prefix(to).and_then(|rest| rest.strip_prefix(";tag="));
        assert_eq!(tag.map(str::len), Some(32), "{echoed}");
    }
    // it may have a tag, so it gets none
    for to in ["Bond, James <sip:a@b>;tag=1", "<sip:a@b>;tag=1;tag=2", "<sip:a@b>;tag=\"x"] {
        let answer = phone.ask(&invite(to).text());
        assert_eq!((status(&answer), header(&answer, "To").as_deref()), (200, Some(to)));
    }
    assert_eq!(status(&phone.ask(&invite("<sip:a@b>;tag=1").text())), 481);
}

#[test]
fn an_answer_has_no_control_characters() {
    let server = server(&[]);
    let phone = Caller::new(&server);
    let text = || Request::invite("sip:1@by-address.example").text();
    for (part, with) in [
        // some parsers take a bare CR for a line end
        ("Call-ID: ", "Call-ID: x\rX-Injected: "),
        ("Call-ID: ", "Call-ID: x\nX-Injected: "),
        ("<sip:caller", "\0<sip:caller"),
        ("To: ", "To: \u{1}\u{7f}"),
        (";branch=", ";\u{8}branch="),
        ("1 INVITE", "1 \u{1b}INVITE"),
    ] {
        let answer = phone.ask(&text().replacen(part, with, 1));
        let stray = |c: char| c.is_control() && c != '\r' && c != '\n';
        assert!(!answer.contains(stray), "{answer:?}");
        assert!(!answer.contains("\r\nX-Injected"), "{answer:?}");
        assert_eq!(answer.matches('\r').count(), answer.matches("\r\n").count(), "{answer:?}");
        assert_eq!(answer.matches('\n').count(), answer.matches("\r\n").count(), "{answer:?}");
    }
}

#[test]
fn line_ends_before_a_request_are_skipped() {
    let server = server(&[]);
    let phone = Caller::new(&server);
    for before in ["\r\n", "\r\n\r\n", "\n", "\r\n\r\n\r\n\r\n\r\n"] {
        let invite = Request::invite("sip:1@by-address.example").text();
        assert_eq!(status(&phone.ask(&format!("{before}{invite}"))), 200, "{before:?}");
    }
    // the digest of a request after line ends is the same
    let invite = Request::invite("sip:1@by-password.example");
    let challenge = phone.ask(&format!("\r\n\r\n{}", invite.text()));
    let authorized = invite.authorized(&challenge, "alice", "correct horse").text();
    assert_eq!(status(&phone.ask(&format!("\r\n\r\n{authorized}"))), 200);
}

#[test]
fn each_message_without_a_decision_is_counted_and_logged_by_reason() {
    let log = file("decisions.json", "");
    let server = server(&[
        "--metrics",
        "127.0.0.1:0",
        "--log",
        "refused",
        "--log-names",
        "--decision-log",
        log.to_str().unwrap(),
    ]);
    let phone = Caller::new(&server);
    let request = |method| Request::new(method, "sip:1@by-address.example");
    let invite = || request("INVITE").text();
    let answered = [
        (invite().replace("Call-ID", "X-Call"), 400, "missing header Call-ID"),
        (invite().replace("From:", "To:"), 400, "repeated header To"),
        (invite().replace("1 INVITE", "1 BYE"), 400, "cseq method is not the request's"),
        (
            invite().replace("sip:1@by-address.example SIP/2.0", "sip:1@x SIP/3.0"),
            505,
            "unsupported sip version",
        ),
        (request("REGISTER").text(), 405, "method not allowed"),
        (Request::new("BYE", "tel:1").text(), 416, "unsupported uri scheme"),
        (request("OPTIONS").header("Require", "x").text(), 420, "unsupported extension"),
        (request("INVITE").to("<sip:a@b>;tag=1").text(), 481, "to tag without a dialog"),
        (request("INVITE").body("text/plain", "x").text(), 415, "unsupported media type"),
        (request("INVITE").body("application/sdp", "x").text(), 400, "malformed sdp"),
        (request("INVITE").body("multipart/mixed", "x").text(), 400, "malformed multipart body"),
    ];
    for (message, expected, _) in &answered {
        assert_eq!(status(&phone.ask(message)), *expected, "{message}");
    }
    let response =
        invite().replacen("INVITE sip:1@by-address.example SIP/2.0", "SIP/2.0 200 OK", 1);
    // a Binding indication
    let stun = b"\0\x11\0\0\x21\x12\xa4\x42abcdefghijkl";
    let unanswered = [
        ("dropped", "missing header Via", invite().replace("Via:", "X-Via:").into_bytes()),
        ("dropped", "not sip", b"\x80\0\0\x01 media".to_vec()),
        ("ignored", "ack", request("ACK").text().into_bytes()),
        ("ignored", "cancel", request("CANCEL").text().into_bytes()),
        ("ignored", "response", response.into_bytes()),
        ("ignored", "keep-alive", b"\r\n\r\n".to_vec()),
        ("ignored", "stun", stun.to_vec()),
    ];
    for (_, _, message) in &unanswered {
        phone.send_unanswered(message);
    }

    let url = address(&server.stdout);
    let series = |outcome: &str, reason: &str| {
        format!("sip_authz_other_messages_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}")
    };
    let mut expected = vec![(series("answered", "ok"), 7.0)];
    expected.extend(answered.iter().map(|(_, _, reason)| (series("answered", reason), 1.0)));
    expected.extend(unanswered.iter().map(|(outcome, reason, _)| (series(outcome, reason), 1.0)));
    for (outcome, count) in [("answered", 18.0), ("ignored", 5.0), ("dropped", 2.0)] {
        expected.push((format!("sip_authz_messages_total{{outcome=\"{outcome}\"}}"), count));
    }
    wait_for_all(&url, &expected);

    let source = format!("source=127.0.0.1:{}", phone.port());
    let method = |message: &str| match message.split(' ').next().unwrap() {
        "INVITE" => String::new(),
        method => format!(" method={method}"),
    };
    for (message, status, reason) in &answered {
        let method = method(message);
        let begin = format!("answered status={status} reason=\"{reason}\" transport=udp{method}");
        let line = server.stderr.wait_for(&format!("{begin} {source}"));
        // all but one have a Call-ID
        let has_call_id = line.contains(" call_id=\"call-");
        assert_eq!(has_call_id, *reason != "missing header Call-ID", "{line}");
    }
    for reason in ["missing header Via", "not sip"] {
        server.stderr.wait_for(&format!("dropped reason=\"{reason}\" transport=udp {source}"));
    }
    let totals = server.end("TERM");
    for part in [
        "otherwise answered 18 (ok 7, ",
        "missing header Call-ID 1, ",
        "ignored 5 (ack 1, cancel 1, response 1, keep-alive 1, stun 1), ",
        "dropped 2 (missing header Via 1, not sip 1), ",
    ] {
        assert!(totals.contains(part), "{totals}");
    }
    let lines = std::fs::read_to_string(log).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |reason: &str| lines.iter().find(|line| line["reason"] == reason);
    for (message, status, reason) in &answered {
        let line = find(reason).unwrap();
        assert_eq!(line["method"], message.split(' ').next().unwrap(), "{line}");
        assert_eq!((&line["outcome"], &line["status"]), (&"answered".into(), &(*status).into()));
        assert!(line.get("source").is_none(), "{line}");
    }
    let line = find("missing header Via").unwrap();
    assert_eq!((&line["outcome"], line.get("status")), (&"dropped".into(), None));
    assert!(find("ok").is_none() && find("ack").is_none());
}

#[test]
fn a_multipart_body_is_accepted() {
    let server = server(&[]);
    let phone = Caller::new(&server);
    let sdp = "Content-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\n\
               c=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let metadata = "Content-Type: application/rs-metadata+xml\r\n\r\n<recording/>\r\n";
    let invite = || Request::invite("sip:1@by-address.example");
    let both = format!("--b\r\n{sdp}--b\r\n{metadata}--b--\r\n");
    for content_type in [
        "multipart/mixed;boundary=b",
        "multipart/related; boundary=\"b\"",
        "Multipart/Alternative;boundary=b",
    ] {
        let answer = phone.ask(&invite().body(content_type, &both).text());
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(answer.ends_with("\r\nm=audio 0 RTP/AVP 0\r\n"), "{answer}");
        let compact = invite().body(content_type, &both).text().replace("Content-Type: m", "c:m");
        assert_eq!(status(&phone.ask(&compact.replace("Content-Type: M", "c: M"))), 200);
    }
    let without = format!("--b\r\n{metadata}--b--\r\n");
    let answer = phone.ask(&invite().body("multipart/mixed;boundary=b", &without).text());
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.ends_with("\r\nt=0 0\r\n"), "{answer}");
    let required =
        format!("--b\r\nContent-Disposition: x;handling=required\r\n{metadata}--b--\r\n");
    let answer = phone.ask(&invite().body("multipart/mixed;boundary=b", &required).text());
    assert_eq!(status(&answer), 415, "{answer}");
    assert_eq!(header(&answer, "Accept").as_deref(), Some("application/sdp, multipart/*"));
    let optional = invite().header("Content-Disposition", "render;handling=optional");
    assert_eq!(status(&phone.ask(&optional.body("text/plain", "hello").text())), 200);
}
