//! Bytes as a message, read and decided.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::world::{fuzz_authorizer, sids};
use sip_authz::Authorizer;
use sip_authz::Decision;
use sip_authz::{Invite, Transport};

/// Where the requests of [`fuzz_request`] come from: inside the access list over UDP, and outside
/// it over TLS.
const WAYS: [(IpAddr, Transport); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), Transport::Udp),
    (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), Transport::Tls),
];

/// Decides `bytes`, taken as a datagram and as a message over TLS, on a fixed snapshot, and checks
/// what must hold whatever the bytes are. Returns the decision over UDP, if it is an INVITE.
///
/// The same bytes always meet the same state: the authorizer is made anew, from a fixed seed.
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
        // an explanation counts nothing, so of several wrong headers it may look at one more
        _ if invite.credentials().len() > 1 => {}
        // the nonce is another, all else is the same
        (Decision::Challenge(one), Decision::Challenge(two)) => {
            let facts = |it: &sip_authz::Challenge| (it.target, it.kind, it.stale, it.values.len());
            assert_eq!(facts(one), facts(two));
        }
        (one, two) => assert_eq!(one, two),
    }
    let Decision::Accept(accept) = &decision else {
        assert!(!authorizer.authorize(invite, now).is_accept(), "accepted when it came again");
        return decision;
    };
    assert!(!accept.repeat, "the first is no repeat");
    let Some(credential) = &accept.credential else {
        let open = [sids::domain("addr").into(), sids::trunk("trunk").into()];
        assert!(open.contains(&accept.target) && accept.address.is_some(), "{accept:?}");
        assert_eq!(invite.source().ip(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(authorizer.authorize(invite, now), decision);
        return decision;
    };
    // of the passwords in the snapshot only the one of this list is in the seeds
    let known = [sids::domain("known").into(), sids::domain("strict").into()];
    assert!(known.contains(&accept.target), "nobody knows a password for this one: {accept:?}");
    assert!(["alice", r"corp\bob"].contains(&credential.username.as_str()), "disabled");
    let mut copies = std::iter::repeat_with(|| authorizer.authorize(invite, now));
    if invite.transport().retransmits() {
        let mut repeat = accept.clone();
        repeat.repeat = true;
        assert_eq!(copies.next(), Some(Decision::Accept(repeat)));
    } else {
        // a client may have put several counts of one nonce in one request, each good for once
        let accepted = copies.take_while(Decision::is_accept).take(16).count();
        assert!(accepted < invite.credentials().len(), "replayed");
    }
    decision
}
