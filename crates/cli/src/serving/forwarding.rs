//! Opens what forwards calls: keys, next hops and ways out.

use std::net::UdpSocket;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use sip_authz::Snapshot;
use sip_authz_proxy::{Keys, Leg};

use crate::args::ServeArgs;
use crate::hops::{Hops, Receive};
use crate::sip::edge::Edge;
use crate::sip::forward::Forwarding;
use crate::sip::naming::Naming;
use crate::sip::outlets::Outlets;
use crate::sip::peer::{Local, Peer};
use crate::sip::sockets::SipSockets;
use crate::system::key_file;
use crate::system::output::{ProgramError, warn};

/// The interval between two comparisons of the next hops with the records.
const COMPARE: Duration = Duration::from_millis(100);
/// The time to wait at the start until the names of next hops are resolved.
const RESOLVE: Duration = Duration::from_secs(2);

/// The edge that handles what arrives on connections to next hops.
#[derive(Default)]
pub(crate) struct Inbound(OnceLock<Weak<Edge>>);

impl Inbound {
    /// Sets the edge. Before that, messages are dropped.
    pub(crate) fn set(&self, edge: &Arc<Edge>) {
        let _ = self.0.set(Arc::downgrade(edge));
    }
}

impl Receive for Inbound {
    fn message(&self, bytes: &[u8], from: Leg) -> Vec<u8> {
        let mut answer = Vec::new();
        if let Some(edge) = self.0.get().and_then(Weak::upgrade) {
            let Leg { transport, address: source, way } = from;
            let facing = edge.naming().facing(&from);
            let (address, listener) = facing.map_or((source, 0), |it| (it.address, it.listener));
            let peer = Peer { source, local: Local::on(address, listener, way), transport };
            edge.answer(bytes, peer, Instant::now(), &mut answer);
        }
        answer
    }
}

/// Opens the keys and the next hops. `sip` are the first listeners, in the order of their numbers.
pub(crate) fn open(
    args: &ServeArgs,
    naming: &Naming,
    sip: &[SipSockets],
) -> Result<(Forwarding, Outlets, Arc<Inbound>), ProgramError> {
    let failed = |error: std::io::Error| ProgramError::Runtime(error.to_string());
    let first = |sockets: &SipSockets| sockets.udp.first().map(UdpSocket::try_clone).transpose();
    let sockets = sip.iter().map(first).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let inbound = Arc::new(Inbound::default());
    let receive: Arc<dyn Receive> = Arc::clone(&inbound) as _;
    let options = args.hops.options(naming.any_address(), naming.has_tls());
    let hops = Hops::new(options, receive).map_err(ProgramError::Setup)?;
    let hops = Arc::new(hops);
    let forwarding = Forwarding::new(keys(args)?, args.forward.settings()?, Arc::clone(&hops));
    Ok((forwarding, Outlets::new(sockets, Some(hops)), inbound))
}

/// Reads the keys of the tokens, or makes new ones.
fn keys(args: &ServeArgs) -> Result<Keys, ProgramError> {
    let Some((path, is_made)) = args.forward.key_file(args.data.as_deref()) else {
        return key_file::new_keys().map(|file| file.keys()).map_err(ProgramError::Runtime);
    };
    if is_made && !path.exists() {
        let keys = key_file::new_keys().map_err(ProgramError::Runtime)?;
        key_file::create(&path, &keys).map_err(ProgramError::Setup)?;
    }
    key_file::load_keys(&path).map_err(ProgramError::Setup)
}

/// Waits until the names of the next hops are resolved, for a short time at most.
pub(crate) async fn resolve(edge: &Edge) {
    if let Some(forwarding) = edge.forwarding() {
        let snapshot = edge.authorizer().snapshot();
        edge.set_hops(&snapshot);
        if edge.lacks_tls_listener(&snapshot) {
            warn(
                "warning: a next hop has transport=tls, but there is no --sips listener: its requests \
                 within calls cannot reach this edge",
            );
        }
        if edge.lacks_inside_listener(&snapshot) {
            warn(
                "warning: phones can register, but no listener is marked `inside`: calls of the PBX to \
                 them are refused",
            );
        }
        for address in edge.naming().exposed_inside() {
            warn(format_args!(
                "warning: {address} is marked `inside` and listens on all addresses: any host that \
                 reaches it can send as the PBX. Name the address that faces the PBX, or keep other \
                 hosts out by a firewall"
            ));
        }
        forwarding.hops().resolved(RESOLVE).await;
    }
}

/// Sets the next hops after each change of the records. Never returns.
pub(crate) async fn follow(edge: Arc<Edge>) {
    let mut known: Weak<Snapshot> = Weak::new();
    loop {
        let snapshot = edge.authorizer().snapshot();
        if !std::ptr::eq(known.as_ptr(), Arc::as_ptr(&snapshot)) {
            known = Arc::downgrade(&snapshot);
            edge.set_hops(&snapshot);
        }
        drop(snapshot);
        tokio::time::sleep(COMPARE).await;
    }
}
