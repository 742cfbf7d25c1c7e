//! Judges each credentials of an INVITE by themselves; the best verdict wins.
//!
//! The nonce comes first. Credentials whose nonce is not live are not judged further: nothing is
//! verified, so they reveal nothing and count for nothing.

mod blame;
mod form;
mod guesses;
mod names;
mod verify;

use std::cell::OnceCell;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;

pub(super) use blame::Blame;
pub(super) use form::offers;
use verify::Verified;
pub(super) use verify::{Checked, Claim};

use super::State;
use super::explain::{HeaderStep, Step, Trace};
use crate::decision::{Cause, CredentialMatch, Reason, UsedHeader};
use crate::digest::{
    Admission, Binding, Body, Credentials, Freshness, GuessRate, Insertion, MalformedCredentials,
    Nonce, Origin, Parsed, StaleFlow, is_digest, parse, parse_fast, split, username,
};
use crate::invite::{CredentialsField, Invite};
use crate::model::{Policy, Realm};
use crate::sid::{AccountSid, CredentialListSid};
use crate::snapshot::{CredentialEntry, MappedList, RoleEntry, Slot, Snapshot, TargetEntry};
use crate::uri::SipUri;

/// Maximum number of credentials for our realm, those with a dead nonce included. A client that
/// answers every challenge sends one for each algorithm; of these, each algorithm is judged once.
const MAX_CREDENTIALS: usize = 8;

/// The longest body, in bytes, that is hashed for one of several judged headers (`auth-int`). A longer
/// one is hashed if its header is the only one, so that a request does not cost several hashes of it.
const MAX_SHARED_BODY: usize = 4_096;

/// Number of `stale=true` answers to one flow at one target within a nonce lifetime. A client whose
/// next request never has a live nonce, for example behind a load balancer that spreads packets,
/// would otherwise retry for ever.
const MAX_STALE_ANSWERS: NonZeroU32 = NonZeroU32::new(8).unwrap();

/// An INVITE for a target with credential lists, and the context to judge it in.
pub(super) struct Judge<'s, 'r, 'i> {
    pub(super) state: &'s State,
    pub(super) snapshot: &'s Snapshot,
    pub(super) entry: &'s TargetEntry,
    /// The account of the target.
    pub(super) account: AccountSid,
    pub(super) policy: &'s Policy,
    pub(super) realm: &'s Realm,
    /// Canonical host that names the target.
    pub(super) host: &'r str,
    /// Canonical host of the Request-URI; empty if it has none.
    pub(super) uri_host: &'r str,
    /// None for a URI without a host, such as `tel:`.
    pub(super) request_uri: Option<&'r SipUri<'r>>,
    pub(super) invite: &'r Invite<'i>,
    pub(super) now_ms: u64,
    /// The body of the message, for `auth-int`.
    pub(super) body: Body<'r>,
    /// The fingerprint of the message, once it is needed.
    pub(super) fingerprint: OnceCell<Option<u128>>,
}

/// Verdict on all credentials headers together.
pub(super) enum Verdict<'s> {
    /// The user proved knowledge of the password, with an unused nonce and count or by a
    /// retransmission.
    Proved(Proved<'s>),
    /// No credentials have our realm, or they answer no challenge.
    NoCredentials(Cause),
    /// Challenge with `stale=true`: the digest is right, but the nonce count was used before, or the
    /// nonce is not live.
    Stale(Blame),
    /// The nonce is not live, and nothing was verified: challenge with `stale=true`.
    NotLive(DeadNonce),
    /// Wrong credentials: reject or challenge, as the policy says.
    Wrong(Reason, Blame),
    /// Reject with this reason under any policy.
    Refused(Reason, Blame),
}

impl Verdict<'_> {
    /// Notes credentials that count as none.
    fn ignore(&mut self, cause: Cause) {
        if let Self::NoCredentials(held) = self {
            *held = cause.max(*held);
        }
    }

    /// The best of several verdicts has the highest rank.
    fn rank(&self) -> u8 {
        match self {
            Self::NoCredentials(_) => 0,
            Self::Wrong(..) => 1,
            Self::NotLive(_) => 2,
            Self::Stale(_) => 3,
            Self::Proved(_) | Self::Refused(..) => 4,
        }
    }
}

/// Why a nonce is not live. The order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DeadNonce {
    /// Not issued here for this binding. Anyone can make one up.
    Foreign(Origin),
    /// Issued here for this binding, and too old. Only a caller that was challenged has one.
    Expired,
}

impl DeadNonce {
    fn of(freshness: Freshness) -> Self {
        match freshness {
            Freshness::Foreign(origin) => Self::Foreign(origin),
            Freshness::Expired(_) | Freshness::Live(_) => Self::Expired,
        }
    }

    pub(super) fn cause(self) -> Cause {
        match self {
            Self::Foreign(Origin::Server) => Cause::NonceMalformed,
            Self::Foreign(Origin::Process) => Cause::NonceOfOtherProcess,
            Self::Foreign(Origin::Binding) => Cause::NonceOfOtherBinding,
            Self::Expired => Cause::NonceExpired,
        }
    }
}

/// Proof of a verified digest with an admitted nonce. The fields are private and only
/// [`Judge::admit`] creates one, so an accept cannot bypass the checks.
#[derive(Clone, Copy)]
pub(super) struct Proved<'s> {
    list: CredentialListSid,
    mapped: MappedList,
    credential: &'s CredentialEntry,
    header: UsedHeader,
    repeat: bool,
}

impl Proved<'_> {
    pub(super) fn into_match(self) -> CredentialMatch {
        CredentialMatch {
            list: self.list,
            credential: self.credential.sid,
            // the buffer holds the longest user name
            username: username(self.credential.username.as_bytes()).unwrap_or_default(),
            header: self.header,
        }
    }

    pub(super) fn is_repeat(&self) -> bool {
        self.repeat
    }

    /// The user's role and the role of the list mapping.
    pub(super) fn roles(&self) -> [Option<Slot<RoleEntry>>; 2] {
        [self.credential.role, self.mapped.role]
    }
}

/// Batch results for an INVITE with one set of credentials. The [`Judge`] computes the same without
/// them.
#[derive(Clone, Copy)]
pub(super) struct Precomputed<'x, 's, 'i> {
    /// The parsed header.
    pub(super) credentials: &'x Credentials<'i>,
    pub(super) freshness: Freshness,
    /// Result of the mapped list, if there is only one.
    pub(super) checked: Option<Checked<'s>>,
}

/// The refusal of malformed credentials.
fn malformed(defect: MalformedCredentials) -> (Reason, Blame) {
    (Reason::MalformedCredentials(defect), Blame::of(Cause::MalformedCredentials))
}

/// Credentials that are judged: their nonce is live, or they repeat an accepted request.
#[derive(Clone)]
struct Attempt<'i> {
    /// The place among the credentials of the request for our realm.
    number: usize,
    header: UsedHeader,
    credentials: Credentials<'i>,
    freshness: Freshness,
}

impl<'s, 'i> Judge<'s, '_, 'i> {
    pub(super) fn judge<T: Trace>(
        &self,
        precomputed: Option<Precomputed<'_, 's, 'i>>,
        trace: &mut T,
    ) -> Verdict<'s> {
        let verdict = match self.invite.credentials() {
            _ if self.invite.has_too_many_credentials() => {
                Verdict::Refused(Reason::TooManyCredentials, Blame::of(Cause::TooManyHeaders))
            }
            [] => Verdict::NoCredentials(Cause::NoCredentials),
            [(field, value)] => {
                let header = UsedHeader { field: *field, index: 0, index_of_name: 0 };
                if let Some(Precomputed { credentials, freshness, checked }) = precomputed {
                    self.judge_only(header, credentials, freshness, checked, trace)
                } else if let Some(credentials) = &parse_fast(value, self.realm.as_str()) {
                    let freshness = self.freshness(credentials.nonce);
                    self.judge_only(header, credentials, freshness, None, trace)
                } else {
                    self.judge_several(trace)
                }
            }
            _ => self.judge_several(trace),
        };
        match verdict {
            Verdict::Proved(proved) => match self.check_from(proved, trace) {
                Verdict::Proved(proved) if self.invite.method.is_register() => {
                    self.check_to(proved, trace)
                }
                verdict => verdict,
            },
            Verdict::NotLive(nonce) => self.answer_stale(nonce, trace),
            verdict => verdict,
        }
    }

    /// Judges an INVITE with one set of well-formed credentials.
    fn judge_only<T: Trace>(
        &self,
        header: UsedHeader,
        credentials: &Credentials<'i>,
        freshness: Freshness,
        checked: Option<Checked<'s>>,
        trace: &mut T,
    ) -> Verdict<'s> {
        if !self.is_judged(0, header, freshness, trace) {
            self.explain_further(0, header, Ok(credentials), trace);
            return Verdict::NotLive(DeadNonce::of(freshness));
        }
        if let Err((reason, blame)) = self.check_form(header, credentials, trace) {
            return Verdict::Refused(reason, blame);
        }
        self.judge_one(0, header, credentials, freshness, checked, trace)
    }

    /// Judges any number of credentials and returns the best verdict. It parses all before it
    /// judges one, so a parse rejection reveals nothing about users.
    fn judge_several<T: Trace>(&self, trace: &mut T) -> Verdict<'s> {
        let mut attempts = ArrayVec::<Attempt<'_>, MAX_CREDENTIALS>::new();
        let (mut best, mut ours) = (Verdict::NoCredentials(Cause::NoCredentials), 0);
        let (mut authorizations, mut proxy_authorizations) = (0, 0);
        for (index, (field, value)) in self.invite.credentials().iter().enumerate() {
            let of_name = match field {
                CredentialsField::Authorization => &mut authorizations,
                CredentialsField::ProxyAuthorization => &mut proxy_authorizations,
            };
            let header = UsedHeader { field: *field, index, index_of_name: *of_name };
            *of_name += 1;
            for value in split(value) {
                let parsed = parse(value, self.realm.as_str());
                let (nonce, read) = match parsed {
                    Parsed::Ignored if !is_digest(value) => {
                        best.ignore(Cause::NotDigest);
                        trace.step(|| Step::Header(header, HeaderStep::NotDigest));
                        continue;
                    }
                    Parsed::Ignored => {
                        best.ignore(Cause::OtherRealm);
                        trace.step(|| Step::Header(header, HeaderStep::OtherRealm));
                        continue;
                    }
                    Parsed::Unreadable => {
                        best.ignore(Cause::UnreadableCredentials);
                        trace.step(|| Step::Header(header, HeaderStep::Unreadable));
                        continue;
                    }
                    Parsed::Incomplete => {
                        best.ignore(Cause::IncompleteCredentials);
                        trace.step(|| Step::Header(header, HeaderStep::Incomplete));
                        continue;
                    }
                    Parsed::Malformed { nonce, defect } => (nonce, Err(defect)),
                    Parsed::Credentials(credentials) => (credentials.nonce, Ok(credentials)),
                };
                let number = ours;
                ours += 1;
                if ours > MAX_CREDENTIALS {
                    let blame = Blame::of(Cause::TooManyCredentials);
                    return Verdict::Refused(Reason::TooManyCredentials, blame);
                }
                let freshness = self.freshness(nonce);
                if !self.is_judged(number, header, freshness, trace) {
                    self.explain_further(number, header, read.as_ref(), trace);
                    let dead = DeadNonce::of(freshness);
                    best = Verdict::NotLive(match best {
                        Verdict::NotLive(other) => dead.max(other),
                        _ => dead,
                    });
                    continue;
                }
                let credentials = match read {
                    Ok(credentials) => credentials,
                    Err(defect) => {
                        trace.step(|| Step::Header(header, HeaderStep::Malformed(defect)));
                        let (reason, blame) = malformed(defect);
                        return Verdict::Refused(reason, blame);
                    }
                };
                if let Err((reason, blame)) = self.check_form(header, &credentials, trace) {
                    return Verdict::Refused(reason, blame);
                }
                let attempt = Attempt { number, header, credentials, freshness };
                let same = |other: &&mut Attempt<'_>| {
                    other.credentials.algorithm == attempt.credentials.algorithm
                };
                // a client that keeps older credentials adds the newest at the end, or with the newest
                // nonce
                if let Some(other) = attempts.iter_mut().find(same) {
                    trace.step(|| Step::Header(header, HeaderStep::AlgorithmTwice));
                    if attempt.freshness.stamp() >= other.freshness.stamp() {
                        *other = attempt;
                    }
                } else {
                    // there are at most as many as were counted
                    let _ = attempts.try_push(attempt);
                }
            }
        }
        if self.invite.body().len() > MAX_SHARED_BODY
            && attempts.len() > 1
            && attempts.iter().any(|attempt| attempt.credentials.covers_body())
        {
            let blame = Blame::of(Cause::TooManyBodyHashes);
            return Verdict::Refused(Reason::TooManyCredentials, blame);
        }
        let mut wrong = ArrayVec::<_, MAX_CREDENTIALS>::new();
        for Attempt { number, header, credentials, freshness, .. } in &attempts {
            let verdict = self.judge_one(*number, *header, credentials, *freshness, None, trace);
            match &verdict {
                Verdict::Proved(proved) => {
                    if T::COUNTS_GUESSES && !proved.repeat {
                        self.forgive::<T>(credentials, &wrong);
                    }
                    return verdict;
                }
                // `wrong` has room for every attempt
                Verdict::Wrong(Reason::WrongCredentials, _) => _ = wrong.try_push(credentials),
                _ => {}
            }
            let is_better = verdict.rank() > best.rank();
            match (&mut best, &verdict) {
                (Verdict::Wrong(reason, held), Verdict::Wrong(other, blame)) if reason == other => {
                    held.raise(blame);
                }
                _ if is_better => best = verdict,
                _ => {}
            }
        }
        best
    }

    #[inline(always)]
    pub(super) fn freshness(&self, nonce: &[u8]) -> Freshness {
        let lifetime = self.policy.nonce_lifetime;
        self.state.nonces.open(nonce, self.now_ms, lifetime, &self.binding())
    }

    /// Whether credentials with such a nonce are judged: it is live, or has expired and the request
    /// repeats an accepted one.
    fn is_judged<T: Trace>(
        &self,
        number: usize,
        header: UsedHeader,
        freshness: Freshness,
        trace: &mut T,
    ) -> bool {
        trace.step(|| Step::Header(header, HeaderStep::Nonce(freshness.into())));
        match freshness {
            Freshness::Live(_) => true,
            Freshness::Expired(_) => self.repeats(number),
            Freshness::Foreign(_) => {
                if T::COMMITS {
                    self.state.counters.foreign_nonces.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
        }
    }

    /// Adds to an explanation what credentials with a dead nonce would have come to. The decision
    /// does not use it, and a call that decides computes nothing here.
    fn explain_further<T: Trace>(
        &self,
        number: usize,
        header: UsedHeader,
        read: Result<&Credentials<'i>, &MalformedCredentials>,
        trace: &mut T,
    ) {
        if !T::KEEPS_STEPS {
            return;
        }
        match read {
            Ok(credentials) => {
                if self.check_form(header, credentials, trace).is_ok() {
                    self.explain_dead(number, header, credentials, trace);
                }
            }
            Err(defect) => trace.step(|| Step::Header(header, HeaderStep::Malformed(*defect))),
        }
    }

    /// The answer to credentials whose nonce is not live: a challenge with `stale=true`, unless this
    /// flow has had too many of them for this target.
    ///
    /// The policy of another target sets another rate, and a made-up nonce can come from a forged
    /// source. So neither of them uses up the answers to a nonce that was issued for this target.
    fn answer_stale<T: Trace>(&self, nonce: DeadNonce, trace: &mut T) -> Verdict<'s> {
        let lifetime_ms = self.policy.nonce_lifetime.saturating_mul(1_000);
        let refill_ms = NonZeroU32::new(lifetime_ms / MAX_STALE_ANSWERS);
        let refill_ms = refill_ms.unwrap_or(NonZeroU32::MIN);
        let rate = GuessRate { burst: MAX_STALE_ANSWERS, refill_ms };
        let flow = StaleFlow {
            source: self.invite.source(),
            target: self.target_sid(),
            was_issued: nonce == DeadNonce::Expired,
        };
        if !self.state.stale_answers.allows(flow, rate, self.now_ms, T::COMMITS) {
            trace.step(|| Step::StaleLimit);
            return Verdict::NoCredentials(Cause::StaleLimit);
        }
        Verdict::Stale(Blame::of(nonce.cause()))
    }

    /// The values that a nonce of this target is bound to.
    #[inline(always)]
    pub(super) fn binding(&self) -> Binding<'_> {
        let source = self.invite.source().ip();
        Binding {
            host: self.host,
            realm: self.realm.as_str(),
            offer: TargetEntry::offer_code(self.policy),
            source: self.policy.bind_source.then(|| source.to_canonical()),
        }
    }

    fn judge_one<T: Trace>(
        &self,
        number: usize,
        header: UsedHeader,
        credentials: &Credentials<'i>,
        freshness: Freshness,
        checked: Option<Checked<'s>>,
        trace: &mut T,
    ) -> Verdict<'s> {
        if let Some(fingerprint) = self.fingerprint(number) {
            self.state.accepted.prefetch(fingerprint);
        }
        let budget = OnceCell::new();
        let budget = || budget.get_or_init(|| self.budget::<T>(&credentials.username));
        let guesses = &self.state.guesses;
        let mut flow = None;
        // other clients' guesses must not block a retransmission of an accepted request, which is no
        // guess, nor a flow that proved the password, which has a bucket of its own
        if guesses.may_be_over(self.account.as_bytes(), self.now_ms)
            && let Some(limit) = self.limit_reached(budget())
            && !self.repeats(number)
        {
            flow = self.flow_budget(credentials);
            // the asker of an explanation chooses its flow
            let asked_too_often =
                T::LIMITS_ASKER && self.is_over(&self.asked_bucket(&credentials.username));
            if asked_too_often || flow.is_none_or(|bucket| self.is_over(&bucket)) {
                trace.step(|| Step::Header(header, HeaderStep::TooManyGuesses(limit)));
                if T::COMMITS {
                    self.state.counters.guesses_refused.fetch_add(1, Ordering::Relaxed);
                }
                return Verdict::Wrong(Reason::TooManyGuesses, Blame::of(limit));
            }
        }
        let verified = match self.verify(header, credentials, checked, trace) {
            Ok(verified) => verified,
            Err(blame) => {
                if matches!(freshness, Freshness::Live(_)) {
                    self.count_wrong::<T>(budget().iter().chain(&flow), number);
                }
                return Verdict::Wrong(Reason::WrongCredentials, blame);
            }
        };
        let verdict = self.admit::<T>(number, header, credentials, freshness, &verified);
        if let Verdict::Proved(Proved { repeat: false, credential, .. }) = &verdict
            && T::COMMITS
        {
            self.prove(credential.sid);
        }
        trace.step(|| {
            let step = match &verdict {
                Verdict::Stale(blame) => HeaderStep::NotAdmitted(blame.cause()),
                Verdict::NotLive(nonce) => HeaderStep::NotAdmitted(nonce.cause()),
                _ => HeaderStep::Admitted,
            };
            Step::Header(header, step)
        });
        verdict
    }

    /// Uses up the nonce count of a verified response. Only this function creates a [`Proved`].
    fn admit<T: Trace>(
        &self,
        number: usize,
        header: UsedHeader,
        credentials: &Credentials<'_>,
        freshness: Freshness,
        verified: &Verified<'s>,
    ) -> Verdict<'s> {
        let proved = |repeat| {
            let Verified { list, mapped, credential } = *verified;
            Verdict::Proved(Proved { list, mapped, credential, header, repeat })
        };
        let used = |admission| match admission {
            Admission::Forgotten => Cause::NonceForgotten,
            Admission::Fresh | Admission::Replayed => Cause::NonceCountUsed,
        };
        let stale =
            |admission| Verdict::Stale(Blame::of_proved(used(admission), verified.credential));
        match (freshness, self.fingerprint(number)) {
            (Freshness::Foreign(origin), _) => Verdict::NotLive(DeadNonce::Foreign(origin)),
            (Freshness::Expired(_), _) if self.repeats(number) => proved(true),
            (Freshness::Expired(_), _) => Verdict::NotLive(DeadNonce::Expired),
            (Freshness::Live(nonce), Some(fingerprint)) if T::COMMITS => {
                // update both tables in one step; otherwise a copy on another thread could find the
                // count used and the fingerprint missing
                let mut admission = Admission::Replayed;
                let fresh = || {
                    admission = self.use_up(credentials, nonce);
                    admission == Admission::Fresh
                };
                let account = self.entry.account.number();
                match self.state.accepted.insert_if(fingerprint, account, self.now_ms, fresh) {
                    Insertion::Inserted => proved(false),
                    Insertion::Present => proved(true),
                    Insertion::Refused => stale(admission),
                }
            }
            (Freshness::Live(nonce), None) if T::COMMITS => match self.use_up(credentials, nonce) {
                Admission::Fresh => proved(false),
                admission => stale(admission),
            },
            (Freshness::Live(_), _) if self.repeats(number) => proved(true),
            (Freshness::Live(nonce), _) => {
                let nc = credentials.qop.map(|fields| fields.nc);
                match self.state.replay.would_admit(nonce.stamp, nonce.tag, nc) {
                    Admission::Fresh => proved(false),
                    admission => stale(admission),
                }
            }
        }
    }

    fn use_up(&self, credentials: &Credentials<'_>, nonce: Nonce) -> Admission {
        match credentials.qop {
            Some(fields) => self.state.replay.admit(nonce.stamp, nonce.tag, fields.nc),
            None => self.state.replay.admit_once(nonce.stamp, nonce.tag),
        }
    }

    /// Whether the request repeats one that was accepted less than 32 s ago by these credentials.
    fn repeats(&self, number: usize) -> bool {
        let accepted = &self.state.accepted;
        self.fingerprint(number).is_some_and(|it| accepted.contains(it, self.now_ms))
    }

    /// Keyed hash of the received message, its source, and the place of the credentials in it, for
    /// transports that retransmit: a retransmission has the same bytes (RFC 3261 §17.1.1.2).
    ///
    /// The place matters. Without it, credentials with an expired nonce would count as accepted in
    /// the copy of a request that other credentials beside them got accepted.
    fn fingerprint(&self, number: usize) -> Option<u128> {
        let message = *self.fingerprint.get_or_init(|| {
            let message = self.invite.received()?;
            let retransmits = self.invite.transport().retransmits();
            let Invite { method, .. } = *self.invite;
            let source = self.invite.source();
            retransmits.then(|| self.state.fingerprints.of_request(source, method, message))
        });
        message.map(|message| message.wrapping_add(number as u128))
    }
}
