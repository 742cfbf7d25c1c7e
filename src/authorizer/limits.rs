//! The names and sources that guess limits hold, and their release by an operator.

use std::net::IpAddr;
use std::time::Instant;

use super::Authorizer;
use crate::decision::Cause;
use crate::digest::{GuessKey, GuessLimiter, GuessRate, MAX_NAME, Scope};
use crate::model::{GuessPolicy, Target};

/// A limit of [`GuessPolicy`] on wrong digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GuessLimit {
    /// The limit on a claimed name from one source ([`GuessPolicy::pair`]).
    NameFromSource,
    /// The limit on a source, over all claimed names ([`GuessPolicy::any_name`]).
    Source,
    /// The limit on a claimed name, over all sources ([`GuessPolicy::name`]).
    Name,
}

/// The state of a guess limit for a claimed name and a source ([`Authorizer::guesses`]).
///
/// A limit is a token bucket. It knows the number of tokens that it owes. It does not know the tokens that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuessState {
    /// The limit.
    pub limit: GuessLimit,
    /// The rate by the policy of the domain or trunk.
    pub rate: GuessRate,
    /// Number of wrong digests whose tokens are not back, at most [`GuessRate::burst`].
    pub wrong: u32,
    /// Whether wrong digests of this name and source are among them. If false, the table has no counter
    /// for the name or source: then it owes what forgotten ones of its source owed, see
    /// [`Capacity::guesses`](crate::Capacity::guesses).
    pub is_own: bool,
    /// The earliest time of the oldest of these wrong digests; none if there is none. Not before the
    /// authorizer was created. A limit that wrong digests reach for hours has no older ones.
    pub since_earliest: Option<Instant>,
    /// The latest time of the oldest of these wrong digests; none if there is none.
    pub since_latest: Option<Instant>,
    /// The time at which the next digest is verified, unless wrong ones come before; none if the limit
    /// does not hold the name or source. Until then, a right digest is refused like a wrong one.
    pub held_until: Option<Instant>,
}

impl GuessLimit {
    /// All limits, in the order of [`Authorizer::guesses`].
    pub const ALL: [Self; 3] = [Self::NameFromSource, Self::Source, Self::Name];

    /// The internal cause of a refusal by this limit.
    #[must_use]
    pub fn cause(self) -> Cause {
        match self {
            Self::NameFromSource => Cause::GuessLimit,
            Self::Source => Cause::GuessLimitOfSource,
            Self::Name => Cause::GuessLimitOfName,
        }
    }

    fn rate(self, policy: &GuessPolicy) -> Option<GuessRate> {
        match self {
            Self::NameFromSource => Some(policy.pair),
            Self::Source => policy.any_name,
            Self::Name => policy.name,
        }
    }

    fn key(self, guesses: &GuessLimiter, scope: Scope<'_>, name: &[u8], ip: IpAddr) -> GuessKey {
        match self {
            Self::NameFromSource => guesses.pair_key(scope, name, ip),
            Self::Source => guesses.any_name_key(scope, ip),
            Self::Name => guesses.name_key(scope, name),
        }
    }
}

impl GuessState {
    /// Whether the limit refuses digests of the name and source without verifying them.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_until.is_some()
    }
}

impl Authorizer {
    /// The guess limits that apply to a claimed name from a source at a domain or trunk, by the policy in
    /// force. Empty if the snapshot does not have the target, and in a process that did not create the
    /// authorizer. Allocates; not for the hot path.
    ///
    /// `name` is the user name of the credentials as the client sent it, so its hash if the client hashed
    /// it. `source` counts as in a decision: an IPv4 address, or the /64 of an IPv6 address. Explanations
    /// have a limit of their own, which is not shown
    /// ([`counts_guesses`](crate::ExplainOptions::counts_guesses)).
    #[must_use]
    pub fn guesses(
        &self,
        target: Target,
        name: &str,
        source: IpAddr,
        now: Instant,
    ) -> Vec<GuessState> {
        let state = |limit: GuessLimit| {
            let (key, rate) = self.guess_bucket(limit, target, name, source)?;
            Some(self.guess_state(limit, key, rate, self.clock.read(now)))
        };
        GuessLimit::ALL.into_iter().filter_map(state).collect()
    }

    /// Forgets the wrong digests that a guess limit counts for a name and a source, as an operator's
    /// order. Returns whether there were any. The next right password is then accepted at once, unless
    /// another limit holds the name or source too. A process that did not create the authorizer forgets
    /// nothing.
    ///
    /// Nothing else is forgiven: other names and sources keep their debts, and so do the other limits.
    /// If wrong digests of fifteen or more other names come from the source later, the name again has
    /// the debt of the forgotten names of its source.
    pub fn release(
        &self,
        limit: GuessLimit,
        target: Target,
        name: &str,
        source: IpAddr,
        now: Instant,
    ) -> bool {
        self.guess_bucket(limit, target, name, source).is_some_and(|(key, _)| {
            let is_alone = limit == GuessLimit::Name;
            self.state.guesses.release(key, is_alone, self.clock.read(now))
        })
    }

    /// The bucket of a limit; none if the policy has no such limit, the target or name cannot exist, or
    /// this process must not lock the bucket.
    fn guess_bucket(
        &self,
        limit: GuessLimit,
        target: Target,
        name: &str,
        source: IpAddr,
    ) -> Option<(GuessKey, GuessRate)> {
        if name.len() > MAX_NAME || self.is_copy() {
            return None;
        }
        let snapshot = self.snapshot.load_full();
        let entry = snapshot.targets().get(target)?;
        let account = snapshot.account_entry(entry.account)?.sid;
        let target = match &entry.target {
            Target::Domain(sid) => sid.as_bytes(),
            Target::Trunk(sid) => sid.as_bytes(),
        };
        let rate = limit.rate(&entry.policy().guesses)?;
        let scope = Scope { account: account.as_bytes(), target };
        Some((limit.key(&self.state.guesses, scope, name.as_bytes(), source), rate))
    }

    fn guess_state(
        &self,
        limit: GuessLimit,
        key: GuessKey,
        rate: GuessRate,
        now_ms: u64,
    ) -> GuessState {
        let debt = self.state.guesses.debt(key);
        let wrong = rate.owed(debt.idle_from_ms, now_ms);
        let [earliest, latest] = rate.oldest_ms(debt.idle_from_ms, now_ms);
        let time = |ms: u64| if wrong > 0 { self.clock.when(ms) } else { None };
        let next_ms = rate.next_ms(debt.idle_from_ms);
        GuessState {
            limit,
            rate,
            wrong,
            is_own: wrong > 0 && debt.is_own,
            since_earliest: time(earliest),
            since_latest: time(latest),
            held_until: if next_ms > now_ms { self.clock.when(next_ms) } else { None },
        }
    }
}
