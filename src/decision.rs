//! Decisions: accept, challenge or reject, with the reason.
//!
//! A decision owns its data and borrows neither the INVITE nor the snapshot. A rejection is a value
//! with a reason, not an error.

mod cause;
mod reason;
mod refusal;
mod sampling;

use std::fmt;

pub use self::cause::Cause;
pub use self::reason::Reason;
pub use self::refusal::Refusal;
pub use self::sampling::{Sampling, SamplingError};
use crate::digest::InlineName;
use crate::invite::CredentialsField;
use crate::model::{ChallengeKind, PermissionSet, Target};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid,
};

/// The decision on an INVITE.
///
/// `Display` writes outcome, status and reason on one line, for operators: `reject 403 wrong-credentials`.
/// Never send it to the caller, who may not learn each reason. Neither `Display` nor `Debug` shows a user
/// name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Forward the INVITE.
    Accept(Accept),
    /// Challenge the caller to authenticate.
    Challenge(Challenge),
    /// Reject the INVITE.
    Reject(Reject),
}

impl Decision {
    /// Whether the decision is an accept.
    #[must_use]
    pub fn is_accept(&self) -> bool {
        matches!(self, Self::Accept(_))
    }

    /// The SIP status code of the response, or 200 for an accept. [`Self::refusal`] gives the whole
    /// response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Accept(_) => 200,
            Self::Challenge(challenge) => challenge.status(),
            Self::Reject(reject) => reject.reason.status(),
        }
    }

    /// `accept`, `challenge` or `reject`: a stable text for logs and metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::Challenge(_) => "challenge",
            Self::Reject(_) => "reject",
        }
    }

    /// The subtype of the outcome, a stable text for logs and metrics. `passed` or `repeat` for an
    /// accept, `asked` or `stale` for a challenge, [`Reason::as_str`] for a rejection.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Accept(accept) if accept.repeat => "repeat",
            Self::Accept(_) => "passed",
            Self::Challenge(challenge) if challenge.stale => "stale",
            Self::Challenge(_) => "asked",
            Self::Reject(reject) => reject.reason.as_str(),
        }
    }

    /// The internal cause of a challenge or rejection, for operators only; `None` for an accept.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Accept(_) => None,
            Self::Challenge(challenge) => Some(challenge.cause),
            Self::Reject(reject) => Some(reject.cause),
        }
    }

    /// The credential with the claimed user name, for operators only: of an accept the proved one, else
    /// that of the user whose digest was not right.
    ///
    /// `None` if no user was looked up, or no mapped list has the name.
    #[must_use]
    pub fn credential(&self) -> Option<CredentialSid> {
        match self {
            Self::Accept(accept) => accept.credential.as_ref().map(|it| it.credential),
            Self::Challenge(challenge) => challenge.claimed,
            Self::Reject(reject) => reject.claimed,
        }
    }

    /// The domain or trunk of the Request-URI, if it exists.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::Accept(accept) => Some(accept.target),
            Self::Challenge(challenge) => Some(challenge.target),
            Self::Reject(reject) => reject.target,
        }
    }
}

/// The texts of [`Decision::outcome`], [`Decision::status`] and [`Decision::reason`].
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.outcome(), self.status(), self.reason())
    }
}

/// An accepted call: its target, and the address and credential that admitted it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accept {
    /// The account that owns the domain or trunk.
    pub account: AccountSid,
    /// The domain or trunk of the Request-URI.
    pub target: Target,
    /// The matching access list entry, if access lists are mapped.
    pub address: Option<AddressMatch>,
    /// The verified credential, if credential lists are mapped.
    pub credential: Option<CredentialMatch>,
    /// Permissions of the caller's roles: the credential's deployment role and the channel role of
    /// its list mapping. Empty if the address alone was checked.
    pub permissions: PermissionSet,
    /// Whether this is a UDP retransmission of an INVITE that a digest admitted in the last 32 s.
    /// It is not a new call: answer it from the first one's transaction, or send nothing if that is gone.
    ///
    /// Fields that do not identify the transaction, such as Contact, are not compared. Never set if
    /// the address alone was checked.
    pub repeat: bool,
}

impl Accept {
    /// Whether the caller's roles grant the permission with this name.
    #[must_use]
    pub fn permits(&self, permission: &str) -> bool {
        self.permissions.contains(permission)
    }
}

/// The most specific access list entry that contains the source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMatch {
    /// The list.
    pub list: IpAccessControlListSid,
    /// The entry.
    pub address: IpAddressSid,
}

/// The user whose password was proved.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialMatch {
    /// The list.
    pub list: CredentialListSid,
    /// The credential.
    pub credential: CredentialSid,
    /// The user name; the only verified name of the caller.
    pub username: InlineName,
    /// The header to remove before the request is forwarded (RFC 3261 §22.3).
    pub header: UsedHeader,
}

/// Omits the user name, because decisions may be logged.
impl fmt::Debug for CredentialMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialMatch")
            .field("list", &self.list)
            .field("credential", &self.credential)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// The credentials header that was used, counted in two ways: remove it by the one that the SIP stack
/// offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsedHeader {
    /// The header name.
    pub field: CredentialsField,
    /// Index among all credentials headers of the INVITE, of either name, from 0.
    pub index: usize,
    /// Index among the headers of the name [`field`](Self::field), from 0.
    pub index_of_name: usize,
}

/// A challenge to authenticate. Send one header of [`Challenge::header_name`] for each value, in
/// order: [`Decision::refusal`] gives the response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Challenge {
    /// The domain or trunk that challenges.
    pub target: Target,
    /// Challenge as a proxy (407) or as a user agent server (401).
    pub kind: ChallengeKind,
    /// The header values.
    pub values: Vec<String>,
    /// The nonce was not live, or its count was used (RFC 7616 §3.3). The client retries with the
    /// new nonce without a password prompt.
    ///
    /// Not set after eight such answers to one flow (address and port) within a nonce lifetime. A
    /// nonce that expired and one that was not issued here are counted apart, each for its target.
    pub stale: bool,
    /// The internal cause. Never show it to the caller.
    pub cause: Cause,
    /// The credential with the claimed user name, if a user was looked up. Its digest was right for causes
    /// about From, To or a used nonce. Never show it to the caller.
    pub claimed: Option<CredentialSid>,
}

impl Challenge {
    /// The status code: 407 or 401.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.kind {
            ChallengeKind::Proxy => 407,
            ChallengeKind::Server => 401,
        }
    }

    /// A copy without the header values, for decision logs.
    #[must_use]
    pub fn without_values(&self) -> Self {
        let Self { target, kind, stale, cause, claimed, .. } = *self;
        Self { target, kind, values: Vec::new(), stale, cause, claimed }
    }

    /// The reason phrase of the status code.
    #[must_use]
    pub fn phrase(&self) -> &'static str {
        match self.kind {
            ChallengeKind::Proxy => "Proxy Authentication Required",
            ChallengeKind::Server => "Unauthorized",
        }
    }

    /// The name of the header for each value.
    #[must_use]
    pub fn header_name(&self) -> &'static str {
        match self.kind {
            ChallengeKind::Proxy => "Proxy-Authenticate",
            ChallengeKind::Server => "WWW-Authenticate",
        }
    }
}

/// A rejection of the INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reject {
    /// The domain or trunk of the Request-URI, if it exists.
    pub target: Option<Target>,
    /// The reason.
    pub reason: Reason,
    /// The internal cause. Never show it to the caller.
    pub cause: Cause,
    /// The credential with the claimed user name, if a user was looked up. Its digest was right for causes
    /// about From, To or a used nonce. Never show it to the caller.
    pub claimed: Option<CredentialSid>,
}

impl Reject {
    /// Creates a rejection of an INVITE for `target`, with the general cause of `reason`.
    ///
    /// For [`Reason::WrongCredentials`] that is [`Cause::WrongPassword`], although no user was looked up.
    /// [`Self::with_cause`] sets a finer one.
    #[must_use]
    pub const fn new(target: Option<Target>, reason: Reason) -> Self {
        Self { target, reason, cause: Cause::of(reason), claimed: None }
    }

    /// Sets the internal cause.
    #[must_use]
    pub const fn with_cause(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }
}
