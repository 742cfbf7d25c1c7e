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
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::edge::{Edge, Hop};
use crate::secure::Security;

/// Connections of a listener at one time; further ones are closed at once.
pub(crate) const MAX_CONNECTIONS: usize = 1_024;
/// How long a connection may be without a message.
const IDLE: Duration = Duration::from_secs(300);
/// How long a message may take to come whole, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(32);
/// How much is read at a time.
const CHUNK: usize = 8_192;

/// Accepts connections for ever, each with a task of its own.
pub(crate) async fn serve(edge: Arc<Edge>, listener: TcpListener, security: Security) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, source)) = listener.accept().await else {
            // such as no file descriptor left: others must close first
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            edge.totals.count_connection_closed();
            continue;
        };
        let (edge, security) = (Arc::clone(&edge), security.clone());
        tokio::spawn(async move {
            if begin(&edge, stream, source, &security).await.is_err() {
                edge.totals.count_connection_closed();
            }
            drop(place);
        });
    }
}

/// Why a connection was closed from this side, or broke. No one asks which.
struct Broken;

async fn begin(
    edge: &Edge,
    stream: TcpStream,
    source: SocketAddr,
    security: &Security,
) -> Result<(), Broken> {
    let local = stream.local_addr().map_err(|_| Broken)?;
    // answers are written whole, so there is nothing to collect
    let _ = stream.set_nodelay(true);
    let hop = |transport| Hop { source, local, transport };
    match security {
        Security::None => connection(edge, stream, hop(Transport::Tcp)).await,
        #[cfg(feature = "tls")]
        Security::Tls(identity) => {
            let stream = identity.accept(stream).await.map_err(|_| Broken)?;
            connection(edge, stream, hop(Transport::Tls)).await
        }
    }
}

async fn connection(
    edge: &Edge,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    hop: Hop,
) -> Result<(), Broken> {
    let mut input = Input::default();
    let mut answers = Vec::new();
    let mut since = Instant::now();
    loop {
        let idle = input.bytes.is_empty();
        let deadline = since + if idle { IDLE } else { PATIENCE };
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
        if idle || input.taken > before {
            // the patience is with one message, from its first byte to its last
            since = Instant::now();
        }
        if !answers.is_empty() {
            let write = async {
                stream.write_all(&answers).await?;
                stream.flush().await
            };
            timeout_at(since + PATIENCE, write).await.map_err(|_| Broken)?.map_err(|_| Broken)?;
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
}

impl Input {
    /// Answers all whole messages, pipelined ones in their order, and keeps the rest.
    fn answer(&mut self, edge: &Edge, hop: Hop, out: &mut Vec<u8>) -> Result<(), Broken> {
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
                    edge.answer(message, hop, std::time::Instant::now(), out);
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
    use super::*;

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
