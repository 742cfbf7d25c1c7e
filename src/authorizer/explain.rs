//! The same decision, told step by step for people. Off the hot path: an [`Authorizer`] walks the
//! one path for both, and only this side keeps what it sees.
//!
//! [`Authorizer`]: crate::Authorizer

use std::fmt;
use std::net::IpAddr;

use crate::acl::Prefix;
use crate::decision::{Decision, UsedHeader};
use crate::digest::{Algorithm, Credentials, Freshness, MalformedCredentials, Qop};
use crate::invite::{CredentialsField, Transport};
use crate::model::{AccountStatus, Target};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid,
};
use crate::snapshot::CredentialEntry;

/// A decision and how it came about. Its `Display` is one line for each step; it names addresses
/// and user names, so it is not for logs that may not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// What was looked at, in order.
    pub steps: Vec<Step>,
    /// What came of it.
    pub decision: Decision,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The snapshot is too old to decide by.
    Stale,
    /// The Request-URI's host names nothing.
    UnknownHost {
        /// The host, in the form hosts are compared in.
        host: String,
    },
    /// The Request-URI's host names a domain or trunk.
    Named {
        /// The host, in the form hosts are compared in.
        host: String,
        /// What it names.
        target: Target,
        /// The owner.
        account: AccountSid,
    },
    /// The owner's status.
    Account {
        /// The owner.
        account: AccountSid,
        /// Its status.
        status: Option<AccountStatus>,
    },
    /// The domain is secure or the URI is sips:.
    NeedsTls {
        /// How the request came.
        transport: Transport,
    },
    /// No list is mapped for calls.
    NothingMapped,
    /// A mapped access list was asked for the source address.
    AccessList {
        /// The list.
        list: IpAccessControlListSid,
        /// The source address.
        source: IpAddr,
        /// The most specific entry that admits it.
        entry: Option<(IpAddressSid, Prefix)>,
    },
    /// A credentials header was looked at.
    Header(UsedHeader, HeaderStep),
    /// From was compared with the authenticated user.
    From {
        /// Whether they are the same.
        matches: bool,
    },
}

/// One thing about a credentials header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderStep {
    /// It is for another realm, cannot be read as far as the realm, or is no digest.
    OtherRealm,
    /// Nonce and response are empty: as good as no header.
    Empty,
    /// It is for our realm and malformed.
    Malformed(MalformedCredentials),
    /// It is for our realm and well-formed.
    Read {
        /// The claimed user name, or its hash.
        username: String,
        /// The algorithm.
        algorithm: Algorithm,
        /// The quality of protection; none is the form of RFC 2069.
        qop: Option<Qop>,
    },
    /// What its nonce is worth.
    Nonce(NonceState),
    /// Too many wrong attempts came before; the digest is not looked at.
    TooManyGuesses,
    /// The algorithm or qop was not offered.
    NotOffered,
    /// A mapped list was asked for the user, and the response verified.
    List {
        /// The list.
        list: CredentialListSid,
        /// What was found.
        outcome: UserOutcome,
    },
    /// The digest is right; whether the nonce and its count were too.
    Admitted {
        /// Whether they were.
        fresh: bool,
    },
}

/// What a nonce is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonceState {
    /// Issued here for this source, host and offer, within its lifetime.
    Live,
    /// Issued here, too long ago.
    Expired,
    /// Not issued here for this source, host and offer.
    Foreign,
}

/// What a list says of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserOutcome {
    /// The user is not in it.
    Unknown,
    /// The user is in it, and disabled.
    Disabled(CredentialSid),
    /// The user is in it, without a hash for the algorithm.
    NoHash(CredentialSid),
    /// The user is in it, and the digest is wrong.
    Wrong(CredentialSid),
    /// The user is in it, and the digest is right.
    Right(CredentialSid),
}

/// Where the steps of a decision go.
pub(super) trait Trace {
    /// Whether the decision uses nonces up and counts guesses.
    const COMMITS: bool;

    /// Takes a step; `make` is called only if someone wants to know.
    fn step(&mut self, make: impl FnOnce() -> Step);
}

/// Nobody wants to know: this is the hot path.
pub(super) struct NoTrace;

impl Trace for NoTrace {
    const COMMITS: bool = true;

    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

/// Keeps every step, and changes nothing.
#[derive(Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    pub(super) fn into_vec(self) -> Vec<Step> {
        self.0
    }
}

impl Trace for Steps {
    const COMMITS: bool = false;

    fn step(&mut self, make: impl FnOnce() -> Step) {
        self.0.push(make());
    }
}

impl HeaderStep {
    pub(super) fn read(credentials: &Credentials<'_>) -> Self {
        Self::Read {
            username: credentials.username.as_str().to_owned(),
            algorithm: credentials.algorithm,
            qop: credentials.qop.map(|fields| fields.qop),
        }
    }

    pub(super) fn list(
        list: CredentialListSid,
        found: Option<&CredentialEntry>,
        algorithm: Algorithm,
        right: bool,
    ) -> Self {
        let outcome = match found {
            None => UserOutcome::Unknown,
            Some(user) if user.disabled => UserOutcome::Disabled(user.sid),
            Some(user) if !user.ha1.has(algorithm.hash_function()) => UserOutcome::NoHash(user.sid),
            Some(user) if right => UserOutcome::Right(user.sid),
            Some(user) => UserOutcome::Wrong(user.sid),
        };
        Self::List { list, outcome }
    }
}

impl From<Freshness> for NonceState {
    fn from(freshness: Freshness) -> Self {
        match freshness {
            Freshness::Live(_) => Self::Live,
            Freshness::Expired(_) => Self::Expired,
            Freshness::Foreign => Self::Foreign,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        match &self.decision {
            Decision::Accept(accept) => {
                let again = if accept.repeat { " (a retransmission)" } else { "" };
                write!(f, "decision: accept{again}")
            }
            Decision::Challenge(challenge) => {
                let stale = if challenge.stale { ", stale=true" } else { "" };
                write!(f, "decision: challenge {}{stale}", challenge.status())
            }
            Decision::Reject(reject) => {
                write!(f, "decision: reject {} {}", reject.reason.status(), reject.reason)?;
                reject.reason.code().map_or(Ok(()), |code| write!(f, ", code {code}"))
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host } => {
                write!(f, "host: `{host}` names no domain and no trunk")
            }
            Self::Stale => f.write_str("snapshot: nobody has confirmed it for too long"),
            Self::Named { host, target, account } => {
                write!(f, "host: `{host}` names {target} of {account}")
            }
            Self::Account { account, status } => match status {
                Some(AccountStatus::Active) => write!(f, "account: {account} is active"),
                Some(AccountStatus::Suspended) => write!(f, "account: {account} is suspended"),
                Some(AccountStatus::Closed) => write!(f, "account: {account} is closed"),
                None => write!(f, "account: {account} does not exist"),
            },
            Self::NeedsTls { transport } => {
                let has = if transport.is_secure() { "has it" } else { "has none" };
                write!(f, "transport: TLS is asked for, {transport:?} {has}")
            }
            Self::NothingMapped => f.write_str("lists: none is mapped, so nobody may pass"),
            Self::AccessList { list, source, entry } => match entry {
                Some((sid, prefix)) => {
                    write!(f, "access list {list}: {source} matches {prefix} ({sid})")
                }
                None => write!(f, "access list {list}: {source} matches no entry"),
            },
            Self::Header(header, step) => write!(f, "{header}: {step}"),
            Self::From { matches: true } => f.write_str("From: names the authenticated user"),
            Self::From { matches: false } => f.write_str("From: names another user"),
        }
    }
}

impl fmt::Display for UsedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.field {
            CredentialsField::Authorization => "Authorization",
            CredentialsField::ProxyAuthorization => "Proxy-Authorization",
        };
        write!(f, "{name} ({})", self.index + 1)
    }
}

impl fmt::Display for HeaderStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherRealm => f.write_str("not digest credentials for this realm, ignored"),
            Self::Empty => f.write_str("nonce and response are empty, as good as none"),
            Self::Malformed(kind) => write!(f, "malformed ({kind})"),
            Self::Read { username, algorithm, qop } => {
                let qop = qop.map_or("none", Qop::name);
                write!(f, "user `{username}`, algorithm {algorithm}, qop {qop}")
            }
            Self::Nonce(NonceState::Live) => f.write_str("the nonce is live"),
            Self::Nonce(NonceState::Expired) => f.write_str("the nonce has expired"),
            Self::Nonce(NonceState::Foreign) => {
                f.write_str("the nonce was not issued here for this source, host and offer")
            }
            Self::TooManyGuesses => f.write_str("too many wrong attempts, not looked at"),
            Self::NotOffered => f.write_str("the algorithm or qop was not offered"),
            Self::List { list, outcome } => match outcome {
                UserOutcome::Unknown => write!(f, "list {list}: no such user"),
                UserOutcome::Disabled(sid) => write!(f, "list {list}: {sid} is disabled"),
                UserOutcome::NoHash(sid) => {
                    write!(f, "list {list}: {sid} has no hash for the algorithm")
                }
                UserOutcome::Wrong(sid) => write!(f, "list {list}: {sid}, the digest is wrong"),
                UserOutcome::Right(sid) => write!(f, "list {list}: {sid}, the digest is right"),
            },
            Self::Admitted { fresh: true } => f.write_str("nonce and count are admitted"),
            Self::Admitted { fresh: false } => {
                f.write_str("nonce or count cannot be used (again), a new challenge is due")
            }
        }
    }
}
