//! The members of a collection. A small collection lists its members in the page of the collection. A
//! large one has pages of members, each for a range of keys, and the page of the collection holds the
//! first key of each range.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::StoreError;
use super::page::{self, Page, take, unreadable};

/// The maximum number of members in the page of the collection.
const MAX_FEW: usize = 256;
/// A page with more members than this is split into pages of half this size.
const MAX_PAGE: usize = 2_048;

/// The members of a collection, as the page of the collection stores them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// All members.
    Few(BTreeSet<String>),
    /// The number of members, and the first key of each page. The first of these keys is empty.
    Many(u64, BTreeSet<String>),
}

impl Members {
    pub(super) fn none() -> Self {
        Self::Few(BTreeSet::new())
    }

    pub(super) fn decode(bytes: Option<&Vec<u8>>) -> Result<Self, StoreError> {
        let Some((kind, mut rest)) = bytes.and_then(|bytes| bytes.split_first()) else {
            return Ok(Self::none());
        };
        let mut count = 0;
        if *kind == 1 {
            let (first, behind) = rest.split_first_chunk::<8>().ok_or_else(unreadable)?;
            (count, rest) = (u64::from_be_bytes(*first), behind);
        }
        let mut keys = BTreeSet::new();
        while !rest.is_empty() {
            let key;
            (key, rest) = take::<2>(rest)?;
            keys.insert(str::from_utf8(key).map_err(|_| unreadable())?.to_owned());
        }
        match kind {
            0 => Ok(Self::Few(keys)),
            1 => Ok(Self::Many(count, keys)),
            _ => Err(unreadable()),
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let (mut bytes, keys) = match self {
            Self::Few(keys) => (vec![0], keys),
            Self::Many(count, keys) => ([&[1], count.to_be_bytes().as_slice()].concat(), keys),
        };
        for key in keys {
            let length = u16::try_from(key.len()).map_err(|_| unreadable())?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(key.as_bytes());
        }
        Ok(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Few(keys) if keys.is_empty())
    }

    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Few(keys) => keys.len() as u64,
            Self::Many(count, _) => *count,
        }
    }

    /// The maximum growth of the output of [`Self::encode`], in entries, while so many members are
    /// added in any number of steps.
    pub(super) fn growth(&self, added: usize) -> usize {
        let (few, pages) = match self {
            Self::Few(_) => (added.min(MAX_FEW), 1),
            Self::Many(_, first) => (0, first.len()),
        };
        // a full page becomes three with the next member; a half-full page must first fill up
        few + 2 * pages.min(added) + added / (MAX_PAGE / 4) + 3
    }

    /// The first key of the page that has, or would have, this member.
    pub(super) fn page_of(&self, member: &str) -> Option<&str> {
        match self {
            Self::Few(_) => None,
            Self::Many(_, first) => first
                .range::<str, _>((Bound::Unbounded, Bound::Included(member)))
                .next_back()
                .map(String::as_str),
        }
    }
}

/// A changed page of members: its first key and its new content, or `None` if it is deleted.
pub(super) type Changed = (String, Option<Page>);

/// Converts a collection with too many members to pages of members.
pub(super) fn grow(members: &mut Members) -> Vec<Changed> {
    let Members::Few(keys) = members else { return Vec::new() };
    if keys.len() <= MAX_FEW {
        return Vec::new();
    }
    let count = keys.len() as u64;
    let page: Page = keys.iter().map(|key| (key.clone().into_bytes(), Vec::new())).collect();
    let mut first = BTreeSet::from([String::new()]);
    let changed = divide(String::new(), page, &mut first);
    *members = Members::Many(count, first);
    changed
}

/// Adds members to a page or removes them, and splits the page if it becomes too large.
pub(super) fn change(
    members: &mut Members,
    name: String,
    mut page: Page,
    changes: &[(&str, bool)],
) -> Vec<Changed> {
    let Members::Many(count, first) = members else { return Vec::new() };
    for (member, added) in changes {
        let member = member.as_bytes();
        if *added {
            *count += u64::from(page.insert(member.to_vec(), Vec::new()).is_none());
        } else {
            *count = count.saturating_sub(u64::from(page.remove(member).is_some()));
        }
    }
    // the first page stays even if empty, so that every member has a page
    if page.is_empty() && !name.is_empty() {
        first.remove(&name);
        return vec![(name, None)];
    }
    divide(name, page, first)
}

fn divide(name: String, page: Page, first: &mut BTreeSet<String>) -> Vec<Changed> {
    if page.len() <= MAX_PAGE {
        return vec![(name, Some(page))];
    }
    let mut pages: Vec<Changed> = Vec::new();
    for (member, nothing) in page {
        match pages.last_mut() {
            Some((_, Some(page))) if page.len() < MAX_PAGE / 2 => {
                page.insert(member, nothing);
            }
            _ => {
                // the first part keeps the name of the page
                let from = String::from_utf8_lossy(&member).into_owned();
                let from = if pages.is_empty() { name.clone() } else { from };
                first.insert(from.clone());
                pages.push((from, Some(Page::from([(member, nothing)]))));
            }
        }
    }
    pages
}

/// Decodes the members in a page of members.
pub(super) fn listed(bytes: Option<&[u8]>) -> Result<Vec<String>, StoreError> {
    let mut all = Vec::new();
    page::each(bytes, |member, _| {
        all.push(str::from_utf8(member).map_err(|_| unreadable())?.to_owned());
        Ok(())
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::options::BYTES;
    use crate::work::largest;

    /// Compares random changes with a set.
    #[test]
    fn random_changes_match_a_set() {
        let mut members = Members::none();
        let mut pages = BTreeMap::<String, Page>::new();
        let mut oracle = BTreeSet::new();
        let mut random = 1_u64;
        let mut most = 0;
        for round in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..400 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let member = format!("{:05}", (random >> 33) % 30_000);
                changes.push((member, round < 30 || random >> 63 > 0 && round < 40));
            }
            changes.sort();
            changes.dedup_by(|one, two| one.0 == two.0);
            if round > 50 {
                changes =
                    oracle.iter().take(2_000).map(|key: &String| (key.clone(), false)).collect();
            }
            let of = |members: &Members| match members {
                Members::Few(keys) | Members::Many(_, keys) => keys.len(),
            };
            let most_keys =
                of(&members) + members.growth(changes.iter().filter(|(_, added)| *added).count());
            let mut by_page = BTreeMap::<String, Vec<(&str, bool)>>::new();
            for (member, added) in &changes {
                if *added {
                    oracle.insert(member.clone())
                } else {
                    oracle.remove(member)
                };
                let page = members_page(&members, member);
                match (&mut members, page) {
                    (Members::Few(keys), _) if *added => drop(keys.insert(member.clone())),
                    (Members::Few(keys), _) => drop(keys.remove(member)),
                    (_, page) => by_page.entry(page.unwrap()).or_default().push((member, *added)),
                }
            }
            let mut changed = grow(&mut members);
            for (name, changes) in by_page {
                let page = pages[&name].clone();
                changed.extend(change(&mut members, name, page, &changes));
            }
            for (name, page) in changed {
                match page {
                    Some(page) => drop(pages.insert(name, page)),
                    None => drop(pages.remove(&name)),
                }
            }
            let again = Members::decode(Some(&members.encode().unwrap())).unwrap();
            assert_eq!(again, members);
            assert!(of(&members) <= most_keys, "{} of {most_keys}", of(&members));
            assert_eq!(members.count(), oracle.len() as u64);
            if let Members::Many(_, first) = &members {
                assert!(first.iter().eq(pages.keys()));
                let all: Vec<_> = pages.values().flat_map(|page| page.keys().cloned()).collect();
                assert!(all.iter().map(Vec::as_slice).eq(oracle.iter().map(String::as_bytes)));
                assert!(pages.values().all(|page| page.len() <= MAX_PAGE));
            }
            most = most.max(pages.len());
        }
        assert!(most > 4, "only {most} pages");
        assert!(oracle.is_empty() && pages.len() == 1);
    }

    /// The most that one change of a collection can write: its page, and a page of members split in
    /// three.
    #[test]
    fn one_change_of_the_largest_pages_fits_a_request_to_etcd() {
        let longest = "8/3/SD00000000000000000000000000000000/CL00000000000000000000000000000000";
        let member = |n: usize| format!("{n:0width$}", width = longest.len());
        let page: Page = (0..=MAX_PAGE).map(|n| (member(n).into_bytes(), Vec::new())).collect();
        let mut first = BTreeSet::from([String::new()]);
        let pages = divide(String::new(), page, &mut first);
        assert_eq!(pages.len(), 3);
        let written: usize =
            pages.iter().map(|(_, page)| page::encode(page.as_ref().unwrap()).unwrap().len()).sum();
        // plus space for keys, the head and the log
        assert!(BYTES + written + (64 << 10) < largest(BYTES), "{written}");
        assert!(largest(BYTES) + (64 << 10) < 1_572_864);
    }

    fn members_page(members: &Members, member: &str) -> Option<String> {
        members.page_of(member).map(str::to_owned)
    }
}
