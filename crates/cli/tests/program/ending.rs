//! The end of the program under load: open HTTP requests, the store, and callers that keep calling.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::Http;
use crate::support::{ADMIN_TOKEN, Caller, Lines, PATIENCE, Request, Server, file, status};

const ACCOUNT: &str = "FriendlyName=under+way";
const RECORDS: &str = "{\"format\":\"sip-authz/1\"}";
const WAITS: &str = "sip-authz: waiting up to 10 s for open HTTP requests; a second signal stops \
                     the program at once";
/// The end of the grace period with open requests.
pub(crate) const GAVE_UP: &str = "HTTP requests are still open";

/// A request whose head the server has read, and whose body it waits for.
struct OpenRequest {
    stream: BufReader<TcpStream>,
}

impl OpenRequest {
    fn new(server: &Server, path: &str, kind: &str, length: usize) -> Self {
        let stream = TcpStream::connect(server.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let password = BASE64_STANDARD.encode(format!("admin:{ADMIN_TOKEN}"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {password}\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        (&stream).write_all(head.as_bytes()).unwrap();
        let mut it = Self { stream: BufReader::new(stream) };
        // the server sends it when it wants the body (RFC 9110 §10.1.1)
        assert_eq!(it.line(), "HTTP/1.1 100 Continue\r\n");
        assert_eq!(it.line(), "\r\n");
        it
    }

    fn account(server: &Server) -> Self {
        let kind = "application/x-www-form-urlencoded";
        Self::new(server, "/2010-04-01/Accounts.json", kind, ACCOUNT.len())
    }

    fn import(server: &Server) -> Self {
        Self::new(server, "/admin/import", "application/json", RECORDS.len())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    /// Sends the body and returns the status line. Checks that the server closes the connection.
    fn finish(mut self, body: &str) -> String {
        self.stream.get_mut().write_all(body.as_bytes()).unwrap();
        let line = self.line();
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("connection: close\r\n"), "{rest}");
        line
    }
}

fn decides(server: &Server) {
    let invite = Request::invite("sip:1@nowhere.example").text();
    assert_eq!(status(&Caller::new(server).ask(&invite)), 404);
}

#[test]
fn open_requests_are_answered_and_calls_meanwhile() {
    let folder = file("unused", "").with_file_name("data");
    let args = ["--data", folder.to_str().unwrap(), "--on-accept", "ok"];
    let server = Server::start(&args);
    let mut idle = TcpStream::connect(server.api).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(idle.read(&mut [0; 1_024]).unwrap().min(1), 1);
    let (account, import) = (OpenRequest::account(&server), OpenRequest::import(&server));

    server.signal("TERM");
    assert_eq!(server.stderr.wait_for("waiting up to"), WAITS);
    assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0, "an idle connection is closed");
    let error = TcpStream::connect(server.api).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    decides(&server);
    assert_eq!(import.finish(RECORDS), "HTTP/1.1 200 OK\r\n");
    assert_eq!(account.finish(ACCOUNT), "HTTP/1.1 201 Created\r\n");
    server.ended();
    // the database was closed, so no write-ahead log is left
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
    let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["forward.keys", "lock", "sip-authz.db"]);

    let server = Server::start(&args);
    let (code, page) = Http::admin(&server).get("/2010-04-01/Accounts.json");
    assert_eq!((code, page["accounts"][0]["friendly_name"].as_str()), (200, Some("under way")));
    server.end("TERM");
}

#[test]
fn a_second_signal_ends_it_without_the_open_requests() {
    for open in [OpenRequest::account, OpenRequest::import] {
        let server = Server::start(&["--on-accept", "ok"]);
        let mut request = open(&server);
        server.signal("TERM");
        server.stderr.wait_for("waiting up to");
        let stderr = server.stderr.clone();
        server.end("INT");
        let mut rest = String::new();
        let _ = request.stream.read_to_string(&mut rest);
        assert_eq!(rest, "");
        let lines = stderr.all();
        let faults = ["panicked", GAVE_UP];
        assert!(!faults.iter().any(|fault| lines.concat().contains(fault)), "{lines:?}");
    }
}

#[test]
fn it_ends_under_overload() {
    let server = Server::start(&["--on-accept", "ok", "--udp-workers", "1"]);
    let (address, stop, start) = (server.address, AtomicBool::new(false), Instant::now());
    let long = "X-Long: x\r\n".repeat(300);
    let text = Request::invite("sip:1@nowhere.example").text();
    let datagram = text.replacen("\r\n", &format!("\r\n{long}"), 1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                // ends also if the server does not
                while !stop.load(Ordering::Relaxed) && start.elapsed() < 3 * PATIENCE {
                    // fails once the server has gone
                    let _ = socket.send_to(datagram.as_bytes(), address);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        // fails if it takes too long
        server.end("TERM");
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn without_open_requests_it_ends_without_the_grace_period() {
    let server = Server::start(&["--on-accept", "ok"]);
    // an unused connection does not count
    let _idle = TcpStream::connect(server.api).unwrap();
    assert_eq!(Http::admin(&server).get("/health").0, 200);
    let stderr = server.stderr.clone();
    server.end("TERM");
    assert!(!stderr.all().concat().contains(GAVE_UP), "{:?}", stderr.all());
}

#[test]
fn it_ends_with_a_blocked_stdout() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sip-authz"));
    command.args(["serve", "--sip", "127.0.0.1:0", "--api", "127.0.0.1:0", "--on-accept", "ok"]);
    command.args(["--decision-log", "-", "--decision-log-rate", "unlimited"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let stderr = Lines::of(child.stderr.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let address: SocketAddr = line.split(' ').nth(4).unwrap().parse().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..1_500 {
        let invite = Request::invite("sip:1@nowhere.example").text();
        socket.send_to(invite.as_bytes(), address).unwrap();
        // each decision is a line of some 150 bytes, and a pipe holds 65,536
        socket.recv(&mut [0; 2_048]).unwrap();
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    stderr.wait_for("the totals could not be written: stdout is blocked");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdout);
}
