//! Streams of decisions over sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::ending::GAVE_UP;
use crate::http::Http;
use crate::support::{ADMIN_TOKEN, Caller, PATIENCE, Request, Server, status};

/// A server whose requests may take a second.
fn hasty() -> Server {
    Server::start(&["--on-accept", "ok", "--api-request-timeout", "1s"])
}

/// A client of a stream, and the text that came.
struct Follower {
    stream: TcpStream,
    text: String,
}

impl Follower {
    fn start(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let pair = BASE64_STANDARD.encode(format!("admin:{ADMIN_TOKEN}"));
        let head = "GET /v1/Decisions/Stream?Reason=unknown-host HTTP/1.1\r\nHost: a\r\n";
        stream.write_all(format!("{head}Authorization: Basic {pair}\r\n\r\n").as_bytes()).unwrap();
        let mut follower = Self { stream, text: String::new() };
        follower.wait_for("\r\n\r\n");
        follower
    }

    fn code(&self) -> &str {
        self.text.split(' ').nth(1).unwrap()
    }

    fn wait_for(&mut self, part: &str) {
        let mut buffer = [0; 4_096];
        while !self.text.contains(part) {
            let length = self.stream.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "ended before {part:?}: {}", self.text);
            self.text.push_str(str::from_utf8(&buffer[..length]).unwrap());
        }
    }
}

fn refused(server: &Server, host: &str) {
    let invite = Request::invite(&format!("sip:1@{host}")).text();
    assert_eq!(status(&Caller::new(server).ask(&invite)), 404);
}

#[test]
fn a_stream_outlives_the_time_of_a_request_and_ends_with_the_program() {
    let server = hasty();
    let mut follower = Follower::start(&server);
    assert_eq!(follower.code(), "200", "{}", follower.text);
    assert!(follower.text.contains("content-type: text/event-stream\r\n"), "{}", follower.text);
    refused(&server, "first.example.com");
    follower.wait_for("\"host\":\"first.example.com\"");
    // longer than a request may take
    std::thread::sleep(Duration::from_millis(1_500));
    refused(&server, "second.example.com");
    follower.wait_for("\"host\":\"second.example.com\"");
    let stderr = server.stderr.clone();
    server.end("TERM");
    follower.wait_for("\r\n0\r\n\r\n");
    let gave_up = stderr.all().into_iter().find(|line| line.contains(GAVE_UP));
    assert_eq!(gave_up, None, "the program waited for a stream");
}

#[test]
fn a_caller_follows_a_bounded_number_of_streams() {
    let server = hasty();
    let mut followers = Vec::new();
    let refusal = loop {
        let mut follower = Follower::start(&server);
        if follower.code() != "200" {
            follower.wait_for("}");
            break follower;
        }
        followers.push(follower);
        assert!(followers.len() < 100, "no limit");
    };
    assert_eq!(refusal.code(), "429");
    assert!(refusal.text.contains("\"code\":20429"), "{}", refusal.text);
    assert!(!followers.is_empty());
    // lists are no streams
    assert_eq!(Http::admin(&server).get("/v1/Decisions").0, 200);
    followers.clear();
    let start = Instant::now();
    while Follower::start(&server).code() != "200" {
        assert!(start.elapsed() < PATIENCE, "closed streams count");
        std::thread::sleep(Duration::from_millis(20));
    }
}
