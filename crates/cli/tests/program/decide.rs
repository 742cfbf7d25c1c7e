//! The decision service, asked by the client of `docs/recipes/decide.py`, and by peers that break its
//! rules.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use sip_authz_decide::{Frame, GoodbyeCode, Hello, Outcome, RequestWriter, split};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::http::Http;
use crate::support::{
    ADMIN_TOKEN, Caller, Lines, ONE, PATIENCE, Request, STAFF, Server, account, client, file,
    outcome, run, set_mode, status,
};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipes/decide.py");

pub(crate) fn config() -> PathBuf {
    let rest = r#"
[[ip_access_control_lists]]
name = "office"
account = "one"
addresses = ["192.0.2.0/24"]
[[domains]]
name = "one.example"
account = "one"
credential_lists = ["staff"]
[[domains]]
name = "office.example"
account = "one"
ip_access_control_lists = ["office"]
"#;
    file("edge.toml", &format!("{}{STAFF}{rest}", account("one", ONE)))
}

/// A path for a socket in a new folder.
fn socket() -> PathBuf {
    file("empty", "").with_file_name("decide.sock")
}

/// Serves decisions at these places.
fn serve(places: &[&str], more: &[&str]) -> Server {
    let config = config();
    let mut args = vec!["--config", config.to_str().unwrap(), "--on-accept", "ok"];
    places.iter().for_each(|place| args.extend(["--decide", *place]));
    args.extend(more);
    let server = Server::start(&args);
    server.stdout.wait_for("listening for decisions on ");
    server
}

fn at(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// The output of the client for a message from this source over UDP.
fn ask_as(place: &str, token: &str, source: (&str, &str), message: &str) -> (bool, String) {
    let mut command = Command::new("python3");
    command.args([CLIENT, place, "UDP", source.0, source.1]).env("SIP_AUTHZ_DECIDE_TOKEN", token);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let (code, out, errors) = outcome(&child.wait_with_output().unwrap());
    (code == Some(0), out + &errors)
}

fn ask(place: &str, message: &str) -> (bool, String) {
    ask_as(place, "", ("192.0.2.7", "5060"), message)
}

#[test]
fn a_host_is_answered_with_each_outcome() {
    let path = socket();
    let place = at(&path);
    let server = serve(&[&place], &["--log", "decisions", "--log-names"]);
    // by the address
    let office = Request::invite("sip:100@office.example");
    let (passes, answer) = ask(&place, &office.text());
    assert!(
        passes && answer.starts_with(&format!("accept\naccount: {ONE}\ntarget: SD")),
        "{answer}"
    );
    assert!(answer.contains("\nname: office.example\nreason: passed\n"), "{answer}");
    let (passes, answer) = ask_as(&place, "", ("198.51.100.7", "5060"), &office.text());
    assert!(!passes && answer.starts_with("reject 403 Forbidden\nX-Authz-Error: "), "{answer}");
    // by a digest
    let invite = Request::invite("sip:100@one.example");
    let (passes, challenge) = ask(&place, &invite.text());
    assert!(!passes, "{challenge}");
    assert!(
        challenge.starts_with("challenge 407 Proxy Authentication Required\nProxy-"),
        "{challenge}"
    );
    let other =
        "Digest username=\"a\", realm=\"elsewhere\", nonce=\"n\", uri=\"sip:x\", response=\"00\"";
    let with = invite.header("Proxy-Authorization", other);
    let right = with.authorized(&challenge, "alice", "correct horse");
    let (passes, answer) = ask(&place, &right.text());
    assert!(
        passes && answer.starts_with("accept\nused header: 1 Proxy-Authorization\n"),
        "{answer}"
    );
    assert!(answer.contains("\nuser: alice\n") && !answer.contains("retransmission"), "{answer}");
    // the same bytes are a retransmission, another message with these credentials is a replay
    let (passes, answer) = ask(&place, &right.text());
    assert!(passes && answer.ends_with("reason: repeat\nretransmission\n"), "{answer}");
    let (passes, answer) = ask(&place, &right.clone().call_id("another").text());
    assert!(!passes && answer.starts_with("challenge 407 "), "{answer}");
    let (_, challenge) = ask(&place, &with.text());
    let wrong = with.authorized(&challenge, "alice", "guessed");
    let (passes, answer) = ask(&place, &wrong.call_id("wrong").text());
    assert!(!passes && answer.starts_with("reject 403 Forbidden\n"), "{answer}");
    assert!(answer.ends_with("reason: wrong-credentials\ncause: wrong-password\n"), "{answer}");
    // another domain, a message that is not decided, one that is not SIP
    let (_, answer) = ask(&place, &Request::invite("sip:100@nowhere.example").text());
    assert!(answer.starts_with("reject 404 Not Found\n"), "{answer}");
    let (_, answer) = ask(&place, &office.text().replace("CSeq: 1", "CSeq: one"));
    assert_eq!(answer, "undecided 400 Bad Request (bad cseq)\nreason: bad cseq\n");
    // line ends before a datagram are skipped, in the log too
    let late = Request::invite("sip:100@office.example").call_id("late");
    let (_, answer) = ask(&place, &format!("\r\n{}", late.text().replace("CSeq: 1", "CSeq: one")));
    assert!(answer.starts_with("undecided 400 "), "{answer}");
    server.stderr.wait_for("call_id=\"late\"");
    let ack = Request::new("ACK", "sip:100@office.example").text();
    assert_eq!(ask(&place, &ack).1, "undecided\nreason: ack\n");
    assert_eq!(ask(&place, "hello").1, "undecided\nreason: not sip\n");
    // the logs and the API have them as decisions of calls
    server.stderr.wait_for("wrong-credentials");
    let fits = |rows: &[serde_json::Value]| rows.len() == 1;
    let rows = crate::recent::wait(&Http::admin(&server), "CallId=wrong", fits);
    let wrong = &rows[0];
    assert_eq!(
        (&wrong["cause"], &wrong["source"]),
        (&"wrong-password".into(), &"192.0.2.7:5060".into())
    );
    // ends with the program, and so does its file
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    let totals = server.end("TERM");
    assert!(totals.contains("accepted 3, challenged 3, rejected 3"), "{totals}");
    assert!(!path.exists());
}

#[test]
fn a_program_that_only_decides_does_not_listen_for_sip() {
    let (config, path) = (config(), socket());
    let place = at(&path);
    let base = ["serve", "--config", config.to_str().unwrap(), "--decide", &*place];
    let mut command = client(&[&base[..], &["--api", "off"]].concat());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Ended(command.spawn().unwrap());
    let stdout = Lines::of(child.0.stdout.take().unwrap());
    stdout.wait_for("listening for decisions on ");
    let (passes, answer) = ask(&place, &office());
    assert!(passes, "{answer}");
    let lines = stdout.all();
    assert!(
        !lines.iter().any(|line| line.contains("SIP") || line.contains("loopback")),
        "{lines:?}"
    );
    drop(child);
    // a listener needs an answer for its calls
    for (listener, expected) in [
        ("--sip=127.0.0.1:0", "--sip needs --on-accept"),
        #[cfg(feature = "tls")]
        ("--sips=127.0.0.1:0", "--sips needs --on-accept"),
    ] {
        let (code, _, errors) = outcome(&run(&[&base[..], &[listener]].concat()));
        assert_eq!(code, Some(2), "{listener}: {errors}");
        assert!(errors.contains(expected), "{listener}: {errors}");
    }
}

/// A program that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_call_of_a_host_is_no_retransmission_at_a_listener() {
    let path = socket();
    let place = at(&path);
    let server = serve(&[&place], &[]);
    let caller = Caller::new(&server);
    let port = caller.port().to_string();
    let ask_here = |message: &str| ask_as(&place, "", ("127.0.0.1", &port), message);
    let invite = Request::invite("sip:100@one.example");
    let at_listener = |message: &str| status(&caller.ask(message));
    let right = |id: &str| {
        let (_, challenge) = ask_here(&invite.clone().call_id(id).text());
        invite.clone().call_id(id).authorized(&challenge, "alice", "correct horse").text()
    };
    let asked = right("asked");
    assert!(ask_here(&asked).0);
    assert_eq!(at_listener(&asked), 407);
    assert!(ask_here(&asked).1.contains("\nretransmission\n"));
    let called = right("called");
    assert_eq!([at_listener(&called), at_listener(&called)], [200, 200]);
    assert!(ask_here(&called).1.starts_with("challenge 407 "));
}

/// A connection by the codec.
struct Connection<S> {
    stream: S,
    received: Vec<u8>,
}

impl Connection<UnixStream> {
    fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    fn greeted(path: &Path) -> Self {
        let mut connection = Self::unix(path);
        connection.hello(None);
        connection
    }
}

impl<S: std::io::Read + std::io::Write> Connection<S> {
    fn hello(&mut self, token: Option<&[u8]>) {
        let mut bytes = Vec::new();
        Hello::new(token).encode(&mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
        self.next(|frame| assert!(matches!(frame, Some(Frame::Welcome(_))), "{frame:?}"));
    }

    /// Passes the next frame to `check`; none at the end of the stream.
    fn next<T>(&mut self, check: impl FnOnce(Option<Frame<'_>>) -> T) -> T {
        loop {
            if let Some((frame, length)) = split(&self.received).unwrap() {
                let checked = check(Some(Frame::decode(frame).unwrap()));
                self.received.drain(..length);
                return checked;
            }
            let mut part = [0; 4_096];
            match self.stream.read(&mut part) {
                Ok(count) if count > 0 => self.received.extend(&part[..count]),
                Ok(_) => return check(None),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return check(None);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn goodbye(&mut self) -> GoodbyeCode {
        self.next(|frame| match frame {
            Some(Frame::Goodbye(goodbye)) => goodbye.code,
            other => panic!("{other:?}"),
        })
    }

    /// The id and the outcome of the next answer.
    fn answer(&mut self) -> (u64, Outcome) {
        self.next(|frame| match frame {
            Some(Frame::Answer(answer)) => (answer.id, answer.outcome),
            other => panic!("{other:?}"),
        })
    }
}

/// A request as received from 192.0.2.7 over UDP.
fn request(id: u64, message: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let source = SocketAddr::from(([192, 0, 2, 7], 5060));
    let writer = RequestWriter::new(&mut bytes, id, "UDP", source);
    writer.message(message.as_bytes()).end().unwrap();
    bytes
}

/// A request that an address list admits.
pub(crate) fn office() -> String {
    Request::invite("sip:100@office.example").text()
}

#[test]
fn requests_can_be_sent_without_waiting_and_as_parts() {
    let path = socket();
    let _server = serve(&[&at(&path)], &[]);
    let mut connection = Connection::greeted(&path);
    let source = SocketAddr::from(([192, 0, 2, 7], 5060));
    let text = office();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    for id in 0..200 {
        match id % 3 {
            0 => bytes.extend(request(id, &office())),
            1 => bytes.extend(request(id, &Request::invite("sip:1@nowhere.example").text())),
            _ => {
                let writer = RequestWriter::new(&mut bytes, id, "tls", source);
                let mut writer = writer.start_line(b"INVITE", b"sip:100@office.example");
                for (name, value) in head.lines().skip(1).map(|it| it.split_once(": ").unwrap()) {
                    writer = writer.header(name.as_bytes(), value.as_bytes());
                }
                writer.end().unwrap();
            }
        }
    }
    connection.stream.write_all(&bytes).unwrap();
    let mut answers: Vec<_> = (0..200).map(|_| connection.answer()).collect();
    answers.sort_by_key(|(id, _)| *id);
    for (expected, (id, outcome)) in (0..).zip(answers) {
        let accepts = expected % 3 != 1;
        let right = if accepts { Outcome::Accept } else { Outcome::Reject };
        assert_eq!((id, outcome), (expected, right));
    }
    // parts that are no such request, some of which a frame of texts could not have
    let (invite, uri) = (&b"INVITE"[..], &b"sip:100@office.example"[..]);
    for (method, uri) in [
        (&b"INV\xffTE"[..], uri),
        (b"", uri),
        (b"INVITE\r\n", uri),
        (b"BYE", uri),
        (invite, b""),
        (invite, b"sip:1\0@office.example"),
        (invite, b"sip:\xff@office.example"),
        (invite, b"sip:100@office.example SIP/2.0\r\nX: y"),
    ] {
        let mut bytes = Vec::new();
        let writer = RequestWriter::new(&mut bytes, 1, "tls", source);
        let mut writer = writer.start_line(method, uri);
        for (name, value) in head.lines().skip(1).map(|it| it.split_once(": ").unwrap()) {
            writer = writer.header(name.as_bytes(), value.as_bytes());
        }
        writer.end().unwrap();
        connection.stream.write_all(&bytes).unwrap();
        let place = (method.escape_ascii().to_string(), uri.escape_ascii().to_string());
        assert_eq!(connection.answer(), (1, Outcome::Undecided), "{place:?}");
    }
    for (name, value) in [
        ("CSeq", "1 BYE"),
        ("Subject", "a\r\nAuthorization: Digest"),
        ("a b", "c"),
        ("", "c"),
        ("To:", "<sip:a@b>"),
        ("To\0", "<sip:a@b>"),
    ] {
        let mut bytes = Vec::new();
        let writer = RequestWriter::new(&mut bytes, 1, "tls", source);
        let mut writer = writer.start_line(b"INVITE", b"sip:100@office.example");
        let others = head.lines().skip(1).map(|it| it.split_once(": ").unwrap());
        for (name, value) in others.filter(|other| other.0 != name).chain([(name, value)]) {
            writer = writer.header(name.as_bytes(), value.as_bytes());
        }
        writer.end().unwrap();
        connection.stream.write_all(&bytes).unwrap();
        assert_eq!(connection.answer(), (1, Outcome::Undecided), "{name}: {value}");
    }
}

#[test]
fn a_user_that_is_not_listed_is_refused() {
    let path = socket();
    let server = serve(&[&at(&path)], &["--decide-user", "4242", "--metrics", "127.0.0.1:0"]);
    let mut connection = Connection::unix(&path);
    assert_eq!(connection.goodbye(), GoodbyeCode::User);
    server.stderr.wait_for("(--decide-user)");
    let (start, mut clients) = (Instant::now(), 1);
    // a client that is slow finds the connection closed before it has read why
    loop {
        let (passes, answer) = ask(&at(&path), &office());
        assert!(!passes, "{answer}");
        clients += 1;
        if answer.contains("is not allowed (--decide-user)") {
            break;
        }
        assert!(start.elapsed() < 4 * PATIENCE, "{answer}");
    }
    let line = server.stdout.wait_for("listening for scrapes on ");
    let url = line.rsplit(' ').next().unwrap();
    let closed = "sip_authz_decide_connections_closed_total{reason=\"user not allowed\"}";
    crate::metrics::wait_for(url, closed, f64::from(clients));
    // its own user, by number
    let own = std::fs::metadata(&path).unwrap().uid().to_string();
    let path = socket();
    let _server = serve(&[&at(&path)], &["--decide-user", "4242", "--decide-user", &own]);
    assert!(ask(&at(&path), &office()).0);
}

#[test]
fn tcp_needs_the_token() {
    let token = "0123456789abcdef0123456789abcdef";
    let tokens = file("token", &format!("{token}\n"));
    let config = config();
    let server = Server::start(&[
        "--config",
        config.to_str().unwrap(),
        "--on-accept=ok",
        "--decide=tcp:127.0.0.1:0",
        "--decide-token-file",
        tokens.to_str().unwrap(),
    ]);
    let line = server.stdout.wait_for("listening for decisions on ");
    let place = line.rsplit(' ').next().unwrap();
    let source = ("192.0.2.7", "5060");
    assert!(ask_as(place, token, source, &office()).0);
    for wrong in ["", "0123456789abcdef", ADMIN_TOKEN, &format!("{token}0")] {
        let (passes, answer) = ask_as(place, wrong, source, &office());
        assert!(!passes && answer.contains("missing or wrong token"), "{answer}");
    }
    server.stderr.wait_for("closed a client: missing or wrong token");
}

#[test]
fn peers_that_break_the_rules_harm_no_other() {
    let path = socket();
    let _server = serve(&[&at(&path)], &[]);
    let mut good = Connection::greeted(&path);
    let mut still_answers = |id| {
        good.stream.write_all(&request(id, &office())).unwrap();
        assert_eq!(good.answer(), (id, Outcome::Accept));
    };
    // half a frame, then silence, or the end
    let mut half = Connection::greeted(&path);
    let whole = request(1, &office());
    half.stream.write_all(&whole[..whole.len() / 2]).unwrap();
    still_answers(1);
    half.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(half.goodbye(), GoodbyeCode::Malformed);
    // a frame that is too long, by its first bytes
    let mut long = Connection::greeted(&path);
    long.stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(long.goodbye(), GoodbyeCode::TooLong);
    // a request that follows an error is not answered
    let mut wrong = Connection::greeted(&path);
    wrong.stream.write_all(&[&b"\0\0\0\x01\x09"[..], &whole].concat()).unwrap();
    assert_eq!(wrong.goodbye(), GoodbyeCode::Malformed);
    wrong.next(|frame| assert!(frame.is_none(), "{frame:?}"));
    still_answers(2);
    // a peer that never reads is not read, once the answers of its open requests fill the buffers
    let mut silent = Connection::greeted(&path);
    silent.stream.set_nonblocking(true).unwrap();
    let (bytes, mut sent) = (whole.repeat(100), 0);
    loop {
        let mut write = || match silent.stream.write(&bytes[sent % bytes.len()..]) {
            Ok(count) => {
                sent += count;
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        };
        if !write() {
            still_answers(3);
            // still blocked after another client has got an answer
            if !write() {
                break;
            }
        }
        assert!(sent < 1 << 28, "everything is read");
    }
    still_answers(4);
}

#[test]
fn a_restart_ends_connections_and_old_nonces() {
    let path = socket();
    let place = at(&path);
    let server = serve(&[&place], &[]);
    let invite = Request::invite("sip:100@one.example");
    let (_, challenge) = ask(&place, &invite.text());
    let right = invite.authorized(&challenge, "alice", "correct horse").text();
    let mut connection = Connection::greeted(&path);
    // killed: the file stays, and no process listens
    drop(server);
    connection.next(|frame| assert!(frame.is_none(), "{frame:?}"));
    assert!(path.exists());
    let (passes, answer) = ask(&place, &right);
    assert!(!passes && answer.contains("ConnectionRefusedError"), "{answer}");
    let server = serve(&[&place], &[]);
    let (passes, answer) = ask(&place, &right);
    assert!(
        !passes && answer.starts_with("challenge 407 ") && answer.contains("stale=true"),
        "{answer}"
    );
    let right = invite.authorized(&answer, "alice", "correct horse").text();
    assert!(ask(&place, &right).0);
    // stopped: the client learns it
    let mut connection = Connection::greeted(&path);
    server.end("TERM");
    assert_eq!(connection.goodbye(), GoodbyeCode::End);
    let (passes, answer) = ask(&place, &right);
    assert!(!passes && answer.contains("FileNotFoundError"), "{answer}");
}

#[test]
fn errors_at_the_start_name_their_place() {
    let folder = socket();
    let in_use = folder.with_file_name("used.sock");
    let used = UnixListener::bind(&in_use).unwrap();
    // of a process that is stopped: its queue of connections is full
    let full = folder.with_file_name("full.sock");
    let stopped = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    stopped.bind(&SockAddr::unix(&full).unwrap()).unwrap();
    stopped.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&SockAddr::unix(&full).unwrap()).is_err() {
            break;
        }
        waiting.push(client);
    }
    let other = file("other", "text");
    let open = file("open", "");
    set_mode(open.parent().unwrap(), 0o777);
    let below = open.with_file_name("below");
    std::fs::create_dir(&below).unwrap();
    let (short, readable) = (file("token", "short"), file("token", "0123456789abcdef"));
    set_mode(&readable, 0o644);
    let (short, readable) = (short.to_str().unwrap(), readable.to_str().unwrap());
    let unix = |path: &Path| format!("--decide={}", at(path));
    let good = unix(&folder);
    let tcp = "--decide=tcp:127.0.0.1:0";
    let http = "--decide=http:127.0.0.1:0";
    for (args, expected) in [
        (vec![&*unix(&in_use)], format!("{}: address already in use", at(&in_use))),
        (vec![&*unix(&other)], format!("{}: expected a socket or no file", at(&other))),
        (
            vec![&*unix(&open.with_file_name("a.sock"))],
            "other users can write to the folder (mode 0777)".to_owned(),
        ),
        (
            vec![&*unix(&below.join("a.sock"))],
            format!("other users can write to `{}` (mode 0777)", open.parent().unwrap().display()),
        ),
        (vec![&*unix(&full)], format!("{}: address already in use", at(&full))),
        (vec!["--decide=unix:/no/such/folder/a.sock"], "a.sock: no such folder".to_owned()),
        (
            vec![&*good, "--decide-user=no such user"],
            "--decide-user no such user: no such user".to_owned(),
        ),
        (
            vec![&*good, "--decide-group=no such group"],
            "--decide-group no such group: no such group".to_owned(),
        ),
        (vec![tcp], "expected a token in --decide-token-file or SIP_AUTHZ_DECIDE_TOKEN".to_owned()),
        (
            vec![tcp, "--decide-token-file", short],
            "a token of at least 16 bytes, found 5".to_owned(),
        ),
        (vec![tcp, "--decide-token-file", readable], "(mode 0644)".to_owned()),
        (
            vec![tcp, "--decide-token-file", "/no/such/file"],
            "/no/such/file: no such file".to_owned(),
        ),
        (vec![tcp, "--decide-user=0"], "--decide-user needs a --decide with `unix:`".to_owned()),
        (
            vec![&*good, "--decide-token-file", short],
            "--decide-token-file needs a --decide with `tcp:` or `http:`".to_owned(),
        ),
        (vec!["--decide=tcp:192.0.2.1:5090"], "expected a loopback address".to_owned()),
        (vec!["--decide=http:192.0.2.1:5091"], "expected a loopback address".to_owned()),
        (
            vec![http],
            "expected a token in --decide-token-file or SIP_AUTHZ_DECIDE_TOKEN".to_owned(),
        ),
        (vec![http, "--decide-token-file", short], "at least 16 bytes, found 5".to_owned()),
        (vec!["--decide-user=0"], "--decide".to_owned()),
    ] {
        let base = ["serve", "--demo", "--sip=127.0.0.1:0", "--api=127.0.0.1:0"];
        let (code, _, errors) = outcome(&run(&[&base[..], &args].concat()));
        assert_eq!(code, Some(2), "{args:?}: {errors}");
        assert!(errors.contains(&expected), "{args:?}: {errors}");
    }
    assert!(!folder.exists() && in_use.exists() && full.exists());
    drop((used, stopped, waiting));
}
