//! The HTTP/1.1 server, plain or over TLS, with limits on connections, head size and time.

mod events;

use std::convert::Infallible;
use std::net::SocketAddr;
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
use sip_authz_rest::PeerAddress;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use crate::args::ApiBounds;
use crate::system::secure::Security;

/// The maximum size of a request head in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The wait after a failed `accept`, for example without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server at one address.
pub(crate) struct Server {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Server {
    /// Starts to answer with the current router. Must be called within the runtime.
    pub(crate) fn start(
        listener: TcpListener,
        current: Arc<ArcSwap<Router>>,
        security: Security,
        bounds: ApiBounds,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, ended: tokio::spawn(serve(listener, current, security, bounds, stopped)) }
    }

    /// Accepts no more requests, ends the streams of events, and returns once the open requests are answered.
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
    let permits = Arc::new(Semaphore::new(bounds.connections.into()));
    let open = GracefulShutdown::new();
    let (program, ended) = watch::channel(());
    loop {
        let ((stream, peer), permit) = tokio::select! {
            Some(next) = next(&listener, &permits) => next,
            _ = &mut stopped => break,
        };
        // answers are written whole, so Nagle's algorithm would only delay them
        let _ = stream.set_nodelay(true);
        // closes the connection of a client that does not read its answers
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(bounds.head));
        let (current, security) = (Arc::clone(&current), security.clone());
        let (watcher, streams) = (open.watcher(), events::Streams::new(ended.clone()));
        tokio::spawn(async move {
            match security {
                Security::None => {
                    connection(stream, peer, current, watcher, streams, false, bounds).await;
                }
                #[cfg(feature = "tls")]
                Security::Tls(identity) => {
                    let time = bounds.head.min(crate::system::tls::HANDSHAKE_TIME);
                    if let Ok(stream) = identity.accept(stream, time).await {
                        connection(stream, peer, current, watcher, streams, true, bounds).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop((listener, program));
    open.shutdown().await;
}

/// Waits for a free permit, then for the next connection.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<((TcpStream, SocketAddr), OwnedSemaphorePermit)> {
    // the semaphore is never closed
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok(accepted) => return Some((accepted, permit)),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: SocketAddr,
    current: Arc<ArcSwap<Router>>,
    watcher: Watcher,
    streams: events::Streams,
    over_tls: bool,
    bounds: ApiBounds,
) {
    let stuck = streams.stuck();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        if over_tls && let Some(uri) = with_https(&request) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(PeerAddress(peer));
        let answered = answer(current.load_full(), request, bounds.request);
        let streams = streams.clone();
        async move { Ok::<_, Infallible>(streams.ending(answered.await?)) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        // the first limits the read buffer, the second a head that arrives at once
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // errors of a client are not logged
        _ = watcher.watch(served) => {}
        () = stuck => {}
    }
}

/// The request's URI with `https` and the Host header, from which the router builds links.
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
    // import and export of all records take long; other requests must not wait for them
    let long = request.uri().path().starts_with("/admin/");
    let answered = TowerToHyperService::new(Router::clone(&router)).call(request);
    let answered = async move { if long { aside(answered).await } else { answered.await } };
    let answered = tokio::time::timeout(time, answered).await;
    answered.unwrap_or_else(|_| Ok(StatusCode::REQUEST_TIMEOUT.into_response()))
}

/// Answers on a thread of its own, and stops once the client has gone or its time is over.
///
/// The future must not use timers: at the end of the program timers stop before such threads.
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
