//! Applying a commit copies what it touches: as much in a large snapshot as in a small one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../benches/large/mod.rs"]
mod large;

use large::{KINDS, Large};

/// The most bytes that one change of each kind allocated, of a few at random places.
fn bytes_of_changes(large: &mut Large) -> Vec<u64> {
    let most = |kind: &&str| {
        let rounds = (0..40).map(|round| {
            let commit = large.change(kind, round);
            let mut next = None;
            let stats =
                allocation_counter::measure(|| next = Some(large.snapshot.apply(&commit).unwrap()));
            large.snapshot = next.unwrap();
            stats.bytes_total
        });
        rounds.max().unwrap()
    };
    KINDS.iter().map(most).collect()
}

#[test]
fn a_change_copies_as_much_in_a_small_snapshot_as_in_a_large_one() {
    let small = bytes_of_changes(&mut Large::whole(1_000, 10_000));
    let large = bytes_of_changes(&mut Large::whole(20_000, 200_000));
    for ((kind, small), large) in KINDS.iter().zip(small).zip(large) {
        println!("{kind}: {small} bytes, {large} bytes");
        // one more row of nodes on the way to a leaf, in each array that is changed
        assert!(large < small * 3 / 2, "{kind}: {small} bytes in a small snapshot, {large}");
        assert!(large < 64 * 1024, "{kind}: {large} bytes");
    }
}
