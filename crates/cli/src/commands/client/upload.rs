//! Sends an import, and reads its progress meanwhile, which needs both directions of a connection at once.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use sip_authz_rest::bulk::{ImportAnswer, ImportFailure, ImportLine, ImportProgress, LINES};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{CONNECT_TIME, Client, Failure, MAX_ANSWER};
use crate::hops::tls::{Connector, HopStream};
use crate::system::api_url::ApiUrl;

/// The most bytes that are read from the file at once.
const PIECE: usize = 64 << 10;
/// The longest line of an answer in bytes.
const MAX_LINE: usize = 16 << 20;
/// The wait for the head of the answer before the document is sent. A server that refuses the request answers
/// at once, as does one that reports progress. Any other answers after the document.
const HEAD_WAIT: Duration = Duration::from_secs(1);
/// The interval between two calls of [`Watch::tick`].
const TICK: Duration = Duration::from_millis(100);

/// Why an import ended without a result.
pub(crate) enum UploadError {
    /// The file cannot be read.
    File(io::Error),
    /// The connection was lost, or the server cannot reach its store. Another attempt may succeed.
    Lost(String),
    /// The server refuses the import.
    Refused(String),
}

/// The file cannot be read further.
#[derive(Debug, thiserror::Error)]
#[error("the file cannot be read")]
struct Broken;

/// Reads the document in pieces until its end, or until the request ends.
fn read(
    mut document: impl Read,
    pieces: &mpsc::Sender<Result<Bytes, Broken>>,
    (broken, sent): &(Arc<Mutex<Option<io::Error>>>, Arc<AtomicUsize>),
) {
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    loop {
        let read = match document.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => Ok(Bytes::copy_from_slice(piece.get(..count).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // the lock is held for one assignment
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(Broken)
            }
        };
        let count = read.as_ref().map_or(0, Bytes::len);
        if pieces.blocking_send(read).is_err() || count == 0 {
            return;
        }
        sent.fetch_add(count, Ordering::Relaxed);
    }
}

impl From<Failure> for UploadError {
    fn from(failure: Failure) -> Self {
        match failure.status {
            None | Some(StatusCode::SERVICE_UNAVAILABLE) => Self::Lost(failure.message),
            Some(_) => Self::Refused(failure.message),
        }
    }
}

/// Watches an import.
pub(crate) trait Watch {
    /// Reports the progress of the server.
    fn applied(&mut self, progress: ImportProgress);
    /// Runs about every 100 ms.
    fn tick(&mut self);
}

impl Client {
    /// Sends an import, and counts the bytes that are sent in `sent`.
    pub(crate) fn import(
        &self,
        path: &str,
        document: impl Read + Send + 'static,
        sent: &Arc<AtomicUsize>,
        watch: &mut impl Watch,
    ) -> Result<ImportAnswer, UploadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(UploadError::File)?;
        let broken = Arc::<Mutex<Option<io::Error>>>::default();
        let (pieces, queue) = mpsc::channel(1);
        let reading = (Arc::clone(&broken), Arc::clone(sent));
        runtime.spawn_blocking(move || read(document, &pieces, &reading));
        let answer = runtime.block_on(self.exchange(path, queue, watch));
        // a read of a pipe can wait for ever
        runtime.shutdown_background();
        let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        match broken {
            Some(error) => Err(UploadError::File(error)),
            None => answer,
        }
    }

    async fn exchange(
        &self,
        path: &str,
        queue: mpsc::Receiver<Result<Bytes, Broken>>,
        watch: &mut impl Watch,
    ) -> Result<ImportAnswer, UploadError> {
        let (answered, head) = oneshot::channel();
        let body = stream::unfold((queue, Some(head)), async |(mut queue, head)| {
            if let Some(head) = head {
                // both mean: go on
                let _ = timeout(HEAD_WAIT, head).await;
            }
            let piece: Result<Bytes, Broken> = queue.recv().await?;
            Some((piece.map(Frame::data), (queue, None)))
        });
        let url = ApiUrl::parse(&self.base).map_err(|why| self.lost(why))?;
        let request = Request::post(format!("{}{path}", url.path))
            .header(header::HOST, format!("{}:{}", url.host.as_str(), url.port))
            .header(header::AUTHORIZATION, self.authorization.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, LINES)
            .header(header::USER_AGENT, concat!("sip-authz/", env!("CARGO_PKG_VERSION")))
            .body(StreamBody::new(body))
            .map_err(|error| self.lost(error))?;
        let stream = self.connect(&url).await?;
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|error| self.lost(error))?;
        // its errors reach the request
        tokio::spawn(async move { drop(connection.await) });
        let mut waiting = std::pin::pin!(sender.send_request(request));
        let answer = loop {
            match timeout(TICK, &mut waiting).await {
                Ok(answer) => break answer.map_err(|error| self.lost(error))?,
                Err(_) => watch.tick(),
            }
        };
        let _ = answered.send(());
        self.read_lines(answer, watch).await
    }

    async fn read_lines(
        &self,
        answer: Response<Incoming>,
        watch: &mut impl Watch,
    ) -> Result<ImportAnswer, UploadError> {
        let status = answer.status();
        let media = answer.headers().get(header::CONTENT_TYPE);
        let has_lines = media.is_some_and(|media| media.as_bytes() == LINES.as_bytes());
        let mut body = answer.into_body();
        if !status.is_success() || !has_lines {
            let limit = usize::try_from(MAX_ANSWER).unwrap_or(usize::MAX);
            let body =
                Limited::new(body, limit).collect().await.map_err(|error| self.lost(error))?;
            let body = body.to_bytes();
            if !status.is_success() {
                return Err(self.refusal(status, &body).into());
            }
            return serde_json::from_slice(&body).map_err(|_| self.foreign());
        }
        let mut rest = Vec::new();
        loop {
            let frame = match timeout(TICK, body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|error| self.lost(error))?,
                Ok(None) => return Err(self.lost("the answer ended early")),
                Err(_) => {
                    watch.tick();
                    continue;
                }
            };
            rest.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                match serde_json::from_slice(&line).map_err(|_| self.foreign())? {
                    ImportLine::Progress(progress) => watch.applied(progress),
                    ImportLine::Result(answer) => return Ok(answer),
                    ImportLine::Error(failure) => return Err(self.failed(failure, watch)),
                    _ => {}
                }
            }
            if rest.len() > MAX_LINE {
                return Err(self.foreign());
            }
        }
    }

    fn failed(&self, failure: ImportFailure, watch: &mut impl Watch) -> UploadError {
        if let Some(progress) = failure.applied {
            watch.applied(progress);
        }
        let status = StatusCode::from_u16(failure.status).ok();
        self.failure(status, failure.message).into()
    }

    async fn connect(&self, url: &ApiUrl) -> Result<HopStream, UploadError> {
        let host = url.host.as_str().trim_matches(['[', ']']);
        let connecting = timeout(CONNECT_TIME, TcpStream::connect((host, url.port))).await;
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let why = super::why(&ureq::Error::Io(error));
                return Err(self.lost(why));
            }
            Err(_) => return Err(self.lost("no connection")),
        };
        let _ = stream.set_nodelay(true);
        if !url.tls {
            return Ok(HopStream::Plain(stream));
        }
        // `Client::new` has read the file
        let ca = self.ca.as_ref().map(|(path, _)| path);
        let connector = Connector::new("--ca", ca).map_err(UploadError::Refused)?;
        connector.connect(stream, &url.host).await.map_err(|why| self.lost(why))
    }

    fn lost(&self, why: impl std::fmt::Display) -> UploadError {
        UploadError::Lost(format!("{}: {why}", self.server))
    }

    fn foreign(&self) -> UploadError {
        UploadError::Refused(format!("{}: not an answer of sip-authz", self.server))
    }
}
