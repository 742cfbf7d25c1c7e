//! Parses bytes as a message and decides it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::world::{fuzz_authorizer, sids};
use sip_authz::Authorizer;
use sip_authz::Decision;
use sip_authz::digest::split;
use sip_authz::{Invite, Transport};

/// The sources of the requests: inside the access list over UDP, and outside it over TLS.
const WAYS: [(IpAddr, Transport); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), Transport::Udp),
    (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), Transport::Tls),
];

/// Decides `bytes`, as a datagram and as a message over TLS, on a fixed snapshot, and checks the
/// invariants of every decision. Returns the decision over UDP if the bytes are an INVITE.
///
/// The state is the same for the same bytes: the authorizer is created each time, from a fixed seed.
pub fn fuzz_request(bytes: &[u8]) -> Option<Decision> {
    let [over_udp, _] = WAYS.map(|(ip, transport)| {
        let source = SocketAddr::new(ip, 5060);
        let invite = Invite::from_datagram(bytes, source, transport).ok()?;
        let (authorizer, now) = fuzz_authorizer();
        Some(check_decision(&authorizer, &invite, now))
    });
    over_udp
}

/// Decides and checks one INVITE.
fn check_decision(authorizer: &Authorizer, invite: &Invite<'_>, now: Instant) -> Decision {
    let explained = authorizer.explain(invite, now).decision;
    let decision = authorizer.authorize(invite, now);
    match (&decision, &explained) {
        // an explanation updates no counters, so with several wrong credentials it may verify one
        // more
        _ if invite.credentials().iter().flat_map(|(_, value)| split(value)).count() > 1 => {}
        // only the nonce differs
        (Decision::Challenge(one), Decision::Challenge(two)) => {
            let facts = |it: &sip_authz::Challenge| (it.target, it.kind, it.stale, it.values.len());
            assert_eq!(facts(one), facts(two));
        }
        (one, two) => assert_eq!(one, two),
    }
    let Decision::Accept(accept) = &decision else {
        assert!(!authorizer.authorize(invite, now).is_accept(), "accepted twice");
        return decision;
    };
    assert!(!accept.repeat, "the first is not a retransmission");
    let Some(credential) = &accept.credential else {
        let open = [sids::domain("addr").into(), sids::trunk("trunk").into()];
        assert!(open.contains(&accept.target) && accept.address.is_some(), "{accept:?}");
        assert_eq!(invite.source().ip(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(authorizer.authorize(invite, now), decision);
        return decision;
    };
    // the seeds contain only the password of this list
    let known = [sids::domain("known").into(), sids::domain("strict").into()];
    assert!(known.contains(&accept.target), "accepted without a known password: {accept:?}");
    assert!(["alice", r"corp\bob"].contains(&credential.username.as_str()), "disabled");
    let mut copies = std::iter::repeat_with(|| authorizer.authorize(invite, now));
    if invite.transport().retransmits() {
        let mut repeat = accept.clone();
        repeat.repeat = true;
        assert_eq!(copies.next(), Some(Decision::Accept(repeat)));
    } else {
        // one request may contain several counts of one nonce, each valid once; at most eight are
        // judged
        let accepted = copies.take_while(Decision::is_accept).take(16).count();
        let sent = invite.credentials().iter().flat_map(|(_, value)| split(value)).count();
        assert!(accepted < sent.min(8), "replayed");
    }
    decision
}
