//! Requests and responses over UDP.

use crate::metrics::SLOW_REFILL;
use crate::support::{Caller, Request, Server, file, header, status, verdict};

const CONFIG: &str = r#"
realm = "example"
[[ip_access_control_lists]]
name = "inside"
addresses = ["127.0.0.1"]
[[credential_lists]]
name = "staff"
credentials = [
  { username = "alice", password = "correct horse" },
  { username = "bob", password = "battery staple", disabled = true },
]
[[domains]]
name = "by-address.example"
ip_access_control_lists = ["inside"]
[[domains]]
name = "by-password.example"
credential_lists = ["staff"]
[[domains]]
name = "server.example"
credential_lists = ["staff"]
policy = { challenge = "server", algorithms = "md5-first", qop = "auth-int" }
[[domains]]
name = "secure.example"
secure = true
ip_access_control_lists = ["inside"]
[[domains]]
name = "nothing-mapped.example"
"#;

#[test]
fn each_decision_has_its_answer() {
    let server = Server::config(CONFIG);
    let (inside, outside) = (Caller::new(&server), Caller::from("127.0.0.2", &server));
    for (caller, uri, expected, code) in [
        (&inside, "sip:1@by-address.example", 200, None),
        (&inside, "sip:1@BY-ADDRESS.example.:5099;x=y", 200, None),
        (&outside, "sip:1@by-address.example", 403, Some("32201 address-not-listed")),
        (&inside, "sip:1@nothing-mapped.example", 403, Some("32200 nothing-mapped")),
        (&inside, "sip:1@nowhere.example", 404, None),
        (&inside, "sip:1@secure.example", 488, Some("32209 not-secure")),
        (&inside, "sips:1@by-address.example", 488, Some("32209 not-secure")),
        (&inside, "tel:+15550100", 416, None),
        (&inside, "sip:1@", 400, None),
        (&outside, "sip:1@by-password.example", 407, None),
    ] {
        let answer = caller.ask(&Request::invite(uri).to("<sip:1@a>").text());
        assert_eq!(verdict(&answer), (expected, code.map(str::to_owned)), "{uri}: {answer}");
    }
}

#[test]
fn digests_of_another_implementation_are_verified() {
    let server = Server::config(CONFIG);
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:1@by-password.example");
    for (user, password, expected, code) in [
        ("alice", "correct horse", 200, None),
        ("alice", "guess", 403, Some("32202 wrong-credentials")),
        ("bob", "battery staple", 403, Some("32202 wrong-credentials")),
        ("mallory", "guess", 403, Some("32202 wrong-credentials")),
    ] {
        let challenge = caller.ask(&invite.text());
        assert_eq!(status(&challenge), 407);
        let answer = caller.ask(&invite.authorized(&challenge, user, password).text());
        assert_eq!(verdict(&answer), (expected, code.map(str::to_owned)), "{user}: {answer}");
    }

    let with_body = Request::invite("sip:1@server.example").body("application/sdp", "v=0\r\n");
    let challenge = caller.ask(&with_body.text());
    assert_eq!(status(&challenge), 401);
    assert_eq!(challenge.matches("\r\nWWW-Authenticate: Digest ").count(), 2, "{challenge}");
    let answer = caller.ask(&with_body.authorized(&challenge, "alice", "correct horse").text());
    assert_eq!(status(&answer), 200, "{answer}");
}

#[test]
fn above_the_guess_limit_the_answers_do_not_change() {
    let host = "name = \"by-password.example\"\n";
    let server = Server::config(&CONFIG.replace(host, &format!("{host}{SLOW_REFILL}")));
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:1@by-password.example");
    let mut answers = Vec::new();
    for _ in 0..14 {
        let challenge = caller.ask(&invite.text());
        let answer = caller.ask(&invite.authorized(&challenge, "alice", "guess").text());
        answers.push(answer.lines().filter(|l| !l.starts_with("To:")).collect::<String>());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(server.end("TERM").contains("too-many-guesses 4"));
}

#[test]
fn a_retransmission_gets_the_same_response() {
    let server = Server::config(CONFIG);
    let caller = Caller::new(&server);
    let invite = Request::invite("sip:1@by-password.example");
    let challenge = caller.ask(&invite.text());
    let tag = |response: &str| header(response, "To").unwrap();
    assert_eq!(tag(&challenge), tag(&caller.ask(&invite.text())));
    let authorized = invite.authorized(&challenge, "alice", "correct horse").text();
    let accepted = caller.ask(&authorized);
    assert_eq!(status(&accepted), 200);
    assert_eq!(accepted, caller.ask(&authorized));
    let other = caller.ask(&Request::invite("sip:1@by-password.example").text());
    assert_ne!(tag(&other), tag(&challenge));
}

#[test]
fn a_response_echoes_only_the_required_headers() {
    let server = Server::config(CONFIG);
    let caller = Caller::new(&server);
    let request = Request::invite("sip:1@nowhere.example")
        .via("SIP/2.0/UDP a.example:9;branch=z9hG4bK1;RPORT ,\r\n SIP/2.0/TCP b.example")
        .to("\"A\" <sip:1@nowhere.example>\r\n\t;x=y")
        .call_id("c@d")
        .header("v", "SIP/2.0/UDP [2001:db8::1];received=192.0.2.1")
        .header("X-Other", "not echoed")
        .header("Record-Route", "<sip:not@echoed>");
    let answer = caller.ask(&request.text());
    let to = header(&answer, "To").unwrap();
    let tag = to.strip_prefix("\"A\" <sip:1@nowhere.example>\t;x=y;tag=").expect(&to);
    assert!(tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()), "{tag}");
    assert_eq!(
        answer,
        format!(
            "SIP/2.0 404 Not Found\r\n\
             Via: SIP/2.0/UDP a.example:9;branch=z9hG4bK1;received=127.0.0.1;rport={}, \
             SIP/2.0/TCP b.example\r\n\
             Via: SIP/2.0/UDP [2001:db8::1];received=192.0.2.1\r\n\
             From: <sip:caller@host.example>;tag=f\r\n\
             To: {to}\r\n\
             Call-ID: c@d\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
            caller.port()
        )
    );
}

#[test]
fn answers_to_an_accepted_invite() {
    let server = Server::config(CONFIG);
    let caller = Caller::new(&server);
    let invite = || Request::invite("sip:1@by-address.example");
    let answer = caller.ask(&invite().text());
    assert_eq!(header(&answer, "Contact").unwrap(), format!("<sip:1@{}>", server.address));
    assert!(answer.ends_with("\r\nt=0 0\r\n"), "{answer}");

    let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n\
                 m=audio 4000 RTP/AVP 0 8\r\nm=video 4002 RTP/AVP 99\r\n";
    let answer = caller.ask(&invite().body("application/SDP", offer).text());
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("m=audio 0 RTP/AVP 0 8\r\nm=video 0 RTP/AVP 99\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(header(head, "Content-Length").unwrap(), body.len().to_string());

    for (request, expected) in [
        (invite().to("<sip:1@by-address.example>;tag=x"), 481),
        (invite().to("<sip:1@by-address.example;tag=x>"), 200),
        (invite().body("application/sdp", "no sdp"), 400),
        (invite().body("text/plain", "hello"), 415),
        (invite().header("Require", "100rel"), 420),
        (Request::invite("sip:1@nowhere.example").to("<sip:1@x>;tag=x"), 404),
    ] {
        let answer = caller.ask(&request.text());
        assert_eq!(status(&answer), expected, "{}{answer}", request.text());
    }
    let answer = caller.ask(&invite().header("Require", "100rel, x").text());
    assert_eq!(header(&answer, "Unsupported").as_deref(), Some("100rel, x"));
}

#[test]
fn a_redirect_never_points_to_the_request_uri() {
    let path = crate::support::file("edge.toml", CONFIG);
    let target = "redirect:sip:gw@by-address.example;lr";
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", target]);
    let caller = Caller::new(&server);
    let answer = caller.ask(&Request::invite("sip:1@by-address.example").text());
    assert_eq!(status(&answer), 302);
    assert_eq!(header(&answer, "Contact").as_deref(), Some("<sip:gw@by-address.example;lr>"));
    for same in ["sip:gw@by-address.example;lr", "sip:%67w@BY-address.example"] {
        assert_eq!(status(&caller.ask(&Request::invite(same).text())), 404, "{same}");
    }
    let tagged = Request::invite("sip:1@by-address.example").to("<sip:a@b>;tag=x");
    assert_eq!(status(&caller.ask(&tagged.text())), 481);
}

/// A domain with its own targets, and one that has the default.
#[test]
fn each_domain_of_a_file_redirects_to_its_targets() {
    let own = "next_hop_allow = ['.example.net']\n";
    let text = own.to_owned()
        + &CONFIG.replacen(
            "name = \"by-address.example\"\n",
            "name = \"by-address.example\"\non_accept = \"redirect:sip:{user}@gw.example.net;q=0.5,gw2.example.net\"\n",
            1,
        );
    assert!(text.contains("on_accept"));
    let path = crate::support::file("edge.toml", &text);
    let server = Server::start(&["--config", path.to_str().unwrap(), "--on-accept", "ok"]);
    let caller = Caller::new(&server);
    let answer = caller.ask(&Request::invite("sip:14155550100@by-address.example").text());
    assert_eq!(status(&answer), 302);
    let contacts: Vec<_> =
        answer.lines().filter_map(|line| line.strip_prefix("Contact: ")).collect();
    let expected = ["<sip:14155550100@gw.example.net>;q=0.5", "<sip:14155550100@gw2.example.net>"];
    assert_eq!(contacts, expected);
    // a reload is held to the same next hops
    std::fs::write(&path, text.replace(own, "")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sip-authz"))
        .args(["serve", "--on-accept", "ok", "--config", path.to_str().unwrap()])
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("on_accept: the next hop `gw.example.net` is not allowed"), "{errors}");
}

#[test]
fn other_methods() {
    let server = Server::demo();
    let caller = Caller::new(&server);
    let allow = Some("INVITE, ACK, CANCEL, BYE, OPTIONS".to_owned());
    for (method, expected, allowed) in [
        ("OPTIONS", 200, &allow),
        ("BYE", 200, &None),
        ("REGISTER", 405, &allow),
        ("SUBSCRIBE", 405, &allow),
        ("invite", 405, &allow),
        ("FOO", 405, &allow),
    ] {
        let answer = caller.ask(&Request::new(method, "sip:by-address.example").text());
        assert_eq!((status(&answer), &header(&answer, "Allow")), (expected, allowed), "{method}");
    }
}

#[test]
fn messages_without_an_answer() {
    let server = Server::demo();
    let caller = Caller::new(&server);
    let request = |method| Request::new(method, "sip:1@by-address.example").text();
    let response =
        request("INVITE").replacen("INVITE sip:1@by-address.example SIP/2.0", "SIP/2.0 200 OK", 1);
    for message in [
        request("ACK"),
        request("CANCEL"),
        request("ACK").replace("Call-ID", "X-Call-ID"),
        response.clone(),
        response.replace("Call-ID", "X-Call-ID"),
        "\r\n\r\n".to_owned(),
        "\0".to_owned(),
        String::new(),
        "hello\r\n\r\n".to_owned(),
        "INVITE".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        request("INVITE").replace("Via:", "X-Via:"),
    ] {
        caller.send_unanswered(message.as_bytes());
    }
    let totals = server.end("TERM");
    let counts = "accepted 0, challenged 0, rejected 0, otherwise answered 12 (ok 12), \
                  ignored 8 (ack 2, cancel 1, response 2, keep-alive 3), \
                  dropped 4 (missing header Via 1, not sip 3),";
    assert!(totals.contains(counts), "{totals}");
}

#[test]
fn malformed_requests_are_answered() {
    let server = Server::demo();
    let caller = Caller::new(&server);
    let invite = || Request::invite("sip:1@by-address.example").text();
    for (message, expected) in [
        (invite().replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), "505 Version Not Supported"),
        (invite().replace("Call-ID", "X-Call"), "400 Bad Request (missing header 'Call-ID')"),
        (invite().replace("From:", "To:"), "400 Bad Request (repeated header 'To')"),
        (
            invite().replace("1 INVITE", "1 BYE"),
            "400 Bad Request (cseq method is not the request's)",
        ),
        (
            invite().replace("Length: 0", "Length: 9"),
            "400 Bad Request (body shorter than its content-length)",
        ),
        (invite().replace("\r\n\r\n", "\r\n"), "400 Bad Request (no blank line after the head)"),
        (invite().replace("Max", "Ma x"), "400 Bad Request (line is not a header field)"),
        (
            invite().replace("sip:1@by-address.example SIP", "sip:1@by address.example SIP"),
            "400 Bad Request (bad character in the request-uri)",
        ),
    ] {
        let answer = caller.ask(&message);
        assert_eq!(answer.lines().next().unwrap(), format!("SIP/2.0 {expected}"), "{message}");
        assert!(answer.contains("\r\nVia: SIP/2.0/UDP 127.0.0.1;branch="), "{answer}");
    }
}

#[test]
fn truncated_and_corrupted_messages_do_not_stop_it() {
    let server = Server::demo();
    let caller = Caller::new(&server);
    let outside = Caller::from("127.0.0.2", &server);
    let message =
        Request::invite("sip:1@by-address.example").body("application/sdp", "v=0\r\n").text();
    for at in 0..message.len() {
        outside.send(&message.as_bytes()[..at]);
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = message.clone().into_bytes();
            bytes[at] ^= flip;
            outside.send(&bytes);
        }
        if at % 32 == 0 {
            caller.ask(&Request::new("OPTIONS", "sip:a").text());
        }
    }
    assert_eq!(status(&caller.ask(&Request::invite("sip:1@by-address.example").text())), 200);
    let totals = server.end("TERM");
    assert!(totals.contains(", accepted 1, "), "{totals}");
}

#[test]
fn many_callers_get_their_own_answers_from_all_threads() {
    let path = file("edge.toml", CONFIG);
    for threads in ["1", "4"] {
        let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
        let server = Server::start(&[&args[..], &["--udp-workers", threads]].concat());
        let callers: Vec<_> = (0..40).map(|_| Caller::new(&server)).collect();
        let invite = |caller: usize, nth: usize| {
            let host = ["by-address", "by-password", "nothing-mapped"][(caller + nth) % 3];
            let request = Request::invite(&format!("sip:1@{host}.example"));
            request.call_id(&format!("{caller}-{nth}")).text()
        };
        // sent at once, so that several datagrams wait at a socket, whose buffer has room for all
        for part in [0..5, 5..10] {
            for nth in part.clone() {
                for (at, caller) in callers.iter().enumerate() {
                    caller.send(invite(at, nth).as_bytes());
                }
            }
            for (at, caller) in callers.iter().enumerate() {
                let receive = |_| {
                    let answer = caller.receive().expect("an answer");
                    let call_id = header(&answer, "Call-ID").unwrap();
                    let (own, nth) = call_id.split_once('-').unwrap();
                    assert_eq!(own.parse(), Ok(at));
                    let nth: usize = nth.parse().unwrap();
                    assert_eq!(status(&answer), [200, 407, 403][(at + nth) % 3]);
                    nth
                };
                let mut answered: Vec<_> = part.clone().map(receive).collect();
                answered.sort_unstable();
                assert!(answered.into_iter().eq(part.clone()));
            }
        }
        let totals = server.end("TERM");
        assert!(totals.starts_with("totals: received 400, accepted 13"), "{totals}");
    }
}

/// Limits amplification: answers go to the source, which can be forged.
#[test]
fn case_39_an_answer_is_at_most_three_times_its_request() {
    let server = Server::config(CONFIG);
    let caller = Caller::new(&server);
    for (host, expected) in [
        ("by-password.example", 407),
        ("by-address.example", 200),
        ("x", 404),
        ("server.example", 401),
    ] {
        // a request of minimum length
        let request = format!(
            "INVITE sip:{host} SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:<sip:a>;tag=1\r\n\
             t:<sip:a>\r\ni:1\r\nCSeq:1 INVITE\r\nl:0\r\n\r\n"
        );
        let answer = caller.ask(&request);
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.len() <= 3 * request.len(), "{} {answer}", request.len());
    }
    // malformed requests may be shorter
    for request in [
        "A a SIP/2.0\r\nv:\r\n\r\n",
        "A a SIP/2.0\nv:SIP/2.0/U h\n",
        "A a SIP/2.0\r\nv:SIP/2.0/U h;rport\r\nf:a\r\nt:a\r\ni:a\r\nCSeq:1 B\r\n\r\n",
        "A a SIP/2.0\r\nv:SIP/2.0/U h;rport\r\nl:9\r\n\r\n",
        "A a SIP/3.0\r\nv:SIP/2.0/U h;rport\r\n\r\n",
    ] {
        let answer = caller.ask(request);
        assert!(answer.len() <= 3 * request.len(), "{} {answer}", answer.len());
    }
    caller.send_unanswered(b"A a SIP/2.0\nv:\nt:\n\n");
}

/// All algorithms, both qop and the longest realm.
#[test]
fn case_39_the_shortest_requests_get_no_long_challenge() {
    let realm = "r".repeat(128);
    let config = format!(
        r#"
realm = "{realm}"
[[credential_lists]]
name = "staff"
credentials = [{{ username = "alice", password = "correct horse" }}]
[[domains]]
name = "a.b"
credential_lists = ["staff"]
[domains.policy]
algorithms = ["SHA-512-256-sess", "SHA-512-256", "SHA-256-sess", "SHA-256", "MD5-sess", "MD5"]
qop = "auth,auth-int"
userhash = true
"#
    );
    let path = file("edge.toml", &config);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok"];
    let server = Server::start(&[&args[..], &["--log", "decisions"]].concat());
    let caller = Caller::new(&server);
    let invite = |pad: &str| {
        format!(
            "INVITE sip:a.b SIP/2.0\r\nv:SIP/2.0/UDP a\r\nf:<sip:a>\r\nt:<sip:a>\r\ni:{pad}\r\n\
             CSeq:1 INVITE\r\n\r\n"
        )
    };
    let mut seen = Vec::new();
    for length in (0..1_000).step_by(10) {
        let request = invite(&"1".repeat(length));
        let answer = caller.ask(&request);
        assert!(answer.len() <= 3 * request.len(), "{answer}");
        let algorithms = answer.split("algorithm=").skip(1);
        let algorithms: Vec<_> = algorithms.map(|it| it.split(',').next().unwrap()).collect();
        let offered = (status(&answer), algorithms.join(" "));
        if seen.last() != Some(&offered) {
            seen.push(offered);
        }
    }
    let offers = [
        (400, ""),
        (407, "MD5"),
        (407, "SHA-512-256-sess MD5"),
        (407, "SHA-512-256-sess SHA-512-256 MD5"),
        (407, "SHA-512-256-sess SHA-512-256 SHA-256-sess MD5"),
        (407, "SHA-512-256-sess SHA-512-256 SHA-256-sess SHA-256 MD5"),
        (407, "SHA-512-256-sess SHA-512-256 SHA-256-sess SHA-256 MD5-sess MD5"),
    ];
    assert_eq!(seen, offers.map(|(status, offer)| (status, offer.to_owned())));
    server.stderr.wait_for("too short for its answer");
}

/// The answers to one caller are sent segmented (`UDP_SEGMENT`). Each request still gets its own
/// answer, also those above the segment size.
#[cfg(target_os = "linux")]
#[test]
fn a_burst_of_one_caller_is_answered_one_by_one() {
    let server = Server::config(CONFIG);
    let caller = Caller::new(&server);
    let call_id = |nth: usize| format!("{nth}-{}", "x".repeat([1, 20, 300, 1_500][nth % 4]));
    server.freeze();
    for nth in 100..200 {
        let host = ["by-address", "nothing-mapped"][nth / 4 % 2];
        let invite = Request::invite(&format!("sip:1@{host}.example")).call_id(&call_id(nth));
        caller.send(invite.text().as_bytes());
    }
    server.signal("CONT");
    let mut answered: Vec<usize> = (100..200)
        .map(|_| {
            let answer = caller.receive().expect("an answer");
            let own = header(&answer, "Call-ID").unwrap();
            let nth = own[..3].parse().unwrap();
            assert_eq!(own, call_id(nth));
            assert_eq!(status(&answer), [200, 403][nth / 4 % 2]);
            // exactly one whole answer
            assert_eq!(answer.matches("SIP/2.0 ").count(), 1, "{answer}");
            assert!(answer.ends_with("\r\n"), "{answer}");
            nth
        })
        .collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(100..200));
    let totals = server.end("TERM");
    assert!(totals.contains(", not sent 0, "), "{totals}");
}

/// More than a batch waits at the socket, and the datagrams of a known caller are the last.
#[cfg(target_os = "linux")]
#[test]
fn a_recently_accepted_caller_is_answered_before_a_flood() {
    let path = file("edge.toml", CONFIG);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok", "--udp-workers", "1"];
    let server = Server::start(&[&args[..], &["--log", "decisions"]].concat());
    let invite = |nth: usize| {
        let request = Request::invite("sip:1@by-address.example");
        request.call_id(&format!("call-{nth}")).text()
    };
    let caller = Caller::new(&server);
    assert_eq!(status(&caller.ask(&invite(0))), 200);
    server.stderr.wait_for("accept");

    server.freeze();
    let flood = Caller::from("127.0.0.2", &server);
    for nth in 1..=150 {
        flood.send(invite(nth).as_bytes());
    }
    caller.send(invite(0).as_bytes());
    caller.send(invite(151).as_bytes());
    server.signal("CONT");
    assert_eq!(status(&caller.receive().unwrap()), 200);
    assert_eq!(status(&caller.receive().unwrap()), 200);
    for _ in 1..=150 {
        assert_eq!(status(&flood.receive().unwrap()), 403);
    }
    let printed = server.stderr.wait_from(0, |line| line.starts_with("reject"));
    let is_warning = |line: &String| line.starts_with("sip-authz: warning: ");
    // without the first call of the known caller
    let log: Vec<_> = printed.into_iter().filter(|line| !is_warning(line)).skip(1).collect();
    let accepted = |line: &String| line.starts_with("accept");
    assert!(log.len() == 3 && log[..2].iter().all(accepted), "{log:?}");
    let totals = server.end("TERM");
    assert!(totals.contains("received 153, accepted 3, "), "{totals}");
    assert!(totals.contains(", shed 0, "), "{totals}");
}

/// Two accounts have flows with an accepted call. One of them has filled the socket with datagrams; those
/// of the other and of a stranger are the last.
#[cfg(target_os = "linux")]
#[test]
fn the_established_flows_of_one_account_take_neither_the_time_of_others_nor_that_of_strangers() {
    const LOUD: usize = 200;
    let path = file("edge.toml", crate::decision_log::TWO_ACCOUNTS);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok", "--udp-workers", "1"];
    let server = Server::start(&[&args[..], &["--log", "decisions", "--log-names"]].concat());
    let invite = |host: &str| Request::invite(&format!("sip:1@{host}")).text();
    let [loud, quiet, stranger] =
        ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|from| Caller::from(from, &server));
    for (caller, host) in [(&loud, "loud.example"), (&quiet, "quiet.example")] {
        assert_eq!(status(&caller.ask(&invite(host))), 200);
    }
    server.stderr.wait_from(0, |line| line.contains("source=127.0.0.2:"));
    server.freeze();
    for _ in 0..LOUD {
        loud.send(invite("loud.example").as_bytes());
    }
    quiet.send(invite("quiet.example").as_bytes());
    stranger.send(invite("loud.example").as_bytes());
    server.signal("CONT");
    assert_eq!(status(&quiet.receive().unwrap()), 200);
    assert_eq!(status(&stranger.receive().unwrap()), 200);
    for _ in 0..LOUD {
        assert_eq!(status(&loud.receive().unwrap()), 200);
    }
    let lines = server.stderr.wait_from(0, |line| line.contains("source=127.0.0.3:"));
    // each of the two has had one before
    let place = |from: &str, nth| {
        let source = format!("source={from}:");
        let mut places = lines.iter().enumerate().filter(|(_, line)| line.contains(&source));
        places.nth(nth).map(|(at, _)| at)
    };
    let loud_before = |end: Option<usize>| {
        let before = &lines[..end.unwrap()];
        before.iter().filter(|line| line.contains("source=127.0.0.1:")).count() - 1
    };
    let quiet = loud_before(place("127.0.0.2", 1));
    let stranger = loud_before(place("127.0.0.3", 0));
    // four receives: each of the first three, which are full, answers 32, and the last one more
    assert!(quiet <= 3 * 32 + 8 && stranger <= 3 * 32 + 64, "{quiet} {stranger}");
}

/// The proxy has no accepted request, and its datagrams are the last.
#[cfg(target_os = "linux")]
#[test]
fn a_trusted_proxy_is_answered_before_a_flood() {
    let path = file("edge.toml", CONFIG);
    let args = ["--config", path.to_str().unwrap(), "--on-accept", "ok", "--udp-workers", "1"];
    let trusting = ["--trusted-proxy", "127.0.0.3", "--log", "decisions", "--log-names"];
    let server = Server::start(&[&args[..], &trusting].concat());
    let invite = || Request::invite("sip:1@nothing-mapped.example");
    server.freeze();
    let (flood, proxy) = (Caller::from("127.0.0.2", &server), Caller::from("127.0.0.3", &server));
    for _ in 1..=150 {
        flood.send(invite().text().as_bytes());
    }
    proxy.send(invite().header("X-Authz-Source", "192.0.2.1:1").text().as_bytes());
    proxy.send(invite().text().as_bytes());
    server.signal("CONT");
    for _ in 1..=2 {
        assert_eq!(status(&proxy.receive().unwrap()), 403);
    }
    for _ in 1..=150 {
        assert_eq!(status(&flood.receive().unwrap()), 403);
    }
    let printed = server.stderr.wait_from(0, |line| line.contains("source=127.0.0.2:"));
    let log: Vec<_> = printed.into_iter().filter(|line| line.starts_with("reject")).collect();
    assert!(log.len() == 3, "{log:?}");
    assert!(
        log[0].contains(" source=192.0.2.1:1 ") && log[1].contains(" source=unknown "),
        "{log:?}"
    );
}
