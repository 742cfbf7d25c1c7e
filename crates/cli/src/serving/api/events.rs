//! Answers that are streams of events, which have no end of their own.
//!
//! The time limit of a request counts until its answer begins, so a stream may last. A client that does not
//! read loses its connection by the limit on unacknowledged bytes. At the end of the program the streams end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::Response;
use hyper::body::Frame;
use tokio::sync::watch;

/// The media type of server-sent events.
const EVENTS: &str = "text/event-stream";
/// The time to deliver the last events at the end of the program.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// The streams of a connection.
#[derive(Clone)]
pub(super) struct Streams {
    /// Its sender is dropped at the end of the program.
    ended: watch::Receiver<()>,
    /// Whether the connection has had a stream.
    any: Arc<AtomicBool>,
}

impl Streams {
    pub(super) fn new(ended: watch::Receiver<()>) -> Self {
        Self { ended, any: Arc::default() }
    }

    /// Ends a stream at the end of the program. Other answers stay as they are.
    pub(super) fn ending(&self, answered: Response) -> Response {
        if answered.headers().get(header::CONTENT_TYPE).is_none_or(|media| media != EVENTS) {
            return answered;
        }
        self.any.store(true, Ordering::Relaxed);
        let mut ended = self.ended.clone();
        answered.map(|events| {
            let end = Box::pin(async move { while ended.changed().await.is_ok() {} });
            Body::new(Ending { events, end })
        })
    }

    /// Waits for the end of the program, and then until the client of a stream must have read its end. The
    /// connection of a client that has not is closed, so that the program does not wait for it.
    pub(super) fn stuck(&self) -> impl Future<Output = ()> + Send + use<> {
        let Self { mut ended, any } = self.clone();
        async move {
            while ended.changed().await.is_ok() {}
            if !any.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LAST_EVENTS).await;
        }
    }
}

/// A body that ends with its events, or once `end` is ready.
struct Ending {
    events: Body,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl hyper::body::Body for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.events).poll_frame(cx)
    }
}

#[cfg(test)]
mod tests;
