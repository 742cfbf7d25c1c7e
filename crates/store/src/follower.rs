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
use crate::{CommitEntry, Feed, Head, Store, StoreError, StoreSnapshot};
use sip_authz::Authorizer;
use sip_authz::model::Vocabulary;
use sip_authz::{ApplyError, Snapshot};

/// After this long without a commit from the feed, the follower reads the head. If the head shows newer
/// commits, it waits for them for `COMMIT_WAIT` more.
const SILENCE: Duration = Duration::from_secs(10);
const COMMIT_WAIT: Duration = Duration::from_secs(5);
/// The wait after the first failure, and the longest wait. Each failure doubles the wait.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why commits cannot be applied at present. The authorizer goes on with the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowerError {
    /// The store failed, or no longer has a commit that this follower needs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A commit breaks a rule of the records.
    #[error("commit {number}: {error}")]
    Apply {
        /// The number of the commit.
        number: u64,
        /// The broken rule.
        error: ApplyError,
    },
    /// A commit came out of order.
    #[error("expected commit {expected}, got {got}")]
    Gap {
        /// The number of the expected commit.
        expected: u64,
        /// The number of the received commit, or of the head if the feed stays silent.
        got: u64,
    },
    /// The commit's checksum or count does not match the records of this follower, so the follower
    /// missed a write.
    #[error("commit {number}: {error}")]
    Differs {
        /// The number of the commit.
        number: u64,
        /// The difference.
        error: StoreError,
    },
}

/// A change in the state of a [`Follower`], for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowerEvent {
    /// An attempt to apply commits failed. The follower tries again.
    Behind(FollowerError),
    /// All records were reloaded, as of this number.
    Loaded(u64),
    /// After a failure, the follower applies commits again, from this number on.
    Following(u64),
}

/// Applies a store's commits to an [`Authorizer`].
pub struct Follower<S: Store> {
    store: S,
    authorizer: Arc<Authorizer>,
    /// The head that the authorizer's snapshot corresponds to.
    head: Head,
    applied: Applied,
    /// The snapshot may differ from the store at `head`, or the commits after `head` are gone. The
    /// follower must reload all records.
    must_reload: bool,
    /// The last reload failed because the records in the store break a rule.
    reload_fails: bool,
    /// Failed attempts since the last applied commit or the last feed that started.
    failures: u32,
}

impl<S: Store> Follower<S> {
    /// Loads every record of `store` into a snapshot with the number of its head, and returns it with the
    /// head. An authorizer that has decided before takes it by [`Authorizer::replace_numbered`].
    ///
    /// # Errors
    ///
    /// [`FollowerError`] if the store cannot be read or its records break a rule.
    pub async fn load(
        store: &S,
        vocabulary: &'static Vocabulary,
    ) -> Result<(Snapshot, Head), FollowerError> {
        let StoreSnapshot { head, records } = store.load().await?;
        let number = head.number;
        let builder = Snapshot::builder().vocabulary(vocabulary).number(number).records(records);
        let built = builder.build().map_err(|error| FollowerError::Apply { number, error })?;
        Ok((built, head))
    }

    /// A follower of `store` for an authorizer whose snapshot was loaded from it as of `head`.
    #[must_use]
    pub fn new(store: S, authorizer: Arc<Authorizer>, head: Head) -> Self {
        let applied = Applied::new(head);
        Self {
            store,
            authorizer,
            head,
            applied,
            must_reload: false,
            reload_fails: false,
            failures: 0,
        }
    }

    /// A handle on the progress of the authorizer.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied.clone()
    }

    /// Applies commits until the first failure, for programs that exit then. Other programs use
    /// [`keep`](Self::keep). Run it as a task of its own.
    ///
    /// # Errors
    ///
    /// Always returns an error; the authorizer keeps the last snapshot.
    pub async fn run(mut self) -> Result<Infallible, FollowerError> {
        let mut feed = self.store.follow(self.head).await?;
        loop {
            let next = feed.next().await?;
            self.apply(next).await?;
        }
    }

    /// Applies commits without end. Run it as a task of its own, on a thread that a reload may occupy.
    ///
    /// The follower applies a commit only if it follows the last one by number, count and checksum.
    /// Otherwise it reloads all records and replaces the snapshot as a whole; until then the authorizer
    /// decides by the last snapshot. After each failure it waits longer, up to ten seconds.
    pub async fn keep<T: Timer>(
        mut self,
        timer: T,
        mut on_event: impl FnMut(FollowerEvent) + Send,
    ) -> Infallible {
        loop {
            let error = self.follow(&timer, &mut on_event).await;
            self.failures = self.failures.saturating_add(1);
            self.applied.set_failed(&error);
            self.applied.set_stuck(self.reload_fails);
            on_event(FollowerEvent::Behind(error));
            timer.sleep(self.pause(timer.random())).await;
        }
    }

    /// Applies commits until the first failure, and notes whether a reload is needed.
    async fn follow(
        &mut self,
        timer: &impl Timer,
        on_event: &mut (impl FnMut(FollowerEvent) + Send),
    ) -> FollowerError {
        let error = match self.begin(on_event).await {
            Ok(feed) => self.apply_from(feed, timer, on_event).await,
            Err(error) => error,
        };
        match &error {
            // a reload repairs all of these
            FollowerError::Apply { .. }
            | FollowerError::Gap { .. }
            | FollowerError::Differs { .. } => self.must_reload = true,
            // the next commit stays unreadable, so another attempt does not help
            FollowerError::Store(
                StoreError::Corrupt(_) | StoreError::Restored(_) | StoreError::Newer(_),
            ) => {
                self.must_reload = true;
            }
            // the store answers, but reading the next commit has failed twice in a row
            FollowerError::Store(_) if self.failures > 0 => {
                self.must_reload |= self.store.head().await.is_ok();
            }
            FollowerError::Store(_) => {}
        }
        error
    }

    /// Starts a feed at the current snapshot, after a reload if one is needed.
    async fn begin(
        &mut self,
        on_event: &mut (impl FnMut(FollowerEvent) + Send),
    ) -> Result<S::Feed, FollowerError> {
        if self.failures > 0 && !self.must_reload {
            let head = self.store.head().await?;
            self.applied.set_head_seen(head.number);
            if self.head.has_records_of(head) {
                // the same records in another history
                self.head = head;
                self.applied.set(head);
            }
            // the store was restored from a backup, or is a different one
            self.must_reload = (head.incarnation != self.head.incarnation && self.head.number > 0)
                || head.number < self.head.number
                || (head.number == self.head.number && head != self.head);
        }
        if self.must_reload {
            let (snapshot, head) = self.reload().await?;
            self.authorizer.replace_numbered(snapshot);
            self.head = head;
            self.must_reload = false;
            self.applied.set_head_seen(head.number);
            self.applied.set(head);
            on_event(FollowerEvent::Loaded(head.number));
        }
        Ok(self.store.follow(self.head).await?)
    }

    async fn reload(&mut self) -> Result<(Snapshot, Head), FollowerError> {
        let vocabulary = self.authorizer.snapshot().vocabulary();
        let loaded = Self::load(&self.store, vocabulary).await;
        self.reload_fails = matches!(loaded, Err(FollowerError::Apply { .. }));
        loaded
    }

    async fn apply_from(
        &mut self,
        mut feed: S::Feed,
        timer: &impl Timer,
        on_event: &mut (impl FnMut(FollowerEvent) + Send),
    ) -> FollowerError {
        if self.failures > 0 && self.store.head().await.is_ok_and(|head| head == self.head) {
            self.recovered(on_event);
        }
        loop {
            match self.apply_next(&mut feed, timer).await {
                Ok(()) if self.failures > 0 => self.recovered(on_event),
                Ok(()) => {}
                Err(error) => return error,
            }
        }
    }

    fn recovered(&mut self, on_event: &mut (impl FnMut(FollowerEvent) + Send)) {
        self.failures = 0;
        self.applied.set_recovered();
        self.applied.set_stuck(false);
        on_event(FollowerEvent::Following(self.head.number));
    }

    /// The next commit. If the feed loses the last commit, no later commit shows the gap. So after a
    /// silence the follower reads the head of the store.
    async fn next(
        &self,
        feed: &mut S::Feed,
        timer: &impl Timer,
    ) -> Result<CommitEntry, FollowerError> {
        let mut coming = pin!(feed.next());
        loop {
            if let Some(next) = first(coming.as_mut(), timer.sleep(SILENCE)).await {
                return Ok(next?);
            }
            let head = self.store.head().await?;
            let got = head.number;
            self.applied.set_head_seen(got);
            if head.incarnation != self.head.incarnation && self.head.number > 0 {
                return Err(StoreError::restored(head.number).into());
            }
            if got != self.head.number {
                let expected = self.head.number.saturating_add(1);
                let next = first(coming.as_mut(), timer.sleep(COMMIT_WAIT)).await;
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

    async fn apply(&mut self, next: CommitEntry) -> Result<(), FollowerError> {
        let (expected, number) = (self.head.number.saturating_add(1), next.head.number);
        // an earlier read of the head may have seen a higher number
        self.applied.set_head_seen(self.applied.seen().max(number));
        if number != expected {
            return Err(FollowerError::Gap { expected, got: number });
        }
        // checked before it is applied, so that no decision uses a state that the store never had
        let checked = next.check(self.head);
        checked.map_err(|error| match error {
            StoreError::Restored(_) => error.into(),
            error => FollowerError::Differs { number, error },
        })?;
        let applied = self.authorizer.apply(&next.commit);
        applied.map_err(|error| FollowerError::Apply { number, error })?;
        self.head = next.head;
        self.applied.set(next.head);
        Ok(())
    }

    /// A random wait between half and all of the back-off time, so that many edges do not return to a
    /// store at the same moment.
    fn pause(&self, random: u32) -> Duration {
        let longest = FIRST_PAUSE
            .saturating_mul(1 << self.failures.saturating_sub(1).min(16))
            .min(LONGEST_PAUSE);
        longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// Wakes all tasks that wait for this follower, however it ends.
impl<S: Store> Drop for Follower<S> {
    fn drop(&mut self) {
        self.applied.end();
    }
}
