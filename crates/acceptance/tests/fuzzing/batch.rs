//! The seeds of the fuzz target `batch`.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{name_of, seeds};
use sip_authz::Decision;
use sip_authz_testing::fuzzing::batch::*;

#[test]
fn seeds_are_decided_equally_with_every_outcome() {
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for (file, bytes) in seeds("batch") {
        let decided = fuzz_batch(&bytes);
        let repeat = |it: &Decision| matches!(it, Decision::Accept(accept) if accept.repeat);
        let names: BTreeSet<_> = decided
            .iter()
            .map(|it| if repeat(it) { "repeat" } else { name_of(Some(it)) })
            .collect();
        let first = file.split_once('.').map(|(name, _)| name).unwrap();
        if !names.contains(first) {
            wrong.push((file, names.clone()));
        }
        seen.extend(names);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    for name in ["accept", "repeat", "stale", "challenge", "wrong-credentials"] {
        assert!(seen.contains(name), "{name} is not in {seen:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_batches_are_decided_equally(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        fuzz_batch(&bytes);
    }
}
