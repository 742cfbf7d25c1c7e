//! A small SIP edge on rsipstack that asks sip-authz about each INVITE and answers accepted calls itself.
//!
//! `sip-authz-on-rsipstack LISTS.toml [ADDRESS]`. SIGHUP reads the file again.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rsipstack::EndpointBuilder;
use rsipstack::sip::{Contact, Header, HeadersExt, Method, StatusCode};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipAddr, TcpListenerConnection, TransportLayer};
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
fn decide(authorizer: &Authorizer, call: &Transaction) -> Result<Decision> {
    let (request, connection) = (&call.original, call.connection.as_ref().ok_or("no connection")?);
    let source = connection.get_remote_addr().ok_or("no source")?.get_socketaddr()?;
    let transport = connection.transport().to_string().parse()?;
    let (method, uri) = (request.method.to_string(), request.uri.to_string());
    let fields = request.headers.iter().map(|header| (header.name(), header.value()));
    let invite = Invite::from_fields(&method, uri, fields, &request.body, source, transport)?;
    Ok(authorizer.authorize(&invite, Instant::now()))
}

/// The response to a challenged or rejected INVITE.
fn response(refusal: &Refusal) -> (StatusCode, Vec<Header>) {
    let headers = refusal.headers().map(|(name, value)| Header::Other(name.into(), value.into()));
    (refusal.status().into(), headers.collect())
}
// sip-authz: end

struct Edge {
    authorizer: Arc<Authorizer>,
    /// The Call-IDs of accepted calls.
    calls: Mutex<HashSet<String>>,
}

impl Edge {
    async fn answer(&self, mut request: Transaction) -> Result<()> {
        let call_id = request.original.call_id_header()?.value().to_owned();
        match request.original.method {
            Method::Invite => match decide(&self.authorizer, &request) {
                // the stack absorbs the copies of a transaction, so that of this one is gone
                Ok(Decision::Accept(accept)) if accept.repeat => return Ok(()),
                Ok(Decision::Accept(accept)) => {
                    // a proxy routes by the target
                    println!("{call_id}: accepted for {}", accept.target);
                    self.calls().insert(call_id);
                    let contact = contact(&request);
                    request.reply_with(StatusCode::OK, vec![contact], None).await?;
                }
                Ok(decision) => {
                    // sip-authz: begin
                    let refusal = self.authorizer.refusal(&decision).ok_or("no refusal")?;
                    // sip-authz: end
                    let (status, headers) = response(&refusal);
                    request.reply_with(status, headers, None).await?;
                }
                Err(error) => {
                    eprintln!("refused with 400: {error}");
                    request.reply(StatusCode::BadRequest).await?;
                }
            },
            Method::Bye => {
                let is_known = self.calls().remove(&call_id);
                let unknown = StatusCode::CallTransactionDoesNotExist;
                request.reply(if is_known { StatusCode::OK } else { unknown }).await?;
            }
            _ => request.reply(StatusCode::NotImplemented).await?,
        }
        // the transaction repeats the answer until its ACK
        while request.receive().await.is_some() {}
        Ok(())
    }

    fn calls(&self) -> MutexGuard<'_, HashSet<String>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address for the further requests of a call.
fn contact(request: &Transaction) -> Header {
    let own = request.connection.as_ref().map(|connection| connection.get_addr().clone());
    let SipAddr { r#type, addr } = own.unwrap_or_default();
    let transport = r#type.unwrap_or_default();
    Contact::new(format!("<sip:edge@{addr};transport={transport}>")).into()
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let file = args.next().ok_or("expected the file of the lists")?;
    let address: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;
    // sip-authz: begin
    let authorizer = Arc::new(Authorizer::new(read(&file)?)?);
    // sip-authz: end

    let transports = TransportLayer::new(Default::default());
    let udp = UdpConnection::create_connection(address, None, None).await?;
    // TCP at the port that UDP got
    let address = udp.get_addr().get_socketaddr()?;
    transports.add_transport(udp.into());
    transports.add_transport(TcpListenerConnection::new(address, None).await?.into());
    let endpoint = EndpointBuilder::new().with_transport_layer(transports).build();
    let mut requests = endpoint.incoming_transactions()?;
    tokio::spawn(async move { endpoint.serve().await });
    println!("listening on {address}");

    let edge = Edge { authorizer: Arc::clone(&authorizer), calls: Mutex::default() };
    let edge = Arc::new(edge);
    // a task of its own, which goes on while the lists are read
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let edge = Arc::clone(&edge);
            tokio::spawn(async move {
                if let Err(error) = edge.answer(request).await {
                    eprintln!("{error}");
                }
            });
        }
    });

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
