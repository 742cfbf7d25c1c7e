//! Judges each credentials header of an INVITE by itself; the best verdict wins.

mod guesses;

use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use subtle::{Choice, ConditionallySelectable};

use super::State;
use super::explain::{FromOutcome, HeaderStep, Step, Trace};
use crate::decision::{CredentialMatch, Reason, UsedHeader};
use crate::digest::{
    Admission, Algorithm, Binding, Credentials, ExpectedResponse, Freshness, Insertion,
    MAX_OUTPUT_LEN, Nonce, Parsed, Username, decoy, parse, username,
};
use crate::invite::{CredentialsField, Invite};
use crate::model::{FromCheck, Policy, Realm, UriCheck};
use crate::sid::CredentialListSid;
use crate::snapshot::{
    CredentialEntry, MappedList, RoleEntry, Slot, Snapshot, TargetEntry, UserMatch,
};
use crate::uri::{Host, SipUri, name_addr};

/// Maximum number of headers judged for our realm. A client that answers every challenge sends one
/// for each algorithm.
const MAX_HEADERS: usize = 8;

/// An INVITE for a target with credential lists, and the context to judge it in.
pub(super) struct Judge<'s, 'r, 'i> {
    pub(super) state: &'s State,
    pub(super) snapshot: &'s Snapshot,
    pub(super) entry: &'s TargetEntry,
    pub(super) policy: &'s Policy,
    pub(super) realm: &'s Realm,
    /// Canonical host of the Request-URI.
    pub(super) host: &'r str,
    pub(super) request_uri: &'r SipUri<'r>,
    pub(super) invite: &'r Invite<'i>,
    pub(super) now_ms: u64,
}

/// Verdict on all credentials headers together.
pub(super) enum Verdict<'s> {
    /// The user proved knowledge of the password, with an unused nonce and count or by a
    /// retransmission.
    Proved(Proved<'s>),
    /// No header has our realm.
    NoCredentials,
    /// Challenge again with `stale=true`.
    Stale,
    /// Wrong credentials: reject or challenge, as the policy says.
    Wrong(Reason),
    /// Reject with this reason under any policy.
    Refused(Reason),
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

/// A user whose digest is right; the nonce is not checked yet.
struct Verified<'s> {
    list: CredentialListSid,
    mapped: MappedList,
    credential: &'s CredentialEntry,
}

/// A hash of any function, zero-padded.
type AnyHash = [u8; MAX_OUTPUT_LEN];

/// Selects the stored hash if `counts`, else the decoy, in constant time: no branch, and both are
/// loaded first. Both have the same length, a multiple of eight.
fn choose(counts: Choice, stored: &[u8], decoy: &[u8]) -> AnyHash {
    let (stored, decoy) = (words(stored), words(decoy));
    let mut chosen = [0; MAX_OUTPUT_LEN];
    let (places, _) = chosen.as_chunks_mut();
    for (place, (stored, decoy)) in places.iter_mut().zip(stored.iter().zip(&decoy)) {
        *place = u64::conditional_select(decoy, stored, counts).to_ne_bytes();
    }
    chosen
}

/// A hash as words, zero-padded.
fn words(hash: &[u8]) -> [u64; MAX_OUTPUT_LEN / 8] {
    let (chunks, _) = hash.as_chunks();
    let mut words = [0; MAX_OUTPUT_LEN / 8];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_ne_bytes(*chunk);
    }
    words
}

/// Whether the policy offers the algorithm and qop of the credentials.
pub(super) fn offers(policy: &Policy, credentials: &Credentials<'_>) -> bool {
    policy.algorithms.contains(credentials.algorithm)
        && credentials.qop.is_none_or(|fields| policy.qop.contains(fields.qop))
}

/// Batch results for an INVITE with one credentials header. The [`Judge`] computes the same without
/// them.
#[derive(Clone, Copy)]
pub(super) struct Precomputed<'x, 's, 'i> {
    /// The parsed header.
    pub(super) parsed: &'x Parsed<'i>,
    /// Result of the first mapped list.
    pub(super) checked: Option<Checked<'s>>,
}

/// Result of verifying a header against one mapped list.
#[derive(Clone, Copy)]
pub(super) struct Checked<'s> {
    /// The user with the claimed name, enabled or not.
    pub(super) found: Option<&'s CredentialEntry>,
    /// Whether the response is right for this user and the user can authenticate.
    pub(super) right: bool,
}

/// The user or decoy of one list that a response is verified against.
pub(super) struct Claim<'s> {
    found: Option<&'s CredentialEntry>,
    counts: Choice,
    /// The stored hash if the user can authenticate, else the decoy.
    ha1: AnyHash,
    len: usize,
}

impl<'s> Claim<'s> {
    pub(super) fn ha1(&self) -> &[u8] {
        self.ha1.get(..self.len).unwrap_or_default()
    }

    /// The result, given whether the response equals the one made from `ha1`.
    pub(super) fn checked(&self, equal: bool) -> Checked<'s> {
        Checked { found: self.found, right: bool::from(self.counts) && equal }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.ha1 = [0; MAX_OUTPUT_LEN];
        zeroize::optimization_barrier(&self.ha1);
    }
}

impl<'s, 'i> Judge<'s, '_, 'i> {
    pub(super) fn judge<T: Trace>(
        &self,
        precomputed: Option<Precomputed<'_, 's, 'i>>,
        trace: &mut T,
    ) -> Verdict<'s> {
        let verdict = match self.invite.credentials() {
            _ if self.invite.has_too_many_credentials() => Err(Reason::TooManyCredentials),
            [] => Ok(Verdict::NoCredentials),
            [(field, value)] => {
                let header = UsedHeader { field: *field, index: 0 };
                match precomputed {
                    Some(Precomputed { parsed, checked }) => {
                        self.judge_only(header, parsed, checked, trace)
                    }
                    None => {
                        self.judge_only(header, &parse(value, self.realm.as_str()), None, trace)
                    }
                }
            }
            several => self.judge_several(several, trace),
        };
        match verdict {
            Ok(Verdict::Proved(proved)) => self.check_from(proved, trace),
            Ok(verdict) => verdict,
            Err(reason) => {
                // count by source only: no user has been looked up yet
                if T::COMMITS {
                    let key = self.state.guesses.source_key(self.invite.source().ip());
                    self.state.guesses.record(key, self.policy.guesses.source, self.now_ms);
                }
                Verdict::Refused(reason)
            }
        }
    }

    /// Judges an INVITE with one credentials header.
    fn judge_only<T: Trace>(
        &self,
        header: UsedHeader,
        parsed: &Parsed<'i>,
        checked: Option<Checked<'s>>,
        trace: &mut T,
    ) -> Result<Verdict<'s>, Reason> {
        Ok(match self.candidate(header, parsed, trace)? {
            Some(credentials) => self.judge_one(header, credentials, checked, trace),
            None => Verdict::NoCredentials,
        })
    }

    /// Judges several headers and returns the best verdict. It parses all before it judges one, so
    /// a parse rejection reveals nothing about users.
    fn judge_several<T: Trace>(
        &self,
        headers: &[(CredentialsField, &'i [u8])],
        trace: &mut T,
    ) -> Result<Verdict<'s>, Reason> {
        let mut candidates = ArrayVec::<_, MAX_HEADERS>::new();
        for (index, (field, value)) in headers.iter().enumerate() {
            let header = UsedHeader { field: *field, index };
            let parsed = parse(value, self.realm.as_str());
            if let Some(credentials) = self.candidate(header, &parsed, trace)? {
                let candidate = (header, credentials.clone());
                candidates.try_push(candidate).map_err(|_| Reason::TooManyCredentials)?;
            }
        }
        let mut best = Verdict::NoCredentials;
        let mut wrong = ArrayVec::<_, MAX_HEADERS>::new();
        for (header, credentials) in &candidates {
            let verdict = self.judge_one(*header, credentials, None, trace);
            if let Verdict::Wrong(Reason::WrongCredentials) = verdict {
                // `wrong` has room for every candidate
                let _ = wrong.try_push(credentials);
            }
            match (&verdict, &best) {
                (Verdict::Proved(proved), _) => {
                    if T::COMMITS && !proved.repeat {
                        self.forgive(credentials, &wrong);
                    }
                    return Ok(verdict);
                }
                (Verdict::Stale, _) | (_, Verdict::NoCredentials) => best = verdict,
                _ => {}
            }
        }
        Ok(best)
    }

    /// The credentials if the header has our realm, or the reason to reject. Looks up no user.
    fn candidate<'c, T: Trace>(
        &self,
        header: UsedHeader,
        parsed: &'c Parsed<'i>,
        trace: &mut T,
    ) -> Result<Option<&'c Credentials<'i>>, Reason> {
        let credentials = match parsed {
            Parsed::Ignored => {
                trace.step(|| Step::Header(header, HeaderStep::OtherRealm));
                return Ok(None);
            }
            Parsed::Empty => {
                trace.step(|| Step::Header(header, HeaderStep::Empty));
                return Ok(None);
            }
            Parsed::Malformed(kind) => {
                trace.step(|| Step::Header(header, HeaderStep::Malformed(*kind)));
                return Err(Reason::MalformedCredentials(*kind));
            }
            Parsed::Credentials(credentials) => credentials,
        };
        trace.step(|| Step::Header(header, HeaderStep::read(credentials)));
        if credentials.qop.is_none() && !self.admits_without_qop(credentials) {
            return Err(Reason::QopMissing);
        }
        if !self.uri_matches(credentials.uri) {
            return Err(Reason::UriMismatch);
        }
        Ok(Some(credentials))
    }

    fn admits_without_qop(&self, credentials: &Credentials<'_>) -> bool {
        self.policy.allow_rfc2069 && credentials.algorithm == Algorithm::Md5
    }

    /// Whether the digest-uri matches the Request-URI as the policy requires (RFC 7616 §3.4.6).
    fn uri_matches(&self, digest_uri: &[u8]) -> bool {
        // fast path: equal texts match under every check
        if self.policy.uri_check == UriCheck::Off
            || digest_uri == self.invite.request_uri().as_bytes()
        {
            return true;
        }
        let Ok(text) = std::str::from_utf8(digest_uri) else { return false };
        let Ok(uri) = SipUri::parse(text) else { return false };
        let same_host = || Host::parse(uri.host).is_ok_and(|host| host.as_str() == self.host);
        match self.policy.uri_check {
            UriCheck::Off => true,
            UriCheck::SameHost => same_host(),
            UriCheck::SameUserAndHost => same_host() && uri.same_user(self.request_uri),
            UriCheck::Equivalent => uri.equivalent(self.request_uri),
        }
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
        header: UsedHeader,
        credentials: &Credentials<'i>,
        checked: Option<Checked<'s>>,
        trace: &mut T,
    ) -> Verdict<'s> {
        let fingerprint = self.fingerprint(credentials);
        if let Some(fingerprint) = fingerprint {
            self.state.accepted.prefetch(fingerprint);
        }
        let freshness = self.state.nonces.open(
            credentials.nonce,
            self.now_ms,
            self.policy.nonce_lifetime,
            &self.binding(),
        );
        trace.step(|| Step::Header(header, HeaderStep::Nonce(freshness.into())));
        if T::COMMITS && freshness == Freshness::Foreign {
            self.state.counters.foreign_nonces.fetch_add(1, Ordering::Relaxed);
        }
        let is_live = matches!(freshness, Freshness::Live(_));
        let budget = || self.budget(is_live, &credentials.username);

        // a retransmission of an accepted request is no guess, so other clients' guesses must not
        // block it
        let repeats = || fingerprint.is_some_and(|f| self.state.accepted.contains(f, self.now_ms));
        let guesses = &self.state.guesses;
        if guesses.is_anyone_over(self.now_ms) && self.is_over(&budget()) && !repeats() {
            trace.step(|| Step::Header(header, HeaderStep::TooManyGuesses));
            if T::COMMITS {
                self.state.counters.guesses_refused.fetch_add(1, Ordering::Relaxed);
            }
            return if is_live { Verdict::Wrong(Reason::TooManyGuesses) } else { Verdict::Stale };
        }
        let Some(verified) = self.verify(header, credentials, checked, trace) else {
            self.count_wrong::<T>(&budget(), fingerprint);
            return Verdict::Wrong(Reason::WrongCredentials);
        };
        let verdict = self.admit::<T>(header, credentials, freshness, fingerprint, &verified);
        trace.step(|| {
            let fresh = matches!(verdict, Verdict::Proved(_));
            Step::Header(header, HeaderStep::Admitted { fresh })
        });
        verdict
    }

    /// Looks the user up in each mapped list and verifies the response. A miss costs the same as a
    /// hit, so timing does not reveal which users exist.
    fn verify<T: Trace>(
        &self,
        header: UsedHeader,
        credentials: &Credentials<'_>,
        checked: Option<Checked<'s>>,
        trace: &mut T,
    ) -> Option<Verified<'s>> {
        if !offers(self.policy, credentials) {
            trace.step(|| Step::Header(header, HeaderStep::NotOffered));
            return None;
        }
        let mut response = None;
        for (number, mapped) in self.entry.credential_lists.iter().enumerate() {
            // a mapped list always exists
            let Some(list) = self.snapshot.credential_list_entry(mapped.list) else { continue };
            let Checked { found, right } = checked.filter(|_| number == 0).unwrap_or_else(|| {
                let response = response
                    .get_or_insert_with(|| ExpectedResponse::new(credentials, self.invite.body()));
                let claim = self.claim(mapped, credentials);
                claim.checked(response.equals(claim.ha1()))
            });
            trace.step(|| {
                let step = HeaderStep::list(list.sid, found, credentials.algorithm, right);
                Step::Header(header, step)
            });
            if let (Some(credential), true) = (found, right) {
                return Some(Verified { list: list.sid, mapped: *mapped, credential });
            }
        }
        None
    }

    /// The user with the header's name in a mapped list, or a decoy.
    pub(super) fn claim(&self, mapped: &MappedList, credentials: &Credentials<'_>) -> Claim<'s> {
        self.claim_of(credentials.algorithm, self.look_up(mapped, credentials))
    }

    /// The user of a lookup, or a decoy if the user cannot authenticate.
    pub(super) fn claim_of(&self, algorithm: Algorithm, user: UserMatch<'s>) -> Claim<'s> {
        let UserMatch { hit, decoy: entry } = user;
        let stored = entry.and_then(|user| user.ha1.get(algorithm.hash_function()));
        let yes = |condition: bool| Choice::from(u8::from(condition));
        let enabled = entry.is_some_and(|user| !user.disabled);
        let counts = yes(hit.is_some()) & yes(enabled) & yes(stored.is_some());
        let decoy = decoy(algorithm, &self.state.decoy);
        let ha1 = choose(counts, stored.unwrap_or(decoy), decoy);
        Claim { found: hit, counts, ha1, len: decoy.len() }
    }

    fn look_up(&self, mapped: &MappedList, credentials: &Credentials<'_>) -> UserMatch<'s> {
        match credentials.username {
            Username::Plain(name) => self.snapshot.look_up(mapped.list, &name),
            Username::Hash(hash) if self.policy.userhash => {
                let function = credentials.algorithm.hash_function();
                self.snapshot.look_up_hash(mapped.list, function, hash.0)
            }
            Username::Hash(_) => UserMatch::default(),
        }
    }

    /// Uses up the nonce count of a verified response. Only this function creates a [`Proved`].
    fn admit<T: Trace>(
        &self,
        header: UsedHeader,
        credentials: &Credentials<'_>,
        freshness: Freshness,
        fingerprint: Option<u128>,
        verified: &Verified<'s>,
    ) -> Verdict<'s> {
        let proved = |repeat| {
            let Verified { list, mapped, credential } = *verified;
            Verdict::Proved(Proved { list, mapped, credential, header, repeat })
        };
        let accepted = &self.state.accepted;
        match (freshness, fingerprint) {
            (Freshness::Foreign, _) | (Freshness::Expired(_), None) => Verdict::Stale,
            (Freshness::Expired(_), Some(fingerprint)) => {
                if accepted.contains(fingerprint, self.now_ms) {
                    proved(true)
                } else {
                    Verdict::Stale
                }
            }
            (Freshness::Live(nonce), Some(fingerprint)) if T::COMMITS => {
                // update both tables in one step; otherwise a copy on another thread could find the
                // count used and the fingerprint missing
                let fresh = || self.use_up(credentials, nonce) == Admission::Fresh;
                match accepted.insert_if(fingerprint, self.now_ms, fresh) {
                    Insertion::Inserted => proved(false),
                    Insertion::Present => proved(true),
                    Insertion::Refused => Verdict::Stale,
                }
            }
            (Freshness::Live(nonce), None) if T::COMMITS => match self.use_up(credentials, nonce) {
                Admission::Fresh => proved(false),
                Admission::Replayed => Verdict::Stale,
            },
            (Freshness::Live(nonce), fingerprint) => {
                if fingerprint.is_some_and(|f| accepted.contains(f, self.now_ms)) {
                    return proved(true);
                }
                let nc = credentials.qop.map(|fields| fields.nc);
                match self.state.replay.would_admit(nonce.stamp, nonce.tag, nc) {
                    Admission::Fresh => proved(false),
                    Admission::Replayed => Verdict::Stale,
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

    /// Compares From with the authenticated user, if the policy requires it.
    fn check_from<T: Trace>(&self, proved: Proved<'s>, trace: &mut T) -> Verdict<'s> {
        let or_anonymous = match self.policy.from_must_match {
            FromCheck::Off => return Verdict::Proved(proved),
            FromCheck::User => false,
            FromCheck::UserOrAnonymous => true,
        };
        let name = proved.credential.username.as_str();
        let from = self
            .invite
            .transaction()
            .and_then(|transaction| name_addr(transaction.from))
            .and_then(|from| SipUri::parse(from.uri).ok());
        let outcome = match from {
            Some(from) if from.user_is(name) => FromOutcome::Matches,
            Some(from) if or_anonymous && from.is_anonymous() => FromOutcome::Anonymous,
            _ => FromOutcome::Differs,
        };
        trace.step(|| Step::From(outcome));
        match outcome {
            FromOutcome::Matches | FromOutcome::Anonymous => Verdict::Proved(proved),
            FromOutcome::Differs => Verdict::Refused(Reason::FromMismatch),
        }
    }

    /// Keyed hash that identifies a retransmission, for transports that retransmit. Each part is
    /// framed by its length.
    fn fingerprint(&self, credentials: &Credentials<'_>) -> Option<u128> {
        let transaction = self.invite.transaction()?;
        if !self.invite.transport().retransmits() {
            return None;
        }
        // a request without qop counts as nc 0
        let nc = credentials.qop.map_or(0, |fields| fields.nc);
        Some(self.state.fingerprints.of(
            self.invite.source(),
            nc,
            &[
                credentials.nonce,
                credentials.response,
                self.invite.request_uri().as_bytes(),
                transaction.from,
                transaction.to,
                transaction.call_id,
                transaction.cseq,
                transaction.via,
                self.invite.body(),
            ],
        ))
    }
}
