//! The way of every command: plan on the records, join a group of commits, wait until it is in force.

use std::time::Duration;

use super::check::check;
use super::group::{Planned, Settled};
use super::view::View;
use super::{Directory, DirectoryError};
use sip_authz::model::{Commit, Key, Record};
use sip_authz_store::{Head, Store};

/// The most attempts of a command when commits of other processes come in between.
pub(super) const ATTEMPTS: u32 = 16;

/// The result of planning a command on the records of one head.
pub(super) enum Plan<T> {
    /// Check the commit against the rules, write it, and return this answer.
    Write(Commit, T),
    /// As [`Self::Write`], for a commit that was checked while it was planned.
    WriteChecked(Commit, T),
    /// Write nothing and return this answer.
    Answer(T),
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
    /// Runs a command: `plan` gets the records and returns the writes. It runs again if the records have
    /// changed in the meantime, up to [`ATTEMPTS`] times because of other processes. Returns once
    /// decisions of this process see the commit.
    ///
    /// # Errors
    ///
    /// An error of `plan`, if it rests on durable records alone. [`DirectoryError::Busy`] after the last
    /// attempt.
    pub(super) async fn transact<T: Send>(
        &self,
        plan: impl Fn(View<'_>) -> Result<Plan<T>, DirectoryError> + Send + Sync,
    ) -> Result<T, DirectoryError> {
        let ticket = self.groups.ticket();
        let mut attempt = 0;
        loop {
            // A caller that was cancelled after its commit did not wait until it was applied. So each
            // command waits first; otherwise such callers could commit faster than the follower applies.
            let confirmed = self.records().await?;
            self.wait_until_applied(confirmed.head()).await?;
            let shared = (&self.store, &self.mirror);
            let settled =
                self.groups.stage(&ticket, shared, |view| self.planned(&plan, view)).await;
            match settled? {
                Settled::Answer(head, answer) => {
                    // a repeated command must not be answered before the first one is in force
                    self.wait_until_applied(head).await?;
                    return answer;
                }
                Settled::Committed(head, answer) => {
                    (self.on_commit)(head.number);
                    self.wait_until_applied(head).await?;
                    return Ok(answer);
                }
                Settled::PlanAgain => {}
                Settled::Conflict => {
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        return Err(DirectoryError::Busy);
                    }
                    self.store.pause(jitter(attempt)).await;
                }
            }
        }
    }

    /// Plans a command on these records, and checks its commit against the rules.
    fn planned<T>(
        &self,
        plan: impl Fn(View<'_>) -> Result<Plan<T>, DirectoryError>,
        view: View<'_>,
    ) -> Result<Planned<T>, DirectoryError> {
        let (commit, answer) = match plan(view)? {
            Plan::Answer(answer) => return Ok(Planned::Answer(answer)),
            Plan::WriteChecked(commit, answer) => (commit, answer),
            Plan::Write(commit, answer) => {
                check(view, self.settings.vocabulary, &commit)?;
                (commit, answer)
            }
        };
        if commit.is_empty() {
            return Ok(Planned::Answer(answer));
        }
        view.records.head().next_format().check_writes(&commit)?;
        Ok(Planned::Write(commit, answer))
    }

    /// Reads the records as of the store's head at the time of the call, or of a newer one.
    pub(super) async fn read<T>(
        &self,
        read: impl FnOnce(View<'_>) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let records = self.records().await?;
        read(View::of(&records))
    }

    /// Waits until the authorizer of this process has applied this head.
    pub(super) async fn wait_until_applied(&self, head: Head) -> Result<(), DirectoryError> {
        match &self.applied {
            Some(applied) if !applied.wait_for(head).await => Err(DirectoryError::NotFollowed),
            _ => Ok(()),
        }
    }
}

/// A random wait that spreads writers: up to 2 ms before the second attempt, doubled for each further
/// one up to 256 ms.
pub(super) fn jitter(attempt: u32) -> Duration {
    let mut random = [0; 2];
    // without random bytes, use the longest wait
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u32::from(u16::from_le_bytes(random)),
        Err(_) => u32::from(u16::MAX),
    };
    let most = Duration::from_millis(1 << attempt.min(8));
    most * share / u32::from(u16::MAX)
}
