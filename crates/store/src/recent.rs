//! The newest commits of a store within this process, for feeds that lag behind.
//!
//! The followers of such a store run in the same process and have loaded its records. They never ask for
//! commits of earlier runs, so the commits are kept in memory only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;

use super::{CommitEntry, Feed, Head, StoreError};

/// Limits on the commits kept for feeds that lag behind, and on the writes in them. The last commit is
/// always kept, however large it is.
const MAX_COMMITS: usize = 4_096;
const MAX_WRITES: usize = 65_536;

/// The head and the newest commits.
#[derive(Default)]
pub struct Recent {
    kept: Mutex<Kept>,
    /// Wakes the feeds that wait for a commit.
    committed: Event,
}

#[derive(Default)]
struct Kept {
    head: Head,
    /// Oldest first; the last one led to the head.
    commits: VecDeque<CommitEntry>,
    /// The number of writes in `commits`.
    writes: usize,
}

impl Recent {
    /// No commits yet, at `head`.
    #[must_use]
    pub fn from(head: Head) -> Self {
        Self { kept: Mutex::new(Kept { head, ..Kept::default() }), committed: Event::new() }
    }

    /// The head after the last commit.
    #[must_use]
    pub fn head(&self) -> Head {
        self.kept().head
    }

    /// Adds the next commit and wakes the feeds.
    pub fn push(&self, commit: CommitEntry) {
        self.kept().push(commit);
        self.committed.notify(usize::MAX);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // no code panics while it holds the lock, so a poisoned lock guards intact contents
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, commit: CommitEntry) {
        self.head = commit.head;
        self.writes += commit.commit.writes().len();
        self.commits.push_back(commit);
        while self.commits.len() > MAX_COMMITS
            || (self.writes > MAX_WRITES && self.commits.len() > 1)
        {
            if let Some(oldest) = self.commits.pop_front() {
                self.writes -= oldest.commit.writes().len();
            }
        }
    }

    /// The commit with this number, if it is still kept.
    fn get(&self, number: u64) -> Option<CommitEntry> {
        let behind = usize::try_from(self.head.number.checked_sub(number)?).ok()?;
        let index = self.commits.len().checked_sub(behind + 1)?;
        self.commits.get(index).cloned()
    }
}

/// A feed of a store within this process.
pub struct LocalFeed {
    recent: Arc<Recent>,
    applied: u64,
}

impl LocalFeed {
    /// The commits after number `from`.
    #[must_use]
    pub fn new(recent: &Arc<Recent>, from: u64) -> Self {
        Self { recent: Arc::clone(recent), applied: from }
    }
}

impl Feed for LocalFeed {
    async fn next(&mut self) -> Result<CommitEntry, StoreError> {
        let number = self.applied.saturating_add(1);
        loop {
            // registered first, so that no commit between the check and the wait is missed
            let committed = self.recent.committed.listen();
            {
                let kept = self.recent.kept();
                if let Some(commit) = kept.get(number) {
                    self.applied = number;
                    return Ok(commit);
                }
                if kept.head.number >= number {
                    return Err(StoreError::Other(format!(
                        "commit {number} is no longer in memory"
                    )));
                }
            }
            committed.await;
        }
    }
}
