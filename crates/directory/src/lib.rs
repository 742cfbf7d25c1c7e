//! The commands on the resources of sip-authz: accounts, domains, trunks, lists, credentials, mappings
//! and roles.
//!
//! The directory enforces the rules that need more than one record: ownership, unique names, quotas, and
//! deletion of resources in use. It keeps all records of the [store](sip_authz_store::Store) in memory as of
//! the store's head, and plans commands on them. Commands that arrive while a commit is written become one
//! commit together, on the condition that the head is still the same. If another process committed first,
//! they are planned again. So two callers cannot take one name or exceed one quota together, in one process
//! or in several. Reads and refusals rest on durable records only.

mod accounts;
mod check;
mod confirm;
mod copies;
mod credentials;
mod error;
mod group;
mod limits;
mod lists;
mod mappings;
mod merge;
mod mirror;
mod roles;
mod targets;
mod touched;
mod transact;
mod upgrade;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use accounts::{Login, NewAccount};
pub use confirm::Confirmation;
pub use credentials::{CredentialChange, Secret};
pub use error::{DirectoryError, Kind};
pub use limits::Limits;
pub use mappings::MappingScope;
pub use merge::{Incoming, IncomingCredential, IncomingRecord, MergeError, Merged};
pub use touched::Touched;
pub use upgrade::{EdgeFormat, Formats};

use self::group::Groups;
use self::mirror::Mirror;
use self::transact::Plan;
use self::view::View;
use sip_authz::model::{Commit, Dates, Key, NextHopSet, Realm, Vocabulary};
use sip_authz_store::{Applied, Records, Store};

/// The settings of an installation, for all its accounts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The quotas of resources and the lengths of names.
    pub limits: Limits,
    /// The realm of new credential lists that name none.
    pub realm: Realm,
    /// The allowed suffixes of domain names, after a dot. If empty, every name is valid.
    pub suffixes: Vec<String>,
    /// The permissions that roles can have.
    pub vocabulary: &'static Vocabulary,
    /// The next hops that accounts can redirect or forward calls to; none by default.
    pub next_hops: NextHopSet,
}

impl Settings {
    /// The documented limits and permissions, any domain name, no next hops, and this realm.
    #[must_use]
    pub fn new(realm: Realm) -> Self {
        Self {
            limits: Limits::default(),
            realm,
            suffixes: Vec::new(),
            vocabulary: Vocabulary::documented(),
            next_hops: NextHopSet::default(),
        }
    }
}

sip_authz::setters! {
    Settings {
        with_limits: limits: Limits,
        with_realm: realm: Realm,
        with_suffixes: suffixes: Vec<String>,
        with_vocabulary: vocabulary: &'static Vocabulary,
        with_next_hops: next_hops: NextHopSet,
    }
}

/// The commands on a store's resources.
///
/// Futures of commands may be dropped at any time: the command then takes effect as a whole or not at all. If
/// it was being written, the next command waits for its end.
pub struct Directory<S: Store> {
    store: Arc<S>,
    settings: Settings,
    mirror: Mirror<S>,
    groups: Groups,
    /// The progress of this process's authorizer, which each command waits for.
    applied: Option<Applied>,
    /// The clock, in milliseconds since 1970.
    now_ms: fn() -> u64,
    /// Gets the number of each command's commit.
    on_commit: fn(u64),
    /// The time in the newest SID. Later SIDs get a later time, even within one millisecond.
    newest_ms: AtomicU64,
}

/// The position in a listing behind a row, which may have been deleted since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The number of the commit that made the row, for listings in that order; else 0.
    pub since: u64,
    /// The key of the row.
    pub key: Key,
}

/// The part of a listing to return.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The position to start at; none for the first page.
    pub after: Option<Cursor>,
    /// The most rows to return.
    pub size: usize,
}

impl Page {
    /// The first `size` rows.
    #[must_use]
    pub fn first(size: usize) -> Self {
        Self { after: None, size }
    }
}

/// A page of a listing, oldest rows first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The start of the next page, if there is one.
    pub next: Option<Cursor>,
}

impl<S: Store> Directory<S> {
    /// The commands on the records in `store`. With the `applied` of a follower, each command returns
    /// only once the authorizer of that follower decides by the change.
    #[must_use]
    pub fn new(store: S, settings: Settings, applied: Option<Applied>) -> Self {
        Self {
            store: Arc::new(store),
            settings,
            mirror: Mirror::new(),
            groups: Groups::new(),
            applied,
            now_ms: unix_ms,
            on_commit: |_| (),
            newest_ms: AtomicU64::new(0),
        }
    }

    /// Sets the clock for dates and SIDs, in milliseconds since 1970.
    #[must_use]
    pub fn with_clock(mut self, now_ms: fn() -> u64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// Sets a function that gets the number of the commit of each command, for traces and tests. It runs
    /// within the command, once the commit is durable. Commands of one group have the same number.
    #[must_use]
    pub fn with_on_commit(mut self, on_commit: fn(u64)) -> Self {
        self.on_commit = on_commit;
        self
    }

    /// The settings of the installation.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The store with the records.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Brings the records in memory to the store's head.
    ///
    /// Each command and each read does this first. A program calls it after the start, and after commits of
    /// other processes, so that none of them has to wait for it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn catch_up(&self) -> Result<(), DirectoryError> {
        self.read(|_| Ok(())).await
    }

    /// All records, as of the store's head at the time of the call or of a newer one. They share their memory
    /// with the records of the directory.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Store`].
    pub async fn records(&self) -> Result<Records, DirectoryError> {
        Ok(self.mirror.at_head(&self.store).await?)
    }

    /// Commits a batch of records with their SIDs and dates, all or none, if it keeps the rules. It does
    /// not check quotas and ownership. For records from outside see [`Self::merge`].
    ///
    /// # Errors
    ///
    /// [`DirectoryError`] for the first write that breaks a rule.
    pub async fn import(&self, commit: Commit) -> Result<(), DirectoryError> {
        self.transact(|_| Ok(Plan::Write(commit.clone(), ()))).await
    }

    fn created_now(&self) -> Dates {
        let now = (self.now_ms)() / 1_000;
        Dates { created: now, updated: now }
    }

    fn updated_now(&self, dates: Dates) -> Dates {
        Dates { updated: (self.now_ms)() / 1_000, ..dates }
    }

    /// The time and the random bytes of a new SID, which sorts behind all earlier ones of this process.
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
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
