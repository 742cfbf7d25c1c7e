//! Response bodies that a thread of their own produces, so that other requests do not wait for them.

use std::convert::Infallible;
use std::io;
use std::pin::pin;

use axum::body::{Body, Bytes};
use futures_util::future::select;
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// The client has gone.
#[derive(Debug)]
pub(super) struct Gone;

/// Takes the pieces of a body.
pub(super) struct Sender(mpsc::Sender<Piece>);

/// Gives the pieces of a body.
pub(super) struct Receiver(mpsc::Receiver<Piece>);

enum Piece {
    Part(Vec<u8>),
    /// The body is complete.
    End,
}

/// A channel in which one piece waits at most.
pub(super) fn channel() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(1);
    (Sender(sender), Receiver(receiver))
}

impl Sender {
    /// Sends a piece, once the one before it was taken.
    pub(super) async fn send(&self, piece: Vec<u8>) -> Result<(), Gone> {
        self.0.send(Piece::Part(piece)).await.map_err(|_| Gone)
    }

    /// Ends the body. A body whose sender is dropped before that is broken off.
    pub(super) async fn end(self) -> Result<(), Gone> {
        self.0.send(Piece::End).await.map_err(|_| Gone)
    }
}

impl Receiver {
    /// The next piece, if the body has one.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.0.recv().await {
            Some(Piece::Part(piece)) => Ok(Some(piece)),
            Some(Piece::End) => Ok(None),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The body that `produce` sends. It runs until its end, or until the client has gone.
///
/// It must not use timers: at the end of the program timers stop before its thread.
pub(super) fn body<F>(produce: impl FnOnce(Sender) -> F + Send + 'static) -> Body
where
    F: Future<Output = ()>,
{
    let (sender, receiver) = channel();
    let (client, gone) = oneshot::channel::<Infallible>();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async { drop(select(pin!(produce(sender)), gone).await) });
    });
    let pieces = stream::try_unfold((receiver, client), async |(mut receiver, client)| {
        let piece = receiver.next().await?;
        Ok::<_, io::Error>(piece.map(|piece| (Bytes::from(piece), (receiver, client))))
    });
    Body::from_stream(pieces)
}
