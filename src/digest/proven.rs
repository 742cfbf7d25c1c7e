//! Flows whose user proved a password within the last hour, in fixed memory and without locks.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buckets::largest_account;

/// The time for which a proof counts, in seconds.
const GOOD_FOR: u64 = 3_600;
/// A proof is written again only after this time, in seconds, so that most calls only read.
const RENEW_AFTER: u64 = 300;
/// Cells of a set, which is a cache line.
const WAYS: usize = 8;
/// The low bits of a cell hold the time of the proof in seconds, eight and a half years.
const SECONDS_BITS: u32 = 28;
const MAX_SECONDS: u64 = (1 << SECONDS_BITS) - 1;
/// The next bits of a cell hold the account, the others a part of the key.
const ACCOUNT_BITS: u32 = u8::BITS;
const TAG_BITS: u32 = u64::BITS - ACCOUNT_BITS - SECONDS_BITS;

/// A user who proved the password at a target in a flow.
#[derive(Clone, Copy)]
pub(crate) struct Proof {
    /// The hash of user, target and flow under a secret key.
    pub(crate) key: u64,
    /// A part of the account's number. Accounts with the same part share their cells.
    pub(crate) account: u8,
}

/// The proofs of the last hour. A proof has eight cells. If all are taken, the account with the most
/// of them gives up its oldest proof, so the calls of one account displace no proofs of others.
///
/// A proof that is lost costs its flow the exemption from guess limits and nothing else, so unordered
/// writes suffice. Two proofs of an account are taken for one with a probability of 2^-25.
pub(crate) struct ProvenFlows {
    sets: Box<[Set]>,
}

#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

impl ProvenFlows {
    /// Creates a table for `entries` proofs, at least 512. Allocates all memory here, eight bytes for
    /// each.
    pub(crate) fn new(entries: usize) -> Self {
        let sets = entries.clamp(512, 1 << 27).div_ceil(WAYS).next_power_of_two();
        let sets: Box<[Set]> = (0..sets).map(|_| Set::default()).collect();
        // the system hands out a page when it is first written: now, and not during a flood
        let cells = sets.iter().flat_map(|set| &set.0);
        cells.for_each(|cell| cell.store(0, Ordering::Relaxed));
        Self { sets }
    }

    /// Records a proof.
    pub(crate) fn prove(&self, proof: Proof, now_ms: u64) {
        let (Some(Set(set)), now) = (self.set(proof), seconds(now_ms)) else { return };
        let cells = set.each_ref().map(|cell| cell.load(Ordering::Relaxed));
        let held = cells.iter().position(|cell| cell >> SECONDS_BITS == id(proof));
        if held.and_then(|at| cells.get(at)).is_some_and(|cell| age(*cell, now) < RENEW_AFTER) {
            return;
        }
        if let Some(cell) = set.get(held.unwrap_or_else(|| next_out(&cells, proof.account, now))) {
            cell.store(id(proof) << SECONDS_BITS | now, Ordering::Relaxed);
        }
    }

    /// Whether there is such a proof of the last hour.
    pub(crate) fn has(&self, proof: Proof, now_ms: u64) -> bool {
        let now = seconds(now_ms);
        self.set(proof).is_some_and(|Set(set)| {
            set.iter()
                .map(|cell| cell.load(Ordering::Relaxed))
                .any(|cell| cell >> SECONDS_BITS == id(proof) && is_good(cell, now))
        })
    }

    fn set(&self, proof: Proof) -> Option<&Set> {
        // the number of sets is a power of two
        let at = proof.key & (self.sets.len() as u64).saturating_sub(1);
        self.sets.get(usize::try_from(at).ok()?)
    }
}

/// The index of the cell that a new proof of an account takes: one without a proof of the last hour. If
/// there is none, it is the oldest cell of the account with the most, the new proof included.
fn next_out(cells: &[u64; WAYS], newcomer: u8, now: u64) -> usize {
    let free = cells.iter().position(|cell| !is_good(*cell, now));
    free.unwrap_or_else(|| next_of_largest(cells, newcomer, now))
}

/// [`next_out`] if all cells have a proof of the last hour.
#[cold]
#[inline(never)]
fn next_of_largest(cells: &[u64; WAYS], newcomer: u8, now: u64) -> usize {
    let most = largest_account(|| cells.iter().map(|cell| account_of(*cell)), newcomer);
    let rank = |cell: u64| (account_of(cell) != most, Reverse(age(cell, now)));
    let lowest = cells.iter().enumerate().min_by_key(|(_, cell)| rank(**cell));
    lowest.map_or(0, |(at, _)| at)
}

/// The part of a cell that identifies a proof; never zero, which stands for an empty cell.
fn id(proof: Proof) -> u64 {
    let tag = (proof.key >> (u64::BITS - TAG_BITS)).max(1);
    tag << ACCOUNT_BITS | u64::from(proof.account)
}

fn account_of(cell: u64) -> u8 {
    let [account, ..] = (cell >> SECONDS_BITS).to_le_bytes();
    account
}

fn seconds(now_ms: u64) -> u64 {
    (now_ms / 1_000).min(MAX_SECONDS)
}

/// The age of a proof. One from a later clock is new.
fn age(cell: u64, now: u64) -> u64 {
    now.saturating_sub(cell & MAX_SECONDS)
}

fn is_good(cell: u64, now: u64) -> bool {
    cell != 0 && age(cell, now) < GOOD_FOR
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A proof whose cells are those of every other number.
    fn proof(account: u8, number: u64) -> Proof {
        Proof { key: number << 40, account }
    }

    #[test]
    fn a_proof_counts_for_an_hour() {
        let proven = ProvenFlows::new(0);
        assert!(!proven.has(proof(1, 7), 0), "an empty table proves nothing");
        assert!(!proven.has(Proof { key: 0, account: 0 }, 0));
        proven.prove(proof(1, 7), 1_000_000);
        assert!(
            proven.has(proof(1, 7), 1_000_000) && proven.has(proof(1, 7), 0),
            "also if the clock steps back"
        );
        assert!(proven.has(proof(1, 7), 1_000_000 + 3_599_000));
        assert!(!proven.has(proof(1, 7), 1_000_000 + 3_600_000));
        assert!(!proven.has(proof(1, 8), 1_000_000), "another tag in the same set");
        assert!(!proven.has(proof(2, 7), 1_000_000), "another account");
        // renewed after five minutes
        proven.prove(proof(1, 7), 1_299_000);
        assert!(!proven.has(proof(1, 7), 4_600_000));
        proven.prove(proof(1, 7), 1_300_000);
        assert!(proven.has(proof(1, 7), 4_899_000));
    }

    #[test]
    fn a_further_proof_of_the_only_account_replaces_the_oldest() {
        let proven = ProvenFlows::new(0);
        for number in 1..=10 {
            proven.prove(proof(1, number), number * 400_000);
        }
        let held: Vec<_> =
            (1..=10).filter(|number| proven.has(proof(1, *number), 3_700_000)).collect();
        assert_eq!(held, (3..=10).collect::<Vec<_>>());
    }

    #[test]
    fn the_proofs_of_one_account_displace_none_of_others() {
        let proven = ProvenFlows::new(0);
        for number in 1..=4 {
            proven.prove(proof(1, number), 0);
        }
        proven.prove(proof(2, 1), 0);
        for number in 1..=1_000 {
            proven.prove(proof(3, number), 1_000 * number);
        }
        let held = |account: u8| {
            (1..=1_000).filter(|number| proven.has(proof(account, *number), 1_000_000)).count()
        };
        assert_eq!([held(1), held(2), held(3)], [4, 1, 3]);
        // the account with the most gives one up, also to one with few
        proven.prove(proof(2, 2), 1_000_000);
        assert!(proven.has(proof(2, 1), 1_000_000) && proven.has(proof(2, 2), 1_000_000));
        assert!(!proven.has(proof(1, 1), 1_000_000));
        // entries older than an hour give way first
        for number in 1..=1_000 {
            proven.prove(proof(3, number), 3_600_000);
        }
        assert_eq!([1, 2].map(|account| proven.has(proof(account, 1), 3_600_000)), [false; 2]);
        // of nine accounts with one each, the oldest gives way
        let proven = ProvenFlows::new(0);
        for account in 1..=9 {
            proven.prove(proof(account, 1), u64::from(account) * 1_000);
        }
        let held: Vec<_> =
            (1..=9).filter(|account| proven.has(proof(*account, 1), 9_000)).collect();
        assert_eq!(held, (2..=9).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_while_there_is_room(
            steps in vec((0_u64..4, 0_u8..2, 0_u64..2_000_000, any::<bool>()), 0..60),
        ) {
            let (proven, mut map) = (ProvenFlows::new(0), HashMap::<(u64, u8), u64>::new());
            let mut now_ms = 0;
            for (number, account, later_ms, prove) in steps {
                now_ms += later_ms;
                let (it, now) = (proof(account, number + 1), now_ms / 1_000);
                let proved = map.get(&(number, account));
                let expected = proved.is_some_and(|proved| now - proved < GOOD_FOR);
                prop_assert_eq!(proven.has(it, now_ms), expected);
                if prove {
                    proven.prove(it, now_ms);
                    let proved = map.entry((number, account)).or_insert(now);
                    if now - *proved >= RENEW_AFTER {
                        *proved = now;
                    }
                }
            }
        }
    }
}
