//! Waiting until no edge of a fleet decides by an older state.

use std::time::Duration;

use sip_authz_directory::{Confirmation, Directory};
use sip_authz_store::{Edge, Head, Incarnation, MemoryStore, Store, Sum};
use sip_authz_testing::site::{Probe, settings};

#[tokio::test]
async fn a_change_is_confirmed_when_no_edge_decides_by_an_older_state() {
    let store = Probe::new(MemoryStore::new());
    let directory = Directory::new(store.clone(), settings(), None);
    directory.create_account("test").await.unwrap();
    let head = store.head().await.unwrap();
    let other = |number| Head { number, ..Head::default() };
    let edge = |name: &str, number, lease_ms: Option<u64>| Edge {
        lease: lease_ms.map(Duration::from_millis),
        ..Edge::new(name, if number == head.number { head } else { other(number) })
    };
    let confirm = async |edges: &[Edge], limit_ms| {
        *store.counts.edges.lock().unwrap() = edges.to_vec();
        store.counts.pauses.lock().unwrap().clear();
        let outcome = directory.confirm(Duration::from_millis(limit_ms)).await.unwrap();
        let waited: Duration = store.counts.pauses.lock().unwrap().iter().sum();
        let missing = match outcome {
            Confirmation::Everywhere => Vec::new(),
            Confirmation::NotBy(names) => names,
        };
        (missing.join(" "), waited.as_millis())
    };
    let expected = |names: &str, waited_ms| (names.to_owned(), waited_ms);
    assert_eq!(confirm(&[], 1_000).await, expected("", 0));
    let new = [edge("a", 1, None), edge("b", 1, Some(9_000))];
    assert_eq!(confirm(&new, 1_000).await, expected("", 0));
    // earlier versions report a number only
    assert_eq!(confirm(&[edge("a", 2, None)], 1_000).await, expected("", 0));
    // before the store was restored, other commits had this number
    let restored = Incarnation { generation: 1, id: 5 };
    let before = [
        Edge { applied: Head { records: 7, ..head }, ..edge("b", 1, None) },
        Edge { applied: Head { sum: Sum::ZERO, ..head }, ..edge("c", 1, None) },
        Edge { applied: Head { incarnation: restored, ..head }, ..edge("d", 1, Some(9_000)) },
    ];
    assert_eq!(confirm(&before, 100).await, expected("b c d", 100));
    // edges that joined after the backup are in no report, and may decide as long as their leases
    *store.counts.unlisted_for.lock().unwrap() = Duration::from_millis(400);
    assert_eq!(confirm(&new, 1_000).await, expected("", 400));
    assert_eq!(directory.confirm(Duration::ZERO).await.unwrap(), Confirmation::Everywhere);
    store.counts.pauses.lock().unwrap().clear();
    let unnamed = directory.confirm(Duration::from_millis(100)).await.unwrap();
    assert_eq!(unnamed, Confirmation::NotBy(Vec::new()));
    *store.counts.unlisted_for.lock().unwrap() = Duration::ZERO;
    // lagging edges use up the whole limit and are named in order
    let some = [edge("b", 0, None), edge("c", 1, None), edge("a", 0, None)];
    assert_eq!(confirm(&some, 200).await, expected("a b", 200));
    // if two edges have the same name by mistake, one does not confirm for the other
    let same = [edge("a", 1, None), edge("a", 0, None), edge("a", 0, None)];
    assert_eq!(confirm(&same, 200).await, expected("a", 200));
    // an edge whose lease has expired refuses calls, so it counts as confirmed
    let leased = [edge("a", 0, Some(150))];
    assert_eq!(confirm(&leased, 1_000).await, expected("", 150));
    assert_eq!(confirm(&leased, 100).await, expected("a", 100));
    let both = [edge("a", 0, Some(150)), edge("b", 0, None)];
    assert_eq!(confirm(&both, 300).await, expected("b", 300));
}
