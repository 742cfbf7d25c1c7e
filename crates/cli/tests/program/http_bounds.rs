//! Slow, numerous and malformed clients of the HTTP server, over plain sockets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::Http;
use crate::support::{ADMIN_TOKEN, Caller, PATIENCE, Request, Server, status};

const GET: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

fn serve(more: &[&str]) -> Server {
    Server::start(&[&["--on-accept", "ok"], more].concat())
}

/// A server with time limits of one second.
fn hasty(more: &[&str]) -> Server {
    serve(&[&["--api-head-timeout", "1s", "--api-request-timeout", "1s"], more].concat())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads until the connection is closed; returns the text.
fn rest(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let open = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    assert!(!open, "still open after {:?}", String::from_utf8_lossy(&bytes));
    String::from_utf8(bytes).unwrap()
}

/// Reads the next answer, head and body.
fn answer(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{:?}", String::from_utf8_lossy(&bytes));
        bytes.extend(byte);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                return text.into_owned();
            }
        }
    }
}

/// Sends bytes slowly until the connection is closed; returns the received text.
fn trickle(stream: &TcpStream, bytes: impl Iterator<Item = u8>) -> String {
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut came = Vec::new();
    for byte in bytes {
        let _ = (&*stream).write_all(&[byte]);
        let mut buffer = [0; 1_024];
        match (&*stream).read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => came.extend(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        assert!(start.elapsed() < PATIENCE, "still open");
    }
    String::from_utf8(came).unwrap()
}

fn code(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap().parse().unwrap()
}

fn authorization() -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("admin:{ADMIN_TOKEN}")))
}

/// The head of a form for a new account.
fn form(more: &str) -> String {
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    format!(
        "POST /2010-04-01/Accounts.json HTTP/1.1\r\nHost: a\r\n{}{kind}{more}\r\n",
        authorization()
    )
}

/// The number of accounts.
fn accounts(server: &Server) -> usize {
    let (code, page) = Http::admin(server).get("/2010-04-01/Accounts.json");
    assert_eq!(code, 200, "{page}");
    page["accounts"].as_array().unwrap().len()
}

fn decides(server: &Server) {
    let invite = Request::invite("sip:1@nowhere.example").text();
    assert_eq!(status(&Caller::new(server).ask(&invite)), 404);
}

#[test]
fn heads_are_bounded_in_size() {
    let server = serve(&[]);
    let long = "x".repeat(70_000);
    for (head, expected) in [
        (format!("GET /health HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), vec![431]),
        (format!("GET /health HTTP/1.1\r\nHost: a\r\nX: {long}{long}"), vec![431]),
        (format!("GET /health?{long} HTTP/1.1\r\nHost: a\r\n\r\n"), vec![414, 431]),
        (format!("GET /health HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200)), vec![431]),
        (long.clone(), vec![400, 431]),
    ] {
        let stream = connect(server.api);
        // the server may close the connection during the write
        let _ = (&stream).write_all(head.as_bytes());
        let mut came = [0; 12];
        (&stream).read_exact(&mut came).unwrap();
        let came = String::from_utf8(came.to_vec()).unwrap();
        assert!(expected.contains(&code(&came)), "{came} to {head:.80}");
    }
    // a head below the limit is served
    let stream = connect(server.api);
    let fits = "x".repeat(60_000);
    (&stream)
        .write_all(GET.replace("\r\n\r\n", &format!("\r\nX: {fits}\r\n\r\n")).as_bytes())
        .unwrap();
    assert_eq!(code(&answer(&stream)), 200);
}

#[test]
fn slow_heads_and_idle_connections_are_closed() {
    let server = hasty(&["--metrics", "127.0.0.1:0"]);
    let scrapes = crate::metrics::address(&server.stdout);
    let scrapes = scrapes.split('/').nth(2).unwrap().parse().unwrap();
    std::thread::scope(|scope| {
        for address in [server.api, scrapes] {
            scope.spawn(move || after_a_second(|| rest(&connect(address))));
            let head = GET.bytes().take(GET.len() - 2).chain(std::iter::repeat(b'x'));
            scope.spawn(move || after_a_second(|| trickle(&connect(address), head)));
            scope.spawn(move || {
                after_a_second(|| {
                    loop {
                        let kept = connect(address);
                        let is_sent = (&kept).write_all(GET.as_bytes()).is_ok();
                        // on a slow machine the limit can end before the request is read
                        if is_sent && matches!(kept.peek(&mut [0]), Ok(1)) {
                            assert!([200, 404].contains(&code(&answer(&kept))));
                            return rest(&kept);
                        }
                    }
                });
            });
        }
    });
}

/// Checks that a connection ends after the limit of a second and without an answer. The limit begins during
/// `end`.
#[track_caller]
fn after_a_second(end: impl FnOnce() -> String) {
    let start = Instant::now();
    let came = end();
    let taken = start.elapsed();
    let fits = taken >= Duration::from_secs(1);
    assert!(fits && !came.contains("200"), "{came} after {taken:?}");
}

#[test]
fn a_connection_with_regular_requests_stays_open() {
    let server = hasty(&[]);
    let stays_open = || {
        let mut last = Instant::now();
        let busy = connect(server.api);
        // together longer than the limit
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(300));
            let now = Instant::now();
            let is_sent = (&busy).write_all(GET.as_bytes()).is_ok();
            if !is_sent || !matches!(busy.peek(&mut [0]), Ok(1)) {
                assert!(last.elapsed() >= Duration::from_secs(1), "{:?}", last.elapsed());
                return false;
            }
            assert_eq!(code(&answer(&busy)), 200);
            last = now;
        }
        true
    };
    // a connection counts if the machine was fast enough for its requests
    let start = Instant::now();
    while !stays_open() {
        assert!(start.elapsed() < 10 * PATIENCE, "no request was in time");
    }
}

#[test]
fn a_slow_body_ends_with_its_request() {
    let server = hasty(&[]);
    let body = "FriendlyName=".bytes().chain(std::iter::repeat(b'x'));
    let slow = connect(server.api);
    let start = Instant::now();
    (&slow).write_all(form("Content-Length: 60000\r\n").as_bytes()).unwrap();
    let came = trickle(&slow, body);
    assert_eq!(code(&came), 408);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(accounts(&server), 0);
    // without credentials the server does not read the body, nor wait for it
    let stranger = connect(server.api);
    let head = form("Content-Length: 60000\r\n").replace(&authorization(), "");
    (&stranger).write_all(head.as_bytes()).unwrap();
    assert_eq!(code(&rest(&stranger)), 401);
}

#[test]
fn bodies_are_bounded_however_they_are_sent() {
    let server = serve(&[]);
    let stream = connect(server.api);
    (&stream).write_all(form("Content-Length: 65537\r\n").as_bytes()).unwrap();
    assert_eq!(code(&answer(&stream)), 413);
    let stream = connect(server.api);
    (&stream).write_all(form("Transfer-Encoding: chunked\r\n").as_bytes()).unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..17 {
        let _ = (&stream).write_all(chunk.as_bytes());
    }
    assert_eq!(code(&answer(&stream)), 413);
    // compressed bodies are refused
    let packed = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03s+\xcaL\xcdK\xc9\xa9\xf4K\xccM\xb5\xad\x02\0";
    let stream = connect(server.api);
    let head = form(&format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", packed.len()));
    (&stream).write_all(&[head.as_bytes(), packed].concat()).unwrap();
    assert_eq!(code(&answer(&stream)), 400);
    assert_eq!(accounts(&server), 0);
}

#[test]
fn more_connections_wait_and_calls_do_not() {
    let server = serve(&["--api-connections", "64", "--api-head-timeout", "10m"]);
    let mut idle: Vec<_> = (0..64).map(|_| connect(server.api)).collect();
    let waits = connect(server.api);
    (&waits).write_all(GET.as_bytes()).unwrap();
    decides(&server);
    waits.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = (&waits).read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    // open connections are served
    (&idle[0]).write_all(GET.as_bytes()).unwrap();
    assert_eq!(code(&answer(&idle[0])), 200);
    drop(idle.pop());
    waits.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(code(&answer(&waits)), 200);
    drop((idle, waits));
    assert_eq!(Http::admin(&server).get("/health").0, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = serve(&[]);
    let stream = connect(server.api);
    let paths = ["/health", "/nowhere", "/2010-04-01/Accounts.json"];
    let all: String = (0..60).map(|n| GET.replace("/health", paths[n % 3])).collect();
    (&stream).write_all(all.as_bytes()).unwrap();
    for n in 0..60 {
        assert_eq!(code(&answer(&stream)), [200, 404, 401][n % 3]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_reads_no_answers_loses_the_connection() {
    let server = hasty(&["--api-connections", "1"]);
    let greedy = connect(server.api);
    greedy.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // the answers are a hundred times larger than the requests, so both buffers fill up
    let asks = GET.replace("/health", "/openapi.json").repeat(100);
    let start = Instant::now();
    while (&greedy).write_all(asks.as_bytes()).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the buffers never filled up");
    }
    // the only permit is free again
    let next = connect(server.api);
    (&next).write_all(GET.as_bytes()).unwrap();
    assert_eq!(code(&answer(&next)), 200);
    decides(&server);
}

#[test]
fn ambiguous_requests_cannot_smuggle_another() {
    let server = serve(&[]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = smuggled.len();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let heads = [
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: {length} 0\r\n"),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 18446744073709551617\r\n".to_owned(),
        format!("Content-Length : {length}\r\n"),
        format!("X: y\r\n Content-Length: {length}\r\n"),
        "Transfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "X: a\0b\r\n".to_owned(),
    ];
    let send = |more: &str, body: String| {
        let stream = connect(server.api);
        let _ = (&stream).write_all(format!("{}{body}", form(more)).as_bytes());
        let came = rest(&stream);
        assert_eq!(came.matches("HTTP/1.1 ").count(), 1, "{more}: {came}");
        code(&came)
    };
    let ended = || format!("0\r\n\r\n{smuggled}");
    for more in heads {
        let code = send(&more, ended());
        assert!((400..500).contains(&code), "{more}: {code}");
    }
    assert_eq!(accounts(&server), 0);
    // Transfer-Encoding overrides Content-Length, and the bytes after the chunks are no request
    let twice = format!("Content-Length: {length}\r\n");
    for more in [format!("{twice}{chunked}"), format!("{chunked}{twice}")] {
        assert_eq!(send(&more, ended()), 201, "{more}");
    }
    assert_eq!(accounts(&server), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn idle_sip_connections_leave_files_for_http() {
    // half of the usual limit, so that this process has enough for its own sockets
    let server = Server::start_with_files(512, &["--on-accept", "ok"]);
    let mut idle: Vec<_> = (0..600).map(|_| connect(server.address)).collect();
    // connections are accepted in order, so an answer on the last one shows that all were accepted
    let last = idle.last_mut().unwrap();
    last.write_all(Request::new("OPTIONS", "sip:a").text().as_bytes()).unwrap();
    let mut came = [0; 12];
    last.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"SIP/2.0 200 ");
    assert_eq!(Http::admin(&server).get("/health").0, 200);
    decides(&server);
}
