//! Judging the credentials headers of an INVITE: each alone, the best outcome wins.

mod guesses;

use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use subtle::{Choice, ConditionallySelectable};

use super::State;
use super::explain::{HeaderStep, Step, Trace};
use crate::decision::{CredentialMatch, Reason, UsedHeader};
use crate::digest::{
    Admission, Algorithm, Binding, Credentials, ExpectedResponse, Freshness, Insertion,
    MAX_OUTPUT_LEN, Nonce, Parsed, Username, decoy, parse, username,
};
use crate::invite::{CredentialsField, Invite};
use crate::model::{Policy, Realm, UriCheck};
use crate::sid::CredentialListSid;
use crate::snapshot::{
    CredentialEntry, LookUp, MappedList, RoleEntry, Slot, Snapshot, TargetEntry,
};
use crate::uri::{Host, SipUri, name_addr};

/// How many headers for our realm are judged; a client that answers every challenge sends one for
/// each algorithm.
const MAX_HEADERS: usize = 8;

/// One INVITE at a target that has credential lists, and all that it is judged by.
pub(super) struct Judge<'s, 'r, 'i> {
    pub(super) state: &'s State,
    pub(super) snapshot: &'s Snapshot,
    pub(super) entry: &'s TargetEntry,
    pub(super) policy: &'s Policy,
    pub(super) realm: &'s Realm,
    /// What the Request-URI named, in the form hosts are compared in.
    pub(super) host: &'r str,
    pub(super) request_uri: &'r SipUri<'r>,
    pub(super) invite: &'r Invite<'i>,
    pub(super) now_ms: u64,
}

/// What the credentials headers come to.
pub(super) enum Verdict<'s> {
    /// A user proved to know the password, with a nonce and a count that were never used.
    Proved(Proved<'s>),
    /// No header is for our realm.
    NoCredentials,
    /// To be tried again with a new nonce.
    Stale,
    /// Answered as the policy has it for wrong credentials.
    Wrong(Reason),
    /// Answered with the reason whatever the policy.
    Refused(Reason),
}

/// The proof that leads to an accept where credential lists are mapped. Its fields are private and
/// only [`Judge::admit`] makes one, after the digest has been verified and its nonce admitted.
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
            // a user name is never longer than the buffer
            username: username(self.credential.username.as_bytes()).unwrap_or_default(),
            header: self.header,
        }
    }

    pub(super) fn is_repeat(&self) -> bool {
        self.repeat
    }

    /// The user's own role and the one of its list on the target.
    pub(super) fn roles(&self) -> [Option<Slot<RoleEntry>>; 2] {
        [self.credential.role, self.mapped.role]
    }
}

/// A user whose digest was right.
struct Verified<'s> {
    list: CredentialListSid,
    mapped: MappedList,
    credential: &'s CredentialEntry,
}

/// A hash of any function, with zeros behind a short one.
type AnyHash = [u8; MAX_OUTPUT_LEN];

/// The stored hash if it counts, else the decoy: without a branch, and not before both have come from
/// memory, so that the time is that of a hash that counts. Both are of one length, a multiple of eight.
fn choose(counts: Choice, stored: &[u8], decoy: &[u8]) -> AnyHash {
    let (stored, decoy) = (words(stored), words(decoy));
    let mut chosen = [0; MAX_OUTPUT_LEN];
    let (places, _) = chosen.as_chunks_mut();
    for (place, (stored, decoy)) in places.iter_mut().zip(stored.iter().zip(&decoy)) {
        *place = u64::conditional_select(decoy, stored, counts).to_ne_bytes();
    }
    chosen
}

/// A hash as words, with zeros after a short one.
fn words(hash: &[u8]) -> [u64; MAX_OUTPUT_LEN / 8] {
    let (chunks, _) = hash.as_chunks();
    let mut words = [0; MAX_OUTPUT_LEN / 8];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_ne_bytes(*chunk);
    }
    words
}

/// Whether the policy offers what the response was made with.
pub(super) fn offers(policy: &Policy, credentials: &Credentials<'_>) -> bool {
    policy.algorithms.contains(credentials.algorithm)
        && credentials.qop.is_none_or(|fields| policy.qop.contains(fields.qop))
}

/// What was worked out for an INVITE with one credentials header before its turn, together with
/// that of others. It holds nothing that the [`Judge`] would not find by itself.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'x, 's, 'i> {
    /// The header.
    pub(super) parsed: &'x Parsed<'i>,
    /// What the first mapped list says to it.
    pub(super) checked: Option<Checked<'s>>,
}

/// What one mapped list says to a header.
#[derive(Clone, Copy)]
pub(super) struct Checked<'s> {
    /// The user of the claimed name, enabled or not.
    pub(super) found: Option<&'s CredentialEntry>,
    /// Whether the response is that of this user, and the user counts.
    pub(super) right: bool,
}

/// The user of one list that a response is compared with.
pub(super) struct Claim<'s> {
    found: Option<&'s CredentialEntry>,
    counts: Choice,
    /// The stored hash if the user counts, else one that nobody has.
    ha1: AnyHash,
    len: usize,
}

impl<'s> Claim<'s> {
    pub(super) fn ha1(&self) -> &[u8] {
        self.ha1.get(..self.len).unwrap_or_default()
    }

    /// What becomes of it once the response that the hash makes was compared.
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
        ahead: Option<Ahead<'_, 's, 'i>>,
        trace: &mut T,
    ) -> Verdict<'s> {
        let verdict = match self.invite.credentials() {
            _ if self.invite.has_too_many_credentials() => Err(Reason::TooManyCredentials),
            [] => Ok(Verdict::NoCredentials),
            [(field, value)] => {
                let header = UsedHeader { field: *field, index: 0 };
                match ahead {
                    Some(Ahead { parsed, checked }) => {
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
                // counted by source only: nobody was looked up yet
                if T::COMMITS {
                    let key = self.state.guesses.source_key(self.invite.source().ip());
                    self.state.guesses.record(key, self.policy.guesses.source, self.now_ms);
                }
                Verdict::Refused(reason)
            }
        }
    }

    /// The verdict on an INVITE with one credentials header.
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

    /// The best of the verdicts on several headers. All are read before one is judged, so what is
    /// refused tells nothing about users.
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
                // as many as there are candidates
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

    /// The credentials of a header that is for our realm, or why they cannot be judged. No user is
    /// looked up here.
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

    /// Whether the digest-uri matches the Request-URI as the policy asks (RFC 7616 §3.4.6).
    fn uri_matches(&self, digest_uri: &[u8]) -> bool {
        // as nearly all are sent; whatever is compared of two that are one is the same
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

    /// What a nonce of this target has to be bound to.
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

        // a copy of what was accepted is no guess, and must not be held up by others' guesses
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

    /// Looks the user up in each mapped list and verifies the response. Each list costs the same,
    /// whether the user is in it or not, so that time does not tell who exists.
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
            // a list that is mapped is there
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

    /// The user of a mapped list that the header names, or a decoy.
    pub(super) fn claim(&self, mapped: &MappedList, credentials: &Credentials<'_>) -> Claim<'s> {
        self.claim_of(credentials.algorithm, self.look_up(mapped, credentials))
    }

    /// The user that a list has for the name, or a decoy.
    pub(super) fn claim_of(&self, algorithm: Algorithm, user: LookUp<'s>) -> Claim<'s> {
        let LookUp { found, at_hand } = user;
        let stored = at_hand.and_then(|entry| entry.ha1.get(algorithm.hash_function()));
        let yes = |condition: bool| Choice::from(u8::from(condition));
        let enabled = at_hand.is_some_and(|entry| !entry.disabled);
        let counts = yes(found.is_some()) & yes(enabled) & yes(stored.is_some());
        let decoy = decoy(algorithm, &self.state.decoy);
        let ha1 = choose(counts, stored.unwrap_or(decoy), decoy);
        Claim { found, counts, ha1, len: decoy.len() }
    }

    fn look_up(&self, mapped: &MappedList, credentials: &Credentials<'_>) -> LookUp<'s> {
        match credentials.username {
            Username::Plain(name) => self.snapshot.look_up(mapped.list, &name),
            Username::Hash(hash) if self.policy.userhash => {
                let function = credentials.algorithm.hash_function();
                self.snapshot.look_up_hash(mapped.list, function, hash.0)
            }
            Username::Hash(_) => LookUp::default(),
        }
    }

    /// Uses up the nonce count of a verified response. Only here does state change for the better
    /// of a caller, and only here is [`Proved`] made.
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
                // one step for both tables, or a copy on another thread would find the count used
                // and the fingerprint not yet there
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

    /// Whether From names the authenticated user, where the policy asks for it.
    fn check_from<T: Trace>(&self, proved: Proved<'s>, trace: &mut T) -> Verdict<'s> {
        if !self.policy.from_must_match {
            return Verdict::Proved(proved);
        }
        let name = proved.credential.username.as_str();
        let matches = self
            .invite
            .transaction()
            .and_then(|transaction| name_addr(transaction.from))
            .and_then(|from| SipUri::parse(from.uri).ok())
            .is_some_and(|from| from.user_is(name));
        trace.step(|| Step::From { matches });
        if matches { Verdict::Proved(proved) } else { Verdict::Refused(Reason::FromMismatch) }
    }

    /// What tells a retransmission from another request, in one keyed number; only for transports
    /// that retransmit. Every part is framed by its length.
    fn fingerprint(&self, credentials: &Credentials<'_>) -> Option<u128> {
        let transaction = self.invite.transaction()?;
        if !self.invite.transport().retransmits() {
            return None;
        }
        // none is zero
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
