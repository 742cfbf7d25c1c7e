//! Connections over a pipe in memory, on a clock that the tests drive. No thread decides, so requests wait.

use sip_authz_decide::{AnswerWriter, Frame, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;

use super::super::shared::testing::{TOKEN, shared};
use super::*;

/// A client of a connection.
struct Peer(DuplexStream);

impl Peer {
    fn new(shared: &Arc<Shared>) -> Self {
        let (near, stream) = duplex(1 << 20);
        tokio::spawn(serve_within(Arc::clone(shared), near, "http:test".into(), TIMES));
        Self(stream)
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The status and the body of the next response; none at the end of the stream.
    async fn next(&mut self) -> Option<(u16, String)> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8(bytes.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
                if body.len() == length.unwrap().parse::<usize>().unwrap() {
                    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
                    return Some((status, body.to_owned()));
                }
            }
            let mut byte = [0];
            if self.0.read(&mut byte).await.unwrap() == 0 {
                assert_eq!(text, "");
                return None;
            }
            bytes.extend(byte);
        }
    }

    async fn status(&mut self) -> u16 {
        self.next().await.unwrap().0
    }
}

/// A request with this token, whose body has one byte more than is sent for each of `missing`.
fn request(token: &str, missing: usize) -> String {
    let body = "INVITE sip:a SIP/2.0\r\n\r\n";
    format!(
        "POST /v1/decide?transport=UDP&source=192.0.2.7:5060 HTTP/1.1\r\nHost: a\r\n\
         Authorization: Bearer {token}\r\nContent-Type: message/sip\r\nContent-Length: {}\r\n\r\n{body}",
        body.len() + missing
    )
}

/// Answers the next request that waits.
async fn answer_next(shared: &Arc<Shared>, outcome: Outcome) {
    let queue = Arc::clone(&shared.queue);
    let taken = tokio::task::spawn_blocking(move || {
        let mut jobs = Vec::new();
        queue.take(&mut jobs, 1);
        jobs.pop().unwrap()
    });
    let job = taken.await.unwrap();
    assert!(matches!(Frame::decode(&job.frame), Ok(Frame::Request(_))), "{:?}", job.frame);
    let mut bytes = Vec::new();
    AnswerWriter::new(&mut bytes, question::ID, outcome).end().unwrap();
    job.back.send(bytes);
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_one_request_after_the_other() {
    let (shared, _end) = shared(4);
    let mut peer = Peer::new(&shared);
    for (outcome, name) in [(Outcome::Accept, "accept"), (Outcome::Reject, "reject")] {
        peer.send(&request(TOKEN, 0)).await;
        answer_next(&shared, outcome).await;
        let expected = format!("{{\"outcome\":\"{name}\"}}\n");
        assert_eq!(peer.next().await, Some((200, expected)));
    }
    // only the connection has a place
    assert_eq!(shared.connections.available_permits(), 0);
    assert_eq!(shared.waiting.available_permits(), 4);
    drop(peer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shared.connections.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_token_comes_before_everything_else() {
    let (shared, _end) = shared(4);
    for (line, head, status) in [
        ("GET /", "", 401),
        ("POST /v1/decide", "", 401),
        ("POST /v1/decide", "Authorization: Bearer\r\n", 401),
        ("POST /v1/decide", "Authorization: Bearer \r\n", 401),
        ("POST /v1/decide", "Authorization: Basic a token of the tests\r\n", 401),
        ("POST /v1/decide", "Authorization: Bearer a token of the test\r\n", 401),
        ("POST /v1/decide", "Authorization: Bearer a token of the tests, x\r\n", 401),
        (
            "POST /v1/decide",
            "Authorization: Bearer a token of the tests\r\nAuthorization: Bearer x\r\n",
            401,
        ),
        ("GET /", "authorization: bearer  a token of the tests\r\n", 404),
        ("POST /v1/decide/", "authorization: bearer a token of the tests\r\n", 404),
        ("GET /v1/decide", "authorization: bearer a token of the tests\r\n", 405),
        ("POST /v1/decide", "authorization: bearer a token of the tests\r\n", 415),
    ] {
        let mut peer = Peer::new(&shared);
        peer.send(&format!("{line} HTTP/1.1\r\nHost: a\r\n{head}Content-Length: 0\r\n\r\n")).await;
        let (found, body) = peer.next().await.unwrap();
        assert_eq!(found, status, "{line} {head}");
        assert!(body.starts_with("{\"outcome\":\"error\",\"error\":\""), "{body}");
        assert_eq!(peer.next().await, None, "{line} {head}");
    }
    assert_eq!(shared.waiting.available_permits(), 4);
}

#[tokio::test(start_paused = true)]
async fn with_too_many_requests_the_answer_is_overloaded_and_no_success() {
    let (shared, _end) = shared(0);
    let mut peer = Peer::new(&shared);
    for _ in 0..2 {
        peer.send(&request(TOKEN, 0)).await;
        let (status, body) = peer.next().await.unwrap();
        assert_eq!(status, 503);
        assert!(body.starts_with("{\"outcome\":\"overloaded\",\"status\":503,"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_strangers_keep_no_client_out() {
    let (shared, _end) = shared(4);
    let started = Instant::now();
    let mut strangers = [Peer::new(&shared), Peer::new(&shared)];
    tokio::time::sleep(Duration::from_secs(1)).await;
    // half a head is no request
    strangers[1].send("POST /v1/decide HTTP/1.1\r\n").await;
    let mut peer = Peer::new(&shared);
    peer.send(&request(TOKEN, 0)).await;
    answer_next(&shared, Outcome::Accept).await;
    assert_eq!(peer.status().await, 200);
    let [mut first, mut second] = strangers;
    assert_eq!(first.next().await, None);
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    assert_eq!(second.next().await, None);
    assert_eq!(started.elapsed(), TIMES.first);
    // a client with the token is no stranger, and may be silent for longer
    let before = Instant::now();
    assert_eq!(peer.next().await, None);
    assert!(before.elapsed() >= TIMES.idle - TIMES.first, "{:?}", before.elapsed());
    // further connections than places
    let (mut one, mut other) = (Peer::new(&shared), Peer::new(&shared));
    one.send(&request(TOKEN, 0)).await;
    answer_next(&shared, Outcome::Accept).await;
    assert_eq!(one.status().await, 200);
    other.send(&request(TOKEN, 0)).await;
    let (status, body) = other.next().await.unwrap();
    assert_eq!((status, body.contains("too many connections")), (503, true));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_late_or_too_long_is_an_error() {
    let (shared, _end) = shared(4);
    let mut peer = Peer::new(&shared);
    let before = Instant::now();
    peer.send(&request(TOKEN, 1)).await;
    assert_eq!(peer.status().await, 408);
    assert!(before.elapsed() >= TIMES.body, "{:?}", before.elapsed());
    assert_eq!(peer.next().await, None);
    // announced, and without a length
    let mut peer = Peer::new(&shared);
    peer.send(&request(TOKEN, MAX_FRAME)).await;
    assert_eq!(peer.status().await, 413);
    let mut peer = Peer::new(&shared);
    let head = request(TOKEN, 0).replace("Content-Length: 24", "Transfer-Encoding: chunked");
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    peer.send(&format!("{head}\r\n\r\n20001\r\n{}\r\n", "x".repeat(0x20001))).await;
    assert_eq!(peer.status().await, 413);
    assert_eq!(shared.waiting.available_permits(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_answer_is_lost_gets_an_error() {
    let (shared, _end) = shared(4);
    let mut peer = Peer::new(&shared);
    peer.send(&request(TOKEN, 0)).await;
    // as by a thread that panics
    let queue = Arc::clone(&shared.queue);
    let taken = tokio::task::spawn_blocking(move || queue.take(&mut Vec::new(), 1));
    assert!(taken.await.unwrap());
    let (status, body) = peer.next().await.unwrap();
    assert_eq!((status, body.as_str()), (500, "{\"outcome\":\"error\",\"error\":\"no answer\"}\n"));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_program_open_requests_get_their_answers() {
    let (shared, end) = shared(4);
    let mut silent = Peer::new(&shared);
    let mut peer = Peer::new(&shared);
    peer.send(&request(TOKEN, 0)).await;
    // it waits
    while shared.waiting.available_permits() == 4 {
        tokio::task::yield_now().await;
    }
    end.send_replace(true);
    assert_eq!(silent.next().await, None);
    answer_next(&shared, Outcome::Accept).await;
    assert_eq!(peer.status().await, 200);
    assert_eq!(peer.next().await, None);
}
