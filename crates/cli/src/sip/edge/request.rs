//! A request that gets an answer: it is decided, or it is for the edge itself.

use sip_authz::Invite;
use sip_authz::message::Header;
use sip_authz::uri::{SipUri, UriError};

use crate::observe::cause::Cause;
use crate::sip::peer::{Caller, Peer, Source};
use crate::sip::respond::{Echo, ToTag};
use crate::sip::undecided::{bad_extension, bad_request, defect_of, refuse};

/// The supported methods (RFC 3261 §20.5).
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// The supported types of bodies (RFC 3261 §20.1, RFC 5621 §3).
pub(super) const ACCEPT: &str = "application/sdp, multipart/*";

/// The head of a request that gets an answer.
pub(super) struct Opened<'a> {
    pub(super) echo: Echo<'a>,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) caller: Caller,
}

/// Reads a request. Returns an INVITE to decide, or answers any other request.
///
/// `forwards` says whether requests with other methods than INVITE are forwarded to the domain or trunk
/// of this one.
pub(super) fn read_request<'a>(
    Opened { echo, method, uri, caller }: &Opened<'a>,
    peer: Peer,
    forwards: bool,
    out: &mut Vec<u8>,
) -> Result<Invite<'a>, Cause> {
    let message = echo.message();
    if let Some(defect) = defect_of(message, peer.transport) {
        return Err(refuse(echo, defect, out));
    }
    match *method {
        // it is in no dialog that this side has recorded, or in none at all
        method if forwards && (echo.to_tag() == ToTag::Some || is_in_dialog(method)) => {
            echo.respond(481, "Call/Transaction Does Not Exist", out).end();
            Err(Cause::NoDialog)
        }
        method if method == "INVITE" || (forwards && is_decided(method, uri)) => {
            if caller.source == Source::Repeated {
                let detail = Cause::Source.as_str();
                return Err(bad_request(echo, &detail, Cause::Source, out));
            }
            caller
                .request(message, peer)
                .map_err(|error| bad_request(echo, &error, Cause::from(&error), out))
        }
        "BYE" | "OPTIONS" => Err(answer_for_itself(echo, method, uri, out)),
        _ => {
            echo.respond(405, "Method Not Allowed", out).text("Allow", ALLOW).end();
            Err(Cause::Method)
        }
    }
}

/// Answers an OPTIONS or BYE that is for the edge itself.
pub(super) fn answer_for_itself(
    echo: &Echo<'_>,
    method: &str,
    uri: &str,
    out: &mut Vec<u8>,
) -> Cause {
    match SipUri::parse_request_uri(uri) {
        Err(UriError::UnsupportedScheme) => {
            echo.respond(416, "Unsupported URI Scheme", out).end();
            Cause::Scheme
        }
        Err(error) => bad_request(echo, &error, Cause::BadUri, out),
        Ok(_) if echo.message().first(Header::Require).is_some() => bad_extension(echo, out),
        Ok(_) => {
            let mut response = echo.respond(200, "OK", out);
            if method == "OPTIONS" {
                response = response.text("Allow", ALLOW).text("Accept", ACCEPT);
            }
            response.end();
            Cause::Ok
        }
    }
}

/// Whether requests with this method are only sent within a dialog.
pub(crate) fn is_in_dialog(method: &str) -> bool {
    matches!(method, "BYE" | "PRACK" | "UPDATE" | "INFO")
}

/// Whether a request other than INVITE is decided: it starts something beyond this edge.
fn is_decided(method: &str, uri: &str) -> bool {
    match method {
        // without a user it asks for the edge itself
        "OPTIONS" => SipUri::parse_request_uri(uri).is_ok_and(|uri| uri.user.is_some()),
        _ => true,
    }
}
