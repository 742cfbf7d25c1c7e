//! The [`Authorizer`]: the snapshot in force, and the state that outlives it. `decide` has the
//! steps of a decision, `judge` verifies digest credentials, and `batch` decides many INVITEs at
//! once.

mod batch;
mod clock;
mod counters;
mod decide;
#[cfg(feature = "tracing")]
mod events;
mod explain;
mod judge;
mod limits;
mod naming;
mod process;
mod refusal;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sha2::{Digest, Sha256};
use sip_authz_arch::ForkGuard;

use self::clock::Clock;
use self::counters::Counters;
pub use self::counters::Counts;
use self::decide::DecisionContext;
#[cfg(feature = "tracing")]
pub use self::events::EventOptions;
pub use self::explain::{
    ExplainOptions, Explanation, FromOutcome, HeaderStep, NonceState, Step, ToOutcome, UserOutcome,
};
use self::explain::{NoTrace, Steps, View};
pub use self::limits::{GuessLimit, GuessState};
use crate::decision::{Decision, Reason, Reject};
use crate::digest::{
    Fingerprints, GuessLimiter, MAX_OUTPUT_LEN, NonceIssuer, ProvenFlows, ReplayTable,
    RetransmissionCache, StaleAnswers,
};
use crate::invite::Invite;
use crate::model::Commit;
use crate::sid::AccountSid;
use crate::snapshot::{ApplyError, Snapshot, SnapshotCell};

/// Decides INVITEs against the snapshot in force. Create one for each process; all threads share
/// it.
///
/// It owns the state that outlives a snapshot: the nonce key, the used nonces and the guess
/// counters. This state is never copied. A nonce is valid only at the `Authorizer` that issued it.
/// A fleet must therefore route the retry to the process that challenged, by source address or
/// Call-ID and not round robin.
///
/// A program that forks must create its `Authorizer` after the fork, and a daemon after it has
/// detached. In any other process than the one that created it, an `Authorizer` rejects every INVITE
/// with [`Reason::OtherProcess`] and takes no lock. Linux recognises every way to fork;
/// on other systems, and on Linux before 4.14, a raw `clone` and `_Fork` are not recognised.
pub struct Authorizer {
    process: ForkGuard,
    snapshot: SnapshotCell,
    clock: Clock,
    state: State,
    #[cfg(feature = "tracing")]
    events: events::Events,
}

/// State that outlives a snapshot.
pub(crate) struct State {
    pub(crate) nonces: NonceIssuer,
    pub(crate) replay: ReplayTable,
    /// Requests accepted over UDP, to recognise their retransmissions.
    pub(crate) accepted: RetransmissionCache,
    /// Requests with a wrong digest over UDP, so that a retransmission is counted once.
    pub(crate) refused: RetransmissionCache,
    pub(crate) guesses: GuessLimiter,
    /// `stale=true` answers to each flow and target whose nonces are not live. A table of its own: strangers
    /// can fill it.
    pub(crate) stale_answers: StaleAnswers,
    /// Flows that proved a password within the hour.
    pub(crate) proven: ProvenFlows,
    pub(crate) fingerprints: Fingerprints,
    /// Verified against in place of the HA1 of a user that cannot authenticate.
    pub(crate) decoy: [u8; MAX_OUTPUT_LEN],
    pub(crate) counters: Counters,
}

/// Sizes of the tables of an [`Authorizer`]. All their memory is allocated when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capacity {
    /// Number of used nonces kept. Default 131,072. If more calls arrive within a nonce lifetime,
    /// nonces expire earlier; a replay is still never accepted.
    pub nonces: usize,
    /// Number of accepted requests whose retransmissions are recognised for 32 s. Default 65,536. A
    /// retransmission of an evicted request gets another challenge. As many flows are remembered
    /// that proved a password within the hour.
    pub repeats: usize,
    /// Number of sources whose wrong digests are counted, for each account and up to sixteen names.
    /// Default 16,384. Sixteen times as many more are remembered as guessers.
    pub guesses: usize,
}

impl Capacity {
    /// The default sizes.
    pub const DEFAULT: Self = Self { nonces: 131_072, repeats: 65_536, guesses: 16_384 };
}

impl Default for Capacity {
    fn default() -> Self {
        Self::DEFAULT
    }
}

crate::setters! {
    Capacity {
        with_nonces: nonces: usize,
        with_repeats: repeats: usize,
        with_guesses: guesses: usize,
    }
}

/// Number of flows whose `stale=true` answers are counted. A flow that is forgotten gets more of
/// them.
const STALE_FLOWS: usize = 8_192;

/// The operating system returned no random bytes, so no key could be created.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no random bytes from the operating system: {0}")]
pub struct SeedError(getrandom::Error);

/// The decision at and after the deadline.
const STALE: Decision = Decision::Reject(Reject::new(None, Reason::SnapshotStale));

impl Authorizer {
    /// Creates an authorizer with a random key from the operating system and the default
    /// [`Capacity`]. Its clock starts now.
    ///
    /// # Errors
    ///
    /// [`SeedError`] if the operating system has no random bytes.
    pub fn new(snapshot: Snapshot) -> Result<Self, SeedError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(SeedError)?;
        Ok(Self::from_seed(snapshot, Capacity::default(), &seed, Instant::now()))
    }

    /// Creates an authorizer with keys derived from `seed`, and a clock that starts at `now`.
    ///
    /// The seed must be random, secret and used for one authorizer only. Two authorizers with the
    /// same seed accept each other's nonces, so both would accept a captured request.
    #[must_use]
    pub fn from_seed(
        snapshot: Snapshot,
        capacity: Capacity,
        seed: &[u8; 32],
        now: Instant,
    ) -> Self {
        let key = |purpose: &str| {
            let hash: [u8; 32] =
                Sha256::new_with_prefix(seed).chain_update(purpose).finalize().into();
            hash
        };
        let short_key = |purpose: &str| {
            let mut short = [0; 16];
            short.iter_mut().zip(key(purpose)).for_each(|(byte, from)| *byte = from);
            short
        };
        // the decoy is as long as the longest hash, so it takes several keys
        let mut decoy = [0; MAX_OUTPUT_LEN];
        for (number, part) in decoy.chunks_mut(32).enumerate() {
            let number = if number == 0 { String::new() } else { number.to_string() };
            let key = key(&format!("decoy{number}"));
            part.iter_mut().zip(key).for_each(|(byte, from)| *byte = from);
        }
        Self {
            process: ForkGuard::of_this_process(),
            snapshot: SnapshotCell::new(snapshot),
            clock: Clock::starting_at(now),
            state: State {
                nonces: NonceIssuer::new(short_key("nonce")),
                replay: ReplayTable::new(capacity.nonces, &short_key("replay")),
                accepted: RetransmissionCache::new(capacity.repeats),
                refused: RetransmissionCache::new(capacity.repeats),
                guesses: GuessLimiter::new(capacity.guesses, &short_key("guess")),
                stale_answers: StaleAnswers::new(STALE_FLOWS, &short_key("stale")),
                proven: ProvenFlows::new(capacity.repeats),
                fingerprints: Fingerprints::new(&key("fingerprint")),
                decoy,
                counters: Counters::default(),
            },
            #[cfg(feature = "tracing")]
            events: events::Events::default(),
        }
    }

    /// Decides one INVITE at the time `now`.
    ///
    /// The clock never steps back: an earlier `now` counts as the latest time seen, so a used nonce
    /// does not become valid again.
    pub fn authorize(&self, invite: &Invite<'_>, now: Instant) -> Decision {
        if self.is_copy() {
            return self.refuse_in_copy();
        }
        #[cfg(feature = "tracing")]
        let _span = tracing::debug_span!("authorize", invites = 1).entered();
        let now_ms = self.clock.advance(now);
        let snapshot = self.snapshot.load(now_ms);
        let decision = match &snapshot {
            Some(snapshot) => self.context(snapshot, now_ms).decide(invite, &mut NoTrace),
            None => STALE,
        };
        self.state.counters.count(&decision);
        #[cfg(feature = "tracing")]
        self.events.emit(
            std::slice::from_ref(invite),
            std::slice::from_ref(&decision),
            snapshot.map(|snapshot| snapshot.number()),
        );
        decision
    }

    /// Decides several INVITEs at the time `now`, with the same results as [`Self::authorize`] for
    /// each in turn.
    ///
    /// `out` is cleared first, then holds one decision for each INVITE in order. Reuse it to avoid
    /// allocation.
    ///
    /// Returns the number of the snapshot that decided them, or none if all were past the deadline
    /// of [`Self::refuse_from`] or in a process that did not create the authorizer.
    pub fn authorize_batch(
        &self,
        invites: &[Invite<'_>],
        now: Instant,
        out: &mut Vec<Decision>,
    ) -> Option<u64> {
        if self.is_copy() {
            self.refuse_all_in_copy(invites.len(), out);
            return None;
        }
        #[cfg(feature = "tracing")]
        let _span = tracing::debug_span!("authorize", invites = invites.len()).entered();
        let now_ms = self.clock.advance(now);
        out.clear();
        let snapshot = self.snapshot.load(now_ms);
        match &snapshot {
            Some(snapshot) => self.context(snapshot, now_ms).decide_batch(invites, out),
            None => out.extend(invites.iter().map(|_| STALE)),
        }
        self.state.counters.count_all(out);
        let number = snapshot.map(|snapshot| snapshot.number());
        #[cfg(feature = "tracing")]
        self.events.emit(invites, out, number);
        number
    }

    /// Decides as [`Self::authorize`] does, at the present time.
    pub fn authorize_now(&self, invite: &Invite<'_>) -> Decision {
        self.authorize(invite, Instant::now())
    }

    /// Decides as [`Self::authorize`] does and records each step.
    ///
    /// Changes no state: it uses up no nonce and counts no guess. With several wrong headers in one
    /// request, a later header therefore never reaches a limit through an earlier one. Allocates;
    /// not for the hot path.
    ///
    /// The steps also verify the digest of credentials whose nonce is not live, which a decision
    /// does not. Do not show them to a caller, who could otherwise try passwords without limit.
    /// To explain to such a caller, use [`Self::explain_with`].
    pub fn explain(&self, invite: &Invite<'_>, now: Instant) -> Explanation {
        self.explain_with(invite, now, ExplainOptions::default())
    }

    /// Explains as [`Self::explain`] does, as `options` say. With
    /// [`counts_guesses`](ExplainOptions::counts_guesses), wrong digests take tokens of the guess limits;
    /// nothing else changes state. Allocates; not for the hot path.
    pub fn explain_with(
        &self,
        invite: &Invite<'_>,
        now: Instant,
        options: ExplainOptions,
    ) -> Explanation {
        match options.counts_guesses {
            true => self.explain_by::<true>(invite, now, options.account),
            false => self.explain_by::<false>(invite, now, options.account),
        }
    }

    fn explain_by<const COUNTS: bool>(
        &self,
        invite: &Invite<'_>,
        now: Instant,
        account: Option<AccountSid>,
    ) -> Explanation {
        if self.is_copy() {
            return self.explain_in_copy();
        }
        let now_ms = self.clock.read(now);
        let Some(snapshot) = self.snapshot.load(now_ms) else {
            return Explanation { steps: vec![Step::Stale], decision: STALE, snapshot: None };
        };
        let view =
            account.map_or(View::All, |account| View::Account(snapshot.account_slot(account)));
        let mut steps = Steps::<COUNTS>::new(view);
        let decision = self.context(&snapshot, now_ms).decide(invite, &mut steps);
        Explanation { steps: steps.into_vec(), decision, snapshot: Some(snapshot.number()) }
    }

    /// Sets the deadline from which every INVITE is refused with [`Reason::SnapshotStale`]; none,
    /// the default, means never.
    ///
    /// An edge that must not decide by an unconfirmed snapshot moves the deadline on each time it
    /// confirms the snapshot.
    pub fn refuse_from(&self, deadline: Option<Instant>) {
        self.snapshot.set_deadline(deadline.map_or(u64::MAX, |at| self.clock.at(at)));
    }

    /// Whether the deadline of [`Self::refuse_from`] refuses an INVITE at the time `now`.
    ///
    /// A program that was delayed between a decision and acting on it can check again.
    #[must_use]
    pub fn is_stale(&self, now: Instant) -> bool {
        self.snapshot.load(self.clock.read(now)).is_none()
    }

    fn context<'a>(&'a self, snapshot: &'a Snapshot, now_ms: u64) -> DecisionContext<'a> {
        DecisionContext { state: &self.state, snapshot, now_ms }
    }

    /// Returns the snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Replaces the snapshot in force and returns the new one. Decisions in progress finish with
    /// the old one.
    ///
    /// Numbers rise: a `snapshot` whose number is not above the replaced one's gets the next number. If a
    /// store numbers the snapshots, use [`Self::replace_numbered`].
    pub fn replace(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        self.replace_by(|replaced| {
            let number = replaced.number().saturating_add(1).max(snapshot.number());
            snapshot.numbered(number)
        })
    }

    /// Replaces the snapshot in force, as [`Self::replace`] does, by one that keeps its number.
    ///
    /// The number can be that of the replaced snapshot or a lower one, for example after a store was
    /// restored from a backup. A follower of a store needs it, since commits go by number.
    pub fn replace_numbered(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        self.replace_by(|_| snapshot)
    }

    fn replace_by(&self, next: impl FnOnce(&Snapshot) -> Snapshot) -> Arc<Snapshot> {
        if self.is_copy() {
            return self.snapshot();
        }
        let update = |replaced: &_| Ok::<_, std::convert::Infallible>(next(replaced));
        self.snapshot.update(update).unwrap_or_else(|never| match never {})
    }

    /// Applies `commit` to the snapshot in force and returns the new one.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] if the commit breaks a rule, or if this process did not create the authorizer;
    /// the old snapshot then stays in force.
    pub fn apply(&self, commit: &Commit) -> Result<Arc<Snapshot>, ApplyError> {
        if self.is_copy() {
            return Err(ApplyError::OtherProcess);
        }
        self.snapshot.update(|snapshot| snapshot.apply(commit))
    }

    /// Returns the deadline of [`Self::refuse_from`], to the millisecond.
    #[must_use]
    pub fn refuses_from(&self) -> Option<Instant> {
        let deadline_ms = self.snapshot.deadline();
        (deadline_ms < u64::MAX).then(|| self.clock.when(deadline_ms)).flatten()
    }

    /// Selects which decisions `tracing` subscribers receive as events of target
    /// `sip_authz::decision`, level INFO, and with which fields.
    ///
    /// By default all decisions, without addresses and user names. Each call of `authorize` is a
    /// span of level DEBUG. Neither exists in a process that did not create the authorizer.
    ///
    /// The time of an event depends on the cause of the decision, and on whether the claimed user exists.
    /// A caller could measure that: let the subscriber sample, or send answers at times of their own.
    #[cfg(feature = "tracing")]
    pub fn set_events(&self, options: EventOptions) {
        self.events.set(options);
    }

    /// Time since the snapshot in force was set, measured with `Instant::now`.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn snapshot_age(&self) -> std::time::Duration {
        self.snapshot.age()
    }

    /// Counts the requests decided, by outcome and reason, without those of [`Self::explain`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counters.counts()
    }

    /// Number of credentials refused unverified because a guess limit was reached.
    #[must_use]
    pub fn guesses_refused(&self) -> u64 {
        self.state.counters.guesses_refused.load(Ordering::Relaxed)
    }

    /// Number of credentials whose nonce this authorizer did not issue for their source and host.
    /// It grows fast if retries reach another process than the one that challenged.
    #[must_use]
    pub fn foreign_nonces(&self) -> u64 {
        self.state.counters.foreign_nonces.load(Ordering::Relaxed)
    }

    /// Number of used nonces kept, and the capacity. Scans the whole table; for metrics. The number
    /// is 0 in a process that did not create the authorizer.
    #[must_use]
    pub fn remembered_nonces(&self) -> (usize, usize) {
        let used = if self.is_copy() { 0 } else { self.state.replay.len() };
        (used, self.state.replay.capacity())
    }
}

/// Shows the snapshot by its number and its numbers of records, and no key, nonce or source.
impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}
