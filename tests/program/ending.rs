//! What becomes of HTTP requests that are under way when the program is told to end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::Http;
use crate::support::{ADMIN_TOKEN, Caller, Request, Server, file, status};

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
