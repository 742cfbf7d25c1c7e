//! Reads the request of a question.

use std::borrow::Cow;

use sip_authz::message::{Defect, Header, Message, StartLine};
use sip_authz::{Invite, InviteError, Transport};

use crate::request::{Content, Parsed, Request};

/// Stands before the bytes of a message, so that a retransmission is one only among those of decision
/// services.
const HERE: &[u8] = b"decide ";

/// A request that can be decided.
#[derive(Debug)]
#[non_exhaustive]
pub struct Question<'a> {
    /// The message as it was scanned.
    pub message: Message<'a>,
    /// The parts on which the decision rests.
    pub invite: Invite<'a>,
}

/// A request that is not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecided {
    /// The bytes do not begin as a SIP message.
    Garbage(Garbage),
    /// An ACK.
    Ack,
    /// A CANCEL.
    Cancel,
    /// A response.
    Response,
    /// The message is not well-formed.
    Malformed(InviteError),
}

/// Bytes that do not begin as a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Garbage {
    /// Blanks and zeros: phones send them to keep their NAT bindings open (RFC 5626 §4.4).
    KeepAlive,
    /// A STUN message (RFC 8489 §5).
    Stun,
    /// Anything else.
    NotSip,
}

impl Garbage {
    /// The kind of these bytes, which do not begin as a SIP message.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b'\t' | b' ' | 0)) {
            return Self::KeepAlive;
        }
        match bytes {
            // two zero bits, and the magic cookie
            [0..=0x3f, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..] => Self::Stun,
            _ => Self::NotSip,
        }
    }
}

impl Undecided {
    /// The status and the reason phrase of the response; none if SIP has no response to the message.
    #[must_use]
    pub fn response(&self) -> Option<(u16, Cow<'static, str>)> {
        match self {
            Self::Garbage(_) | Self::Ack | Self::Cancel | Self::Response => None,
            // without a Via its sender could not match a response (RFC 3261 §17.1.3)
            Self::Malformed(InviteError::Defect(Defect::Missing(Header::Via))) => None,
            Self::Malformed(InviteError::Defect(Defect::Version)) => {
                Some((505, "Version Not Supported".into()))
            }
            Self::Malformed(error) => {
                // §25.1 does not allow backticks
                Some((400, format!("Bad Request ({error})").replace('`', "'").into()))
            }
        }
    }

    /// The stable text of the reason, for logs.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::Garbage(Garbage::KeepAlive) => "keep-alive".into(),
            Self::Garbage(Garbage::Stun) => "stun".into(),
            Self::Garbage(Garbage::NotSip) => "not sip".into(),
            Self::Ack => "ack".into(),
            Self::Cancel => "cancel".into(),
            Self::Response => "response".into(),
            Self::Malformed(InviteError::Defect(defect)) => {
                defect.to_string().replace('`', "").into()
            }
            Self::Malformed(_) => "malformed message".into(),
        }
    }
}

/// Removes the line ends before the start line of a datagram. On a stream they were removed when it was
/// cut into messages.
#[must_use]
pub fn without_leading_lines(bytes: &[u8], transport: Transport) -> &[u8] {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    match bytes {
        [b'\r' | b'\n', ..] if transport == Transport::Udp => {
            let start = bytes.iter().position(|byte| !is_line_end(byte));
            bytes.get(start.unwrap_or(bytes.len())..).unwrap_or_default()
        }
        _ => bytes,
    }
}

/// The text of a request whose parts a client has sent; none for one whose bytes it has sent.
///
/// Logs and the sources of domains read it. It is not what the decision rests on.
#[must_use]
pub fn text_of(request: &Request<'_>) -> Option<Vec<u8>> {
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
///
/// # Errors
///
/// [`Undecided`] if the message is not well-formed, or of a kind that is not decided.
pub fn read<'a>(
    request: &Request<'a>,
    transport: Transport,
    text: Option<&'a [u8]>,
) -> Result<Question<'a>, Undecided> {
    let bytes = match &request.content {
        Content::Message(message) => without_leading_lines(message, transport),
        Content::Parsed(_) => text.unwrap_or_default(),
    };
    let Some(message) = Message::scan(bytes) else {
        return Err(Undecided::Garbage(Garbage::of(bytes)));
    };
    let refused = |error| match error {
        InviteError::NotDecided => kind_of(&message),
        error => Undecided::Malformed(error),
    };
    let source = request.source;
    let invite = Invite::from_request(&message, source, transport).map_err(refused)?;
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
                return Err(refused(InviteError::NotSip));
            };
            Invite::from_fields(method, uri, parsed.headers(), body, source, transport)
                .map_err(refused)?
        }
    };
    Ok(Question { message, invite })
}

/// The kind of a message that is not decided.
fn kind_of(message: &Message<'_>) -> Undecided {
    match message.start_line() {
        StartLine::Request { method: "ACK", .. } => Undecided::Ack,
        StartLine::Request { .. } => Undecided::Cancel,
        StartLine::Response { .. } => Undecided::Response,
    }
}
