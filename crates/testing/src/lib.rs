//! What fuzz targets and tests share: the bodies of the targets, and names that only they need.
//! Not part of the public interface; it may change in any release.

mod batch;
mod commits;
mod digest_header;
#[cfg(feature = "rsip")]
mod from_datagram;
mod lanes;
mod prefix_table;
mod request;
#[cfg(feature = "store")]
mod store_record;
mod world;

use std::hint::black_box;

use arrayvec::ArrayVec;

pub use crate::digest::{
    Algorithm, Credentials, MalformedCredentials, Parsed, Qop, QopFields, Username,
    parse as parse_credentials,
};
use crate::digest::{ExpectedResponse, MOST, Question, right_responses};
#[cfg(feature = "rest")]
pub use crate::rest::fuzz::{fuzz_rest_form, fuzz_rest_params};
use crate::snapshot::Snapshot;

pub use batch::fuzz_batch;
pub use commits::fuzz_commits;
pub use digest_header::fuzz_digest_header;
#[cfg(feature = "rsip")]
pub use from_datagram::fuzz_from_datagram;
pub use lanes::fuzz_lanes;
pub use prefix_table::fuzz_prefix_table;
pub use request::fuzz_request;
#[cfg(feature = "store")]
pub use store_record::fuzz_store_record;
pub use world::{FUZZ_REALM, fuzz_authorizer};

/// The hashing of one message and of many, by each set of instructions that the machine has.
pub mod hash {
    pub use crate::digest::hash::{
        Begun, HeldWidth, Message, Width, hex16, hex32, hold_width, md5, md5_messages,
        md5_messages_with, same_hex, sha256, sha256_messages, sha256_messages_with, sha512_256,
    };
}

/// How many of `hosts` name something, looked up one after the other; for benches.
#[must_use]
pub fn count_named(snapshot: &Snapshot, hosts: &[&str]) -> usize {
    hosts.iter().filter(|host| snapshot.named_entry(host).is_some()).count()
}

/// As [`count_named`], reading ahead for 64 at a time.
#[must_use]
pub fn count_named_at_once(snapshot: &Snapshot, hosts: &[&str]) -> usize {
    let targets = snapshot.targets();
    let mut count = 0;
    for hosts in hosts.chunks(64) {
        let keys: ArrayVec<_, 64> = hosts.iter().map(|host| targets.key(host)).collect();
        let slots: ArrayVec<_, 64> = keys.iter().map(|key| targets.read_ahead(*key)).collect();
        black_box(slots.iter().flatten().filter(|slot| targets.touch(**slot)).count());
        let named = |(key, host): (&_, &&str)| targets.named(*key, host).is_some();
        count += keys.iter().zip(hosts).filter(|pair| named(*pair)).count();
    }
    count
}

/// How many of the names are users of the lists mapped to `host`, looked up one after the other; for
/// benches.
#[must_use]
pub fn count_users(snapshot: &Snapshot, host: &str, names: &[&str]) -> usize {
    let Some(entry) = snapshot.named_entry(host) else { return 0 };
    let lists = entry.credential_lists.iter();
    lists
        .map(|mapped| {
            let found = |name: &&&str| snapshot.look_up(mapped.list, name).found.is_some();
            names.iter().filter(found).count()
        })
        .sum()
}

/// As [`count_users`], reading ahead for 64 at a time.
#[must_use]
pub fn count_users_at_once(snapshot: &Snapshot, host: &str, names: &[&str]) -> usize {
    let users = snapshot.users();
    let Some(entry) = snapshot.named_entry(host) else { return 0 };
    let mut count = 0;
    for list in entry.credential_lists.iter().map(|mapped| mapped.list) {
        for names in names.chunks(64) {
            let keys: ArrayVec<_, 64> = names.iter().map(|name| users.key(list, name)).collect();
            let slots: ArrayVec<_, 64> = keys.iter().map(|key| users.read_ahead(*key)).collect();
            black_box(slots.iter().flatten().filter(|slot| users.touch(**slot)).count());
            let pairs = keys.iter().zip(names);
            count += pairs.filter(|(key, n)| users.look_up(**key, list, n).found.is_some()).count();
        }
    }
    count
}

/// Whether the header's response is the one that `ha1` makes of a request with this method and
/// body. The vectors of the RFCs are of GET, which no INVITE can stand for.
#[must_use]
pub fn verify(credentials: &Credentials<'_>, ha1: &[u8], method: &str, body: &[u8]) -> bool {
    ExpectedResponse::with_method(credentials, method.as_bytes(), body).equals(ha1)
}

/// How many of the headers have the response that the H(A1) beside them makes of an INVITE, compared
/// side by side as in a batch; for benches.
#[must_use]
pub fn count_right(headers: &[(Credentials<'_>, impl AsRef<[u8]>)]) -> usize {
    let mut right = 0;
    for headers in headers.chunks(MOST) {
        let mut questions = ArrayVec::<_, MOST>::new();
        for (credentials, ha1) in headers {
            questions.push(Question { credentials, ha1: ha1.as_ref() });
        }
        right += right_responses(&questions).iter().filter(|it| **it == Some(true)).count();
    }
    right
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::decision::Decision;
    use crate::model::{Commit, Policy, PolicyRecord};
    use crate::testing::world::{fuzz_snapshot, sids};

    pub(super) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let read = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        };
        fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    /// `none`, `accept`, `challenge`, `stale` or the reason of the rejection.
    pub(super) fn name_of(decision: Option<&Decision>) -> &'static str {
        match decision {
            None => "none",
            Some(Decision::Accept(_)) => "accept",
            Some(Decision::Challenge(challenge)) if challenge.stale => "stale",
            Some(Decision::Challenge(_)) => "challenge",
            Some(Decision::Reject(reject)) => reject.reason.as_str(),
        }
    }

    #[test]
    fn snapshot_is_whole() {
        let debug = format!("{:?}", fuzz_snapshot());
        assert_eq!(debug, "Snapshot { number: 1, targets: 11, credentials: 6, .. }");
    }

    /// What sequences of commits are judged by sees every record.
    #[test]
    fn facts_are_whole() {
        let facts = fuzz_snapshot().facts();
        let count = |parts: &[&str]| {
            facts.iter().filter(|fact| parts.iter().all(|part| fact.contains(part))).count()
        };
        assert_eq!(count(&["Active owns"]) + count(&["Suspended owns"]), 2);
        assert_eq!((count(&["compiled true"]), count(&["compiled false"])), (3, 0));
        assert_eq!((count(&[", realm "]), count(&[", disabled "]), count(&["6 users"])), (2, 6, 1));
        assert_eq!((count(&[" names Some("]), count(&["11 targets"])), (11, 1));
        // users are found by hashed names while a target of their list admits those
        let unfound = |facts: &[String]| {
            facts.iter().filter(|fact| fact.ends_with("[None, None, None]")).count()
        };
        let mut commit = Commit::new();
        for name in ["secret", "known", "strict"] {
            commit.put(PolicyRecord::new(sids::domain(name), Policy::default()).into());
        }
        let without = fuzz_snapshot().apply(&commit).unwrap().facts();
        assert_eq!((unfound(&facts), unfound(&without)), (0, 6));
    }

    #[test]
    fn seeds_of_requests_are_decided_as_their_names_begin() {
        let mut seen = BTreeSet::new();
        for (file, bytes) in seeds("request") {
            let name = name_of(fuzz_request(&bytes).as_ref());
            assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
            seen.insert(name);
        }
        // all but too-many-guesses, which takes a second request
        assert_eq!(seen.len(), 17, "a seed for each outcome: {seen:?}");
    }

    #[cfg(feature = "store")]
    #[test]
    fn seeds_of_records_are_read_as_their_names_begin() {
        let mut read = 0;
        for (file, bytes) in seeds("store_record") {
            assert_eq!(fuzz_store_record(&bytes), file.starts_with("record."), "{file}");
            read += usize::from(file.starts_with("record."));
        }
        assert!(read >= 20, "{read}");
    }

    #[test]
    fn seeds_of_commits_hold() {
        for (_, bytes) in seeds("commits") {
            fuzz_commits(&bytes);
        }
    }

    #[test]
    fn seeds_of_headers_are_read_as_their_names_begin() {
        for (file, value) in seeds("digest_header") {
            fuzz_digest_header(&value, |parsed| {
                let name = match parsed {
                    Parsed::Ignored => "ignored".to_owned(),
                    Parsed::Empty => "empty".to_owned(),
                    Parsed::Malformed(kind) => kind.to_string(),
                    Parsed::Credentials(_) => "credentials".to_owned(),
                };
                assert_eq!(file.split_once('.').map(|(name, _)| name), Some(&*name), "{file}");
            });
        }
    }

    #[cfg(feature = "rest")]
    #[test]
    fn seeds_of_forms_are_read_as_their_names_begin() {
        for (file, bytes) in seeds("rest_form") {
            let name = if fuzz_rest_form(&bytes).is_some() { "read" } else { "refused" };
            assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
        }
    }
}
