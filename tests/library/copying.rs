//! A commit copies only what it changes: as much in a large snapshot as in a small one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sip_authz::model::{Account, Commit, Domain, IpAccessControlList, IpAddress, Mapping};
use sip_authz::{IpAddressSid, Snapshot};
use sip_authz_testing::bench::large::{KINDS, Large, access_list, account, domain};

/// Maximum bytes allocated by a change of each kind, over a few random places.
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
    let small = bytes_of_changes(&mut Large::whole(500, 5_000));
    let large = bytes_of_changes(&mut Large::whole(8_000, 80_000));
    for ((kind, small), large) in KINDS.iter().zip(small).zip(large) {
        println!("{kind}: {small} bytes, {large} bytes");
        // the large snapshot has one more level of nodes in each changed array
        assert!(large < small * 3 / 2, "{kind}: {small} bytes in a small snapshot, {large}");
        assert!(large < 64 * 1024, "{kind}: {large} bytes");
    }
}

#[test]
fn mapping_a_list_copies_none_of_its_entries() {
    let (account, list) = (account(0), access_list(0));
    let mut commit = Commit::new();
    commit.put(Account::new(account).into());
    commit.put(IpAccessControlList::new(list, account).into());
    commit.put(Domain::new(domain(0), account, "sip.example.com".parse().unwrap()).into());
    for n in 0..10_000_u32 {
        let sid = IpAddressSid::from_bytes(u128::from(n).to_le_bytes());
        let address = std::net::Ipv4Addr::from_bits(n * 7);
        commit.put(IpAddress::new(sid, list, std::net::IpAddr::from(address).into()).into());
    }
    let snapshot = Snapshot::empty().apply(&commit).unwrap();
    let mut commit = Commit::new();
    commit.put(Mapping::IpAccessControlList(domain(0).into(), list).into());
    let stats = allocation_counter::measure(|| drop(snapshot.apply(&commit).unwrap()));
    assert!(stats.bytes_total < 16 * 1024, "{} bytes", stats.bytes_total);
}
