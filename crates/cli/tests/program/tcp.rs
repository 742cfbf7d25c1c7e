//! Requests and responses over TCP.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::support::{PATIENCE, Request, Server, header, status};

/// The wait before a message is sent again.
#[cfg(unix)]
pub(crate) const SOON: std::time::Duration = std::time::Duration::from_millis(500);

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(server: &Server) -> Self {
        Self::from([127, 0, 0, 1], server.address)
    }

    /// Connects from an address of the loopback network.
    pub(crate) fn from(source: [u8; 4], server: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&server.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, bytes: Vec::new() }
    }

    /// Takes an open connection.
    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, bytes: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads more bytes; returns false at the end of the connection.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 8_192];
        let length = self.stream.read(&mut buffer).unwrap_or(0);
        self.bytes.extend_from_slice(&buffer[..length]);
        length > 0
    }

    pub(crate) fn response(&mut self) -> String {
        self.try_response().unwrap_or_else(|| panic!("closed after {:?}", self.bytes))
    }

    /// The next response; `None` if the connection ends before.
    pub(crate) fn try_response(&mut self) -> Option<String> {
        loop {
            let text = String::from_utf8(self.bytes.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length: usize = header(head, "Content-Length").unwrap().parse().unwrap();
                if body.len() >= length {
                    let whole = head.len() + 4 + length;
                    self.bytes.drain(..whole);
                    return Some(text[..whole].to_owned());
                }
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// The next response, if it arrives soon.
    #[cfg(unix)]
    pub(crate) fn response_soon(&mut self) -> Option<String> {
        self.stream.set_read_timeout(Some(SOON)).unwrap();
        let response = self.try_response();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        response
    }

    /// Whether the server has not closed the connection. Nothing may be on its way.
    pub(crate) fn is_open(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let read = self.stream.read(&mut [0; 1]);
        self.stream.set_nonblocking(false).unwrap();
        matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    pub(crate) fn ask(&mut self, request: &Request) -> String {
        self.send(request.text());
        self.response()
    }

    /// Waits for the end of the connection. Returns false if bytes come first, or nothing does.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(length) => length == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

pub(crate) fn invite(name: &str) -> Request {
    let request = Request::invite(&format!("sip:1@{name}.example"));
    request.via("SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKt;rport;alias")
}

#[test]
fn challenge_and_accept_over_one_connection() {
    let server = Server::demo();
    let password = server.stdout.wait_for("password ").rsplit(' ').next().unwrap().to_owned();
    let mut connection = Connection::open(&server);
    let invite = invite("by-password");
    let challenge = connection.ask(&invite);
    assert_eq!(status(&challenge), 407);
    let answer = connection.ask(&invite.authorized(&challenge, "alice", &password));
    assert_eq!(status(&answer), 200, "{answer}");
    let contact = format!("<sip:1@{};transport=tcp>", server.address);
    assert_eq!(header(&answer, "Contact"), Some(contact));
    let port = connection.stream.local_addr().unwrap().port();
    let via = header(&answer, "Via").unwrap();
    assert!(via.ends_with(&format!(";alias;received=127.0.0.1;rport={port}")), "{via}");
}

#[test]
fn split_and_pipelined_messages_are_answered() {
    let server = Server::demo();
    let mut connection = Connection::open(&server);
    let with_body = invite("by-address").body("application/sdp", "v=0\r\nt=1 2\r\n");
    for byte in with_body.text().bytes() {
        connection.send([byte]);
    }
    assert!(connection.response().contains("t=1 2"));

    let requests: Vec<_> = (0..50).map(|n| invite("by-address").call_id(&n.to_string())).collect();
    let text: String = requests.iter().map(Request::text).collect::<Vec<_>>().join("\r\n");
    connection.send(text);
    for n in 0..50 {
        assert_eq!(header(&connection.response(), "Call-ID"), Some(n.to_string()));
    }
}

#[test]
fn a_keep_alive_is_answered() {
    let server = Server::demo();
    let mut connection = Connection::open(&server);
    connection.send("\r\n\r\n");
    assert!(connection.read());
    assert_eq!(connection.bytes, b"\r\n");
    connection.bytes.clear();
    // a single CRLF is no keep-alive
    connection.send("\r\n");
    assert_eq!(status(&connection.ask(&invite("by-address"))), 200);
    connection.send("\r\n\r");
    connection.send("\n");
    assert!(connection.read());
    assert_eq!(connection.bytes, b"\r\n");
}

#[test]
fn bytes_that_cannot_be_framed_close_only_their_connection() {
    let server = Server::demo();
    let mut other = Connection::open(&server);
    let good = invite("by-address").text();
    for bad in [
        "hello\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "\0\0\0\0\n".to_owned(),
        good.replace("Content-Length: 0\r\n", ""),
        good.replace("Length: 0", "Length: -1"),
        good.replace("Length: 0", "Length: 99999999999999999999"),
        good.replace("Max-Forwards: 70\r\n", "Max-Forwards: 70\n"),
        good.replace("Max-Forwards: 70\r\n", "Content-Length: 1\r\n"),
        "x".repeat(70_000),
        format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(300)),
    ] {
        let mut connection = Connection::open(&server);
        // the server may close the connection during the write
        let _ = connection.stream.write_all(bad.as_bytes());
        if bad.starts_with("INVITE") {
            let expected = if bad.contains("999") { 513 } else { 400 };
            assert_eq!(status(&connection.response()), expected, "{bad:.80}");
        }
        assert!(connection.is_closed(), "{bad:.80}");
    }
    assert_eq!(status(&other.ask(&invite("by-address"))), 200);
    let mut answered_first = Connection::open(&server);
    answered_first.send(format!("{good}garbage\r\n"));
    assert_eq!(status(&answered_first.response()), 200);
    assert!(answered_first.is_closed());
    assert!(server.end("TERM").ends_with("connections closed 11"));
}

/// Lines in which another parser could find a Content-Length, or the end of the head. The request behind
/// such a head is never read, whether it arrives with the head or later.
#[test]
fn case_40_nothing_behind_a_defective_head_is_answered() {
    let server = Server::demo();
    let good = invite("by-address").text();
    let smuggled = invite("by-address").call_id("smuggled").text();
    let length = smuggled.len();
    let with = |line: &str| good.replace("Content-Length", &format!("{line}\r\nContent-Length"));
    let first = |line: &str| good.replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
    let messages = [
        // a fold before the colon
        with(&format!("Content-Length\r\n : {length}")),
        with(&format!("l \r\n\t: {length}")),
        // white space first
        first(&format!(" Content-Length: {length}")),
        first(&format!("\tl: {length}")),
        // a name that is no token
        with(&format!("Content-Length\u{a0}: {length}")),
        with(&format!("\u{feff}Content-Length: {length}")),
        with(&format!("\"Content-Length\": {length}")),
        with(&format!("Content Length: {length}")),
        with(&format!(": {length}")),
        with("no colon"),
        // lines that end otherwise
        with("X: y\n"),
        with("X: y\r\n \t"),
        with("X: y\u{b}"),
        with(&format!("Content-Length: {length}")),
        // a length that is not on the line of its name
        good.replace("Content-Length: ", "Content-Length:\r\n "),
        good.replace("Content-Length: ", "l : \r\n\t"),
        // defects that leave no doubt about the end
        good.replacen(" SIP/2.0\r\n", " SIP/2.0 \r\n", 1),
        good.replace("CSeq: ", "CSeq: x"),
    ];
    for bad in &messages {
        for apart in [false, true] {
            let mut connection = Connection::open(&server);
            if apart {
                connection.send(bad);
                std::thread::sleep(std::time::Duration::from_millis(20));
                // the server may have closed the connection
                let _ = connection.stream.write_all(smuggled.as_bytes());
            } else {
                connection.send(format!("{bad}{smuggled}"));
            }
            assert_eq!(status(&connection.response()), 400, "{bad}");
            assert!(connection.is_closed() && connection.bytes.is_empty(), "{bad}");
        }
    }
    let mut connection = Connection::open(&server);
    connection.send(format!("{}{smuggled}", good.replace("Max-Forwards:", "Max-Forwards \t:")));
    assert_eq!(status(&connection.response()), 200);
    assert_eq!(header(&connection.response(), "Call-ID").as_deref(), Some("smuggled"));
    let totals = server.end("TERM");
    assert!(
        totals.contains(", accepted 2, ") && totals.ends_with("connections closed 36"),
        "{totals}"
    );
}

#[test]
fn nothing_is_sent_to_an_ack_or_a_response() {
    let server = Server::demo();
    let mut connection = Connection::open(&server);
    connection.send(Request::new("ACK", "sip:1@by-address.example").text());
    connection.send("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    connection.send(Request::new("CANCEL", "sip:1@by-address.example").text());
    assert_eq!(status(&connection.ask(&invite("nowhere"))), 404);
}
