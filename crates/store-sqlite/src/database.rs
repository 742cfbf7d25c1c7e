//! The database file, which one thread opens, reads and writes.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
};

use super::index;
use super::place::Place;
use super::{failed, folder, schema};
use sip_authz::model::{Commit, Key, Record, Write};
use sip_authz_store::{
    Collection, CommitEntry, Format, Head, Lookup, StoreError, Sum, collections, encoding, lookup,
};

/// How long to wait for another program to unlock the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The log is truncated to this size after a large commit, in bytes.
const LOG_SIZE_LIMIT: i64 = 64 << 20;

/// Set to the reason once the store rejects all further commits.
pub(super) type WriteFailure = OnceLock<StoreError>;

pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    head: Head,
    write_failure: Arc<WriteFailure>,
    place: Arc<Place>,
    /// Closed last, since another program may use the folder from then on.
    _lock: File,
}

impl Database {
    /// Locks the folder, opens its file and migrates it to this version.
    pub(super) fn open(at: &Path) -> Result<Self, StoreError> {
        let lock = folder::lock(at)?;
        let path = folder::file(at);
        let (connection, head) = prepare(&path).map_err(|error| named(&path, error))?;
        let place = Arc::new(Place::of([path.clone(), folder::log(at)]));
        let write_failure = Arc::default();
        Ok(Self { connection, path, head, write_failure, place, _lock: lock })
    }

    /// Adds the path of the file to an error.
    pub(super) fn named(&self, error: StoreError) -> StoreError {
        named(&self.path, error)
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// The reason why the store rejects commits, if it does. Another thread can read it while the
    /// database is busy.
    pub(super) fn write_failure(&self) -> Arc<WriteFailure> {
        Arc::clone(&self.write_failure)
    }

    /// The place of its files.
    pub(super) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    pub(super) fn get(&self, key: Key) -> Result<Option<Record>, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT value FROM records WHERE key = ?1")
            .map_err(failed)?;
        let mut rows = query.query([encoding::key(key)]).map_err(failed)?;
        match rows.next().map_err(failed)? {
            Some(row) => Ok(Some(encoding::decode(key, bytes(row, 0)?)?)),
            None => Ok(None),
        }
    }

    pub(super) fn find(&self, wanted: &Lookup) -> Result<Option<Record>, StoreError> {
        let query = self.connection.prepare_cached("SELECT key FROM names WHERE name = ?1");
        let mut query = query.map_err(failed)?;
        let name = index::name(wanted);
        let key: Option<String> =
            query.query_row([&name], |row| row.get(0)).optional().map_err(failed)?;
        let Some(key) = key else { return Ok(None) };
        match self.get(encoding::decode_key(&key)?)? {
            Some(record) if lookup(&record).as_ref() == Some(wanted) => Ok(Some(record)),
            _ => Err(StoreError::Corrupt(format!(
                "damaged: the index of names points to `{key}`, which has another name"
            ))),
        }
    }

    pub(super) fn range(
        &self,
        collection: Collection,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let query = "SELECT m.key, r.value FROM members m LEFT JOIN records r ON r.key = m.key \
                     WHERE m.collection = ?1 AND m.key > ?2 ORDER BY m.key LIMIT ?3";
        let mut query = self.connection.prepare_cached(query).map_err(failed)?;
        let after = after.map(encoding::key).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let named = index::collection(collection);
        let mut rows = query.query(params![named, after, limit]).map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let key = encoding::decode_key(text(row, 0)?)?;
            let record = encoding::decode(key, bytes(row, 1)?)?;
            if !collections(&record).any(|of| of == collection) {
                return Err(StoreError::Corrupt(format!(
                    "damaged: {key} is listed in a collection that it does not belong to"
                )));
            }
            found.push(record);
        }
        Ok(found)
    }

    pub(super) fn count(&self, collection: Collection) -> Result<usize, StoreError> {
        let query = "SELECT members FROM counts WHERE collection = ?1";
        let mut query = self.connection.prepare_cached(query).map_err(failed)?;
        let named = index::collection(collection);
        let count = query.query_row([named], |row| row.get(0)).optional().map_err(failed)?;
        Ok(count.unwrap_or_default())
    }

    /// Writes a commit if the head is still `head`; returns `None` otherwise.
    pub(super) fn commit(
        &mut self,
        head: Head,
        commit: Commit,
    ) -> Result<Option<CommitEntry>, StoreError> {
        let format = head.next_format();
        format.check_writes(&commit)?;
        self.commit_as(head, commit, format)
    }

    /// Raises the format of the file if the head is still `head`; returns `None` otherwise.
    pub(super) fn raise_format(
        &mut self,
        head: Head,
        format: Format,
    ) -> Result<Option<CommitEntry>, StoreError> {
        head.check_raise(format)?;
        self.commit_as(head, Commit::new(), format)
    }

    /// Makes a commit in a file that has `format` from then on.
    fn commit_as(
        &mut self,
        head: Head,
        commit: Commit,
        format: Format,
    ) -> Result<Option<CommitEntry>, StoreError> {
        if let Some(error) = self.write_failure.get() {
            return Err(error.clone());
        }
        if self.head != head {
            return Ok(None);
        }
        match self.write(&commit, format) {
            Ok(Written { head, put, replaced }) => {
                self.head = head;
                let (commit, put, replaced) = (Arc::new(commit), put.into(), replaced.into());
                Ok(Some(CommitEntry { head, commit, put, replaced }))
            }
            Err(CommitError { error, must_restart }) => {
                // Earlier writes may be lost, or the transaction cannot be rolled back. Only a restart
                // reads the true state.
                if must_restart || !self.connection.is_autocommit() {
                    let until = "commits are rejected until the program restarts";
                    let why = format!("{until}: {}", error.reason());
                    return Err(self
                        .write_failure
                        .get_or_init(|| StoreError::ReadOnly(why))
                        .clone());
                }
                Err(error)
            }
        }
    }

    /// Writes one transaction. An error leaves the file unchanged, except a failed sync.
    fn write(&mut self, commit: &Commit, format: Format) -> Result<Written, CommitError> {
        // nothing is written yet, and the file can come back
        self.place.check()?;
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(failed)?;
        if read_head(&transaction)? != self.head {
            let why = "another program has written to the file";
            return Err(CommitError {
                error: StoreError::Conflict(why.to_owned()),
                must_restart: true,
            });
        }
        if format > self.head.format {
            schema::migrate(&transaction, format)?;
        }
        let written = write(&transaction, Head { format, ..self.head }, commit)?;
        transaction
            .commit()
            .map_err(|error| CommitError { must_restart: is_sync(&error), error: failed(error) })?;
        // again, as a removal during the write loses it
        self.place.check().map_err(|error| CommitError { error, must_restart: true })?;
        Ok(written)
    }
}

/// A written commit.
struct Written {
    head: Head,
    /// For each write, the checksum of the record that it puts, and of the one that it replaces or deletes.
    put: Vec<Option<Sum>>,
    replaced: Vec<Option<Sum>>,
}

/// Adds the path of the file to an error.
pub(super) fn named(path: &Path, error: StoreError) -> StoreError {
    error.context(format_args!("`{}`", path.display()))
}

/// A commit that failed.
struct CommitError {
    error: StoreError,
    /// Whether the file may differ from the head in memory.
    must_restart: bool,
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self { error, must_restart: false }
    }
}

/// Whether a sync failed. The next sync may succeed although the data of this one is lost.
fn is_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC))
}

fn prepare(path: &Path) -> Result<(Connection, Head), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_TIMEOUT).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    if connection.is_readonly("main").map_err(failed)? {
        return Err(StoreError::ReadOnly("not writable".to_owned()));
    }
    // if this release rejects the file, closing must not change it or its log
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(no_checkpoint, true).map_err(failed)?;
    schema::check(&connection)?;

    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError::Other(
            "the file system does not support a write-ahead log".to_owned(),
        ));
    }
    for (name, value) in [
        ("synchronous", "FULL"),
        ("cell_size_check", "ON"),
        ("trusted_schema", "OFF"),
        // overwrites deleted data, such as old password hashes
        ("secure_delete", "ON"),
    ] {
        connection.pragma_update(None, name, value).map_err(failed)?;
    }
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_LIMIT).map_err(failed)?;
    schema::create(&mut connection)?;
    let head = read_head(&connection)?;
    connection.set_db_config(no_checkpoint, false).map_err(failed)?;
    Ok((connection, head))
}

/// The head in the file. Works on read-only connections too.
pub(super) fn read_head(connection: &Connection) -> Result<Head, StoreError> {
    // one statement, and so one state of the file
    let query = "SELECT number, records, sum, user_version FROM head, pragma_user_version";
    let mut query = connection.prepare_cached(query).map_err(failed)?;
    let head = query.query_row([], |row| {
        let (number, records, sum) = (row.get(0)?, row.get(1)?, Sum::from_bytes(row.get(2)?));
        let format = Format::new(row.get(3)?).unwrap_or_default();
        Ok(Head { number, records, sum, format, ..Head::default() })
    });
    let head = head.map_err(failed)?;
    head.format.check_supported()?;
    Ok(head)
}

/// Opens a file for reading a consistent snapshot, while another connection may write.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_TIMEOUT).map_err(failed)?;
    schema::check(&connection)?;
    if schema::pragma(&connection, "application_id")? != schema::APPLICATION_ID {
        return Err(StoreError::Other("not a sip-authz store".to_owned()));
    }
    connection.execute_batch("PRAGMA trusted_schema = OFF; BEGIN").map_err(failed)?;
    Ok(connection)
}

/// Removes the replaced and deleted records first and then inserts the new ones, so that a name can pass
/// from one record to another in any order.
fn write(
    transaction: &Transaction<'_>,
    mut head: Head,
    commit: &Commit,
) -> Result<Written, StoreError> {
    let prepare = |text: &str| transaction.prepare_cached(text).map_err(failed);
    let mut select_record = prepare("SELECT value FROM records WHERE key = ?1")?;
    let mut delete_member = prepare("DELETE FROM members WHERE collection = ?1 AND key = ?2")?;
    let mut delete_name = prepare("DELETE FROM names WHERE name = ?1")?;
    let mut delete_record = prepare("DELETE FROM records WHERE key = ?1")?;
    let mut counts = HashMap::<String, i64>::new();
    let mut replaced = Vec::with_capacity(commit.writes().len());
    for written in commit.writes() {
        let text = encoding::key(written.key());
        let mut rows = select_record.query([&text]).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else {
            replaced.push(None);
            continue;
        };
        let value = bytes(row, 0)?;
        let record = encoding::decode(written.key(), value)?;
        replaced.push(Some(Sum::of_encoded(&text, value)));
        for of in collections(&record) {
            let of = index::collection(of);
            delete_member.execute([&of, &text]).map_err(failed)?;
            *counts.entry(of).or_default() -= 1;
        }
        if let Some(of) = lookup(&record) {
            delete_name.execute([index::name(&of)]).map_err(failed)?;
        }
        drop(rows);
        if matches!(written, Write::Delete(_)) {
            delete_record.execute([&text]).map_err(failed)?;
        }
    }

    let mut insert_record = prepare("INSERT OR REPLACE INTO records VALUES (?1, ?2)")?;
    let mut insert_member = prepare("INSERT INTO members VALUES (?1, ?2)")?;
    let mut insert_name = prepare("INSERT OR REPLACE INTO names VALUES (?1, ?2)")?;
    let mut put = Vec::with_capacity(commit.writes().len());
    for (written, replaced) in commit.writes().iter().zip(&replaced) {
        let Write::Put(record) = written else {
            head = head.with(*replaced, None)?;
            put.push(None);
            continue;
        };
        let (text, value) = (encoding::key(record.key()), encoding::encode(record)?);
        let sum = Some(Sum::of_encoded(&text, value.as_bytes()));
        head = head.with(*replaced, sum)?;
        put.push(sum);
        insert_record.execute([text.as_str(), value.as_text()]).map_err(failed)?;
        for of in collections(record) {
            let of = index::collection(of);
            insert_member.execute([&of, &text]).map_err(failed)?;
            *counts.entry(of).or_default() += 1;
        }
        if let Some(of) = lookup(record) {
            insert_name.execute([&index::name(&of), &text]).map_err(failed)?;
        }
    }

    let mut update_count = prepare(
        "INSERT INTO counts VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET members = members + excluded.members",
    )?;
    let mut delete_count = prepare("DELETE FROM counts WHERE collection = ?1 AND members = 0")?;
    for (of, more) in counts.iter().filter(|(_, more)| **more != 0) {
        update_count.execute(params![of, more]).map_err(failed)?;
        if *more < 0 {
            delete_count.execute([of]).map_err(failed)?;
        }
    }
    head.number = head.number.saturating_add(1);
    let mut update_head = prepare("UPDATE head SET number = ?1, records = ?2, sum = ?3")?;
    let updated = update_head.execute(params![head.number, head.records, head.sum.as_bytes()]);
    updated.map_err(failed)?;
    Ok(Written { head, put, replaced })
}

pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    let value = row.get_ref(column).map_err(failed)?;
    value.as_str().map_err(|_| StoreError::Corrupt("damaged: expected text in a column".to_owned()))
}

pub(super) fn bytes<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], StoreError> {
    let value = row.get_ref(column).map_err(failed)?;
    value.as_bytes().map_err(|_| StoreError::Corrupt("damaged: a record is missing".to_owned()))
}
