//! The tokens in our Record-Routes: the state of a dialog, which its peers carry for this side.

use sip_authz::model::Target;
use sip_authz::{AccountSid, DomainSid, TrunkSid};

use crate::keys::{Keys, Payload, Purpose};
use crate::leg::{Leg, take};

/// How far the clock of another machine of the fleet may be ahead, in seconds.
const MAX_CLOCK_SKEW: u32 = 5 * 60;

/// A side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// The side of callers and phones.
    Outside,
    /// The side of the next hops.
    Inside,
}

/// The dialog that a token belongs to. A token is valid for no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound<'a> {
    /// The Call-ID.
    pub(crate) call_id: &'a [u8],
    /// The tag of the side that sent the INVITE.
    pub(crate) initiator_tag: &'a [u8],
}

/// The token in our Record-Route towards the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutsideToken {
    /// The side that sent the INVITE.
    pub(crate) initiator: Side,
    /// The time of the INVITE in seconds since 1970.
    pub(crate) issued: u32,
    /// The account of the call.
    pub(crate) account: AccountSid,
    /// The leg to the peer outside.
    pub(crate) leg: Leg,
}

/// The token in our Record-Route towards the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InsideToken<'a> {
    /// The side that sent the INVITE.
    pub(crate) initiator: Side,
    /// The time of the INVITE in seconds since 1970.
    pub(crate) issued: u32,
    /// The account of the call.
    pub(crate) account: AccountSid,
    /// The domain or trunk of the call.
    pub(crate) target: Target,
    /// The leg to the next hop.
    pub(crate) leg: Leg,
    /// The user who proved a password; empty without one. At most 255 bytes.
    pub user: &'a str,
    /// The permissions of the call, as the identity field shows them. At most 255 bytes.
    pub(crate) permits: &'a str,
}

impl OutsideToken {
    /// Appends the token.
    ///
    /// Returns false, and appends nothing, if there is no key.
    #[must_use]
    pub(crate) fn seal(&self, keys: &Keys, bound: Bound<'_>, out: &mut Vec<u8>) -> bool {
        let mut payload = Payload::new();
        put_common(&mut payload, self.initiator, self.issued, self.account)
            .and_then(|()| put(&mut payload, &self.leg.encoded()))
            .is_some_and(|()| keys.seal(Purpose::Outside, &payload, &bound.parts(), out))
    }

    /// Reads a token that [`seal`](Self::seal) wrote for this dialog.
    #[must_use]
    pub(crate) fn open(keys: &Keys, token: &[u8], bound: Bound<'_>) -> Option<Self> {
        let payload = keys.open(Purpose::Outside, token, &bound.parts())?;
        let mut rest = payload.as_slice();
        let (initiator, issued, account) = take_common(&mut rest)?;
        let leg = Leg::decode(&mut rest)?;
        rest.is_empty().then_some(Self { initiator, issued, account, leg })
    }
}

impl<'a> InsideToken<'a> {
    /// Appends the token.
    ///
    /// Returns false, and appends nothing, if the user or the permissions are too long, or if there is
    /// no key.
    #[must_use]
    pub(crate) fn seal(&self, keys: &Keys, bound: Bound<'_>, out: &mut Vec<u8>) -> bool {
        self.payload()
            .is_some_and(|payload| keys.seal(Purpose::Inside, &payload, &bound.parts(), out))
    }

    /// Reads a token that [`seal`](Self::seal) wrote for this dialog. `payload` is the buffer for its
    /// texts.
    #[must_use]
    pub(crate) fn open(
        keys: &Keys,
        token: &[u8],
        bound: Bound<'_>,
        payload: &'a mut Payload,
    ) -> Option<Self> {
        *payload = keys.open(Purpose::Inside, token, &bound.parts())?;
        let mut rest = payload.as_slice();
        let (initiator, issued, account) = take_common(&mut rest)?;
        let target = take_target(&mut rest)?;
        let leg = Leg::decode(&mut rest)?;
        let (user, permits) = (take_text(&mut rest)?, take_text(&mut rest)?);
        let token = Self { initiator, issued, account, target, leg, user, permits };
        rest.is_empty().then_some(token)
    }

    fn payload(&self) -> Option<Payload> {
        let mut payload = Payload::new();
        put_common(&mut payload, self.initiator, self.issued, self.account)?;
        put_target(&mut payload, &self.target)?;
        put(&mut payload, &self.leg.encoded())?;
        put_text(&mut payload, self.user)?;
        put_text(&mut payload, self.permits)?;
        Some(payload)
    }
}

impl<'a> Bound<'a> {
    pub(crate) fn parts(&self) -> [&'a [u8]; 2] {
        [self.call_id, self.initiator_tag]
    }
}

/// Whether a token issued at this time is too old at `now` (both in seconds since 1970). `life` is its
/// life in seconds.
///
/// A time more than 5 minutes in the future counts as expired: the clocks of a fleet may differ by
/// less.
#[must_use]
pub(crate) fn is_expired(issued: u32, now: u32, life: u32) -> bool {
    now.saturating_sub(issued) > life || issued.saturating_sub(now) > MAX_CLOCK_SKEW
}

/// Appends to a payload. None if it is full.
pub(crate) fn put(payload: &mut Payload, bytes: &[u8]) -> Option<()> {
    payload.try_extend_from_slice(bytes).ok()
}

/// Appends what both tokens begin with.
fn put_common(
    payload: &mut Payload,
    initiator: Side,
    issued: u32,
    account: AccountSid,
) -> Option<()> {
    let side = match initiator {
        Side::Outside => 0,
        Side::Inside => 1,
    };
    put(payload, &[side])?;
    put(payload, &issued.to_be_bytes())?;
    put(payload, account.as_bytes())
}

fn take_common(rest: &mut &[u8]) -> Option<(Side, u32, AccountSid)> {
    let initiator = match take(rest)? {
        [0] => Side::Outside,
        [1] => Side::Inside,
        _ => return None,
    };
    Some((initiator, u32::from_be_bytes(take(rest)?), AccountSid::from_bytes(take(rest)?)))
}

/// Appends a domain or trunk.
pub(crate) fn put_target(payload: &mut Payload, target: &Target) -> Option<()> {
    let (kind, sid) = match target {
        Target::Domain(sid) => (0, sid.as_bytes()),
        Target::Trunk(sid) => (1, sid.as_bytes()),
    };
    put(payload, &[kind])?;
    put(payload, sid)
}

pub(crate) fn take_target(rest: &mut &[u8]) -> Option<Target> {
    let [kind] = take(rest)?;
    let sid = take(rest)?;
    match kind {
        0 => Some(Target::Domain(DomainSid::from_bytes(sid))),
        1 => Some(Target::Trunk(TrunkSid::from_bytes(sid))),
        _ => None,
    }
}

/// Appends a text after its length. None if it is longer than 255 bytes.
pub(crate) fn put_text(payload: &mut Payload, text: &str) -> Option<()> {
    put(payload, &[u8::try_from(text.len()).ok()?])?;
    put(payload, text.as_bytes())
}

pub(crate) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let [len] = take(rest)?;
    let (text, after) = rest.split_at_checked(usize::from(len))?;
    *rest = after;
    str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sip_authz::Transport;

    use super::*;
    use crate::leg::Way;

    const BOUND: Bound<'_> = Bound { call_id: b"call", initiator_tag: b"tag" };

    fn keys(number: u8) -> Keys {
        Keys::new((number, &[number; 32]), None).unwrap()
    }

    fn outside() -> OutsideToken {
        let address = "192.0.2.1:5060".parse().unwrap();
        OutsideToken {
            initiator: Side::Outside,
            issued: 1_800_000_000,
            account: AccountSid::from_bytes([1; 16]),
            leg: Leg { transport: Transport::Udp, address, way: Way::Listener(3) },
        }
    }

    fn inside<'a>(user: &'a str, permits: &'a str) -> InsideToken<'a> {
        InsideToken {
            initiator: Side::Inside,
            issued: 1_800_000_000,
            account: AccountSid::from_bytes([1; 16]),
            target: Target::Trunk(TrunkSid::from_bytes([2; 16])),
            leg: Leg::hop(Transport::Tcp, "[2001:db8::1]:5060".parse().unwrap()),
            user,
            permits,
        }
    }

    #[test]
    fn a_token_is_valid_for_its_dialog_side_and_key_only() {
        let (keys, mut out, mut inner) = (keys(1), Vec::new(), Vec::new());
        let (outside, inside) = (outside(), inside("alice", "calls=mobile"));
        assert!(outside.seal(&keys, BOUND, &mut out) && inside.seal(&keys, BOUND, &mut inner));
        let mut payload = Payload::new();
        assert_eq!(OutsideToken::open(&keys, &out, BOUND), Some(outside));
        assert_eq!(InsideToken::open(&keys, &inner, BOUND, &mut payload), Some(inside));
        // the token of the other side
        assert_eq!(OutsideToken::open(&keys, &inner, BOUND), None);
        assert_eq!(InsideToken::open(&keys, &out, BOUND, &mut payload), None);
        for (call_id, initiator_tag) in
            [("call", "gat"), ("llac", "tag"), ("callt", "ag"), ("tag", "call"), ("call", "")]
        {
            let (call_id, initiator_tag) = (call_id.as_bytes(), initiator_tag.as_bytes());
            let bound = Bound { call_id, initiator_tag };
            assert_eq!(OutsideToken::open(&keys, &out, bound), None, "{bound:?}");
            assert_eq!(InsideToken::open(&keys, &inner, bound, &mut payload), None, "{bound:?}");
        }
        let other = self::keys(2);
        assert_eq!(OutsideToken::open(&other, &out, BOUND), None);
        assert_eq!(InsideToken::open(&other, &inner, BOUND, &mut payload), None);
    }

    #[test]
    fn tokens_of_earlier_versions_are_read() {
        let (keys, mut out, mut inner) = (keys(1), Vec::new(), Vec::new());
        assert!(outside().seal(&keys, BOUND, &mut out));
        assert!(inside("alice", "mobile").seal(&keys, BOUND, &mut inner));
        assert_eq!(str::from_utf8(&out), Ok(OUTSIDE));
        assert_eq!(str::from_utf8(&inner), Ok(INSIDE));
    }

    const OUTSIDE: &str = "AQBrSdIAAQEBAQEBAQEBAQEBAQEBAQAAA8AAAgETxH0VnzXu9Zc7Vl5jkxxd5A4";
    const INSIDE: &str = "AQFrSdIAAQEBAQEBAQEBAQEBAQEBAQECAgICAgICAgICAgICAgICGSABDbgAAAAAAAAAAAAAAAETxAVhbGljZQZtb2JpbGWW7BZE9YdidZkXeVc4Uh96";

    #[test]
    fn texts_have_a_maximum_length() {
        let (keys, text) = (keys(1), "x".repeat(255));
        let (long, mut out) = (format!("{text}x"), Vec::new());
        for (user, permits, expected) in [
            (&*text, &*text, true),
            (&*text, &*long, false),
            (&*long, "", false),
            ("", &*long, false),
            ("", "", true),
        ] {
            out.clear();
            let token = inside(user, permits);
            assert_eq!(token.seal(&keys, BOUND, &mut out), expected);
            let mut payload = Payload::new();
            let opened = InsideToken::open(&keys, &out, BOUND, &mut payload);
            assert_eq!(opened, expected.then_some(token));
            assert_eq!(out.is_empty(), !expected);
            // a token stands in the user part of a URI
            assert!(out.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        }
    }

    #[test]
    fn a_token_expires() {
        for (issued, now, life, expected) in [
            (1_000, 1_000, 0, false),
            (1_000, 1_001, 0, true),
            (1_000, 1_100, 100, false),
            (1_000, 1_101, 100, true),
            (1_300, 1_000, 100, false),
            (1_301, 1_000, 100, true),
            (u32::MAX, 0, u32::MAX, true),
            (0, u32::MAX, u32::MAX, false),
            (u32::MAX, u32::MAX, 0, false),
        ] {
            assert_eq!(is_expired(issued, now, life), expected, "{issued} {now} {life}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_read_as_they_were_written(
            from_inside: bool, issued: u32, account: [u8; 16], is_trunk: bool, sid: [u8; 16],
            port: u16, user in ".{0,60}", permits in ".{0,60}", call_id: Vec<u8>, tag: Vec<u8>,
        ) {
            let initiator = if from_inside { Side::Inside } else { Side::Outside };
            let account = AccountSid::from_bytes(account);
            let target = if is_trunk {
                Target::Trunk(TrunkSid::from_bytes(sid))
            } else {
                Target::Domain(DomainSid::from_bytes(sid))
            };
            let leg = Leg::hop(Transport::Tls, ([192, 0, 2, 1], port).into());
            let bound = Bound { call_id: &call_id, initiator_tag: &tag };
            let (keys, mut out, mut payload) = (keys(1), Vec::new(), Payload::new());
            let token = OutsideToken { initiator, issued, account, leg };
            prop_assert!(token.seal(&keys, bound, &mut out));
            prop_assert_eq!(OutsideToken::open(&keys, &out, bound), Some(token));
            let (user, permits) = (&*user, &*permits);
            let token = InsideToken { initiator, issued, account, target, leg, user, permits };
            out.clear();
            prop_assert!(token.seal(&keys, bound, &mut out));
            prop_assert_eq!(InsideToken::open(&keys, &out, bound, &mut payload), Some(token));
        }

        #[test]
        fn a_payload_of_another_form_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let keys = keys(1);
            let (mut out, mut payload) = (Vec::new(), Payload::new());
            prop_assert!(keys.seal(Purpose::Inside, &bytes, &BOUND.parts(), &mut out));
            if let Some(token) = InsideToken::open(&keys, &out, BOUND, &mut payload) {
                let mut again = Vec::new();
                prop_assert!(token.seal(&keys, BOUND, &mut again));
                prop_assert_eq!(again, out);
            }
            let mut out = Vec::new();
            prop_assert!(keys.seal(Purpose::Outside, &bytes, &BOUND.parts(), &mut out));
            if let Some(token) = OutsideToken::open(&keys, &out, BOUND) {
                let mut again = Vec::new();
                prop_assert!(token.seal(&keys, BOUND, &mut again));
                prop_assert_eq!(again, out);
            }
        }
    }
}
