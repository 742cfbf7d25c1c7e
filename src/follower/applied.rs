//! How far an authorizer has come, for those who wait for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use event_listener::Event;

use crate::store::Head;

/// Tells how far the authorizer has come. Clones tell of the same one.
#[derive(Clone)]
pub struct Applied {
    shared: Arc<Shared>,
}

struct Shared {
    number: AtomicU64,
    head: Mutex<Head>,
    /// What the store holds breaks a rule, so that nothing more is applied until it is mended.
    stuck: AtomicBool,
    /// Nothing more will be applied.
    ended: AtomicBool,
    advanced: Event,
}

impl Applied {
    pub(super) fn new(head: Head) -> Self {
        let shared = Shared {
            number: AtomicU64::new(head.number),
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
