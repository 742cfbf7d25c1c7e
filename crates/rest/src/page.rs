//! Pages of a listing: what is asked for, the token that names a place, and the two envelopes.

use std::hash::Hasher;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::error::{BAD_PAGE_TOKEN, BAD_PARAMETER, PAGE_SIZE_TOO_LARGE, Refusal};
use super::form::{Form, Param};
use super::links::Links;
use sip_authz::model::{
    Account, Credential, CredentialList, Domain, IpAccessControlList, IpAddress, Key, Mapping,
    MappingRecord, Role, Trunk,
};
use sip_authz_directory::{Cursor, DirectoryError, Kind, Listing, Page};

/// What a listing is asked by.
pub(super) const PARAMS: &[Param] =
    &[Param::integer("PageSize"), Param::integer("Page"), Param::text("PageToken")];

const DEFAULT_SIZE: u32 = 50;

/// The largest page of roles.
const ROLES: u32 = 100;

/// How many rows are read at once on the way to the page before.
const CHUNK: usize = 1_000;

/// A row's place in its listing: the commit that made it, where that counts, and its SID.
pub(super) type Place = (u64, [u8; 16]);

/// A record that is listed.
pub(super) trait Row {
    fn place(&self) -> Place;
}

macro_rules! rows {
    ($($record:ty)*) => {$(
        impl Row for $record {
            fn place(&self) -> Place {
                (0, *self.sid.as_bytes())
            }
        }
    )*};
}

rows! { Account Domain Trunk IpAccessControlList IpAddress CredentialList Credential Role }

impl Row for MappingRecord {
    fn place(&self) -> Place {
        let list = match &self.mapping {
            Mapping::IpAccessControlList(_, list) => list.as_bytes(),
            Mapping::CredentialList(_, list) | Mapping::Registration(_, list) => list.as_bytes(),
        };
        (self.since, *list)
    }
}

/// Which page is asked for.
pub(super) struct Wanted {
    size: u32,
    /// The client's own count, which is only given back.
    number: u32,
    from: From,
    /// Seals tokens: nobody else's, and of no other listing.
    key: [u8; 16],
}

/// Where a page is.
#[derive(Clone, Copy)]
enum From {
    Start,
    Behind(Place),
    Before(Place),
}

impl Wanted {
    /// Reads the query. `key` is secret and belongs to one listing of one account.
    pub(super) fn read(
        kind: Kind,
        max_size: u32,
        query: &str,
        key: [u8; 16],
    ) -> Result<Self, Refusal> {
        // the code of a page that is asked for wrongly does not depend on the kind of resource
        let form = Form::read(Kind::Policy, PARAMS, query.as_bytes())?;
        let max_size = if kind == Kind::Role { max_size.min(ROLES) } else { max_size };
        let size = form
            .parsed::<u64>("PageSize")?
            .map_or(DEFAULT_SIZE.min(max_size), |size| u32::try_from(size).unwrap_or(u32::MAX));
        if size < 1 {
            return Err(Refusal::bad(BAD_PARAMETER, "PageSize must be at least 1"));
        }
        if size > max_size {
            let message = format!("PageSize must be at most {max_size}");
            return Err(Refusal::bad(PAGE_SIZE_TOO_LARGE, message));
        }
        let number = form.parsed("Page")?.unwrap_or_default();
        let from = match form.text("PageToken") {
            None | Some("") => From::Start,
            Some(token) => unseal(token, key)
                .ok_or_else(|| Refusal::bad(BAD_PAGE_TOKEN, "PageToken is not valid"))?,
        };
        Ok(Self { size, number, from, key })
    }

    /// The rows of the page. `key` tells the key of a row from its SID.
    pub(super) async fn rows<R: Row, Fut>(
        self,
        key: impl Fn([u8; 16]) -> Key,
        list: impl Fn(Page) -> Fut,
    ) -> Result<Rows<R>, Refusal>
    where
        Fut: Future<Output = Result<Listing<R>, DirectoryError>>,
    {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let after = match self.from {
            From::Start => None,
            From::Behind((since, sid)) => Some(Cursor { since, key: key(sid) }),
            From::Before(end) => return self.rows_before(end, size, list).await,
        };
        let Listing { rows, next } = list(Page { after, size }).await?;
        let behind = rows.last().filter(|_| next.is_some()).map(|row| From::Behind(row.place()));
        let before = rows.first().filter(|_| after.is_some());
        let before = before.map(|row| From::Before(row.place()));
        Ok(Rows { rows, wanted: self, behind, before })
    }

    /// The rows of the page that ends before `end`. Listings are read forwards only, so everything
    /// up to there is.
    async fn rows_before<R: Row, Fut>(
        self,
        end: Place,
        size: usize,
        list: impl Fn(Page) -> Fut,
    ) -> Result<Rows<R>, Refusal>
    where
        Fut: Future<Output = Result<Listing<R>, DirectoryError>>,
    {
        let mut rows: Vec<R> = Vec::new();
        let mut after = None;
        loop {
            let chunk = list(Page { after, size: CHUNK }).await?;
            let passed = chunk.rows.last().is_none_or(|row| row.place() >= end);
            rows.extend(chunk.rows.into_iter().take_while(|row| row.place() < end));
            // one more than the page tells whether there is a page before it
            rows.drain(..rows.len().saturating_sub(size.saturating_add(1)));
            after = chunk.next;
            if passed || after.is_none() {
                break;
            }
        }
        let more = rows.len() > size;
        rows.drain(..rows.len().saturating_sub(size));
        let behind = rows.last().map(|row| From::Behind(row.place()));
        let before = rows.first().filter(|_| more).map(|row| From::Before(row.place()));
        Ok(Rows { rows, wanted: self, behind, before })
    }

    fn query(&self, number: u32, from: From) -> String {
        let token = match from {
            From::Start => String::new(),
            from => format!("&PageToken={}", seal(from, self.key)),
        };
        format!("?PageSize={}&Page={number}{token}", self.size)
    }
}

/// A page of records.
pub(super) struct Rows<R> {
    pub(super) rows: Vec<R>,
    wanted: Wanted,
    behind: Option<From>,
    before: Option<From>,
}

impl<R> Rows<R> {
    /// Answers each row.
    pub(super) fn map<A>(self, answer: impl Fn(R) -> A) -> Rows<A> {
        let Self { rows, wanted, behind, before } = self;
        Rows { rows: rows.into_iter().map(answer).collect(), wanted, behind, before }
    }

    /// Answers each row by asking for more.
    pub(super) async fn try_map<A, Fut>(self, answer: impl Fn(R) -> Fut) -> Result<Rows<A>, Refusal>
    where
        Fut: Future<Output = Result<A, Refusal>>,
    {
        let Self { rows, wanted, behind, before } = self;
        let mut answers = Vec::with_capacity(rows.len());
        for row in rows {
            answers.push(answer(row).await?);
        }
        Ok(Rows { rows: answers, wanted, behind, before })
    }
}

impl<A: Serialize> Rows<A> {
    /// The envelope of 2010-04-01: links relative to the host, beside the list.
    pub(super) fn with_uris(&self, key: &str, links: &Links) -> Value {
        let Wanted { size, number, .. } = self.wanted;
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

    /// The envelope of all others: absolute links, in `meta`.
    pub(super) fn with_meta(&self, key: &str, links: &Links) -> Value {
        let absolute = |query| links.absolute(&format!("{}{query}", links.path()));
        let [first, own, next, previous] = self.links(absolute);
        let meta = json!({
            "first_page_url": first,
            "key": key,
            "next_page_url": next,
            "page": self.wanted.number,
            "page_size": self.wanted.size,
            "previous_page_url": previous,
            "url": own,
        });
        json!({ key: self.rows, "meta": meta })
    }

    /// The links to the first page, this one, the next and the previous.
    fn links(&self, link: impl Fn(String) -> String) -> [Value; 4] {
        let wanted = &self.wanted;
        let to = |number, from| Value::String(link(wanted.query(number, from)));
        let if_any = |number, from: Option<From>| from.map_or(Value::Null, |from| to(number, from));
        [
            to(0, From::Start),
            to(wanted.number, wanted.from),
            if_any(wanted.number.saturating_add(1), self.behind),
            if_any(wanted.number.saturating_sub(1), self.before),
        ]
    }
}

/// A token: direction, place, and a seal over both.
fn seal(from: From, key: [u8; 16]) -> String {
    let (direction, (since, sid)) = match from {
        From::Start => return String::new(),
        From::Behind(place) => (0, place),
        From::Before(place) => (1, place),
    };
    let mut bytes = vec![direction];
    bytes.extend(since.to_be_bytes());
    bytes.extend(sid);
    bytes.extend(mac(&bytes, key));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn unseal(token: &str, key: [u8; 16]) -> Option<From> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (sealed, seal) = bytes.split_at_checked(25)?;
    if seal != mac(sealed, key) {
        return None;
    }
    let (direction, place) = sealed.split_first()?;
    let (since, sid) = place.split_first_chunk()?;
    let place = (u64::from_be_bytes(*since), sid.try_into().ok()?);
    Some(if *direction == 0 { From::Behind(place) } else { From::Before(place) })
}

/// For the fuzz target: a query that is taken asks for a page of a size within the bounds, the link
/// to that page asks for the same one, and a token serves under its own key alone.
#[cfg(any(test, feature = "unstable-internals"))]
pub(super) fn check_query(query: &str) {
    const KEY: [u8; 16] = [7; 16];
    let read = |query: &str, key| Wanted::read(Kind::Domain, 1_000, query, key).ok();
    let Some(wanted) = read(query, KEY) else { return };
    assert!((1..=1_000).contains(&wanted.size));
    let link = wanted.query(wanted.number, wanted.from);
    let again = link.strip_prefix('?').and_then(|query| read(query, KEY));
    let place = |wanted: &Wanted| (wanted.size, wanted.number, seal(wanted.from, KEY));
    assert_eq!(again.as_ref().map(place), Some(place(&wanted)), "{link}");
    assert!(matches!(wanted.from, From::Start) || read(query, [8; 16]).is_none());
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
        let token = seal(From::Before((7, [9; 16])), [1; 16]);
        assert!(matches!(unseal(&token, [1; 16]), Some(From::Before((7, sid))) if sid == [9; 16]));
        assert!(unseal(&token, [2; 16]).is_none());
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(unseal(&altered, [1; 16]).is_none(), "{at}");
            assert!(unseal(&token[..at], [1; 16]).is_none(), "{at}");
        }
    }

    #[test]
    fn a_seed_of_the_fuzzer_has_a_live_token() {
        let token = seal(From::Behind((7, [9; 16])), [7; 16]);
        let seed = include_str!("../../../fuzz/seeds/rest_form/refused.live-token");
        assert_eq!(seed, format!("PageSize=3&PageToken={token}&Page=2"));
        assert!(Wanted::read(Kind::Domain, 10, seed, [7; 16]).is_ok());
        check_query(seed);
    }
}
