//! Whatever is made of the messages of calls: it goes only where a token of ours leads.

use proptest::prelude::*;
use sip_authz_testing::fuzzing::fuzz_proxy;

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn messages_go_only_where_they_were_decided_to_go(
        steps in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        fuzz_proxy(&steps);
    }

    /// Each message as it is, from each leg, with few changes.
    #[test]
    fn replayed_messages_go_only_where_they_were_decided_to_go(
        steps in prop::collection::vec((0..2_u8, any::<u8>(), 0..14_u8, any::<[u8; 6]>()), 1..40),
    ) {
        let bytes = |(count, message, leg, change): (u8, u8, u8, [u8; 6])| {
            let change = if count == 0 { vec![] } else { change.to_vec() };
            [vec![count, message, leg], change].concat()
        };
        fuzz_proxy(&steps.into_iter().flat_map(bytes).collect::<Vec<_>>());
    }
}
