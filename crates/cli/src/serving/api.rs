//! The HTTP server that carries the resources: HTTP/1.1, in clear or over TLS, bounded in connections, in the
//! size of heads and in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::args::ApiBounds;
use crate::system::secure::Security;

/// The longest head of a request in bytes.
const MAX_HEAD: usize = 64 << 10;
/// What is waited after a connection could not be accepted, for lack of file handles for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server at one address.
pub(crate) struct Server {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Server {
    /// Answers with whatever router is current. To be called within the runtime.
    pub(crate) fn start(
        listener: TcpListener,
        current: Arc<ArcSwap<Router>>,
        security: Security,
        bounds: ApiBounds,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, ended: tokio::spawn(serve(listener, current, security, bounds, stopped)) }
    }

    /// Takes no more requests, and returns when those under way are answered.
    pub(crate) async fn end(self) {
        let _ = self.stop.send(());
        let _ = self.ended.await;
    }
}

async fn serve(
    listener: TcpListener,
    current: Arc<ArcSwap<Router>>,
    security: Security,
    bounds: ApiBounds,
    mut stopped: oneshot::Receiver<()>,
) {
    let room = Arc::new(Semaphore::new(bounds.connections.into()));
    let under_way = GracefulShutdown::new();
    loop {
        let (stream, place) = tokio::select! {
            Some(next) = next(&listener, &room) => next,
            _ = &mut stopped => break,
        };
        // answers are written whole
        let _ = stream.set_nodelay(true);
        // a client that never reads does not hold its place for ever
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(bounds.head));
        let (current, security) = (Arc::clone(&current), security.clone());
        let watcher = under_way.watcher();
        tokio::spawn(async move {
            match security {
                Security::None => connection(stream, current, watcher, false, bounds).await,
                #[cfg(feature = "tls")]
                Security::Tls(identity) => {
                    let time = bounds.head.min(crate::system::tls::HANDSHAKE_TIME);
                    if let Ok(stream) = identity.accept(stream, time).await {
                        connection(stream, current, watcher, true, bounds).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    under_way.shutdown().await;
}

/// The next connection, once there is room for it.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // the semaphore is never closed
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    current: Arc<ArcSwap<Router>>,
    watcher: Watcher,
    over_tls: bool,
    bounds: ApiBounds,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        if over_tls && let Some(uri) = with_https(&request) {
            *request.uri_mut() = uri;
        }
        answer(current.load_full(), request, bounds.request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        // of what was read in part, and of what came whole
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // a client that goes away or speaks no HTTP is its own affair
    let _ = watcher.watch(served).await;
}

/// The URI with its scheme and the host that the client named, for links in answers to begin with.
fn with_https(request: &hyper::Request<Incoming>) -> Option<Uri> {
    let host = request.headers().get(header::HOST)?;
    let path = request.uri().path_and_query()?.clone();
    Uri::builder().scheme("https").authority(host.as_bytes()).path_and_query(path).build().ok()
}

async fn answer(
    router: Arc<Router>,
    request: hyper::Request<Incoming>,
    time: Duration,
) -> Result<Response, Infallible> {
    // all records at once take long to read and to write, and other requests do not wait for that
    let long = request.uri().path().starts_with("/admin/");
    let answered = TowerToHyperService::new(Router::clone(&router)).call(request);
    let answered = async move { if long { aside(answered).await } else { answered.await } };
    let answered = tokio::time::timeout(time, answered).await;
    answered.unwrap_or_else(|_| Ok(StatusCode::REQUEST_TIMEOUT.into_response()))
}

/// Answers on a thread of its own, until nobody waits for it any more. What runs there has no timer, as
/// timers end before such threads do when the program ends.
async fn aside(
    answered: impl Future<Output = Result<Response, Infallible>> + Send + 'static,
) -> Result<Response, Infallible> {
    let (waits, gone) = oneshot::channel::<Infallible>();
    let within = Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        within.block_on(async {
            tokio::select! {
                answered = answered => answered,
                _ = gone => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
            }
        })
    });
    let answered = thread.await;
    drop(waits);
    answered.unwrap_or_else(|_| Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()))
}
