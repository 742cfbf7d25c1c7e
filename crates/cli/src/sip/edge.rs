//! Turns the bytes of messages into the bytes of their answers, without sockets.
//!
//! Each request except ACK and CANCEL gets an answer if it has a Via. Over UDP an answer is at most
//! [`FACTOR`] times as long as its request. No input causes an error.

mod accept;
mod inside;
mod read;
mod request;

use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sip_authz::message::{FrameError, Message};
use sip_authz::model::{ForwardHop, HopTransport, OnAccept};
use sip_authz::{
    Accept, AcceptBasis, AccountSid, Authorizer, Decision, Invite, Reason, Reject, Snapshot,
    TargetView, Transport,
};
use sip_authz_proxy::{Leg, Way};

use crate::args::ReplyPort;
use crate::observe::cause::Cause;
use crate::observe::method::MethodName;
use crate::observe::observers::{DecisionObservers, PendingRecords};
use crate::observe::record::Asked;
use crate::observe::totals::{Outcome, Tally, Totals};
use crate::sip::forward::Forwarding;
use crate::sip::naming::Naming;
use crate::sip::outlets::{Connections, Outlets};
use crate::sip::peer::{Caller, Local, Peer};
use crate::sip::redirect::Answers;
use crate::sip::respond::{Echo, TagKey};
use crate::sip::route::Routes;
use crate::sip::shorten::{ERROR_HEADER, FACTOR, Fit, fit};
use crate::sip::trusted::TrustedProxies;
use crate::sip::undecided::{bad_request, refuse, without_leading_lines};
use request::Opened;

pub(crate) use request::is_in_dialog;

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
    outlets: Outlets,
    forwarding: Option<Forwarding>,
}

/// The answers to the last batch, and buffers that the next batch reuses.
#[derive(Default)]
pub(crate) struct BatchScratch {
    bytes: Vec<u8>,
    /// The end of each answer in `bytes`, and its destination.
    answers: Vec<(usize, SocketAddr)>,
    /// The source of the request of each answer; none for a message that is forwarded.
    answered: Vec<Option<SocketAddr>>,
    /// The sources of the accepted requests, with the accounts that accepted them.
    accepted: Vec<(SocketAddr, AccountSid)>,
    decisions: Vec<Decision>,
    tally: Tally,
    routes: Routes,
    records: PendingRecords,
}

impl BatchScratch {
    /// The buffers of the UDP thread that writes to the ring of this number.
    pub(crate) fn of_ring(ring: usize) -> Self {
        Self { records: PendingRecords::of_ring(ring), ..Self::default() }
    }

    /// The records of the last batch, which the logs take after the answers are sent.
    pub(crate) fn records(&mut self) -> &mut PendingRecords {
        &mut self.records
    }

    /// The answers to the last batch, with their destinations.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let mut start = 0;
        self.answers.iter().map(move |(end, to)| {
            let bytes = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (bytes, *to)
        })
    }

    /// The sources of the answered requests of the last batch, in the order of the answers; none for
    /// messages that are forwarded.
    pub(crate) fn answered(&self) -> impl Iterator<Item = Option<SocketAddr>> {
        self.answered.iter().copied()
    }

    /// The sources of the accepted requests of the last batch, with the accounts that accepted them.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = (SocketAddr, AccountSid)> {
        self.accepted.iter().copied()
    }

    /// Addresses the bytes behind the last answer, if there are any.
    fn address(&mut self, to: SocketAddr, source: Option<SocketAddr>) {
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

/// A message that is not decided.
struct Undecided {
    cause: Cause,
    caller: Caller,
    /// The destination of its answer, if it has one.
    to: SocketAddr,
    /// Whether its head has a defect, after which nothing more of its stream may be read.
    ends_stream: bool,
    /// The leg that the appended message goes to; none if it is an answer.
    send: Option<Leg>,
}

/// The place of the answer to a message of a batch, or of the message that is forwarded.
struct Place {
    /// The start of its bytes.
    start: usize,
    /// The destination of an answer.
    to: SocketAddr,
    peer: Peer,
    /// The length of the message as received.
    received: usize,
}

/// The result of a whole message.
#[derive(Debug)]
pub(crate) struct Answered {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it"))]
    pub(crate) outcome: Outcome,
    /// The basis of an accepted call; none if the records changed meanwhile.
    pub(crate) basis: Option<AcceptBasis>,
    /// Whether it is an accepted registration.
    pub(crate) registers: bool,
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
        let (outlets, forwarding) = (Outlets::default(), None);
        Self {
            authorizer,
            totals,
            answers,
            reply_port,
            tags,
            observers,
            trusted,
            naming,
            outlets,
            forwarding,
        }
    }

    /// Lets accepted calls be forwarded.
    pub(crate) fn with_forwarding(self, forwarding: Forwarding, outlets: Outlets) -> Self {
        Self { outlets, forwarding: Some(forwarding), ..self }
    }

    /// The part that forwards messages, if there is one.
    pub(crate) fn forwarding(&self) -> Option<&Forwarding> {
        self.forwarding.as_ref()
    }

    /// The time for which a connection on which a phone registered may be silent.
    pub(crate) fn flow_life(&self) -> Duration {
        self.forwarding.as_ref().map_or(Duration::ZERO, Forwarding::flow_life)
    }

    /// Sets the next hops to those of the answers to accepted calls.
    pub(crate) fn set_hops(&self, snapshot: &Snapshot) {
        if let Some(forwarding) = &self.forwarding {
            forwarding.hops().set(self.answers.forwards(snapshot));
        }
    }

    /// Whether a next hop has TLS, but no listener.
    pub(crate) fn lacks_tls_listener(&self, snapshot: &Snapshot) -> bool {
        let is_tls = |hop: &ForwardHop| hop.transport() == Some(HopTransport::Tls);
        let mut forwards = self.answers.forwards(snapshot);
        forwards.any(|forward| forward.hops().iter().any(is_tls)) && !self.naming.has_tls()
    }

    /// Whether phones can register where calls are forwarded, but no listener takes calls to them.
    pub(crate) fn lacks_inside_listener(&self, snapshot: &Snapshot) -> bool {
        let forwards =
            |view: &TargetView<'_>| matches!(self.answers.of(view), Ok(OnAccept::Forward(_)));
        !self.naming.has_inside()
            && snapshot.target_views().any(|view| view.registers && forwards(&view))
    }

    /// The names of the listeners.
    pub(crate) fn naming(&self) -> &Naming {
        &self.naming
    }

    /// The connections that peers opened.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        self.outlets.connections()
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
        let (mut basis, mut registers, mut send, start) = (None, false, None, out.len());
        let mut records = PendingRecords::default();
        let (outcome, ends_stream, caller) = match self.read(bytes, peer, now, out) {
            Ok((pending, invite)) => {
                let mut decisions = Vec::with_capacity(1);
                let (asked, invites) = (from_ref(&pending), from_ref(&invite));
                let before = self.authorizer.snapshot();
                let used = self.decide(asked, invites, now, &mut decisions, &mut records);
                let concluded = decisions.first().map(|decision| {
                    let (used, mut routes) = (used.as_deref(), Routes::default());
                    let outcome;
                    (outcome, send) =
                        self.conclude(&pending, decision, used, now, &mut routes, out);
                    if outcome == Outcome::Accepted {
                        basis = self.basis(&before, decision, &invite);
                        registers = invite.method() == "REGISTER";
                    }
                    outcome
                });
                // there is one decision for each INVITE
                (concluded.unwrap_or(Outcome::Other(Cause::Malformed)), false, pending.caller)
            }
            Err(Undecided { cause, caller, ends_stream, send: leg, .. }) => {
                send = leg;
                (Outcome::Other(cause), ends_stream, caller)
            }
        };
        let outcome = match send {
            Some(leg) => {
                self.send(&leg, out.get(start..).unwrap_or_default());
                out.truncate(start);
                outcome
            }
            None => within_bounds(outcome, bytes.len(), peer.transport, start, out),
        };
        self.totals.count(outcome);
        let message = || Message::scan(without_leading_lines(bytes, peer.transport));
        self.record(outcome, caller, now, message, &mut records);
        // before the answer is written: the peer may never take it
        self.observers.hand_over(&mut records);
        Answered { outcome, ends_stream, basis, registers }
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
        let opened = match self.scan(bytes, peer) {
            Ok(message) => self.open(message, peer),
            Err(undecided) => Err(undecided),
        };
        let (cause, caller) = match opened {
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
        let mut records = PendingRecords::default();
        let message = || Message::scan(without_leading_lines(bytes, peer.transport));
        self.record(Outcome::Other(cause), caller, now, message, &mut records);
        self.observers.hand_over(&mut records);
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
            match self.read(bytes, peer, now, &mut scratch.bytes) {
                Ok((asked, invite)) => {
                    pending.push(asked);
                    invites.push(invite);
                }
                Err(Undecided { cause, caller, to, send, .. }) => {
                    let outcome = Outcome::Other(cause);
                    let place = Place { start, to, peer, received: bytes.len() };
                    let outcome = self.place(outcome, send, place, scratch);
                    let message = || Message::scan(without_leading_lines(bytes, peer.transport));
                    self.record(outcome, caller, now, message, &mut scratch.records);
                }
            }
        }
        let mut decisions = std::mem::take(&mut scratch.decisions);
        let records = &mut scratch.records;
        let used = self.decide(&pending, &invites, now, &mut decisions, records);
        for (asked, decision) in pending.iter().zip(&decisions) {
            let (start, out) = (scratch.bytes.len(), &mut scratch.bytes);
            let used = used.as_deref();
            let routes = &mut scratch.routes;
            let (outcome, send) = self.conclude(asked, decision, used, now, routes, out);
            let (to, received) = (asked.echo.destination(), asked.received);
            let place = Place { start, to, peer: asked.peer, received };
            let outcome = self.place(outcome, send, place, scratch);
            if let (Outcome::Accepted, Decision::Accept(accept)) = (outcome, decision) {
                scratch.accepted.push((asked.peer.source, accept.account));
            }
            let message = || Some(*asked.echo.message());
            self.record(outcome, asked.caller, now, message, &mut scratch.records);
        }
        decisions.clear();
        scratch.decisions = decisions;
        self.totals.add(&mut scratch.tally);
    }

    /// Counts a message of a batch, and takes its result to its place: an answer, or a message for
    /// `send`, between the answers of the socket, or to another way out.
    fn place(
        &self,
        outcome: Outcome,
        send: Option<Leg>,
        Place { start, to, peer, received }: Place,
        scratch: &mut BatchScratch,
    ) -> Outcome {
        let outcome = match send {
            Some(leg) if self.leaves_from(&leg, peer.local) => {
                scratch.address(leg.address, None);
                outcome
            }
            Some(leg) => {
                self.send(&leg, scratch.bytes.get(start..).unwrap_or_default());
                scratch.bytes.truncate(start);
                outcome
            }
            None => {
                let out = &mut scratch.bytes;
                let outcome = within_bounds(outcome, received, peer.transport, start, out);
                scratch.address(to, Some(peer.source));
                outcome
            }
        };
        scratch.tally.count(outcome);
        outcome
    }

    /// Whether a datagram for this leg leaves from the socket of a listener.
    fn leaves_from(&self, leg: &Leg, local: Local) -> bool {
        leg.transport == Transport::Udp
            && match leg.way {
                Way::Listener(number) => usize::from(number) == local.listener,
                _ => self.naming.facing(leg).is_some_and(|it| it.listener == local.listener),
            }
    }

    /// Sends a message on another way than its request came.
    fn send(&self, leg: &Leg, bytes: &[u8]) {
        let listener = self.naming.facing(leg).map_or(0, |local| local.listener);
        if !self.outlets.send(leg, listener, bytes) {
            self.totals.count_unsent();
        }
    }

    fn decide(
        &self,
        pending: &[Pending<'_>],
        invites: &[Invite<'_>],
        now: Instant,
        decisions: &mut Vec<Decision>,
        records: &mut PendingRecords,
    ) -> Option<Arc<Snapshot>> {
        let asked = pending.iter().zip(invites).map(|(pending, invite)| Asked {
            caller: pending.caller,
            method: MethodName::of(invite.method()),
            message: pending.echo.message(),
            invite,
        });
        self.decide_all(asked, invites, now, decisions, records)
    }

    /// Decides INVITEs, and passes the decisions to the observers.
    ///
    /// If the snapshot became stale between `now` and the decision, because the thread was delayed,
    /// accepts turn into rejections. So do those for a domain that was deleted meanwhile. Returns the
    /// snapshot with the answers to the accepted ones, if there are any.
    pub(crate) fn decide_all<'m>(
        &self,
        asked: impl ExactSizeIterator<Item = Asked<'m>> + Clone,
        invites: &[Invite<'_>],
        now: Instant,
        decisions: &mut Vec<Decision>,
        records: &mut PendingRecords,
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
        let is_own = |realm: &str| self.authorizer.snapshot().is_own_realm(realm);
        // both for as long as the shorter of them
        let all = asked.zip(&*decisions).map(|(asked, decision)| (Asked { ..asked }, decision));
        self.observers.notify(snapshot, (decided, took), all, is_own, records);
        used
    }

    /// Records the outcome if it is not that of a decision, which has its own record. `message` reads the
    /// message again; few messages have such a record.
    pub(crate) fn record<'m>(
        &self,
        outcome: Outcome,
        caller: Caller,
        now: Instant,
        message: impl FnOnce() -> Option<Message<'m>>,
        records: &mut PendingRecords,
    ) {
        if let Outcome::Other(cause) = outcome {
            self.observers.notify_other(cause, caller, now, message, records);
        }
    }

    /// Answers an INVITE according to its decision.
    fn conclude(
        &self,
        pending: &Pending<'_>,
        decision: &Decision,
        used: Option<&Snapshot>,
        now: Instant,
        routes: &mut Routes,
        out: &mut Vec<u8>,
    ) -> (Outcome, Option<Leg>) {
        let outcome = match decision {
            Decision::Accept(accept) => {
                return self.accepted(pending, accept, used, now, routes, out);
            }
            Decision::Challenge(_) => Outcome::Challenged,
            Decision::Reject(reject) => Outcome::Rejected(reject.reason),
        };
        if let Some(refusal) = self.authorizer.refusal(decision) {
            let mut response = pending.echo.respond(refusal.status(), refusal.phrase(), out);
            for (name, value) in refusal.headers() {
                response = response.text(name, &value);
            }
            if let Some(reason) = refusal.reason()
                && let Some(code) = reason.code()
            {
                let text = reason.as_str();
                response = response.header(ERROR_HEADER, format_args!("{code} {text}"));
            }
            response.end();
        }
        (outcome, None)
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

#[cfg(test)]
mod tests;
