//! Keeps an authorizer's snapshot at the head of a store, commit by commit and in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use event_listener::Event;

use crate::authorizer::Authorizer;
use crate::model::Vocabulary;
use crate::snapshot::{ApplyError, Snapshot};
use crate::store::{Feed, Head, Loaded, Store, StoreError};

/// Why a follower stopped. The authorizer goes on with the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowerError {
    /// The store cannot be asked, or no longer has a commit that was missed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A commit breaks a rule: whoever wrote it did not check it.
    #[error("commit {number}: {error}")]
    Apply {
        /// The commit.
        number: u64,
        /// The rule.
        error: ApplyError,
    },
    /// A commit came out of order.
    #[error("commit {got} came where {expected} was due")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// After a commit, this process would have other records than the store: something was missed.
    #[error("commit {number}: {error}")]
    Differs {
        /// The commit.
        number: u64,
        /// What differs.
        error: StoreError,
    },
}

/// Tells how far the authorizer has come. Clones tell of the same one.
#[derive(Clone)]
pub struct Applied {
    shared: Arc<Shared>,
}

struct Shared {
    number: AtomicU64,
    /// Nothing more will be applied.
    ended: AtomicBool,
    advanced: Event,
}

impl Applied {
    /// The number of the last commit that decisions are made by.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.shared.number.load(Ordering::Acquire)
    }

    /// Returns true once commit `number` is applied: every decision that begins afterwards sees it.
    /// False if the follower has ended before.
    pub async fn wait(&self, number: u64) -> bool {
        loop {
            // listened first, so that an advance between the look and the wait is not missed
            let advanced = self.shared.advanced.listen();
            // in this order: what was applied last is seen though the follower has ended since
            let ended = self.shared.ended.load(Ordering::Acquire);
            if self.number() >= number {
                return true;
            }
            if ended {
                return false;
            }
            advanced.await;
        }
    }

    fn set(&self, number: u64) {
        self.shared.number.store(number, Ordering::Release);
        self.shared.advanced.notify(usize::MAX);
    }
}

/// Applies a store's commits to an [`Authorizer`].
pub struct Follower<S: Store> {
    store: S,
    authorizer: Arc<Authorizer>,
    /// Of what the authorizer's snapshot was made of.
    head: Head,
    applied: Applied,
}

impl<S: Store> Follower<S> {
    /// Loads every record of `store` into a snapshot, which is as of the head beside it.
    ///
    /// # Errors
    ///
    /// [`FollowerError`] if the store cannot be read or its records break a rule.
    pub async fn load(
        store: &S,
        vocabulary: &'static Vocabulary,
    ) -> Result<(Snapshot, Head), FollowerError> {
        let Loaded { head, records } = store.load().await?;
        let number = head.number;
        let builder = Snapshot::builder().vocabulary(vocabulary).number(number);
        let builder = records.into_iter().fold(builder, |builder, record| builder.record(record));
        let built = builder.build().map_err(|error| FollowerError::Apply { number, error })?;
        Ok((built, head))
    }

    /// A follower of `store` for an authorizer whose snapshot was loaded from it as of `head`.
    #[must_use]
    pub fn new(store: S, authorizer: Arc<Authorizer>, head: Head) -> Self {
        let shared = Shared {
            number: AtomicU64::new(head.number),
            ended: AtomicBool::new(false),
            advanced: Event::new(),
        };
        Self { store, authorizer, head, applied: Applied { shared: Arc::new(shared) } }
    }

    /// Tells how far the authorizer has come.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied.clone()
    }

    /// Applies commits as they come, until something is wrong. To be run as a task of its own.
    ///
    /// # Errors
    ///
    /// Always ends with one; the snapshot is then the last that could be made.
    pub async fn run(mut self) -> Result<std::convert::Infallible, FollowerError> {
        let mut feed = self.store.follow(self.head.number).await?;
        loop {
            let next = feed.next().await?;
            let (expected, number) = (self.head.number + 1, next.head.number);
            if number != expected {
                return Err(FollowerError::Gap { expected, got: number });
            }
            // before it is applied: decisions must not see what is not the store's
            let checked = next.check(self.head);
            checked.map_err(|error| FollowerError::Differs { number, error })?;
            let applied = self.authorizer.apply(&next.commit);
            applied.map_err(|error| FollowerError::Apply { number, error })?;
            self.head = next.head;
            self.applied.set(number);
        }
    }
}

/// However a follower ends, nobody waits for it any longer.
impl<S: Store> Drop for Follower<S> {
    fn drop(&mut self) {
        self.applied.shared.ended.store(true, Ordering::Release);
        self.applied.shared.advanced.notify(usize::MAX);
    }
}
