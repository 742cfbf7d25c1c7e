//! Loads all records as of one head, on several connections.
//!
//! It also reads the index tables (members of collections, their counts, names) and compares them with
//! the records.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use rusqlite::{Connection, Row};

use super::database::{bytes, open_to_read, read_head, text};
use super::failed;
use super::index::Sums;
use sip_authz::model::Record;
use sip_authz_store::{Head, StoreError, StoreSnapshot, Sum, encoding};

/// The maximum number of connections.
const READERS: usize = 8;
/// Up to this many records, one connection reads everything.
const FEW: u64 = 4_096;
/// The number of attempts to open all connections at one head.
const ATTEMPTS: usize = 8;
/// Readers add to the progress counter after this many records.
const PROGRESS_STEP: u64 = 256;

/// The split points of the three large tables: each of these texts followed by each hexadecimal digit.
/// They only spread the work: the first piece begins at the start of the table, the last reaches to its
/// end.
const RECORDS: [&str; 15] = [
    "1/AC", "2/AL", "3/CL", "4/IP", "5/CR", "6/SD", "6/TK", "7/SD", "7/TK", "8/1/SD", "8/1/TK",
    "8/2/SD", "8/2/TK", "8/3/SD", "9/RL",
];
const MEMBERS: [&str; 13] = [
    "access-lists/AC",
    "account-roles/AC",
    "addresses/AL",
    "carriers-of/RL",
    "credential-lists/AC",
    "credentials/CL",
    "domains/AC",
    "mappings-of/AL",
    "mappings-of/CL",
    "mappings/SD",
    "mappings/TK",
    "roles/AC",
    "trunks/AC",
];
const NAMES: [&str; 2] = ["host/", "user/CL"];

/// A range of a table for one reader.
struct Piece {
    table: Table,
    /// The first key.
    from: String,
    /// The end of the range, exclusive.
    to: Option<String>,
}

#[derive(Clone, Copy)]
enum Table {
    Records,
    Members,
    Names,
}

/// The results of one reader.
#[derive(Default)]
struct Found {
    /// The records of each piece, with the index of the piece.
    records: Vec<(usize, Vec<Record>)>,
    sum: Sum,
    /// Checksums of the expected index tables, and of the actual ones.
    expected: Sums,
    actual: Sums,
    counts: HashMap<String, i64>,
}

/// Loads a consistent snapshot of the file, while another connection may write. `read` counts the
/// records read so far.
pub(super) fn load(path: &Path, read: &AtomicU64) -> Result<StoreSnapshot, StoreError> {
    let (head, readers) = readers(path)?;
    load_by(head, readers, read)
}

/// Opens connections that all read as of the returned head.
fn readers(path: &Path) -> Result<(Head, Vec<Connection>), StoreError> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for _ in 0..ATTEMPTS {
        let first = open_to_read(path)?;
        let head = read_head(&first)?;
        let mut readers = vec![first];
        let many = if head.records <= FEW { 1 } else { cores.min(READERS) };
        while readers.len() < many {
            let next = open_to_read(path)?;
            // each commit changes the head, so connections with equal heads read the same state
            if read_head(&next)? != head {
                break;
            }
            readers.push(next);
        }
        if readers.len() == many {
            return Ok((head, readers));
        }
    }
    // commits come faster than connections open, so use one connection
    let only = open_to_read(path)?;
    Ok((read_head(&only)?, vec![only]))
}

fn load_by(
    head: Head,
    readers: Vec<Connection>,
    read: &AtomicU64,
) -> Result<StoreSnapshot, StoreError> {
    read.store(0, Ordering::Relaxed);
    let pieces = pieces(head.records > FEW);
    let next = AtomicUsize::new(0);
    let parts: Vec<_> = thread::scope(|scope| {
        let reading: Vec<_> = readers
            .into_iter()
            .map(|reader| scope.spawn(|| read_pieces(reader, &pieces, &next, read)))
            .collect();
        let gone = |_| Err(StoreError::Other("a reader thread has panicked".to_owned()));
        reading.into_iter().map(|thread| thread.join().unwrap_or_else(gone)).collect()
    });
    let mut all = Found::default();
    let mut last = None;
    for part in parts {
        let (part, reader) = part?;
        all.add(part);
        last = Some(reader);
    }
    all.records.sort_unstable_by_key(|(place, _)| *place);
    let many = all.records.iter().map(|(_, records)| records.len()).sum();
    head.check(many as u64, all.sum)?;
    if let Some(reader) = last {
        all.compare(&reader)?;
    }
    let mut records = Vec::new();
    records.try_reserve_exact(many).map_err(|error| StoreError::Other(error.to_string()))?;
    records.extend(all.records.into_iter().flat_map(|(_, records)| records));
    Ok(StoreSnapshot { head, records })
}

/// The pieces of all three tables. A large single piece comes first.
fn pieces(are_cut: bool) -> Vec<Piece> {
    let tables =
        [(Table::Names, &NAMES[..]), (Table::Members, &MEMBERS), (Table::Records, &RECORDS)];
    tables.into_iter().flat_map(|(table, at)| cut(table, if are_cut { at } else { &[] })).collect()
}

fn cut(table: Table, at: &[&str]) -> Vec<Piece> {
    let digits = "0123456789abcdef".chars();
    let mut cuts: Vec<_> = at
        .iter()
        .flat_map(|text| digits.clone().map(move |digit| format!("{text}{digit}")))
        .collect();
    cuts.sort_unstable();
    let from = std::iter::once(String::new()).chain(cuts.iter().cloned());
    let to = cuts.iter().cloned().map(Some).chain([None]);
    from.zip(to).map(|(from, to)| Piece { table, from, to }).collect()
}

/// Reads pieces until none is left, and returns the connection.
fn read_pieces(
    reader: Connection,
    pieces: &[Piece],
    next: &AtomicUsize,
    read: &AtomicU64,
) -> Result<(Found, Connection), StoreError> {
    let mut found = Found::default();
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(piece) = pieces.get(place) else { return Ok((found, reader)) };
        let outcome = match piece.table {
            Table::Records => found.read_records(&reader, piece, place, read),
            Table::Members => found.read_members(&reader, piece),
            Table::Names => found.read_names(&reader, piece),
        };
        if outcome.is_err() {
            // stops the other readers
            next.store(pieces.len(), Ordering::Relaxed);
        }
        outcome?;
    }
}

impl Found {
    fn read_records(
        &mut self,
        reader: &Connection,
        piece: &Piece,
        place: usize,
        read: &AtomicU64,
    ) -> Result<(), StoreError> {
        let mut records = Vec::new();
        let query = "SELECT key, value FROM records WHERE key >= ?1 ORDER BY key";
        let mut counted = 0;
        each(reader, query, piece, |row| {
            let (text, value) = (text(row, 0)?, bytes(row, 1)?);
            let key = encoding::decode_key(text)?;
            let record = encoding::decode(key, value)?;
            self.sum = self.sum.plus(Sum::of_encoded(text, value));
            self.expected.add(text, &record);
            records.push(record);
            counted += 1;
            if counted == PROGRESS_STEP {
                read.fetch_add(std::mem::take(&mut counted), Ordering::Relaxed);
            }
            Ok(())
        })?;
        read.fetch_add(counted, Ordering::Relaxed);
        self.records.push((place, records));
        Ok(())
    }

    fn read_members(&mut self, reader: &Connection, piece: &Piece) -> Result<(), StoreError> {
        let mut counting = (String::new(), 0);
        let query = "SELECT collection, key FROM members WHERE collection >= ?1 \
                     ORDER BY collection, key";
        each(reader, query, piece, |row| {
            let collection = text(row, 0)?;
            if counting.0 != collection {
                let (name, count) = std::mem::replace(&mut counting, (collection.to_owned(), 0));
                self.counts.insert(name, count);
            }
            counting.1 += 1;
            self.actual.member(collection, text(row, 1)?);
            Ok(())
        })?;
        self.counts.insert(counting.0, counting.1);
        self.counts.remove("");
        Ok(())
    }

    fn read_names(&mut self, reader: &Connection, piece: &Piece) -> Result<(), StoreError> {
        let query = "SELECT name, key FROM names WHERE name >= ?1 ORDER BY name";
        each(reader, query, piece, |row| {
            self.actual.name(text(row, 0)?, text(row, 1)?);
            Ok(())
        })
    }

    fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.sum = self.sum.plus(other.sum);
        self.expected.plus(&other.expected);
        self.actual.plus(&other.actual);
        // a collection is never split between pieces
        self.counts.extend(other.counts);
    }

    /// Compares the index tables with the records.
    fn compare(&mut self, reader: &Connection) -> Result<(), StoreError> {
        let mut agree = self.actual == self.expected;
        let all = Piece { table: Table::Members, from: String::new(), to: None };
        let query = "SELECT collection, members FROM counts WHERE collection >= ?1 \
                     ORDER BY collection";
        each(reader, query, &all, |row| {
            let count: i64 = row.get(1).map_err(failed)?;
            agree &= self.counts.remove(text(row, 0)?) == Some(count);
            Ok(())
        })?;
        if agree && self.counts.is_empty() {
            return Ok(());
        }
        Err(StoreError::Corrupt("damaged: the index tables do not match the records".to_owned()))
    }
}

/// Calls `visit` with each row of a piece. The query must return rows from `?1` on, ordered by the
/// first column.
fn each(
    reader: &Connection,
    query: &str,
    piece: &Piece,
    mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut query = reader.prepare_cached(query).map_err(failed)?;
    let mut rows = query.query([&piece.from]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        if piece.to.as_deref().is_some_and(|to| text(row, 0).is_ok_and(|first| first >= to)) {
            break;
        }
        visit(row)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_each_table() {
        for at in [&[][..], &RECORDS, &MEMBERS, &NAMES] {
            let pieces = cut(Table::Records, at);
            assert_eq!(pieces.len(), at.len() * 16 + 1);
            assert_eq!(pieces[0].from, "");
            assert_eq!(pieces[pieces.len() - 1].to, None);
            for two in pieces.windows(2) {
                assert_eq!(two[0].to.as_ref(), Some(&two[1].from));
                assert!(two[0].from < two[1].from);
            }
        }
    }
}
