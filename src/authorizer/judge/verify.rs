//! Verifies a response for the copies of a user name in the mapped lists.

use std::hint::black_box;

use subtle::{Choice, ConditionallySelectable};

use super::{Blame, Judge, offers};
use crate::authorizer::explain::{HeaderStep, Step, Trace, UserOutcome};
use crate::decision::{Cause, UsedHeader};
use crate::digest::{Algorithm, Credentials, ExpectedResponse, MAX_OUTPUT_LEN, Username, decoy};
use crate::sid::CredentialListSid;
use crate::snapshot::{Copies, Copy as NameCopy, CredentialEntry, MappedList, UserMatch};

/// A user whose digest is right; the nonce is not checked yet.
pub(super) struct Verified<'s> {
    pub(super) list: CredentialListSid,
    pub(super) mapped: MappedList,
    pub(super) credential: &'s CredentialEntry,
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

/// Result of verifying a header against one mapped list.
#[derive(Clone, Copy)]
pub(in crate::authorizer) struct Checked<'s> {
    /// The user with the claimed name, enabled or not.
    pub(in crate::authorizer) found: Option<&'s CredentialEntry>,
    /// Whether the response is right for this user and the user can authenticate.
    pub(in crate::authorizer) right: bool,
    /// The cause if it is not right.
    blame: Blame,
}

/// The user or decoy of one list that a response is verified against.
pub(in crate::authorizer) struct Claim<'s> {
    found: Option<&'s CredentialEntry>,
    counts: Choice,
    /// The cause if the response is not right.
    blame: Blame,
    /// The stored hash if the user can authenticate, else the decoy.
    ha1: AnyHash,
    len: usize,
}

impl<'s> Claim<'s> {
    pub(in crate::authorizer) fn ha1(&self) -> &[u8] {
        self.ha1.get(..self.len).unwrap_or_default()
    }

    /// The result, given whether the response equals the one made from `ha1`.
    pub(in crate::authorizer) fn checked(&self, equal: bool) -> Checked<'s> {
        let right = bool::from(self.counts) && equal;
        Checked { found: self.found, right, blame: self.blame }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.ha1 = [0; MAX_OUTPUT_LEN];
        zeroize::optimization_barrier(&self.ha1);
    }
}

impl<'s> Judge<'s, '_, '_> {
    /// The lists mapped to the target for this method.
    #[inline(always)]
    pub(super) fn lists(&self) -> &'s [MappedList] {
        self.entry.lists_for(self.invite.method)
    }

    /// Looks the user up in the mapped lists and verifies the response. A miss costs the same as a
    /// hit, so timing does not reveal which users exist.
    pub(super) fn verify<T: Trace>(
        &self,
        header: UsedHeader,
        credentials: &Credentials<'_>,
        checked: Option<Checked<'s>>,
        trace: &mut T,
    ) -> Result<Verified<'s>, Blame> {
        if let Err(cause) = offers(self.policy, credentials) {
            trace.step(|| Step::Header(header, HeaderStep::NotOffered(cause)));
            return Err(Blame::of(cause));
        }
        let [mapped] = self.lists() else {
            return self.verify_copies(header, credentials, trace);
        };
        let checked = checked.unwrap_or_else(|| {
            let claim = self.claim(mapped, credentials);
            let mut response = ExpectedResponse::new(credentials, self.invite.method, &self.body);
            claim.checked(response.equals(claim.ha1()))
        });
        self.verified(header, mapped, credentials, checked, trace)
    }

    /// [`Self::verify`] for several mapped lists: looks the user up in all of them first, then
    /// verifies as many copies and decoys as the number of lists allows. So neither the lookups nor
    /// the hashes depend on how many copies there are; only a right response ends the search.
    #[inline(never)]
    fn verify_copies<T: Trace>(
        &self,
        header: UsedHeader,
        credentials: &Credentials<'_>,
        trace: &mut T,
    ) -> Result<Verified<'s>, Blame> {
        let lists = self.lists();
        let mut response = ExpectedResponse::new(credentials, self.invite.method, &self.body);
        let mut next = 0;
        let copies = self.look_up_copies(lists, credentials);
        let mut blame = Blame::of(Cause::UserUnknown);
        for NameCopy { place, user } in copies.iter().copied() {
            let claim = self.claim_of(credentials.algorithm, user);
            // not removed for a decoy, whose result has no use
            let checked = black_box(claim.checked(response.equals(claim.ha1())));
            blame.raise(&checked.blame);
            // hits and decoys go the same way here, so no branch differs unless the response is right
            if T::KEEPS_STEPS || checked.right {
                let Some(place) = place else { continue };
                self.trace_misses(header, lists.get(next..place), credentials, trace);
                next = place + 1;
                let Some(mapped) = lists.get(place) else { continue };
                if let Ok(verified) = self.verified(header, mapped, credentials, checked, trace) {
                    return Ok(verified);
                }
            }
        }
        self.trace_misses(header, lists.get(next..), credentials, trace);
        blame.replace_if(copies.has_more, Cause::BeyondCopies);
        Err(blame)
    }

    /// The user of a mapped list, if the response is right.
    #[inline(always)]
    fn verified<T: Trace>(
        &self,
        header: UsedHeader,
        mapped: &MappedList,
        credentials: &Credentials<'_>,
        Checked { found, right, blame }: Checked<'s>,
        trace: &mut T,
    ) -> Result<Verified<'s>, Blame> {
        // a mapped list always exists
        let list = self.snapshot.credential_list_entry(mapped.list).ok_or(blame)?.sid;
        trace.step(|| {
            Step::Header(header, HeaderStep::list(list, found, credentials.algorithm, right))
        });
        let credential = if right { found } else { None }.ok_or(blame)?;
        Ok(Verified { list, mapped: *mapped, credential })
    }

    /// Records the lists whose users the response was not compared with.
    fn trace_misses<T: Trace>(
        &self,
        header: UsedHeader,
        lists: Option<&[MappedList]>,
        credentials: &Credentials<'_>,
        trace: &mut T,
    ) {
        if !T::KEEPS_STEPS {
            return;
        }
        for mapped in lists.unwrap_or_default() {
            // a mapped list always exists
            let Some(list) = self.snapshot.credential_list_entry(mapped.list) else { continue };
            trace.step(|| {
                let outcome = match self.look_up(mapped, credentials).hit {
                    Some(user) => UserOutcome::BeyondCopies(user.sid),
                    None => UserOutcome::Unknown,
                };
                Step::Header(header, HeaderStep::List { list: list.sid, outcome })
            });
        }
    }

    /// The user with the header's name in a mapped list, or a decoy.
    pub(in crate::authorizer) fn claim(
        &self,
        mapped: &MappedList,
        credentials: &Credentials<'_>,
    ) -> Claim<'s> {
        self.claim_of(credentials.algorithm, self.look_up(mapped, credentials))
    }

    /// The user of a lookup, or a decoy if the user cannot authenticate.
    pub(in crate::authorizer) fn claim_of(
        &self,
        algorithm: Algorithm,
        user: UserMatch<'s>,
    ) -> Claim<'s> {
        let UserMatch { hit, decoy: entry } = user;
        let stored = entry.and_then(|user| user.ha1.get(algorithm.hash_function()));
        let yes = |condition: bool| Choice::from(u8::from(condition));
        let enabled = entry.is_some_and(|user| !user.disabled);
        let counts = yes(hit.is_some()) & yes(enabled) & yes(stored.is_some());
        let decoy = decoy(algorithm, &self.state.decoy);
        let ha1 = choose(counts, stored.unwrap_or(decoy), decoy);
        let blame = Blame::of_user(yes(hit.is_some()), yes(enabled), yes(stored.is_some()), entry);
        Claim { found: hit, counts, blame, ha1, len: decoy.len() }
    }

    /// The users with the header's name in the mapped lists, and a decoy for each missing one.
    pub(super) fn look_up_copies(
        &self,
        lists: &[MappedList],
        credentials: &Credentials<'_>,
    ) -> Copies<'s> {
        let users = self.snapshot.users();
        match credentials.username {
            Username::Plain(name) => users.copies(lists, &name),
            Username::Hash(hash) if self.policy.userhash => {
                users.copies_by_hash(lists, credentials.algorithm.hash_function(), hash.0)
            }
            Username::Hash(_) => Copies::default(),
        }
    }

    pub(super) fn look_up(
        &self,
        mapped: &MappedList,
        credentials: &Credentials<'_>,
    ) -> UserMatch<'s> {
        match credentials.username {
            Username::Plain(name) => self.snapshot.look_up(mapped.list, &name),
            Username::Hash(hash) if self.policy.userhash => {
                let function = credentials.algorithm.hash_function();
                self.snapshot.look_up_hash(mapped.list, function, hash.0)
            }
            Username::Hash(_) => UserMatch::default(),
        }
    }
}
