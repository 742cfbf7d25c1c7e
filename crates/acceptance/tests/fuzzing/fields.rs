//! The seeds of the fuzz target `fields`, and those of the requests that it begins with too.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::from_datagram::{edit, edited};
use crate::{name_of, seeds};
use sip_authz_testing::fuzzing::fuzz_fields;

#[test]
fn seeds_have_the_outcome_in_their_name() {
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for (file, bytes) in seeds("fields") {
        let name = name_of(fuzz_fields(&bytes).as_ref());
        if file.split_once('.').map(|(name, _)| name) != Some(name) {
            wrong.push((file, name));
        }
        seen.insert(name);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    let outcomes = ["none", "accept", "challenge", "method-not-allowed", "bad-request-uri"];
    assert_eq!(seen, BTreeSet::from(outcomes));
}

#[test]
fn the_parts_of_a_request_have_its_outcome() {
    for (file, bytes) in seeds("request") {
        let name = name_of(fuzz_fields(&bytes).as_ref());
        assert_eq!(file.split_once('.').map(|(name, _)| name), Some(name), "{file}");
    }
}

proptest! {
    #[test]
    fn parts_of_edited_requests_are_read_like_the_bytes(
        seed in any::<Index>(),
        edits in prop::collection::vec((any::<bool>(), edit()), 1..4),
    ) {
        static SEEDS: LazyLock<Vec<(String, Vec<u8>)>> =
            LazyLock::new(|| [seeds("request"), seeds("fields")].concat());
        fuzz_fields(&edited(&seed.get(&SEEDS).1, edits));
    }
}
