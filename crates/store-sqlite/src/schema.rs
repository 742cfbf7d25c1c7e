//! The tables, and the migrations from earlier formats.

use rusqlite::{Connection, Transaction};

use super::failed;
use sip_authz_store::{Format, StoreError};

/// Marks a file as a store: `SIPa` as a number.
pub(super) const APPLICATION_ID: i64 = 0x5349_5061;

/// The migrations from each format to the next, the first from an empty file. The `user_version` of a
/// file is its format: the number of migrations that it has been through.
const MIGRATIONS: [&str; Format::NEWEST.number() as usize] = [
    include_str!("version_1.sql"),
    // format 2 changes no table
    "",
];

/// Checks two numbers from the header of a file. Both are 0 in an empty file.
pub(super) fn check_header(application_id: i64, version: i64) -> Result<(), StoreError> {
    if application_id != APPLICATION_ID && (application_id, version) != (0, 0) {
        return Err(StoreError::Other("not a sip-authz store".to_owned()));
    }
    let supported = Format::NEWEST;
    match u32::try_from(version) {
        Ok(version) if version <= supported.number() => Ok(()),
        _ => Err(StoreError::Newer(format!(
            "written by a newer release (format {version}; this release supports up to {supported}); the file is \
             unchanged"
        ))),
    }
}

/// Checks that a file is empty or a store that this release can read. Changes nothing.
pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    let application_id = pragma(connection, "application_id")?;
    check_header(application_id, pragma(connection, "user_version")?)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(failed)?;
    if application_id == 0 && tables > 0 {
        return Err(StoreError::Other("not a sip-authz store".to_owned()));
    }
    Ok(())
}

/// Makes the tables of an empty file.
pub(super) fn create(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction().map_err(failed)?;
    migrate(&transaction, Format::FIRST)?;
    transaction.commit().map_err(failed)
}

/// Migrates a file to this format, in the transaction of the caller. One of this format or a later one stays as it is.
pub(super) fn migrate(transaction: &Transaction<'_>, to: Format) -> Result<(), StoreError> {
    run(transaction, MIGRATIONS.get(..to.number() as usize).unwrap_or(&MIGRATIONS))
}

fn run(transaction: &Transaction<'_>, migrations: &[&str]) -> Result<(), StoreError> {
    let done = usize::try_from(pragma(transaction, "user_version")?).unwrap_or_default();
    for (place, migration) in migrations.iter().enumerate().skip(done) {
        transaction.execute_batch(migration).map_err(failed)?;
        transaction.pragma_update(None, "user_version", place + 1).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    }
    Ok(())
}

pub(super) fn pragma(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(connection: &Connection) -> Result<Format, StoreError> {
        let version = u32::try_from(pragma(connection, "user_version")?).unwrap();
        Ok(Format::new(version).unwrap())
    }

    #[test]
    fn migrations_run_in_order_and_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        create(&mut connection).unwrap();
        assert_eq!(pragma(&connection, "application_id"), Ok(APPLICATION_ID));
        assert_eq!(format(&connection), Ok(Format::FIRST));
        // again, and up to each format
        create(&mut connection).unwrap();
        for number in 1..=Format::NEWEST.number() {
            let to = Format::new(number).unwrap();
            let transaction = connection.transaction().unwrap();
            migrate(&transaction, to).unwrap();
            migrate(&transaction, Format::FIRST).unwrap();
            transaction.commit().unwrap();
            assert_eq!(format(&connection), Ok(to));
        }
        // a later release continues from there
        let later = ["", "", "ALTER TABLE records ADD COLUMN note TEXT"];
        let transaction = connection.transaction().unwrap();
        run(&transaction, &later).unwrap();
        transaction.commit().unwrap();
        assert_eq!(pragma(&connection, "user_version"), Ok(3));
        connection.execute_batch("INSERT INTO records VALUES ('k', '{}', 'n')").unwrap();
    }

    #[test]
    fn a_failed_migration_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        create(&mut connection).unwrap();
        let half = ["", "CREATE TABLE half (x); CREATE TABLE records (x)"];
        let transaction = connection.transaction().unwrap();
        assert!(run(&transaction, &half).is_err());
        drop(transaction);
        assert_eq!(pragma(&connection, "user_version"), Ok(1));
        assert!(connection.execute_batch("SELECT * FROM half").is_err());
        // nor one whose commit does not happen
        let transaction = connection.transaction().unwrap();
        migrate(&transaction, Format::NEWEST).unwrap();
        assert_eq!(format(&transaction), Ok(Format::NEWEST));
        drop(transaction);
        assert_eq!(format(&connection), Ok(Format::FIRST));
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
        let newer = check_header(APPLICATION_ID, 3).unwrap_err();
        let text = newer.to_string();
        assert!(text.contains("format 3; this release supports up to 2"), "{text}");
        assert!(matches!(newer, StoreError::Newer(_)));
    }
}
