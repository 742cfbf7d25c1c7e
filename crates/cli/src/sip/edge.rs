//! Turns the bytes of messages into the bytes of their answers, without sockets. Bytes that cannot be
//! answered get no answer; no input causes an error.

use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use sip_authz::message::{Defect, Header, Message, StartLine};
use sip_authz::uri::{Scheme, SipUri, UriError};
use sip_authz::{Authorizer, Decision, Invite, Reason, Reject, Transport};

use crate::args::OnAccept;
use crate::observe::observers::DecisionObservers;
use crate::observe::totals::{Outcome, Tally, Totals};
use crate::sip::peer::Peer;
use crate::sip::respond::{Echo, Response, TagKey, ToTag, phrase};
use crate::sip::route::Routes;
use crate::sip::sdp;

/// The supported methods (RFC 3261 §20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// The maximum number of messages in a batch.
pub(crate) const BATCH: usize = 64;

/// A stateless user agent server in front of an [`Authorizer`].
pub(crate) struct Edge {
    authorizer: Arc<Authorizer>,
    pub(crate) totals: Totals,
    on_accept: OnAccept,
    tags: TagKey,
    pub(crate) observers: DecisionObservers,
}

/// The answers to the last batch, and buffers that the next batch reuses.
#[derive(Default)]
pub(crate) struct BatchScratch {
    bytes: Vec<u8>,
    /// The end of each answer in `bytes`, and its destination.
    answers: Vec<(usize, SocketAddr)>,
    /// The sources of the accepted requests.
    accepted: Vec<SocketAddr>,
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

    /// The sources of the accepted requests of the last batch.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = SocketAddr> {
        self.accepted.iter().copied()
    }

    fn address_answer(&mut self, to: SocketAddr) {
        if self.bytes.len() > self.answers.last().map_or(0, |(end, _)| *end) {
            self.answers.push((self.bytes.len(), to));
        }
    }
}

/// An INVITE that awaits its decision.
struct Pending<'a> {
    echo: Echo<'a>,
    uri: &'a str,
    peer: Peer,
}

impl Edge {
    pub(crate) fn new(
        authorizer: Arc<Authorizer>,
        tags: TagKey,
        on_accept: OnAccept,
        observers: DecisionObservers,
    ) -> Self {
        Self { authorizer, totals: Totals::default(), on_accept, tags, observers }
    }

    /// Appends the answer to a whole message to `out`, if it gets one, and counts the message.
    pub(crate) fn answer(
        &self,
        bytes: &[u8],
        peer: Peer,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let outcome = match self.read(bytes, peer, out) {
            Ok((pending, invite)) => {
                let mut decisions = Vec::with_capacity(1);
                let (asked, invites) = (from_ref(&pending), from_ref(&invite));
                self.decide(asked, invites, now, &mut decisions);
                let concluded = decisions
                    .first()
                    .map(|decision| self.conclude(&pending, decision, &mut Routes::default(), out));
                // there is one decision for each INVITE
                concluded.unwrap_or(Outcome::Dropped)
            }
            Err(outcome) => outcome,
        };
        self.totals.count(outcome);
        outcome
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
        scratch.accepted.clear();
        let mut pending = ArrayVec::<_, BATCH>::new();
        let mut invites = ArrayVec::<_, BATCH>::new();
        for (bytes, peer) in messages.take(BATCH) {
            match self.read(bytes, peer, &mut scratch.bytes) {
                Ok((asked, invite)) => {
                    pending.push(asked);
                    invites.push(invite);
                }
                Err(outcome) => {
                    scratch.tally.count(outcome);
                    scratch.address_answer(peer.source);
                }
            }
        }
        let mut decisions = std::mem::take(&mut scratch.decisions);
        self.decide(&pending, &invites, now, &mut decisions);
        for (asked, decision) in pending.iter().zip(&decisions) {
            let outcome = self.conclude(asked, decision, &mut scratch.routes, &mut scratch.bytes);
            scratch.tally.count(outcome);
            if outcome == Outcome::Accepted {
                scratch.accepted.push(asked.peer.source);
            }
            scratch.address_answer(asked.peer.source);
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

    /// Reads a message. Returns an INVITE to decide; answers any other message and returns its outcome.
    fn read<'a>(
        &'a self,
        bytes: &'a [u8],
        peer: Peer,
        out: &mut Vec<u8>,
    ) -> Result<(Pending<'a>, Invite<'a>), Outcome> {
        let Some(message) = Message::scan(bytes) else {
            // phones send such datagrams to keep their NAT bindings open
            let keep_alive = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | 0));
            return Err(if keep_alive { Outcome::Ignored } else { Outcome::Dropped });
        };
        let StartLine::Request { method, uri } = message.start_line() else {
            return Err(Outcome::Ignored);
        };
        if matches!(method, "ACK" | "CANCEL") {
            return Err(Outcome::Ignored);
        }
        let Some(echo) = Echo::of(message, peer.source, &self.tags) else {
            return Err(Outcome::Dropped);
        };
        let mut bad_request = |echo: &Echo<'_>, detail: &dyn std::fmt::Display| {
            echo.respond(400, &phrase("Bad Request", detail), out).end();
            Outcome::Answered(400)
        };
        match message.defect() {
            Some(Defect::Version) => {
                echo.respond(505, "Version Not Supported", out).end();
                return Err(Outcome::Answered(505));
            }
            Some(defect) => return Err(bad_request(&echo, &defect)),
            None if !echo.is_via_whole() => {
                return Err(bad_request(&echo, &"malformed header 'Via'"));
            }
            None if echo.to_tag() == ToTag::Unreadable => {
                return Err(bad_request(&echo, &"malformed header 'To'"));
            }
            None => {}
        }
        match method {
            "INVITE" => match Invite::from_message(&message, peer.source, peer.transport) {
                Ok(invite) => Ok((Pending { echo, uri, peer }, invite)),
                Err(error) => Err(bad_request(&echo, &error)),
            },
            "BYE" | "OPTIONS" => match SipUri::parse(uri) {
                Err(UriError::UnsupportedScheme) => {
                    echo.respond(416, "Unsupported URI Scheme", out).end();
                    Err(Outcome::Answered(416))
                }
                Err(error) => Err(bad_request(&echo, &error)),
                Ok(_) if message.first(Header::Require).is_some() => Err(bad_extension(&echo, out)),
                Ok(_) => {
                    let mut response = echo.respond(200, "OK", out);
                    if method == "OPTIONS" {
                        response = response.text("Allow", ALLOW);
                        response = response.text("Accept", sdp::CONTENT_TYPE);
                    }
                    response.end();
                    Err(Outcome::Answered(200))
                }
            },
            _ => {
                echo.respond(405, "Method Not Allowed", out).text("Allow", ALLOW).end();
                Err(Outcome::Answered(405))
            }
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
        let Pending { echo, uri, peer } = pending;
        let message = echo.message();
        let mut other = |status, phrase: &str| {
            echo.respond(status, phrase, out).end();
            Outcome::Answered(status)
        };
        if echo.to_tag() == ToTag::Some {
            return other(481, "Call/Transaction Does Not Exist");
        }
        let uri = SipUri::parse(uri).ok();
        match &self.on_accept {
            OnAccept::Redirect(target) => {
                let same = |uri: SipUri<'_>| {
                    SipUri::parse(target).is_ok_and(|target| target.equivalent(&uri))
                };
                if uri.is_some_and(same) {
                    // a redirect to itself would loop (RFC 3261 §8.3)
                    return other(404, "Not Found");
                }
                let response = echo.respond(302, "Moved Temporarily", out);
                response.header("Contact", format_args!("<{target}>")).end();
                Outcome::Accepted
            }
            OnAccept::Ok => {
                if message.first(Header::Require).is_some() {
                    return bad_extension(echo, out);
                }
                let local = routes.local_address(*peer);
                let description = match message.first(Header::ContentType).unwrap_or_default() {
                    _ if message.body().is_empty() => sdp::nothing(local.ip()),
                    content_type if sdp::is_sdp(content_type) => {
                        match sdp::decline(message.body(), local.ip()) {
                            Some(answer) => answer,
                            None => return other(400, "Bad Request (malformed sdp)"),
                        }
                    }
                    _ => {
                        let response = echo.respond(415, "Unsupported Media Type", out);
                        response.text("Accept", sdp::CONTENT_TYPE).end();
                        return Outcome::Answered(415);
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

/// The header with the code and reason of a rejection.
const ERROR_HEADER: &str = "X-Authz-Error";

/// Answers 420: no extension is supported (RFC 3261 §8.2.2.3).
fn bad_extension(echo: &Echo<'_>, out: &mut Vec<u8>) -> Outcome {
    let mut response = echo.respond(420, "Bad Extension", out);
    for field in echo.message().fields().filter(|field| field.header == Header::Require) {
        response = response.echo("Unsupported", field.value);
    }
    response.end();
    Outcome::Answered(420)
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
mod tests {
    use sip_authz::Snapshot;

    use super::*;

    fn edge() -> Edge {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        Edge::new(authorizer, TagKey::random().unwrap(), OnAccept::Ok, DecisionObservers::default())
    }

    fn peer(source: &str, local: &str) -> Peer {
        let (source, local) = (source.parse().unwrap(), local.parse().unwrap());
        Peer { source, local, transport: Transport::Udp }
    }

    #[test]
    fn an_answer_is_appended_to_the_buffer() {
        let edge = edge();
        let peer = peer("192.0.2.1:9", "192.0.2.2:5060");
        let request = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@b>\r\n\
            To: <sip:a@b>;tag=x\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let mut out = b"before".to_vec();
        assert_eq!(edge.answer(request, peer, Instant::now(), &mut out), Outcome::Answered(200));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            format!(
                "beforeSIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@b>\r\n\
                 To: <sip:a@b>;tag=x\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nAllow: {ALLOW}\r\n\
                 Accept: application/sdp\r\nContent-Length: 0\r\n\r\n"
            )
        );
        for length in 0..request.len() {
            let mut out = Vec::new();
            let outcome = edge.answer(&request[..length], peer, Instant::now(), &mut out);
            assert_eq!(out.is_empty(), !matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        }
    }

    #[test]
    fn a_batch_has_the_same_answers_as_single_messages() {
        let edge = edge();
        let request = |method: &str, uri: &str| {
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
                 From: <sip:a@b>\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
            )
        };
        let messages = [
            request("INVITE", "sip:nobody@nowhere"),
            request("ACK", "sip:a"),
            request("OPTIONS", "sip:a"),
            "no sip".to_owned(),
            request("INVITE", "tel:1"),
            request("PUBLISH", "sip:a"),
        ];
        let peer_of = |at: usize| peer(&format!("192.0.2.1:{}", 1_000 + at), "192.0.2.2:5060");
        let now = Instant::now();
        let mut expected: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let mut out = Vec::new();
            edge.answer(message.as_bytes(), peer_of(at), now, &mut out);
            if !out.is_empty() {
                expected.push((out, peer_of(at).source));
            }
        }
        expected.sort();
        assert_eq!(expected.len(), 4);

        let edge = Edge { totals: Totals::default(), ..edge };
        let mut scratch = BatchScratch::default();
        for _ in 0..2 {
            let batch = messages.iter().enumerate();
            let batch = batch.map(|(at, message)| (message.as_bytes(), peer_of(at)));
            edge.answer_batch(batch, now, &mut scratch);
            let answers = scratch.answers().map(|(bytes, to)| (bytes.to_vec(), to));
            let mut answers: Vec<_> = answers.collect();
            answers.sort();
            assert!(answers == expected, "{answers:?}");
        }
        let twice = "totals: received 12, accepted 0, challenged 0, rejected 4 (";
        assert!(edge.totals.to_string().starts_with(twice), "{}", edge.totals);
    }
}
