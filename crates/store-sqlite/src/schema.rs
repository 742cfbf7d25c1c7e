//! The tables, and the migrations from earlier versions.

use rusqlite::Connection;

use super::failed;
use sip_authz_store::StoreError;

/// Marks a file as a store: `SIPa` as a number.
pub(super) const APPLICATION_ID: i64 = 0x5349_5061;

/// The migrations from each version to the next, the first from an empty file. The `user_version` of a
/// file is the number of migrations that it has been through.
const MIGRATIONS: [&str; 1] = [include_str!("version_1.sql")];

/// The version that this release writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Checks two numbers from the header of a file. Both are 0 in an empty file.
pub(super) fn check_header(application_id: i64, version: i64) -> Result<(), String> {
    if application_id != APPLICATION_ID && (application_id, version) != (0, 0) {
        return Err("not a sip-authz store".to_owned());
    }
    match usize::try_from(version) {
        Ok(version) if version <= VERSION => Ok(()),
        _ => Err(format!(
            "written by a newer release (schema version {version}; this release supports up to \
              {VERSION}); the file is unchanged"
        )),
    }
}

/// Checks that a file is empty or a store that this release can read. Changes nothing.
pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    let application_id = pragma(connection, "application_id")?;
    check_header(application_id, pragma(connection, "user_version")?).map_err(StoreError::Other)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(failed)?;
    if application_id == 0 && tables > 0 {
        return Err(StoreError::Other("not a sip-authz store".to_owned()));
    }
    Ok(())
}

/// Migrates a file to this version.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    run(connection, &MIGRATIONS)
}

fn run(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let version = pragma(connection, "user_version")?;
    let done = usize::try_from(version).unwrap_or_default();
    for (place, migration) in migrations.iter().enumerate().skip(done) {
        // one transaction for the migration and its version
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(migration).map_err(failed)?;
        transaction.pragma_update(None, "user_version", place + 1).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

pub(super) fn pragma(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_in_order_and_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, &MIGRATIONS).unwrap();
        assert_eq!(pragma(&connection, "user_version"), Ok(1));
        assert_eq!(pragma(&connection, "application_id"), Ok(APPLICATION_ID));
        // running them again changes nothing, and a later release continues from there
        run(&mut connection, &MIGRATIONS).unwrap();
        let later = "ALTER TABLE records ADD COLUMN note TEXT";
        run(&mut connection, &[MIGRATIONS[0], later]).unwrap();
        assert_eq!(pragma(&connection, "user_version"), Ok(2));
        connection.execute_batch("INSERT INTO records VALUES ('k', '{}', 'n')").unwrap();
    }

    #[test]
    fn a_failed_migration_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, &MIGRATIONS).unwrap();
        let half = "CREATE TABLE half (x); CREATE TABLE records (x)";
        assert!(run(&mut connection, &[MIGRATIONS[0], half]).is_err());
        assert_eq!(pragma(&connection, "user_version"), Ok(1));
        assert!(connection.execute_batch("SELECT * FROM half").is_err());
    }

    #[test]
    fn foreign_and_newer_files_are_rejected() {
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(check(&connection), Ok(()));
        connection.execute_batch("CREATE TABLE mine (x)").unwrap();
        assert!(check(&connection).is_err());
        assert!(check_header(0, 0).is_ok() && check_header(APPLICATION_ID, 1).is_ok());
        assert!(check_header(0, 1).is_err() && check_header(7, 0).is_err());
        assert!(check_header(APPLICATION_ID, -1).is_err());
        let newer = check_header(APPLICATION_ID, 2).unwrap_err();
        assert!(newer.contains("schema version 2; this release supports up to 1"), "{newer}");
    }
}
