//! Reads a message: a request to decide, or one that is answered or forwarded without a decision.

use std::time::Instant;

use sip_authz::message::{Header, Message, StartLine};
use sip_authz::uri::{SipUri, UriError};
use sip_authz::{Invite, Snapshot};

use super::{Edge, Pending, Undecided};
use crate::observe::cause::Cause;
use crate::sip::forward::{Forwarder, Forwarding, Passed};
use crate::sip::peer::{Caller, Peer, Source};
use crate::sip::respond::{Echo, ToTag};
use crate::sip::undecided::{
    bad_extension, bad_request, cause_of_garbage, defect_of, ends_stream, refuse,
    without_leading_lines,
};

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

impl Edge {
    /// Reads a message. Returns a request to decide, or answers or forwards any other message.
    #[expect(clippy::result_large_err, reason = "the other variant is larger")]
    pub(super) fn read<'a>(
        &'a self,
        bytes: &'a [u8],
        peer: Peer,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(Pending<'a>, Invite<'a>), Undecided> {
        let message = self.scan(bytes, peer)?;
        let received = bytes.len();
        // a new INVITE, the usual request, is only decided
        let is_new = message.first(Header::Route).is_none()
            && matches!(message.start_line(), StartLine::Request { method: "INVITE", .. });
        let may_pass = self.forwarding.is_some() && !is_new;
        let snapshot = may_pass.then(|| self.authorizer.snapshot());
        let forwarder = snapshot.as_deref().and_then(|snapshot| self.forwarder(snapshot));
        if let Some(forwarder) = &forwarder
            && let Some(passed) = self.pass(forwarder, &message, peer, now, out)
        {
            let caller = self.trusted.caller(Some(&message), peer);
            let (to, ends_stream) = (peer.source, ends_stream(&message));
            let Passed { cause, send } = passed;
            return Err(Undecided { cause, caller, to, ends_stream, send });
        }
        let opened = self.open(message, peer)?;
        let (to, caller) = (opened.echo.destination(), opened.caller);
        let undecided = |Passed { cause, send }| Undecided {
            cause,
            caller,
            to,
            ends_stream: ends_stream(&message),
            send,
        };
        let mut forwards = false;
        if let Some(forwarder) = &forwarder {
            let arrival = forwarder.arrival(peer, to, now);
            if opened.echo.to_tag() == ToTag::Some
                && let Some(passed) = forwarder.within_dialog(&opened.echo, &arrival, out)
            {
                return Err(undecided(passed));
            }
            // with routes and a To tag it is of a dialog, whose token is not right
            let was_routed =
                opened.echo.to_tag() == ToTag::Some && message.first(Header::Route).is_some();
            forwards = opened.method != "INVITE"
                && (was_routed || forwarder.forward_of(&message, peer.local).is_some());
        }
        let read = read_request(&opened, peer, forwards, out);
        let Opened { echo, uri, caller, .. } = opened;
        match read {
            Ok(invite) => {
                let invite = self.naming.add_domain_hosts(invite, echo.message(), peer.local);
                Ok((Pending { echo, uri, peer, caller, received }, invite))
            }
            Err(cause) => Err(undecided(Passed { cause, send: None })),
        }
    }

    /// The forwarder of messages by a snapshot; none if nothing is forwarded.
    pub(super) fn forwarder<'s>(&'s self, snapshot: &'s Snapshot) -> Option<Forwarder<'s>> {
        let (naming, answers, connections) = (&self.naming, &self.answers, self.connections());
        let forwarding = self.forwarding.as_ref()?;
        Some(Forwarder { forwarding, naming, connections, answers, snapshot })
    }

    /// Forwards a response, an ACK or a CANCEL. None for other requests.
    fn pass(
        &self,
        forwarder: &Forwarder<'_>,
        message: &Message<'_>,
        peer: Peer,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Passed> {
        let StartLine::Request { method, .. } = message.start_line() else {
            return Some(forwarder.response(message, peer, out));
        };
        if !matches!(method, "ACK" | "CANCEL") {
            return None;
        }
        let echo = self.echo(*message, peer)?;
        if method == "ACK" && echo.has_own_tag() {
            // it confirms our own answer
            return Some(Passed { cause: Cause::Ack, send: None });
        }
        let arrival = forwarder.arrival(peer, echo.destination(), now);
        Some(forwarder.ack_or_cancel(message, &arrival, peer, out))
    }

    /// The values that the answer to a request echoes. None if it has no Via.
    fn echo<'a>(&'a self, message: Message<'a>, peer: Peer) -> Option<Echo<'a>> {
        let echo = Echo::of(message, peer, self.reply_port, &self.tags)?;
        Some(echo.with_tags_of(self.forwarding.as_ref().map(Forwarding::proxy)))
    }

    /// Scans a message.
    #[expect(clippy::result_large_err, reason = "the other variant is larger")]
    pub(super) fn scan<'a>(&self, bytes: &'a [u8], peer: Peer) -> Result<Message<'a>, Undecided> {
        Message::scan(without_leading_lines(bytes, peer.transport)).ok_or_else(|| Undecided {
            cause: cause_of_garbage(bytes),
            caller: self.trusted.caller(None, peer),
            to: peer.source,
            ends_stream: true,
            send: None,
        })
    }

    /// Reads the head of a request that gets an answer.
    #[expect(clippy::result_large_err, reason = "the other variant is larger")]
    pub(super) fn open<'a>(
        &'a self,
        message: Message<'a>,
        peer: Peer,
    ) -> Result<Opened<'a>, Undecided> {
        let caller = self.trusted.caller(Some(&message), peer);
        let unanswered = |cause| {
            let (to, ends_stream) = (peer.source, ends_stream(&message));
            Err(Undecided { cause, caller, to, ends_stream, send: None })
        };
        let StartLine::Request { method, uri } = message.start_line() else {
            return unanswered(Cause::Response);
        };
        match method {
            "ACK" => return unanswered(Cause::Ack),
            // a stateless server ignores it (RFC 3261 §8.2.7); 481 is for servers with transactions
            "CANCEL" => return unanswered(Cause::Cancel),
            _ => {}
        }
        match self.echo(message, peer) {
            Some(echo) => Ok(Opened { echo, method, uri, caller }),
            None => unanswered(Cause::MissingVia),
        }
    }
}

/// Reads a request. Returns an INVITE to decide, or answers any other request.
///
/// `forwards` says whether requests with other methods than INVITE are forwarded to the domain or trunk
/// of this one.
fn read_request<'a>(
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
        "INVITE" if caller.source == Source::Repeated => {
            let detail = Cause::Source.as_str();
            Err(bad_request(echo, &detail, Cause::Source, out))
        }
        // it is in no dialog that this side has recorded, or in none at all
        method if forwards && (echo.to_tag() == ToTag::Some || is_in_dialog(method)) => {
            echo.respond(481, "Call/Transaction Does Not Exist", out).end();
            Err(Cause::NoDialog)
        }
        method if method == "INVITE" || (forwards && is_decided(method, uri)) => caller
            .request(message, peer)
            .map_err(|error| bad_request(echo, &error, Cause::from(&error), out)),
        "BYE" | "OPTIONS" => match SipUri::parse_request_uri(uri) {
            Err(UriError::UnsupportedScheme) => {
                echo.respond(416, "Unsupported URI Scheme", out).end();
                Err(Cause::Scheme)
            }
            Err(error) => Err(bad_request(echo, &error, Cause::BadUri, out)),
            Ok(_) if message.first(Header::Require).is_some() => Err(bad_extension(echo, out)),
            Ok(_) => {
                let mut response = echo.respond(200, "OK", out);
                if *method == "OPTIONS" {
                    response = response.text("Allow", ALLOW).text("Accept", ACCEPT);
                }
                response.end();
                Err(Cause::Ok)
            }
        },
        _ => {
            echo.respond(405, "Method Not Allowed", out).text("Allow", ALLOW).end();
            Err(Cause::Method)
        }
    }
}

/// Whether requests with this method are only sent within a dialog.
fn is_in_dialog(method: &str) -> bool {
    matches!(method, "BYE" | "PRACK" | "UPDATE" | "INFO")
}

/// Whether a request other than INVITE is decided: it starts something beyond this edge.
fn is_decided(method: &str, uri: &str) -> bool {
    match method {
        "REGISTER" => false,
        // without a user it asks for the edge itself
        "OPTIONS" => SipUri::parse_request_uri(uri).is_ok_and(|uri| uri.user.is_some()),
        _ => true,
    }
}
