//! Checks that a staged commit can be folded into the pages within etcd's limit on the size of requests.
//!
//! An announced commit is committed, and every reader waits until it is in the pages. So a commit that
//! needs a request above the limit is rejected before anything is written. A change that shrinks a page
//! is never rejected.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::StoreError;
use super::layout::Layout;
use super::link::Link;
use super::members::Members;
use super::page;
use super::work::{self, Change, Old, Work};

/// The overhead of an entry of a page in bytes, beside its key and value.
const ENTRY: usize = 6;

/// Rejects staged parts that are larger than one request.
pub(super) fn check_parts(parts: &[Vec<u8>], limit: usize) -> Result<(), StoreError> {
    match parts.iter().map(Vec::len).max() {
        Some(longest) if longest > limit => Err(StoreError::TooLarge(format!(
            "commit rejected: it contains a record of {longest} bytes, but a request to etcd may have \
              at most {limit} bytes"
        ))),
        _ => Ok(()),
    }
}

/// Rejects work with a step that is larger than one request.
pub(super) async fn check_work(
    work: &Work,
    link: &Arc<Link>,
    layout: &Layout,
    old: &Old,
    revision: i64,
) -> Result<(), StoreError> {
    for changes in work.records.chunk_by(|one, two| one.0 == two.0) {
        let Some((key, _)) = changes.first() else { continue };
        let mut size = Size::of(old.pages.get(key).copied().unwrap_or(0));
        for (_, change) in changes {
            let Change::Record { text, value } = change else { continue };
            let entry = |value: &[u8]| text.len() + value.len() + ENTRY;
            let before = old.values.get(text).map_or(0, |value| entry(value));
            size.change(before, value.as_ref().map_or(0, |value| entry(value)));
        }
        size.check(key, layout.limit)?;
    }
    let mut by_page = HashMap::<&[u8], &[(Vec<u8>, Change)]>::new();
    for changes in work.index.chunk_by(|one, two| one.0 == two.0) {
        if let Some((key, _)) = changes.first() {
            by_page.insert(key, changes);
        }
    }
    let keys: Vec<_> = by_page.keys().map(|key| key.to_vec()).collect();
    work::each_page(link, &keys, revision, |key, value| {
        let changes = by_page.get(key).copied().unwrap_or_default();
        check_page(key, value, changes, layout.limit)
    })
    .await
}

/// Checks one page of names or of collections.
fn check_page(
    key: &[u8],
    value: Option<&[u8]>,
    changes: &[(Vec<u8>, Change)],
    limit: usize,
) -> Result<(), StoreError> {
    let page = page::decode(value)?;
    let mut size = Size::of(value.map_or(0, <[u8]>::len));
    // for each collection, the number of new members and the length of the longest key
    let mut added_members = BTreeMap::<&str, (usize, usize)>::new();
    for (_, change) in changes {
        match change {
            Change::Name { name, record, put } => {
                let entry = |record: &[u8]| name.len() + record.len() + ENTRY;
                let found = page.get(name);
                let before = found.map_or(0, |found| entry(found));
                if *put {
                    size.change(before, entry(record.as_bytes()));
                } else if found.is_some_and(|found| found == record.as_bytes()) {
                    size.change(before, 0);
                }
            }
            Change::Member { collection, member, added: true } => {
                let (many, longest) = added_members.entry(collection).or_default();
                *many += 1;
                *longest = member.len().max(*longest);
            }
            Change::Member { .. } | Change::Record { .. } => {}
        }
    }
    for (collection, (many, longest)) in added_members {
        let found = page.get(collection.as_bytes());
        let members = Members::decode(found)?;
        // ten bytes for the conversion of a small collection to a large one
        let grown = members.growth(many) * (longest + 2) + 10;
        let new = if found.is_none() { collection.len() + ENTRY } else { 0 };
        size.change(0, grown + new);
    }
    size.check(key, limit)
}

/// The size of a page during its changes.
struct Size {
    before: usize,
    now: usize,
    max: usize,
}

impl Size {
    fn of(bytes: usize) -> Self {
        // a new page starts with its version byte
        let now = bytes.max(1);
        Self { before: now, now, max: now }
    }

    /// Replaces an entry of `before` bytes with one of `after` bytes; 0 means no entry.
    fn change(&mut self, before: usize, after: usize) {
        self.now = self.now.saturating_sub(before).saturating_add(after);
        self.max = self.max.max(self.now);
    }

    fn check(&self, key: &[u8], limit: usize) -> Result<(), StoreError> {
        if self.max <= limit || self.max <= self.before {
            return Ok(());
        }
        Err(StoreError::TooLarge(format!(
            "commit rejected: the page `{}` would grow to {} bytes, but a write to etcd may have at \
              most {limit} bytes",
            String::from_utf8_lossy(key),
            self.max
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Page;

    const LIMIT: usize = 10_000;

    fn name(n: u16, put: bool) -> (Vec<u8>, Change) {
        let name = [n.to_be_bytes().as_slice(), &[0; 14]].concat();
        (b"n/0000".to_vec(), Change::Name { name, record: "r".repeat(36), put })
    }

    /// A page with this many names of 58 bytes each.
    fn page_of(names: u16) -> Vec<u8> {
        let names = (0..names).map(|n| {
            let (_, Change::Name { name, record, .. }) = name(n, true) else { unreachable!() };
            (name, record.into_bytes())
        });
        page::encode(&names.collect::<Page>()).unwrap()
    }

    fn fits(page: &[u8], changes: &[(Vec<u8>, Change)]) -> bool {
        check_page(b"n/0000", Some(page), changes, LIMIT).is_ok()
    }

    #[test]
    fn a_page_may_shrink_but_not_outgrow_the_limit() {
        let fit = u16::try_from((LIMIT - 1) / 58).unwrap();
        let full = page_of(fit);
        assert!(full.len() <= LIMIT && full.len() + 58 > LIMIT);
        assert!(fits(&page_of(fit - 1), &[name(fit - 1, true)]));
        assert!(!fits(&full, &[name(fit, true)]));
        // writing an existing name again, and replacing one name by another
        assert!(fits(&full, &[name(fit - 1, true)]));
        assert!(fits(&full, &[name(0, false), name(fit, true)]));
        // it exceeds the limit before the second change
        assert!(!fits(&full, &[name(fit, true), name(0, false)]));
        // a page that already exceeds the limit
        let over = page_of(fit + 20);
        assert!(fits(&over, &[name(0, false)]));
        assert!(fits(&over, &[name(0, false), name(fit + 20, true)]));
        assert!(!fits(&over, &[name(fit + 20, true)]));
        let error = check_page(b"n/0000", Some(&full), &[name(fit, true)], LIMIT).unwrap_err();
        assert!(
            matches!(&error, StoreError::TooLarge(why) if why.contains("`n/0000`") && why.contains("10000")),
            "{error}"
        );
    }

    #[test]
    fn members_of_many_collections_count() {
        let member = |n: usize, added| {
            let (collection, member) = (format!("collection {}", n / 100), format!("{n:030}"));
            (b"m/0000".to_vec(), Change::Member { collection, member, added })
        };
        let changes = |range: std::ops::Range<usize>, added| -> Vec<_> {
            range.map(|n| member(n, added)).collect()
        };
        assert!(fits(&[1], &changes(0..250, true)));
        assert!(!fits(&[1], &changes(0..320, true)));
        assert!(fits(&[1], &changes(0..320, false)));
    }

    #[test]
    fn a_record_larger_than_a_request_is_rejected() {
        assert!(check_parts(&[vec![0; LIMIT], vec![0; 5]], LIMIT).is_ok());
        assert!(check_parts(&[vec![0; 5], vec![0; LIMIT + 1]], LIMIT).is_err());
    }
}
