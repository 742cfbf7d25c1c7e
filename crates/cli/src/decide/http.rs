//! The HTTP form of the decision service: `POST /v1/decide`. `docs/decide-http.md` describes it.

mod question;
mod response;

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use sip_authz_decide::engine::overloaded;
use sip_authz_decide::{MAX_FRAME, split};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};

use self::question::QuestionError;
use self::response::{Form, Full};
use super::counts::Closed;
use super::queue::Back;
use super::shared::Shared;

/// The only path.
const PATH: &str = "/v1/decide";
/// The maximum size of a request head in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The time after a refusal in which the rest of a body is discarded.
const LINGER: Duration = Duration::from_millis(200);

/// The time limits of a connection.
#[derive(Clone, Copy)]
struct Times {
    /// For the first request with the token.
    first: Duration,
    /// For the body of a request, and for the client to take an answer.
    body: Duration,
    /// For the head of a request, which includes the idle time of a connection.
    idle: Duration,
}

const TIMES: Times = Times {
    first: Duration::from_secs(5),
    body: Duration::from_secs(10),
    idle: Duration::from_secs(60),
};

/// A connection, as its requests see it.
struct Client {
    shared: Arc<Shared>,
    place: Arc<str>,
    times: Times,
    /// Its place among the connections, once a request had the token.
    permit: OnceLock<OwnedSemaphorePermit>,
    admitted: Notify,
}

/// A request that gets no decision. The connection ends after the response.
struct Refused {
    closed: Option<Closed>,
    status: StatusCode,
    error: String,
}

impl Refused {
    fn new(closed: Closed, status: StatusCode, error: impl Into<String>) -> Self {
        Self { closed: Some(closed), status, error: error.into() }
    }

    fn malformed(status: StatusCode, error: impl Into<String>) -> Self {
        Self::new(Closed::Malformed, status, error)
    }
}

impl From<QuestionError> for Refused {
    fn from(error: QuestionError) -> Self {
        match error {
            QuestionError::TooLong => too_long(),
            QuestionError::Type(_) => {
                Self::malformed(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string())
            }
            QuestionError::Malformed(_) => {
                Self::malformed(StatusCode::BAD_REQUEST, error.to_string())
            }
        }
    }
}

fn too_long() -> Refused {
    let error =
        format!("the request is too long: a body or its frame has {MAX_FRAME} bytes at most");
    Refused::new(Closed::TooLong, StatusCode::PAYLOAD_TOO_LARGE, error)
}

fn no_answer() -> Refused {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refused { closed: None, status, error: "no answer".to_owned() }
}

/// Serves a connection until one side ends it.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, place: Arc<str>) {
    // closes the connection of a client that does not read its answers
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(TIMES.body));
    serve_within(shared, stream, place, TIMES).await;
}

async fn serve_within(
    shared: Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    place: Arc<str>,
    times: Times,
) {
    let mut ended = shared.ended.clone();
    // strangers must not take the places of clients
    let mut stranger = Some(shared.strangers.add());
    let (permit, admitted) = (OnceLock::new(), Notify::new());
    let client = Client { shared: Arc::clone(&shared), place, times, permit, admitted };
    let client = Arc::new(client);
    let service = service_fn(|request: Request<Incoming>| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(client.respond(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // a client that has sent all its requests still gets the answers
        .half_close(true)
        .header_read_timeout(times.idle)
        // the first limits the read buffer, the second a head that arrives at once
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let first = sleep(times.first);
    tokio::pin!(first);
    let (mut open, mut is_ending) = (None, false);
    loop {
        let must_end = async {
            match &mut stranger {
                Some(stranger) => stranger.must_end().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // a request with the token comes before the limits of strangers
            biased;
            () = client.admitted.notified() => {
                open = Some(shared.counts.open());
                stranger = None;
            }
            served = &mut served => {
                if served.is_err_and(|error| error.is_parse()) {
                    client.close(Closed::Malformed, "not an HTTP/1 request");
                }
                return;
            }
            () = must_end => {
                return client.close(Closed::TooMany, "too many connections without the token");
            }
            () = &mut first, if open.is_none() => {
                return client.close(Closed::TooSlow, "no request with the token in time");
            }
            _ = ended.wait_for(|ended| *ended), if !is_ending => {
                // an open request gets its answer
                is_ending = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

impl Client {
    /// Counts a connection that this side closes, or a request that it refuses.
    fn close(&self, why: Closed, detail: &str) {
        self.shared.counts.close(why, &self.place, detail);
    }

    /// Answers a request, with an answer of the service or an error.
    async fn respond<B>(&self, mut request: Request<B>) -> Response<Full>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
    {
        let form = Form::of(request.headers());
        let answered = self.answer(&mut request).await;
        let refused = match answered.map(|frame| response::answered(&frame, form)) {
            Ok(Some(response)) => return response,
            Ok(None) => no_answer(),
            Err(refused) => refused,
        };
        let Refused { closed, status, error } = refused;
        if let Some(closed) = closed {
            self.close(closed, &error);
        }
        // With unread bytes the system would reset the connection, and the client could lose the response. A
        // client that waits for 100 must not get it.
        if !request.headers().contains_key(header::EXPECT) {
            let _ = timeout(LINGER, discard(request.body_mut())).await;
        }
        response::error(status, &error, form)
    }

    /// The frame with the answer to a request.
    async fn answer<B>(&self, request: &mut Request<B>) -> Result<Vec<u8>, Refused>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
    {
        // first, so that a stranger learns nothing about the service and uses up no memory
        self.admit(request)?;
        if request.uri().path() != PATH {
            let error = format!("expected the path {PATH}");
            return Err(Refused::malformed(StatusCode::NOT_FOUND, error));
        }
        if request.method() != Method::POST {
            let error = "expected the method POST";
            return Err(Refused::malformed(StatusCode::METHOD_NOT_ALLOWED, error));
        }
        let coding = request.headers().get(header::TRANSFER_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            let error = "expected no Transfer-Encoding but chunked";
            return Err(Refused::malformed(StatusCode::BAD_REQUEST, error));
        }
        let kind = question::kind(request.headers())?;
        // an announced length that is too long is refused before the bytes arrive
        if request.body().size_hint().lower() > MAX_FRAME as u64 {
            return Err(too_long());
        }
        let body = Limited::new(request.body_mut(), MAX_FRAME).collect();
        let body = match timeout(self.times.body, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_long()),
            Ok(Err(_)) => {
                let error = "the body cannot be read";
                return Err(Refused::malformed(StatusCode::BAD_REQUEST, error));
            }
            Err(_) => {
                let error = "the body did not arrive in time";
                return Err(Refused::new(Closed::TooSlow, StatusCode::REQUEST_TIMEOUT, error));
            }
        };
        let frame = question::frame(kind, request.uri().query(), &body)?;
        drop(body);
        // without its length, as a connection of frames hands it over
        let asked = split(&frame).ok().flatten().map(|(asked, _)| asked);
        let asked = asked.ok_or_else(no_answer)?;
        if let Some(answer) = self.shared.decide(&[asked]).and_then(|mut answers| answers.pop()) {
            return Ok(answer);
        }
        let (answer, answered) = oneshot::channel();
        if self.shared.ask(asked, Back::Http(answer)).is_err() {
            return Ok(overloaded(question::ID));
        }
        answered.await.map_err(|_| no_answer())
    }

    /// Checks the token, and takes a place among the connections with the first right one.
    fn admit<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        if !self.shared.access.admits(token(request)) {
            let error = "missing or wrong token";
            return Err(Refused::new(Closed::Token, StatusCode::UNAUTHORIZED, error));
        }
        if self.permit.get().is_some() {
            return Ok(());
        }
        let Ok(permit) = Arc::clone(&self.shared.connections).try_acquire_owned() else {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Refused::new(Closed::TooMany, status, "too many connections"));
        };
        // requests of a connection come one after the other
        if self.permit.set(permit).is_ok() {
            self.admitted.notify_one();
        }
        Ok(())
    }
}

/// The token of a request. None if it has several Authorization headers.
fn token<B>(request: &Request<B>) -> Option<&[u8]> {
    let mut all = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Discards the rest of a body, up to the limit of a whole one.
async fn discard(body: &mut (impl Body<Data = Bytes> + Unpin)) {
    let mut left = MAX_FRAME;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests;
