//! The source of a request.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::Extensions;
use sip_authz_rest::PeerAddress;

/// The source whose failed logins are counted together: an IPv4 address or an IPv6 /64. Requests without a
/// [`PeerAddress`] share one.
pub(crate) fn source(extensions: &Extensions) -> IpAddr {
    let address = extensions.get::<PeerAddress>().map(|address| address.0.ip().to_canonical());
    match address {
        Some(IpAddr::V6(v6)) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Some(v4) => v4,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
