//! Requests of the next hops: they go to phones by tokens, and are never decided.

use sip_authz::uri::SipUri;
use sip_authz_proxy::Way;

use super::Edge;
use super::request::{Opened, answer_for_itself, is_in_dialog};
use crate::observe::cause::Cause;
use crate::sip::peer::Peer;
use crate::sip::respond::ToTag;
use crate::sip::undecided::{defect_of, refuse};

impl Edge {
    /// Whether a message came from the side of the next hops: at a listener that is marked for them, or on
    /// a connection that this side opened.
    pub(super) fn is_inside(&self, peer: Peer) -> bool {
        self.forwarding.is_some()
            && (peer.leg().way == Way::Hop || self.naming.is_inside(peer.local.listener))
    }

    /// Answers a request of a next hop that has no token: it goes nowhere.
    pub(super) fn answer_to_hop(
        &self,
        Opened { echo, method, uri, .. }: &Opened<'_>,
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Cause {
        if let Some(defect) = defect_of(echo.message(), peer.transport) {
            return refuse(echo, defect, out);
        }
        if echo.to_tag() == ToTag::Some || is_in_dialog(method) {
            echo.respond(481, "Call/Transaction Does Not Exist", out).end();
            return Cause::NoDialog;
        }
        let is_for_us = || {
            SipUri::parse_request_uri(uri)
                .is_ok_and(|uri| uri.user.is_none() || self.naming.names_us(&uri))
        };
        if *method == "OPTIONS" && is_for_us() {
            return answer_for_itself(echo, method, uri, out);
        }
        echo.respond(403, "Forbidden (no token of a phone)", out).end();
        Cause::NoFlowToken
    }
}
