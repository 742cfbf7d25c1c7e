//! Hops on loopback, with a clock that runs ahead while all tasks wait.

mod choice;
mod health;
pub(super) mod name_server;
mod services;
mod streams;
#[cfg(feature = "tls")]
mod tls;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use sip_authz::Transport;
use sip_authz::message::{Header, Message, StartLine};
use sip_authz::model::OnAccept;
use sip_authz_proxy::Way;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::*;
use crate::system::test_clock::wait_for_network;

const SECOND: Duration = Duration::from_secs(1);

/// Keeps the messages that come from hops.
#[derive(Default)]
struct Inbox(Mutex<Vec<(String, Leg)>>);

impl Receive for Inbox {
    fn message(&self, bytes: &[u8], from: Leg) -> Vec<u8> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = if text.starts_with("SIP/2.0") { "" } else { "ANSWER sip:a SIP/2.0\r\n\r\n" };
        self.0.lock().unwrap().push((text, from));
        answer.into()
    }
}

impl Inbox {
    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(text, _)| text.clone()).collect()
    }
}

fn options(probe: u64) -> HopOptions {
    HopOptions {
        probe: Duration::from_secs(probe),
        probe_wait: PROBE_WAIT,
        ca: None,
        sent_by: "127.0.0.1:5060".to_owned(),
        tls: true,
    }
}

fn hops(probe: u64) -> (Hops, Arc<Inbox>) {
    wait_for_network();
    let inbox = Arc::new(Inbox::default());
    let receive: Arc<dyn Receive> = Arc::clone(&inbox) as _;
    (Hops::new(options(probe), receive).unwrap(), inbox)
}

fn forward(hops: &str) -> Forward {
    match format!("forward:{hops}").parse() {
        Ok(OnAccept::Forward(forward)) => forward,
        other => panic!("{hops}: {other:?}"),
    }
}

/// The addresses that many calls go to, each with its share in percent.
fn shares(hops: &Hops, forward: &Forward) -> Vec<(SocketAddr, u32)> {
    const CALLS: u32 = 2_000;
    let mut counts = HashMap::new();
    for call in 0..CALLS {
        if let Some(leg) = hops.choose(forward, false, false, call.to_string().as_bytes()) {
            assert!(leg.is_hop() && hops.is_hop(&leg));
            *counts.entry(leg.address).or_insert(0) += 1;
        }
    }
    let mut shares: Vec<_> =
        counts.into_iter().map(|(address, count)| (address, 100 * count / CALLS)).collect();
    shares.sort_unstable();
    shares
}

/// Whether all calls go to exactly these addresses.
fn all_go_to(hops: &Hops, forward: &Forward, addresses: &[SocketAddr]) -> bool {
    let choose = |call: u8| hops.choose(forward, false, false, &[call]);
    let found: HashSet<_> = (0..64).filter_map(choose).map(|leg| leg.address).collect();
    found == addresses.iter().copied().collect()
}

/// Waits until it is so; returns the time that it took.
async fn until(mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < 120 * SECOND, "after two minutes");
        sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

/// The response to an OPTIONS, with this status.
fn answer(request: &[u8], status: u16) -> Vec<u8> {
    let message = Message::scan(request).unwrap();
    assert!(matches!(message.start_line(), StartLine::Request { method: "OPTIONS", .. }));
    let mut text = format!("SIP/2.0 {status} x\r\n");
    for header in [Header::Via, Header::From, Header::To, Header::CallId, Header::CSeq] {
        let value = str::from_utf8(message.first(header).unwrap()).unwrap();
        text += &format!("{}: {value}\r\n", header.name());
    }
    text += "Content-Length: 0\r\n\r\n";
    text.into_bytes()
}

/// A hop over UDP.
struct UdpHop {
    address: SocketAddr,
    /// The status of its answers; none if 0.
    status: AtomicU16,
    asked: AtomicUsize,
    provisional: AtomicBool,
}

impl UdpHop {
    async fn start(address: &str) -> Arc<Self> {
        let socket = UdpSocket::bind(address).await.unwrap();
        let hop = Arc::new(Self {
            address: socket.local_addr().unwrap(),
            status: AtomicU16::new(200),
            asked: AtomicUsize::new(0),
            provisional: AtomicBool::new(false),
        });
        let of_task = Arc::clone(&hop);
        tokio::spawn(async move {
            let mut buffer = [0; 2_048];
            loop {
                let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
                of_task.asked.fetch_add(1, Ordering::Relaxed);
                if of_task.provisional.load(Ordering::Relaxed) {
                    socket.send_to(&answer(&buffer[..length], 100), source).await.unwrap();
                }
                let status = of_task.status.load(Ordering::Relaxed);
                if status > 0 {
                    socket.send_to(&answer(&buffer[..length], status), source).await.unwrap();
                }
            }
        });
        hop
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_hop_is_known_by_its_ip_whatever_port_its_connection_has() {
    let (hops, _inbox) = hops(0);
    let forward = forward(
        "sip:127.0.0.1:5081;transport=tcp,sip:127.0.0.1:5080;transport=tcp,\
         sip:127.0.0.2:5080;transport=udp,sips:127.0.0.3:5061",
    );
    // the PBX of another domain at the same addresses, on lower ports
    let other = self::forward("sip:127.0.0.1:5079;transport=tcp,sip:127.0.0.9:5080;transport=tcp");
    hops.set([&forward, &other]);
    let leg = |transport, address: &str| Leg {
        transport,
        address: address.parse().unwrap(),
        way: Way::Connection(7),
    };
    let hop = |transport, address: &str| Leg::hop(transport, address.parse().unwrap());
    for (transport, from, expected) in [
        (Transport::Tcp, "127.0.0.1:40000", Some("127.0.0.1:5080")),
        (Transport::Tcp, "[::ffff:127.0.0.1]:40000", Some("127.0.0.1:5080")),
        (Transport::Tls, "127.0.0.3:40000", Some("127.0.0.3:5061")),
        (Transport::Tls, "127.0.0.1:5080", None),
        (Transport::Tcp, "127.0.0.2:5080", None),
        (Transport::Tcp, "127.0.0.9:5080", None),
    ] {
        let found = hops.behind(&forward, &leg(transport, from));
        assert_eq!(found, expected.map(|address| hop(transport, address)), "{from}");
    }
    let own = hop(Transport::Tcp, "127.0.0.9:5080");
    assert_eq!(hops.behind(&forward, &own), Some(own));
}
