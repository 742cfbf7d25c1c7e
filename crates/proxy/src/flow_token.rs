//! The token in the Path of a registration: the way to the phone, carried by the registrar (RFC 5626 §5.2).

use sip_authz::AccountSid;
use sip_authz::model::Target;

use crate::keys::{Keys, Payload, Purpose};
use crate::leg::{Leg, take};
use crate::route_token::{put, put_target, put_text, take_target, take_text};

/// The token in our Path.
///
/// It is bound to no Call-ID: each request to the phone has another one. So who knows a token could use
/// it, and only the side of the next hops may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowToken<'a> {
    /// The time of the REGISTER in seconds since 1970.
    pub(crate) issued: u32,
    /// The account of the domain.
    pub(crate) account: AccountSid,
    /// The domain at which the phone registered.
    pub(crate) target: Target,
    /// The leg to the phone.
    pub(crate) leg: Leg,
    /// The user who proved a password; empty without one. At most 255 bytes.
    pub(crate) user: &'a str,
    /// The permissions of the user, as the identity field shows them. At most 255 bytes.
    pub(crate) permits: &'a str,
}

impl<'a> FlowToken<'a> {
    /// Appends the token.
    ///
    /// Returns false, and appends nothing, if the user or the permissions are too long, or if there is
    /// no key.
    #[must_use]
    pub(crate) fn seal(&self, keys: &Keys, out: &mut Vec<u8>) -> bool {
        self.payload().is_some_and(|payload| keys.seal(Purpose::Flow, &payload, &[], out))
    }

    /// Reads a token that [`seal`](Self::seal) wrote. `payload` is the buffer for its texts.
    #[must_use]
    pub(crate) fn open(keys: &Keys, token: &[u8], payload: &'a mut Payload) -> Option<Self> {
        *payload = keys.open(Purpose::Flow, token, &[])?;
        let mut rest = payload.as_slice();
        let issued = u32::from_be_bytes(take(&mut rest)?);
        let account = AccountSid::from_bytes(take(&mut rest)?);
        let target = take_target(&mut rest)?;
        let leg = Leg::decode(&mut rest)?;
        let (user, permits) = (take_text(&mut rest)?, take_text(&mut rest)?);
        rest.is_empty().then_some(Self { issued, account, target, leg, user, permits })
    }

    fn payload(&self) -> Option<Payload> {
        let mut payload = Payload::new();
        put(&mut payload, &self.issued.to_be_bytes())?;
        put(&mut payload, self.account.as_bytes())?;
        put_target(&mut payload, &self.target)?;
        put(&mut payload, &self.leg.encoded())?;
        put_text(&mut payload, self.user)?;
        put_text(&mut payload, self.permits)?;
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sip_authz::{DomainSid, Transport, TrunkSid};

    use super::*;
    use crate::leg::Way;
    use crate::route_token::{Bound, InsideToken, OutsideToken, Side};

    fn keys(number: u8) -> Keys {
        Keys::new((number, &[number; 32]), None).unwrap()
    }

    fn flow<'a>(user: &'a str, permits: &'a str) -> FlowToken<'a> {
        let address = "192.0.2.1:40000".parse().unwrap();
        FlowToken {
            issued: 1_800_000_000,
            account: AccountSid::from_bytes([1; 16]),
            target: Target::Domain(DomainSid::from_bytes([2; 16])),
            leg: Leg { transport: Transport::Tls, address, way: Way::Connection(7) },
            user,
            permits,
        }
    }

    #[test]
    fn a_token_is_no_token_of_a_dialog_and_the_other_way_round() {
        let (keys, mut token, mut payload) = (keys(1), Vec::new(), Payload::new());
        let flow = flow("alice", "local");
        assert!(flow.seal(&keys, &mut token));
        assert_eq!(FlowToken::open(&keys, &token, &mut payload), Some(flow));
        assert_eq!(FlowToken::open(&self::keys(2), &token, &mut payload), None);
        let FlowToken { issued, account, target, leg, user, permits } = flow;
        for bound in [
            Bound { call_id: b"", initiator_tag: b"" },
            Bound { call_id: b"call", initiator_tag: b"tag" },
        ] {
            assert_eq!(OutsideToken::open(&keys, &token, bound), None);
            assert_eq!(InsideToken::open(&keys, &token, bound, &mut payload), None);
            let initiator = Side::Inside;
            let (mut outside, mut inside) = (Vec::new(), Vec::new());
            let of_dialog = OutsideToken { initiator, issued, account, leg };
            assert!(of_dialog.seal(&keys, bound, &mut outside));
            let of_dialog = InsideToken { initiator, issued, account, target, leg, user, permits };
            assert!(of_dialog.seal(&keys, bound, &mut inside));
            assert_eq!(FlowToken::open(&keys, &outside, &mut payload), None);
            assert_eq!(FlowToken::open(&keys, &inside, &mut payload), None);
        }
    }

    #[test]
    fn tokens_of_earlier_versions_are_read() {
        let (keys, mut token) = (keys(1), Vec::new());
        assert!(flow("alice", "mobile").seal(&keys, &mut token));
        assert_eq!(str::from_utf8(&token), Ok(TOKEN));
    }

    const TOKEN: &str = "AWtJ0gABAQEBAQEBAQEBAQEBAQEBAAICAgICAgICAgICAgICAgIGAAAAAAAAAAfAAAIBnEAFYWxpY2UGbW9iaWxlCiIBnD7BpybgTXIVB2ogyA";

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
            assert_eq!(flow(user, permits).seal(&keys, &mut out), expected);
            assert_eq!(out.is_empty(), !expected);
            // a token stands in the user part of a URI
            assert!(out.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        }
    }

    proptest! {
        #[test]
        fn tokens_are_read_as_they_were_written(
            issued: u32, account: [u8; 16], is_trunk: bool, sid: [u8; 16], connection: u64, port: u16,
            user in ".{0,60}", permits in ".{0,60}",
        ) {
            let target = if is_trunk {
                Target::Trunk(TrunkSid::from_bytes(sid))
            } else {
                Target::Domain(DomainSid::from_bytes(sid))
            };
            let (account, way) = (AccountSid::from_bytes(account), Way::Connection(connection));
            let leg = Leg { transport: Transport::Tcp, address: ([192, 0, 2, 1], port).into(), way };
            let (user, permits) = (&*user, &*permits);
            let token = FlowToken { issued, account, target, leg, user, permits };
            let (keys, mut out, mut payload) = (keys(1), Vec::new(), Payload::new());
            prop_assert!(token.seal(&keys, &mut out));
            prop_assert_eq!(FlowToken::open(&keys, &out, &mut payload), Some(token));
        }

        #[test]
        fn a_payload_of_another_form_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (keys, mut out, mut payload) = (keys(1), Vec::new(), Payload::new());
            prop_assert!(keys.seal(Purpose::Flow, &bytes, &[], &mut out));
            if let Some(token) = FlowToken::open(&keys, &out, &mut payload) {
                let mut again = Vec::new();
                prop_assert!(token.seal(&keys, &mut again));
                prop_assert_eq!(again, out);
            }
        }
    }
}
