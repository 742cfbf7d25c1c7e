//! The rules of the proxy: which message goes where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dialogs;
mod flows;
mod identity;
mod phone_attacks;
mod phones;
mod property;
mod registrations;
mod requests;
mod responses;
mod transactions;

use sip_authz::Transport;
use sip_authz_proxy::Leg;
use sip_authz_testing::proxy_world::{connection, datagram};

/// The phones: over UDP, TCP and TLS.
fn phones() -> [Leg; 3] {
    [
        datagram("192.0.2.10:5070"),
        connection(Transport::Tcp, "192.0.2.20:40000", 11),
        connection(Transport::Tls, "192.0.2.30:40000", 12),
    ]
}

/// The domains, whose hops are reached over UDP, TCP and TLS.
const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];

/// A phone over UDP.
fn phone() -> Leg {
    datagram("192.0.2.10:5070")
}

/// A host without a phone and without a hop.
fn stranger() -> Leg {
    datagram("203.0.113.66:5060")
}

/// Replaces a text that occurs once.
#[track_caller]
fn edited(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    text.replace(from, to)
}
