use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::sip::stream::{Input, Part, read};

const MESSAGE: &str = "MESSAGE sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n\
    From: <sip:a@b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n\
    Content-Length: 0\r\n\r\n";

/// A hop over TCP with a task for each connection.
struct TcpHop {
    address: SocketAddr,
    connections: AtomicUsize,
    /// Whether it closes its connections.
    closes: AtomicBool,
    /// Whether it answers OPTIONS.
    answers: AtomicBool,
    got: Mutex<Vec<String>>,
    pings: AtomicUsize,
}

impl TcpHop {
    async fn start(address: &str) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let hop = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            connections: AtomicUsize::new(0),
            closes: AtomicBool::new(false),
            answers: AtomicBool::new(true),
            got: Mutex::default(),
            pings: AtomicUsize::new(0),
        });
        let of_task = Arc::clone(&hop);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                of_task.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(Arc::clone(&of_task).serve(stream));
            }
        });
        (hop, task)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut input = Input::default();
        while !self.closes.load(Ordering::Relaxed) {
            match input.next_part() {
                Some(Part::KeepAlives(count)) => {
                    self.pings.fetch_add(count, Ordering::Relaxed);
                }
                Some(Part::Message(length)) => {
                    let bytes: Vec<_> = input.bytes[..length].to_vec();
                    input.remove(length);
                    if bytes.starts_with(b"OPTIONS") {
                        if self.answers.load(Ordering::Relaxed) {
                            stream.write_all(&answer(&bytes, 200)).await.unwrap();
                        }
                    } else {
                        self.got.lock().unwrap().push(String::from_utf8(bytes).unwrap());
                    }
                }
                Some(Part::Uncut(error)) => panic!("{error}"),
                None => {
                    let wait = Duration::from_millis(100);
                    let read = read(&mut stream, &mut input.bytes);
                    if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(wait, read).await {
                        return;
                    }
                }
            }
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn got(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn forward(&self) -> Forward {
        forward(&format!("{};transport=tcp", self.address))
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_carries_probes_and_messages() {
    let (hop, _) = TcpHop::start("127.0.0.1:0").await;
    let (hops, inbox) = hops(10);
    let forward = hop.forward();
    hops.set([&forward]);
    until(|| hops.states()[0].status == Some(200)).await;
    let leg = hops.choose(&forward, true, false, b"1").unwrap();
    for n in 1..=5 {
        hops.send(&leg, MESSAGE.into());
        until(|| hop.got() == n).await;
        sleep(20 * SECOND).await;
    }
    assert_eq!((hop.connections(), hops.states()[0].dropped), (1, 0));
    assert_eq!(inbox.texts(), Vec::<String>::new());
    // probes are no silence
    assert_eq!(hop.pings.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_is_opened_again() {
    let (hop, _) = TcpHop::start("127.0.0.1:0").await;
    let (hops, _) = hops(10);
    let forward = hop.forward();
    hops.set([&forward]);
    until(|| hops.states()[0].status == Some(200)).await;
    hop.closes.store(true, Ordering::Relaxed);
    until(|| hop.connections() > 1).await;
    hop.closes.store(false, Ordering::Relaxed);
    // a hop that closes each connection without an answer is down in between
    let leg = Leg::hop(Transport::Tcp, hop.address);
    until(|| hops.choose(&forward, true, false, b"1") == Some(leg)).await;
    let before = hop.got();
    until(|| {
        hops.send(&leg, MESSAGE.into());
        hop.got() > before
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hop_without_a_listener_is_down_at_once() {
    let (hop, listening) = TcpHop::start("127.0.0.1:0").await;
    let (hops, _) = hops(10);
    let forward = hop.forward();
    hops.set([&forward]);
    until(|| hops.states()[0].status == Some(200)).await;
    listening.abort();
    let took = until(|| hops.choose(&forward, true, false, b"1").is_none()).await;
    assert!(took <= 2 * SECOND, "{took:?}");
    let state = hops.states().remove(0);
    assert!(state.reason.unwrap().contains("refused"));
    let (again, _) = TcpHop::start(&hop.address.to_string()).await;
    let took = until(|| hops.choose(&forward, true, false, b"1").is_some()).await;
    assert!(took <= 12 * SECOND && again.connections() == 1, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hop_that_answers_no_options_is_down_and_gets_another_connection() {
    let (hop, _) = TcpHop::start("127.0.0.1:0").await;
    let (hops, _) = hops(10);
    let forward = hop.forward();
    hops.set([&forward]);
    until(|| hops.states()[0].status == Some(200)).await;
    hop.answers.store(false, Ordering::Relaxed);
    until(|| hops.choose(&forward, true, false, b"1").is_none()).await;
    assert_eq!(hops.states()[0].reason.as_deref(), Some("no answer to OPTIONS"));
    until(|| hop.connections() > 1).await;
    hop.answers.store(true, Ordering::Relaxed);
    until(|| hops.choose(&forward, true, false, b"1").is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn messages_for_a_hop_that_is_away_are_lost_and_counted() {
    let (hop, listening) = TcpHop::start("127.0.0.1:0").await;
    let (hops, _) = hops(0);
    hops.set([&hop.forward()]);
    let leg = Leg::hop(Transport::Tcp, hop.address);
    listening.abort();
    sleep(SECOND).await;
    for _ in 0..3 {
        hops.send(&leg, MESSAGE.into());
    }
    until(|| hops.states()[0].dropped == 3).await;
    // no probes: it stays up, and the next message finds the connection
    assert!(hops.states()[0].is_up);
    let (again, _) = TcpHop::start(&hop.address.to_string()).await;
    sleep(6 * SECOND).await;
    hops.send(&leg, MESSAGE.into());
    until(|| again.got() == 1).await;
    assert_eq!(hops.states()[0].reason, None);
    // not a hop
    hops.send(&Leg::hop(Transport::Tcp, SocketAddr::from(([127, 0, 0, 9], 9))), MESSAGE.into());
    hops.send(&Leg::hop(Transport::Udp, hop.address), MESSAGE.into());
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_gets_keep_alives() {
    let (hop, _) = TcpHop::start("127.0.0.1:0").await;
    let (hops, _) = hops(0);
    hops.set([&hop.forward()]);
    hops.send(&Leg::hop(Transport::Tcp, hop.address), MESSAGE.into());
    sleep(100 * SECOND).await;
    assert_eq!((hop.pings.load(Ordering::Relaxed), hop.connections()), (3, 1));
}

/// Accepts one connection and sends these bytes on it; returns what it gets within a second.
async fn sends(bytes: &[u8]) -> (Hops, Arc<Inbox>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (hops, inbox) = hops(0);
    let address = listener.local_addr().unwrap();
    hops.set([&forward(&format!("{address};transport=tcp"))]);
    hops.send(&Leg::hop(Transport::Tcp, address), b"first\r\n".to_vec());
    let (mut stream, _) = listener.accept().await.unwrap();
    // delayed acknowledgements follow another clock
    stream.set_nodelay(true).unwrap();
    for part in bytes.chunks(7) {
        // it may be closed
        let _ = stream.write_all(part).await;
        sleep(Duration::from_millis(2)).await;
    }
    let mut got = Vec::new();
    let deadline = Instant::now() + SECOND;
    while let Ok(Ok(1..)) = tokio::time::timeout_at(deadline, stream.read_buf(&mut got)).await {}
    (hops, inbox, String::from_utf8(got).unwrap())
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_hop_are_received_and_answered_on_the_same_connection() {
    let response = MESSAGE.replace("MESSAGE sip:a SIP/2.0", "SIP/2.0 200 OK");
    // a pong, two messages and a half
    let bytes = ["\r\n", MESSAGE, &response, "BYE sip:"].concat();
    let (hops, inbox, got) = sends(bytes.as_bytes()).await;
    assert_eq!(got, "first\r\nANSWER sip:a SIP/2.0\r\n\r\n");
    let address = hops.states()[0].address.unwrap();
    let from = Leg::hop(Transport::Tcp, address);
    let got = inbox.0.lock().unwrap();
    assert_eq!(*got, [(MESSAGE.to_owned(), from), (response, from)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_cut_is_closed() {
    let two_lengths =
        MESSAGE.replace("Content-Length: 0", "Content-Length: 0\r\nContent-Length: 9");
    let bare_lf = MESSAGE.replace("Call-ID: 1\r\n", "Call-ID: 1\n\n");
    let control = MESSAGE.replace("Call-ID: 1", "Call-ID: 1\u{b}");
    for (bytes, received) in
        [("garbage\r\n\r\n", 0), (&two_lengths, 0), (&bare_lf, 0), (&control, 0)]
    {
        let (hops, inbox, _) = sends([bytes, MESSAGE].concat().as_bytes()).await;
        assert_eq!(inbox.texts().len(), received, "{bytes}");
        drop(hops);
    }
    let bad_cseq = MESSAGE.replace("CSeq: 1 MESSAGE", "CSeq: 1 OTHER");
    let (_hops, inbox, got) = sends([&bad_cseq, MESSAGE].concat().as_bytes()).await;
    assert_eq!(inbox.texts(), [bad_cseq]);
    assert!(got.starts_with("first\r\n"), "{got}");
}
