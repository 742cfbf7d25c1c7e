//! Guess limits: the token buckets of wrong digests.

use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::Judge;
use crate::authorizer::explain::{HeaderStep, Step, Trace};
use crate::decision::{Cause, UsedHeader};
use crate::digest::{
    Credentials, GuessKey, GuessRate, Insertion, PROVEN_FLOW, Proof, Scope, Username,
};
use crate::model::Target;
use crate::sid::CredentialSid;
use crate::snapshot::UserMatch;

/// The guess buckets of one set of credentials.
pub(super) type Budget = ArrayVec<Bucket, 4>;

/// A guess bucket.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    key: GuessKey,
    rate: GuessRate,
    /// The cause of refusals if it is empty.
    cause: Cause,
}

impl Judge<'_, '_, '_> {
    /// The buckets for this user.
    pub(super) fn budget<T: Trace>(&self, username: &Username) -> Budget {
        let scope = self.scope();
        let (guesses, policy) = (&self.state.guesses, &self.policy.guesses);
        let (name, source) = (username.as_str().as_bytes(), self.invite.source().ip());
        let mut budget = Budget::new();
        // `Budget` holds every combination
        let mut add = |key, rate, cause| _ = budget.try_push(Bucket { key, rate, cause });
        add(guesses.pair_key(scope, name, source), policy.pair, Cause::GuessLimit);
        if let Some(rate) = policy.any_name {
            add(guesses.any_name_key(scope, source), rate, Cause::GuessLimitOfSource);
        }
        if let Some(rate) = policy.name {
            add(guesses.name_key(scope, name), rate, Cause::GuessLimitOfName);
        }
        if T::LIMITS_ASKER {
            _ = budget.try_push(self.asked_bucket(username));
        }
        budget
    }

    /// The bucket for this user in explanations. Their asker chooses the source, so the other buckets
    /// would not limit the number of guesses.
    pub(super) fn asked_bucket(&self, username: &Username) -> Bucket {
        let key = self.state.guesses.asked_key(self.scope(), username.as_str().as_bytes());
        Bucket { key, rate: self.policy.guesses.pair, cause: Cause::GuessLimit }
    }

    /// The bucket for this user in this flow, if the flow proved the password within the hour.
    pub(super) fn flow_budget(&self, credentials: &Credentials<'_>) -> Option<Bucket> {
        let (name, flow) = (credentials.username.as_str().as_bytes(), self.invite.source());
        let key = || self.state.guesses.flow_key(self.scope(), name, flow);
        let bucket = || Bucket { key: key(), rate: PROVEN_FLOW, cause: Cause::GuessLimit };
        self.has_proved(credentials).then(bucket)
    }

    fn scope(&self) -> Scope<'_> {
        Scope { account: self.account.as_bytes(), target: self.target_sid() }
    }

    pub(super) fn target_sid(&self) -> &[u8; 16] {
        match &self.entry.target {
            Target::Domain(sid) => sid.as_bytes(),
            Target::Trunk(sid) => sid.as_bytes(),
        }
    }

    /// Records that this flow proved the user's password. Does nothing if the flow is unknown: others
    /// behind the same proxy would then count as this caller.
    pub(super) fn prove(&self, user: CredentialSid) {
        if let Some(flow) = self.invite.flow() {
            self.state.proven.prove(self.proof_of(flow, user), self.now_ms);
        }
    }

    /// Whether this flow proved the password of the claimed user within the hour. Guesses of others
    /// behind its address then do not lock it out. A miss costs the same as a hit.
    fn has_proved(&self, credentials: &Credentials<'_>) -> bool {
        let Some(flow) = self.invite.flow() else { return false };
        let is_proved = |UserMatch { hit, decoy }: UserMatch<'_>| {
            let near = decoy.map_or(CredentialSid::from_bytes([0; 16]), |user| user.sid);
            self.state.proven.has(self.proof_of(flow, near), self.now_ms) & hit.is_some()
        };
        // the search for copies takes a few instructions more for a hit, which show here
        if let [mapped] = self.lists() {
            return is_proved(self.look_up(mapped, credentials));
        }
        let copies = self.look_up_copies(self.lists(), credentials);
        copies.iter().fold(false, |any, copy| any | is_proved(copy.user))
    }

    fn proof_of(&self, flow: SocketAddr, user: CredentialSid) -> Proof {
        let sids = [self.target_sid(), user.as_bytes()];
        let key = self.state.fingerprints.of_flow(flow, sids);
        Proof { key, account: self.entry.account.low_byte() }
    }

    /// Whether the bucket is empty.
    pub(super) fn is_over(&self, bucket: &Bucket) -> bool {
        self.state.guesses.is_over(bucket.key, bucket.rate, self.now_ms)
    }

    /// The limit of the first empty bucket.
    pub(super) fn limit_reached(&self, budget: &Budget) -> Option<Cause> {
        budget.iter().find(|bucket| self.is_over(bucket)).map(|bucket| bucket.cause)
    }

    /// Takes a token from each bucket for a wrong digest; a retransmission takes none. `number` is
    /// the place of the credentials in the request.
    pub(super) fn count_wrong<'b, T: Trace>(
        &self,
        budget: impl Iterator<Item = &'b Bucket>,
        number: usize,
    ) {
        if !T::COUNTS_GUESSES {
            return;
        }
        let first = self.fingerprint(number).is_none_or(|fingerprint| {
            let (refused, account) = (&self.state.refused, self.entry.account.number());
            if !T::COMMITS {
                return !refused.contains(fingerprint, self.now_ms);
            }
            let inserted = refused.insert_if(fingerprint, account, self.now_ms, || true);
            matches!(inserted, Insertion::Inserted)
        });
        if first {
            for Bucket { key, rate, .. } in budget {
                self.state.guesses.record(*key, *rate, self.now_ms);
            }
        }
    }

    /// Explains credentials whose nonce is not live, which a decision does not verify. If the asker is
    /// limited, the guess limits hold for them as for others: the explanation reveals whether the digest is
    /// right.
    pub(super) fn explain_dead<T: Trace>(
        &self,
        number: usize,
        header: UsedHeader,
        credentials: &Credentials<'_>,
        trace: &mut T,
    ) {
        let budget = T::LIMITS_ASKER.then(|| self.budget::<T>(&credentials.username));
        if let Some(limit) = budget.as_ref().and_then(|budget| self.limit_reached(budget)) {
            trace.step(|| Step::Header(header, HeaderStep::TooManyGuesses(limit)));
            return;
        }
        if self.verify(header, credentials, None, trace).is_err() {
            self.count_wrong::<T>(budget.iter().flatten(), number);
        }
    }

    /// Refunds wrong digests of headers that the user could not have answered, once another header
    /// of the request proved the password. A client that answers every challenge also uses hash
    /// functions that its record has no hash for. Headers that could have been right stay counted,
    /// even for another list's user of the same name.
    pub(super) fn forgive<T: Trace>(&self, proved: &Credentials<'_>, wrong: &[&Credentials<'_>]) {
        let could_not_be_right = |other: &Credentials<'_>| {
            let function = other.algorithm.hash_function();
            self.lists().iter().all(|mapped| {
                let found = self.look_up(mapped, other).hit;
                found.is_none_or(|user| user.ha1.get(function).is_none())
            })
        };
        let same = |other: &&&Credentials<'_>| {
            other.username == proved.username
                && other.nonce == proved.nonce
                && could_not_be_right(other)
        };
        for credentials in wrong.iter().filter(same) {
            for Bucket { key, rate, .. } in self.budget::<T>(&credentials.username) {
                self.state.guesses.give_back(key, rate, self.now_ms);
            }
        }
    }
}
