//! Turns the bytes of messages into the bytes of their answers, without sockets.
//!
//! Each request except ACK and CANCEL gets an answer if it has a Via. Over UDP an answer is at most
//! [`FACTOR`] times as long as its request. No input causes an error.

use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use sip_authz::message::{Defect, FrameError, Header, Message, StartLine};
use sip_authz::uri::{Scheme, SipUri, UriError};
use sip_authz::{
    AcceptBasis, AccountSid, Authorizer, Decision, Invite, Reason, Reject, Snapshot, Transport,
};

use crate::args::{OnAccept, ReplyPort};
use crate::observe::cause::Cause;
use crate::observe::observers::DecisionObservers;
use crate::observe::totals::{Outcome, Tally, Totals};
use crate::sip::body::Body;
use crate::sip::peer::Peer;
use crate::sip::respond::{Echo, Response, TagKey, ToTag, phrase};
use crate::sip::route::Routes;
use crate::sip::sdp;
use crate::sip::shorten::{ERROR_HEADER, FACTOR, Fit, fit};

/// The supported methods (RFC 3261 §20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// The supported types of bodies (RFC 3261 §20.1, RFC 5621 §3).
const ACCEPT: &str = "application/sdp, multipart/*";

/// The maximum number of messages in a batch.
pub(crate) const BATCH: usize = 64;

/// A stateless user agent server in front of an [`Authorizer`].
pub(crate) struct Edge {
    authorizer: Arc<Authorizer>,
    pub(crate) totals: Totals,
    on_accept: OnAccept,
    reply_port: ReplyPort,
    tags: TagKey,
    pub(crate) observers: DecisionObservers,
}

/// The answers to the last batch, and buffers that the next batch reuses.
#[derive(Default)]
pub(crate) struct BatchScratch {
    bytes: Vec<u8>,
    /// The end of each answer in `bytes`, and its destination.
    answers: Vec<(usize, SocketAddr)>,
    /// The source of the request of each answer.
    answered: Vec<SocketAddr>,
    /// The sources of the accepted requests, with the accounts that accepted them.
    accepted: Vec<(SocketAddr, AccountSid)>,
    decisions: Vec<Decision>,
    tally: Tally,
    routes: Routes,
}

impl BatchScratch {
    /// The answers to the last batch, with their destinations.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let mut start = 0;
        self.answers.iter().map(move |(end, to)| {
            let bytes = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (bytes, *to)
        })
    }

    /// The sources of the answered requests of the last batch, in the order of the answers.
    pub(crate) fn answered(&self) -> impl Iterator<Item = SocketAddr> {
        self.answered.iter().copied()
    }

    /// The sources of the accepted requests of the last batch, with the accounts that accepted them.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = (SocketAddr, AccountSid)> {
        self.accepted.iter().copied()
    }

    fn address_answer(&mut self, to: SocketAddr, source: SocketAddr) {
        if self.bytes.len() > self.answers.last().map_or(0, |(end, _)| *end) {
            self.answers.push((self.bytes.len(), to));
            self.answered.push(source);
        }
    }
}

/// An INVITE that awaits its decision.
struct Pending<'a> {
    echo: Echo<'a>,
    uri: &'a str,
    peer: Peer,
    /// The length of the request as received.
    received: usize,
}

/// A message that is not decided.
struct Undecided {
    cause: Cause,
    /// The destination of its answer, if it has one.
    to: SocketAddr,
    /// Whether its head has a defect, after which nothing more of its stream may be read.
    ends_stream: bool,
}

/// The result of a whole message.
#[derive(Debug)]
pub(crate) struct Answered {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it"))]
    pub(crate) outcome: Outcome,
    /// The basis of an accepted call; none if the records changed meanwhile.
    pub(crate) basis: Option<AcceptBasis>,
    /// Whether the stream ends after the answer: another parser could find another end of the message.
    pub(crate) ends_stream: bool,
}

impl Edge {
    pub(crate) fn new(
        authorizer: Arc<Authorizer>,
        tags: TagKey,
        on_accept: OnAccept,
        reply_port: ReplyPort,
        observers: DecisionObservers,
    ) -> Self {
        let totals = Totals::default();
        Self { authorizer, totals, on_accept, reply_port, tags, observers }
    }

    /// Appends the answer to a whole message to `out`, if it gets one, and counts the message.
    pub(crate) fn answer(
        &self,
        bytes: &[u8],
        peer: Peer,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Answered {
        let (mut basis, start) = (None, out.len());
        let (outcome, ends_stream) = match self.read(bytes, peer, out) {
            Ok((pending, invite)) => {
                let mut decisions = Vec::with_capacity(1);
                let (asked, invites) = (from_ref(&pending), from_ref(&invite));
                let before = self.authorizer.snapshot();
                self.decide(asked, invites, now, &mut decisions);
                let concluded = decisions.first().map(|decision| {
                    let outcome = self.conclude(&pending, decision, &mut Routes::default(), out);
                    if outcome == Outcome::Accepted {
                        basis = self.basis(&before, decision, &invite);
                    }
                    outcome
                });
                // there is one decision for each INVITE
                (concluded.unwrap_or(Outcome::Other(Cause::Malformed)), false)
            }
            Err(undecided) => (Outcome::Other(undecided.cause), undecided.ends_stream),
        };
        let outcome = within_bounds(outcome, bytes.len(), peer.transport, start, out);
        self.totals.count(outcome);
        self.log(outcome, peer, now);
        Answered { outcome, ends_stream, basis }
    }

    /// Appends the answer to a message at which a stream cannot be cut, if its start line and Via can be
    /// read from the received bytes, and counts the message.
    pub(crate) fn answer_uncut(
        &self,
        bytes: &[u8],
        error: FrameError,
        peer: Peer,
        now: Instant,
        out: &mut Vec<u8>,
    ) {
        let cause = match self.open(bytes, peer) {
            Ok((echo, ..)) => match (error, echo.message().stream_defect()) {
                (FrameError::TooLong, _) => {
                    echo.respond(513, "Message Too Large", out).end();
                    Cause::TooLarge
                }
                (FrameError::Garbled | FrameError::ContentLength, Some(defect)) => {
                    refuse(&echo, defect, out)
                }
                (FrameError::NoContentLength, _) => {
                    bad_request(&echo, &error, Cause::MissingContentLength, out)
                }
                _ => bad_request(&echo, &error, Cause::Malformed, out),
            },
            Err(undecided) => undecided.cause,
        };
        self.totals.count(Outcome::Other(cause));
        self.log(Outcome::Other(cause), peer, now);
    }

    /// The basis of an accept, if the snapshot in force is still the one before the decision.
    fn basis(
        &self,
        before: &Arc<Snapshot>,
        decision: &Decision,
        invite: &Invite<'_>,
    ) -> Option<AcceptBasis> {
        let Decision::Accept(accept) = decision else { return None };
        let is_same = Arc::ptr_eq(before, &self.authorizer.snapshot());
        is_same.then(|| before.basis(accept, invite)).flatten()
    }

    /// The authorizer that decides.
    pub(crate) fn authorizer(&self) -> &Arc<Authorizer> {
        &self.authorizer
    }

    /// Answers up to [`BATCH`] whole messages into `scratch`, and counts them.
    pub(crate) fn answer_batch<'a>(
        &self,
        messages: impl Iterator<Item = (&'a [u8], Peer)>,
        now: Instant,
        scratch: &mut BatchScratch,
    ) {
        scratch.bytes.clear();
        scratch.answers.clear();
        scratch.answered.clear();
        scratch.accepted.clear();
        let mut pending = ArrayVec::<_, BATCH>::new();
        let mut invites = ArrayVec::<_, BATCH>::new();
        for (bytes, peer) in messages.take(BATCH) {
            let start = scratch.bytes.len();
            match self.read(bytes, peer, &mut scratch.bytes) {
                Ok((asked, invite)) => {
                    pending.push(asked);
                    invites.push(invite);
                }
                Err(Undecided { cause, to, .. }) => {
                    let (outcome, received) = (Outcome::Other(cause), bytes.len());
                    let out = &mut scratch.bytes;
                    let outcome = within_bounds(outcome, received, peer.transport, start, out);
                    scratch.tally.count(outcome);
                    self.log(outcome, peer, now);
                    scratch.address_answer(to, peer.source);
                }
            }
        }
        let mut decisions = std::mem::take(&mut scratch.decisions);
        self.decide(&pending, &invites, now, &mut decisions);
        for (asked, decision) in pending.iter().zip(&decisions) {
            let (start, out) = (scratch.bytes.len(), &mut scratch.bytes);
            let outcome = self.conclude(asked, decision, &mut scratch.routes, out);
            let transport = asked.peer.transport;
            let outcome = within_bounds(outcome, asked.received, transport, start, out);
            scratch.tally.count(outcome);
            if let (Outcome::Accepted, Decision::Accept(accept)) = (outcome, decision) {
                scratch.accepted.push((asked.peer.source, accept.account));
            }
            self.log(outcome, asked.peer, now);
            scratch.address_answer(asked.echo.destination(), asked.peer.source);
        }
        decisions.clear();
        scratch.decisions = decisions;
        self.totals.add(&mut scratch.tally);
    }

    /// Decides INVITEs, and passes the decisions to the observers.
    ///
    /// If the snapshot became stale between `now` and the decision, because the thread was delayed,
    /// accepts turn into rejections.
    fn decide(
        &self,
        pending: &[Pending<'_>],
        invites: &[Invite<'_>],
        now: Instant,
        decisions: &mut Vec<Decision>,
    ) {
        if invites.is_empty() {
            return decisions.clear();
        }
        let snapshot = self.authorizer.authorize_batch(invites, now, decisions);
        let decided = Instant::now();
        if self.authorizer.is_stale(decided) {
            for decision in decisions.iter_mut().filter(|decision| decision.is_accept()) {
                let (target, reason) = (decision.target(), Reason::SnapshotStale);
                *decision = Decision::Reject(Reject::new(target, reason));
            }
        }
        let took = decided.saturating_duration_since(now);
        let peers = pending.iter().map(|asked| asked.peer);
        self.observers.notify(snapshot, took, peers.zip(&*decisions));
    }

    /// Passes the outcome to the logs if it is not that of a decision, which has its own line.
    fn log(&self, outcome: Outcome, peer: Peer, now: Instant) {
        if let Outcome::Other(cause) = outcome {
            self.observers.notify_other(cause, peer, now);
        }
    }

    /// Reads a message. Returns an INVITE to decide, or answers any other message.
    fn read<'a>(
        &'a self,
        bytes: &'a [u8],
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Result<(Pending<'a>, Invite<'a>), Undecided> {
        let (echo, method, uri) = self.open(bytes, peer)?;
        let received = bytes.len();
        match read_request(&echo, method, uri, peer, out) {
            Ok(invite) => Ok((Pending { echo, uri, peer, received }, invite)),
            Err(cause) => {
                let ends_stream = ends_stream(echo.message());
                Err(Undecided { cause, to: echo.destination(), ends_stream })
            }
        }
    }

    /// Reads the head of a request that gets an answer: the values to echo, the method and the
    /// Request-URI.
    fn open<'a>(
        &'a self,
        bytes: &'a [u8],
        peer: Peer,
    ) -> Result<(Echo<'a>, &'a str, &'a str), Undecided> {
        let unanswered = |cause, message: Option<&Message<'_>>| {
            let ends_stream = message.is_none_or(ends_stream);
            Err(Undecided { cause, to: peer.source, ends_stream })
        };
        let Some(message) = Message::scan(without_leading_lines(bytes, peer.transport)) else {
            return unanswered(cause_of_garbage(bytes), None);
        };
        let StartLine::Request { method, uri } = message.start_line() else {
            return unanswered(Cause::Response, Some(&message));
        };
        match method {
            "ACK" => return unanswered(Cause::Ack, Some(&message)),
            // a stateless server ignores it (RFC 3261 §8.2.7); 481 is for servers with transactions
            "CANCEL" => return unanswered(Cause::Cancel, Some(&message)),
            _ => {}
        }
        match Echo::of(message, peer, self.reply_port, &self.tags) {
            Some(echo) => Ok((echo, method, uri)),
            None => unanswered(Cause::MissingVia, Some(&message)),
        }
    }

    /// Answers an INVITE according to its decision.
    fn conclude(
        &self,
        pending: &Pending<'_>,
        decision: &Decision,
        routes: &mut Routes,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let echo = &pending.echo;
        match decision {
            Decision::Accept(_) => self.accepted(pending, routes, out),
            Decision::Challenge(challenge) => {
                let mut response = echo.respond(challenge.status(), challenge.phrase(), out);
                for value in &challenge.values {
                    response = response.text(challenge.header_name(), value);
                }
                response.end();
                Outcome::Challenged
            }
            Decision::Reject(Reject { reason, .. }) => {
                let response = echo.respond(reason.status(), reason.phrase(), out);
                match reason.code() {
                    Some(code) => {
                        let public = reason.public().as_str();
                        response.header(ERROR_HEADER, format_args!("{code} {public}")).end();
                    }
                    None => response.end(),
                }
                Outcome::Rejected(*reason)
            }
        }
    }

    fn accepted(&self, pending: &Pending<'_>, routes: &mut Routes, out: &mut Vec<u8>) -> Outcome {
        let Pending { echo, uri, peer, .. } = pending;
        let message = echo.message();
        let mut other = |cause, status, phrase: &str| {
            echo.respond(status, phrase, out).end();
            Outcome::Other(cause)
        };
        if echo.to_tag() == ToTag::Some {
            return other(Cause::NoDialog, 481, "Call/Transaction Does Not Exist");
        }
        let uri = SipUri::parse_request_uri(uri).ok();
        match &self.on_accept {
            OnAccept::Redirect(target) => {
                let same = |uri: SipUri<'_>| {
                    SipUri::parse(target).is_ok_and(|target| target.equivalent(&uri))
                };
                if uri.is_some_and(same) {
                    // a redirect to itself would loop (RFC 3261 §8.3)
                    return other(Cause::RedirectLoop, 404, "Not Found");
                }
                let response = echo.respond(302, "Moved Temporarily", out);
                response.header("Contact", format_args!("<{target}>")).end();
                Outcome::Accepted
            }
            OnAccept::Ok => {
                if message.first(Header::Require).is_some() {
                    return Outcome::Other(bad_extension(echo, out));
                }
                let local = routes.local_address(*peer);
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
                with_contact(response, uri, local, peer.transport)
                    .end_with(sdp::CONTENT_TYPE, description.as_bytes());
                Outcome::Accepted
            }
        }
    }
}

/// Removes the line ends before the start line of a datagram. On a stream they were removed when it was
/// cut into messages.
fn without_leading_lines(bytes: &[u8], transport: Transport) -> &[u8] {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    match bytes {
        [b'\r' | b'\n', ..] if transport == Transport::Udp => {
            let start = bytes.iter().position(|byte| !is_line_end(byte));
            bytes.get(start.unwrap_or(bytes.len())..).unwrap_or_default()
        }
        _ => bytes,
    }
}

/// The cause for bytes that do not begin as a SIP message.
fn cause_of_garbage(bytes: &[u8]) -> Cause {
    // phones send such datagrams to keep their NAT bindings open (RFC 5626 §4.4)
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b'\t' | b' ' | 0)) {
        return Cause::KeepAlive;
    }
    match bytes {
        // RFC 8489 §5: two zero bits, and the magic cookie
        [0..=0x3f, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..] => Cause::Stun,
        _ => Cause::NotSip,
    }
}

/// The defect for which a request is refused. This is the one place where requests on a stream are
/// refused for more than those in a datagram.
fn defect_of(message: &Message<'_>, transport: Transport) -> Option<Defect> {
    match transport {
        Transport::Udp => message.defect(),
        _ => message.stream_defect(),
    }
}

/// Whether nothing may be read after a message on a stream, because its head has a defect.
fn ends_stream(message: &Message<'_>) -> bool {
    match (message.start_line(), message.stream_defect()) {
        // a response is not answered, and the fields that it lacks do not move its end
        (StartLine::Response { .. }, Some(Defect::Missing(_))) => false,
        (_, defect) => defect.is_some(),
    }
}

/// Reads a request. Returns an INVITE to decide, or answers any other request.
fn read_request<'a>(
    echo: &Echo<'a>,
    method: &str,
    uri: &str,
    peer: Peer,
    out: &mut Vec<u8>,
) -> Result<Invite<'a>, Cause> {
    let message = echo.message();
    if let Some(defect) = defect_of(message, peer.transport) {
        return Err(refuse(echo, defect, out));
    }
    match method {
        "INVITE" => Invite::from_message(message, peer.source, peer.transport)
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
                if method == "OPTIONS" {
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

/// Shortens an answer over UDP, which begins at `start`, to [`FACTOR`] times the bytes of its request.
/// This is the one place through which all answers over UDP leave.
fn within_bounds(
    outcome: Outcome,
    received: usize,
    transport: Transport,
    start: usize,
    out: &mut Vec<u8>,
) -> Outcome {
    if transport != Transport::Udp {
        return outcome;
    }
    match fit(out, start, FACTOR * received) {
        Fit::Answer => outcome,
        Fit::BadRequest => Outcome::Other(Cause::TooShort),
        Fit::Nothing => Outcome::Other(Cause::TooShortToAnswer),
    }
}

/// Answers a request with a defect.
fn refuse(echo: &Echo<'_>, defect: Defect, out: &mut Vec<u8>) -> Cause {
    if defect == Defect::Version {
        echo.respond(505, "Version Not Supported", out).end();
        return Cause::Version;
    }
    bad_request(echo, &defect, defect.into(), out)
}

/// Answers 400 with a detail.
fn bad_request(
    echo: &Echo<'_>,
    detail: &dyn std::fmt::Display,
    cause: Cause,
    out: &mut Vec<u8>,
) -> Cause {
    echo.respond(400, &phrase("Bad Request", detail), out).end();
    cause
}

/// Answers 420: no extension is supported (RFC 3261 §8.2.2.3).
fn bad_extension(echo: &Echo<'_>, out: &mut Vec<u8>) -> Cause {
    let mut response = echo.respond(420, "Bad Extension", out);
    for field in echo.message().fields().filter(|field| field.header == Header::Require) {
        response = response.echo("Unsupported", field.value);
    }
    response.end();
    Cause::Extension
}

fn with_contact<'o>(
    response: Response<'o>,
    uri: Option<SipUri<'_>>,
    local: SocketAddr,
    transport: Transport,
) -> Response<'o> {
    let (user, at) = uri.and_then(|uri| uri.user).map_or(("", ""), |user| (user, "@"));
    // the Contact is a SIPS URI if the Request-URI is one (RFC 3261 §12.1.1)
    let (scheme, transport) = match transport {
        Transport::Udp => ("sip", ""),
        _ if uri.is_some_and(|uri| uri.scheme == Scheme::Sips) => ("sips", ""),
        Transport::Tcp => ("sip", ";transport=tcp"),
        _ => ("sip", ";transport=tls"),
    };
    response.header("Contact", format_args!("<{scheme}:{user}{at}{local}{transport}>"))
}

#[cfg(test)]
mod tests;
