//! SIP over TCP and TLS (RFC 3261 §18, RFC 5626 §3.5.1), with limits on the number of connections, the
//! size of messages and the time.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_authz::Transport;
use sip_authz::message::{Frame, MAX_HEAD, frame, skip_keepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::observe::totals::Outcome;
use crate::sip::edge::Edge;
use crate::sip::peer::Peer;
use crate::sip::permits::ConnectionPermits;
use crate::system::secure::Security;

/// The maximum number of connections of a listener. A further one is closed, or evicts another.
pub(crate) const MAX_CONNECTIONS: usize = 1_024;
/// The time limits of a connection.
const TIMES: Times = Times { idle: Duration::from_secs(300), message: Duration::from_secs(32) };
/// The time for which a stream that ends for its content stays half open.
const LINGER: Duration = Duration::from_secs(1);
/// The size of one read in bytes.
const CHUNK: usize = 8_192;

#[derive(Clone, Copy)]
struct Times {
    /// The limit between two messages.
    idle: Duration,
    /// The limit to receive a whole message, and to send an answer.
    message: Duration,
}

/// Accepts connections, each with a task of its own. Never returns.
pub(crate) async fn serve(edge: Arc<Edge>, listener: TcpListener, security: Security) {
    let permits = ConnectionPermits::new(MAX_CONNECTIONS);
    loop {
        let Ok((stream, source)) = listener.accept().await else {
            // for example out of file descriptors: wait until others close
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Some((mut permit, evicted)) = permits.acquire(source.ip()) else {
            edge.totals.count_connection_closed();
            continue;
        };
        let (edge, security) = (Arc::clone(&edge), security.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = begin(&edge, stream, source, &security, || permit.keep()) => ended,
                _ = evicted => Err(ConnectionError),
            };
            if ended.is_err() {
                edge.totals.count_connection_closed();
            }
            drop(permit);
        });
    }
}

/// A connection that failed, or that this side closed.
#[derive(Debug, PartialEq, Eq)]
struct ConnectionError;

async fn begin(
    edge: &Edge,
    stream: TcpStream,
    source: SocketAddr,
    security: &Security,
    accepted: impl FnMut(),
) -> Result<(), ConnectionError> {
    let local = stream.local_addr().map_err(|_| ConnectionError)?;
    // answers are written whole, so Nagle's algorithm would only delay them
    let _ = stream.set_nodelay(true);
    let peer = |transport| Peer { source, local, transport };
    match security {
        Security::None => connection(edge, stream, peer(Transport::Tcp), TIMES, accepted).await,
        #[cfg(feature = "tls")]
        Security::Tls(identity) => {
            let stream = identity
                .accept(stream, crate::system::tls::HANDSHAKE_TIME)
                .await
                .map_err(|_| ConnectionError)?;
            connection(edge, stream, peer(Transport::Tls), TIMES, accepted).await
        }
    }
}

/// Answers the messages of a connection; calls `accepted` after each accepted call.
async fn connection(
    edge: &Edge,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    times: Times,
    mut accepted: impl FnMut(),
) -> Result<(), ConnectionError> {
    let mut input = Input::default();
    let mut answers = Vec::new();
    let mut since = Instant::now();
    loop {
        let idle = input.bytes.is_empty();
        let deadline = since + if idle { times.idle } else { times.message };
        input.bytes.reserve(CHUNK);
        match timeout_at(deadline, stream.read_buf(&mut input.bytes)).await {
            Ok(Ok(0)) => return if idle { Ok(()) } else { Err(ConnectionError) },
            Ok(Ok(_)) => {}
            // many clients end TLS by ending TCP
            Ok(Err(error)) if idle && error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(_)) => return Err(ConnectionError),
            Err(_) => return if idle { Ok(()) } else { Err(ConnectionError) },
        }
        let before = input.taken;
        let sound = input.answer(edge, peer, &mut answers);
        if std::mem::take(&mut input.accepted) {
            accepted();
        }
        if idle || input.taken > before {
            // the time limit is for one message, from its first byte to its last
            since = Instant::now();
        }
        if !answers.is_empty() {
            let write = async {
                stream.write_all(&answers).await?;
                stream.flush().await
            };
            timeout_at(since + times.message, write)
                .await
                .map_err(|_| ConnectionError)?
                .map_err(|_| ConnectionError)?;
            answers.clear();
            answers.shrink_to(MAX_HEAD);
        }
        if sound.is_err() {
            edge.totals.count_connection_closed();
            end(&mut stream).await;
            return Ok(());
        }
    }
}

/// Ends a stream after its last answer. Bytes that still arrive are discarded: with unread bytes the
/// system would reset the connection, and the peer could lose the answer.
async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let discard = async {
        stream.shutdown().await?;
        let mut rest = [0; 1_024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // the stream is closed in any case
    let _ = timeout(LINGER, discard).await;
}

/// The received bytes of a connection that are not answered yet.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    scan: Scan,
    /// Whether half of a keep-alive, one CRLF, precedes these bytes.
    half_ping: bool,
    /// The total number of bytes consumed.
    taken: u64,
    /// Whether a call was accepted.
    accepted: bool,
}

impl Input {
    /// Answers all whole messages in order, and keeps the rest. An error means that the stream must end
    /// once the answers are written.
    fn answer(
        &mut self,
        edge: &Edge,
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Result<(), ConnectionError> {
        let mut used = 0;
        let ended = loop {
            let rest = self.bytes.get(used..).unwrap_or_default();
            let blank = skip_keepalive(rest);
            if blank > 0 {
                let line_ends = blank / 2 + usize::from(self.half_ping);
                out.extend(b"\r\n".repeat(line_ends / 2));
                self.half_ping = line_ends % 2 == 1;
                used += blank;
                continue;
            }
            if !self.scan.is_due(rest) {
                break Ok(());
            }
            match frame(rest) {
                Ok(Some(Frame { head, body })) => {
                    let Some(message) = rest.get(..head + body) else {
                        self.scan.wanted = head + body;
                        break Ok(());
                    };
                    let answered = edge.answer(message, peer, std::time::Instant::now(), out);
                    self.accepted |= matches!(answered.outcome, Outcome::Accepted);
                    used += message.len();
                    self.half_ping = false;
                    self.scan = Scan::default();
                    if answered.ends_stream {
                        break Err(ConnectionError);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => {
                    edge.answer_uncut(rest, error, peer, std::time::Instant::now(), out);
                    break Err(ConnectionError);
                }
            }
        };
        self.bytes.drain(..used);
        self.bytes.shrink_to(CHUNK);
        self.taken += used as u64;
        ended
    }
}

/// The progress of the search for the end of a head. The head is framed once it is complete, not after
/// each read.
#[derive(Default)]
struct Scan {
    searched: usize,
    line_ended: bool,
    head_ended: bool,
    /// The length of the whole message, once it is known.
    wanted: usize,
}

impl Scan {
    /// Whether framing `bytes` can have a new result since the last call.
    fn is_due(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() < self.wanted {
            return false;
        }
        let new = bytes.get(self.searched.saturating_sub(2)..).unwrap_or_default();
        self.searched = bytes.len();
        let blank_line = |part: &[u8]| part.starts_with(b"\n\n") || part == b"\n\r\n";
        self.head_ended |= new.windows(3).any(blank_line) || new.ends_with(b"\n\n");
        // the first line shows whether the bytes are SIP
        let first_line = !self.line_ended && new.contains(&b'\n');
        self.line_ended |= first_line;
        self.head_ended || first_line || bytes.len() > MAX_HEAD
    }
}

#[cfg(test)]
mod tests {
    use sip_authz::{Authorizer, Snapshot};
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;
    use crate::args::{OnAccept, ReplyPort};
    use crate::observe::observers::DecisionObservers;
    use crate::sip::respond::TagKey;

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";

    /// Serves one connection with short time limits. Returns its end and the time in milliseconds;
    /// `room` is the size of the client's buffer in bytes.
    async fn served<F: Future>(
        room: usize,
        client: impl FnOnce(DuplexStream) -> F,
    ) -> (Result<(), ConnectionError>, u128) {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        let tags = TagKey::random().unwrap();
        let observers = DecisionObservers::default();
        let edge = Edge::new(authorizer, tags, OnAccept::Ok, ReplyPort::Auto, observers);
        let here = SocketAddr::from(([127, 0, 0, 1], 5060));
        let peer = Peer { source: here, local: here, transport: Transport::Tcp };
        let times = Times { idle: Duration::from_millis(300), message: Duration::from_millis(200) };
        let (near, far) = duplex(room);
        let start = Instant::now();
        tokio::select! {
            ended = connection(&edge, near, peer, times, || {}) => (ended, start.elapsed().as_millis()),
            _ = client(far) => panic!("the client ended first"),
        }
    }

    /// Writes the bytes one at a time, then never ends.
    async fn trickle(mut stream: DuplexStream, bytes: impl Iterator<Item = u8>) {
        for byte in bytes {
            let _ = stream.write_u8(byte).await;
            sleep(Duration::from_millis(10)).await;
        }
        std::future::pending().await
    }

    #[tokio::test]
    async fn idle_and_slow_connections_are_closed() {
        let (ended, after) = served(64, |stream| trickle(stream, std::iter::empty())).await;
        assert!(ended == Ok(()) && after >= 300, "{ended:?} after {after}");
        // a message that never ends, and one that ends at once with the next begun
        let (ended, after) =
            served(64, |stream| trickle(stream, b"INVITE ".iter().copied().cycle())).await;
        assert!(
            ended == Err(ConnectionError) && (200..2_000).contains(&after),
            "{ended:?} after {after}"
        );
        let (ended, after) = served(8_192, async |mut stream: DuplexStream| {
            stream.write_all(&[OPTIONS, b"O"].concat()).await.unwrap();
            std::future::pending::<()>().await
        })
        .await;
        assert!(
            ended == Err(ConnectionError) && (200..2_000).contains(&after),
            "{ended:?} after {after}"
        );
    }

    #[tokio::test]
    async fn a_connection_that_reads_no_answers_is_closed() {
        let (ended, after) = served(64, async |mut stream: DuplexStream| {
            stream.write_all(&OPTIONS.repeat(9)).await.unwrap();
            std::future::pending::<()>().await
        })
        .await;
        assert!(
            ended == Err(ConnectionError) && (200..2_000).contains(&after),
            "{ended:?} after {after}"
        );
    }

    #[tokio::test]
    async fn a_connection_with_regular_requests_stays_open() {
        let (ended, after) = served(8_192, async |mut stream: DuplexStream| {
            for _ in 0..5 {
                stream.write_all(OPTIONS).await.unwrap();
                let mut answer = [0; 12];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"SIP/2.0 200 ");
                let mut rest = [0; 8_192];
                let _ = stream.read(&mut rest).await;
                sleep(Duration::from_millis(150)).await;
            }
            std::future::pending::<()>().await
        })
        .await;
        assert!(ended == Ok(()) && after >= 900, "{ended:?} after {after}");
    }

    #[test]
    fn a_head_is_framed_once_it_is_complete() {
        let message = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";
        let mut scan = Scan::default();
        let mut due = Vec::new();
        for length in 1..=message.len() {
            if scan.is_due(&message[..length]) {
                due.push(length);
                if let Some(frame) = frame(&message[..length]).unwrap() {
                    scan.wanted = frame.head + frame.body;
                }
            }
        }
        assert_eq!(due, [23, message.len() - 3, message.len()]);
        assert!(Scan::default().is_due(b"garbage\n"));
        assert!(Scan::default().is_due(b"a\n\n"));
        assert!(Scan::default().is_due(&[b'a'; MAX_HEAD + 1]));
        assert!(!Scan::default().is_due(&[b'a'; MAX_HEAD]));
    }
}
