//! SIP over UDP: a datagram in, at most one datagram back to where it came from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_authz::Transport;
use tokio::net::UdpSocket;

use crate::edge::{Edge, Hop};

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;

/// Answers datagrams for ever. Several tasks may serve one socket.
pub(crate) async fn serve(edge: Arc<Edge>, socket: Arc<UdpSocket>, local: SocketAddr) {
    let mut datagram = vec![0; MAX_DATAGRAM];
    let mut answer = Vec::with_capacity(2_048);
    loop {
        let (length, source) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(_) => {
                // such as an ICMP error for an earlier answer: nothing to do with the next datagram
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        let bytes = datagram.get(..length).unwrap_or_default();
        let hop = Hop { source, local, transport: Transport::Udp };
        answer.clear();
        edge.answer(bytes, hop, Instant::now(), &mut answer);
        if !answer.is_empty() && socket.send_to(&answer, source).await.is_err() {
            edge.totals.count_unsent();
        }
    }
}
