//! The seeds of the fuzz targets have the outcomes in their names, and the snapshots of the targets are
//! complete.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod batch;
mod commits;
mod domain_hosts;
mod fields;
mod from_datagram;
mod lanes;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sip_authz::internals::facts;

use sip_authz::digest::Parsed;
use sip_authz::model::{Commit, Policy, PolicyRecord};
use sip_authz::{Decision, Reason};

use sip_authz_testing::fuzzing::world::{fuzz_snapshot, sids};
use sip_authz_testing::fuzzing::*;

pub(crate) fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// `none`, `accept`, `challenge`, `stale` or the reason of the rejection.
pub(crate) fn name_of(decision: Option<&Decision>) -> &'static str {
    match decision {
        None => "none",
        Some(Decision::Accept(_)) => "accept",
        Some(Decision::Challenge(challenge)) if challenge.stale => "stale",
        Some(Decision::Challenge(_)) => "challenge",
        Some(Decision::Reject(reject)) => reject.reason.as_str(),
    }
}

#[test]
fn snapshot_is_complete() {
    let debug = format!("{:?}", fuzz_snapshot());
    assert_eq!(debug, "Snapshot { number: 1, targets: 11, credentials: 6, .. }");
}

/// The facts that compare snapshots cover every record.
#[test]
fn facts_cover_every_record() {
    let before = facts(&fuzz_snapshot());
    let count = |parts: &[&str]| {
        before.iter().filter(|fact| parts.iter().all(|part| fact.contains(part))).count()
    };
    assert_eq!(count(&["Active owns"]) + count(&["Suspended owns"]), 2);
    assert_eq!((count(&["compiled true"]), count(&["compiled false"])), (3, 0));
    assert_eq!((count(&[", realm "]), count(&[", disabled "]), count(&["6 users"])), (2, 6, 1));
    assert_eq!((count(&[" names Some("]), count(&["11 targets"])), (11, 1));
    // users can be found by hashed name only while a target of their list allows it
    let unfound =
        |facts: &[String]| facts.iter().filter(|fact| fact.ends_with("[None, None, None]")).count();
    let mut commit = Commit::new();
    for name in ["secret", "known", "strict"] {
        commit.put(PolicyRecord::new(sids::domain(name), Policy::default()).into());
    }
    let without = facts(&fuzz_snapshot().apply(&commit).unwrap());
    assert_eq!((unfound(&before), unfound(&without)), (0, 6));
}

#[test]
fn seeds_of_requests_have_the_outcome_in_their_name() {
    let mut seen = BTreeSet::new();
    for (file, bytes) in seeds("request") {
        let name = name_of(fuzz_request(&bytes).as_ref());
        assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
        seen.insert(name);
    }
    // these need a second request, a deadline, or a fork
    let without = [Reason::TooManyGuesses, Reason::SnapshotStale, Reason::OtherProcess];
    let reasons = Reason::ALL.iter().filter(|reason| !without.contains(reason));
    let mut expected = BTreeSet::from(["none", "accept", "challenge", "stale"]);
    expected.extend(reasons.map(|reason| reason.as_str()));
    assert_eq!(seen, expected, "a seed for each outcome");
}

#[test]
fn seeds_of_records_have_the_outcome_in_their_name() {
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
fn seeds_of_headers_have_the_outcome_in_their_name() {
    for (file, value) in seeds("digest_header") {
        fuzz_digest_header(&value, |parsed| {
            let name = match parsed {
                Parsed::Ignored => "ignored".to_owned(),
                Parsed::Unreadable => "unreadable".to_owned(),
                Parsed::Incomplete => "incomplete".to_owned(),
                Parsed::Malformed { defect, .. } => defect.to_string(),
                Parsed::Credentials(_) => "credentials".to_owned(),
            };
            assert_eq!(file.split_once('.').map(|(name, _)| name), Some(&*name), "{file}");
        });
    }
}

#[test]
fn seeds_of_forwarded_messages_have_the_outcome_in_their_name() {
    let mut seen = BTreeSet::new();
    for (file, bytes) in seeds("forward") {
        let name = fuzz_forward(&bytes);
        assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
        seen.insert(name);
    }
    assert_eq!(seen, BTreeSet::from(["none", "refused", "request", "response", "last"]));
}

#[test]
fn seeds_of_calls_have_an_outcome_of_their_name() {
    let mut seen = BTreeSet::new();
    for (file, bytes) in seeds("proxy") {
        let names = fuzz_proxy(&bytes);
        assert!(names.contains(file.split('.').next().unwrap()), "{file} {names:?}");
        seen.extend(names);
    }
    let all = ["dropped", "not-relayed", "not-sip", "refused", "rejected", "sent"];
    assert_eq!(seen, BTreeSet::from(all));
}

#[test]
fn seeds_of_streams_have_the_last_frame_in_their_name() {
    let mut seen = BTreeSet::new();
    for (file, bytes) in seeds("decide_frames") {
        let name = fuzz_decide_frames(&bytes);
        assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
        seen.insert(name);
    }
    let frames = ["hello", "welcome", "message", "parsed", "answer", "goodbye"];
    let other = ["refused", "partial"];
    assert_eq!(seen, frames.into_iter().chain(other).collect());
}

#[test]
fn seeds_of_forms_have_the_outcome_in_their_name() {
    for (file, bytes) in seeds("rest_form") {
        let name = if fuzz_rest_form(&bytes).is_some() { "read" } else { "refused" };
        assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
    }
}
