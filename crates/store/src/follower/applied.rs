//! The progress of an authorizer along the commits of its store.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use event_listener::Event;

use super::FollowerError;
use crate::{Head, Incarnation, StoreError};

/// The state of a [`Follower`](super::Follower), for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowerState {
    /// Commits are applied as they come.
    Following,
    /// The store failed or is corrupt, or no longer has a commit that the follower needs.
    Away,
    /// The store answers, but a commit does not follow the last one.
    Behind,
    /// The store is of a newer format than this version supports; nothing more is applied until an upgrade.
    Outdated,
    /// The records in the store break a rule; nothing is applied until they are repaired.
    Stuck,
    /// The follower has ended: nothing more will be applied.
    Ended,
}

impl FollowerState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Following, Self::Away, Self::Behind, Self::Outdated, Self::Stuck, Self::Ended];

    /// A stable text for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Away => "away",
            Self::Behind => "behind",
            Self::Outdated => "outdated",
            Self::Stuck => "stuck",
            Self::Ended => "ended",
        }
    }
}

/// A handle on the progress of an authorizer. Clones show the same authorizer.
#[derive(Clone)]
pub struct Applied {
    shared: Arc<Shared>,
}

struct Shared {
    number: AtomicU64,
    /// The last known number of the store's head.
    head_seen: AtomicU64,
    /// The result of the last attempt: [`FOLLOWING`], [`AWAY`], [`BEHIND`] or [`OUTDATED`].
    attempt: AtomicU8,
    head: Mutex<Head>,
    /// The records in the store break a rule; nothing is applied until they are repaired.
    stuck: AtomicBool,
    /// Nothing more will be applied.
    ended: AtomicBool,
    advanced: Event,
}

const FOLLOWING: u8 = 0;
const AWAY: u8 = 1;
const BEHIND: u8 = 2;
const OUTDATED: u8 = 3;

impl Applied {
    pub(super) fn new(head: Head) -> Self {
        let shared = Shared {
            number: AtomicU64::new(head.number),
            head_seen: AtomicU64::new(head.number),
            attempt: AtomicU8::new(FOLLOWING),
            head: Mutex::new(head),
            stuck: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            advanced: Event::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The number of the last applied commit.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.shared.number.load(Ordering::Acquire)
    }

    /// The head after the last applied commit.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last known number of the store's head, whether applied or not.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.shared.head_seen.load(Ordering::Relaxed)
    }

    /// The current state of the follower.
    #[must_use]
    pub fn state(&self) -> FollowerState {
        if self.shared.ended.load(Ordering::Acquire) {
            FollowerState::Ended
        } else if self.shared.stuck.load(Ordering::Acquire) {
            FollowerState::Stuck
        } else {
            match self.shared.attempt.load(Ordering::Relaxed) {
                AWAY => FollowerState::Away,
                BEHIND => FollowerState::Behind,
                OUTDATED => FollowerState::Outdated,
                _ => FollowerState::Following,
            }
        }
    }

    /// Waits until commit `number` is applied, and returns true: every decision that begins afterwards
    /// sees it. Returns false if the follower ends first, or if the records in the store break a rule.
    /// While the store is unreachable it keeps waiting.
    pub async fn wait(&self, number: u64) -> bool {
        loop {
            // registered first, so that no advance between the check and the wait is missed
            let advanced = self.shared.advanced.listen();
            // read before the number: the last commit counts even if the follower has ended since
            let ended = self.shared.ended.load(Ordering::Acquire)
                || self.shared.stuck.load(Ordering::Acquire);
            if self.number() >= number {
                return true;
            }
            if ended {
                return false;
            }
            advanced.await;
        }
    }

    /// As [`Self::wait`], for the commit that led to `head`: a commit with this number in another history of a
    /// restored store does not count. Returns false if the store was restored since. A head of a store without
    /// an incarnation counts by its number.
    pub async fn wait_for(&self, head: Head) -> bool {
        loop {
            // registered first, so that no advance between the check and the wait is missed
            let advanced = self.shared.advanced.listen();
            // read before the head, as in `wait`
            let ended = self.shared.ended.load(Ordering::Acquire)
                || self.shared.stuck.load(Ordering::Acquire);
            let applied = self.head();
            let is_same = applied.incarnation == head.incarnation
                || head.incarnation == Incarnation::default();
            if is_same && applied.number >= head.number {
                return true;
            }
            if ended || (!is_same && applied.incarnation > head.incarnation) {
                return false;
            }
            advanced.await;
        }
    }

    /// Waits until another head than `head` is applied; forever if the follower has ended.
    pub(super) async fn changed(&self, head: Head) {
        loop {
            let advanced = self.shared.advanced.listen();
            if self.head() != head {
                return;
            }
            advanced.await;
        }
    }

    /// Sets the number of the store's head. It can decrease after a restore.
    pub(super) fn set_head_seen(&self, number: u64) {
        self.shared.head_seen.store(number, Ordering::Relaxed);
    }

    pub(super) fn set_failed(&self, error: &FollowerError) {
        let attempt = match error {
            FollowerError::Store(StoreError::Newer(_)) => OUTDATED,
            FollowerError::Store(_) => AWAY,
            FollowerError::Apply { .. }
            | FollowerError::Gap { .. }
            | FollowerError::Differs { .. } => BEHIND,
        };
        self.shared.attempt.store(attempt, Ordering::Relaxed);
    }

    pub(super) fn set_recovered(&self) {
        self.shared.attempt.store(FOLLOWING, Ordering::Relaxed);
    }

    pub(super) fn set(&self, head: Head) {
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        self.shared.number.store(head.number, Ordering::Release);
        self.shared.advanced.notify(usize::MAX);
    }

    pub(super) fn set_stuck(&self, stuck: bool) {
        self.shared.stuck.store(stuck, Ordering::Release);
        self.shared.advanced.notify(usize::MAX);
    }

    pub(super) fn end(&self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.advanced.notify(usize::MAX);
    }
}
