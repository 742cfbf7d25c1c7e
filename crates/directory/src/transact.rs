//! The loop of every command: read the head, plan a commit, write it if the head is still the same.

use std::time::Duration;

use super::check::check;
use super::{Directory, DirectoryError};
use sip_authz::model::{Commit, Key, Record};
use sip_authz_store::{CommitOutcome, Store};

/// The most attempts of a command when other commits come in between.
const ATTEMPTS: u32 = 16;

/// The result of planning a command at one head.
pub(super) enum Plan<T> {
    /// Check the commit against the rules, write it, and return this answer.
    Write(Commit, T),
    /// As [`Self::Write`], for a commit that was checked while it was planned.
    WriteChecked(Commit, T),
    /// Write nothing and return this answer.
    Answer(T),
    /// Another commit came in between: plan again at the new head.
    Conflict,
}

impl Plan<()> {
    /// Writes one record.
    pub(super) fn put(record: impl Into<Record>) -> Self {
        let mut commit = Commit::new();
        commit.put(record.into());
        Self::Write(commit, ())
    }

    /// Deletes the record with this key.
    pub(super) fn delete(key: Key) -> Self {
        let mut commit = Commit::new();
        commit.delete(key);
        Self::Write(commit, ())
    }
}

impl<T: Clone + Into<Record>> Plan<T> {
    /// Writes one record and returns it.
    pub(super) fn update(record: T) -> Self {
        let mut commit = Commit::new();
        commit.put(record.clone().into());
        Self::Write(commit, record)
    }
}

impl<S: Store> Directory<S> {
    /// Runs a command: `plan` gets the number of the head, reads the store and returns the writes. If
    /// another commit comes in between, `plan` runs again at the new head, up to [`ATTEMPTS`] times.
    /// Returns once decisions of this process see the commit.
    ///
    /// # Errors
    ///
    /// An error of `plan` ends the command at once. [`DirectoryError::Busy`] after the last attempt.
    pub(super) async fn transact<T, F>(&self, plan: impl Fn(u64) -> F) -> Result<T, DirectoryError>
    where
        // not `AsyncFn`, which cannot require its futures to be `Send`, as HTTP handlers must be
        F: Future<Output = Result<Plan<T>, DirectoryError>> + Send,
    {
        let _turn = self.turn.lock().await;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.store.pause(jitter(attempt)).await;
            }
            let head = self.head().await?;
            // A caller that was cancelled after its commit did not wait until it was applied. So each
            // command waits first; otherwise such callers could commit faster than the follower applies.
            self.wait_until_applied(head).await?;
            let (commit, answer) = match plan(head).await? {
                Plan::Answer(answer) => return Ok(answer),
                Plan::Conflict => continue,
                Plan::Write(commit, answer) | Plan::WriteChecked(commit, answer)
                    if commit.is_empty() =>
                {
                    return Ok(answer);
                }
                Plan::WriteChecked(commit, answer) => (commit, answer),
                Plan::Write(commit, answer) => {
                    match check(&self.store, self.settings.vocabulary, &commit).await {
                        Ok(()) => (commit, answer),
                        Err(error) if self.head().await? == head => return Err(error),
                        Err(_) => continue,
                    }
                }
            };
            let committed = self.store.commit(head, commit).await?;
            if let CommitOutcome::Committed(number) = committed {
                self.wait_until_applied(number).await?;
                return Ok(answer);
            }
        }
        Err(DirectoryError::Busy)
    }

    /// The number of the store's head.
    pub(super) async fn head(&self) -> Result<u64, DirectoryError> {
        Ok(self.store.head().await?.number)
    }

    /// Waits until the authorizer of this process has applied commit `number`.
    async fn wait_until_applied(&self, number: u64) -> Result<(), DirectoryError> {
        match &self.applied {
            Some(applied) if !applied.wait(number).await => Err(DirectoryError::NotFollowed),
            _ => Ok(()),
        }
    }
}

/// A random wait that spreads writers: up to 2 ms before the second attempt, doubled for each further
/// one up to 256 ms.
fn jitter(attempt: u32) -> Duration {
    let mut random = [0; 2];
    // without random bytes, use the longest wait
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u32::from(u16::from_le_bytes(random)),
        Err(_) => u32::from(u16::MAX),
    };
    let most = Duration::from_millis(1 << attempt.min(8));
    most * share / u32::from(u16::MAX)
}
