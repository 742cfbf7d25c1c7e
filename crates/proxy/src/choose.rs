//! The choice of a next hop by weighted rendezvous hashing: a call keeps its hop unless that hop goes away,
//! and machines with the same hops choose the same without talking to each other.

use std::cmp::Ordering;

/// A next hop among which [`choose`] chooses.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The name of the hop: its host or address, port and transport. The same on all machines of a
    /// fleet.
    pub id: &'a [u8],
    /// The hops that are up with the lowest priority take all calls (RFC 2782).
    pub priority: u16,
    /// The share of the calls among the hops of a priority. Zero takes calls only if all have zero.
    pub weight: u16,
    /// Whether the hop answers.
    pub is_up: bool,
}

/// Chooses one of the hops for a call: among those that are up with the lowest priority, by weight. None if
/// no hop is up.
///
/// The hash has no secret key: a call must keep its hop when the keys change. The caller chooses the
/// Call-ID, so he can choose among the hops that the operator has configured, and nothing else.
#[must_use]
pub fn choose<'a, T>(
    call_id: &[u8],
    hops: impl IntoIterator<Item = (Candidate<'a>, T)>,
) -> Option<T> {
    let up = hops.into_iter().filter(|(hop, _)| hop.is_up);
    let rated = up.map(|(hop, value)| (hop.priority, Score::of(&hop, call_id), value));
    let better = |best: (u16, Score, T), other: (u16, Score, T)| {
        let order = other.0.cmp(&best.0).then_with(|| best.1.compare(&other.1));
        if order == Ordering::Less { other } else { best }
    };
    rated.reduce(better).map(|(_, _, value)| value)
}

/// The score `-weight / ln(hash)` of a hop for a call, as a fraction. The highest wins: the chance of a hop
/// is then its share of the weights.
struct Score {
    weight: u64,
    /// The logarithm of the hash, negative, to any base.
    log: u64,
    hash: u64,
}

impl Score {
    fn of(hop: &Candidate<'_>, call_id: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(hop.id.len() as u64).to_le_bytes());
        hasher.update(hop.id);
        hasher.update(call_id);
        let hash = hasher.finalize().as_bytes().first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        Self { weight: u64::from(hop.weight), log: negative_log2(hash), hash }
    }

    fn compare(&self, other: &Self) -> Ordering {
        // below 2^16 times below 2^39
        (self.weight * other.log)
            .cmp(&(other.weight * self.log))
            .then(other.log.cmp(&self.log))
            .then(self.hash.cmp(&other.hash))
    }
}

/// `-log2((hash | 1) / 2^64)` with 32 binary digits after the point; never zero. In whole numbers, as the
/// logarithm of floating-point numbers may differ between machines.
fn negative_log2(hash: u64) -> u64 {
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    // in [1, 2) with 63 binary digits after the point
    let mut number = u128::from(hash << zeros);
    let mut fraction = 0_u64;
    for _ in 0..32 {
        // the square has twice the logarithm: its next digit is whether the square reached 2
        number = (number * number) >> 63;
        let digit = u64::from(number >= 1 << 64);
        number >>= digit;
        fraction = fraction << 1 | digit;
    }
    (u64::from(zeros + 1) << 32) - fraction
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hop(id: &[u8], priority: u16, weight: u16, is_up: bool) -> Candidate<'_> {
        Candidate { id, priority, weight, is_up }
    }

    #[test]
    fn the_logarithm_is_exact_to_its_last_digits() {
        let hashes = [0, 1, 2, 3, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 1, 0x1234_5678_9abc_def0];
        for hash in
            hashes.into_iter().chain((0..1_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        {
            #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
            let (found, expected) = (
                negative_log2(hash) as f64 / f64::from(2).powi(32),
                64.0 - ((hash | 1) as f64).log2(),
            );
            assert!((found - expected).abs() < 1e-9, "{hash}: {found} {expected}");
            assert!((1..1 << 39).contains(&negative_log2(hash)), "{hash}");
        }
    }

    #[test]
    fn calls_are_spread_by_weight() {
        const CALLS: u32 = 5_000;
        for weights in
            [vec![1, 1], vec![1, 2, 7], vec![100, 300, 0], vec![u16::MAX, u16::MAX], vec![0, 0]]
        {
            let mut counts = vec![0_u32; weights.len()];
            for call in 0..CALLS {
                let hops = weights.iter().enumerate();
                let ids: Vec<_> =
                    hops.clone().map(|(at, _)| format!("10.0.0.{at}:5060;udp")).collect();
                let hops = hops.map(|(at, weight)| (hop(ids[at].as_bytes(), 0, *weight, true), at));
                counts[choose(format!("{call}@phone").as_bytes(), hops).unwrap()] += 1;
            }
            let all_zero = weights.iter().all(|weight| *weight == 0);
            let weights =
                weights.iter().map(|weight| if all_zero { 1 } else { u32::from(*weight) });
            let sum: u32 = weights.clone().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let expected = f64::from(CALLS) * f64::from(weight) / f64::from(sum);
                // four standard deviations
                let tolerance = 4.0 * expected.sqrt();
                assert!((f64::from(*count) - expected).abs() <= tolerance, "{count} {expected}");
            }
        }
    }

    #[test]
    fn the_choice_is_the_same_on_every_machine() {
        let ids: [&[u8]; 3] = [b"pbx1:5060;udp", b"pbx2:5060;udp", b"pbx3:5060;udp"];
        let choices = (0..12_u8).map(|call| {
            let hops =
                ids.iter().zip([1, 2, 3]).map(|(id, weight)| (hop(id, 1, weight, true), weight));
            choose(&[call], hops).unwrap()
        });
        assert_eq!(choices.collect::<Vec<_>>(), CHOICES);
    }

    /// Written once: another result would move the calls of a fleet during an update.
    const CHOICES: [u16; 12] = [3, 2, 2, 3, 2, 3, 3, 2, 3, 1, 3, 3];

    proptest! {
        #[test]
        fn only_the_calls_of_a_hop_that_goes_away_move(
            call_id: Vec<u8>,
            hops in prop::collection::vec((0..3_u16, any::<u16>(), any::<bool>()), 1..8),
            away in any::<prop::sample::Index>(),
        ) {
            let named: Vec<_> = (0_u8..).map(|id| [id]).zip(hops).collect();
            let pick = |without: Option<usize>| {
                let hops = named.iter().enumerate().map(|(at, (id, (priority, weight, is_up)))| {
                    (hop(id, *priority, *weight, *is_up && Some(at) != without), at)
                });
                choose(&call_id, hops)
            };
            let (before, away) = (pick(None), away.index(named.len()));
            let after = pick(Some(away));
            prop_assert!(after != Some(away));
            if before != Some(away) {
                prop_assert_eq!(after, before);
            }
            // the order of the configuration does not count
            let reversed = named.iter().enumerate().rev();
            let reversed = reversed.map(|(at, (id, (priority, weight, is_up)))| {
                (hop(id, *priority, *weight, *is_up), at)
            });
            prop_assert_eq!(choose(&call_id, reversed), before);
            let up = named.iter().filter(|(_, hop)| hop.2);
            let lowest = up.map(|(_, hop)| hop.0).min();
            prop_assert_eq!(before.map(|at| named[at].1.0), lowest);
            prop_assert!(before.is_none_or(|at| named[at].1.2));
        }
    }
}
