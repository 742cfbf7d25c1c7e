//! Keeps an authorizer's snapshot at the head of a store, commit by commit and in order.

mod applied;
mod lease;
mod timer;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::applied::{Applied, FollowerState};
pub use self::lease::{Confirmed, Lease, LeaseEvent};
pub use self::timer::Timer;
use self::timer::first;
use crate::{Feed, Head, Loaded, Numbered, Store, StoreError};
use sip_authz::Authorizer;
use sip_authz::model::Vocabulary;
use sip_authz::{ApplyError, Snapshot};

/// How long a feed may be silent before the head is looked at, and how long what was committed by then
/// may still be on its way.
const SILENCE: Duration = Duration::from_secs(10);
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// The wait after a first failure, and the longest; each is doubled from the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why commits cannot be applied at present. The authorizer goes on with the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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

/// What a [`Follower`] tells of itself, for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowerEvent {
    /// Commits cannot be applied; it goes on trying. Told after each attempt.
    Behind(FollowerError),
    /// All records were loaded afresh, as of this number.
    Loaded(u64),
    /// After being behind, it follows again from this number.
    Following(u64),
}

/// Applies a store's commits to an [`Authorizer`].
pub struct Follower<S: Store> {
    store: S,
    authorizer: Arc<Authorizer>,
    /// Of what the authorizer's snapshot was made of.
    head: Head,
    applied: Applied,
    /// The snapshot may not be what the store had at `head`, or what came since is no longer there:
    /// all records have to be loaded afresh.
    doubt: bool,
    /// What the store holds breaks a rule, so that a fresh load fails too.
    hopeless: bool,
    /// Attempts that failed since a commit was last applied or a feed was last begun.
    failures: u32,
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
        let builder = Snapshot::builder().vocabulary(vocabulary).number(number).records(records);
        let built = builder.build().map_err(|error| FollowerError::Apply { number, error })?;
        Ok((built, head))
    }

    /// A follower of `store` for an authorizer whose snapshot was loaded from it as of `head`.
    #[must_use]
    pub fn new(store: S, authorizer: Arc<Authorizer>, head: Head) -> Self {
        let applied = Applied::new(head);
        Self { store, authorizer, head, applied, doubt: false, hopeless: false, failures: 0 }
    }

    /// Tells how far the authorizer has come.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied.clone()
    }

    /// Applies commits as they come, until something is wrong: for programs that then end. Others
    /// [`keep`](Self::keep) at it. To be run as a task of its own.
    ///
    /// # Errors
    ///
    /// Always ends with one; the snapshot is then the last that could be made.
    pub async fn run(mut self) -> Result<Infallible, FollowerError> {
        let mut feed = self.store.follow(self.head.number).await?;
        loop {
            let next = feed.next().await?;
            self.apply(next).await?;
        }
    }

    /// Applies commits as they come, for good. To be run as a task of its own, on a thread that may
    /// be busy for as long as a fresh load takes.
    ///
    /// A commit is applied only if it follows on the last by number, count and sum. On any doubt all
    /// records are loaded afresh and put in force at once, whole; until then decisions go by the last
    /// snapshot. After a failure it waits, longer each time up to ten seconds.
    pub async fn keep<T: Timer>(
        mut self,
        timer: T,
        mut tell: impl FnMut(FollowerEvent) + Send,
    ) -> Infallible {
        loop {
            let error = self.follow(&timer, &mut tell).await;
            self.failures = self.failures.saturating_add(1);
            self.applied.set_failed(&error);
            self.applied.set_stuck(self.hopeless);
            tell(FollowerEvent::Behind(error));
            timer.sleep(self.pause(timer.random())).await;
        }
    }

    /// Applies commits until something is wrong.
    async fn follow(
        &mut self,
        timer: &impl Timer,
        tell: &mut (impl FnMut(FollowerEvent) + Send),
    ) -> FollowerError {
        let came_to = match self.begin(tell).await {
            Ok(feed) => self.apply_from(feed, timer, tell).await,
            Err(error) => error,
        };
        match &came_to {
            // which of these it was, a fresh load sets right
            FollowerError::Apply { .. }
            | FollowerError::Gap { .. }
            | FollowerError::Differs { .. } => self.doubt = true,
            // the store can be asked, and still what came next could not be had from it
            FollowerError::Store(_) if self.failures > 0 => {
                self.doubt |= self.store.head().await.is_ok();
            }
            FollowerError::Store(_) => {}
        }
        came_to
    }

    /// Begins a feed at the present snapshot, or at a fresh one.
    async fn begin(
        &mut self,
        tell: &mut (impl FnMut(FollowerEvent) + Send),
    ) -> Result<S::Feed, FollowerError> {
        if self.failures > 0 && !self.doubt {
            let head = self.store.head().await?;
            self.applied.see(head.number);
            // the store was set back, or is another one
            self.doubt = head.number < self.head.number
                || (head.number == self.head.number && head != self.head);
        }
        if self.doubt {
            let (snapshot, head) = self.reload().await?;
            self.authorizer.replace(snapshot);
            self.head = head;
            self.doubt = false;
            self.applied.see(head.number);
            self.applied.set(head);
            tell(FollowerEvent::Loaded(head.number));
        }
        Ok(self.store.follow(self.head.number).await?)
    }

    async fn reload(&mut self) -> Result<(Snapshot, Head), FollowerError> {
        let vocabulary = self.authorizer.snapshot().vocabulary();
        let loaded = Self::load(&self.store, vocabulary).await;
        self.hopeless = matches!(loaded, Err(FollowerError::Apply { .. }));
        loaded
    }

    async fn apply_from(
        &mut self,
        mut feed: S::Feed,
        timer: &impl Timer,
        tell: &mut (impl FnMut(FollowerEvent) + Send),
    ) -> FollowerError {
        if self.failures > 0 && self.store.head().await.is_ok_and(|head| head == self.head) {
            self.recovered(tell);
        }
        loop {
            match self.apply_next(&mut feed, timer).await {
                Ok(()) if self.failures > 0 => self.recovered(tell),
                Ok(()) => {}
                Err(error) => return error,
            }
        }
    }

    fn recovered(&mut self, tell: &mut (impl FnMut(FollowerEvent) + Send)) {
        self.failures = 0;
        self.applied.set_recovered();
        self.applied.set_stuck(false);
        tell(FollowerEvent::Following(self.head.number));
    }

    /// The next commit. A feed that is silent is not trusted for ever: should the last commit that there
    /// is have got lost, none would come to tell.
    async fn next(
        &self,
        feed: &mut S::Feed,
        timer: &impl Timer,
    ) -> Result<Numbered, FollowerError> {
        let mut coming = pin!(feed.next());
        loop {
            if let Some(next) = first(coming.as_mut(), timer.sleep(SILENCE)).await {
                return Ok(next?);
            }
            let got = self.store.head().await?.number;
            self.applied.see(got);
            if got != self.head.number {
                let expected = self.head.number.saturating_add(1);
                let next = first(coming.as_mut(), timer.sleep(ON_ITS_WAY)).await;
                return Ok(next.ok_or(FollowerError::Gap { expected, got })??);
            }
        }
    }

    async fn apply_next(
        &mut self,
        feed: &mut S::Feed,
        timer: &impl Timer,
    ) -> Result<(), FollowerError> {
        let next = self.next(feed, timer).await?;
        self.apply(next).await
    }

    async fn apply(&mut self, next: Numbered) -> Result<(), FollowerError> {
        let (expected, number) = (self.head.number.saturating_add(1), next.head.number);
        // there may be more by now, which was seen already
        self.applied.see(self.applied.seen().max(number));
        if number != expected {
            return Err(FollowerError::Gap { expected, got: number });
        }
        // before it is applied: decisions must not see what is not the store's
        let checked = next.check(self.head);
        checked.map_err(|error| FollowerError::Differs { number, error })?;
        let applied = self.authorizer.apply(&next.commit);
        applied.map_err(|error| FollowerError::Apply { number, error })?;
        self.head = next.head;
        self.applied.set(next.head);
        Ok(())
    }

    /// From half the time to all of it, at random, so that edges that lost one store do not all come
    /// back to it at once.
    fn pause(&self, random: u32) -> Duration {
        let most = FIRST_PAUSE
            .saturating_mul(1 << self.failures.saturating_sub(1).min(16))
            .min(LONGEST_PAUSE);
        most / 2 + (most / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// However a follower ends, nobody waits for it any longer.
impl<S: Store> Drop for Follower<S> {
    fn drop(&mut self) {
        self.applied.end();
    }
}
