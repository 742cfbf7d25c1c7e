//! Requests of a dialog: the tokens in their Routes say where they go.

use memchr::memchr;
use std::sync::Arc;

use arc_swap::Guard;
use sip_authz::message::{Header, Message};

use super::{
    Arrival, Onward, Proxy, Surroundings, check_head, check_secure, record_routes, refuse,
};
use crate::keys::{Keys, Payload};
use crate::route_token::{Bound, InsideToken, OutsideToken, Side, is_expired};
use crate::strict::Strict;
use crate::verdict::{Refusal, Verdict};
use crate::{Leg, Way};

impl Proxy {
    /// Forwards a request of a dialog whose Routes this side has recorded (RFC 3261 §16.4, §16.6).
    ///
    /// It goes where the tokens in its Routes say, whatever its Request-URI.
    pub fn within_dialog(
        &self,
        message: &Message<'_>,
        arrival: &Arrival,
        around: &dyn Surroundings,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let (keys, strict) = match self.routed(message) {
            Ok(routed) => routed,
            Err(verdict) => return verdict,
        };
        if strict.to_tag().is_none() || !can_be_within(strict.method()) {
            return Verdict::Decide;
        }
        let mut payload = Payload::new();
        let Some(dialog) = Dialog::of(&keys, &strict, &mut payload) else {
            return Verdict::Decide;
        };
        match self.within(&keys, &strict, &dialog, arrival, around, out) {
            Ok(()) => Verdict::Send(dialog.to()),
            Err(refusal) => refuse(message, refusal),
        }
    }

    /// Reads a request whose Routes can have our tokens, and loads the keys for them.
    ///
    /// # Errors
    ///
    /// The verdict on a request without Routes, or with a flaw: it is refused if it seems to have a token.
    pub(super) fn routed<'m>(
        &self,
        message: &Message<'m>,
    ) -> Result<(Guard<Arc<Keys>>, Strict<'m>), Verdict> {
        if message.first(Header::Route).is_none() {
            return Err(Verdict::Decide);
        }
        let keys = self.keys.load();
        match Strict::request(message) {
            Ok(strict) => Ok((keys, strict)),
            Err(flaw) if has_token(&keys, message) => Err(refuse(message, Refusal::Flaw(flaw))),
            Err(_) => Err(Verdict::Decide),
        }
    }

    fn within(
        &self,
        keys: &Keys,
        strict: &Strict<'_>,
        dialog: &Dialog<'_>,
        arrival: &Arrival,
        around: &dyn Surroundings,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let Dialog { from, bound, mut outside, mut inside } = *dialog;
        let now = arrival.now;
        let hop = inside.leg.address.ip().to_canonical();
        if from == Side::Inside && arrival.from.address.ip().to_canonical() != hop {
            return Err(Refusal::Elsewhere);
        }
        let is_expired = |issued| is_expired(issued, now.seconds, self.settings.life);
        // the table of renewals counts only for tokens that are too old by themselves
        let last = || inside.issued.max(self.renewed.last(keys, bound).unwrap_or_default());
        if is_expired(inside.issued) && is_expired(last()) {
            return Err(Refusal::Expired);
        }
        let method = strict.method();
        if !matches!(method, "BYE" | "ACK") && !around.is_open(inside.account) {
            return Err(Refusal::Closed);
        }
        // a connection does not come back (RFC 5626 §5.3)
        let is_gone = |leg: Leg| matches!(leg.way, Way::Connection(_)) && !around.is_alive(&leg);
        if from == Side::Inside && is_gone(outside.leg) {
            return Err(Refusal::FlowGone);
        }
        check_secure(strict, &dialog.to())?;
        // phones move; but with a next hop that is a proxy, the phone at the other end of the call has
        // these tokens too, and must not get the identity of this one
        let (sender, caller) = (arrival.from.address.ip(), outside.leg.address.ip());
        let is_caller = sender.to_canonical() == caller.to_canonical();
        let caller_leg = if is_caller { arrival.from } else { outside.leg };
        check_head(keys, strict, from)?;
        let branch = self.branch(keys, strict, arrival)?;
        let is_renewed = matches!(method, "INVITE" | "UPDATE" | "SUBSCRIBE");
        if is_renewed {
            // a peer that takes its routes from the last request gets newer tokens
            let issued = self.issued(branch, now);
            (outside.issued, inside.issued) = (issued, issued);
            if from == Side::Outside {
                outside.leg = caller_leg;
            }
        }
        let routes = if records_again(method) {
            record_routes(keys, from, &outside, &inside, bound, around).ok_or(Refusal::TooLong)?
        } else {
            Vec::new()
        };
        let onward = Onward {
            strict,
            branch,
            to: dialog.to(),
            from,
            routes_removed: 2,
            routes: &routes,
            path: None,
            inside: is_caller.then_some(&inside),
        };
        self.write(keys, &onward, arrival, around, out);
        if is_renewed {
            self.renewed.renew(keys, bound, now.seconds);
        }
        if matches!(method, "INVITE" | "SUBSCRIBE") {
            self.hops.remember(branch, inside.target, dialog.to(), inside.issued, now.instant);
        }
        Ok(())
    }
}

/// Whether requests with this method can belong to a dialog. A registrar or a presence server does not
/// read the To tag of the others, so a token must not lead them around the decision (RFC 3261 §10.2, RFC
/// 3903 §4).
pub(super) fn can_be_within(method: &str) -> bool {
    !matches!(method, "REGISTER" | "PUBLISH")
}

/// Whether a request of a dialog gets our Record-Routes: a subscriber can make its dialog from the first
/// NOTIFY (RFC 6665 §4.3).
fn records_again(method: &str) -> bool {
    matches!(method, "INVITE" | "SUBSCRIBE" | "NOTIFY")
}

/// The dialog of a request, as the tokens in its two topmost Routes say.
#[derive(Clone, Copy)]
struct Dialog<'a> {
    /// The side that sent the request.
    from: Side,
    bound: Bound<'a>,
    outside: OutsideToken,
    inside: InsideToken<'a>,
}

impl<'a> Dialog<'a> {
    /// `None` if not both Routes are ours, made for this dialog at one time, and in the order for one
    /// of the sides. Also `None` if a token to the same peer comes once more: it would lead the request
    /// through here again.
    fn of(keys: &Keys, strict: &Strict<'a>, payload: &'a mut Payload) -> Option<Self> {
        let mut routes = strict.routes();
        let (top, second) = (token_of(routes.next()?.uri)?, token_of(routes.next()?.uri)?);
        let initiated = |initiator_tag| Bound { call_id: strict.call_id(), initiator_tag };
        // the INVITE came from the sender of this request, or from its peer
        let from_tag = initiated(strict.from_tag().unwrap_or_default());
        let to_tag = initiated(strict.to_tag().unwrap_or_default());
        let open = |outside: &[u8]| {
            let one = OutsideToken::open(keys, outside, from_tag).map(|it| (it, from_tag));
            one.or_else(|| OutsideToken::open(keys, outside, to_tag).map(|it| (it, to_tag)))
        };
        let (from, (outside, bound), inside) = match open(top) {
            Some(opened) => (Side::Outside, opened, second),
            None => (Side::Inside, open(second)?, top),
        };
        let to_caller = if from == Side::Outside { top } else { second };
        if routes.any(|route| token_of(route.uri) == Some(to_caller)) {
            return None;
        }
        let inside = InsideToken::open(keys, inside, bound, payload)?;
        let by_sender = outside.initiator == from;
        let is_right = outside.initiator == inside.initiator
            && outside.issued == inside.issued
            && outside.account == inside.account
            && bound.initiator_tag
                == if by_sender { from_tag.initiator_tag } else { to_tag.initiator_tag };
        is_right.then_some(Self { from, bound, outside, inside })
    }

    /// The leg to the other side.
    fn to(&self) -> Leg {
        match self.from {
            Side::Outside => self.inside.leg,
            Side::Inside => self.outside.leg,
        }
    }
}

/// Whether a Route of a message, perhaps a malformed one, seems to have one of our tokens.
fn has_token(keys: &Keys, message: &Message<'_>) -> bool {
    let routes = message.fields().filter(|field| field.header == Header::Route);
    let mut users = routes
        .flat_map(|route| route.value.split(|byte| b":,".contains(byte)))
        .filter_map(|text| text.split(|byte| *byte == b'@').next());
    users.any(|user| keys.is_like_token(user))
}

/// The user part of a well-formed Route, where our tokens are. With a password it is no token.
fn token_of(uri: &str) -> Option<&[u8]> {
    let uri = uri.as_bytes();
    let userinfo = uri.get(..memchr(b'@', uri)?)?;
    userinfo.get(memchr(b':', userinfo)? + 1..)
}
