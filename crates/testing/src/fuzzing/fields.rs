//! Compares [`Invite::from_fields`] with [`Invite::from_request`] on the same message, written as a
//! datagram.

use std::net::SocketAddr;

use super::from_datagram::{SOURCE, decide};
use super::world::fuzz_authorizer;
use sip_authz::internals::trim;
use sip_authz::message::{Defect, Message};
use sip_authz::{CredentialsField, Decision, Invite, InviteError, Transport};

/// The transports that are compared: one for datagrams, one for streams.
pub const TRANSPORTS: [Transport; 2] = [Transport::Udp, Transport::Tls];

/// The parts of a request, as a SIP stack has parsed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub uri: String,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// How a SIP stack splits a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// At each CRLF. Names and values are as sent, with white space and folds. An incomplete line is
    /// refused, and a missing blank line is not.
    Exact,
    /// At each LF. Folds are joined, values are trimmed, and lines without a colon are dropped.
    Careless,
}

impl Stack {
    /// Splits a message as this stack does. None if the stack refuses the bytes.
    pub fn split(self, bytes: &[u8]) -> Option<Request> {
        let end: &[u8] = if self == Stack::Exact { b"\r\n" } else { b"\n" };
        let (first, mut rest) = cut(bytes, end)?;
        let first = str::from_utf8(first).ok()?;
        let (method, after) = first.split_once(' ')?;
        let ignored: &[char] = match self {
            Stack::Exact => &[' ', '\t'],
            Stack::Careless => &[' ', '\t', '\r'],
        };
        let (uri, version) = after.trim_end_matches(ignored).rsplit_once(' ')?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
        if !version.get(..4)?.eq_ignore_ascii_case("SIP/") || !version.chars().all(is_plain) {
            return None;
        }
        let uri = uri.trim_matches([' ', '\t']);
        let (mut fields, mut is_ended) = (Vec::<Vec<u8>>::new(), false);
        while let Some((line, after)) = cut(rest, end) {
            rest = after;
            let line = match self {
                Stack::Exact => line,
                Stack::Careless => line.strip_suffix(b"\r").unwrap_or(line),
            };
            if line.is_empty() {
                is_ended = true;
                break;
            }
            match fields.last_mut() {
                Some(last) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                    let (join, line) = match self {
                        Stack::Exact => (&b"\r\n"[..], line),
                        Stack::Careless => (&b" "[..], trim(line)),
                    };
                    last.extend_from_slice(join);
                    last.extend_from_slice(line);
                }
                _ => fields.push(line.to_vec()),
            }
        }
        // the start of a line
        if self == Stack::Exact && !is_ended && !rest.is_empty() {
            return None;
        }
        let mut split = Vec::new();
        for field in fields {
            match (cut(&field, b":"), self) {
                (Some((name, value)), Stack::Exact) => split.push((name.to_vec(), value.to_vec())),
                (Some((name, value)), Stack::Careless) => {
                    split.push((trim(name).to_vec(), trim(value).to_vec()));
                }
                (None, Stack::Exact) => return None,
                (None, Stack::Careless) => {}
            }
        }
        let (method, uri) = (method.to_owned(), uri.to_owned());
        Some(Request { method, uri, fields: split, body: rest.to_vec() })
    }

    /// Whether a message with this error can pass as the parts that this stack makes of it. The
    /// documentation of [`Invite::from_fields`] lists the reasons.
    fn hides(self, error: &InviteError) -> bool {
        use Defect::{ContentLength, Control, FieldName, Fold, LineEnd, NoBlankLine};
        use Defect::{RequestLine, Version};
        let InviteError::Defect(defect) = error else { return false };
        match self {
            Stack::Exact => matches!(defect, RequestLine | Version | NoBlankLine),
            Stack::Careless => matches!(
                defect,
                RequestLine
                    | Version
                    | NoBlankLine
                    | LineEnd
                    | Fold
                    | FieldName
                    | Control
                    | ContentLength
            ),
        }
    }
}

/// Splits before and after the first `mark`.
fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

impl Request {
    /// Splits a text at each `|`: method, URI, name and value of each field, and at last the body.
    pub fn of_marked(text: &[u8]) -> Option<Request> {
        let mut parts: Vec<&[u8]> = text.split(|byte| *byte == b'|').collect();
        let body = parts.pop()?.to_vec();
        let (start, fields) = parts.split_at_checked(2)?;
        let text = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
        let (method, uri) = (text(start[0])?, text(start[1])?);
        let pairs = fields.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec()));
        Some(Request { method, uri, fields: pairs.collect(), body })
    }

    pub fn invite(&self, transport: Transport) -> Result<Invite<'_>, InviteError> {
        self.invite_from(SOURCE, transport)
    }

    pub fn invite_from(
        &self,
        source: SocketAddr,
        transport: Transport,
    ) -> Result<Invite<'_>, InviteError> {
        let fields = self.fields.iter().map(|(name, value)| (name, value));
        let uri = self.uri.as_str();
        Invite::from_fields(&self.method, uri, fields, &self.body, source, transport)
    }

    /// Writes the parts as a datagram.
    pub fn datagram(&self) -> Vec<u8> {
        let mut text = format!("{} {} SIP/2.0\r\n", self.method, self.uri).into_bytes();
        for (name, value) in &self.fields {
            for part in [&name[..], b": ", value, b"\r\n"] {
                text.extend_from_slice(part);
            }
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&self.body);
        text
    }

    /// Whether the datagram has these parts and no others: no part contains a mark that ends it.
    pub fn can_be_written(&self) -> bool {
        let ends_line = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let spaced = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
        let fits_name = |name: &[u8]| {
            !is_space(name.first()) && !name.iter().any(|byte| ends_line(byte) || *byte == b':')
        };
        let fits_value = |value: &[u8]| {
            value.iter().enumerate().all(|(at, byte)| match byte {
                b'\r' => value.get(at + 1) == Some(&b'\n'),
                b'\n' => at > 0 && value[at - 1] == b'\r' && is_space(value.get(at + 1)),
                _ => true,
            })
        };
        !self.method.contains(|c: char| spaced(c) || c == '/')
            && !self.uri.contains(['\r', '\n'])
            && self.uri.trim_matches([' ', '\t']) == self.uri
            && !self.uri.is_empty()
            && self.fields.iter().all(|(name, value)| fits_name(name) && fits_value(value))
    }
}

/// Every part that a decision uses, except the bytes by which a retransmission is recognised.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    method: String,
    uri: String,
    credentials: Vec<(CredentialsField, Vec<u8>)>,
    too_many: bool,
    from: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
    body: Vec<u8>,
}

pub fn facts(invite: &Invite<'_>) -> Facts {
    let credentials = invite.credentials().iter();
    Facts {
        method: invite.method().to_owned(),
        uri: invite.request_uri().to_owned(),
        credentials: credentials.map(|(field, value)| (*field, value.to_vec())).collect(),
        too_many: invite.has_too_many_credentials(),
        from: invite.from().map(<[u8]>::to_vec),
        to: invite.to().map(<[u8]>::to_vec),
        body: invite.body().to_vec(),
    }
}

/// The request that the library reads in `bytes`.
pub fn of_bytes(bytes: &[u8], transport: Transport) -> Result<Invite<'_>, InviteError> {
    let message = Message::scan(bytes).ok_or(InviteError::NotSip)?;
    Invite::from_request(&message, SOURCE, transport)
}

/// Compares the parts with the datagram that is written of them: same facts, or the same error. Parts
/// that cannot be written must be refused.
pub fn compare_with_datagram(request: &Request) {
    for transport in TRANSPORTS {
        let ours = request.invite(transport);
        if !request.can_be_written() {
            assert!(ours.is_err(), "accepted parts that are no message: {request:?}");
            continue;
        }
        let bytes = request.datagram();
        let theirs = of_bytes(&bytes, transport);
        let (ours, theirs) = (ours.as_ref().map(facts), theirs.as_ref().map(facts));
        assert_eq!(ours, theirs, "{transport:?} {}", bytes.escape_ascii());
    }
}

/// Compares the parts that a stack makes of `bytes` with the bytes. The parts pass only if the bytes
/// do, or if this stack hides what is wrong with them. Exact parts have the facts of the bytes, and are
/// decided like them.
pub fn compare_with_bytes(stack: Stack, bytes: &[u8]) {
    let Some(request) = stack.split(bytes) else { return };
    for transport in TRANSPORTS {
        let (ours, theirs) = (request.invite(transport), of_bytes(bytes, transport));
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if stack == Stack::Exact => {
                assert_eq!(facts(ours), facts(theirs), "{}", bytes.escape_ascii());
                assert_same_decision(ours, theirs);
            }
            (Ok(_), Err(error)) => {
                assert!(stack.hides(error), "{stack:?} {error}: {}", bytes.escape_ascii());
            }
            (Err(error), Ok(_)) => {
                panic!("{stack:?} {error}, but the bytes pass: {}", bytes.escape_ascii());
            }
            _ => {}
        }
    }
}

/// Both must be decided alike, by each of two sets of records.
fn assert_same_decision(ours: &Invite<'_>, theirs: &Invite<'_>) {
    assert_eq!(decide(ours), decide(theirs));
    let [ours, theirs] = [ours, theirs].map(|invite| {
        let (authorizer, now) = fuzz_authorizer();
        authorizer.authorize(invite, now)
    });
    assert_eq!(ours, theirs);
}

/// Reads `bytes` as a message of which two stacks make parts, or if they begin with `|`, as parts with
/// that mark between them. Compares the parts with a datagram. Returns the decision on the parts over
/// UDP, if they are read.
pub fn fuzz_fields(bytes: &[u8]) -> Option<Decision> {
    let request = match bytes.split_first() {
        Some((b'|', rest)) => {
            let request = Request::of_marked(rest)?;
            compare_with_bytes(Stack::Exact, &request.datagram());
            request
        }
        _ => {
            for stack in [Stack::Exact, Stack::Careless] {
                compare_with_bytes(stack, bytes);
            }
            if let Some(request) = Stack::Careless.split(bytes) {
                compare_with_datagram(&request);
            }
            Stack::Exact.split(bytes)?
        }
    };
    compare_with_datagram(&request);
    let invite = request.invite(Transport::Udp).ok()?;
    let (authorizer, now) = fuzz_authorizer();
    Some(authorizer.authorize(&invite, now))
}
