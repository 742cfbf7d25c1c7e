//! A durable store in one SQLite file, for one machine.
//!
//! The file is `sip-authz.db` in a folder that one program serves at a time. It has a write-ahead log.
//! Each commit is one transaction, which is on the disk before the commit returns (`synchronous=FULL`).
//! The database has a thread of its own, and the futures need no async runtime. A full load reads on
//! connections of its own, one for each core, while commits go on.
//!
//! Operators can read the file with the `sqlite3` shell. There is a view for each kind of record, which
//! shows no hashes. The table `records` holds the hashes, so protect the file against readers. Do not
//! write to it by hand: the next load detects a wrong checksum.
//!
//! A full load fails if a record, the count, the checksum or an index table is wrong. It cannot detect
//! that a log (`sip-authz.db-wal`) was cut or damaged after a complete commit: SQLite then returns to
//! that commit.

mod backup;
mod database;
mod folder;
mod index;
mod load;
mod place;
mod read;
mod schema;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use backup::backup;
pub use read::read;

use database::{Database, WriteFailure};
use place::Place;
use rusqlite::ErrorCode;
use sip_authz::model::{Commit, Key, Record};
use sip_authz_store::{
    Collection, CommitEntry, CommitOutcome, Format, Head, LocalFeed, Lookup, Recent, Store,
    StoreError, StoreSnapshot,
};
use worker::{Worker, run_on_new_thread};

/// A store in an SQLite file. Clones are the same store; dropping the last one releases the folder.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    worker: Worker,
    recent: Arc<Recent>,
    write_failure: Arc<WriteFailure>,
    place: Arc<Place>,
    file: PathBuf,
    /// The number of records that the current load has read.
    read: Arc<AtomicU64>,
}

impl SqliteStore {
    /// Opens the store in `folder`, and creates the folder if needed, readable by its owner only.
    /// Blocks for a short time that does not grow with the file.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if another program serves the folder, if the folder is not writable, or if the
    /// file is damaged, not a store, or from a newer release. The file is then unchanged.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let database = Database::open(folder.as_ref())?;
        let recent = Arc::new(Recent::from(database.head()));
        let (file, read) = (folder::file(folder.as_ref()), Arc::default());
        let (write_failure, place) = (database.write_failure(), database.place());
        let worker = Worker::start(database)?;
        Ok(Self { inner: Arc::new(Inner { worker, recent, write_failure, place, file, read }) })
    }

    /// Makes a commit on the database thread.
    async fn write(
        &self,
        commit: impl FnOnce(&mut Database) -> Result<Option<CommitEntry>, StoreError> + Send + 'static,
    ) -> Result<CommitOutcome, StoreError> {
        let recent = Arc::clone(&self.inner.recent);
        let written = self.inner.worker.ask(move |database| {
            // pushed by the database thread, so that the feeds get the commits in order
            Ok(commit(database)?.map(|entry| {
                let number = entry.head.number;
                recent.push(entry);
                number
            }))
        });
        Ok(match written.await? {
            Some(number) => CommitOutcome::Committed(number),
            None => CommitOutcome::Conflict,
        })
    }
}

/// Converts an error of SQLite.
fn failed(error: rusqlite::Error) -> StoreError {
    let why = error.to_string();
    let Some(code) = error.sqlite_error_code() else {
        // the queries are fixed, so a value of the wrong type or a missing row means a damaged file
        return StoreError::Corrupt(why);
    };
    match code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(why),
        ErrorCode::TooBig => StoreError::TooLarge(why),
        ErrorCode::DiskFull => StoreError::NoSpace(why),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => StoreError::ReadOnly(why),
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen => StoreError::Unreachable(why),
        _ => StoreError::Other(why),
    }
}

impl Store for SqliteStore {
    type Feed = LocalFeed;

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.inner.recent.head())
    }

    /// Does not wait for the database thread, which may be busy with a large commit.
    async fn health(&self) -> Result<(), StoreError> {
        let Inner { worker, write_failure, place, file, .. } = &*self.inner;
        let checked = match write_failure.get() {
            Some(error) => Err(error.clone()),
            None => worker.check_running().and_then(|()| place.check()),
        };
        checked.map_err(|error| database::named(file, error))
    }

    async fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        self.inner.worker.ask(move |database| database.get(key)).await
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Record>, StoreError> {
        self.inner.worker.ask(move |database| database.find(&lookup)).await
    }

    async fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.inner.worker.ask(move |database| database.range(collection, after, limit)).await
    }

    async fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        self.inner.worker.ask(move |database| database.count(collection)).await
    }

    async fn commit(&self, head: Head, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.write(move |database| database.commit(head, commit)).await
    }

    async fn raise_format(&self, head: Head, format: Format) -> Result<CommitOutcome, StoreError> {
        self.write(move |database| database.raise_format(head, format)).await
    }

    async fn load(&self) -> Result<StoreSnapshot, StoreError> {
        let (file, read) = (self.inner.file.clone(), Arc::clone(&self.inner.read));
        run_on_new_thread(move || {
            load::load(&file, &read).map_err(|error| database::named(&file, error))
        })
        .await
    }

    fn load_progress(&self) -> u64 {
        self.inner.read.load(Ordering::Relaxed)
    }

    async fn follow(&self, from: Head) -> Result<LocalFeed, StoreError> {
        Ok(LocalFeed::new(&self.inner.recent, from.number))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Error, ffi};

    use super::*;

    #[test]
    fn sqlite_errors_map_to_store_errors() {
        let kind = |code| failed(Error::SqliteFailure(ffi::Error::new(code), Some(String::new())));
        let why = String::new;
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_INDEX, ffi::SQLITE_NOTADB] {
            assert_eq!(kind(code), StoreError::Corrupt(why()));
        }
        assert_eq!(kind(ffi::SQLITE_FULL), StoreError::NoSpace(why()));
        for code in [ffi::SQLITE_READONLY, ffi::SQLITE_PERM] {
            assert_eq!(kind(code), StoreError::ReadOnly(why()));
        }
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_IOERR_READ] {
            assert_eq!(kind(code), StoreError::Unreachable(why()));
        }
        assert_eq!(kind(ffi::SQLITE_TOOBIG), StoreError::TooLarge(why()));
        assert_eq!(kind(ffi::SQLITE_NOMEM), StoreError::Other(why()));
        assert!(matches!(failed(Error::QueryReturnedNoRows), StoreError::Corrupt(_)));
    }
}
