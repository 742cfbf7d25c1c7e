//! Turns the bytes of messages into the bytes of their answers, without sockets.
//!
//! Each request except ACK and CANCEL gets an answer if it has a Via. No input causes an error.

use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use sip_authz::message::{Defect, Header, Message, StartLine};
use sip_authz::uri::{Scheme, SipUri, UriError};
use sip_authz::{AcceptBasis, Authorizer, Decision, Invite, Reason, Reject, Snapshot, Transport};

use crate::args::{OnAccept, ReplyPort};
use crate::observe::cause::Cause;
use crate::observe::observers::DecisionObservers;
use crate::observe::totals::{Outcome, Tally, Totals};
use crate::sip::body::Body;
use crate::sip::peer::Peer;
use crate::sip::respond::{Echo, Response, TagKey, ToTag, phrase};
use crate::sip::route::Routes;
use crate::sip::sdp;

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

/// A message that is not decided.
struct Undecided {
    cause: Cause,
    /// The destination of its answer, if it has one.
    to: SocketAddr,
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
    #[cfg(test)]
    pub(crate) fn answer(
        &self,
        bytes: &[u8],
        peer: Peer,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.answer_on_stream(bytes, peer, now, out).0
    }

    /// Appends the answer to a whole message to `out`, if it gets one, and counts the message.
    ///
    /// Returns what an accepted call rests on too; none if the records changed meanwhile.
    pub(crate) fn answer_on_stream(
        &self,
        bytes: &[u8],
        peer: Peer,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> (Outcome, Option<AcceptBasis>) {
        let mut basis = None;
        let outcome = match self.read(bytes, peer, out) {
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
                concluded.unwrap_or(Outcome::Other(Cause::Malformed))
            }
            Err(Undecided { cause, .. }) => Outcome::Other(cause),
        };
        self.totals.count(outcome);
        self.log(outcome, peer, now);
        (outcome, basis)
    }

    /// What an accept rests on, if the snapshot in force is still the one before the decision.
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
        scratch.accepted.clear();
        let mut pending = ArrayVec::<_, BATCH>::new();
        let mut invites = ArrayVec::<_, BATCH>::new();
        for (bytes, peer) in messages.take(BATCH) {
            match self.read(bytes, peer, &mut scratch.bytes) {
                Ok((asked, invite)) => {
                    pending.push(asked);
                    invites.push(invite);
                }
                Err(Undecided { cause, to }) => {
                    scratch.tally.count(Outcome::Other(cause));
                    self.log(Outcome::Other(cause), peer, now);
                    scratch.address_answer(to);
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
            self.log(outcome, asked.peer, now);
            scratch.address_answer(asked.echo.destination());
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
        let unanswered = |cause| Err(Undecided { cause, to: peer.source });
        let Some(message) = Message::scan(without_leading_lines(bytes, peer.transport)) else {
            return unanswered(cause_of_garbage(bytes));
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
        let Some(echo) = Echo::of(message, peer, self.reply_port, &self.tags) else {
            return unanswered(Cause::MissingVia);
        };
        match read_request(&echo, method, uri, peer, out) {
            Ok(invite) => Ok((Pending { echo, uri, peer }, invite)),
            Err(cause) => Err(Undecided { cause, to: echo.destination() }),
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

/// Reads a request. Returns an INVITE to decide, or answers any other request.
fn read_request<'a>(
    echo: &Echo<'a>,
    method: &str,
    uri: &str,
    peer: Peer,
    out: &mut Vec<u8>,
) -> Result<Invite<'a>, Cause> {
    let message = echo.message();
    let mut bad_request = |detail: &dyn std::fmt::Display, cause| {
        echo.respond(400, &phrase("Bad Request", detail), out).end();
        Err(cause)
    };
    match defect_of(message, peer.transport) {
        Some(Defect::Version) => {
            echo.respond(505, "Version Not Supported", out).end();
            return Err(Cause::Version);
        }
        Some(defect) => return bad_request(&defect, defect.into()),
        None => {}
    }
    match method {
        "INVITE" => Invite::from_message(message, peer.source, peer.transport)
            .or_else(|error| bad_request(&error, Cause::from(&error))),
        "BYE" | "OPTIONS" => match SipUri::parse_request_uri(uri) {
            Err(UriError::UnsupportedScheme) => {
                echo.respond(416, "Unsupported URI Scheme", out).end();
                Err(Cause::Scheme)
            }
            Err(error) => bad_request(&error, Cause::BadUri),
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

/// The header with the code and reason of a rejection.
const ERROR_HEADER: &str = "X-Authz-Error";

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
mod tests {
    use super::*;
    use crate::observe::cause::Handling;

    fn edge() -> Edge {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        let tags = TagKey::random().unwrap();
        let observers = DecisionObservers::default();
        Edge::new(authorizer, tags, OnAccept::Ok, ReplyPort::Auto, observers)
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
        assert_eq!(edge.answer(request, peer, Instant::now(), &mut out), Outcome::Other(Cause::Ok));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            format!(
                "beforeSIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@b>\r\n\
                 To: <sip:a@b>;tag=x\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nAllow: {ALLOW}\r\n\
                 Accept: {ACCEPT}\r\nContent-Length: 0\r\n\r\n"
            )
        );
        for length in 0..request.len() {
            let mut out = Vec::new();
            let outcome = edge.answer(&request[..length], peer, Instant::now(), &mut out);
            let Outcome::Other(cause) = outcome else { panic!("{outcome:?}") };
            let is_answered = matches!(cause.handling(), Handling::Answered(_));
            assert_eq!(!out.is_empty(), is_answered, "{outcome:?}");
        }
    }

    #[test]
    fn a_batch_has_the_same_answers_as_single_messages() {
        let edge = edge();
        let request = |method: &str, uri: &str| {
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport\r\n\
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
    #[test]
    fn bytes_that_are_no_request_have_a_cause() {
        let edge = edge();
        let stun = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
        let response = b"SIP/2.0 200 OK\r\n\r\n";
        for (bytes, cause) in [
            (&b""[..], Cause::KeepAlive),
            (b"\r\n", Cause::KeepAlive),
            (b"\r\n\r\n", Cause::KeepAlive),
            (b"\0", Cause::KeepAlive),
            (b"\0\0\0\0 \t\n", Cause::KeepAlive),
            (stun, Cause::Stun),
            (b"\x01\x01\0\x08\x21\x12\xa4\x42", Cause::Stun),
            (b"\0\x01\0\0\x21\x12\xa4", Cause::NotSip),
            (b"\x40\x01\0\0\x21\x12\xa4\x42", Cause::NotSip),
            (b"\x80\0\0\x01rtp", Cause::NotSip),
            (b"hello", Cause::NotSip),
            (b"\r\n\r\nhello", Cause::NotSip),
            (b"GET / HTTP/1.1\r\n\r\n", Cause::NotSip),
            (b"INVITE sip:a\r\n\r\n", Cause::NotSip),
            (response, Cause::Response),
            (b"\r\nSIP/2.0 99\r\n\r\n", Cause::NotSip),
            (b"\nACK sip:a SIP/2.0\r\n\r\n", Cause::Ack),
            (b"CANCEL sip:a SIP/2.0\r\n\r\n", Cause::Cancel),
            (b"INVITE sip:a SIP/2.0\r\n\r\n", Cause::MissingVia),
            (b"BYE sip:a SIP/2.0", Cause::MissingVia),
        ] {
            let mut out = Vec::new();
            let peer = peer("192.0.2.1:9", "192.0.2.2:5060");
            let outcome = edge.answer(bytes, peer, Instant::now(), &mut out);
            assert_eq!(outcome, Outcome::Other(cause), "{}", bytes.escape_ascii());
            assert!(out.is_empty(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn line_ends_before_a_datagram_are_skipped() {
        let edge = edge();
        let mut peer = peer("192.0.2.1:9", "192.0.2.2:5060");
        let request = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@b>\r\n\
            To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let answer = |text: &str, peer| {
            let mut out = Vec::new();
            (edge.answer(text.as_bytes(), peer, Instant::now(), &mut out), out)
        };
        let expected = answer(request, peer);
        assert_eq!(expected.0, Outcome::Other(Cause::Ok));
        for before in ["\r\n", "\r\n\r\n", "\n", "\r", "\n\r\n", &"\r\n".repeat(9_000)] {
            assert_eq!(answer(&format!("{before}{request}"), peer), expected, "{before:?}");
        }
        // the stream is cut at such line ends, so none is left
        peer.transport = Transport::Tcp;
        assert_eq!(answer(&format!("\r\n{request}"), peer).0, Outcome::Other(Cause::NotSip));
    }
}
