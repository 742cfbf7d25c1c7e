//! Connections over a pipe in memory, on a clock that the tests drive. No thread decides, so requests
//! wait, unless the connection decides by itself.

use sip_authz_decide::engine::overloaded;
use sip_authz_decide::{Hello, RequestWriter};
use tokio::io::{DuplexStream, duplex};

use super::requests::MAX_OPEN;
use super::*;
use crate::decide::queue::Job;
use crate::decide::shared::testing::{TOKEN, shared};
use crate::decide::worker::Worker;

/// A client of a connection, whose buffers hold `room` bytes in each direction.
struct Client {
    stream: DuplexStream,
    received: Vec<u8>,
}

impl Client {
    fn new(shared: &Arc<Shared>, room: usize, entry: Entry) -> Self {
        let (near, stream) = duplex(room);
        let shared = Arc::clone(shared);
        tokio::spawn(async move { serve(shared, near, entry, "tcp:test".into()).await });
        Self { stream, received: Vec::new() }
    }

    async fn greeted(shared: &Arc<Shared>, room: usize) -> Self {
        let mut client = Self::new(shared, room, Entry::Token);
        client.hello(Some(TOKEN)).await;
        assert!(client.next().await.unwrap().starts_with("Welcome"));
        client
    }

    async fn hello(&mut self, token: Option<&str>) {
        let mut bytes = Vec::new();
        Hello::new(token.map(str::as_bytes)).encode(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The `Debug` of the next frame; none at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((frame, length)) = split(&self.received).unwrap() {
                let frame = format!("{:?}", Frame::decode(frame).unwrap());
                self.received.drain(..length);
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.received).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// The code of the goodbye that must follow, and the end of the stream.
    async fn goodbye(&mut self) -> GoodbyeCode {
        let all = [
            GoodbyeCode::Malformed,
            GoodbyeCode::Version,
            GoodbyeCode::Token,
            GoodbyeCode::User,
            GoodbyeCode::TooMany,
            GoodbyeCode::TooLong,
            GoodbyeCode::TooSlow,
            GoodbyeCode::End,
        ];
        let frame = self.next().await.expect("a goodbye");
        let code = all.into_iter().find(|code| frame.contains(&format!("code: {code:?},")));
        assert_eq!(self.next().await, None);
        code.unwrap_or_else(|| panic!("{frame}"))
    }
}

fn request(id: u64, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let source = "192.0.2.1:5060".parse().unwrap();
    RequestWriter::new(&mut bytes, id, "udp", source).message(message).end().unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_client_without_the_token_is_refused() {
    let (shared, _end) = shared(9);
    for token in [None, Some(""), Some("another token"), Some("a token of the test")] {
        let mut client = Client::new(&shared, 999, Entry::Token);
        client.hello(token).await;
        assert_eq!(client.goodbye().await, GoodbyeCode::Token, "{token:?}");
    }
    // a request is no hello
    let mut client = Client::new(&shared, 999, Entry::Token);
    client.stream.write_all(&request(1, b"INVITE")).await.unwrap();
    assert_eq!(client.goodbye().await, GoodbyeCode::Malformed);
    Client::greeted(&shared, 999).await;
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_user_that_is_not_listed_is_refused_before_a_byte_is_read() {
    let (shared, _end) = shared(9);
    for user in [None, Some(33)] {
        let mut client = Client::new(&shared, 999, Entry::Refused(user));
        assert_eq!(client.goodbye().await, GoodbyeCode::User);
    }
    // a listed user needs no token
    let mut client = Client::new(&shared, 999, Entry::Allowed);
    client.hello(None).await;
    assert!(client.next().await.unwrap().starts_with("Welcome"));
}

#[tokio::test(start_paused = true)]
async fn another_version_is_refused() {
    let (shared, _end) = shared(9);
    let mut client = Client::new(&shared, 999, Entry::Token);
    let mut hello = Hello::new(Some(TOKEN.as_bytes()));
    hello.versions = 2..=9;
    let mut bytes = Vec::new();
    hello.encode(&mut bytes).unwrap();
    client.stream.write_all(&bytes).await.unwrap();
    assert_eq!(client.goodbye().await, GoodbyeCode::Version);
}

#[tokio::test(start_paused = true)]
async fn there_is_a_limit_of_connections() {
    let (shared, _end) = shared(9);
    let first = Client::greeted(&shared, 999).await;
    let mut second = Client::new(&shared, 999, Entry::Token);
    second.hello(Some(TOKEN)).await;
    assert_eq!(second.goodbye().await, GoodbyeCode::TooMany);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn silent_strangers_keep_no_client_out() {
    let (shared, _end) = shared(9);
    let start = Instant::now();
    let mut strangers: Vec<_> = (0..5).map(|_| Client::new(&shared, 999, Entry::Token)).collect();
    tokio::task::yield_now().await;
    let _client = Client::greeted(&shared, 999).await;
    // the oldest made room, and the first two got a goodbye
    for stranger in &mut strangers[..2] {
        assert_eq!(stranger.goodbye().await, GoodbyeCode::TooMany);
    }
    for stranger in &mut strangers[2..4] {
        assert_eq!(stranger.next().await, None);
    }
    assert!(start.elapsed() < TIMES.hello);
    // the last one has its time
    assert_eq!(strangers[4].goodbye().await, GoodbyeCode::TooSlow);
    assert_eq!(start.elapsed().as_secs(), TIMES.hello.as_secs());
}

#[tokio::test(start_paused = true)]
async fn few_refused_connections_wait_for_their_end() {
    let (shared, _end) = shared(9);
    let mut refused = Vec::new();
    for _ in 0..9 {
        let mut client = Client::new(&shared, 999, Entry::Token);
        client.hello(None).await;
        refused.push(client);
    }
    tokio::task::yield_now().await;
    let mut told = 0;
    for client in &mut refused {
        told += usize::from(client.next().await.is_some());
    }
    assert_eq!(told, 2);
    // clients that stay do not take the places for long
    tokio::time::sleep(LINGER).await;
    let mut client = Client::new(&shared, 999, Entry::Token);
    client.hello(None).await;
    assert_eq!(client.goodbye().await, GoodbyeCode::Token);
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_ends_the_connection_in_time() {
    let (shared, _end) = shared(9);
    let start = Instant::now();
    let mut client = Client::new(&shared, 999, Entry::Token);
    client.stream.write_all(b"\0\0").await.unwrap();
    assert_eq!(client.goodbye().await, GoodbyeCode::TooSlow);
    assert_eq!(start.elapsed().as_secs(), TIMES.hello.as_secs());
    let mut client = Client::greeted(&shared, 999).await;
    // silence alone is no error
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    let start = Instant::now();
    client.stream.write_all(&request(1, b"INVITE")[..9]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    client.stream.write_all(b"\0").await.unwrap();
    assert_eq!(client.goodbye().await, GoodbyeCode::TooSlow);
    assert_eq!(start.elapsed().as_secs(), TIMES.frame.as_secs());
}

#[tokio::test(start_paused = true)]
async fn frames_with_errors_end_the_connection() {
    let (shared, _end) = shared(9);
    let mut other_transport = Vec::new();
    let source = "192.0.2.1:5060".parse().unwrap();
    let writer = RequestWriter::new(&mut other_transport, 1, "dccp", source);
    writer.message(b"").end().unwrap();
    let mut hello = Vec::new();
    Hello::new(None).encode(&mut hello).unwrap();
    for (bytes, code) in [
        (&b"\0\x02\0\x01"[..], GoodbyeCode::TooLong),
        (b"GET / HTTP/1.1\r\n\r\n", GoodbyeCode::TooLong),
        (b"\0\0\0\0", GoodbyeCode::Malformed),
        (b"\0\0\0\x01\x03", GoodbyeCode::Malformed),
        (b"\0\0\0\x01\x07", GoodbyeCode::Malformed),
        (&other_transport, GoodbyeCode::Malformed),
        (&hello, GoodbyeCode::Malformed),
    ] {
        let mut client = Client::greeted(&shared, 9_999).await;
        client.stream.write_all(bytes).await.unwrap();
        assert_eq!(client.goodbye().await, code, "{bytes:?}");
        // the end of the task gives its place back
        drop(client);
        while shared.connections.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// The number of requests in the queue.
fn queued(shared: &Shared) -> usize {
    let mut jobs = Vec::new();
    shared.queue.close();
    while shared.queue.take(&mut jobs, 9_999) {}
    jobs.len()
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_too_many_open_requests_is_not_read() {
    let (shared, _end) = shared(4_096);
    let mut client = Client::greeted(&shared, 999).await;
    let flood = async {
        for id in 0.. {
            client.stream.write_all(&request(id, b"INVITE")).await.unwrap();
        }
    };
    // the clock moves on only once nothing else can
    assert!(timeout(Duration::from_secs(1), flood).await.is_err());
    assert_eq!(queued(&shared), MAX_OPEN as usize);
}

#[tokio::test(start_paused = true)]
async fn long_requests_take_several_places() {
    let (shared, _end) = shared(4_096);
    let mut client = Client::greeted(&shared, 999).await;
    let flood = async {
        for id in 0.. {
            client.stream.write_all(&request(id, &[b'x'; 60_000])).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(1), flood).await.is_err());
    assert_eq!(queued(&shared), MAX_OPEN as usize / 15);
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_the_limit_of_all_is_answered_as_overloaded() {
    let (shared, _end) = shared(2);
    let mut client = Client::greeted(&shared, 9_999).await;
    for id in 0..5 {
        client.stream.write_all(&request(id, b"INVITE")).await.unwrap();
    }
    for id in 2..5 {
        let answer = client.next().await.unwrap();
        assert!(
            answer.contains(&format!("id: {id}, outcome: Overloaded, status: Some(503)")),
            "{answer}"
        );
    }
    assert_eq!(queued(&shared), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_closed() {
    for worker in [None, Some(Worker::default())] {
        let (shared, _end) = shared(0);
        *shared.worker.lock().unwrap() = worker;
        let mut client = Client::greeted(&shared, 256).await;
        let start = Instant::now();
        let flood = async {
            let mut id = 0;
            while client.stream.write_all(&request(id, b"INVITE")).await.is_ok() {
                id += 1;
            }
        };
        flood.await;
        let seconds = start.elapsed().as_secs();
        assert!((TIMES.frame.as_secs()..TIMES.frame.as_secs() + 2).contains(&seconds), "{seconds}");
        assert_eq!(shared.connections.available_permits(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_decides_by_itself_while_no_request_waits() {
    let (shared, _end) = shared(4_096);
    *shared.worker.lock().unwrap() = Some(Worker::default());
    let mut client = Client::greeted(&shared, 1 << 20).await;
    let all: Vec<u8> = (0..600).flat_map(|id| request(id, b"INVITE")).collect();
    client.stream.write_all(&all).await.unwrap();
    for id in 0..600 {
        let answer = client.next().await.unwrap();
        assert!(answer.contains(&format!("id: {id}, outcome: Undecided")), "{answer}");
    }
    assert!(shared.queue.is_empty());
    // another connection decides by itself
    let worker = shared.worker.lock().unwrap().take();
    client.stream.write_all(&request(600, b"INVITE")).await.unwrap();
    while shared.queue.is_empty() {
        tokio::task::yield_now().await;
    }
    // requests that wait come first
    *shared.worker.lock().unwrap() = worker;
    client.stream.write_all(&request(601, b"INVITE")).await.unwrap();
    assert!(timeout(Duration::from_secs(1), client.next()).await.is_err());
    assert_eq!(queued(&shared), 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_program_ends_connections() {
    let (shared, end) = shared(9);
    let mut client = Client::greeted(&shared, 999).await;
    let mut stranger = Client::new(&shared, 999, Entry::Token);
    tokio::task::yield_now().await;
    end.send_replace(true);
    assert_eq!(client.goodbye().await, GoodbyeCode::End);
    assert_eq!(stranger.goodbye().await, GoodbyeCode::End);
}

#[tokio::test(start_paused = true)]
async fn all_requests_that_were_read_get_answers_at_the_end_of_the_program() {
    let (shared, end) = shared(4_096);
    let mut client = Client::greeted(&shared, 1 << 20).await;
    let all: Vec<u8> = (0..400).flat_map(|id| request(id, b"INVITE")).collect();
    client.stream.write_all(&all).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    end.send_replace(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // some requests are read and have no place yet
    shared.queue.close();
    let (mut jobs, mut answered) = (Vec::new(), 0);
    while shared.queue.take(&mut jobs, 9_999) {
        for Job { frame, back, .. } in jobs.drain(..) {
            let Ok(Frame::Request(request)) = Frame::decode(&frame) else { panic!("{frame:?}") };
            assert_eq!(request.id, answered);
            back.send(overloaded(request.id));
            answered += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((u64::from(MAX_OPEN) + 1..400).contains(&answered), "{answered}");
    for id in 0..answered {
        let answer = client.next().await.unwrap();
        assert!(answer.contains(&format!("id: {id}, ")), "{answer}");
    }
    assert_eq!(client.goodbye().await, GoodbyeCode::End);
}

#[tokio::test(start_paused = true)]
async fn no_goodbye_follows_half_an_answer() {
    let (shared, _end) = shared(0);
    let mut client = Client::greeted(&shared, 50).await;
    for id in 0..3 {
        client.stream.write_all(&request(id, b"INVITE")).await.unwrap();
    }
    tokio::time::sleep(TIMES.frame + Duration::from_secs(1)).await;
    // the stream ends within the first answer
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), 50);
    assert_eq!(split(&rest).unwrap(), None);
}
