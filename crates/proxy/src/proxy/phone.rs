//! Requests of the next hops to registered phones: the token of the Path says where they go (RFC 5626
//! §5.3).

use sip_authz::Transport;
use sip_authz::message::Message;
use sip_authz::model::Target;
use sip_authz::uri::SipUri;

use super::dialog::can_be_within;
use super::{
    Arrival, Onward, Proxy, Surroundings, check_head, check_secure, ends_call, makes_dialog,
    record_routes, refuse,
};
use crate::Leg;
use crate::flow_token::FlowToken;
use crate::keys::{Keys, Payload};
use crate::route_token::{Bound, InsideToken, OutsideToken, Side, is_expired};
use crate::strict::Strict;
use crate::verdict::{Refusal, Verdict};

impl Proxy {
    /// Forwards a request of a next hop to the phone whose flow token is in its topmost Route.
    ///
    /// The token is that of the phone's registration. The request goes there whatever its Request-URI
    /// and further Routes, which stay for the phone. CANCEL and the ACK of a failure have the Route of
    /// their INVITE (RFC 3261 §9.1, §17.1.1.3) and go the same way.
    ///
    /// A request with the tokens of a dialog is for [`within_dialog`](Self::within_dialog), which is to
    /// be asked first. [`Verdict::Decide`] is for a request without a flow token.
    pub fn to_phone(
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
        let mut payload = Payload::new();
        let Some(flow) = Flow::of(&keys, &strict, around, &mut payload) else {
            return Verdict::Decide;
        };
        match self.to_flow(&keys, &strict, &flow, arrival, around, out) {
            Ok(()) => Verdict::Send(flow.token.leg),
            Err(refusal) => refuse(message, refusal),
        }
    }

    fn to_flow(
        &self,
        keys: &Keys,
        strict: &Strict<'_>,
        flow: &Flow<'_>,
        arrival: &Arrival,
        around: &dyn Surroundings,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let Flow { token: flow, routes_removed } = *flow;
        let (now, method) = (arrival.now, strict.method());
        // a phone can know its own token, and perhaps that of another one
        if !around.is_inside(&arrival.from) {
            return Err(Refusal::NotInside);
        }
        if !can_be_within(method) {
            return Err(Refusal::NotForPhones);
        }
        if !ends_call(method) && !around.is_open(flow.account) {
            return Err(Refusal::Closed);
        }
        if is_expired(flow.issued, now.seconds, self.settings.flow_life)
            || !around.is_alive(&flow.leg)
        {
            return Err(Refusal::FlowGone);
        }
        check_secure(strict, &flow.leg)?;
        let from = Side::Inside;
        check_head(keys, strict, from)?;
        let branch = self.branch(keys, strict, arrival)?;
        let initiator_tag = strict.from_tag().unwrap_or_default();
        let bound = Bound { call_id: strict.call_id(), initiator_tag };
        let (makes_dialog, issued) = (makes_dialog(method), self.issued(branch, now));
        let routes = if makes_dialog {
            let account = flow.account;
            let outside = OutsideToken { initiator: from, issued, account, leg: flow.leg };
            let inside = InsideToken {
                initiator: from,
                issued,
                account,
                target: flow.target,
                leg: answering(arrival.from, flow.target, around),
                user: flow.user,
                permits: flow.permits,
            };
            record_routes(keys, from, &outside, &inside, bound, around).ok_or(Refusal::TooLong)?
        } else {
            Vec::new()
        };
        let onward = Onward {
            strict,
            branch,
            to: flow.leg,
            from,
            routes_removed,
            routes: &routes,
            path: None,
            inside: None,
        };
        self.write(keys, &onward, arrival, around, out);
        if makes_dialog {
            self.hops.remember(branch, flow.target, flow.leg, issued, now.instant);
        }
        Ok(())
    }
}

/// The flow of a request, as the token in its Route says.
struct Flow<'p> {
    token: FlowToken<'p>,
    /// The number of Route values up to the token: one, or two if the sender has this side as its
    /// outbound proxy too.
    routes_removed: usize,
}

impl<'p> Flow<'p> {
    fn of(
        keys: &Keys,
        strict: &Strict<'_>,
        around: &dyn Surroundings,
        payload: &'p mut Payload,
    ) -> Option<Self> {
        let mut routes = strict.routes();
        let mut next = || SipUri::parse(routes.next()?.uri).ok();
        let first = next()?;
        // with a user it has a token, or something that is none
        let (token, routes_removed) = match first.user {
            Some(token) => (token, 1),
            None if around.names_us(&first) => (next()?.user?, 2),
            None => return None,
        };
        let token = FlowToken::open(keys, token.as_bytes(), payload)?;
        Some(Self { token, routes_removed })
    }
}

/// The leg for requests to a next hop of a domain that sent a request on this leg.
fn answering(from: Leg, target: Target, around: &dyn Surroundings) -> Leg {
    match from.transport {
        Transport::Udp => Leg::hop(from.transport, from.address),
        _ => around.hop_behind(&from, target).unwrap_or(from),
    }
}
