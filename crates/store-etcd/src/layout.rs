//! The keys in etcd.
//!
//! | key | value |
//! |---|---|
//! | `head` | [`State`]: number, count and checksum, and the commit that is being folded in, if any |
//! | `history` | the incarnation of the store: an id that changes once a restore is noticed |
//! | `latest-awaited` | the number of the last commit that a change waits for; edges watch it, and then report soon |
//! | `longest-lease` | the longest lease of an edge so far, in milliseconds |
//! | `log` | the last commit, or the location of its staged parts; the key that edges watch |
//! | `r/00000` to `r/1ffff` | pages of records, by a hash of their keys |
//! | `n/0000` to `n/3fff` | pages of names, by a hash of the name; each leads to a record |
//! | `m/0000` to `m/3fff` | pages of collections, by a hash of the collection; small ones list their members here |
//! | `b/COLLECTION/KEY` | for a large collection, a page of members, from this key on |
//! | `stage/ID/0000` … | the parts of a commit that is too large for one transaction |
//! | `fold` | the progress of folding in the staged commit |
//! | `edge/NAME/ID` | the last report of an edge, one for each process with that name |
//! | `applied/NAME/ID` | the head in that report, which says more than its number |
//! | `api/NAME/ID` | the base URL of the API of that process, if other edges can ask it |
//! | `format/NAME/ID` | the newest format that the process supports |
//!
//! The hash is keyed with random bytes. The first commit draws them and every head contains them.
//! Without a key, a tenant who chooses user names could fill one page until no transaction can rewrite
//! it.

use serde::{Deserialize, Serialize};

use super::{Collection, Lookup, StoreError};
use sip_authz::model::Target;
use sip_authz_store::{Format, Head, ListKey, Sum};

/// The number of pages of records. With ten million records each page holds 76, about 24 kB. A change
/// of one record rewrites a page.
const RECORD_PAGES: u32 = 1 << 17;
/// The number of pages of names, and of pages of collections.
const NAME_PAGES: u32 = 1 << 14;

/// The random key of the hash that selects pages, so that no tenant can aim at one page.
pub(super) type PageKey = [u8; 32];

/// A key that each edge writes.
#[derive(Clone, Copy)]
pub(super) enum EdgeKey {
    Report,
    Applied,
    Api,
    Format,
}

impl EdgeKey {
    pub(super) const ALL: [Self; 4] = [Self::Report, Self::Applied, Self::Api, Self::Format];

    fn folder(self) -> &'static str {
        match self {
            Self::Report => "edge",
            Self::Applied => "applied",
            Self::Api => "api",
            Self::Format => "format",
        }
    }
}

/// The keys of one store.
#[derive(Clone)]
pub(super) struct Layout {
    root: String,
    pages: PageKey,
    /// The maximum size of a transaction, and of a page, in bytes.
    pub(super) limit: usize,
}

impl Layout {
    /// The keys that do not depend on the page key.
    pub(super) fn new(root: &str, limit: usize) -> Self {
        Self { root: root.to_owned(), pages: [0; 32], limit }
    }

    /// The same layout with the page key of this head.
    pub(super) fn of(&self, state: &State) -> Self {
        Self { pages: state.pages, ..self.clone() }
    }

    fn key(&self, rest: std::fmt::Arguments<'_>) -> Vec<u8> {
        format!("{}{rest}", self.root).into_bytes()
    }

    pub(super) fn head(&self) -> Vec<u8> {
        self.key(format_args!("head"))
    }

    pub(super) fn history(&self) -> Vec<u8> {
        self.key(format_args!("history"))
    }

    /// Between `history` and `log`: edges watch that range.
    pub(super) fn latest_awaited(&self) -> Vec<u8> {
        self.key(format_args!("latest-awaited"))
    }

    /// Not between `history` and `log`.
    pub(super) fn longest_lease(&self) -> Vec<u8> {
        self.key(format_args!("longest-lease"))
    }

    pub(super) fn log(&self) -> Vec<u8> {
        self.key(format_args!("log"))
    }

    pub(super) fn fold(&self) -> Vec<u8> {
        self.key(format_args!("fold"))
    }

    pub(super) fn record(&self, key: &str) -> Vec<u8> {
        self.key(format_args!("r/{:05x}", self.page_index(key.as_bytes(), RECORD_PAGES)))
    }

    /// Splits all pages of records into about `many` ranges.
    pub(super) fn record_ranges(&self, many: u64) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        // the same number of pages in each
        let many = u32::try_from(many).unwrap_or(u32::MAX).clamp(16, 1 << 13).next_power_of_two();
        let bound = move |n: u32| match n {
            n if n == many => self.key(format_args!("r0")),
            n => self.key(format_args!("r/{:05x}", n * (RECORD_PAGES / many))),
        };
        (0..many).map(move |n| (bound(n), bound(n + 1)))
    }

    pub(super) fn name(&self, name: &[u8]) -> Vec<u8> {
        self.key(format_args!("n/{:04x}", self.page_index(name, NAME_PAGES)))
    }

    pub(super) fn collection(&self, collection: &str) -> Vec<u8> {
        self.key(format_args!("m/{:04x}", self.page_index(collection.as_bytes(), NAME_PAGES)))
    }

    /// The prefix of the pages of a large collection.
    pub(super) fn members(&self, collection: &str) -> Vec<u8> {
        self.key(format_args!("b/{collection}/"))
    }

    /// Whether this is the key of a page of members.
    pub(super) fn is_members(&self, key: &[u8]) -> bool {
        let rest = key.strip_prefix(self.root.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"b/"))
    }

    pub(super) fn staged(&self, id: &str) -> Vec<u8> {
        self.key(format_args!("stage/{id}/"))
    }

    pub(super) fn part(&self, id: &str, part: usize) -> Vec<u8> {
        self.key(format_args!("stage/{id}/{part:06}"))
    }

    pub(super) fn all_staged(&self) -> Vec<u8> {
        self.key(format_args!("stage/"))
    }

    /// A key of a process with this name and id.
    pub(super) fn of_edge(&self, key: EdgeKey, name: &str, id: &str) -> Vec<u8> {
        self.key(format_args!("{}/{name}/{id}", key.folder()))
    }

    /// The prefix of these keys of all processes with this name.
    pub(super) fn edges_called(&self, key: EdgeKey, name: &str) -> Vec<u8> {
        self.key(format_args!("{}/{name}/", key.folder()))
    }

    /// The prefix of these keys of all processes.
    pub(super) fn all_edges(&self, key: EdgeKey) -> Vec<u8> {
        self.key(format_args!("{}/", key.folder()))
    }

    fn page_index(&self, key: &[u8], pages: u32) -> u32 {
        let hash = blake3::keyed_hash(&self.pages, key);
        let first = hash.as_bytes().iter().take(4);
        first.fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) % pages
    }
}

/// A hash of a name, so that pages hold no long names. `find` compares the name of the record that it
/// leads to.
pub(super) fn name_of(lookup: &Lookup) -> Vec<u8> {
    let text = match lookup {
        Lookup::Name(name) => format!("n/{name}"),
        Lookup::User(list, user) => format!("u/{list}/{user}"),
    };
    let hash = blake3::hash(text.as_bytes());
    hash.as_bytes().iter().copied().take(16).collect()
}

/// Encodes a collection.
pub(super) fn collection_of(collection: Collection) -> String {
    let target = |target: Target| target.to_string();
    match collection {
        Collection::Accounts => "1".to_owned(),
        Collection::Domains(account) => format!("2{account}"),
        Collection::Trunks(account) => format!("3{account}"),
        Collection::IpAccessControlLists(account) => format!("4{account}"),
        Collection::CredentialLists(account) => format!("5{account}"),
        Collection::Roles(account, service) => format!("6{account}{service}"),
        Collection::AccountRoles(account) => format!("7{account}"),
        Collection::IpAddresses(list) => format!("8{list}"),
        Collection::Credentials(list) => format!("9{list}"),
        Collection::Mappings(to) => format!("a{}", target(to)),
        Collection::MappingsOf(ListKey::IpAccessControlList(list)) => format!("b{list}"),
        Collection::MappingsOf(ListKey::CredentialList(list)) => format!("c{list}"),
        Collection::CarriersOf(role) => format!("d{role}"),
    }
}

/// The value of the head key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) head: Head,
    /// The random ID of the commit that made this head. If an answer gets lost, the writer compares it
    /// to determine whether its commit took effect.
    pub(super) id: String,
    /// The number of staged parts of the last commit; 0 once it is folded in.
    pub(super) parts: usize,
    /// The revision that wrote this head; 0 before the first commit.
    pub(super) revision: i64,
    /// The key of the hash that selects pages; zeros before the first commit.
    pub(super) pages: PageKey,
    /// The bytes that were read; none before the first commit.
    pub(super) bytes: Vec<u8>,
    /// The revision of the history key that was read with it; 0 without one.
    pub(super) history: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredState {
    v: u64,
    number: u64,
    records: u64,
    sum: String,
    id: String,
    #[serde(default)]
    parts: usize,
    pages: String,
    /// Only in version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
}

/// The version of the head in a store of the first format. Edges that know no formats read it.
const VERSION: u64 = 2;
/// The version of a head that names the format of the store. Edges that know no formats refuse it.
const VERSION_WITH_FORMAT: u64 = 3;

impl State {
    pub(super) fn first() -> Self {
        Self {
            head: Head::default(),
            id: String::new(),
            parts: 0,
            revision: 0,
            pages: [0; 32],
            bytes: Vec::new(),
            history: 0,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let Head { number, records, format, .. } = self.head;
        let is_first = format == Format::FIRST;
        let written = StoredState {
            v: if is_first { VERSION } else { VERSION_WITH_FORMAT },
            number,
            records,
            sum: hex::encode(self.head.sum.as_bytes()),
            id: self.id.clone(),
            parts: self.parts,
            pages: hex::encode(self.pages),
            format: (!is_first).then_some(format.number()),
        };
        serde_json::to_vec(&written).map_err(|error| StoreError::Other(error.to_string()))
    }

    pub(super) fn decode(bytes: &[u8], revision: i64) -> Result<Self, StoreError> {
        let wrong =
            |why: &dyn std::fmt::Display| StoreError::Corrupt(format!("the head in etcd: {why}"));
        let any: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
        let number = |name| any.get(name).and_then(serde_json::Value::as_u64);
        let format = match number("v") {
            Some(VERSION) => Format::FIRST,
            Some(VERSION_WITH_FORMAT) => {
                let format = number("format").and_then(|format| u32::try_from(format).ok());
                let format = format.and_then(Format::new).ok_or_else(|| wrong(&"no format"))?;
                // before the fields, which a later format may change
                format.check_supported()?;
                format
            }
            Some(1) => {
                return Err(wrong(
                    &"version 1, which selects pages without a key, is not supported: export its \
                      accounts with the release that wrote it and import them under another prefix",
                ));
            }
            Some(v) => {
                let why = format!(
                    "the head in etcd has version {v}, which this version does not support"
                );
                return Err(StoreError::Newer(why));
            }
            None => return Err(wrong(&"no version")),
        };
        let written: StoredState = serde_json::from_value(any).map_err(|error| wrong(&error))?;
        let (mut sum, mut pages) = ([0; 32], [0; 32]);
        hex::decode_to_slice(&written.sum, &mut sum).map_err(|error| wrong(&error))?;
        hex::decode_to_slice(&written.pages, &mut pages).map_err(|error| wrong(&error))?;
        let (number, records) = (written.number, written.records);
        let sum = Sum::from_bytes(sum);
        let head = Head { number, records, sum, format, ..Head::default() };
        let StoredState { id, parts, .. } = written;
        Ok(Self { head, id, parts, revision, pages, bytes: bytes.to_vec(), history: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_encoding_and_other_versions_are_rejected() {
        let mut state = State { id: "ab".to_owned(), parts: 3, pages: [7; 32], ..State::first() };
        let sum = Sum::from_bytes([8; 32]);
        state.head = Head { number: 5, records: 6, sum, ..Head::default() };
        state.revision = 9;
        let mut encode = |format| {
            state.head.format = format;
            let bytes = state.encode().unwrap();
            state.bytes.clone_from(&bytes);
            assert_eq!(State::decode(&bytes, 9).unwrap(), state);
            String::from_utf8(bytes).unwrap()
        };
        let second = encode(Format::NEWEST);
        let text = encode(Format::FIRST);
        let key = format!(",\"pages\":\"{}\"", "07".repeat(32));
        let unkeyed = text.replace(&key, "");
        let refused = |text: &str| State::decode(text.as_bytes(), 9).unwrap_err().to_string();
        assert!(refused(&unkeyed).contains("missing field `pages`"));
        let old = refused(&unkeyed.replace("\"v\":2", "\"v\":1"));
        assert!(old.contains("version 1") && old.contains("without a key"), "{old}");
        assert!(refused(&text.replace("\"v\":2", "\"v\":3")).contains("no format"));
        assert!(refused("{}").contains("no version"));
        // builds that know no formats refuse the version
        assert!(text.starts_with("{\"v\":2,") && !text.contains("format"));
        assert!(second.starts_with("{\"v\":3,") && second.ends_with(",\"format\":2}"), "{second}");
        // a later format, also with other fields, and a later version
        let later = second.replace("\"format\":2", "\"format\":3,\"other\":true");
        for later in [later, text.replace("\"v\":2", "\"v\":4")] {
            let refused = State::decode(later.as_bytes(), 9).unwrap_err();
            assert!(matches!(refused, StoreError::Newer(_)), "{refused}");
        }
    }

    #[test]
    fn names_that_share_a_page_in_one_store_are_spread_in_another() {
        let layout = |key| Layout::new("", 0).of(&State { pages: [key; 32], ..State::first() });
        let (known, other) = (layout(1), layout(2));
        // names that all fall into one page of the first store
        let aimed: Vec<_> = (0..NAME_PAGES * 20)
            .map(u32::to_be_bytes)
            .filter(|name| known.name(name) == known.name(b"page"))
            .collect();
        assert!(aimed.len() > 5);
        let mut pages: Vec<_> = aimed.iter().map(|name| other.name(name)).collect();
        pages.sort_unstable();
        pages.dedup();
        assert!(pages.len() > aimed.len() / 2, "{} of {}", pages.len(), aimed.len());
        assert_ne!(known.record("1/AC"), other.record("1/AC"));
        assert_ne!(known.collection("1"), other.collection("1"));
    }
}
