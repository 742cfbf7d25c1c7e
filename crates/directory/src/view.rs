//! The records that a command plans on, or that a read returns.

use super::{Cursor, DirectoryError, Kind, Listing, Page};
use sip_authz::model::{Key, Record};
use sip_authz_store::{Collection, Records};

/// The records as of one head, and the number of the commit that is planned on them.
#[derive(Clone, Copy)]
pub(super) struct View<'r> {
    pub(super) records: &'r Records,
    /// The number of the commit that a command on these records becomes a part of.
    pub(super) number: u64,
}

impl<'r> View<'r> {
    /// Durable records.
    pub(super) fn of(records: &'r Records) -> Self {
        Self { records, number: records.head().number.saturating_add(1) }
    }

    /// The records with these keys in a collection.
    pub(super) fn members(self, collection: Collection) -> impl Iterator<Item = &'r Record> {
        self.records.range(collection, None)
    }

    /// The keys of a collection.
    pub(super) fn keys(self, collection: Collection) -> impl Iterator<Item = Key> {
        self.members(collection).map(Record::key)
    }

    /// A page of a collection in key order.
    pub(super) fn list<T>(
        self,
        collection: Collection,
        page: Page,
        of: impl Fn(Record) -> Option<T>,
    ) -> Listing<T> {
        let after = page.after.map(|cursor| cursor.key);
        let mut records = self.records.range(collection, after);
        let rows: Vec<_> = records.by_ref().take(page.size).collect();
        let last = rows.last().filter(|_| records.next().is_some());
        let next = last.map(|record| Cursor { since: 0, key: record.key() });
        Listing { rows: rows.into_iter().cloned().filter_map(of).collect(), next }
    }

    /// Fails if the collection already holds `limit` records.
    pub(super) fn check_quota(
        self,
        collection: Collection,
        kind: Kind,
        limit: usize,
    ) -> Result<(), DirectoryError> {
        if self.records.count(collection) < limit {
            Ok(())
        } else {
            Err(DirectoryError::TooMany { kind, limit })
        }
    }
}
