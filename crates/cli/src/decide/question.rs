//! Reads the request of a question.

use sip_authz::message::{Message, StartLine};
use sip_authz::{Invite, InviteError, Transport};
use sip_authz_decide::{Content, Parsed, Request};

use crate::observe::cause::{Cause, Handling};
use crate::sip::edge::Edge;
use crate::sip::peer::{Caller, Local, Source};
use crate::sip::respond::phrase;
use crate::sip::undecided::{cause_of_garbage, without_leading_lines};

/// The number of no listener: its domain is not a source of domains.
const NO_LISTENER: usize = usize::MAX;

/// Stands before the bytes of a message, so that a retransmission is one only among those of this service.
const HERE: &[u8] = b"decide ";

/// A request that can be decided.
pub(super) struct Question<'a> {
    pub(super) caller: Caller,
    pub(super) message: Message<'a>,
}

/// A request that is not decided.
pub(super) struct Undecided {
    pub(super) cause: Cause,
    pub(super) caller: Caller,
    /// The reason phrase of its answer.
    phrase: Option<String>,
}

impl Undecided {
    /// The status and the reason phrase of its answer; none if it gets no answer.
    pub(super) fn answer(&self) -> Option<(u16, &str)> {
        match self.cause.handling() {
            Handling::Answered(505) => Some((505, "Version Not Supported")),
            Handling::Answered(status) => Some((status, self.phrase.as_deref()?)),
            _ => None,
        }
    }
}

/// The caller that a client asserts.
pub(super) fn caller(request: &Request<'_>) -> Caller {
    // the connection has checked the name
    let transport = request.transport.parse().unwrap_or(Transport::Udp);
    Caller { source: Source::Known(request.source), transport }
}

/// The text of a request whose parts a client has sent; none for one whose bytes it has sent.
///
/// Logs and the sources of domains read it. It is not what the decision rests on.
pub(super) fn text_of(request: &Request<'_>) -> Option<Vec<u8>> {
    let Content::Parsed(parsed) = &request.content else { return None };
    let Parsed { method, uri, body, .. } = *parsed;
    let mut text = [method, b" ", uri, b" SIP/2.0\r\n"].concat();
    for (name, value) in parsed.headers() {
        for part in [name, b": ", value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    Some(text)
}

/// Reads the request of a question, whose text is that of [`text_of`].
pub(super) fn read<'a>(
    edge: &'a Edge,
    request: &Request<'a>,
    text: Option<&'a [u8]>,
) -> Result<(Question<'a>, Invite<'a>), Undecided> {
    let caller = caller(request);
    let undecided = |cause, phrase| Undecided { cause, caller, phrase };
    let bytes = match &request.content {
        Content::Message(message) => without_leading_lines(message, caller.transport),
        Content::Parsed(_) => text.unwrap_or_default(),
    };
    let Some(message) = Message::scan(bytes) else {
        return Err(undecided(cause_of_garbage(bytes), None));
    };
    let refused = |error: &InviteError| match error {
        InviteError::NotDecided => undecided(cause_of_kind(&message), None),
        error => undecided(Cause::from(error), Some(phrase("Bad Request", error))),
    };
    let (source, transport) = (request.source, caller.transport);
    let invite =
        Invite::from_request(&message, source, transport).map_err(|error| refused(&error))?;
    let invite = match &request.content {
        // a copy at a listener of the edge is another call: no host has the transaction of both
        Content::Message(_) if transport.retransmits() => {
            invite.with_received([HERE, message.bytes()].concat())
        }
        Content::Message(_) => invite,
        // the text could read otherwise than its parts, so both must be right
        Content::Parsed(parsed) => {
            let Parsed { method, uri, body, .. } = *parsed;
            let (Ok(method), Ok(uri)) = (str::from_utf8(method), str::from_utf8(uri)) else {
                return Err(refused(&InviteError::NotSip));
            };
            let invite =
                Invite::from_fields(method, uri, parsed.headers(), body, source, transport);
            invite.map_err(|error| refused(&error))?
        }
    };
    let local = Local::at(source, NO_LISTENER);
    let invite = edge.naming().add_domain_hosts(invite, &message, local);
    Ok((Question { caller, message }, invite))
}

/// The cause for a message that is not decided.
fn cause_of_kind(message: &Message<'_>) -> Cause {
    match message.start_line() {
        StartLine::Request { method: "ACK", .. } => Cause::Ack,
        StartLine::Request { .. } => Cause::Cancel,
        StartLine::Response { .. } => Cause::Response,
    }
}
