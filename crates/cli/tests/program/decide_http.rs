//! The decision service over HTTP, asked by curl and by Python.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::decide::{config, office};
use crate::support::{ADMIN_TOKEN, ONE, PATIENCE, Request, Server, file};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const SIP: &str = "Content-Type: message/sip";
const JSON: &str = "Content-Type: application/json";
const FROM: &str = "?transport=UDP&source=192.0.2.7:5060";

/// A program with the service, and the address of the service.
struct Service {
    server: Server,
    address: SocketAddr,
}

impl Service {
    fn start(more: &[&str]) -> Self {
        let (config, tokens) = (config(), file("token", &format!("{TOKEN}\n")));
        let args =
            ["--config", config.to_str().unwrap(), "--on-accept=ok", "--decide=http:127.0.0.1:0"];
        let token = ["--decide-token-file", tokens.to_str().unwrap()];
        let server = Server::start(&[&args[..], &token, more].concat());
        let line = server.stdout.wait_for("listening for decisions on http:");
        let address = line.rsplit("http:").next().unwrap().parse().unwrap();
        Self { server, address }
    }

    /// The HTTP status and the body of the answer to a request by curl, whose body is `body`.
    fn curl(&self, path: &str, args: &[&str], body: impl AsRef<[u8]>) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["-sS", "--globoff", "--noproxy", "*", "-w", "\n%{http_code}"]);
        command.args(args).args(["--data-binary", "@-"]);
        command.arg(format!("http://{}{path}", self.address));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("curl");
        child.stdin.take().unwrap().write_all(body.as_ref()).unwrap();
        let output = child.wait_with_output().unwrap();
        let (text, errors) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        let text = text.unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        assert!(output.status.success(), "{args:?}: {text} {errors:?}");
        (status.parse().unwrap(), body.to_owned())
    }

    /// The answer to a request with the token, which must be a decision.
    fn decision(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Value {
        let (status, body) = self.asked(path, kind, body);
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The HTTP status and the answer to a request with the token.
    fn asked(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
        let token = format!("Authorization: Bearer {TOKEN}");
        let (status, body) = self.curl(path, &["-H", &token, "-H", kind], body);
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// The decision on a message from an address of the office.
    fn message(&self, message: &str) -> Value {
        self.decision(&format!("/v1/decide{FROM}"), SIP, message)
    }

    fn office_still_passes(&self) {
        assert_eq!(self.message(&office())["outcome"], "accept");
    }
}

/// The lines of a challenge or refusal in the form of a SIP message, for `Request::authorized`.
fn lines(answer: &Value) -> String {
    format!("{}\r\n{}", answer["status"], answer["header_lines"].as_str().unwrap())
}

/// The page of metrics at this address.
fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let host = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(host.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn a_message_is_answered_with_each_outcome() {
    let service = Service::start(&["--log", "decisions", "--log-names"]);
    // by the address
    let answer = service.message(&office());
    assert_eq!((&answer["outcome"], &answer["account"]), (&json!("accept"), &json!(ONE)));
    assert_eq!(
        (&answer["target_name"], &answer["reason"]),
        (&json!("office.example"), &json!("passed"))
    );
    assert_eq!((&answer["status"], &answer["used_header"]), (&Value::Null, &Value::Null));
    let other = "/v1/decide?transport=UDP&source=198.51.100.7:5060";
    let answer = service.decision(other, SIP, office());
    assert_eq!((&answer["outcome"], &answer["status"]), (&json!("reject"), &json!(403)));
    // by a digest
    let invite = Request::invite("sip:100@one.example");
    let challenge = service.message(&invite.text());
    assert_eq!((&challenge["outcome"], &challenge["status"]), (&json!("challenge"), &json!(407)));
    assert_eq!(challenge["phrase"], "Proxy Authentication Required");
    let all: Vec<_> = challenge["headers"].as_array().unwrap().iter().collect();
    assert!(all.iter().all(|it| it.as_str().unwrap().starts_with("Proxy-Authenticate: Digest ")));
    let joined: String = all.iter().map(|it| format!("{}\r\n", it.as_str().unwrap())).collect();
    assert_eq!(challenge["header_lines"], joined);
    let other =
        "Digest username=\"a\", realm=\"elsewhere\", nonce=\"n\", uri=\"sip:x\", response=\"00\"";
    let with = invite.header("Proxy-Authorization", other);
    let right = with.authorized(&lines(&challenge), "alice", "correct horse");
    let answer = service.message(&right.text());
    assert_eq!((&answer["outcome"], &answer["user"]), (&json!("accept"), &json!("alice")));
    assert_eq!(answer["used_header"], "Proxy-Authorization");
    assert_eq!(
        (&answer["used_header_index"], &answer["retransmission"]),
        (&json!(1), &Value::Null)
    );
    // the same bytes are a retransmission, another message with these credentials is a replay
    let answer = service.message(&right.text());
    assert_eq!((&answer["outcome"], &answer["retransmission"]), (&json!("accept"), &json!(true)));
    let answer = service.message(&right.clone().call_id("another").text());
    assert_eq!(answer["outcome"], "challenge");
    let wrong = with.authorized(&lines(&answer), "alice", "guessed").call_id("wrong");
    let answer = service.message(&wrong.text());
    assert_eq!((&answer["outcome"], &answer["status"]), (&json!("reject"), &json!(403)));
    assert_eq!(
        (&answer["reason"], &answer["cause"]),
        (&json!("wrong-credentials"), &json!("wrong-password"))
    );
    // a message that is not decided, one without a response, one that is not SIP
    let answer = service.message(&office().replace("CSeq: 1", "CSeq: one"));
    assert_eq!(
        answer,
        json!({"outcome": "undecided", "status": 400, "phrase": "Bad Request (bad cseq)", "reason": "bad cseq"})
    );
    let answer = service.message(&Request::new("ACK", "sip:100@office.example").text());
    assert_eq!(answer, json!({"outcome": "undecided", "reason": "ack"}));
    for garbage in ["", "hello", "\0\u{1}\r\n\r\n"] {
        let answer = service.message(garbage);
        assert_eq!((&answer["outcome"], &answer["account"]), (&json!("undecided"), &Value::Null));
    }
    // the log has them as decisions of calls
    service.server.stderr.wait_for("wrong-credentials");
    let totals = service.server.end("TERM");
    assert!(totals.contains("accepted 3, challenged 2, rejected 2"), "{totals}");
}

/// The method, the Request-URI and the headers of a request in JSON.
fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> String {
    let source = ("tls", "192.0.2.7:5060");
    json!({"transport": source.0, "source": source.1, "method": method, "uri": uri, "headers": headers})
        .to_string()
}

#[test]
fn parts_in_json_and_in_a_form_are_decided_like_the_message() {
    let service = Service::start(&[]);
    let (uri, text) = ("sip:100@office.example", office());
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let headers: Vec<_> = head.lines().skip(1).map(|it| it.split_once(": ").unwrap()).collect();
    let whole = json!({"transport": "UDP", "source": "192.0.2.7", "port": 5060, "message": text});
    for body in [whole.to_string(), parts("INVITE", uri, &headers)] {
        assert_eq!(service.decision("/v1/decide", JSON, body)["outcome"], "accept");
    }
    // curl encodes the form
    let token = format!("Authorization: Bearer {TOKEN}");
    let mut args = vec!["-H".to_owned(), token, "-H".to_owned(), "Accept: text/plain".to_owned()];
    let fields =
        [("transport", "UDP"), ("source", "192.0.2.7:5060"), ("method", "INVITE"), ("uri", uri)];
    for (name, value) in fields {
        args.extend(["--data-urlencode".to_owned(), format!("{name}={value}")]);
    }
    for (name, value) in &headers {
        args.extend(["--data-urlencode".to_owned(), format!("header={name}: {value}")]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let (status, answer) = service.curl("/v1/decide", &args, "");
    assert_eq!(status, 200, "{answer}");
    let start = format!("outcome: accept\naccount: {ONE}\ntarget: SD");
    assert!(answer.starts_with(&start), "{answer}");
    assert!(answer.ends_with("\ntarget_name: office.example\nreason: passed\n"), "{answer}");
    // no part becomes more than it is
    for (method, uri) in [
        ("", uri),
        ("BYE", uri),
        ("INVITE\r\n", uri),
        ("INVITE sip:100@office.example SIP/2.0\r\nX:", uri),
        ("INVITE", ""),
        ("INVITE", "sip:1\0@office.example"),
        ("INVITE", "sip:100@office.example SIP/2.0\r\nX: y"),
        ("INVITE", "sip:100@office.example\u{e9}\u{0}"),
    ] {
        let answer = service.decision("/v1/decide", JSON, parts(method, uri, &headers));
        assert_eq!(answer["outcome"], "undecided", "{method:?} {uri:?}");
    }
    for (name, value) in [
        ("CSeq", "1 BYE"),
        ("Subject", "a\r\nAuthorization: Digest"),
        ("Subject: a\r\nAuthorization", "Digest"),
        ("Subject", "a\r\n\r\nINVITE sip:100@office.example SIP/2.0"),
        ("Subject", "a\nb"),
        ("a b", "c"),
        ("", "c"),
        ("To:", "<sip:a@b>"),
        ("To\0", "<sip:a@b>"),
    ] {
        let mut headers: Vec<_> = headers.iter().copied().filter(|it| it.0 != name).collect();
        headers.push((name, value));
        let answer = service.decision("/v1/decide", JSON, parts("INVITE", uri, &headers));
        assert_eq!(answer["outcome"], "undecided", "{name:?}: {value:?}");
    }
}

#[test]
fn only_the_token_is_admitted() {
    let service = Service::start(&["--metrics", "127.0.0.1:0"]);
    let path = format!("/v1/decide{FROM}");
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    for wrong in [
        vec![],
        vec![bearer("")],
        vec![bearer("0123456789abcdef")],
        vec![bearer(&format!("{TOKEN}0"))],
        vec![bearer(ADMIN_TOKEN)],
        vec![format!("Authorization: Basic {TOKEN}")],
        vec![format!("Authorization: {TOKEN}")],
        vec![bearer("wrong"), bearer(TOKEN)],
        vec![bearer(TOKEN), bearer("wrong")],
    ] {
        let mut args = vec!["-H", SIP];
        wrong.iter().for_each(|header| args.extend(["-H", header]));
        for text in ["Accept: */*", "Accept: text/plain"] {
            let args = [&args[..], &["-H", text]].concat();
            let (status, answer) = service.curl(&path, &args, office());
            assert_eq!(status, 401, "{wrong:?}: {answer}");
            let expected = match text {
                "Accept: */*" => "{\"outcome\":\"error\",\"error\":\"missing or wrong token\"}\n",
                _ => "outcome: error\nerror: missing or wrong token\n",
            };
            assert_eq!(answer, expected);
        }
    }
    service.office_still_passes();
    let line = service.server.stdout.wait_for("listening for scrapes on ");
    let page = scrape(line.rsplit('/').nth(1).unwrap().parse().unwrap());
    for line in [
        "sip_authz_decide_connections_closed_total{reason=\"wrong token\"} 18",
        "sip_authz_decide_requests_total{outcome=\"accept\"} 1",
    ] {
        assert!(page.contains(line), "{page}");
    }
    let warning = service.server.stderr.wait_for("closed a client: missing or wrong token");
    assert!(warning.contains("http:127.0.0.1:"), "{warning}");
    assert!(!warning.contains("0123456789"), "{warning}");
}

#[test]
fn questions_that_cannot_be_read_are_errors() {
    let service = Service::start(&[]);
    let message = json!({"transport": "UDP", "source": "192.0.2.7:5060", "message": office()});
    let with = |name: &str, value: Value| {
        let mut message = message.clone();
        message[name] = value;
        message.to_string()
    };
    let path = format!("/v1/decide{FROM}");
    let form = "Content-Type: application/x-www-form-urlencoded";
    for (path, kind, body, status, error) in [
        ("/v1/decide", SIP, office(), 400, "no `transport`"),
        ("/v1/decide?transport=UDP", SIP, office(), 400, "no `source`"),
        ("/v1/decide?transport=UDP&source=192.0.2.7", SIP, office(), 400, "expected an IP address"),
        (&format!("{path}&transport=TLS"), SIP, office(), 400, "repeated `transport`"),
        (&format!("{path}&force=1"), SIP, office(), 400, "unknown parameter `force`"),
        (&path, JSON, message.to_string(), 400, "found a query"),
        ("/v1/decide", JSON, "{".to_owned(), 400, "EOF while parsing"),
        ("/v1/decide", JSON, office(), 400, "expected a JSON object"),
        ("/v1/decide", JSON, with("method", "INVITE".into()), 400, "found both"),
        ("/v1/decide", JSON, with("transport", "QUIC".into()), 400, "expected one of UDP, TCP"),
        ("/v1/decide", JSON, with("outcome", "accept".into()), 400, "unknown field `outcome`"),
        ("/v1/decide", form, office(), 400, "unknown parameter `INVITE"),
        ("/v1/decide", form, "source=%".to_owned(), 400, "two hexadecimal digits"),
        ("/v1/decide", form, "a=b".to_owned(), 400, "unknown parameter `a`"),
        (&path, "Content-Type: text/plain", office(), 415, "expected the Content-Type"),
        (&path, "Content-Type:", office(), 415, "expected the Content-Type"),
        ("/v1/decide/", SIP, office(), 404, "expected the path"),
        ("/2010-04-01/Accounts.json", SIP, office(), 404, "expected the path"),
        ("/admin/export", SIP, office(), 404, "expected the path"),
        (&path, SIP, "x".repeat(131_072), 413, "too long"),
        (&path, SIP, "x".repeat(131_073), 413, "too long"),
    ] {
        let (found, answer) = service.asked(path, kind, &body);
        assert_eq!(
            (found, &answer["outcome"]),
            (status, &json!("error")),
            "{path} {kind}: {answer}"
        );
        assert!(answer["error"].as_str().unwrap().contains(error), "{path} {kind}: {answer}");
    }
    let token = format!("Authorization: Bearer {TOKEN}");
    for method in ["PUT", "GET", "OPTIONS"] {
        let (status, answer) = service.curl(&path, &["-X", method, "-H", &token], "");
        assert_eq!((status, answer.contains("expected the method POST")), (405, true), "{answer}");
    }
    let encoded = ["-H", &token, "-H", SIP, "-H", "Content-Encoding: gzip"];
    assert_eq!(service.curl(&path, &encoded, office()).0, 415);
    service.server.stderr.wait_for("closed a client: no `transport`");
    service.office_still_passes();
}

/// Sends bytes, and returns everything up to the end of the connection.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // the service can close the connection early
    let _ = stream.write_all(bytes);
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    String::from_utf8(received).unwrap()
}

#[test]
fn peers_that_are_no_http_clients_harm_no_other() {
    let service = Service::start(&[]);
    let head = format!(
        "POST /v1/decide{FROM} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: message/sip\r\n"
    );
    for (bytes, expected) in [
        (b"INVITE sip:100@office.example SIP/2.0\r\n\r\n".to_vec(), "HTTP/1.1 400 "),
        (vec![0; 4_096], "HTTP/1.1 400 "),
        (vec![0xff; 100], "HTTP/1.1 400 "),
        (format!("{head}X: {}\r\n\r\n", "x".repeat(70_000)).into_bytes(), "HTTP/1.1 431 "),
        // two lengths, and one that is too long
        (
            format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx").into_bytes(),
            "HTTP/1.1 400 ",
        ),
        (format!("{head}Content-Length: 3000000\r\n\r\nxx").into_bytes(), "HTTP/1.1 413 "),
    ] {
        let answer = raw(service.address, &bytes);
        let shown = bytes[..40].escape_ascii();
        assert!(answer.starts_with(expected), "{shown}: {answer}");
        assert!(!answer.contains("accept"), "{shown}: {answer}");
        service.office_still_passes();
    }
    // half a request, then the end: nothing is decided
    let half = format!("{head}Content-Length: {}\r\n\r\n{}", office().len() + 1, office());
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.write_all(half.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains(" 200 "), "{answer}");
    // connections that send nothing keep no client out
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(service.address).unwrap()).collect();
    service.office_still_passes();
    drop(silent);
    let totals = service.server.end("TERM");
    assert!(totals.contains("accepted 7, challenged 0, rejected 0"), "{totals}");
}

/// A host in Python: one connection for all requests, whose bodies arrive in pieces.
const HOST: &str = r#"
import http.client, json, sys, time
address, token, office, other = sys.argv[1:]
connection = http.client.HTTPConnection(address, timeout=20)
sockets = set()
for body in [office, other, office]:
    connection.putrequest("POST", "/v1/decide?transport=TCP&source=%5B2001%3Adb8%3A%3A7%5D:5060")
    connection.putheader("Authorization", "Bearer " + token)
    connection.putheader("Content-Type", "message/sip")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    for at in range(0, len(body), 100):
        connection.send(body[at:at + 100].encode())
        time.sleep(0.01)
    response = connection.getresponse()
    answer = json.loads(response.read())
    sockets.add(connection.sock.getsockname())
    print(response.status, answer["outcome"], answer.get("status"))
print(len(sockets))
"#;

#[test]
fn a_host_in_python_keeps_its_connection() {
    let service = Service::start(&["--metrics", "127.0.0.1:0"]);
    let address = service.address.to_string();
    let nowhere = Request::invite("sip:100@nowhere.example").text();
    let mut host = Command::new("python3");
    let host = host.args(["-c", HOST, &address, TOKEN, &office(), &nowhere]).output().unwrap();
    let (out, errors) = (String::from_utf8(host.stdout), String::from_utf8(host.stderr));
    let expected = "200 reject 403\n200 reject 404\n200 reject 403\n1\n";
    assert_eq!(out.as_deref(), Ok(expected), "{errors:?}");
    let line = service.server.stdout.wait_for("listening for scrapes on ");
    let page = scrape(line.rsplit('/').nth(1).unwrap().parse().unwrap());
    assert!(page.contains("sip_authz_decide_requests_total{outcome=\"reject\"} 3"), "{page}");
}

#[test]
fn after_a_restart_an_old_nonce_is_stale_and_a_replay_is_no_accept() {
    let service = Service::start(&[]);
    let address = service.address.to_string();
    let invite = Request::invite("sip:100@one.example");
    let right = |answer: &Value| invite.authorized(&lines(answer), "alice", "correct horse").text();
    let challenge = service.message(&invite.text());
    let old = right(&challenge);
    assert_eq!(service.message(&old)["outcome"], "accept");
    // killed
    drop(service);
    let refused = Command::new("curl")
        .args([
            "-sS",
            "--noproxy",
            "*",
            "--data-binary",
            "x",
            &format!("http://{address}/v1/decide"),
        ])
        .output()
        .unwrap();
    let refused = String::from_utf8(refused.stdout).unwrap();
    assert!(!refused.contains("accept"), "{refused}");
    let service = Service::start(&[]);
    let answer = service.message(&old);
    assert_eq!(answer["outcome"], "challenge");
    assert!(answer["header_lines"].as_str().unwrap().contains("stale=true"), "{answer}");
    assert_eq!(service.message(&right(&answer))["outcome"], "accept");
}
