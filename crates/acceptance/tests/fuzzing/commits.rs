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
    // three kinds of mapping are one kind of record
    assert_eq!(kinds.len(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_commits_end_where_their_records_alone_would(
        writes in prop::collection::vec((0..8_u8, any::<[u8; 3]>()), 0..300)
    ) {
        // the account and some lists first, or nearly all would be refused
        let mut bytes = vec![2, 0, 0, 0];
        for which in 0..6 {
            bytes.extend([2, 1, which << 2, 0, 2, 2, which << 2, 0]);
        }
        for (how, [kind, one, two]) in writes {
            // mostly puts, mostly alone
            let how = [0, 1, 2, 2, 2, 2, 3, 3][usize::from(how)];
            bytes.extend([how, kind, one, two]);
        }
        fuzz_commits(&bytes);
    }
}
