//! Our Via: where the response goes, and where it must come from.

use std::fmt::Write as _;
use std::io::Write as _;

use arrayvec::{ArrayString, ArrayVec};

use crate::keys::{Keys, Purpose};
use crate::leg::Leg;
use crate::transaction::{Branch, LoopMark};
use crate::via::ViaParts;

/// Appends a token with the leg on which a request came and the leg on which it goes, bound to the
/// branch of our Via.
///
/// Returns false, and appends nothing, if there is no key.
#[must_use]
pub(crate) fn seal_legs(
    keys: &Keys,
    arrival: &Leg,
    to: &Leg,
    branch: &Branch,
    out: &mut Vec<u8>,
) -> bool {
    let payload: ArrayVec<u8, { 2 * Leg::MAX_LEN }> =
        arrival.encoded().into_iter().chain(to.encoded()).collect();
    let mut text = ArrayString::<39>::new();
    // a branch has 39 bytes
    let _ = write!(text, "{branch}");
    keys.seal(Purpose::Via, &payload, &[text.as_bytes()], out)
}

/// The legs in a token of [`seal_legs`]: the one on which the request came, and the one on which it
/// went. `branch` is the value of the branch parameter.
#[must_use]
pub(crate) fn open_legs(keys: &Keys, token: &[u8], branch: &[u8]) -> Option<(Leg, Leg)> {
    let payload = keys.open(Purpose::Via, token, &[branch])?;
    let mut rest = payload.as_slice();
    let legs = (Leg::decode(&mut rest)?, Leg::decode(&mut rest)?);
    rest.is_empty().then_some(legs)
}

/// Appends the value of our Via: protocol, sent-by, branch, loop mark and the legs.
///
/// `sent_by` is our host and port for the peer. Returns false if there is no key.
#[must_use]
pub(crate) fn own_via(
    keys: &Keys,
    sent_by: &str,
    branch: &Branch,
    mark: &LoopMark,
    arrival: &Leg,
    to: &Leg,
    out: &mut Vec<u8>,
) -> bool {
    let transport = to.transport.via_name();
    // writing to a Vec does not fail
    let _ = write!(out, "SIP/2.0/{transport} {sent_by};branch={branch};loop={mark};leg=");
    seal_legs(keys, arrival, to, branch, out)
}

/// The legs in the topmost Via of a response, if [`own_via`] wrote it: the leg on which the request
/// came, and the leg on which it went.
///
/// The peer may have added parameters. A second `branch` or `leg` is refused.
#[must_use]
pub(crate) fn read_own_via(keys: &Keys, via: &ViaParts<'_>) -> Option<(Leg, Leg)> {
    open_legs(keys, via.only_value(b"leg")?, via.only_value(b"branch")?)
}

#[cfg(test)]
mod tests {
    use sip_authz::Transport;

    use super::*;
    use crate::leg::Way;

    fn keys(number: u8) -> Keys {
        Keys::new((number, &[number; 32]), None).unwrap()
    }

    fn legs() -> (Leg, Leg) {
        let way = Way::Connection(7);
        let address = "192.0.2.1:5061".parse().unwrap();
        let to = Leg::hop(Transport::Udp, "[2001:db8::1]:5060".parse().unwrap());
        (Leg { transport: Transport::Tls, address, way }, to)
    }

    fn own(keys: &Keys, branch: &Branch) -> String {
        let (arrival, to) = legs();
        let message = sip_authz::message::Message::scan(b"INVITE sip:a SIP/2.0\r\n\r\n").unwrap();
        let mark = LoopMark::of(keys, &message, false);
        let mut out = Vec::new();
        assert!(own_via(keys, "edge:5060", branch, &mark, &arrival, &to, &mut out));
        String::from_utf8(out).unwrap()
    }

    fn branch(text: &str) -> Branch {
        Branch::read(format!("z9hG4bK{}", text.repeat(32)).as_bytes()).unwrap()
    }

    fn read(keys: &Keys, via: &str) -> Option<(Leg, Leg)> {
        read_own_via(keys, &ViaParts::read(via.as_bytes())?)
    }

    #[test]
    fn an_own_via_gives_its_legs_back() {
        let (keys, branch) = (keys(1), branch("a"));
        let via = own(&keys, &branch);
        assert!(via.starts_with(&format!("SIP/2.0/UDP edge:5060;branch={branch};loop=")), "{via}");
        for more in ["", ";received=192.0.2.9;rport=5", ", SIP/2.0/UDP victim;leg=x;branch=y"] {
            assert_eq!(read(&keys, &format!("{via}{more}")), Some(legs()), "{more}");
        }
        // in another order
        let (head, leg) = via.split_once(";leg=").unwrap();
        let (start, params) = head.split_once(';').unwrap();
        assert_eq!(read(&keys, &format!("{start} ; LEG = {leg} ; {params}")), Some(legs()));
    }

    #[test]
    fn a_via_that_is_not_ours_gives_no_legs() {
        let (keys, other) = (keys(1), keys(2));
        let via = own(&keys, &branch("a"));
        let (head, leg) = via.split_once(";leg=").unwrap();
        let b = branch("b").to_string();
        for changed in [
            head.to_owned(),
            format!("{head};leg"),
            format!("{head};leg="),
            format!("{via};leg={leg}"),
            format!("{via};branch={b}"),
            format!("{via};branch={}", branch("a")),
            via.replace(&branch("a").to_string(), &b),
            via.replace("branch=z9hG4bK", "branch=z9hg4bk"),
            own(&other, &branch("a")),
            format!("SIP/2.0/UDP victim, {via}"),
        ] {
            assert_eq!(read(&keys, &changed), None, "{changed}");
        }
    }

    #[test]
    fn every_change_of_a_token_is_noticed() {
        let (keys, branch, (arrival, to)) = (keys(1), branch("a"), legs());
        let (mut token, text) = (Vec::new(), branch.to_string());
        assert!(seal_legs(&keys, &arrival, &to, &branch, &mut token));
        assert_eq!(open_legs(&keys, &token, text.as_bytes()), Some((arrival, to)));
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert_eq!(open_legs(&keys, &changed, text.as_bytes()), None, "{at}");
            assert_eq!(open_legs(&keys, &token[..at], text.as_bytes()), None, "{at}");
        }
        // a payload of another form
        for payload in [vec![], arrival.encoded().to_vec(), vec![0; 40]] {
            let mut token = Vec::new();
            assert!(keys.seal(Purpose::Via, &payload, &[text.as_bytes()], &mut token));
            assert_eq!(open_legs(&keys, &token, text.as_bytes()), None, "{payload:?}");
        }
    }
}
