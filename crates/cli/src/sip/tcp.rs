//! SIP over TCP and TLS (RFC 3261 §18, RFC 5626 §3.5.1): connections bounded in number, size and
//! time.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_authz::Transport;
use sip_authz::message::{Frame, MAX_HEAD, frame, skip_keepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::observe::totals::Outcome;
use crate::sip::edge::Edge;
use crate::sip::peer::Peer;
use crate::sip::places::Places;
use crate::system::secure::Security;

/// Connections of a listener at one time; further ones are closed at once, or push others out.
pub(crate) const MAX_CONNECTIONS: usize = 1_024;
/// The times that a connection has.
const TIMES: Times = Times { idle: Duration::from_secs(300), message: Duration::from_secs(32) };
/// How much is read at a time.
const CHUNK: usize = 8_192;

#[derive(Clone, Copy)]
struct Times {
    /// How long a connection may be without a message.
    idle: Duration,
    /// How long a message may take to come whole, and an answer to be taken.
    message: Duration,
}

/// Accepts connections for ever, each with a task of its own.
pub(crate) async fn serve(edge: Arc<Edge>, listener: TcpListener, security: Security) {
    let places = Places::new(MAX_CONNECTIONS);
    loop {
        let Ok((stream, source)) = listener.accept().await else {
            // such as no file descriptor left: others must close first
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Some((mut place, gone)) = places.enter(source.ip()) else {
            edge.totals.count_connection_closed();
            continue;
        };
        let (edge, security) = (Arc::clone(&edge), security.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = begin(&edge, stream, source, &security, || place.keep()) => ended,
                _ = gone => Err(Broken),
            };
            if ended.is_err() {
                edge.totals.count_connection_closed();
            }
            drop(place);
        });
    }
}

/// Why a connection was closed from this side, or broke. No one asks which.
#[derive(Debug, PartialEq, Eq)]
struct Broken;

async fn begin(
    edge: &Edge,
    stream: TcpStream,
    source: SocketAddr,
    security: &Security,
    accepted: impl FnMut(),
) -> Result<(), Broken> {
    let local = stream.local_addr().map_err(|_| Broken)?;
    // answers are written whole, so there is nothing to collect
    let _ = stream.set_nodelay(true);
    let hop = |transport| Peer { source, local, transport };
    match security {
        Security::None => connection(edge, stream, hop(Transport::Tcp), TIMES, accepted).await,
        #[cfg(feature = "tls")]
        Security::Tls(identity) => {
            let stream = identity
                .accept(stream, crate::system::tls::HANDSHAKE_TIME)
                .await
                .map_err(|_| Broken)?;
            connection(edge, stream, hop(Transport::Tls), TIMES, accepted).await
        }
    }
}

/// Answers what comes over a connection; `accepted` is told when a call was accepted.
async fn connection(
    edge: &Edge,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    hop: Peer,
    times: Times,
    mut accepted: impl FnMut(),
) -> Result<(), Broken> {
    let mut input = Input::default();
    let mut answers = Vec::new();
    let mut since = Instant::now();
    loop {
        let idle = input.bytes.is_empty();
        let deadline = since + if idle { times.idle } else { times.message };
        input.bytes.reserve(CHUNK);
        match timeout_at(deadline, stream.read_buf(&mut input.bytes)).await {
            Ok(Ok(0)) => return if idle { Ok(()) } else { Err(Broken) },
            Ok(Ok(_)) => {}
            // many clients end TLS by ending TCP
            Ok(Err(error)) if idle && error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(_)) => return Err(Broken),
            Err(_) => return if idle { Ok(()) } else { Err(Broken) },
        }
        let before = input.taken;
        let sound = input.answer(edge, hop, &mut answers);
        if std::mem::take(&mut input.accepted) {
            accepted();
        }
        if idle || input.taken > before {
            // the patience is with one message, from its first byte to its last
            since = Instant::now();
        }
        if !answers.is_empty() {
            let write = async {
                stream.write_all(&answers).await?;
                stream.flush().await
            };
            timeout_at(since + times.message, write)
                .await
                .map_err(|_| Broken)?
                .map_err(|_| Broken)?;
            answers.clear();
            answers.shrink_to(MAX_HEAD);
        }
        sound?;
    }
}

/// What came over a connection and is not answered yet.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    scan: Scan,
    /// Whether half of a keep-alive, one CRLF, came before these bytes.
    half_ping: bool,
    /// How many bytes were taken off in all.
    taken: u64,
    /// Whether a call was accepted.
    accepted: bool,
}

impl Input {
    /// Answers all whole messages, pipelined ones in their order, and keeps the rest.
    fn answer(&mut self, edge: &Edge, hop: Peer, out: &mut Vec<u8>) -> Result<(), Broken> {
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
                    let outcome = edge.answer(message, hop, std::time::Instant::now(), out);
                    self.accepted |= matches!(outcome, Outcome::Accepted);
                    used += message.len();
                    self.half_ping = false;
                    self.scan = Scan::default();
                }
                Ok(None) => break Ok(()),
                Err(_) => break Err(Broken),
            }
        };
        self.bytes.drain(..used);
        self.bytes.shrink_to(CHUNK);
        self.taken += used as u64;
        ended
    }
}

/// How far a message has been looked at: its head is framed when it is all there, and not with every
/// byte that comes.
#[derive(Default)]
struct Scan {
    searched: usize,
    line_ended: bool,
    head_ended: bool,
    /// The length of the whole message, once it is known.
    wanted: usize,
}

impl Scan {
    /// Whether framing `bytes` may tell more than it did the last time.
    fn is_due(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() < self.wanted {
            return false;
        }
        let new = bytes.get(self.searched.saturating_sub(2)..).unwrap_or_default();
        self.searched = bytes.len();
        let blank_line = |part: &[u8]| part.starts_with(b"\n\n") || part == b"\n\r\n";
        self.head_ended |= new.windows(3).any(blank_line) || new.ends_with(b"\n\n");
        // what does not begin like SIP is known by its first line
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
    use crate::args::OnAccept;
    use crate::observe::watch::Watch;
    use crate::sip::respond::TagKey;

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";

    /// How a connection ends, and after how many milliseconds, with times that are short; the client
    /// has room for so many bytes.
    async fn served<F: Future>(
        room: usize,
        client: impl FnOnce(DuplexStream) -> F,
    ) -> (Result<(), Broken>, u128) {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        let tags = TagKey::random().unwrap();
        let edge = Edge::new(authorizer, tags, OnAccept::Ok, Watch::default());
        let here = SocketAddr::from(([127, 0, 0, 1], 5060));
        let hop = Peer { source: here, local: here, transport: Transport::Tcp };
        let times = Times { idle: Duration::from_millis(300), message: Duration::from_millis(200) };
        let (near, far) = duplex(room);
        let start = Instant::now();
        tokio::select! {
            ended = connection(&edge, near, hop, times, || {}) => (ended, start.elapsed().as_millis()),
            _ = client(far) => panic!("the client ended first"),
        }
    }

    /// Writes the bytes one at a time, and goes on for ever.
    async fn trickle(mut stream: DuplexStream, bytes: impl Iterator<Item = u8>) {
        for byte in bytes {
            let _ = stream.write_u8(byte).await;
            sleep(Duration::from_millis(10)).await;
        }
        std::future::pending().await
    }

    #[tokio::test]
    async fn connections_end_that_are_idle_or_slow() {
        let (ended, after) = served(64, |stream| trickle(stream, std::iter::empty())).await;
        assert!(ended == Ok(()) && after >= 300, "{ended:?} after {after}");
        // a message that never ends, and one that ends at once with the next begun
        let (ended, after) =
            served(64, |stream| trickle(stream, b"INVITE ".iter().copied().cycle())).await;
        assert!(ended == Err(Broken) && (200..2_000).contains(&after), "{ended:?} after {after}");
        let (ended, after) = served(8_192, async |mut stream: DuplexStream| {
            stream.write_all(&[OPTIONS, b"O"].concat()).await.unwrap();
            std::future::pending::<()>().await
        })
        .await;
        assert!(ended == Err(Broken) && (200..2_000).contains(&after), "{ended:?} after {after}");
    }

    #[tokio::test]
    async fn connections_end_whose_answers_nobody_takes() {
        let (ended, after) = served(64, async |mut stream: DuplexStream| {
            stream.write_all(&OPTIONS.repeat(9)).await.unwrap();
            std::future::pending::<()>().await
        })
        .await;
        assert!(ended == Err(Broken) && (200..2_000).contains(&after), "{ended:?} after {after}");
    }

    #[tokio::test]
    async fn connections_stay_that_ask_now_and_then() {
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
    fn heads_are_framed_when_due_however_they_are_cut() {
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
