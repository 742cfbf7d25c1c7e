//! Flows whose user proved a password within the last hour, in fixed memory and without locks.

use std::sync::atomic::{AtomicU64, Ordering};

/// The time for which a proof counts, in seconds.
const GOOD_FOR: u64 = 3_600;
/// A proof is written again only after this time, in seconds, so that most calls only read.
const RENEW_AFTER: u64 = 300;
/// The low bits of a cell hold the time of the proof in seconds, eight and a half years; the others
/// a part of the key.
const SECONDS_BITS: u32 = 28;
const MAX_SECONDS: u64 = (1 << SECONDS_BITS) - 1;

/// The keys of flow, target and user that were proved. A key has two cells; a new key takes the one
/// with the older proof. A proof that is lost costs its flow the exemption from guess limits and
/// nothing else, so unordered writes suffice.
pub(crate) struct ProvenFlows {
    sets: Box<[[AtomicU64; 2]]>,
}

impl ProvenFlows {
    /// Creates a table for `entries` keys, at least 512. Allocates all memory here, eight bytes for
    /// each.
    pub(crate) fn new(entries: usize) -> Self {
        let sets = (entries.clamp(512, 1 << 27) / 2).next_power_of_two();
        let sets: Box<[[AtomicU64; 2]]> = (0..sets).map(|_| Default::default()).collect();
        // the system hands out a page when it is first written: now, and not during a flood
        sets.iter().flatten().for_each(|cell| cell.store(0, Ordering::Relaxed));
        Self { sets }
    }

    /// Records a proof. `key` must be a hash under a secret key.
    pub(crate) fn prove(&self, key: u64, now_ms: u64) {
        let (Some(set), now) = (self.set(key), seconds(now_ms)) else { return };
        let cells = set.each_ref().map(|cell| cell.load(Ordering::Relaxed));
        let held = cells.iter().position(|cell| cell >> SECONDS_BITS == tag(key));
        if held.and_then(|at| cells.get(at)).is_some_and(|cell| age(*cell, now) < RENEW_AFTER) {
            return;
        }
        let oldest = || usize::from(age(cells[1], now) > age(cells[0], now));
        if let Some(cell) = set.get(held.unwrap_or_else(oldest)) {
            cell.store(tag(key) << SECONDS_BITS | now, Ordering::Relaxed);
        }
    }

    /// Whether the key was proved within the last hour.
    pub(crate) fn has(&self, key: u64, now_ms: u64) -> bool {
        let now = seconds(now_ms);
        self.set(key).is_some_and(|set| {
            set.iter()
                .map(|cell| cell.load(Ordering::Relaxed))
                .any(|cell| cell >> SECONDS_BITS == tag(key) && age(cell, now) < GOOD_FOR)
        })
    }

    fn set(&self, key: u64) -> Option<&[AtomicU64; 2]> {
        // the number of sets is a power of two
        let at = key & (self.sets.len() as u64).saturating_sub(1);
        self.sets.get(usize::try_from(at).ok()?)
    }
}

/// The part of a key that a cell holds; never zero, which stands for an empty cell.
fn tag(key: u64) -> u64 {
    (key >> SECONDS_BITS).max(1)
}

fn seconds(now_ms: u64) -> u64 {
    (now_ms / 1_000).min(MAX_SECONDS)
}

/// The age of a proof. One from a later clock is new.
fn age(cell: u64, now: u64) -> u64 {
    now.saturating_sub(cell & MAX_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_proof_counts_for_an_hour() {
        let proven = ProvenFlows::new(0);
        assert!(!proven.has(7, 0), "an empty table proves nothing");
        assert!(!proven.has(0, 0));
        proven.prove(7 << 40, 1_000_000);
        assert!(
            proven.has(7 << 40, 1_000_000) && proven.has(7 << 40, 0),
            "also if the clock steps back"
        );
        assert!(proven.has(7 << 40, 1_000_000 + 3_599_000));
        assert!(!proven.has(7 << 40, 1_000_000 + 3_600_000));
        assert!(!proven.has(8 << 40, 1_000_000), "another tag in the same set");
        // renewed after five minutes
        proven.prove(7 << 40, 1_299_000);
        assert!(!proven.has(7 << 40, 4_600_000));
        proven.prove(7 << 40, 1_300_000);
        assert!(proven.has(7 << 40, 4_899_000));
    }

    #[test]
    fn a_third_key_of_a_set_replaces_the_oldest() {
        let after = |steps: &[(u64, u64)]| {
            let proven = ProvenFlows::new(0);
            for (number, now_ms) in steps {
                proven.prove(number << 40, *now_ms);
            }
            [1_u64, 2, 3].map(|number| proven.has(number << 40, 1_600_000))
        };
        let each_once = [(1, 400_000), (2, 800_000), (3, 1_200_000)];
        assert_eq!(after(&each_once), [false, true, true]);
        let renewed = [(1, 400_000), (2, 800_000), (1, 1_200_000), (3, 1_600_000)];
        assert_eq!(after(&renewed), [true, false, true]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_while_there_is_room(
            steps in vec((0_u64..2, 0_u64..2_000_000, any::<bool>()), 0..60),
        ) {
            let (proven, mut map) = (ProvenFlows::new(0), HashMap::<u64, u64>::new());
            let mut now_ms = 0;
            for (number, later_ms, prove) in steps {
                now_ms += later_ms;
                let (key, now) = ((number + 1) << 40, now_ms / 1_000);
                let expected = map.get(&key).is_some_and(|proved| now - proved < GOOD_FOR);
                prop_assert_eq!(proven.has(key, now_ms), expected);
                if prove {
                    proven.prove(key, now_ms);
                    let proved = map.entry(key).or_insert(now);
                    if now - *proved >= RENEW_AFTER {
                        *proved = now;
                    }
                }
            }
        }
    }
}
