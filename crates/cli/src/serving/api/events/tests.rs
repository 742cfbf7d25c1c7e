//! Streams of events over sockets.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Interval, interval, sleep, timeout};

use super::super::Server;
use super::*;
use crate::args::ApiBounds;
use crate::system::secure::Security;

/// The time within which something happens on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Events without an end, and their number.
struct Endless {
    text: &'static str,
    pause: Option<Interval>,
    sent: Arc<AtomicU64>,
    /// Told when the stream is dropped.
    dropped: Arc<AtomicBool>,
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.poll_tick(cx));
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.text.as_bytes())))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

struct Site {
    server: Server,
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    dropped: Arc<AtomicBool>,
}

impl Site {
    /// A server with a stream, which pauses after each event unless the pause is zero.
    async fn start(text: &'static str, pause: Duration, head: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, dropped) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let parts = (Arc::clone(&sent), Arc::clone(&dropped));
        let stream = move || {
            let (sent, dropped) = parts.clone();
            let pause = (!pause.is_zero()).then(|| interval(pause));
            let body = Body::new(Endless { text, pause, sent, dropped });
            std::future::ready(([(header::CONTENT_TYPE, EVENTS)], body).into_response())
        };
        let router = Router::new().route("/", get(stream));
        let bounds = ApiBounds { connections: 4, head, request: Duration::from_secs(1) };
        let current = Arc::new(ArcSwap::from_pointee(router));
        let server = Server::start(listener, current, Security::None, bounds);
        Self { server, address, sent, dropped }
    }

    async fn follow(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stream
    }

    /// Waits until the server can send no more.
    async fn until_stuck(&self) {
        let sent = || self.sent.load(Ordering::Relaxed);
        let mut before = 0;
        while sent() == 0 || sent() != before {
            before = sent();
            sleep(Duration::from_millis(300)).await;
        }
    }
}

/// An event that fills buffers soon.
const BIG: &str = match str::from_utf8(&[b'x'; 1 << 16]) {
    Ok(text) => text,
    Err(_) => "",
};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_stream_outlives_the_time_of_a_request_and_ends_with_the_program() {
    let site = Site::start(": more\n\n", Duration::from_millis(100), LONG).await;
    let mut stream = site.follow().await;
    let mut text = String::new();
    let mut buffer = [0; 1_024];
    // the limit of a request is a second
    while text.matches(": more").count() < 15 {
        let length = timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(length, 0, "{text}");
        text.push_str(str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    timeout(SOON, site.server.end()).await.unwrap();
    timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.ends_with("0\r\n\r\n"), "a whole answer ends with an empty chunk: {text}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_does_not_read_loses_its_stream() {
    let site = Site::start(BIG, Duration::ZERO, Duration::from_secs(1)).await;
    let stream = site.follow().await;
    let dropped = async {
        while !site.dropped.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, dropped).await.unwrap();
    assert_ne!(site.sent.load(Ordering::Relaxed), 0);
    drop(stream);
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let site = Site::start(BIG, Duration::ZERO, LONG).await;
    let stream = site.follow().await;
    site.until_stuck().await;
    assert!(!site.dropped.load(Ordering::Relaxed));
    timeout(SOON, site.server.end()).await.unwrap();
    assert!(site.dropped.load(Ordering::Relaxed));
    drop(stream);
}
