//! The samples of decisions that a ring has.

use std::sync::atomic::{AtomicU64, Ordering};

use sip_authz::model::Target;
use sip_authz::{Cause, Decision};

use crate::observe::cause::Cause as OtherCause;

/// The number of kinds of decisions that are counted at the same time.
const ENTRIES: usize = 1 << 10;
/// Accepted requests and first challenges a second, for each domain or trunk, of which all are kept.
const PASSED: Rate = Rate { all: 4, then: 64 };
/// Refusals a second, for each domain or trunk and for unknown hosts, of which all are kept.
const REFUSED: Rate = Rate { all: 64, then: 16 };
/// Other messages a second, for each cause, of which all are kept.
const OTHERS: Rate = Rate { all: 32, then: 64 };

/// A rate of records: the first ones of each second, then one of several.
#[derive(Clone, Copy)]
struct Rate {
    all: u64,
    then: u64,
}

/// Counts decisions by their kind and second, without a lock. Kinds that share an entry forget each
/// other's count, so that more of them are kept.
pub(super) struct Sampler {
    /// A tag of the kind, the second, and the count.
    entries: Box<[AtomicU64]>,
}

/// The bits of the count in an entry, and those of the second.
const BITS: u32 = 24;
const LOW: u64 = (1 << BITS) - 1;

impl Sampler {
    pub(super) fn new() -> Self {
        Self { entries: (0..ENTRIES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether a decision is kept. `second` is the time in seconds.
    pub(super) fn takes(&self, decision: &Decision, second: u64) -> bool {
        let (kind, rate) = match decision {
            Decision::Accept(_) => (1, PASSED),
            _ if is_first_challenge(decision) => (2, PASSED),
            _ => (3, REFUSED),
        };
        let target = decision.target().map_or(0, |target| {
            let bytes = match &target {
                Target::Domain(sid) => sid.as_bytes(),
                Target::Trunk(sid) => sid.as_bytes(),
            };
            let [.., a, b, c, d, e, f, g, h] = *bytes;
            u64::from_le_bytes([a, b, c, d, e, f, g, h])
        });
        self.counts(target ^ (kind << 56), second, rate)
    }

    /// Whether a message that is no decision is kept.
    pub(super) fn takes_other(&self, cause: OtherCause, second: u64) -> bool {
        self.counts(cause.index() as u64 ^ (4 << 56), second, OTHERS)
    }

    fn counts(&self, kind: u64, second: u64, rate: Rate) -> bool {
        // spreads the bits; the SIDs are random
        let hash = kind.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = usize::try_from(hash >> 54).unwrap_or_default();
        let Some(entry) = self.entries.get(at) else { return true };
        let start = (hash & (0xffff << 32)) << 16 | (second & LOW) << BITS;
        let last = entry.load(Ordering::Relaxed);
        let count = if last & !LOW == start { ((last & LOW) + 1).min(LOW) } else { 1 };
        // a thread at the same entry can undo it, and then one more is kept
        entry.store(start | count, Ordering::Relaxed);
        count <= rate.all || count % rate.then == 0
    }
}

/// Whether a decision is a challenge of a request without credentials, which most calls begin with.
pub(super) fn is_first_challenge(decision: &Decision) -> bool {
    matches!(decision, Decision::Challenge(challenge) if !challenge.stale)
        && decision.cause() == Some(Cause::NoCredentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_rate_in_each_second() {
        let sampler = Sampler::new();
        let rate = Rate { all: 4, then: 10 };
        let taken =
            |kind, second, times| (0..times).filter(|_| sampler.counts(kind, second, rate)).count();
        assert_eq!(taken(7, 1, 100), 4 + 10);
        assert_eq!((taken(8, 1, 4), taken(7, 1, 5), taken(7, 2, 4)), (4, 0, 4));
        // a quiet kind is complete, even beside many others
        for second in 3..5 {
            assert!((0..5_000).all(|kind| taken(kind << 20, second, 4) == 4));
        }
    }

    #[test]
    fn a_full_count_keeps_its_rate() {
        let sampler = Sampler::new();
        let rate = Rate { all: 1, then: 1_000 };
        assert!(sampler.counts(1, 1, rate));
        let entry = sampler.entries.iter().find(|it| it.load(Ordering::Relaxed) != 0).unwrap();
        entry.fetch_or(LOW - 1, Ordering::Relaxed);
        assert!((0..10).all(|_| !sampler.counts(1, 1, rate)));
        assert!(sampler.counts(1, 2, rate));
    }

    #[test]
    fn causes_are_counted_apart() {
        let sampler = Sampler::new();
        for cause in OtherCause::ALL {
            let taken = (0..320).filter(|_| sampler.takes_other(cause, 9)).count();
            assert_eq!(taken, 32 + 5, "{cause:?}");
        }
    }
}
