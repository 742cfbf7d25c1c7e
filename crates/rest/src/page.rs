//! Pages of a listing: the request parameters, the page tokens and the two response envelopes.

use std::hash::Hasher;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::error::{ApiError, BAD_PAGE_TOKEN, BAD_PARAMETER, PAGE_SIZE_TOO_LARGE};
use super::form::{Form, Param};
use super::links::Links;
use sip_authz::model::{
    Account, Credential, CredentialList, Domain, IpAccessControlList, IpAddress, Key, Mapping,
    MappingRecord, Role, Trunk,
};
use sip_authz_directory::{Cursor, DirectoryError, Kind, Listing, Page};

/// The query parameters of a listing.
pub(super) const PARAMS: &[Param] =
    &[Param::integer("PageSize"), Param::integer("Page"), Param::text("PageToken")];

const DEFAULT_SIZE: u32 = 50;

/// The largest `PageSize` of roles.
const MAX_ROLES: u32 = 100;

/// The rows per read while searching for the previous page.
const CHUNK: usize = 1_000;

/// The position of a row in its listing: the commit that made it (0 in listings by SID), and its SID.
pub(super) type CursorPosition = (u64, [u8; 16]);

/// A record that a listing can contain.
pub(super) trait Row {
    fn position(&self) -> CursorPosition;
}

macro_rules! rows {
    ($($record:ty)*) => {$(
        impl Row for $record {
            fn position(&self) -> CursorPosition {
                (0, *self.sid.as_bytes())
            }
        }
    )*};
}

rows! { Account Domain Trunk IpAccessControlList IpAddress CredentialList Credential Role }

impl Row for MappingRecord {
    fn position(&self) -> CursorPosition {
        let list = match &self.mapping {
            Mapping::IpAccessControlList(_, list) => list.as_bytes(),
            Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => list.as_bytes(),
        };
        (self.since, *list)
    }
}

/// A request for one page of a listing.
pub(super) struct PageRequest {
    size: u32,
    /// The page number of the client. It only appears in links.
    number: u32,
    start: PageStart,
    /// The key that authenticates page tokens; each account and listing has its own.
    key: [u8; 16],
    /// The query parameters of a filter, for links.
    filter: String,
}

/// The start of a page.
#[derive(Clone, Copy)]
pub(super) enum PageStart {
    First,
    After(CursorPosition),
    Before(CursorPosition),
}

impl PageRequest {
    /// Parses the query. `key` is secret and specific to one listing of one account.
    pub(super) fn read(
        kind: Kind,
        max_size: u32,
        query: &str,
        key: [u8; 16],
    ) -> Result<Self, ApiError> {
        // `Kind::Policy` makes every invalid parameter a 20001, whatever the listing holds
        let form = Form::read(Kind::Policy, PARAMS, query.as_bytes())?;
        let max_size = if kind == Kind::Role { max_size.min(MAX_ROLES) } else { max_size };
        let size = form
            .integer::<u64>("PageSize")?
            .map_or(DEFAULT_SIZE.min(max_size), |size| u32::try_from(size).unwrap_or(u32::MAX));
        if size < 1 {
            return Err(ApiError::bad(BAD_PARAMETER, "PageSize must be at least 1"));
        }
        if size > max_size {
            let message = format!("PageSize must be at most {max_size}");
            return Err(ApiError::bad(PAGE_SIZE_TOO_LARGE, message));
        }
        let number = form.integer("Page")?.unwrap_or_default();
        let start = match form.text("PageToken") {
            None | Some("") => PageStart::First,
            Some(token) => open_token(token, key).ok_or_else(|| {
                ApiError::bad(BAD_PAGE_TOKEN, "PageToken is invalid or belongs to another listing")
            })?,
        };
        Ok(Self { size, number, start, key, filter: String::new() })
    }

    /// Keeps the query parameters of a filter in all links.
    pub(super) fn with_filter(self, filter: String) -> Self {
        Self { filter, ..self }
    }

    /// The maximum number of rows.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    pub(super) fn start(&self) -> PageStart {
        self.start
    }

    /// A page of rows that are no records of the store.
    pub(super) fn with_rows<R>(
        self,
        rows: Vec<R>,
        next: Option<PageStart>,
        previous: Option<PageStart>,
    ) -> Rows<R> {
        Rows { rows, request: self, next, previous }
    }

    /// Reads the rows of the page. `key` converts the SID of a row to its key.
    pub(super) async fn rows<R: Row, Fut>(
        self,
        key: impl Fn([u8; 16]) -> Key,
        list: impl Fn(Page) -> Fut,
    ) -> Result<Rows<R>, ApiError>
    where
        Fut: Future<Output = Result<Listing<R>, DirectoryError>>,
    {
        let size = self.size();
        let after = match self.start {
            PageStart::First => None,
            PageStart::After((since, sid)) => Some(Cursor { since, key: key(sid) }),
            PageStart::Before(end) => return self.rows_before(end, size, list).await,
        };
        let Listing { rows, next } = list(Page { after, size }).await?;
        let last = rows.last().filter(|_| next.is_some());
        let next = last.map(|row| PageStart::After(row.position()));
        let first = rows.first().filter(|_| after.is_some());
        let previous = first.map(|row| PageStart::Before(row.position()));
        Ok(Rows { rows, request: self, next, previous })
    }

    /// Reads the rows of the page that ends before `end`. The store lists forwards only, so this reads
    /// from the start of the listing.
    async fn rows_before<R: Row, Fut>(
        self,
        end: CursorPosition,
        size: usize,
        list: impl Fn(Page) -> Fut,
    ) -> Result<Rows<R>, ApiError>
    where
        Fut: Future<Output = Result<Listing<R>, DirectoryError>>,
    {
        let mut rows: Vec<R> = Vec::new();
        let mut after = None;
        loop {
            let chunk = list(Page { after, size: CHUNK }).await?;
            let passed = chunk.rows.last().is_none_or(|row| row.position() >= end);
            rows.extend(chunk.rows.into_iter().take_while(|row| row.position() < end));
            // keep one row more than the page, to see whether it has a previous page
            rows.drain(..rows.len().saturating_sub(size.saturating_add(1)));
            after = chunk.next;
            if passed || after.is_none() {
                break;
            }
        }
        let more = rows.len() > size;
        rows.drain(..rows.len().saturating_sub(size));
        let next = rows.last().map(|row| PageStart::After(row.position()));
        let first = rows.first().filter(|_| more);
        let previous = first.map(|row| PageStart::Before(row.position()));
        Ok(Rows { rows, request: self, next, previous })
    }

    fn query(&self, number: u32, start: PageStart) -> String {
        let token = match start {
            PageStart::First => String::new(),
            start => format!("&PageToken={}", seal_token(start, self.key)),
        };
        let separator = if self.filter.is_empty() { "" } else { "&" };
        format!("?{}{separator}PageSize={}&Page={number}{token}", self.filter, self.size)
    }
}

/// A page of records.
pub(super) struct Rows<R> {
    pub(super) rows: Vec<R>,
    request: PageRequest,
    next: Option<PageStart>,
    previous: Option<PageStart>,
}

impl<R> Rows<R> {
    /// Converts each row to its JSON form.
    pub(super) fn map<A>(self, convert: impl Fn(R) -> A) -> Rows<A> {
        let Self { rows, request, next, previous } = self;
        Rows { rows: rows.into_iter().map(convert).collect(), request, next, previous }
    }

    /// Converts each row to its JSON form, with further reads.
    pub(super) async fn try_map<A, Fut>(
        self,
        convert: impl Fn(R) -> Fut,
    ) -> Result<Rows<A>, ApiError>
    where
        Fut: Future<Output = Result<A, ApiError>>,
    {
        let Self { rows, request, next, previous } = self;
        let mut converted = Vec::with_capacity(rows.len());
        for row in rows {
            converted.push(convert(row).await?);
        }
        Ok(Rows { rows: converted, request, next, previous })
    }
}

impl<A: Serialize> Rows<A> {
    /// The envelope of 2010-04-01: the rows, with links relative to the host.
    pub(super) fn with_uris(&self, key: &str, links: &Links) -> Value {
        let PageRequest { size, number, .. } = self.request;
        let start = u64::from(number) * u64::from(size);
        let count = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        let [first, own, next, previous] = self.links(|query| format!("{}{query}", links.path()));
        let mut envelope = Map::new();
        envelope.insert(key.to_owned(), json!(self.rows));
        envelope.insert("end".to_owned(), json!(start.saturating_add(count.saturating_sub(1))));
        envelope.insert("first_page_uri".to_owned(), first);
        envelope.insert("next_page_uri".to_owned(), next);
        envelope.insert("page".to_owned(), json!(number));
        envelope.insert("page_size".to_owned(), json!(size));
        envelope.insert("previous_page_uri".to_owned(), previous);
        envelope.insert("start".to_owned(), json!(start));
        envelope.insert("uri".to_owned(), own);
        Value::Object(envelope)
    }

    /// The envelope of the other APIs: the rows, with absolute links in `meta`.
    pub(super) fn with_meta(&self, key: &str, links: &Links) -> Value {
        let absolute = |query| links.absolute(&format!("{}{query}", links.path()));
        let [first, own, next, previous] = self.links(absolute);
        let meta = json!({
            "first_page_url": first,
            "key": key,
            "next_page_url": next,
            "page": self.request.number,
            "page_size": self.request.size,
            "previous_page_url": previous,
            "url": own,
        });
        json!({ key: self.rows, "meta": meta })
    }

    /// The links to the first page, this one, the next and the previous.
    fn links(&self, link: impl Fn(String) -> String) -> [Value; 4] {
        let request = &self.request;
        let to = |number, start| Value::String(link(request.query(number, start)));
        let if_any =
            |number, start: Option<PageStart>| start.map_or(Value::Null, |start| to(number, start));
        [
            to(0, PageStart::First),
            to(request.number, request.start),
            if_any(request.number.saturating_add(1), self.next),
            if_any(request.number.saturating_sub(1), self.previous),
        ]
    }
}

/// Encodes a page token: direction, position and a MAC over both.
fn seal_token(start: PageStart, key: [u8; 16]) -> String {
    let (direction, (since, sid)) = match start {
        PageStart::First => return String::new(),
        PageStart::After(position) => (0, position),
        PageStart::Before(position) => (1, position),
    };
    let mut bytes = vec![direction];
    bytes.extend(since.to_be_bytes());
    bytes.extend(sid);
    bytes.extend(mac(&bytes, key));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a page token. Returns `None` if its MAC is wrong for `key`.
fn open_token(token: &str, key: [u8; 16]) -> Option<PageStart> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (payload, tag) = bytes.split_at_checked(25)?;
    if tag != mac(payload, key) {
        return None;
    }
    let (direction, position) = payload.split_first()?;
    let (since, sid) = position.split_first_chunk()?;
    let position = (u64::from_be_bytes(*since), sid.try_into().ok()?);
    Some(if *direction == 0 { PageStart::After(position) } else { PageStart::Before(position) })
}

/// For the fuzz target: checks the invariants of a valid query. The page size is in range, the link to
/// the page parses to the same request, and a token is valid only with its own key.
#[cfg(any(test, feature = "unstable-internals"))]
pub(super) fn check_query(query: &str) {
    const KEY: [u8; 16] = [7; 16];
    let read = |query: &str, key| PageRequest::read(Kind::Domain, 1_000, query, key).ok();
    let Some(request) = read(query, KEY) else { return };
    assert!((1..=1_000).contains(&request.size));
    let link = request.query(request.number, request.start);
    let again = link.strip_prefix('?').and_then(|query| read(query, KEY));
    let parts =
        |request: &PageRequest| (request.size, request.number, seal_token(request.start, KEY));
    assert_eq!(again.as_ref().map(parts), Some(parts(&request)), "{link}");
    assert!(matches!(request.start, PageStart::First) || read(query, [8; 16]).is_none());
}

fn mac(bytes: &[u8], key: [u8; 16]) -> [u8; 16] {
    let mut hasher = SipHasher24::new_with_key(&key);
    hasher.write(bytes);
    hasher.finish128().as_u128().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_token_is_refused() {
        let token = seal_token(PageStart::Before((7, [9; 16])), [1; 16]);
        let opened = open_token(&token, [1; 16]);
        assert!(matches!(opened, Some(PageStart::Before((7, sid))) if sid == [9; 16]));
        assert!(open_token(&token, [2; 16]).is_none());
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(open_token(&altered, [1; 16]).is_none(), "{at}");
            assert!(open_token(&token[..at], [1; 16]).is_none(), "{at}");
        }
    }

    #[test]
    fn the_fuzzer_seed_has_a_valid_token() {
        let token = seal_token(PageStart::After((7, [9; 16])), [7; 16]);
        let seed = include_str!("../../../fuzz/seeds/rest_form/refused.live-token");
        assert_eq!(seed, format!("PageSize=3&PageToken={token}&Page=2"));
        assert!(PageRequest::read(Kind::Domain, 10, seed, [7; 16]).is_ok());
        check_query(seed);
    }
}
