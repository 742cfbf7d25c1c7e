//! Reads a message: a request to decide, or one that is answered or forwarded without a decision.

use std::time::Instant;

use sip_authz::message::{Header, Message, StartLine};
use sip_authz::{Invite, Snapshot, Transport};

use super::request::{Opened, read_request};
use super::{Edge, Pending, Undecided};
use crate::observe::cause::Cause;
use crate::sip::forward::{Forwarder, Forwarding, Passed};
use crate::sip::peer::Peer;
use crate::sip::respond::{Echo, ToTag};
use crate::sip::stun;
use crate::sip::undecided::{cause_of_garbage, ends_stream, without_leading_lines};

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
        let message = match self.scan(bytes, peer) {
            Ok(message) => message,
            Err(undecided)
                if undecided.cause == Cause::Stun && peer.transport == Transport::Udp =>
            {
                let cause = stun::answer(bytes, peer.source, out);
                return Err(Undecided { cause, ..undecided });
            }
            Err(undecided) => return Err(undecided),
        };
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
            let within = (opened.echo.to_tag() == ToTag::Some)
                .then(|| forwarder.within_dialog(&opened.echo, &arrival, out));
            let passed =
                within.flatten().or_else(|| forwarder.pass_to_phone(&opened.echo, &arrival, out));
            if let Some(passed) = passed {
                return Err(undecided(passed));
            }
            // with routes and a To tag it is of a dialog, whose token is not right
            let was_routed =
                opened.echo.to_tag() == ToTag::Some && message.first(Header::Route).is_some();
            forwards = opened.method != "INVITE"
                && (was_routed || forwarder.forward_of(&message, peer.local).is_some());
        }
        let read = if self.is_inside(peer) {
            Err(self.answer_to_hop(&opened, peer, out))
        } else {
            read_request(&opened, peer, forwards, out)
        };
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
