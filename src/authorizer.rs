//! What decides: the snapshot in force and what must outlive it. The steps of a decision are in
//! `decide`, those of judging digest credentials in `judge`, and `batch` takes many at once.

mod batch;
mod clock;
mod counters;
mod decide;
#[cfg(feature = "tracing")]
mod events;
mod explain;
mod judge;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sha2::{Digest, Sha256};

use self::clock::Clock;
use self::counters::Counters;
pub use self::counters::Counts;
use self::decide::Deciding;
#[cfg(feature = "tracing")]
pub use self::events::EventOptions;
pub use self::explain::{Explanation, HeaderStep, NonceState, Step, UserOutcome};
use self::explain::{NoTrace, Steps, Trace};
use crate::decision::{Decision, Reason, Reject};
use crate::digest::{
    Fingerprints, GuessLimiter, MAX_OUTPUT_LEN, NonceIssuer, ReplayTable, RetransmissionCache,
};
use crate::invite::Invite;
use crate::model::Commit;
use crate::snapshot::{ApplyError, Snapshot, SnapshotCell};

/// Decides INVITEs against the snapshot in force. One for each process, shared by all threads.
///
/// It owns what must outlive a snapshot: the key of its nonces, what was used of them, and who
/// guessed how often. None of these is ever copied. A nonce is good only at the `Authorizer` that
/// issued it, so a fleet sends the retry where the challenge came from (by source address or
/// Call-ID, not round robin), and a program that forks makes it after the fork.
pub struct Authorizer {
    snapshot: SnapshotCell,
    clock: Clock,
    state: State,
    #[cfg(feature = "tracing")]
    events: events::Events,
}

/// What must outlive a snapshot.
pub(crate) struct State {
    pub(crate) nonces: NonceIssuer,
    pub(crate) replay: ReplayTable,
    /// Requests accepted over UDP, to know their retransmissions.
    pub(crate) accepted: RetransmissionCache,
    /// Requests refused over UDP for a wrong digest, so that a retransmission counts once.
    pub(crate) refused: RetransmissionCache,
    pub(crate) guesses: GuessLimiter,
    pub(crate) fingerprints: Fingerprints,
    /// Stands in for the hash of a user that cannot be verified.
    pub(crate) decoy: [u8; MAX_OUTPUT_LEN],
    pub(crate) counters: Counters,
}

/// How much an [`Authorizer`] remembers. All memory is taken when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capacity {
    /// Nonces whose use is remembered. Default 131,072. A table too small for the calls that come
    /// within a nonce's lifetime shortens lifetimes; it never lets a replay pass.
    pub nonces: usize,
    /// Accepted requests whose retransmissions are recognised for 32 s. Default 65,536. One that is
    /// forgotten costs its sender another challenge.
    pub repeats: usize,
    /// Sources and (name, source) pairs whose wrong attempts are counted. Default 65,536.
    pub guesses: usize,
}

impl Capacity {
    /// The default.
    pub const DEFAULT: Self = Self { nonces: 131_072, repeats: 65_536, guesses: 65_536 };
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

/// The operating system gave no random bytes, so no key could be made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no random bytes from the operating system: {0}")]
pub struct SeedError(getrandom::Error);

/// The refusal at and after the deadline.
const STALE: Decision = Decision::Reject(Reject { target: None, reason: Reason::SnapshotStale });

impl Authorizer {
    /// An authorizer with a random key from the operating system, the default [`Capacity`], and its
    /// clock starting now.
    ///
    /// # Errors
    ///
    /// [`SeedError`] if the operating system has no random bytes.
    pub fn new(snapshot: Snapshot) -> Result<Self, SeedError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(SeedError)?;
        Ok(Self::from_seed(snapshot, Capacity::default(), &seed, Instant::now()))
    }

    /// An authorizer whose keys are derived from `seed`, which must be random, secret, and never
    /// used for another authorizer: two with one seed take each other's nonces, and a captured
    /// request would be accepted by both. `now` is the start of its clock.
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
        // as many keys as the longest hash takes
        let mut decoy = [0; MAX_OUTPUT_LEN];
        for (number, part) in decoy.chunks_mut(32).enumerate() {
            let number = if number == 0 { String::new() } else { number.to_string() };
            let key = key(&format!("decoy{number}"));
            part.iter_mut().zip(key).for_each(|(byte, from)| *byte = from);
        }
        Self {
            snapshot: SnapshotCell::new(snapshot),
            clock: Clock::starting_at(now),
            state: State {
                nonces: NonceIssuer::new(short_key("nonce")),
                replay: ReplayTable::new(capacity.nonces, &short_key("replay")),
                accepted: RetransmissionCache::new(capacity.repeats),
                refused: RetransmissionCache::new(capacity.repeats),
                guesses: GuessLimiter::new(capacity.guesses, &short_key("guess")),
                fingerprints: Fingerprints::new(&key("fingerprint")),
                decoy,
                counters: Counters::default(),
            },
            #[cfg(feature = "tracing")]
            events: events::Events::default(),
        }
    }

    /// Decides one INVITE at the time `now`, which is the caller's: a time earlier than one already
    /// seen counts as that one, so a clock that steps back brings no used nonce to life.
    pub fn authorize(&self, invite: &Invite<'_>, now: Instant) -> Decision {
        #[cfg(feature = "tracing")]
        let _span = tracing::debug_span!("authorize", invites = 1).entered();
        let now_ms = self.clock.advance(now);
        let snapshot = self.snapshot.load(now_ms);
        let decision = match &snapshot {
            Some(snapshot) => self.deciding(snapshot, now_ms).decide(invite, &mut NoTrace),
            None => STALE,
        };
        self.state.counters.count(&decision);
        #[cfg(feature = "tracing")]
        self.events.tell(
            std::slice::from_ref(invite),
            std::slice::from_ref(&decision),
            snapshot.map(|snapshot| snapshot.number()),
        );
        decision
    }

    /// Decides several INVITEs at the time `now`, each as [`Self::authorize`] would one after the
    /// other: `out` then holds one decision for each, in their order, and nothing else. A caller
    /// that keeps `out` from batch to batch keeps its memory.
    ///
    /// Returns the number of the snapshot that they were decided by, for who keeps a record of
    /// decisions; none if [`Self::refuse_from`] refused them all.
    pub fn authorize_batch(
        &self,
        invites: &[Invite<'_>],
        now: Instant,
        out: &mut Vec<Decision>,
    ) -> Option<u64> {
        #[cfg(feature = "tracing")]
        let _span = tracing::debug_span!("authorize", invites = invites.len()).entered();
        let now_ms = self.clock.advance(now);
        out.clear();
        let snapshot = self.snapshot.load(now_ms);
        match &snapshot {
            Some(snapshot) => self.deciding(snapshot, now_ms).decide_batch(invites, out),
            None => out.extend(invites.iter().map(|_| STALE)),
        }
        self.state.counters.count_all(out);
        let number = snapshot.map(|snapshot| snapshot.number());
        #[cfg(feature = "tracing")]
        self.events.tell(invites, out, number);
        number
    }

    /// As [`Self::authorize`], at the present time.
    pub fn authorize_now(&self, invite: &Invite<'_>) -> Decision {
        self.authorize(invite, Instant::now())
    }

    /// Decides as [`Self::authorize`] would and tells each step on the way. Nothing is used up or
    /// counted: no nonce, no guess, so of several wrong headers in one request a later one never meets
    /// the limit that an earlier one has reached. Allocates; not for the hot path.
    pub fn explain(&self, invite: &Invite<'_>, now: Instant) -> Explanation {
        let now_ms = self.clock.read(now);
        let mut steps = Steps::default();
        let decision = match self.snapshot.load(now_ms) {
            Some(snapshot) => self.deciding(&snapshot, now_ms).decide(invite, &mut steps),
            None => {
                steps.step(|| Step::Stale);
                STALE
            }
        };
        Explanation { steps: steps.into_vec(), decision }
    }

    /// Refuses every INVITE at `deadline` and later with [`Reason::SnapshotStale`], until it is set
    /// anew; with none, which is how an authorizer begins, never. For edges that must not go on by a
    /// snapshot that nobody has confirmed for a while: what confirms it moves the deadline on.
    pub fn refuse_from(&self, deadline: Option<Instant>) {
        self.snapshot.set_deadline(deadline.map_or(u64::MAX, |at| self.clock.at(at)));
    }

    /// Whether an INVITE would be refused at the time `now` for the deadline of
    /// [`Self::refuse_from`]. A program that was held up between taking the time for a decision and
    /// acting on an accept can look again.
    #[must_use]
    pub fn is_stale(&self, now: Instant) -> bool {
        self.snapshot.load(self.clock.read(now)).is_none()
    }

    fn deciding<'a>(&'a self, snapshot: &'a Snapshot, now_ms: u64) -> Deciding<'a> {
        Deciding { state: &self.state, snapshot, now_ms }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts another snapshot in force, whole. Decisions already begun end with the old one.
    pub fn replace(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let replaced = self.snapshot.update(|_| Ok::<_, std::convert::Infallible>(snapshot));
        replaced.unwrap_or_else(|never| match never {})
    }

    /// Puts the snapshot that `commit` makes of the one in force in its place.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; the old snapshot then stays in force.
    pub fn apply(&self, commit: &Commit) -> Result<Arc<Snapshot>, ApplyError> {
        self.snapshot.update(|snapshot| snapshot.apply(commit))
    }

    /// The deadline of [`Self::refuse_from`], to the millisecond.
    #[must_use]
    pub fn refuses_from(&self) -> Option<Instant> {
        let deadline_ms = self.snapshot.deadline();
        (deadline_ms < u64::MAX).then(|| self.clock.when(deadline_ms)).flatten()
    }

    /// Which decisions subscribers of the crate `tracing` are told of, as events of the target
    /// `sip_authz::decision` and the level INFO, and what of them. At the beginning each, without
    /// addresses and names of users. Each call of `authorize` is a span of the level DEBUG.
    #[cfg(feature = "tracing")]
    pub fn set_events(&self, options: EventOptions) {
        self.events.set(options);
    }

    /// For how long the snapshot in force has been there, by the system's clock.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn snapshot_age(&self) -> std::time::Duration {
        self.snapshot.age()
    }

    /// How many INVITEs were decided, and how. [`Self::explain`] counts nothing.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counters.counts()
    }

    /// How many credentials were refused without a look, because too many wrong ones had come before.
    #[must_use]
    pub fn guesses_refused(&self) -> u64 {
        self.state.counters.guesses_refused.load(Ordering::Relaxed)
    }

    /// How many credentials came with a nonce that this authorizer did not issue for their source
    /// and host. It grows fast where retries do not reach the authorizer that challenged.
    #[must_use]
    pub fn foreign_nonces(&self) -> u64 {
        self.state.counters.foreign_nonces.load(Ordering::Relaxed)
    }

    /// How many nonces are remembered as used, and how many fit. Walks the whole table; for metrics.
    #[must_use]
    pub fn remembered_nonces(&self) -> (usize, usize) {
        (self.state.replay.len(), self.state.replay.capacity())
    }
}
