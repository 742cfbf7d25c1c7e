//! From the bytes of one message and where they came from to the bytes of its answer, if it gets
//! one. No sockets here; whatever the bytes are, the worst that happens is no answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use sip_authz::message::{Defect, Header, Message, StartLine};
use sip_authz::uri::SipUri;
use sip_authz::{Authorizer, Decision, Invite, Reason, Reject, Transport};

use crate::args::OnAccept;
use crate::log::DecisionLog;
use crate::respond::{Echo, Response, TagKey, ToTag, phrase};
use crate::sdp;
use crate::totals::{Outcome, Totals};

/// The methods that something is done about (RFC 3261 §20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// A stateless user agent server in front of an [`Authorizer`].
pub(crate) struct Edge {
    authorizer: Arc<Authorizer>,
    pub(crate) totals: Totals,
    on_accept: OnAccept,
    tags: TagKey,
    log: Option<DecisionLog>,
}

/// The last hop of a message, as the socket tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    /// Where it came from; the answer goes there and nowhere else.
    pub(crate) source: SocketAddr,
    /// Where it came in; a wildcard address for a socket that is bound to one.
    pub(crate) local: SocketAddr,
    pub(crate) transport: Transport,
}

impl Edge {
    pub(crate) fn new(
        authorizer: Arc<Authorizer>,
        tags: TagKey,
        on_accept: OnAccept,
        log: Option<DecisionLog>,
    ) -> Self {
        Self { authorizer, totals: Totals::default(), on_accept, tags, log }
    }

    /// Appends the answer to one whole message to `out`, or nothing, and counts the message.
    pub(crate) fn answer(
        &self,
        bytes: &[u8],
        hop: Hop,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let outcome = self.decide(bytes, hop, now, out);
        self.totals.count(outcome);
        outcome
    }

    fn decide(&self, bytes: &[u8], hop: Hop, now: Instant, out: &mut Vec<u8>) -> Outcome {
        let Some(message) = Message::scan(bytes) else {
            // phones keep their NAT bindings open with such datagrams
            let keep_alive = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | 0));
            return if keep_alive { Outcome::Ignored } else { Outcome::Dropped };
        };
        let StartLine::Request { method, uri } = message.start_line() else {
            return Outcome::Ignored;
        };
        if matches!(method, "ACK" | "CANCEL") {
            return Outcome::Ignored;
        }
        let Some(echo) = Echo::of(&message, hop.source, &self.tags) else {
            return Outcome::Dropped;
        };
        let to_defect = (echo.to_tag() == ToTag::Unreadable).then_some("malformed header 'To'");
        match (message.defect(), to_defect) {
            (Some(Defect::Version), _) => {
                echo.respond(505, "Version Not Supported", out).end();
                return Outcome::Answered(505);
            }
            (Some(defect), _) => {
                echo.respond(400, phrase("Bad Request", defect), out).end();
                return Outcome::Answered(400);
            }
            (None, Some(defect)) => {
                echo.respond(400, phrase("Bad Request", defect), out).end();
                return Outcome::Answered(400);
            }
            (None, None) => {}
        }
        match method {
            "INVITE" => self.invite(&message, uri, &echo, hop, now, out),
            "BYE" => {
                echo.respond(200, "OK", out).end();
                Outcome::Answered(200)
            }
            "OPTIONS" => {
                let response = echo.respond(200, "OK", out).header("Allow", ALLOW);
                response.header("Accept", sdp::CONTENT_TYPE).end();
                Outcome::Answered(200)
            }
            _ => {
                echo.respond(405, "Method Not Allowed", out).header("Allow", ALLOW).end();
                Outcome::Answered(405)
            }
        }
    }

    fn invite(
        &self,
        message: &Message<'_>,
        uri: &str,
        echo: &Echo<'_>,
        hop: Hop,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let invite = match Invite::from_message(message, hop.source, hop.transport) {
            Ok(invite) => invite,
            Err(error) => {
                echo.respond(400, phrase("Bad Request", error), out).end();
                return Outcome::Answered(400);
            }
        };
        let decision = self.authorizer.authorize(&invite, now);
        if let Some(log) = self.log {
            log.write(&decision, hop.source, hop.transport);
        }
        match decision {
            // the thread may have been held up between the time of the message and the accept
            Decision::Accept(_) if self.authorizer.is_stale(Instant::now()) => {
                let reason = Reason::SnapshotStale;
                echo.respond(reason.status(), reason.phrase(), out).end();
                Outcome::Rejected(reason)
            }
            Decision::Accept(_) => self.accepted(message, uri, echo, hop, out),
            Decision::Challenge(challenge) => {
                let mut response = echo.respond(challenge.status(), challenge.phrase(), out);
                for value in &challenge.values {
                    response = response.header(challenge.header_name(), value);
                }
                response.end();
                Outcome::Challenged
            }
            Decision::Reject(Reject { reason, .. }) => {
                let response = echo.respond(reason.status(), reason.phrase(), out);
                match reason.code() {
                    Some(code) => {
                        let told = reason.as_told().as_str();
                        response.header(ERROR_HEADER, format_args!("{code} {told}")).end();
                    }
                    None => response.end(),
                }
                Outcome::Rejected(reason)
            }
        }
    }

    fn accepted(
        &self,
        message: &Message<'_>,
        uri: &str,
        echo: &Echo<'_>,
        hop: Hop,
        out: &mut Vec<u8>,
    ) -> Outcome {
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
                    // a caller that followed it would come back for ever (RFC 3261 §8.3)
                    return other(404, "Not Found");
                }
                let response = echo.respond(302, "Moved Temporarily", out);
                response.header("Contact", format_args!("<{target}>")).end();
                Outcome::Accepted
            }
            OnAccept::Ok => {
                if message.first(Header::Require).is_some() {
                    // no extension is supported (RFC 3261 §8.2.2.3)
                    let mut response = echo.respond(420, "Bad Extension", out);
                    for field in message.fields().filter(|f| f.header == Header::Require) {
                        response = response.echo("Unsupported", field.value);
                    }
                    response.end();
                    return Outcome::Answered(420);
                }
                let local = local_address(hop);
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
                        response.header("Accept", sdp::CONTENT_TYPE).end();
                        return Outcome::Answered(415);
                    }
                };
                let response = echo.respond(200, "OK", out).header("Allow", ALLOW);
                with_contact(response, uri.and_then(|uri| uri.user), local, hop.transport)
                    .end_with(sdp::CONTENT_TYPE, description.as_bytes());
                Outcome::Accepted
            }
        }
    }
}

/// The header that gives a refusal's code and reason.
const ERROR_HEADER: &str = "X-Authz-Error";

fn with_contact<'o>(
    response: Response<'o>,
    user: Option<&str>,
    local: SocketAddr,
    transport: Transport,
) -> Response<'o> {
    let (user, at) = user.map_or(("", ""), |user| (user, "@"));
    let transport = if transport == Transport::Udp { "" } else { ";transport=tcp" };
    response.header("Contact", format_args!("<sip:{user}{at}{local}{transport}>"))
}

/// Where the program can be reached by whoever sent the message.
fn local_address(hop: Hop) -> SocketAddr {
    let mut local = hop.local;
    if local.ip().is_unspecified()
        && let Some(ip) = address_towards(hop.source)
    {
        local.set_ip(ip);
    }
    local.set_ip(local.ip().to_canonical());
    local
}

/// The address that a packet to `peer` would leave from. Nothing is sent to find out.
fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use sip_authz::Snapshot;

    use super::*;

    fn edge() -> Edge {
        let authorizer = Arc::new(Authorizer::new(Snapshot::empty()).unwrap());
        Edge::new(authorizer, TagKey::random().unwrap(), OnAccept::Ok, None)
    }

    fn hop(source: &str, local: &str) -> Hop {
        let (source, local) = (source.parse().unwrap(), local.parse().unwrap());
        Hop { source, local, transport: Transport::Udp }
    }

    #[test]
    fn an_address_that_can_be_called_back() {
        for (source, local, expected) in [
            ("192.0.2.1:9", "192.0.2.2:5060", "192.0.2.2:5060"),
            ("127.0.0.1:9", "0.0.0.0:5060", "127.0.0.1:5060"),
            ("[::ffff:127.0.0.1]:9", "[::]:5060", "127.0.0.1:5060"),
            ("[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:5060", "127.0.0.1:5060"),
        ] {
            assert_eq!(local_address(hop(source, local)).to_string(), expected, "{source} {local}");
        }
    }

    #[test]
    fn an_answer_is_appended_and_nothing_else_is_touched() {
        let edge = edge();
        let hop = hop("192.0.2.1:9", "192.0.2.2:5060");
        let request = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@b>\r\n\
            To: <sip:a@b>;tag=x\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let mut out = b"before".to_vec();
        assert_eq!(edge.answer(request, hop, Instant::now(), &mut out), Outcome::Answered(200));
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
            let outcome = edge.answer(&request[..length], hop, Instant::now(), &mut out);
            assert_eq!(out.is_empty(), !matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        }
    }
}
