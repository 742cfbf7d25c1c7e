//! Metrics of the next hops.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::hops::peer::Peer;

/// Describes the metrics of hops.
pub(super) fn describe() {
    describe_gauge!(
        "sip_authz_hop_up",
        "Whether a next hop takes calls: 1 yes, 0 no, by host, address and transport"
    );
    describe_gauge!(
        "sip_authz_hop_resolved",
        "Whether the host of a next hop has an address: 1 yes, 0 no"
    );
    describe_counter!(
        "sip_authz_hop_dropped_total",
        "Messages to a next hop that were dropped: its queue was full, or its connection broke"
    );
}
