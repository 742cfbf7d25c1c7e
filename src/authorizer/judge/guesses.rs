//! What wrong digests are counted by, and when they are not looked at any more.

use arrayvec::ArrayVec;

use super::Judge;
use crate::authorizer::explain::Trace;
use crate::digest::{Credentials, GuessKey, GuessRate, Insertion, Username};
use crate::model::Target;

/// The counters that a wrong digest goes to.
pub(super) type Budget = ArrayVec<(GuessKey, GuessRate), 3>;

impl Judge<'_, '_, '_> {
    /// The counters of wrong digests of this user, with a nonce that is live or is not.
    pub(super) fn budget(&self, is_live: bool, username: &Username) -> Budget {
        let scope = match &self.entry.target {
            Target::Domain(sid) => sid.as_bytes(),
            Target::Trunk(sid) => sid.as_bytes(),
        };
        let (guesses, policy) = (&self.state.guesses, &self.policy.guesses);
        let (name, source) = (username.as_str().as_bytes(), self.invite.source().ip());
        let mut budget = Budget::new();
        // no more than there is room for
        let mut add = |key, rate| _ = budget.try_push((key, rate));
        if is_live {
            add(guesses.pair_key(scope, name, source), policy.pair);
            if let Some(rate) = policy.any_name {
                add(guesses.any_name_key(scope, source), rate);
            }
        } else {
            add(guesses.source_key(source), policy.source);
        }
        if let Some(rate) = policy.name {
            add(guesses.name_key(scope, name), rate);
        }
        budget
    }

    /// Whether no more may be looked at.
    pub(super) fn is_over(&self, budget: &Budget) -> bool {
        let over = |(key, rate): &_| self.state.guesses.is_over(*key, *rate, self.now_ms);
        budget.iter().any(over)
    }

    /// Counts a wrong digest; a retransmission of one that was counted is not counted again.
    pub(super) fn count_wrong<T: Trace>(&self, budget: &Budget, fingerprint: Option<u128>) {
        if !T::COMMITS {
            return;
        }
        let first = fingerprint.is_none_or(|fingerprint| {
            let inserted = self.state.refused.insert_if(fingerprint, self.now_ms, || true);
            matches!(inserted, Insertion::Inserted)
        });
        if first {
            for (key, rate) in budget {
                self.state.guesses.record(*key, *rate, self.now_ms);
            }
        }
    }

    /// Takes back what was counted for other headers of the same user with the same nonce, now that
    /// the request proves to know the password: a client that answers every challenge answers with
    /// hash functions too of which nothing is stored for it. What could have been right stays counted,
    /// that of another list's user of the same name, too.
    pub(super) fn forgive(&self, proved: &Credentials<'_>, wrong: &[&Credentials<'_>]) {
        let could_not_be_right = |other: &Credentials<'_>| {
            let function = other.algorithm.hash_function();
            self.entry.credential_lists.iter().all(|mapped| {
                let found = self.look_up(mapped, other).found;
                found.is_none_or(|user| user.ha1.get(function).is_none())
            })
        };
        let same = |other: &&&Credentials<'_>| {
            other.username == proved.username
                && other.nonce == proved.nonce
                && could_not_be_right(other)
        };
        for credentials in wrong.iter().filter(same) {
            // what was proved with it and is no repeat has a live nonce
            for (key, rate) in self.budget(true, &credentials.username) {
                self.state.guesses.give_back(key, rate, self.now_ms);
            }
        }
    }
}
