//! The record of a decision, or of another message that the logs have a line for.
//!
//! A record has a fixed size and no memory of its own, so that it can be queued and kept. All logs derive
//! from it. It never has a digest response, a nonce or a password.

mod answer;
mod claims;
pub(crate) mod guess;
#[cfg(test)]
pub(crate) mod samples;
mod selected;
pub(crate) mod shown;
mod texts;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use memchr::memchr;
use sip_authz::digest::{Algorithm, Qop};
use sip_authz::message::{Header, Message, StartLine};
use sip_authz::model::{ChallengeKind, PermissionSet, Target};
use sip_authz::uri::{SipUri, name_addr};
use sip_authz::{
    AccountSid, AddressMatch, CredentialListSid, CredentialSid, CredentialsField, Decision, Invite,
    Reason, Transport,
};
use sip_authz_rest::decisions::micros;

use self::claims::Claims;
use self::texts::{Text, Texts};
use crate::observe::cause::{Cause, Handling};
use crate::observe::method::MethodName;
use crate::sip::peer::{Caller, Source};

/// The maximum size of a record in bytes.
const MAX_SIZE: usize = 512;
const _: () = assert!(size_of::<Record>() <= MAX_SIZE);

/// A decided request.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'m> {
    pub(crate) caller: Caller,
    pub(crate) method: MethodName,
    pub(crate) message: &'m Message<'m>,
    pub(crate) invite: &'m Invite<'m>,
}

/// The time of a batch of decisions, and the snapshot that decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: SystemTime,
    /// The time since the messages were received; none for other messages.
    pub(crate) took: Option<Duration>,
    pub(crate) snapshot: Option<u64>,
}

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept {
        /// Whether it is a retransmission, and no new call.
        repeat: bool,
    },
    Challenge {
        kind: ChallengeKind,
        stale: bool,
    },
    Reject(Reason),
    /// The message has no decision, or another answer than that of its decision.
    Other(Cause),
}

impl Verdict {
    pub(crate) fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Accept(accept) => Self::Accept { repeat: accept.repeat },
            Decision::Challenge(challenge) => {
                Self::Challenge { kind: challenge.kind, stale: challenge.stale }
            }
            Decision::Reject(reject) => Self::Reject(reject.reason),
        }
    }

    /// The outcome as in [`Decision::outcome`], or the handling of the message.
    fn outcome(self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Challenge { .. } => "challenge",
            Self::Reject(_) => "reject",
            Self::Other(cause) => cause.handling().as_str(),
        }
    }

    /// The reason as in [`Decision::reason`], or the text of the cause.
    fn reason(self) -> &'static str {
        match self {
            Self::Accept { repeat: true } => "repeat",
            Self::Accept { repeat: false } => "passed",
            Self::Challenge { stale: true, .. } => "stale",
            Self::Challenge { stale: false, .. } => "asked",
            Self::Reject(reason) => reason.as_str(),
            Self::Other(cause) => cause.as_str(),
        }
    }

    /// The status as in [`Decision::status`]; none for a message without an answer.
    fn status(self) -> Option<u16> {
        match self {
            Self::Accept { .. } => Some(200),
            Self::Challenge { kind: ChallengeKind::Proxy, .. } => Some(407),
            Self::Challenge { kind: ChallengeKind::Server, .. } => Some(401),
            Self::Reject(reason) => Some(reason.status()),
            Self::Other(cause) => match cause.handling() {
                Handling::Answered(status) => Some(status),
                _ => None,
            },
        }
    }
}

/// A decision, or another message.
#[derive(Clone)]
pub(crate) struct Record {
    /// Microseconds since 1970.
    time: u64,
    snapshot: Option<u64>,
    /// Microseconds since the message was received.
    took: Option<u32>,
    pub(crate) verdict: Verdict,
    method: Option<MethodName>,
    transport: Transport,
    /// The address and port of the caller; none if it is unknown.
    source: Option<(IpAddr, u16)>,
    /// The account of an accepted call. A refused call has the account of its target.
    pub(crate) account: Option<AccountSid>,
    target: Option<Target>,
    entry: Option<AddressMatch>,
    list: Option<CredentialListSid>,
    /// The credential with the claimed name: proved if the call is accepted.
    credential: Option<CredentialSid>,
    /// The internal cause of a challenge or rejection. The caller never learns it.
    cause: Option<sip_authz::Cause>,
    permissions: Option<PermissionSet>,
    /// The header with the credentials that the claimed name, the realm, the algorithm and the qop are of.
    header: Option<CredentialsField>,
    algorithm: Option<Algorithm>,
    qop: Option<Qop>,
    /// The number of CSeq.
    cseq: Option<u32>,
    texts: Texts,
}

impl Record {
    /// Records a decision. `is_own` says whether a realm is one of this side; it is asked only about a
    /// request with several credentials.
    pub(crate) fn decided(
        moment: &Moment,
        asked: &Asked<'_>,
        decision: &Decision,
        is_own: impl Fn(&str) -> bool,
    ) -> Self {
        let mut record = Self::new(moment, asked.caller, Verdict::of(decision));
        record.method = Some(asked.method);
        (record.target, record.cause) = (decision.target(), decision.cause());
        record.credential = decision.credential();
        let mut parts = Parts::of(asked.message);
        (parts.host, parts.called) = host_and_user(asked.invite.request_uri());
        let accept = match decision {
            Decision::Accept(accept) => Some(accept),
            _ => None,
        };
        let proved = accept.and_then(|accept| accept.credential.as_ref());
        if let Some(accept) = accept {
            record.account = Some(accept.account);
            record.entry = accept.address;
            record.permissions = Some(accept.permissions);
        }
        let all = asked.invite.credentials();
        let used = match proved {
            Some(proved) => all.get(proved.header.index).map(|(field, value)| (*field, *value)),
            None => judged(all, is_own),
        };
        record.claim(used, &mut parts);
        if let Some(proved) = proved {
            record.list = Some(proved.list);
            parts.claims.username = &proved.username;
        }
        record.finish(&parts)
    }

    /// Records a message without a decision, or with another answer than that of its decision. A message
    /// that cannot be read is none.
    pub(crate) fn other(
        moment: &Moment,
        caller: Caller,
        cause: Cause,
        message: Option<&Message<'_>>,
    ) -> Self {
        let mut record = Self::new(moment, caller, Verdict::Other(cause));
        let Some(message) = message else { return record };
        let mut parts = Parts::of(message);
        if let StartLine::Request { method, uri } = message.start_line() {
            record.method = Some(MethodName::of(method));
            (parts.host, parts.called) = host_and_user(uri);
        }
        let both = [
            (CredentialsField::ProxyAuthorization, Header::ProxyAuthorization),
            (CredentialsField::Authorization, Header::Authorization),
        ];
        let mut credentials = both.into_iter();
        let used = credentials.find_map(|(field, name)| Some((field, message.first(name)?)));
        record.claim(used, &mut parts);
        record.finish(&parts)
    }

    fn new(moment: &Moment, Caller { source, transport }: Caller, verdict: Verdict) -> Self {
        Self {
            time: micros(moment.time),
            snapshot: moment.snapshot,
            took: moment.took.map(|took| u32::try_from(took.as_micros()).unwrap_or(u32::MAX)),
            verdict,
            method: None,
            transport,
            source: match source {
                Source::Known(source) => Some((source.ip(), source.port())),
                Source::Unknown | Source::Repeated => None,
            },
            account: None,
            target: None,
            entry: None,
            list: None,
            credential: None,
            cause: None,
            permissions: None,
            header: None,
            algorithm: None,
            qop: None,
            cseq: None,
            texts: Texts::default(),
        }
    }

    /// Takes the parameters of a credentials header.
    fn claim<'a>(&mut self, used: Option<(CredentialsField, &'a [u8])>, parts: &mut Parts<'a>) {
        let Some((field, value)) = used else { return };
        let claims = Claims::of(value);
        if claims.is_digest {
            self.header = Some(field);
            self.qop = Qop::from_name(claims.qop.as_bytes());
            // RFC 7616 §3.3
            let name = if claims.algorithm.is_empty() { "MD5" } else { claims.algorithm };
            self.algorithm = Algorithm::from_name(name.as_bytes());
            parts.claims = claims;
        }
    }

    fn finish(mut self, parts: &Parts<'_>) -> Self {
        self.cseq = parts.cseq;
        self.texts = Texts::of([
            (Text::ClaimedUser, parts.claims.username.as_bytes()),
            (Text::Host, parts.host.as_bytes()),
            (Text::Called, parts.called.as_bytes()),
            (Text::From, parts.from),
            (Text::Realm, parts.claims.realm.as_bytes()),
            (Text::CallId, parts.call_id),
            (Text::UserAgent, parts.user_agent),
        ]);
        self
    }

    /// Whether the claimed user name was proved.
    fn is_proved(&self) -> bool {
        matches!(self.verdict, Verdict::Accept { .. }) && self.credential.is_some()
    }

    /// The source as text: address and port, or `unknown`.
    fn source(&self) -> String {
        let source = self
            .source
            .map_or(Source::Unknown, |(ip, port)| Source::Known(SocketAddr::new(ip, port)));
        source.to_string()
    }
}

/// The credentials that the decision was most likely about: the first for a realm of this side.
fn judged<'a>(
    all: &[(CredentialsField, &'a [u8])],
    is_own: impl Fn(&str) -> bool,
) -> Option<(CredentialsField, &'a [u8])> {
    let own = match all {
        [] | [_] => None,
        _ => all.iter().find(|(_, value)| is_own(Claims::of(value).realm)),
    };
    own.or(all.first()).copied()
}

/// The parts of a message that the texts of a record are of.
struct Parts<'a> {
    host: &'a str,
    called: &'a str,
    from: &'a [u8],
    call_id: &'a [u8],
    user_agent: &'a [u8],
    cseq: Option<u32>,
    claims: Claims<'a>,
}

impl<'a> Parts<'a> {
    /// The header fields of a message. The scan has found them all, so no field is read twice.
    fn of(message: &Message<'a>) -> Self {
        let first = |header| message.first(header).unwrap_or_default();
        Self {
            host: "",
            called: "",
            from: user_of(first(Header::From)),
            call_id: first(Header::CallId),
            user_agent: first(Header::UserAgent),
            cseq: message.first(Header::CSeq).and_then(number),
            claims: Claims::default(),
        }
    }
}

/// The host and the user of a Request-URI. A URI that cannot be read is the user.
fn host_and_user(uri: &str) -> (&str, &str) {
    if let Some((user, host)) = plain_uri(uri.as_bytes())
        && uri.len() == "sip:@".len() + user.len() + host.len()
        && let Some((user, host)) =
            uri.get("sip:".len()..).and_then(|rest| rest.split_at_checked(user.len()))
    {
        return (host.get("@".len()..).unwrap_or_default(), user);
    }
    match SipUri::parse_request_uri(uri) {
        Ok(parsed) => (parsed.host, parsed.user.unwrap_or_default()),
        Err(_) => ("", str::from_utf8(without_password(uri.as_bytes())).unwrap_or_default()),
    }
}

/// The user in a value of From. A value that cannot be read is taken whole.
fn user_of(value: &[u8]) -> &[u8] {
    if let Some(user) = plain_user(value) {
        return user;
    }
    let Some(from) = name_addr(value) else { return without_password(value) };
    match SipUri::parse_request_uri(from.uri) {
        Ok(uri) => uri.user.unwrap_or_default().as_bytes(),
        Err(_) => without_password(from.uri.as_bytes()),
    }
}

/// The user in a value of From with one bracket and a plain user and host in it. Most values are such, and
/// a whole parser takes ten times as many instructions. The text after the host does not matter.
fn plain_user(value: &[u8]) -> Option<&[u8]> {
    let uri = value.get(memchr(b'<', value)? + 1..)?;
    if memchr(b'<', uri).is_some() {
        // the first one stands in a quoted name
        return None;
    }
    let (user, host) = plain_uri(uri)?;
    let rest = uri.get(b"sip:@".len() + user.len() + host.len()..)?;
    matches!(rest, [b'>' | b';' | b':', ..]).then_some(user)
}

/// The user and the host at the start of a SIP URI, if they have plain characters alone.
fn plain_uri(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"sip:")?;
    let end = |part: &[u8], kind: u8| part.iter().position(|byte| !is_plain(*byte, kind));
    let (user, host) = text.split_at_checked(end(text, USER | HOST)?)?;
    let host = host.strip_prefix(b"@")?;
    let host = host.get(..end(host, HOST).unwrap_or(host.len()))?;
    (!user.is_empty() && !host.is_empty()).then_some((user, host))
}

/// A byte of plain users alone, and one of hosts.
const USER: u8 = 1;
const HOST: u8 = 2;

/// Whether a byte is of one of these kinds, by a table: each byte takes one look.
fn is_plain(byte: u8, kind: u8) -> bool {
    const KINDS: [u8; 256] = {
        let mut kinds = [0; 256];
        let mut byte = 0;
        while byte < 128 {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                kinds[byte as usize] = match byte {
                    b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' => HOST,
                    b'+' | b'_' => USER,
                    _ => 0,
                };
            }
            byte += 1;
        }
        kinds
    };
    KINDS.get(usize::from(byte)).is_some_and(|kinds| kinds & kind != 0)
}

/// Cuts a text that is no URI at a colon before an `@`, since a password may follow (RFC 3261 §19.1.1). The
/// first colon may end the scheme.
fn without_password(text: &[u8]) -> &[u8] {
    let Some(at) = text.iter().rposition(|byte| *byte == b'@') else { return text };
    let mut colons = text.iter().enumerate().take(at).filter(|(_, byte)| **byte == b':');
    let Some((first, _)) = colons.next() else { return text };
    let before = text.get(..first).unwrap_or_default();
    let start = before.iter().rposition(|byte| !byte.is_ascii_alphanumeric());
    let scheme = before.get(start.map_or(0, |start| start + 1)..).unwrap_or_default();
    let is_scheme = scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips");
    let end = if is_scheme { colons.next().map(|(colon, _)| colon) } else { Some(first) };
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The number at the start of a CSeq.
fn number(value: &[u8]) -> Option<u32> {
    let mut digits = value.iter().map_while(|byte| char::from(*byte).to_digit(10));
    let first = digits.next()?;
    digits.try_fold(first, |sum, digit| sum.checked_mul(10)?.checked_add(digit))
}

#[cfg(test)]
mod tests;
