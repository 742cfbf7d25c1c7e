//! Explains a decision step by step. It runs the same code as the hot path, with a [`Trace`] that
//! records the steps.

mod text;

use std::net::IpAddr;

use crate::acl::Prefix;
use crate::decision::{Cause, Decision, UsedHeader};
use crate::digest::{Algorithm, Credentials, Freshness, MalformedCredentials, Origin, Qop};
use crate::invite::{Invite, Transport};
use crate::model::{AccountStatus, Target};
use crate::sid::{
    AccountSid, CredentialListSid, CredentialSid, IpAccessControlListSid, IpAddressSid,
};
use crate::snapshot::{AccountEntry, CredentialEntry, Slot, TargetEntry};
use crate::uri::UriError;

/// A decision and the steps that led to it. `Display` prints one line for each step, with names
/// escaped as by [`escape_name`](crate::escape_name). The text contains addresses and user names; keep
/// it out of logs that must not hold them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Checks in the order they ran.
    pub steps: Vec<Step>,
    /// The resulting decision.
    pub decision: Decision,
    /// The number of the snapshot that decided; none past the deadline of
    /// [`refuse_from`](crate::Authorizer::refuse_from), and for [`Step::OtherProcess`].
    pub snapshot: Option<u64>,
}

/// How [`Authorizer::explain_with`](crate::Authorizer::explain_with) explains. The default is that of
/// [`Authorizer::explain`](crate::Authorizer::explain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainOptions {
    /// Whether guess limits hold for the explanation, and wrong digests take tokens of them. Set it if the
    /// asker chooses the message, because an explanation shows whether a password is right. Default:
    /// false.
    ///
    /// A digest is verified and counted whatever its nonce is. It counts for the name and for the source
    /// of the INVITE, as in a request. Beside that, each name has a limit of its own for all explanations,
    /// with the rate of [`GuessPolicy::pair`](crate::model::GuessPolicy::pair), because the asker also
    /// chooses the source. A retransmission of a request that was just refused counts for nothing.
    pub counts_guesses: bool,
    /// The account that asks. Domains and trunks of other accounts then do not exist: the explanation is
    /// that for an unknown host, and no guess counts. None, the default, sees all.
    pub account: Option<AccountSid>,
}

crate::setters! {
    ExplainOptions {
        with_counts_guesses: counts_guesses: bool,
        with_account: account: Option<AccountSid>,
    }
}

/// One check of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// This process did not create the authorizer.
    OtherProcess,
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
    /// A REGISTER: whether the target takes registrations.
    Registrations {
        /// Whether registrations are switched on; never at a trunk.
        enabled: bool,
        /// The number of lists that are mapped for registrations.
        lists: usize,
    },
    /// One check of a credentials header.
    Header(UsedHeader, HeaderStep),
    /// The flow has had too many answers with `stale=true` within a nonce lifetime, so this answer is
    /// a challenge without it.
    StaleLimit,
    /// From was compared with the authenticated user (`from_must_match`).
    From(FromOutcome),
    /// To of a REGISTER was compared with the authenticated user and the domain.
    To(ToOutcome),
}

/// Result of the comparison of From with the authenticated user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FromOutcome {
    /// From names the authenticated user.
    Matches,
    /// From is anonymous (RFC 3323 §4.1.1.3), which the policy admits.
    Anonymous,
    /// From names another user or none.
    Differs,
    /// From is anonymous, which the policy does not admit.
    AnonymousRefused,
    /// From is absent, malformed, or no SIP or SIPS URI.
    Unreadable,
}

/// Result of the comparison of To of a REGISTER with the authenticated user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToOutcome {
    /// To names the authenticated user at this domain, as
    /// [`register_as`](crate::model::Policy::register_as) writes it.
    Matches,
    /// To names a user at this domain that a permission `register=` of the caller's role admits.
    Permitted,
    /// To names this domain and another user or none.
    OtherUser,
    /// To names another host than the one that names the domain.
    OtherDomain,
    /// To is absent, malformed, no SIP or SIPS URI, or has a password.
    Unreadable,
}

/// One check of a credentials header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderStep {
    /// Ignored: the scheme is not Digest.
    NotDigest,
    /// Ignored: another realm, or unparsable before the realm.
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
    /// A guess limit was reached, which the cause names; the digest is not verified.
    TooManyGuesses(Cause),
    /// The challenge did not offer the algorithm, the qop or a hashed user name; the cause says which.
    NotOffered(Cause),
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
    /// The digest is right, and the nonce and its count can be used.
    Admitted,
    /// The digest is right, but the nonce or its count cannot be used, for this cause.
    NotAdmitted(Cause),
}

/// State of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonceState {
    /// Issued here for this source, host and offer, and within its lifetime.
    Live,
    /// Issued here for this source, host and offer, but past its lifetime.
    Expired,
    /// Another server's: it does not have the form of nonces of this program.
    OfOtherServer,
    /// Issued by another process or before a restart, or made up.
    OfOtherProcess,
    /// Issued by this process for another source, host, realm or offer, or made up.
    OfOtherBinding,
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
    /// Whether the decision uses up nonces, and keeps proofs and retransmissions.
    const COMMITS: bool;
    /// Whether wrong digests take tokens of the guess limits.
    const COUNTS_GUESSES: bool = Self::COMMITS;
    /// Whether the trace keeps steps: those of an explanation.
    const KEEPS_STEPS: bool = !Self::COMMITS;
    /// Whether the trace is that of an explanation whose asker must not learn a password by trying:
    /// guess limits hold also for a digest that a decision does not verify.
    const LIMITS_ASKER: bool = Self::KEEPS_STEPS && Self::COUNTS_GUESSES;

    /// Whether a domain or trunk exists for the asker of an explanation.
    #[inline(always)]
    fn sees(&self, _: &TargetEntry) -> bool {
        true
    }

    /// Records a step; `make` runs only if the trace keeps steps.
    fn step(&mut self, make: impl FnOnce() -> Step);
}

/// The trace of the hot path: records nothing.
pub(super) struct NoTrace;

impl Trace for NoTrace {
    const COMMITS: bool = true;

    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

/// Records every step. Uses up no nonce; wrong digests take tokens of the guess limits if `COUNTS`.
pub(super) struct Steps<const COUNTS: bool> {
    steps: Vec<Step>,
    view: View,
}

/// The domains and trunks that an asker sees.
#[derive(Clone, Copy)]
pub(super) enum View {
    /// All.
    All,
    /// Those of an account; none of an account that the snapshot does not have.
    Account(Option<Slot<AccountEntry>>),
}

impl<const COUNTS: bool> Steps<COUNTS> {
    pub(super) fn new(view: View) -> Self {
        Self { steps: Vec::new(), view }
    }

    pub(super) fn into_vec(self) -> Vec<Step> {
        self.steps
    }
}

impl<const COUNTS: bool> Trace for Steps<COUNTS> {
    const COMMITS: bool = false;
    const COUNTS_GUESSES: bool = COUNTS;

    fn sees(&self, entry: &TargetEntry) -> bool {
        match self.view {
            View::All => true,
            View::Account(account) => account == Some(entry.account),
        }
    }

    fn step(&mut self, make: impl FnOnce() -> Step) {
        self.steps.push(make());
    }
}

impl Step {
    /// The lookup of a method other than INVITE, or of one that is not admitted.
    pub(super) fn of_method(invite: &Invite<'_>, entry: &TargetEntry, admitted: bool) -> Self {
        if invite.method.is_register() {
            let (enabled, lists) = (entry.registers, entry.registrations.len());
            return Self::Registrations { enabled, lists };
        }
        Self::Method { method: invite.method().to_owned(), admitted }
    }
}

impl Step {
    /// Whether the request passed this check; none for a step that decides nothing.
    ///
    /// An accept can have steps that failed: one of several lists has the source or the user, and one of
    /// several credentials headers is right.
    #[must_use]
    pub fn passed(&self) -> Option<bool> {
        match self {
            Self::OtherProcess
            | Self::Stale
            | Self::UnreadableUri { .. }
            | Self::UnknownHost { .. }
            | Self::NothingMapped
            | Self::UnknownSource
            | Self::StaleLimit => Some(false),
            Self::DomainHost { .. } => None,
            Self::Named { .. } => Some(true),
            Self::Account { status, .. } => Some(*status == Some(AccountStatus::Active)),
            Self::NeedsTls { transport } => Some(transport.is_secure()),
            Self::AccessList { entry, .. } => Some(entry.is_some()),
            Self::Method { admitted, .. } => Some(*admitted),
            Self::Registrations { enabled, lists } => Some(*enabled && *lists > 0),
            Self::Header(_, step) => step.passed(),
            Self::From(outcome) => {
                Some(matches!(outcome, FromOutcome::Matches | FromOutcome::Anonymous))
            }
            Self::To(outcome) => Some(matches!(outcome, ToOutcome::Matches | ToOutcome::Permitted)),
        }
    }
}

impl HeaderStep {
    /// Whether the header passed this check; none for a step that decides nothing, as
    /// [`Step::passed`].
    #[must_use]
    pub fn passed(&self) -> Option<bool> {
        match self {
            Self::NotDigest | Self::OtherRealm | Self::Read { .. } | Self::AlgorithmTwice => None,
            Self::Nonce(state) => Some(*state == NonceState::Live),
            Self::List { outcome, .. } => Some(matches!(outcome, UserOutcome::Right(_))),
            Self::Admitted => Some(true),
            Self::Unreadable
            | Self::Incomplete
            | Self::Malformed(_)
            | Self::TooManyGuesses(_)
            | Self::NotOffered(_)
            | Self::NotAdmitted(_) => Some(false),
        }
    }

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
            Freshness::Foreign(Origin::Server) => Self::OfOtherServer,
            Freshness::Foreign(Origin::Process) => Self::OfOtherProcess,
            Freshness::Foreign(Origin::Binding) => Self::OfOtherBinding,
        }
    }
}
