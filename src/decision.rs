//! The answer: accept, challenge or reject, and why.
//!
//! A decision owns all it says and borrows neither the INVITE nor the snapshot. A refusal is a value
//! with a reason, not an error.

mod sampling;

use std::fmt;

use arrayvec::ArrayString;

pub use self::sampling::{Sampling, SamplingError};
use crate::digest::{MAX_USERNAME, MalformedCredentials};
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
pub struct CredentialMatch {
    /// The list.
    pub list: CredentialListSid,
    /// The credential.
    pub credential: CredentialSid,
    /// Its user name; the only name of the caller that is verified.
    pub username: ArrayString<MAX_USERNAME>,
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
pub struct UsedHeader {
    /// Its name.
    pub field: CredentialsField,
    /// Its place among all credentials headers of the INVITE, of both names, from 0.
    pub index: usize,
}

/// The caller is asked to authenticate: one header of the kind's name for each value, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct Reject {
    /// The domain or trunk, if the Request-URI named one.
    pub target: Option<Target>,
    /// Why.
    pub reason: Reason,
}

/// Why an INVITE may not pass. The texts of [`Reason::as_str`] are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// 416: the Request-URI is neither sip: nor sips:.
    UnsupportedScheme,
    /// 400: the Request-URI is not a SIP URI.
    BadRequestUri,
    /// 404: the host names no domain or trunk.
    UnknownHost,
    /// 603: the account is suspended or closed.
    AccountInactive,
    /// 488, code 32209: the domain or a sips: URI asks for TLS, and the transport has none.
    NotSecure,
    /// 403, code 32200: nothing is mapped to the domain or trunk.
    NothingMapped,
    /// 403, code 32201: the source address is in no mapped list.
    AddressNotListed,
    /// 403, code 32202: the credentials are wrong. Nobody learns whether the user exists.
    WrongCredentials,
    /// As [`Self::WrongCredentials`], and answered the same: too many were tried to look at these.
    TooManyGuesses,
    /// 403: the From header names another user than the credentials.
    FromMismatch,
    /// 400: a credentials header for the realm cannot be read.
    MalformedCredentials(MalformedCredentials),
    /// 400: a response without qop, which the policy does not admit.
    QopMissing,
    /// 400: the digest-uri does not match the Request-URI as the policy asks.
    UriMismatch,
    /// 503: the snapshot is older than the program admits
    /// ([`Authorizer::refuse_from`](crate::Authorizer::refuse_from)).
    SnapshotStale,
    /// 400: more than eight credentials headers for the realm, or more than sixteen in all.
    TooManyCredentials,
}

impl Reason {
    /// The status code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::UnsupportedScheme => 416,
            Self::UnknownHost => 404,
            Self::SnapshotStale => 503,
            Self::AccountInactive => 603,
            Self::NotSecure => 488,
            Self::NothingMapped
            | Self::AddressNotListed
            | Self::WrongCredentials
            | Self::TooManyGuesses
            | Self::FromMismatch => 403,
            Self::BadRequestUri
            | Self::MalformedCredentials(_)
            | Self::QopMissing
            | Self::UriMismatch
            | Self::TooManyCredentials => 400,
        }
    }

    /// The reason phrase of the status (RFC 3261 §21).
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self.status() {
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            416 => "Unsupported URI Scheme",
            488 => "Not Acceptable Here",
            503 => "Service Unavailable",
            _ => "Decline",
        }
    }

    /// The number that the service this one is compatible with gives the reason, if it has one.
    #[must_use]
    pub fn code(self) -> Option<u16> {
        match self {
            Self::NothingMapped => Some(32_200),
            Self::AddressNotListed => Some(32_201),
            Self::WrongCredentials | Self::TooManyGuesses => Some(32_202),
            Self::NotSecure => Some(32_209),
            _ => None,
        }
    }

    /// The reason that the caller may be told. Beyond the limits on guessing it must look as if the
    /// credentials had been wrong; everything else is told as it is.
    #[must_use]
    pub fn as_told(self) -> Self {
        match self {
            Self::TooManyGuesses => Self::WrongCredentials,
            reason => reason,
        }
    }

    /// A stable text for logs and metrics, without values of the request. What is sent to the
    /// caller goes through [`Self::as_told`] first.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedScheme => "unsupported-scheme",
            Self::BadRequestUri => "bad-request-uri",
            Self::UnknownHost => "unknown-host",
            Self::AccountInactive => "account-inactive",
            Self::NotSecure => "not-secure",
            Self::NothingMapped => "nothing-mapped",
            Self::AddressNotListed => "address-not-listed",
            Self::WrongCredentials => "wrong-credentials",
            Self::TooManyGuesses => "too-many-guesses",
            Self::FromMismatch => "from-mismatch",
            Self::MalformedCredentials(_) => "malformed-credentials",
            Self::QopMissing => "qop-missing",
            Self::UriMismatch => "uri-mismatch",
            Self::TooManyCredentials => "too-many-credentials",
            Self::SnapshotStale => "snapshot-stale",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::MalformedCredentials(kind) => write!(f, " ({kind})"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_guessing_is_told_as_wrong_credentials() {
        let (limit, wrong) = (Reason::TooManyGuesses, Reason::WrongCredentials);
        assert_eq!(limit.as_told(), wrong);
        assert_eq!((limit.status(), limit.phrase()), (wrong.status(), wrong.phrase()));
        assert_eq!(limit.code(), wrong.code());
        assert_eq!(Reason::NothingMapped.as_told(), Reason::NothingMapped);
    }
}
