//! The program is told to end while it has much to do: what becomes of HTTP requests that are under way,
//! of the store, and of callers that go on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::Http;
use crate::support::{ADMIN_TOKEN, Caller, Lines, Request, Server, file, status};

const PATIENCE: Duration = Duration::from_secs(8);
const ACCOUNT: &str = "FriendlyName=under+way";
const RECORDS: &str = "{\"format\":\"sip-authz/1\"}";
const WAITS: &str = "sip-authz: ending once the HTTP requests under way are answered, in 10 s at \
                     most; another signal ends it at once";

/// A request whose head was read, and whose body is being waited for.
struct UnderWay {
    stream: BufReader<TcpStream>,
}

impl UnderWay {
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
        // sent when the body is first asked for (RFC 9110 §10.1.1)
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

    /// Sends the body; the first line of the answer, behind which the connection is closed.
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
fn they_are_answered_and_kept_and_calls_are_answered_meanwhile() {
    let folder = file("unused", "").with_file_name("data");
    let args = ["--data", folder.to_str().unwrap(), "--on-accept", "ok"];
    let server = Server::start(&args);
    let mut idle = TcpStream::connect(server.api).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(idle.read(&mut [0; 1_024]).unwrap().min(1), 1);
    let (account, import) = (UnderWay::account(&server), UnderWay::import(&server));

    server.signal("TERM");
    assert_eq!(server.stderr.wait_for("ending once"), WAITS);
    assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0, "what asks nothing is closed");
    let error = TcpStream::connect(server.api).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    decides(&server);
    assert_eq!(import.finish(RECORDS), "HTTP/1.1 200 OK\r\n");
    assert_eq!(account.finish(ACCOUNT), "HTTP/1.1 201 Created\r\n");
    server.ended();
    // the database was closed, so nothing that was deleted is left in a log
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
    let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["lock", "sip-authz.db"]);

    let server = Server::start(&args);
    let (code, page) = Http::admin(&server).get("/2010-04-01/Accounts.json");
    assert_eq!((code, page["accounts"][0]["friendly_name"].as_str()), (200, Some("under way")));
    server.end("TERM");
}

#[test]
fn another_signal_ends_it_without_them() {
    for under_way in [UnderWay::account, UnderWay::import] {
        let server = Server::start(&["--on-accept", "ok"]);
        let mut request = under_way(&server);
        server.signal("TERM");
        server.stderr.wait_for("ending once");
        let (start, stderr) = (Instant::now(), server.stderr.clone());
        server.end("INT");
        assert!(start.elapsed() < PATIENCE);
        let mut rest = String::new();
        let _ = request.stream.read_to_string(&mut rest);
        assert_eq!(rest, "");
        assert!(!stderr.all().concat().contains("panicked"), "{:?}", stderr.all());
    }
}

/// Callers that go on calling do not keep it from ending.
#[test]
fn it_ends_though_more_comes_than_it_can_answer() {
    let server = Server::start(&["--on-accept", "ok", "--udp-workers", "1"]);
    let (address, stop) = (server.address, AtomicBool::new(false));
    let long = "X-Long: x\r\n".repeat(300);
    let text = Request::invite("sip:1@nowhere.example").text();
    let datagram = text.replacen("\r\n", &format!("\r\n{long}"), 1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    // once nobody listens any more it fails
                    let _ = socket.send_to(datagram.as_bytes(), address);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        let totals = server.end("TERM");
        let took = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        assert!(took < PATIENCE, "{took:?}: {totals}");
    });
}

#[test]
fn without_any_nothing_is_waited_for() {
    let server = Server::start(&["--on-accept", "ok"]);
    // one that was never used, either
    let _idle = TcpStream::connect(server.api).unwrap();
    assert_eq!(Http::admin(&server).get("/health").0, 200);
    let stderr = server.stderr.clone();
    server.end("TERM");
    assert!(!stderr.all().concat().contains("ending"), "{:?}", stderr.all());
}

/// A reader that stopped does not keep it from ending.
#[test]
fn it_ends_though_nobody_reads_its_decision_log() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sip-authz"));
    command.args(["serve", "--sip", "127.0.0.1:0", "--api", "127.0.0.1:0", "--on-accept", "ok"]);
    command.args(["--decision-log", "-"]).stdin(Stdio::null());
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
    stderr.wait_for("nobody takes the totals");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdout);
}
