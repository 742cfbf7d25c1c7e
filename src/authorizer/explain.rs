//! Explains a decision step by step. It runs the same code as the hot path, with a [`Trace`] that
//! records the steps.

use std::fmt;
use std::net::IpAddr;

use crate::acl::Prefix;
use crate::decision::{Decision, UsedHeader};
use crate::digest::{Algorithm, Credentials, Freshness, MalformedCredentials, Qop};
use crate::invite::{CredentialsField, Transport};
use crate::model::rules::MAX_COPIES;
use crate::model::{AccountStatus, Target};
use crate::printable::escape_name;
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid,
};
use crate::snapshot::CredentialEntry;
use crate::uri::UriError;

/// A decision and the steps that led to it. `Display` prints one line for each step, with names
/// escaped as by [`escape_name`](crate::escape_name). The text contains addresses and user names; keep it out of logs that must not hold them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Checks in the order they ran.
    pub steps: Vec<Step>,
    /// The resulting decision.
    pub decision: Decision,
}

/// One check of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The snapshot is past the deadline of [`refuse_from`](crate::Authorizer::refuse_from).
    Stale,
    /// The Request-URI cannot be read.
    UnreadableUri {
        /// Its first defect.
        error: UriError,
    },
    /// No domain or trunk has the Request-URI's host.
    UnknownHost {
        /// The canonical host.
        host: String,
    },
    /// The Request-URI names no domain or trunk, but a host of
    /// [`Invite::with_domain_host`](crate::Invite::with_domain_host) does.
    DomainHost {
        /// The place of the host among those of the INVITE, from 0.
        index: usize,
        /// The canonical host.
        host: String,
    },
    /// A domain or trunk has the host that decides: the Request-URI's, or that of
    /// [`Step::DomainHost`].
    Named {
        /// The canonical host.
        host: String,
        /// The domain or trunk.
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
    /// TLS is required: the domain is secure or the URI scheme is sips.
    NeedsTls {
        /// The transport of the request.
        transport: Transport,
    },
    /// No list is mapped to the target for calls.
    NothingMapped,
    /// The source of the INVITE is unknown, so no mapped access list admits it.
    UnknownSource,
    /// The source address was looked up in a mapped access list.
    AccessList {
        /// The list.
        list: IpAccessControlListSid,
        /// The source address.
        source: IpAddr,
        /// The most specific entry that admits it.
        entry: Option<(IpAddressSid, Prefix)>,
    },
    /// The method was looked up in the policy. An INVITE that is admitted has no such step.
    Method {
        /// The method of the request.
        method: String,
        /// Whether the policy admits it.
        admitted: bool,
    },
    /// One check of a credentials header.
    Header(UsedHeader, HeaderStep),
    /// The flow has had too many answers with `stale=true` within a nonce lifetime, so this answer is
    /// a challenge without it.
    StaleLimit,
    /// From was compared with the authenticated user (`from_must_match`).
    From(FromOutcome),
}

/// Result of the comparison of From with the authenticated user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FromOutcome {
    /// From names the authenticated user.
    Matches,
    /// From is anonymous (RFC 3323 §4.1.1.3), which the policy admits.
    Anonymous,
    /// From names another user or none, or is malformed or absent.
    Differs,
}

/// One check of a credentials header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderStep {
    /// Ignored: another realm, not Digest, or unparsable before the realm.
    OtherRealm,
    /// Ignored: the realm matches, but the header cannot be parsed.
    Unreadable,
    /// Ignored: the nonce or the response is missing or empty.
    Incomplete,
    /// The nonce is live, but the header is malformed.
    Malformed(MalformedCredentials),
    /// The realm matches and the header is well-formed.
    Read {
        /// The claimed user name, or its hash.
        username: String,
        /// The algorithm.
        algorithm: Algorithm,
        /// Quality of protection; none for the RFC 2069 form.
        qop: Option<Qop>,
    },
    /// State of the nonce.
    Nonce(NonceState),
    /// A guess limit was reached; the digest is not verified.
    TooManyGuesses,
    /// The challenge did not offer the algorithm or qop.
    NotOffered,
    /// Several headers have the same algorithm; the one with the newest nonce is judged, of those with
    /// one nonce the last.
    AlgorithmTwice,
    /// The user was looked up in a mapped list and the response verified.
    List {
        /// The list.
        list: CredentialListSid,
        /// Result of the lookup and verification.
        outcome: UserOutcome,
    },
    /// The digest is right; the nonce and its count were checked.
    Admitted {
        /// Whether the nonce and its count can be used.
        fresh: bool,
    },
}

/// State of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonceState {
    /// Issued here for this source, host and offer, and within its lifetime.
    Live,
    /// Issued here for this source, host and offer, but past its lifetime.
    Expired,
    /// Not issued here for this source, host and offer.
    Foreign,
}

/// Result of looking a user up in one credential list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserOutcome {
    /// The list has no such user.
    Unknown,
    /// The user is disabled.
    Disabled(CredentialSid),
    /// The user has no hash for the algorithm.
    NoHash(CredentialSid),
    /// The digest is wrong.
    Wrong(CredentialSid),
    /// The digest is right.
    Right(CredentialSid),
    /// Not compared: more lists hold the name than a decision compares
    /// ([`MAX_COPIES`](crate::model::rules::MAX_COPIES)), and this list is not among the first.
    BeyondCopies(CredentialSid),
}

/// Receives the steps of a decision.
pub(super) trait Trace {
    /// Whether the decision uses up nonces and counts guesses.
    const COMMITS: bool;
    /// Whether the trace keeps steps: those of a decision that changes nothing.
    const KEEPS_STEPS: bool = !Self::COMMITS;

    /// Records a step; `make` runs only if the trace keeps steps.
    fn step(&mut self, make: impl FnOnce() -> Step);
}

/// The trace of the hot path: records nothing.
pub(super) struct NoTrace;

impl Trace for NoTrace {
    const COMMITS: bool = true;

    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

/// Records every step; the decision changes no state.
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
            Self::UnreadableUri { error } => write!(f, "Request-URI: {error}"),
            Self::UnknownHost { host } => {
                write!(f, "host: no domain or trunk has the name `{}`", escape_name(host))
            }
            Self::DomainHost { index, host } => {
                let (place, host) = (index + 1, escape_name(host));
                write!(
                    f,
                    "Request-URI: names no domain or trunk; domain host {place}, `{host}`, does"
                )
            }
            Self::Stale => f.write_str("snapshot: too long since it was last confirmed"),
            Self::Named { host, target, account } => {
                write!(f, "host: `{}` is {target} of {account}", escape_name(host))
            }
            Self::Account { account, status } => match status {
                Some(AccountStatus::Active) => write!(f, "account: {account} is active"),
                Some(AccountStatus::Suspended) => write!(f, "account: {account} is suspended"),
                Some(AccountStatus::Closed) => write!(f, "account: {account} is closed"),
                None => write!(f, "account: {account} does not exist"),
            },
            Self::NeedsTls { transport } => {
                let has = if transport.is_secure() { "is secure" } else { "is not" };
                write!(f, "transport: TLS is required, {transport:?} {has}")
            }
            Self::NothingMapped => f.write_str("lists: none is mapped, every call is rejected"),
            Self::UnknownSource => {
                f.write_str("access lists: the source is unknown, so none admits it")
            }
            Self::AccessList { list, source, entry } => match entry {
                Some((sid, prefix)) => {
                    write!(f, "access list {list}: {source} matches {prefix} ({sid})")
                }
                None => write!(f, "access list {list}: {source} matches no entry"),
            },
            Self::Method { method, admitted } => {
                let is = if *admitted { "is" } else { "is not" };
                write!(f, "method: `{}` {is} admitted", escape_name(method))
            }
            Self::Header(header, step) => write!(f, "{header}: {step}"),
            Self::StaleLimit => f.write_str(
                "flow: too many answers with stale=true, a challenge without it follows",
            ),
            Self::From(outcome) => f.write_str(match outcome {
                FromOutcome::Matches => "From: matches the authenticated user",
                FromOutcome::Anonymous => "From: is anonymous, which the policy admits",
                FromOutcome::Differs => "From: does not match the authenticated user",
            }),
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
            Self::Unreadable => f.write_str("cannot be parsed, ignored"),
            Self::Incomplete => f.write_str("without nonce or response, ignored"),
            Self::Malformed(kind) => write!(f, "malformed ({kind})"),
            Self::Read { username, algorithm, qop } => {
                let qop = qop.map_or("none", Qop::name);
                write!(f, "user `{}`, algorithm {algorithm}, qop {qop}", escape_name(username))
            }
            Self::Nonce(NonceState::Live) => f.write_str("the nonce is live"),
            Self::Nonce(NonceState::Expired) => f.write_str("the nonce has expired"),
            Self::Nonce(NonceState::Foreign) => {
                f.write_str("the nonce was not issued here for this source, host and offer")
            }
            Self::TooManyGuesses => f.write_str("too many wrong attempts, digest not verified"),
            Self::NotOffered => f.write_str("the algorithm or qop was not offered"),
            Self::AlgorithmTwice => {
                f.write_str("an earlier header has the same algorithm; the newest nonce counts")
            }
            Self::List { list, outcome } => match outcome {
                UserOutcome::Unknown => write!(f, "list {list}: no such user"),
                UserOutcome::Disabled(sid) => write!(f, "list {list}: {sid} is disabled"),
                UserOutcome::NoHash(sid) => {
                    write!(f, "list {list}: {sid} has no hash for the algorithm")
                }
                UserOutcome::Wrong(sid) => write!(f, "list {list}: {sid}, the digest is wrong"),
                UserOutcome::Right(sid) => write!(f, "list {list}: {sid}, the digest is right"),
                UserOutcome::BeyondCopies(sid) => write!(
                    f,
                    "list {list}: {sid} is not compared, {MAX_COPIES} other lists have the name"
                ),
            },
            Self::Admitted { fresh: true } => f.write_str("the nonce and its count are accepted"),
            Self::Admitted { fresh: false } => {
                f.write_str("the nonce or its count is used up or expired, a new challenge follows")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_message_stay_in_their_quotes_and_line() {
        let names = ["\u{1b}[1m\nforged", "a`, qop none\u{2028}", "\u{202e}\\", "alice"];
        let expected = [r"\u{1b}[1m\u{a}forged", r"a\`, qop none\u{2028}", r"\u{202e}\\", "alice"];
        for (name, expected) in names.into_iter().zip(expected) {
            let step = HeaderStep::Read {
                username: name.to_owned(),
                algorithm: Algorithm::Md5,
                qop: Some(Qop::Auth),
            };
            let text = format!("user `{expected}`, algorithm MD5, qop auth");
            assert_eq!(step.to_string(), text);
            let step = Step::UnknownHost { host: name.to_owned() };
            let text = format!("host: no domain or trunk has the name `{expected}`");
            assert_eq!(step.to_string(), text);
        }
    }
}
