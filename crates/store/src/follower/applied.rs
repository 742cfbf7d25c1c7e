//! How far an authorizer has come, for those who wait for it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use event_listener::Event;

use super::FollowerError;
use crate::Head;

/// How a [`Follower`](super::Follower) stands to its store, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowerState {
    /// Commits are applied as they come.
    Following,
    /// The store cannot be asked: it is away, or no longer has a commit that was missed.
    Away,
    /// The store can be asked, but what came does not follow on what there is.
    Behind,
    /// What the store holds breaks a rule, so that nothing is applied until it is mended.
    Stuck,
    /// The follower has ended: nothing more will be applied.
    Ended,
}

impl FollowerState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Following, Self::Away, Self::Behind, Self::Stuck, Self::Ended];

    /// A stable text for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Away => "away",
            Self::Behind => "behind",
            Self::Stuck => "stuck",
            Self::Ended => "ended",
        }
    }
}

/// Tells how far the authorizer has come. Clones tell of the same one.
#[derive(Clone)]
pub struct Applied {
    shared: Arc<Shared>,
}

struct Shared {
    number: AtomicU64,
    /// The number that the store was last seen to have.
    seen: AtomicU64,
    /// Of the last attempt: [`FOLLOWING`], [`AWAY`] or [`BEHIND`].
    attempt: AtomicU8,
    head: Mutex<Head>,
    /// What the store holds breaks a rule, so that nothing more is applied until it is mended.
    stuck: AtomicBool,
    /// Nothing more will be applied.
    ended: AtomicBool,
    advanced: Event,
}

const FOLLOWING: u8 = 0;
const AWAY: u8 = 1;
const BEHIND: u8 = 2;

impl Applied {
    pub(super) fn new(head: Head) -> Self {
        let shared = Shared {
            number: AtomicU64::new(head.number),
            seen: AtomicU64::new(head.number),
            attempt: AtomicU8::new(FOLLOWING),
            head: Mutex::new(head),
            stuck: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            advanced: Event::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The number of the last commit that decisions are made by.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.shared.number.load(Ordering::Acquire)
    }

    /// The head of the store that decisions are made by: how many records there are, and their sum.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number that the store was last seen to have, applied or not.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.shared.seen.load(Ordering::Relaxed)
    }

    /// How the follower stands to its store at present.
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
                _ => FollowerState::Following,
            }
        }
    }

    /// Returns true once commit `number` is applied: every decision that begins afterwards sees it.
    /// False if the follower has ended before, or what the store holds cannot be applied. While the
    /// store cannot be reached it waits on.
    pub async fn wait(&self, number: u64) -> bool {
        loop {
            // listened first, so that an advance between the look and the wait is not missed
            let advanced = self.shared.advanced.listen();
            // in this order: what was applied last is seen though the follower has ended since
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

    /// The store was seen to have come to this number; one that was set back has come to less.
    pub(super) fn see(&self, number: u64) {
        self.shared.seen.store(number, Ordering::Relaxed);
    }

    pub(super) fn set_failed(&self, error: &FollowerError) {
        let attempt = match error {
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
