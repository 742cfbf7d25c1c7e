//! Loads all records as of one head, on several connections at a time.
//!
//! The index tables (members of collections, their counts, names) are read too, and compared with the
//! records.

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

/// Connections at once, at most.
const READERS: usize = 8;
/// Records up to which one connection reads everything.
const FEW: u64 = 4_096;
/// Attempts to open all connections at one head.
const TRIES: usize = 8;
/// How many records are counted at a time.
const COUNTED: u64 = 256;

/// What the three large tables are cut by: these texts, each followed by each hexadecimal digit. That
/// spreads the work, and no more rests on it: before the first cut and behind the last is read too.
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

/// A part of the work.
struct Piece {
    what: Table,
    /// From this text on.
    from: String,
    /// Up to this one, which is not in it.
    to: Option<String>,
}

#[derive(Clone, Copy)]
enum Table {
    Records,
    Members,
    Names,
}

/// What one reader has found.
#[derive(Default)]
struct Found {
    /// The records of each piece, with the piece's place.
    records: Vec<(usize, Vec<Record>)>,
    sum: Sum,
    /// What is to stand beside the records, and what does.
    due: Sums,
    there: Sums,
    counts: HashMap<String, i64>,
}

/// Loads the file as of one moment, while another connection may write. `read` counts the records read so
/// far.
pub(super) fn load(path: &Path, read: &AtomicU64) -> Result<StoreSnapshot, StoreError> {
    let (head, readers) = readers(path)?;
    load_by(head, readers, read)
}

/// Connections that all read as of this head.
fn readers(path: &Path) -> Result<(Head, Vec<Connection>), StoreError> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for _ in 0..TRIES {
        let first = open_to_read(path)?;
        let head = read_head(&first)?;
        let mut readers = vec![first];
        let many = if head.records <= FEW { 1 } else { cores.min(READERS) };
        while readers.len() < many {
            let next = open_to_read(path)?;
            // each commit makes another head, so those with one head read the same
            if read_head(&next)? != head {
                break;
            }
            readers.push(next);
        }
        if readers.len() == many {
            return Ok((head, readers));
        }
    }
    // commits come faster than connections open, so one connection has to do
    let alone = open_to_read(path)?;
    Ok((read_head(&alone)?, vec![alone]))
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
        let gone = |_| Err(StoreError::Other("a thread that read the file has ended".to_owned()));
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

/// All of the three tables, each in one piece or cut. What may be large in one piece comes first.
fn pieces(are_cut: bool) -> Vec<Piece> {
    let tables =
        [(Table::Names, &NAMES[..]), (Table::Members, &MEMBERS), (Table::Records, &RECORDS)];
    tables.into_iter().flat_map(|(what, at)| cut(what, if are_cut { at } else { &[] })).collect()
}

fn cut(what: Table, at: &[&str]) -> Vec<Piece> {
    let digits = "0123456789abcdef".chars();
    let mut cuts: Vec<_> = at
        .iter()
        .flat_map(|text| digits.clone().map(move |digit| format!("{text}{digit}")))
        .collect();
    cuts.sort_unstable();
    let from = std::iter::once(String::new()).chain(cuts.iter().cloned());
    let to = cuts.iter().cloned().map(Some).chain([None]);
    from.zip(to).map(|(from, to)| Piece { what, from, to }).collect()
}

/// Reads pieces until there is none left; hands the connection back.
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
        let outcome = match piece.what {
            Table::Records => found.read_records(&reader, piece, place, read),
            Table::Members => found.read_members(&reader, piece),
            Table::Names => found.read_names(&reader, piece),
        };
        if outcome.is_err() {
            // the others need not go on
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
            self.due.add(text, &record);
            records.push(record);
            counted += 1;
            if counted == COUNTED {
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
            self.there.member(collection, text(row, 1)?);
            Ok(())
        })?;
        self.counts.insert(counting.0, counting.1);
        self.counts.remove("");
        Ok(())
    }

    fn read_names(&mut self, reader: &Connection, piece: &Piece) -> Result<(), StoreError> {
        let query = "SELECT name, key FROM names WHERE name >= ?1 ORDER BY name";
        each(reader, query, piece, |row| {
            self.there.name(text(row, 0)?, text(row, 1)?);
            Ok(())
        })
    }

    fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.sum = self.sum.plus(other.sum);
        self.due.plus(&other.due);
        self.there.plus(&other.there);
        // no collection is in two pieces
        self.counts.extend(other.counts);
    }

    /// Whether what stands beside the records is what they say.
    fn compare(&mut self, reader: &Connection) -> Result<(), StoreError> {
        let mut agree = self.there == self.due;
        let all = Piece { what: Table::Members, from: String::new(), to: None };
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
        Err(StoreError::Corrupt("damaged: what records are found by is not as they say".to_owned()))
    }
}

/// Calls `visit` with each row that a query gives for a piece. The query gives rows from where the piece
/// begins, in the order of their first column.
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
    fn pieces_leave_nothing_out() {
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
