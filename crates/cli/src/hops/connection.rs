//! The kept connection to a next hop over TCP or TLS (RFC 3261 §18, RFC 5626 §4.4.1).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sip_authz::Transport;
use sip_authz::message::Message;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};

use crate::hops::peer::{Item, Peer, ProbeResult, Receive, Waiter};
use crate::hops::probe::answer_to_probe;
use crate::hops::tls::{Connector, HopStream};
use crate::sip::stream::{Input, Part, read};

/// The time limits of a connection.
const CONNECT: Duration = Duration::from_secs(3);
const WRITE: Duration = Duration::from_secs(5);
/// The time for which the system waits for an acknowledgement of sent bytes (RFC 5482).
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// The silence after which a keep-alive is sent.
const SILENCE: Duration = Duration::from_secs(30);
/// The first and the longest pause between two attempts to connect; it doubles each time.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// The maximum number of queued messages that are written at once.
const TOGETHER: usize = 32;

/// The keep-alive of the side that opened the connection.
const PING: &[u8] = b"\r\n\r\n";

/// The reason of the end after bytes that another parser could cut in another way.
const MALFORMED: &str = "it sent a malformed message";

/// The parts that the connections to all hops share.
pub(super) struct Shared {
    pub(super) connector: Connector,
    pub(super) receive: Arc<dyn Receive>,
}

/// Opens the connection to a hop once there is something to send, and keeps it. Ends with the queue.
pub(super) async fn keep(shared: &Shared, peer: &Peer, mut queue: Receiver<Item>) {
    let mut pauses = Pauses::default();
    let mut reason = String::new();
    while let Some(first) = queue.recv().await {
        if pauses.is_over() {
            // an earlier wish to end it is fulfilled
            let _ = timeout(Duration::ZERO, peer.reset.notified()).await;
            match connect(shared, peer).await {
                Ok(stream) => {
                    peer.note_connected();
                    let heard = AtomicBool::new(false);
                    reason = converse(shared, peer, stream, first, &mut queue, &heard).await;
                    pauses.note(heard.into_inner());
                    // finds out soon whether another connection works
                    peer.wake.notify_one();
                }
                Err(why) => {
                    pauses.note(false);
                    peer.set_down(&why, None);
                    reason = why;
                    lose(peer, first, &reason);
                }
            }
        } else {
            lose(peer, first, &reason);
        }
        // what waited for this connection; a later message has another chance
        while let Ok(item) = queue.try_recv() {
            lose(peer, item, &reason);
        }
    }
}

/// Counts an item that is not sent.
fn lose(peer: &Peer, item: Item, reason: &str) {
    peer.release(item.bytes().len());
    peer.count_dropped(&item);
    if let Item::Probe(_, waiter) = item {
        // the prober may have given up
        let _ = waiter.result.send(ProbeResult::Unreachable(reason.to_owned()));
    }
}

/// The pauses between attempts to connect.
#[derive(Default)]
struct Pauses {
    last: Option<Duration>,
    until: Option<Instant>,
}

impl Pauses {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// Notes the end of a connection, or of the attempt. One on which a message came ends the pauses.
    fn note(&mut self, heard: bool) {
        if heard {
            *self = Self::default();
            return;
        }
        let [first, longest] = PAUSES;
        let pause = self.last.map_or(first, |last| (2 * last).min(longest));
        *self = Self { last: Some(pause), until: Some(Instant::now() + pause) };
    }
}

async fn connect(shared: &Shared, peer: &Peer) -> Result<HopStream, String> {
    let connected = timeout(CONNECT, async {
        let stream = TcpStream::connect(peer.address())
            .await
            .map_err(|error| format!("cannot connect: {error}"))?;
        prepare(&stream);
        match peer.leg.transport {
            Transport::Tcp => Ok(HopStream::Plain(stream)),
            _ => shared.connector.connect(stream, &peer.host).await,
        }
    });
    connected.await.unwrap_or_else(|_| Err("no connection within 3 s".to_owned()))
}

/// Sets options that make failures visible sooner; without them the connection works too.
fn prepare(stream: &TcpStream) {
    // messages are written whole, so Nagle's algorithm would only delay them
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    #[cfg(not(target_os = "linux"))]
    let _ = (SockRef::from(stream), UNACKNOWLEDGED);
}

/// Writes queued messages and handles arriving ones, until the connection ends. Returns the reason.
async fn converse(
    shared: &Shared,
    peer: &Peer,
    stream: HopStream,
    first: Item,
    queue: &mut Receiver<Item>,
    heard: &AtomicBool,
) -> String {
    let (mut incoming, mut outgoing) = split(stream);
    let (probe, writing) = (Mutex::new(None), AtomicU64::new(0));
    let reason = tokio::select! {
        ended = receive_all(shared, peer, &mut incoming, &probe, heard) => ended,
        ended = send_all(peer, &mut outgoing, first, queue, &probe, &writing) => ended,
        () = peer.reset.notified() => "no answer to OPTIONS".to_owned(),
    };
    peer.count_lost(writing.into_inner());
    if let Some(Waiter { result, .. }) = locked(&probe).take() {
        // the prober may have given up
        let _ = result.send(ProbeResult::Broken(reason.clone()));
    }
    reason
}

/// Handles the messages that arrive. Returns the reason of the end.
async fn receive_all(
    shared: &Shared,
    peer: &Peer,
    stream: &mut (impl AsyncRead + Unpin),
    probe: &Mutex<Option<Waiter>>,
    heard: &AtomicBool,
) -> String {
    let mut input = Input::default();
    loop {
        match input.next_part() {
            // only the side that opened the connection pings (RFC 5626 §3.5.1)
            Some(Part::KeepAlives(_)) => {}
            Some(Part::Message(length)) => {
                heard.store(true, Ordering::Relaxed);
                let message = input.bytes.get(..length).unwrap_or_default();
                if !answers_probe(message, probe) {
                    let answer = shared.receive.message(message, peer.leg);
                    if !answer.is_empty() {
                        peer.send(Item::Message(answer));
                    }
                }
                // another parser could find another end of such a message
                let defect = Message::scan(message).and_then(|message| message.stream_defect());
                if let Some(defect) = defect {
                    peer.warn_malformed(&defect);
                    return MALFORMED.to_owned();
                }
                input.remove(length);
            }
            Some(Part::Uncut(error)) => {
                peer.warn_malformed(&error);
                return MALFORMED.to_owned();
            }
            None => match read(stream, &mut input.bytes).await {
                Ok(0) => return "it closed the connection".to_owned(),
                Ok(_) => {}
                Err(error) => return broken(&error),
            },
        }
    }
}

/// Whether a message is the response to the waiting probe. If so, the probe gets its status.
fn answers_probe(message: &[u8], probe: &Mutex<Option<Waiter>>) -> bool {
    let Some((call_id, status)) = answer_to_probe(message) else { return false };
    let mut probe = locked(probe);
    if probe.as_ref().is_none_or(|waiter| waiter.call_id != call_id) {
        return false;
    }
    if let Some(Waiter { result, .. }) = probe.take() {
        // the prober may have given up
        let _ = result.send(ProbeResult::Status(status));
    }
    true
}

/// Writes queued messages, and a keep-alive after each silence. Returns the reason of the end. `writing` is
/// the number of messages that are not wholly written.
async fn send_all(
    peer: &Peer,
    stream: &mut (impl AsyncWrite + Unpin),
    first: Item,
    queue: &mut Receiver<Item>,
    probe: &Mutex<Option<Waiter>>,
    writing: &AtomicU64,
) -> String {
    let mut items = vec![first];
    let mut bytes = Vec::new();
    loop {
        for item in items.drain(..) {
            bytes.extend_from_slice(item.bytes());
            peer.release(item.bytes().len());
            match item {
                Item::Message(_) => {
                    writing.fetch_add(1, Ordering::Relaxed);
                }
                Item::Probe(_, waiter) => *locked(probe) = Some(waiter),
            }
        }
        let write = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        match timeout(WRITE, write).await {
            Ok(Ok(())) => writing.store(0, Ordering::Relaxed),
            Ok(Err(error)) => return broken(&error),
            Err(_) => return "it reads nothing".to_owned(),
        }
        bytes.clear();
        bytes.shrink_to(usize::from(u16::MAX));
        match timeout(SILENCE, queue.recv_many(&mut items, TOGETHER)).await {
            // the hop is no longer configured
            Ok(0) => return "it is no longer configured".to_owned(),
            Ok(_) => {}
            Err(_) => bytes.extend_from_slice(PING),
        }
    }
}

fn broken(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}

fn locked(probe: &Mutex<Option<Waiter>>) -> std::sync::MutexGuard<'_, Option<Waiter>> {
    probe.lock().unwrap_or_else(PoisonError::into_inner)
}
