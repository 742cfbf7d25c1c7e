//! Health of next hops: an OPTIONS at regular intervals (RFC 3261 §11).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sip_authz::Transport;
use sip_authz::message::{Header, Message, StartLine};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::hops::peer::{Item, Peer, ProbeResult, Waiter};

/// The number of probes in a row without a response after which a hop is down.
const MAX_MISSES: u32 = 2;
/// The maximum number of probes that wait for a response at the same time.
const MAX_PROBES: usize = 256;
/// The time to the first retransmission over UDP; it doubles each time (RFC 3261 §17.1.2.1).
const T1: Duration = Duration::from_millis(500);
/// The pause before a probe that a lost connection causes.
const SOON: Duration = Duration::from_millis(500);
/// The pause after an error of the receiving socket.
const PAUSE: Duration = Duration::from_millis(10);

/// Sends probes and receives their responses over UDP.
pub(super) struct Prober {
    /// The time between two probes of a hop. Zero: no probes.
    interval: Duration,
    /// The time to wait for a response.
    wait: Duration,
    /// The sent-by over streams.
    sent_by: String,
    permits: Semaphore,
    v4: Result<UdpSocket, String>,
    v6: Result<UdpSocket, String>,
    waiting: Mutex<Waiting>,
}

/// The probes over UDP that wait, by Call-ID, each with the address of its hop.
type Waiting = HashMap<u128, (IpAddr, oneshot::Sender<ProbeResult>)>;

impl Prober {
    /// Opens the sockets. A family that the system lacks makes its hops unreachable, no more.
    pub(super) fn new(interval: Duration, wait: Duration, sent_by: String) -> Self {
        let open = |ip: IpAddr| open(ip).map_err(|error| error.to_string());
        Self {
            interval,
            wait,
            sent_by,
            permits: Semaphore::new(MAX_PROBES),
            v4: open(Ipv4Addr::UNSPECIFIED.into()),
            v6: open(Ipv6Addr::UNSPECIFIED.into()),
            waiting: Mutex::default(),
        }
    }

    /// Whether hops are probed at all.
    pub(super) fn is_on(&self) -> bool {
        !self.interval.is_zero()
    }

    /// Receives the responses over UDP. Never returns.
    pub(super) async fn receive(&self) {
        tokio::join!(self.receive_from(&self.v4), self.receive_from(&self.v6));
    }

    async fn receive_from(&self, socket: &Result<UdpSocket, String>) {
        let Ok(socket) = socket else { return };
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let Ok((length, source)) = socket.recv_from(&mut buffer).await else {
                sleep(PAUSE).await;
                continue;
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            let Some((call_id, status)) = answer_to_probe(bytes) else { continue };
            let mut waiting = self.waiting();
            // a hop with several ports may answer from another one
            let is_from = |(ip, _): &(IpAddr, _)| *ip == source.ip().to_canonical();
            if waiting.get(&call_id).is_some_and(is_from)
                && let Some((_, result)) = waiting.remove(&call_id)
            {
                // the prober may just have given up
                let _ = result.send(ProbeResult::Status(status));
            }
        }
    }

    /// Probes a hop at regular intervals and notes whether it is up. Never returns.
    pub(super) async fn watch(&self, peer: &Peer) {
        let mut misses = 0;
        loop {
            while peer.is_former() {
                peer.wake.notified().await;
            }
            // never closed
            let permit = self.permits.acquire().await;
            let result = timeout(self.wait, self.probe(peer)).await;
            drop(permit);
            let mut pause = self.jittered();
            match result {
                Ok(ProbeResult::Status(status)) if is_healthy(status) => {
                    misses = 0;
                    peer.set_up(status);
                }
                Ok(ProbeResult::Status(status)) => {
                    misses = MAX_MISSES;
                    peer.set_down(&format!("it answered {status} to OPTIONS"), Some(status));
                }
                Ok(ProbeResult::Unreachable(reason)) => {
                    misses = MAX_MISSES;
                    peer.set_down(&reason, None);
                }
                missed => {
                    misses += 1;
                    let reason = match missed {
                        Ok(ProbeResult::Broken(reason)) => reason,
                        _ => "no answer to OPTIONS".to_owned(),
                    };
                    if misses >= MAX_MISSES {
                        peer.set_down(&reason, None);
                        // another connection may reach it
                        peer.reset.notify_one();
                    } else {
                        pause = SOON;
                    }
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = peer.wake.notified() => sleep(SOON).await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn probe(&self, peer: &Peer) -> ProbeResult {
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            return ProbeResult::Unreachable(error.to_string());
        }
        let (call_id, (result, received)) = (u128::from_ne_bytes(random), oneshot::channel());
        if peer.is_stream() {
            let bytes = request(peer, call_id, &self.sent_by);
            peer.send(Item::Probe(bytes, Waiter { call_id, result }));
            return match received.await {
                Ok(result) => result,
                // the queue is full: the hop reads nothing
                Err(_) => std::future::pending().await,
            };
        }
        let ip = peer.address().ip();
        let _forget = Forget { prober: self, call_id };
        self.waiting().insert(call_id, (ip, result));
        self.ask(peer, call_id, received)
            .await
            .unwrap_or_else(|error| ProbeResult::Unreachable(error.to_string()))
    }

    /// Sends a request over UDP until there is a response.
    async fn ask(
        &self,
        peer: &Peer,
        call_id: u128,
        mut received: oneshot::Receiver<ProbeResult>,
    ) -> io::Result<ProbeResult> {
        let to = peer.address();
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let socket = socket.as_ref().map_err(|why| io::Error::other(why.as_str()))?;
        let here = SocketAddr::new(source_of(to)?, socket.local_addr()?.port());
        let bytes = request(peer, call_id, &here.to_string());
        let mut pause = T1;
        loop {
            socket.send_to(&bytes, to).await?;
            match timeout_at(Instant::now() + pause, &mut received).await {
                Ok(Ok(result)) => return Ok(result),
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => pause *= 2,
            }
        }
    }

    /// The interval, longer or shorter by up to a tenth, so that hops are not probed all at once.
    fn jittered(&self) -> Duration {
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        let factor = 0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX);
        self.interval.mul_f64(factor)
    }
}

/// Removes a probe that is over.
struct Forget<'a> {
    prober: &'a Prober,
    call_id: u128,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.prober.waiting().remove(&self.call_id);
    }
}

/// The Call-ID and status of a final response that a probe may wait for.
pub(super) fn answer_to_probe(bytes: &[u8]) -> Option<(u128, u16)> {
    let message = Message::scan(bytes)?;
    let StartLine::Response { status: status @ 200.. } = message.start_line() else { return None };
    let call_id = message.first(Header::CallId)?;
    let mut number = [0; 16];
    hex::decode_to_slice(call_id, &mut number).ok()?;
    Some((u128::from_be_bytes(number), status))
}

/// Whether a hop that answers this takes calls: 408 and 503 say that it does not.
fn is_healthy(status: u16) -> bool {
    !matches!(status, 408 | 503)
}

/// An OPTIONS to a hop.
fn request(peer: &Peer, call_id: u128, sent_by: &str) -> Vec<u8> {
    let (host, address) = (peer.host.as_str(), peer.address());
    let (via, parameter) = match peer.leg.transport {
        Transport::Udp => ("UDP", ""),
        Transport::Tcp => ("TCP", ";transport=tcp"),
        _ => ("TLS", ";transport=tls"),
    };
    // only for responses that come back to this request
    let branch = call_id.rotate_left(64);
    let mut text = format!("OPTIONS sip:{host}:{}{parameter} SIP/2.0\r\n", address.port());
    // writing to a String does not fail
    let _ = write!(
        text,
        "Via: SIP/2.0/{via} {sent_by};branch=z9hG4bK{branch:032x};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{sent_by}>;tag={:08x}\r\n\
         To: <sip:{host}>\r\n\
         Call-ID: {call_id:032x}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Contact: <sip:{sent_by}{parameter}>\r\n\
         Accept: application/sdp\r\n\
         Content-Length: 0\r\n\r\n",
        call_id >> 96,
    );
    text.into_bytes()
}

fn open(ip: IpAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 },
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if ip.is_ipv6() {
        // the other socket has IPv4
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(ip, 0).into())?;
    UdpSocket::from_std(socket.into())
}

/// The address of this machine on the route to a hop.
fn source_of(to: SocketAddr) -> io::Result<IpAddr> {
    let ip: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((ip, 0))?;
    // sends nothing
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// Starts the task that receives the responses over UDP.
pub(super) fn start(prober: &Arc<Prober>) -> tokio::task::JoinHandle<()> {
    let prober = Arc::clone(prober);
    tokio::spawn(async move { prober.receive().await })
}

#[cfg(test)]
mod tests {
    use sip_authz::uri::Host;
    use sip_authz_proxy::Leg;

    use super::*;

    #[test]
    fn an_options_is_well_formed_and_its_answer_is_known() {
        for (host, address) in
            [("pbx.example", "192.0.2.1:5060"), ("[2001:db8::1]", "[2001:db8::1]:5")]
        {
            for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
                let leg = Leg::hop(transport, address.parse().unwrap());
                let (peer, _items) = Peer::new(leg, Host::parse(host).unwrap(), true);
                let bytes = request(&peer, 7, "edge.example:5060");
                let message = Message::scan(&bytes).unwrap();
                assert_eq!(message.stream_defect(), None);
                assert!(matches!(
                    message.start_line(),
                    StartLine::Request { method: "OPTIONS", .. }
                ));
                assert_eq!(answer_to_probe(&bytes), None);
                let head = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                let answer =
                    |line: &str| answer_to_probe(&[line.as_bytes(), &bytes[head..]].concat());
                assert_eq!(answer("SIP/2.0 100 Trying\r\n"), None);
                for status in [200, 404, 503] {
                    assert_eq!(answer(&format!("SIP/2.0 {status} x\r\n")), Some((7, status)));
                }
            }
        }
        let others = ["1@example", "+0000000000000000000000000000007", "7"];
        for call_id in others {
            let text = format!("SIP/2.0 200 OK\r\nCall-ID: {call_id}\r\n\r\n");
            assert_eq!(answer_to_probe(text.as_bytes()), None, "{call_id}");
        }
    }

    #[test]
    fn only_408_and_503_say_that_a_hop_takes_no_calls() {
        for status in [200, 302, 401, 403, 404, 405, 407, 420, 480, 481, 486, 500, 501, 600] {
            assert!(is_healthy(status), "{status}");
        }
        assert!(!is_healthy(503) && !is_healthy(408));
    }

    #[tokio::test]
    async fn intervals_differ_by_up_to_a_tenth() {
        let second = Duration::from_secs(1);
        let prober = Prober::new(10 * second, second, String::new());
        for _ in 0..100 {
            assert!((9 * second..=11 * second).contains(&prober.jittered()));
        }
    }
}
