//! SIP over TCP and TLS (RFC 3261 §18, RFC 5626 §3.5.1), with limits on the number of connections, the
//! size of messages and the time.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_authz::{AcceptBasis, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use crate::sip::edge::{Answered, Edge};
use crate::sip::outlets::Registered;
use crate::sip::peer::Peer;
use crate::sip::permits::ConnectionPermits;
use crate::sip::stream::{GROWTH, Input, Part, read};
use crate::sip::trusted::TrustedProxies;
use crate::system::secure::Security;

/// The maximum number of connections of a listener, those of trusted proxies included. There are `most`
/// of others, and as many of trusted proxies. A further one replaces another.
pub(crate) fn most_connections(most: u32, trusted: &TrustedProxies) -> u64 {
    let kinds = if trusted.is_empty() { 1 } else { 2 };
    kinds * u64::from(most)
}

/// The time limits of a connection.
const TIMES: Times = Times { idle: Duration::from_secs(300), message: Duration::from_secs(32) };
/// The time for which a stream that ends for its content stays half open.
const LINGER: Duration = Duration::from_secs(1);
/// The send buffer of a connection in bytes; Linux doubles it for its own use. The system holds no
/// more answers than these for a client that reads none.
const SEND_BUFFER: usize = 32 << 10;
/// The silence after which the system probes a connection, the interval and number of its probes.
const PROBE_AFTER: Duration = Duration::from_secs(120);
const PROBE_EVERY: Duration = Duration::from_secs(20);
#[cfg(target_os = "linux")]
const PROBES: u32 = 4;
/// The interval between two comparisons of the records with the accepted calls of connections.
const COMPARE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy)]
struct Times {
    /// The limit between two messages, before a phone registers on the connection.
    idle: Duration,
    /// The limit to receive a whole message, and the limit to send an answer.
    message: Duration,
}

/// Accepts connections, each with a task of its own. Never returns.
///
/// `number` is that of the listener, for its names; `most` the maximum number of connections.
pub(crate) async fn serve(
    edge: Arc<Edge>,
    listener: TcpListener,
    number: usize,
    most: u32,
    security: Security,
) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let permits = ConnectionPermits::new(most, Arc::clone(edge.authorizer()));
    // strangers must not take the places of trusted proxies
    let proxies = ConnectionPermits::new(most, Arc::clone(edge.authorizer()));
    let mut compare = interval(COMPARE);
    compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = compare.tick() => {
                permits.evict_revoked();
                continue;
            }
        };
        let Ok((stream, source)) = accepted else {
            // for example out of file descriptors: wait until others close
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let is_trusted = edge.trusted().trusts(source.ip());
        let held = if is_trusted { &proxies } else { &permits };
        let (mut permit, evicted) = held.acquire(source.ip(), now());
        let (edge, security) = (Arc::clone(&edge), security.clone());
        tokio::spawn(async move {
            let accepted = |basis| {
                // a proxy's connection carries the calls of others, too: it outlives this caller
                if !is_trusted {
                    permit.accepted(basis, now());
                }
            };
            let ended = tokio::select! {
                // an evicted connection answers no more
                biased;
                _ = evicted => Err(ConnectionError),
                ended = begin(&edge, stream, source, number, &security, accepted) => ended,
            };
            if ended.is_err() {
                edge.totals.count_connection_closed();
            }
            drop(permit);
        });
    }
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The probes of the system on a silent connection: a peer that is gone is noticed within minutes.
fn probes() -> TcpKeepalive {
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    // elsewhere the system has its own number
    #[cfg(target_os = "linux")]
    let probes = probes.with_retries(PROBES);
    probes
}

/// A connection that failed, or that this side closed.
#[derive(Debug, PartialEq, Eq)]
struct ConnectionError;

async fn begin(
    edge: &Edge,
    stream: TcpStream,
    source: SocketAddr,
    listener: usize,
    security: &Security,
    accepted: impl FnMut(AcceptBasis),
) -> Result<(), ConnectionError> {
    let address = stream.local_addr().map_err(|_| ConnectionError)?;
    let registered = edge.connections().register(address, listener);
    let registered = registered.map_err(|_| ConnectionError)?;
    let local = registered.local;
    // answers are written whole, so Nagle's algorithm would only delay them
    let _ = stream.set_nodelay(true);
    // best effort: with another size the answers arrive too
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    // a phone can be silent for hours between two registrations
    let _ = SockRef::from(&stream).set_tcp_keepalive(&probes());
    let peer = |transport| Peer { source, local, transport };
    match security {
        Security::None => {
            let peer = peer(Transport::Tcp);
            connection(edge, stream, peer, TIMES, registered, accepted).await
        }
        #[cfg(feature = "tls")]
        Security::Tls(identity) => {
            let stream = identity
                .accept(stream, crate::system::tls::HANDSHAKE_TIME)
                .await
                .map_err(|_| ConnectionError)?;
            connection(edge, stream, peer(Transport::Tls), TIMES, registered, accepted).await
        }
    }
}

/// Answers the messages of a connection one after the other: the next is decided once the answer to the
/// last is taken. Meanwhile sends the messages that are forwarded to the connection. Calls `accepted`
/// with the basis of each accepted call.
async fn connection(
    edge: &Edge,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    mut times: Times,
    mut registered: Registered,
    mut accepted: impl FnMut(AcceptBasis),
) -> Result<(), ConnectionError> {
    let mut input = Input::default();
    if edge.naming().is_inside(peer.local.listener) {
        // requests of phones can come at any time of a call
        times.idle = times.idle.max(edge.flow_life());
    }
    // the time limit is for one message, from its first byte to its last
    let mut since = Instant::now();
    loop {
        let mut answer = Vec::new();
        if let Some(Handled { basis, registers, ends_stream }) =
            input.answer_next(edge, peer, &mut answer)
        {
            if registers {
                // calls come to the phone on this connection as long as its registration can last
                times.idle = times.idle.max(edge.flow_life());
            }
            if let Some(basis) = basis {
                accepted(basis);
            }
            if !answer.is_empty() {
                // it may wait for long
                answer.shrink_to(answer.len() + GROWTH);
                write(&mut stream, &answer, times).await?;
            }
            if ends_stream {
                edge.totals.count_connection_closed();
                end(&mut stream).await;
                return Ok(());
            }
            since = Instant::now();
            continue;
        }
        let idle = input.bytes.is_empty();
        let deadline = since + if idle { times.idle } else { times.message };
        let received = tokio::select! {
            received = timeout_at(deadline, read(&mut stream, &mut input.bytes)) => received,
            // the sender lives as long as `registered`
            Some(forwarded) = registered.outgoing.recv() => {
                write(&mut stream, &forwarded, times).await?;
                if idle {
                    since = Instant::now();
                }
                continue;
            }
        };
        match received {
            Ok(Ok(0)) => return if idle { Ok(()) } else { Err(ConnectionError) },
            Ok(Ok(_)) => {}
            // many clients end TLS by ending TCP
            Ok(Err(error)) if idle && error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(_)) => return Err(ConnectionError),
            Err(_) => return if idle { Ok(()) } else { Err(ConnectionError) },
        }
        if idle {
            since = Instant::now();
        }
    }
}

/// Writes a message as a whole, within the time limit of a message.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
    times: Times,
) -> Result<(), ConnectionError> {
    let write = async {
        stream.write_all(message).await?;
        stream.flush().await
    };
    let written = timeout_at(Instant::now() + times.message, write).await;
    written.map_err(|_| ConnectionError)?.map_err(|_| ConnectionError)
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

/// Keep-alives or a message were answered.
struct Handled {
    /// The basis of an accepted call.
    basis: Option<AcceptBasis>,
    /// Whether it is an accepted registration.
    registers: bool,
    /// Whether the stream ends after the answer.
    ends_stream: bool,
}

impl Input {
    /// Answers the keep-alives or the message at the start, and removes them. `None` if more bytes are
    /// needed.
    fn answer_next(&mut self, edge: &Edge, peer: Peer, out: &mut Vec<u8>) -> Option<Handled> {
        match self.next_part()? {
            Part::KeepAlives(count) => {
                out.extend(b"\r\n".repeat(count));
                Some(Handled { basis: None, registers: false, ends_stream: false })
            }
            Part::Message(length) => {
                let message = self.bytes.get(..length).unwrap_or_default();
                let answered = edge.answer(message, peer, now(), out);
                let Answered { basis, registers, ends_stream, .. } = answered;
                self.remove(length);
                Some(Handled { basis, registers, ends_stream })
            }
            Part::Uncut(error) => {
                edge.answer_uncut(&self.bytes, error, peer, now(), out);
                Some(Handled { basis: None, registers: false, ends_stream: true })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sip_authz::{Authorizer, Snapshot};
    use sip_authz_proxy::{Keys, Settings};
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;
    use crate::args::ReplyPort;
    use crate::hops::{HopOptions, Hops};
    use crate::observe::observers::DecisionObservers;
    use crate::serving::forwarding::Inbound;
    use crate::sip::forward::Forwarding;
    use crate::sip::outlets::Outlets;
    use crate::sip::respond::TagKey;
    use crate::sip::stream::CHUNK;
    use sip_authz::model::OnAccept;

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
        Content-Length: 0\r\n\r\n";

    fn edge() -> Edge {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        let tags = TagKey::random().unwrap();
        let observers = DecisionObservers::default();
        Edge::new(authorizer, tags, OnAccept::Ok, ReplyPort::Auto, observers)
    }

    fn peer() -> Peer {
        let here = SocketAddr::from(([127, 0, 0, 1], 5060));
        Peer { source: here, local: here.into(), transport: Transport::Tcp }
    }

    /// Serves one connection with short time limits, on a paused clock. Returns its end and the time in
    /// milliseconds; `room` is the size of the client's buffer in bytes.
    async fn served<F: Future>(
        room: usize,
        client: impl FnOnce(DuplexStream) -> F,
    ) -> (Result<(), ConnectionError>, u128) {
        let (edge, peer) = (edge(), peer());
        let registered = edge.connections().register(peer.source, 0).unwrap();
        let times = Times { idle: Duration::from_millis(300), message: Duration::from_millis(200) };
        let (near, far) = duplex(room);
        let start = Instant::now();
        tokio::select! {
            ended = connection(&edge, near, peer, times, registered, drop) => (ended, start.elapsed().as_millis()),
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

    #[tokio::test(start_paused = true)]
    async fn idle_and_slow_connections_are_closed() {
        let (ended, after) = served(64, |stream| trickle(stream, std::iter::empty())).await;
        assert!(ended == Ok(()) && (300..310).contains(&after), "{ended:?} after {after}");
        // a message that never ends, and one that ends at once with the next begun
        let (ended, after) =
            served(64, |stream| trickle(stream, b"INVITE ".iter().copied().cycle())).await;
        assert!(
            ended == Err(ConnectionError) && (200..210).contains(&after),
            "{ended:?} after {after}"
        );
        let (ended, after) = served(8_192, async |mut stream: DuplexStream| {
            stream.write_all(&[OPTIONS, b"O"].concat()).await.unwrap();
            std::future::pending::<()>().await
        })
        .await;
        assert!(
            ended == Err(ConnectionError) && (200..210).contains(&after),
            "{ended:?} after {after}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_reads_no_answers_is_closed() {
        let (ended, after) = served(64, async |mut stream: DuplexStream| {
            stream.write_all(&OPTIONS.repeat(9)).await.unwrap();
            std::future::pending::<()>().await
        })
        .await;
        assert!(
            ended == Err(ConnectionError) && (200..210).contains(&after),
            "{ended:?} after {after}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn case_37_a_request_is_decided_once_the_last_answer_is_taken() {
        let edge = edge();
        let (peer, times) = (peer(), TIMES);
        let received = || {
            let text = edge.totals.to_string();
            let count = text.strip_prefix("totals: received ").unwrap().split_once(',').unwrap().0;
            count.parse::<usize>().unwrap()
        };
        // the peer has room for a part of an answer
        let (near, far) = duplex(64);
        let registered = edge.connections().register(peer.source, 0).unwrap();
        let (mut answers, mut requests) = tokio::io::split(far);
        let send = async {
            requests.write_all(&OPTIONS.repeat(9)).await.unwrap();
            std::future::pending::<()>().await
        };
        let read = async {
            let mut read = Vec::new();
            let mut part = [0; 64];
            while read.windows(4).filter(|four| *four == b"\r\n\r\n").count() < 9 {
                // every other task has had its turn
                sleep(Duration::from_millis(1)).await;
                let begun = read.windows(8).filter(|eight| *eight == b"SIP/2.0 ").count();
                assert!(received() <= begun + 1, "{begun} of {} answers", received());
                let length = answers.read(&mut part).await.unwrap();
                read.extend_from_slice(&part[..length]);
            }
        };
        tokio::select! {
            ended = connection(&edge, near, peer, times, registered, drop) => panic!("{ended:?}"),
            () = send => {}
            () = read => assert_eq!(received(), 9),
        }
    }

    #[tokio::test]
    async fn case_37_a_connection_that_waits_has_no_buffer() {
        let (edge, peer) = (edge(), peer());
        let (mut input, mut answer) = (Input::default(), Vec::new());
        let (near, mut far) = duplex(1 << 20);
        let mut near = near;
        let large = [&OPTIONS[..OPTIONS.len() - 5], b"60000\r\n\r\n", &[b'x'; 60_000]].concat();
        far.write_all(&[&large[..], &OPTIONS.repeat(3)].concat()).await.unwrap();
        let mut messages = 0;
        while messages < 4 {
            if input.answer_next(&edge, peer, &mut answer).is_some() {
                messages += 1;
                continue;
            }
            assert!(input.bytes.capacity() <= large.len() + CHUNK);
            read(&mut near, &mut input.bytes).await.unwrap();
        }
        assert_eq!((input.bytes.len(), input.bytes.capacity()), (0, 0));
    }

    /// An edge that forwards registrations of `alice` to a hop that does not answer.
    fn registrar() -> Edge {
        let text = "realm = 'r'\n[[credential_lists]]\nname = 'l'\n\
                    credentials = [{ username = 'alice', password = 'p' }]\n\
                    [[domains]]\nname = 'a.example'\nregistrations = ['l']\n";
        let config = sip_authz_config::parse(text, &sip_authz_config::Options::new()).unwrap();
        let authorizer = Arc::new(Authorizer::new(config.snapshot).unwrap());
        let options = HopOptions {
            probe: Duration::ZERO,
            probe_wait: Duration::ZERO,
            ca: None,
            tls: true,
            sent_by: "edge".to_owned(),
        };
        let hops = Arc::new(Hops::new(options, Arc::new(Inbound::default())).unwrap());
        let keys = Keys::new((1, &[7; 32]), None).unwrap();
        let settings = Settings { flow_life: 7_200, ..Settings::default() };
        let forwarding = Forwarding::new(keys, settings, Arc::clone(&hops));
        let answer: OnAccept = "forward:127.0.0.1:9;transport=udp".parse().unwrap();
        let (tags, observers) = (TagKey::random().unwrap(), DecisionObservers::default());
        let edge = Edge::new(authorizer, tags, answer, ReplyPort::Auto, observers);
        let edge = edge.with_forwarding(forwarding, Outlets::new(Vec::new(), Some(hops)));
        edge.set_hops(&edge.authorizer().snapshot());
        edge
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_a_phone_registered_may_be_silent() {
        let (edge, peer) = (registrar(), peer());
        let registered = edge.connections().register(peer.source, 0).unwrap();
        let (near, mut far) = duplex(8_192);
        let client = async {
            let register = |cseq: u32, more: &str| {
                format!(
                    "REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK{cseq}\r\n\
                     Max-Forwards: 70\r\nFrom: <sip:alice@a.example>;tag=1\r\n\
                     To: <sip:alice@a.example>\r\nCall-ID: 1\r\nCSeq: {cseq} REGISTER\r\n\
                     Contact: <sip:alice@192.0.2.1>\r\n{more}Content-Length: 0\r\n\r\n"
                )
            };
            far.write_all(register(1, "").as_bytes()).await.unwrap();
            let mut answer = vec![0; 8_192];
            let length = far.read(&mut answer).await.unwrap();
            let answer = String::from_utf8(answer[..length].to_vec()).unwrap();
            let prompt = answer.split("WWW-Authenticate: ").nth(1).unwrap();
            let mut prompt = digest_auth::parse(prompt.split("\r\n").next().unwrap()).unwrap();
            let method = digest_auth::HttpMethod::from("REGISTER");
            let uri = "sip:a.example";
            let context =
                digest_auth::AuthContext::new_with_method("alice", "p", uri, None::<&[u8]>, method);
            let credentials = prompt.respond(&context).unwrap().to_header_string();
            let more = format!("Authorization: {credentials}\r\n");
            far.write_all(register(2, &more).as_bytes()).await.unwrap();
            sleep(Duration::from_secs(7_000)).await;
            // still open
            far.write_all(OPTIONS).await.unwrap();
            let mut status = [0; 12];
            far.read_exact(&mut status).await.unwrap();
            assert_eq!(&status, b"SIP/2.0 200 ");
            let start = Instant::now();
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.unwrap();
            start.elapsed().as_secs()
        };
        let mut bases = 0;
        let served = connection(&edge, near, peer, TIMES, registered, |_| bases += 1);
        let (ended, after) = tokio::join!(served, client);
        assert_eq!((ended, after, bases), (Ok(()), 7_200, 1));
    }

    #[tokio::test(start_paused = true)]
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
        assert!(ended == Ok(()) && (900..910).contains(&after), "{ended:?} after {after}");
    }
}
