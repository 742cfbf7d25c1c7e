//! The answer to an accepted request, or where it goes.

use std::time::Instant;

use sip_authz::message::{Header, StartLine};
use sip_authz::model::OnAccept;
use sip_authz::uri::{Scheme, SipUri};
use sip_authz::{Accept, Snapshot, TargetView, Transport};
use sip_authz_proxy::Leg;

use super::request::{ACCEPT, ALLOW};
use super::{Edge, Pending};
use crate::observe::cause::Cause;
use crate::observe::totals::Outcome;
use crate::sip::body::Body;
use crate::sip::naming::OwnAddress;
use crate::sip::redirect::contacts;
use crate::sip::respond::{Response, ToTag};
use crate::sip::route::Routes;
use crate::sip::sdp;
use crate::sip::undecided::bad_extension;

impl Edge {
    /// Answers or forwards an accepted request.
    pub(super) fn accepted(
        &self,
        pending: &Pending<'_>,
        accept: &Accept,
        used: Option<&Snapshot>,
        now: Instant,
        routes: &mut Routes,
        out: &mut Vec<u8>,
    ) -> (Outcome, Option<Leg>) {
        // `decide` leaves no accept without its target
        let found = used.and_then(|used| Some((used, used.target_view(accept.target)?)));
        let on_accept = found.map(|(used, view)| (used, view, self.answers.of(&view)));
        if let Some((used, _, Ok(OnAccept::Forward(forward)))) = on_accept
            && let Some(forwarder) = self.forwarder(used)
        {
            let Pending { echo, peer, .. } = pending;
            let arrival = forwarder.arrival(*peer, echo.destination(), now);
            return match forwarder.accepted(echo, forward, accept, &arrival, *peer, out) {
                Ok(leg) => (Outcome::Accepted, Some(leg)),
                Err(cause) => (Outcome::Other(cause), None),
            };
        }
        let answer = on_accept.map(|(_, view, on_accept)| (view, on_accept));
        (self.answer_accepted(pending, accept, answer, routes, out), None)
    }

    /// Answers an accepted INVITE that is not forwarded.
    fn answer_accepted(
        &self,
        pending: &Pending<'_>,
        accept: &Accept,
        answer: Option<(TargetView<'_>, Result<&OnAccept, Cause>)>,
        routes: &mut Routes,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let Pending { echo, uri, peer, .. } = pending;
        let message = echo.message();
        let mut other = |cause, status, phrase: &str| {
            echo.respond(status, phrase, out).end();
            Outcome::Other(cause)
        };
        // only forwards are for other methods; the answer of the domain was changed at this moment
        if !matches!(message.start_line(), StartLine::Request { method: "INVITE", .. }) {
            return other(Cause::NextHop, 480, "Temporarily Unavailable");
        }
        if echo.to_tag() == ToTag::Some {
            return other(Cause::NoDialog, 481, "Call/Transaction Does Not Exist");
        }
        let Some((view, on_accept)) = answer else {
            return other(Cause::NextHop, 480, "Temporarily Unavailable");
        };
        match on_accept {
            Err(cause) => other(cause, 480, "Temporarily Unavailable (next hop not allowed)"),
            Ok(OnAccept::Redirect(redirect)) => match contacts(redirect, uri, &view, accept) {
                Err(cause @ Cause::RedirectTooLong) => other(cause, 414, "Request-URI Too Long"),
                Err(cause) => other(cause, 404, "Not Found"),
                Ok(contacts) => {
                    let mut response = echo.respond(302, "Moved Temporarily", out);
                    for contact in &contacts {
                        let uri = &contact.uri;
                        response = match contact.q {
                            Some(q) => response.header("Contact", format_args!("<{uri}>;q={q}")),
                            None => response.header("Contact", format_args!("<{uri}>")),
                        };
                    }
                    response.end();
                    Outcome::Accepted
                }
            },
            Ok(OnAccept::Ok) => {
                if message.first(Header::Require).is_some() {
                    return Outcome::Other(bad_extension(echo, out));
                }
                let local = self.naming.own_address(*peer, routes);
                let description = match Body::of(message) {
                    Body::None => sdp::nothing(local.ip()),
                    Body::Sdp(offer) => match sdp::decline(offer, local.ip()) {
                        Some(answer) => answer,
                        None => return other(Cause::Sdp, 400, "Bad Request (malformed sdp)"),
                    },
                    Body::Malformed => {
                        let phrase = "Bad Request (malformed multipart body)";
                        return other(Cause::Multipart, 400, phrase);
                    }
                    Body::Unsupported => {
                        let response = echo.respond(415, "Unsupported Media Type", out);
                        response.text("Accept", ACCEPT).end();
                        return Outcome::Other(Cause::MediaType);
                    }
                };
                let response = echo.respond(200, "OK", out).text("Allow", ALLOW);
                let uri = SipUri::parse_request_uri(uri).ok();
                with_contact(response, uri, &local, peer.transport)
                    .end_with(sdp::CONTENT_TYPE, description.as_bytes());
                Outcome::Accepted
            }
            // an answer that this program does not know
            Ok(_) => other(Cause::NextHop, 480, "Temporarily Unavailable"),
        }
    }
}

fn with_contact<'o>(
    response: Response<'o>,
    uri: Option<SipUri<'_>>,
    local: &OwnAddress<'_>,
    transport: Transport,
) -> Response<'o> {
    let (user, at) = uri.and_then(|uri| uri.user).map_or(("", ""), |user| (user, "@"));
    // the Contact is a SIPS URI if the Request-URI is one (RFC 3261 §12.1.1)
    let (scheme, parameter, transport) = match transport {
        Transport::Udp => ("sip", "", ""),
        _ if uri.is_some_and(|uri| uri.scheme == Scheme::Sips) => ("sips", "", ""),
        _ => ("sip", ";transport=", transport.as_str()),
    };
    response.header("Contact", format_args!("<{scheme}:{user}{at}{local}{parameter}{transport}>"))
}
