//! The response to a refused request, without the fields that it echoes.

use std::borrow::Cow;
use std::fmt;

use super::{Decision, Reason};
use crate::model::MethodSet;

/// The response to a challenged or rejected request: status, reason phrase and header fields.
///
/// It is safe to send. The internal cause is not in it, and [`Reason::TooManyGuesses`] gives the same
/// response as [`Reason::WrongCredentials`].
///
/// Made by [`Authorizer::refusal`](crate::Authorizer::refusal), or by [`Decision::refusal`], which lacks
/// the Allow header of a 405. `Display` writes the status and the phrase:
///
/// ```
/// # use sip_authz::{Authorizer, Invite, Snapshot, Transport};
/// # let authorizer = Authorizer::new(Snapshot::empty())?;
/// # let invite = Invite::new("sip:a@b.example", "192.0.2.7:5060".parse()?, Transport::Udp);
/// # let decision = authorizer.authorize_now(&invite);
/// if let Some(refusal) = authorizer.refusal(&decision) {
///     let response = format!("SIP/2.0 {refusal}\r\n{}", refusal.header_lines());
///     assert_eq!(response, "SIP/2.0 404 Not Found\r\n");
///     // and Via, From, To with a tag, Call-ID and CSeq of the request (RFC 3261 §8.2.6)
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Refusal<'a> {
    status: u16,
    phrase: &'static str,
    /// The name of the header of each challenge.
    challenge: &'static str,
    values: &'a [String],
    reason: Option<Reason>,
    allow: Option<Allow>,
}

/// The methods that a domain or trunk admits from outside a dialog, as of a snapshot.
#[derive(Clone)]
struct Allow {
    methods: MethodSet,
    registers: bool,
}

impl Decision {
    /// The response to send; `None` for an accept.
    ///
    /// A 405 ([`Reason::MethodNotAllowed`]) needs an Allow header (RFC 3261 §21.4.6), which a decision does
    /// not know: use [`Authorizer::refusal`](crate::Authorizer::refusal), or [`Refusal::with_allow`] with a
    /// snapshot.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal<'_>> {
        match self {
            Self::Accept(_) => None,
            Self::Challenge(challenge) => Some(Refusal {
                status: challenge.status(),
                phrase: challenge.phrase(),
                challenge: challenge.header_name(),
                values: &challenge.values,
                reason: None,
                allow: None,
            }),
            Self::Reject(reject) => {
                let reason = reject.reason.public();
                Some(Refusal {
                    status: reason.status(),
                    phrase: reason.phrase(),
                    challenge: "",
                    values: &[],
                    reason: Some(reason),
                    allow: None,
                })
            }
        }
    }
}

impl<'a> Refusal<'a> {
    /// The status code: 401, 407 or that of the public reason.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase of the status code (RFC 3261 §21).
    #[must_use]
    pub fn phrase(&self) -> &'static str {
        self.phrase
    }

    /// The reason that the caller may know ([`Reason::public`]); `None` for a challenge.
    ///
    /// It need not be in the response. A header for it is the program's own.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Adds the Allow header to a 405.
    pub(crate) fn allowing(mut self, methods: &MethodSet, registers: bool) -> Self {
        if self.needs_allow() {
            self.allow = Some(Allow { methods: methods.clone(), registers });
        }
        self
    }

    /// Whether this is a 405, which must have an Allow header (RFC 3261 §21.4.6).
    pub(crate) fn needs_allow(&self) -> bool {
        self.status == 405
    }

    /// The header fields in order, each a name and a value: one for each challenge, and Allow.
    ///
    /// A challenge with several algorithms has several fields of the same name. They are in order of
    /// preference (RFC 8760 §2.4), so do not merge or sort them.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
        let (name, values) = (self.challenge, self.values.iter());
        let challenges = values.map(move |value| (name, Cow::Borrowed(value.as_str())));
        let allow = self.allow.iter().map(|allow| ("Allow", Cow::Owned(allow.to_string())));
        challenges.chain(allow)
    }

    /// Writes the header fields as lines, each with its CRLF.
    #[must_use]
    pub fn header_lines(&self) -> impl fmt::Display {
        HeaderLines(self)
    }
}

/// Writes the status code and the reason phrase: `403 Forbidden`.
impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.phrase)
    }
}

/// Leaves out the values of challenges, which have nonces.
impl fmt::Debug for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("challenges", &self.values.len())
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// `INVITE, OPTIONS, ACK, CANCEL, BYE`: what the target admits, and the methods within its calls.
impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let register = if self.registers { ", REGISTER" } else { "" };
        write!(f, "{}, ACK, CANCEL, BYE{register}", self.methods)
    }
}

struct HeaderLines<'r, 'a>(&'r Refusal<'a>);

impl fmt::Display for HeaderLines<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { challenge, values, allow, .. } = self.0;
        for value in *values {
            write!(f, "{challenge}: {value}\r\n")?;
        }
        allow.as_ref().map_or(Ok(()), |allow| write!(f, "Allow: {allow}\r\n"))
    }
}
