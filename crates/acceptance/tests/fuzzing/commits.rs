//! The seeds of the fuzz target `commits`.

use std::collections::BTreeSet;

use proptest::prelude::*;

use sip_authz_testing::fuzzing::commits::*;

#[test]
fn there_are_records_of_every_kind() {
    let kinds: BTreeSet<_> = (0..11)
        .filter_map(|kind| record(kind, 0, 1))
        .map(|record| format!("{:?}", std::mem::discriminant(&record)))
        .collect();
    // three kinds of mapping share one kind of record
    assert_eq!(kinds.len(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_commits_match_a_rebuilt_snapshot(
        writes in prop::collection::vec((0..8_u8, any::<[u8; 3]>()), 0..300)
    ) {
        // create the account and some lists first, otherwise nearly all commits are rejected
        let mut bytes = vec![2, 0, 0, 0];
        for which in 0..6 {
            bytes.extend([2, 1, which << 2, 0, 2, 2, which << 2, 0]);
        }
        for (how, [kind, one, two]) in writes {
            // mostly puts in a commit of their own
            let how = [0, 1, 2, 2, 2, 2, 3, 3][usize::from(how)];
            bytes.extend([how, kind, one, two]);
        }
        fuzz_commits(&bytes);
    }
}
