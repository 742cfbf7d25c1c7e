//! A small SIP edge on rvoip-sip-transport that asks sip-authz about each INVITE and answers accepted calls
//! itself. The transport has no transactions: a repeated INVITE is decided and answered again.
//!
//! `sip-authz-on-rvoip LISTS.toml [ADDRESS]`. SIGHUP reads the file again.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rvoip_sip_core::{
    ContentLength, HeaderName, HeaderValue, Message, Method, Request, Response, StatusCode,
    TypedHeader,
};
use rvoip_sip_transport::{Transport, TransportEvent, TransportRoute, bind_tcp, bind_udp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::block_in_place;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

// sip-authz: begin
use sip_authz::{Authorizer, Decision, Invite, Refusal, Snapshot};

fn read(file: &str) -> Result<Snapshot> {
    Ok(sip_authz_config::load(file.as_ref(), &sip_authz_config::Options::new())?.snapshot)
}
// sip-authz: end

// sip-authz: begin
/// The decision on an INVITE. An error is answered with 400.
fn decide(authorizer: &Authorizer, call: &Received) -> Result<Decision> {
    let bytes = call.bytes.as_deref().ok_or("no bytes")?;
    let invite = Invite::from_datagram(bytes, call.route.destination, call.transport.parse()?)?;
    Ok(authorizer.authorize(&invite, Instant::now()))
}

/// The response to a challenged or rejected INVITE.
fn response(call: &Received, refusal: &Refusal) -> Result<Response> {
    let mut answer = Response::from_request(StatusCode::from_u16(refusal.status())?, &call.request);
    for (name, value) in refusal.headers() {
        // not a typed header, which writes qop without its quotes
        let value = HeaderValue::Raw(value.into_owned().into());
        answer.headers.push(TypedHeader::Other(name.parse()?, value));
    }
    Ok(answer)
}
// sip-authz: end

/// A request, and the way back to its sender.
struct Received {
    request: Request,
    bytes: Option<Vec<u8>>,
    transport: String,
    local: SocketAddr,
    route: TransportRoute,
}

struct Edge {
    authorizer: Arc<Authorizer>,
    /// The Call-IDs of accepted calls.
    calls: Mutex<HashSet<String>>,
    tags: RandomState,
}

impl Edge {
    /// The answer to a request, `None` for an ACK.
    fn answer(&self, call: &mut Received) -> Option<Response> {
        let call_id = call.request.call_id().map(ToString::to_string).unwrap_or_default();
        let tag = format!("{:016x}", self.tags.hash_one(&call_id));
        for header in &mut call.request.headers {
            if let TypedHeader::To(to) = header
                && to.tag().is_none()
            {
                to.set_tag(&tag);
            }
        }
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let status = match call.request.method {
            Method::Ack => return None,
            Method::Invite => match decide(&self.authorizer, call) {
                // the call of this copy has ended
                Ok(Decision::Accept(accept)) if accept.repeat && !calls.contains(&call_id) => {
                    return None;
                }
                // the same answer as to the first copy, with the same tag
                Ok(Decision::Accept(accept)) if accept.repeat => StatusCode::Ok,
                Ok(Decision::Accept(accept)) => {
                    // a proxy routes by the target
                    println!("{call_id}: accepted for {}", accept.target);
                    calls.insert(call_id);
                    StatusCode::Ok
                }
                Ok(decision) => {
                    // sip-authz: begin
                    let refusal = self.authorizer.refusal(&decision)?;
                    // sip-authz: end
                    let response = response(call, &refusal);
                    return response.inspect_err(|error| eprintln!("{error}")).ok();
                }
                Err(error) => {
                    eprintln!("refused with 400: {error}");
                    // the transport sends no response with a repeated field
                    let mut names = HashSet::new();
                    call.request.headers.retain(|header| {
                        matches!(header, TypedHeader::Via(_)) || names.insert(header.name())
                    });
                    StatusCode::BadRequest
                }
            },
            Method::Bye if calls.remove(&call_id) => StatusCode::Ok,
            Method::Bye => StatusCode::CallOrTransactionDoesNotExist,
            _ => StatusCode::NotImplemented,
        };
        let mut response = Response::from_request(status, &call.request);
        if status == StatusCode::Ok && call.request.method == Method::Invite {
            let contact = format!("<sip:edge@{};transport={}>", call.local, call.transport);
            let contact = HeaderValue::Raw(contact.into_bytes());
            response.headers.push(TypedHeader::Other(HeaderName::Contact, contact));
        }
        Some(response)
    }

    /// Answers requests until the transport ends.
    async fn serve(
        &self,
        transport: impl Transport,
        mut events: tokio::sync::mpsc::Receiver<TransportEvent>,
    ) {
        while let Some(event) = events.recv().await {
            let TransportEvent::MessageReceived {
                message: Message::Request(request),
                source,
                destination: local,
                transport_type,
                flow_id,
                raw_bytes,
                ..
            } = event
            else {
                continue;
            };
            let mut route = TransportRoute::new(source);
            // over TCP an answer needs the connection of its request
            route.flow_id = flow_id;
            let (bytes, transport_name) = (raw_bytes.map(Vec::from), transport_type.to_string());
            let mut call = Received { request, bytes, transport: transport_name, local, route };
            let Some(response) = self.answer(&mut call) else { continue };
            let response = response.with_header(TypedHeader::ContentLength(ContentLength::new(0)));
            let message = Message::Response(response);
            if let Err(error) = transport.send_message_via(message, call.route).await {
                eprintln!("{error}");
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let file = args.next().ok_or("expected the file of the lists")?;
    let address: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;
    // sip-authz: begin
    let authorizer = Arc::new(Authorizer::new(read(&file)?)?);
    // sip-authz: end

    let (udp, udp_events) = bind_udp(address).await?;
    // TCP at the port that UDP got
    let address = udp.local_addr()?;
    let (tcp, tcp_events) = bind_tcp(address).await?;
    let edge = Arc::new(Edge {
        authorizer: Arc::clone(&authorizer),
        calls: Mutex::default(),
        tags: RandomState::new(),
    });
    let over_tcp = Arc::clone(&edge);
    tokio::spawn(async move { edge.serve(udp, udp_events).await });
    tokio::spawn(async move { over_tcp.serve(tcp, tcp_events).await });
    println!("listening on {address}");

    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        // sip-authz: begin
        let replaced = block_in_place(|| read(&file)).map(|lists| authorizer.replace(lists));
        // sip-authz: end
        match replaced {
            Ok(_) => println!("lists read"),
            Err(error) => println!("lists kept: {error}"),
        }
    }
    Ok(())
}
