//! Code of programs that compiles only because an INVITE needs its borrows no more once it is decided.

use std::net::SocketAddr;
use std::time::Instant;

use sip_authz::message::Message;
use sip_authz::{Authorizer, CredentialsField, Decision, Invite, InviteError, Transport};
use sip_authz_testing::kit::*;

/// Decides the datagram in `buffer`, and makes room for the next in each arm.
fn decide(
    authorizer: &Authorizer,
    buffer: &mut Vec<u8>,
    source: SocketAddr,
    now: Instant,
) -> Result<u16, InviteError> {
    match authorizer.authorize(&Invite::from_datagram(buffer, source, Transport::Udp)?, now) {
        Decision::Accept(_) => {
            buffer.clear();
            Ok(200)
        }
        refused => {
            buffer.clear();
            if let Some(refusal) = refused.refusal() {
                buffer.extend_from_slice(refusal.header_lines().to_string().as_bytes());
            }
            Ok(refused.status())
        }
    }
}

#[test]
fn a_buffer_is_reused_in_the_arms_of_a_match_on_the_decision() {
    let world = World::new();
    let source = INSIDE.parse().unwrap();
    for (host, status, left) in [(ACL_HOST, 200, ""), (HOST, 407, "Proxy-Authenticate: Digest ")] {
        let mut buffer = Request::to(host).bytes();
        let decided = decide(&world.authorizer, &mut buffer, source, world.start);
        assert_eq!(decided, Ok(status));
        assert!(buffer.starts_with(left.as_bytes()) && buffer.is_empty() == left.is_empty());
    }
}

#[test]
fn an_invite_in_scope_does_not_keep_its_buffer_borrowed() {
    let world = World::new();
    let source = INSIDE.parse().unwrap();
    let mut buffer = Request::to(ACL_HOST).bytes();
    let message = Message::scan(&buffer).unwrap();
    let invite = Invite::from_request(&message, source, Transport::Udp).unwrap();
    let decision = world.authorizer.authorize(&invite, world.start);
    buffer.clear();
    assert!(decision.is_accept());

    // nor does one of a single match, or of parts
    let mut uri = format!("sip:1@{ACL_HOST}");
    let mut header = b"Digest".to_vec();
    let mut host = "other.example".to_owned();
    if let Decision::Accept(accept) = world.authorizer.authorize(
        &Invite::new(uri.as_str(), source, Transport::Tcp)
            .with_credentials(CredentialsField::Authorization, &header)
            .with_domain_host(&host),
        world.start,
    ) {
        uri.clear();
        header.clear();
        host.clear();
        assert_eq!(accept.target, domain(ACL_HOST).into());
    }
    assert!(uri.is_empty() && header.is_empty() && host.is_empty());
    drop(buffer);
}

#[test]
fn a_batch_does_not_keep_its_buffers_borrowed() {
    let world = World::new();
    let source = INSIDE.parse().unwrap();
    let mut buffers = vec![Request::to(ACL_HOST).bytes(); 30];
    let mut decisions = Vec::new();
    let invites: Vec<_> = buffers
        .iter()
        .map(|bytes| Invite::from_datagram(bytes, source, Transport::Udp).unwrap())
        .collect();
    world.authorizer.authorize_batch(&invites, world.start, &mut decisions);
    buffers.iter_mut().for_each(Vec::clear);
    assert!(decisions.iter().all(Decision::is_accept));
}
