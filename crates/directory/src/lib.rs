//! The commands on resources: who owns what, how many there may be, what may be deleted.
//!
//! A [`Directory`] keeps nothing of its own. It reads the head of the store, then what the command
//! needs, checks the rules, and commits on condition that the head is still the same; otherwise it
//! starts again. So two callers never both take a name or both pass a limit, in one process or in
//! several.

mod accounts;
mod check;
mod confirm;
mod credentials;
mod error;
mod limits;
mod lists;
mod mappings;
mod merge;
mod roles;
mod targets;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_lock::{Mutex, MutexGuard};

pub use accounts::NewAccount;
pub use confirm::Confirmation;
pub use credentials::{CredentialChange, Secret};
pub use error::{DirectoryError, Kind};
pub use limits::Limits;
pub use mappings::MappingScope;
pub use merge::{Incoming, IncomingCredential, IncomingRecord, MergeError, Merged};

use sip_authz::model::{Commit, Dates, Key, Realm, Record, Vocabulary};
use sip_authz_store::Applied;
use sip_authz_store::{Collection, Outcome, Store};

/// How often a command is tried when others commit in between.
const ATTEMPTS: u32 = 16;

/// What an installation decides for all its accounts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How many of each resource there may be, and how long their names.
    pub limits: Limits,
    /// The realm of a credential list that is made without one.
    pub realm: Realm,
    /// Domain names must end in one of these, after a dot; any name will do where there is none.
    pub suffixes: Vec<String>,
    /// The permissions that roles can have.
    pub vocabulary: &'static Vocabulary,
}

impl Settings {
    /// The documented limits and permissions, any domain name, and this realm.
    #[must_use]
    pub fn new(realm: Realm) -> Self {
        Self {
            limits: Limits::default(),
            realm,
            suffixes: Vec::new(),
            vocabulary: Vocabulary::documented(),
        }
    }
}

sip_authz::setters! {
    Settings {
        with_limits: limits: Limits,
        with_realm: realm: Realm,
        with_suffixes: suffixes: Vec<String>,
        with_vocabulary: vocabulary: &'static Vocabulary,
    }
}

/// The commands on a store's resources.
pub struct Directory<S: Store> {
    store: S,
    settings: Settings,
    /// Where decisions are made in this process: a command is answered once they see it.
    applied: Option<Applied>,
    /// Milliseconds since 1970.
    now_ms: fn() -> u64,
    /// The time of the newest SID: later ones sort behind it even within a millisecond.
    newest_ms: AtomicU64,
    /// One command at a time: those of one process have no conflict to try again for.
    turn: Mutex<()>,
}

/// Where a page of a listing begins: behind this row, which may be gone by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The commit that made the row, where rows are listed in that order; else 0.
    pub since: u64,
    /// The row.
    pub key: Key,
}

/// Which part of a listing is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The row that the page begins behind; none for the first page.
    pub after: Option<Cursor>,
    /// The most rows wanted.
    pub size: usize,
}

impl Page {
    /// The first `size` rows.
    #[must_use]
    pub fn first(size: usize) -> Self {
        Self { after: None, size }
    }
}

/// A part of a listing, oldest rows first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

impl<S: Store> Directory<S> {
    /// The commands on what `store` holds. `applied` is that of the follower that keeps this
    /// process's authorizer at the store's head: with it, a command is answered only once the next
    /// INVITE sees it.
    #[must_use]
    pub fn new(store: S, settings: Settings, applied: Option<Applied>) -> Self {
        Self {
            store,
            settings,
            applied,
            now_ms: unix_ms,
            newest_ms: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    /// Takes the time from `now_ms`, milliseconds since 1970, for dates and SIDs.
    #[must_use]
    pub fn with_clock(mut self, now_ms: fn() -> u64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// What the installation decides.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The store that is read and written.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Commits any batch of records that keeps the rules, all or nothing, with the SIDs and dates it
    /// has. Limits and ownership are the caller's affair. For records from outside see
    /// [`Self::merge`].
    ///
    /// # Errors
    ///
    /// [`DirectoryError`] for the first write that breaks a rule.
    pub async fn import(&self, commit: Commit) -> Result<(), DirectoryError> {
        let mut attempts = self.attempts().await;
        loop {
            let attempt = attempts.begin().await?;
            if attempts.commit(attempt, commit.clone()).await? {
                return Ok(());
            }
        }
    }

    /// Takes the turn for a command.
    async fn attempts(&self) -> Attempts<'_, S> {
        Attempts { directory: self, _turn: self.turn.lock().await, left: ATTEMPTS }
    }

    fn created_now(&self) -> Dates {
        let now = (self.now_ms)() / 1_000;
        Dates { created: now, updated: now }
    }

    fn updated_now(&self, dates: Dates) -> Dates {
        Dates { updated: (self.now_ms)() / 1_000, ..dates }
    }

    /// A time and random bytes for a SID that sorts behind all that this process made before.
    fn sid_parts(&self) -> Result<(u64, [u8; 10]), DirectoryError> {
        let now_ms = (self.now_ms)();
        let newest = self.newest_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| {
            Some(now_ms.max(newest.saturating_add(1)))
        });
        let newest = newest.unwrap_or_default();
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|error| DirectoryError::Random(error.to_string()))?;
        Ok((now_ms.max(newest.saturating_add(1)), random))
    }

    /// A page of a collection that is listed in the order of its keys.
    async fn list<T>(
        &self,
        collection: Collection,
        page: Page,
        of: impl Fn(Record) -> Option<T> + Send,
    ) -> Result<Listing<T>, DirectoryError> {
        let after = page.after.map(|cursor| cursor.key);
        let mut records = self.store.range(collection, after, page.size.saturating_add(1)).await?;
        let more = records.len() > page.size;
        records.truncate(page.size);
        let last = records.last().filter(|_| more);
        let next = last.map(|record| Cursor { since: 0, key: record.key() });
        Ok(Listing { rows: records.into_iter().filter_map(of).collect(), next })
    }

    /// Whether one more fits under `limit`.
    async fn room(
        &self,
        collection: Collection,
        kind: Kind,
        limit: usize,
    ) -> Result<(), DirectoryError> {
        match self.store.count(collection).await? {
            count if count < limit => Ok(()),
            _ => Err(DirectoryError::TooMany { kind, limit }),
        }
    }
}

/// The attempts at one command, while no other of this process runs.
struct Attempts<'d, S: Store> {
    directory: &'d Directory<S>,
    _turn: MutexGuard<'d, ()>,
    left: u32,
}

/// What one attempt was checked at.
#[derive(Clone, Copy)]
struct Attempt {
    head: u64,
}

impl<S: Store> Attempts<'_, S> {
    /// Reads the head that the command is then checked at.
    async fn begin(&mut self) -> Result<Attempt, DirectoryError> {
        if self.left == 0 {
            return Err(DirectoryError::Busy);
        }
        if self.left < ATTEMPTS {
            self.directory.store.pause(jitter(ATTEMPTS - self.left)).await;
        }
        self.left -= 1;
        let head = self.directory.store.head().await?.number;
        // a caller that gave up after its commit has left decisions behind; they catch up first, or
        // callers who give up could make commits faster than they are followed
        match &self.directory.applied {
            Some(applied) if !applied.wait(head).await => Err(DirectoryError::NotFollowed),
            _ => Ok(Attempt { head }),
        }
    }

    /// Commits what was checked at the attempt's head, and waits until decisions of this process
    /// see it. False if another commit came in between.
    async fn commit(&self, attempt: Attempt, commit: Commit) -> Result<bool, DirectoryError> {
        if commit.is_empty() {
            return Ok(true);
        }
        let Directory { store, settings, .. } = self.directory;
        if let Err(error) = check::check(store, settings.vocabulary, &commit).await {
            // where another commit came in between, what was read may belong to no one head
            return if store.head().await?.number == attempt.head { Err(error) } else { Ok(false) };
        }
        self.write(attempt, commit).await
    }

    /// As [`Self::commit`], of what is known to keep the rules.
    async fn write(&self, attempt: Attempt, commit: Commit) -> Result<bool, DirectoryError> {
        match self.directory.store.commit(attempt.head, commit).await? {
            Outcome::Conflict => Ok(false),
            Outcome::Committed(number) => match &self.directory.applied {
                Some(applied) if !applied.wait(number).await => Err(DirectoryError::NotFollowed),
                _ => Ok(true),
            },
        }
    }
}

/// Up to 2 ms for the first time, doubled each time up to 256 ms, at random so that writers part.
fn jitter(attempt: u32) -> Duration {
    let mut random = [0; 2];
    // without random bytes the longest wait is as good
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u32::from(u16::from_le_bytes(random)),
        Err(_) => u32::from(u16::MAX),
    };
    let most = Duration::from_millis(1 << attempt.min(8));
    most * share / u32::from(u16::MAX)
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
