//! One HTTP request to another edge: no proxy, no redirect, no connection that stays, and a bound on the
//! size of the answer. The caller limits its time.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::hops::tls::{Connector, HopStream};
use crate::system::api_url::ApiUrl;

/// The maximum size of the head of an answer in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The maximum number of addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// The maximum number of threads that look up names. The system's resolver cannot be stopped, so a thread
/// may outlast the question that it works for.
const LOOKUPS: usize = 8;

/// A client for the APIs of other edges.
pub(super) struct HttpClient {
    connector: Connector,
    lookups: std::sync::Arc<Semaphore>,
}

/// A question to another edge.
pub(super) struct Sent<'q> {
    pub(super) url: &'q ApiUrl,
    /// The path below the URL.
    pub(super) path: &'q str,
    pub(super) authorization: String,
    pub(super) body: Vec<u8>,
    /// The maximum size of the answer's body in bytes.
    pub(super) max_answer: usize,
}

impl HttpClient {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, lookups: std::sync::Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// Sends a POST request with a JSON body. Returns the status and the body of the answer, or the reason
    /// why there is none.
    pub(super) async fn post(&self, sent: Sent<'_>) -> Result<(StatusCode, Bytes), String> {
        let stream = self.connect(sent.url).await?;
        let uri = format!("{}{}", sent.url.path, sent.path);
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::HOST, sent.url.authority())
            .header(header::AUTHORIZATION, sent.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, concat!("sip-authz/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(sent.body)))
            .map_err(|error| error.to_string())?;
        let mut client = http1::Builder::new();
        let opened = client.max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|error| failed(&error))?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = answer.status();
            match Limited::new(answer.into_body(), sent.max_answer).collect().await {
                Ok(body) => Ok((status, body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(format!("its answer has more than {} bytes", sent.max_answer))
                }
                Err(error) => Err(format!("its answer ended early: {error}")),
            }
        };
        let connection = async {
            // its errors reach the request
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answered = answered => answered,
            () = connection => Err("no answer".to_owned()),
        }
    }

    async fn connect(&self, url: &ApiUrl) -> Result<HopStream, String> {
        let mut last = "its name has no address".to_owned();
        for address in self.addresses(url).await?.into_iter().take(MAX_ADDRESSES) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return match url.tls {
                        true => self.connector.connect(stream, &url.host).await,
                        false => Ok(HopStream::Plain(stream)),
                    };
                }
                Err(error) => last = format!("no connection to {address}: {error}"),
            }
        }
        Err(last)
    }

    async fn addresses(&self, url: &ApiUrl) -> Result<Vec<SocketAddr>, String> {
        if let Some(ip) = url.address() {
            return Ok(vec![SocketAddr::new(ip, url.port)]);
        }
        let (lookups, host, port) =
            (std::sync::Arc::clone(&self.lookups), url.host.as_str().to_owned(), url.port);
        let Ok(permit) = lookups.acquire_owned().await else {
            return Err("no lookup".to_owned());
        };
        // a task of its own, which keeps the permit until the resolver has returned
        let looked_up = tokio::spawn(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            drop(permit);
            found.map(Iterator::collect::<Vec<_>>)
        });
        match looked_up.await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(format!("its name cannot be looked up: {error}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn failed(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return format!("the head of its answer has more than {MAX_HEAD} bytes");
    }
    if error.is_parse() {
        return "it does not answer as an HTTP server".to_owned();
    }
    format!("the connection failed: {error}")
}
