//! The answer: accept, challenge or reject, and why.
//!
//! A decision owns all it says and borrows neither the INVITE nor the snapshot. A refusal is a value
//! with a reason, not an error.

mod reason;
mod sampling;

use std::fmt;

pub use self::reason::Reason;
pub use self::sampling::{Sampling, SamplingError};
use crate::digest::InlineName;
use crate::invite::CredentialsField;
use crate::model::{ChallengeKind, PermissionSet, Target};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid,
};

/// What becomes of an INVITE.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It may pass.
    Accept(Accept),
    /// The caller is asked to authenticate.
    Challenge(Challenge),
    /// It may not pass.
    Reject(Reject),
}

impl Decision {
    /// Whether the INVITE may pass.
    #[must_use]
    pub fn is_accept(&self) -> bool {
        matches!(self, Self::Accept(_))
    }

    /// The status code of the answer that refuses, or 200.
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

    /// What kind of this outcome it is: of an accept `passed` or `repeat`, of a challenge `asked` or
    /// `stale`, of a refusal [`Reason::as_str`]. A stable text for logs and metrics.
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

    /// The domain or trunk, if the Request-URI named one.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::Accept(accept) => Some(accept.target),
            Self::Challenge(challenge) => Some(challenge.target),
            Self::Reject(reject) => reject.target,
        }
    }
}

/// Who may pass, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accept {
    /// The account that owns the domain or trunk.
    pub account: AccountSid,
    /// The domain or trunk that the Request-URI named.
    pub target: Target,
    /// The entry that the source address matched, where access lists are mapped.
    pub address: Option<AddressMatch>,
    /// The credential that was proved, where credential lists are mapped.
    pub credential: Option<CredentialMatch>,
    /// What the caller's roles permit: the deployment role of the credential and the channel role of
    /// its list's mapping. Empty where the address alone counts.
    pub permissions: PermissionSet,
    /// The INVITE is a retransmission over UDP of one that a digest admitted within the last 32 s: it is
    /// not another call, and is to be answered from the transaction of the first. Fields that tell no
    /// transaction, such as Contact, are not compared. Where the address alone admits this is never set.
    pub repeat: bool,
}

impl Accept {
    /// Whether the caller's roles have the permission of this name.
    #[must_use]
    pub fn permits(&self, permission: &str) -> bool {
        self.permissions.contains(permission)
    }
}

/// The most specific entry of an access list that admits the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMatch {
    /// The list.
    pub list: IpAccessControlListSid,
    /// The entry.
    pub address: IpAddressSid,
}

/// The user that proved to know the password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialMatch {
    /// The list.
    pub list: CredentialListSid,
    /// The credential.
    pub credential: CredentialSid,
    /// Its user name; the only name of the caller that is verified.
    pub username: InlineName,
    /// The header to remove before the request is forwarded (RFC 3261 §22.3).
    pub header: UsedHeader,
}

/// Does not show the user name: a decision may end up in a log.
impl fmt::Debug for CredentialMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialMatch")
            .field("list", &self.list)
            .field("credential", &self.credential)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Which credentials header was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsedHeader {
    /// Its name.
    pub field: CredentialsField,
    /// Its place among all credentials headers of the INVITE, of both names, from 0.
    pub index: usize,
}

/// The caller is asked to authenticate: one header of the kind's name for each value, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Challenge {
    /// The domain or trunk that asks.
    pub target: Target,
    /// As a proxy or as a user agent server.
    pub kind: ChallengeKind,
    /// The header values.
    pub values: Vec<String>,
    /// The nonce of the request was too old or used, its digest right: a client tries again with
    /// the new one and asks nobody. Also said where a source has sent too many wrong digests without a
    /// live nonce; none is looked at then.
    pub stale: bool,
}

impl Challenge {
    /// 407 or 401.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.kind {
            ChallengeKind::Proxy => 407,
            ChallengeKind::Server => 401,
        }
    }

    /// The same challenge without its header values, for a record of decisions.
    #[must_use]
    pub fn without_values(&self) -> Self {
        Self { target: self.target, kind: self.kind, values: Vec::new(), stale: self.stale }
    }

    /// The reason phrase of the status.
    #[must_use]
    pub fn phrase(&self) -> &'static str {
        match self.kind {
            ChallengeKind::Proxy => "Proxy Authentication Required",
            ChallengeKind::Server => "Unauthorized",
        }
    }

    /// The name of the header that carries each value.
    #[must_use]
    pub fn header_name(&self) -> &'static str {
        match self.kind {
            ChallengeKind::Proxy => "Proxy-Authenticate",
            ChallengeKind::Server => "WWW-Authenticate",
        }
    }
}

/// The INVITE may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reject {
    /// The domain or trunk, if the Request-URI named one.
    pub target: Option<Target>,
    /// Why.
    pub reason: Reason,
}

impl Reject {
    /// A rejection of an INVITE for `target`.
    #[must_use]
    pub const fn new(target: Option<Target>, reason: Reason) -> Self {
        Self { target, reason }
    }
}
