//! Turns the bytes of messages into the bytes of their answers, without sockets.
//!
//! Each request except ACK and CANCEL gets an answer if it has a Via. Over UDP an answer is at most
//! [`FACTOR`] times as long as its request. No input causes an error.

use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use sip_authz::message::{FrameError, Header, Message, StartLine};
use sip_authz::model::OnAccept;
use sip_authz::uri::{Scheme, SipUri, UriError};
use sip_authz::{
    Accept, AcceptBasis, AccountSid, Authorizer, Decision, Invite, Reason, Reject, Snapshot,
    Transport,
};

use crate::args::ReplyPort;
use crate::observe::cause::Cause;
use crate::observe::observers::DecisionObservers;
use crate::observe::totals::{Outcome, Tally, Totals};
use crate::sip::body::Body;
use crate::sip::naming::{Naming, OwnAddress};
use crate::sip::peer::{Caller, Peer, Source};
use crate::sip::redirect::{Answers, contacts};
use crate::sip::respond::{Echo, Response, TagKey, ToTag};
use crate::sip::route::Routes;
use crate::sip::sdp;
use crate::sip::shorten::{ERROR_HEADER, FACTOR, Fit, fit};
use crate::sip::trusted::TrustedProxies;
use crate::sip::undecided::{
    bad_extension, bad_request, cause_of_garbage, defect_of, ends_stream, refuse,
    without_leading_lines,
};

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
    answers: Answers,
    reply_port: ReplyPort,
    tags: TagKey,
    pub(crate) observers: DecisionObservers,
    trusted: TrustedProxies,
    naming: Naming,
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
    caller: Caller,
    /// The length of the request as received.
    received: usize,
}

/// The head of a request that gets an answer.
struct Opened<'a> {
    echo: Echo<'a>,
    method: &'a str,
    uri: &'a str,
    caller: Caller,
}

/// A message that is not decided.
struct Undecided {
    cause: Cause,
    caller: Caller,
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
        answers: impl Into<Answers>,
        reply_port: ReplyPort,
        observers: DecisionObservers,
    ) -> Self {
        let (totals, trusted) = (Totals::default(), TrustedProxies::default());
        let (answers, naming) = (answers.into(), Naming::default());
        Self { authorizer, totals, answers, reply_port, tags, observers, trusted, naming }
    }

    /// Lets these proxies name the source of their requests.
    pub(crate) fn with_trusted(self, trusted: TrustedProxies) -> Self {
        Self { trusted, ..self }
    }

    /// Sets the names of the listeners.
    pub(crate) fn with_naming(self, naming: Naming) -> Self {
        Self { naming, ..self }
    }

    /// The proxies that name the source of their requests.
    pub(crate) fn trusted(&self) -> &TrustedProxies {
        &self.trusted
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
        let (outcome, ends_stream, caller) = match self.read(bytes, peer, out) {
            Ok((pending, invite)) => {
                let mut decisions = Vec::with_capacity(1);
                let (asked, invites) = (from_ref(&pending), from_ref(&invite));
                let before = self.authorizer.snapshot();
                let used = self.decide(asked, invites, now, &mut decisions);
                let concluded = decisions.first().map(|decision| {
                    let (used, mut routes) = (used.as_deref(), Routes::default());
                    let outcome = self.conclude(&pending, decision, used, &mut routes, out);
                    if outcome == Outcome::Accepted {
                        basis = self.basis(&before, decision, &invite);
                    }
                    outcome
                });
                // there is one decision for each INVITE
                (concluded.unwrap_or(Outcome::Other(Cause::Malformed)), false, pending.caller)
            }
            Err(Undecided { cause, caller, ends_stream, .. }) => {
                (Outcome::Other(cause), ends_stream, caller)
            }
        };
        let outcome = within_bounds(outcome, bytes.len(), peer.transport, start, out);
        self.totals.count(outcome);
        self.log(outcome, caller, now);
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
        let (cause, caller) = match self.open(bytes, peer) {
            Ok(Opened { echo, caller, .. }) => (
                match (error, echo.message().stream_defect()) {
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
                caller,
            ),
            Err(Undecided { cause, caller, .. }) => (cause, caller),
        };
        self.totals.count(Outcome::Other(cause));
        self.log(Outcome::Other(cause), caller, now);
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
                Err(Undecided { cause, caller, to, .. }) => {
                    let (outcome, received) = (Outcome::Other(cause), bytes.len());
                    let out = &mut scratch.bytes;
                    let outcome = within_bounds(outcome, received, peer.transport, start, out);
                    scratch.tally.count(outcome);
                    self.log(outcome, caller, now);
                    scratch.address_answer(to, peer.source);
                }
            }
        }
        let mut decisions = std::mem::take(&mut scratch.decisions);
        let used = self.decide(&pending, &invites, now, &mut decisions);
        for (asked, decision) in pending.iter().zip(&decisions) {
            let (start, out) = (scratch.bytes.len(), &mut scratch.bytes);
            let used = used.as_deref();
            let outcome = self.conclude(asked, decision, used, &mut scratch.routes, out);
            let transport = asked.peer.transport;
            let outcome = within_bounds(outcome, asked.received, transport, start, out);
            scratch.tally.count(outcome);
            if let (Outcome::Accepted, Decision::Accept(accept)) = (outcome, decision) {
                scratch.accepted.push((asked.peer.source, accept.account));
            }
            self.log(outcome, asked.caller, now);
            scratch.address_answer(asked.echo.destination(), asked.peer.source);
        }
        decisions.clear();
        scratch.decisions = decisions;
        self.totals.add(&mut scratch.tally);
    }

    /// Decides INVITEs, and passes the decisions to the observers.
    ///
    /// If the snapshot became stale between `now` and the decision, because the thread was delayed,
    /// accepts turn into rejections. So do those for a domain that was deleted meanwhile. Returns the
    /// snapshot with the answers to the accepted ones, if there are any.
    fn decide(
        &self,
        pending: &[Pending<'_>],
        invites: &[Invite<'_>],
        now: Instant,
        decisions: &mut Vec<Decision>,
    ) -> Option<Arc<Snapshot>> {
        if invites.is_empty() {
            decisions.clear();
            return None;
        }
        let snapshot = self.authorizer.authorize_batch(invites, now, decisions);
        let decided = Instant::now();
        if self.authorizer.is_stale(decided) {
            for decision in decisions.iter_mut().filter(|decision| decision.is_accept()) {
                let (target, reason) = (decision.target(), Reason::SnapshotStale);
                *decision = Decision::Reject(Reject::new(target, reason));
            }
        }
        let used = decisions.iter().any(Decision::is_accept).then(|| self.authorizer.snapshot());
        if let Some(used) = &used {
            let is_gone = |accept: &Accept| used.target_view(accept.target).is_none();
            for decision in decisions.iter_mut() {
                if matches!(decision, Decision::Accept(accept) if is_gone(accept)) {
                    let (target, reason) = (decision.target(), Reason::UnknownHost);
                    *decision = Decision::Reject(Reject::new(target, reason));
                }
            }
        }
        let took = decided.saturating_duration_since(now);
        let callers = pending.iter().map(|asked| asked.caller);
        self.observers.notify(snapshot, took, callers.zip(&*decisions));
        used
    }

    /// Passes the outcome to the logs if it is not that of a decision, which has its own line.
    fn log(&self, outcome: Outcome, caller: Caller, now: Instant) {
        if let Outcome::Other(cause) = outcome {
            self.observers.notify_other(cause, caller, now);
        }
    }

    /// Reads a message. Returns an INVITE to decide, or answers any other message.
    fn read<'a>(
        &'a self,
        bytes: &'a [u8],
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Result<(Pending<'a>, Invite<'a>), Undecided> {
        let opened = self.open(bytes, peer)?;
        let received = bytes.len();
        let read = read_request(&opened, peer, out);
        let Opened { echo, uri, caller, .. } = opened;
        match read {
            Ok(invite) => {
                let invite = self.naming.add_domain_hosts(invite, echo.message(), peer.local);
                Ok((Pending { echo, uri, peer, caller, received }, invite))
            }
            Err(cause) => {
                let ends_stream = ends_stream(echo.message());
                Err(Undecided { cause, caller, to: echo.destination(), ends_stream })
            }
        }
    }

    /// Reads the head of a request that gets an answer.
    fn open<'a>(&'a self, bytes: &'a [u8], peer: Peer) -> Result<Opened<'a>, Undecided> {
        let unanswered = |cause, message: Option<&Message<'_>>| {
            let ends_stream = message.is_none_or(ends_stream);
            let caller = self.trusted.caller(message, peer);
            Err(Undecided { cause, caller, to: peer.source, ends_stream })
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
            Some(echo) => {
                let caller = self.trusted.caller(Some(&message), peer);
                Ok(Opened { echo, method, uri, caller })
            }
            None => unanswered(Cause::MissingVia, Some(&message)),
        }
    }

    /// Answers an INVITE according to its decision.
    fn conclude(
        &self,
        pending: &Pending<'_>,
        decision: &Decision,
        used: Option<&Snapshot>,
        routes: &mut Routes,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let echo = &pending.echo;
        match decision {
            Decision::Accept(accept) => self.accepted(pending, accept, used, routes, out),
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

    fn accepted(
        &self,
        pending: &Pending<'_>,
        accept: &Accept,
        used: Option<&Snapshot>,
        routes: &mut Routes,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let Pending { echo, uri, peer, .. } = pending;
        let message = echo.message();
        let mut other = |cause, status, phrase: &str| {
            echo.respond(status, phrase, out).end();
            Outcome::Other(cause)
        };
        if echo.to_tag() == ToTag::Some {
            return other(Cause::NoDialog, 481, "Call/Transaction Does Not Exist");
        }
        // `decide` leaves no accept without its target
        let view = used.and_then(|used| used.target_view(accept.target));
        let Some((view, on_accept)) = view.map(|view| (view, self.answers.of(&view))) else {
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

/// Reads a request. Returns an INVITE to decide, or answers any other request.
fn read_request<'a>(
    Opened { echo, method, uri, caller }: &Opened<'a>,
    peer: Peer,
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
        "INVITE" => caller
            .invite(message, peer)
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

fn with_contact<'o>(
    response: Response<'o>,
    uri: Option<SipUri<'_>>,
    local: &OwnAddress<'_>,
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
