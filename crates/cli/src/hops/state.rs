//! The state of the next hops, for operators and metrics.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{counter, describe_counter, describe_gauge, gauge};
use sip_authz::Transport;

use crate::hops::peer::Peer;

/// The state of a hop at one address, for operators.
#[derive(Clone, Debug)]
pub(crate) struct HopState {
    /// The host as configured.
    pub(crate) host: String,
    pub(crate) transport: Transport,
    /// None while the host has no address.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) is_up: bool,
    /// The time since which it is up or down; none without an address.
    pub(crate) since: Option<SystemTime>,
    /// The last status that it answered to OPTIONS.
    pub(crate) status: Option<u16>,
    /// The reason why it is down, or why its name could not be resolved; the log has it too.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it"))]
    pub(crate) reason: Option<String>,
    /// The number of messages that were dropped: its queue was full, or its connection broke.
    pub(crate) dropped: u64,
}

impl HopState {
    /// The state of a hop whose host has no address, for this reason.
    pub(super) fn unresolved(host: String, transport: Transport, reason: Option<String>) -> Self {
        Self {
            host,
            transport,
            address: None,
            is_up: false,
            since: None,
            status: None,
            reason,
            dropped: 0,
        }
    }

    pub(super) fn of(host: String, peer: &Peer) -> Self {
        let details = peer.details();
        Self {
            host,
            transport: peer.leg.transport,
            address: Some(peer.address()),
            is_up: peer.is_up(),
            since: Some(details.since),
            status: details.status,
            reason: details.reason,
            dropped: peer.dropped(),
        }
    }

    /// Records the metrics of the hop.
    pub(super) fn record(&self) {
        let address = self.address.map_or_else(String::new, |address| address.to_string());
        let labels = [
            ("hop", self.host.clone()),
            ("address", address),
            ("transport", self.transport.as_str().to_owned()),
        ];
        gauge!("sip_authz_hop_up", &labels).set(f64::from(u8::from(self.is_up)));
        if let Some(status) = self.status {
            gauge!("sip_authz_hop_status", &labels).set(f64::from(status));
        }
        let since = self.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        if let Some(since) = since {
            gauge!("sip_authz_hop_changed_timestamp_seconds", &labels).set(since.as_secs_f64());
        }
        counter!("sip_authz_hop_dropped_total", &labels).absolute(self.dropped);
    }
}

/// Describes the metrics of hops.
pub(super) fn describe() {
    describe_gauge!(
        "sip_authz_hop_up",
        "Whether a next hop takes calls: 1 yes, 0 no; without an address its host cannot be resolved"
    );
    describe_gauge!("sip_authz_hop_status", "The status that a next hop last answered to OPTIONS");
    describe_gauge!(
        "sip_authz_hop_changed_timestamp_seconds",
        "The time since which a next hop is up or down"
    );
    describe_counter!(
        "sip_authz_hop_dropped_total",
        "Messages to a next hop that were dropped: its queue was full, or its connection broke"
    );
}
