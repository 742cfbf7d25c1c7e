//! A small SIP edge on ezk-sip-core that asks sip-authz about each INVITE and answers accepted calls itself.
//!
//! `sip-authz-on-ezk LISTS.toml [ADDRESS]`. SIGHUP reads the file again.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ezk_sip_core::transport::OutgoingResponse;
use ezk_sip_core::{Endpoint, IncomingRequest, Layer, MayTake};
use ezk_sip_types::{Method, Name, StatusCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::block_in_place;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

// sip-authz: begin
use sip_authz::{Authorizer, Decision, Invite, Refusal, Snapshot, Transport};

fn read(file: &str) -> Result<Snapshot> {
    Ok(sip_authz_config::load(file.as_ref(), &sip_authz_config::Options::new())?.snapshot)
}
// sip-authz: end

// sip-authz: begin
/// The decision on an INVITE. An error is answered with 400.
fn decide(authorizer: &Authorizer, call: &IncomingRequest) -> Result<Decision> {
    // the stack does not tell TLS from TCP; this program has no TLS listener
    let transport = if call.tp_info.transport.is_udp() { Transport::Udp } else { Transport::Tcp };
    let invite = Invite::from_datagram(&call.tp_info.buffer, call.tp_info.source, transport)?;
    Ok(authorizer.authorize(&invite, Instant::now()))
}

/// The response to a challenged or rejected INVITE.
fn response(endpoint: &Endpoint, call: &IncomingRequest, refusal: &Refusal) -> OutgoingResponse {
    let mut response = endpoint.create_response(call, refusal.status().into(), None);
    refusal.headers().for_each(|(name, value)| response.msg.headers.insert(name, value));
    response
}
// sip-authz: end

struct Edge {
    authorizer: Arc<Authorizer>,
    /// The accepted calls by Call-ID, and whether their ACK has come.
    calls: Mutex<HashMap<String, bool>>,
    tags: RandomState,
}

#[async_trait::async_trait]
impl Layer for Edge {
    fn name(&self) -> &'static str {
        "edge"
    }

    async fn receive(&self, endpoint: &Endpoint, request: MayTake<'_, IncomingRequest>) {
        let answered = match request.line.method {
            Method::INVITE => self.invite(endpoint, request.take()).await,
            Method::ACK => {
                self.acknowledge(&request);
                Ok(())
            }
            _ => self.other(endpoint, request.take()).await,
        };
        if let Err(error) = answered {
            eprintln!("{error}");
        }
    }
}

impl Edge {
    async fn invite(&self, endpoint: &Endpoint, mut call: IncomingRequest) -> Result<()> {
        let call_id = call.base_headers.call_id.0.to_string();
        let tag = format!("{:016x}", self.tags.hash_one((&call_id, call.base_headers.cseq.cseq)));
        call.base_headers.to.tag.get_or_insert_with(|| tag.into());
        let refused = match decide(&self.authorizer, &call) {
            // the stack gives a copy to its transaction; that of this one is gone
            Ok(Decision::Accept(accept)) if accept.repeat => return Ok(()),
            Ok(Decision::Accept(accept)) => {
                // a proxy routes by the target
                println!("{call_id}: accepted for {}", accept.target);
                None
            }
            Ok(decision) => {
                // sip-authz: begin
                let refusal = self.authorizer.refusal(&decision).ok_or("no refusal")?;
                // sip-authz: end
                Some(response(endpoint, &call, &refusal))
            }
            Err(error) => {
                eprintln!("refused with 400: {error}");
                Some(endpoint.create_response(&call, StatusCode::BAD_REQUEST, None))
            }
        };
        let transaction = endpoint.create_server_inv_tsx(&mut call);
        if let Some(refused) = refused {
            return Ok(transaction.respond_failure(refused).await?);
        }
        let mut response = endpoint.create_response(&call, StatusCode::OK, None);
        let transport = if call.tp_info.transport.is_udp() { "udp" } else { "tcp" };
        let contact =
            format!("<sip:edge@{};transport={transport}>", call.tp_info.transport.bound());
        response.msg.headers.insert(Name::CONTACT, contact);
        self.calls().insert(call_id.clone(), false);
        let mut accepted = transaction.respond_success(response).await?;
        // RFC 3261 §13.3.1.4: again until the ACK
        for wait in [500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000, 4_000, 4_000, 4_000] {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if self.calls().get(&call_id) != Some(&false) {
                break;
            }
            accepted.retransmit().await?;
        }
        Ok(())
    }

    fn acknowledge(&self, ack: &IncomingRequest) {
        if let Some(is_acknowledged) = self.calls().get_mut(ack.base_headers.call_id.0.as_str()) {
            *is_acknowledged = true;
        }
    }

    async fn other(&self, endpoint: &Endpoint, mut request: IncomingRequest) -> Result<()> {
        let is_known = self.calls().remove(request.base_headers.call_id.0.as_str()).is_some();
        let status = match request.line.method {
            Method::BYE if is_known => StatusCode::OK,
            Method::BYE => StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST,
            _ => StatusCode::NOT_IMPLMENTED,
        };
        let response = endpoint.create_response(&request, status, None);
        Ok(endpoint.create_server_tsx(&mut request).respond(response).await?)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
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

    let mut builder = Endpoint::builder();
    builder.add_layer(Edge {
        authorizer: Arc::clone(&authorizer),
        calls: Mutex::default(),
        tags: RandomState::new(),
    });
    // TCP at the port that UDP got
    let address = builder.bind_udp(address).await?.bound();
    builder.listen_tcp(address).await?;
    let _endpoint = builder.build();
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
