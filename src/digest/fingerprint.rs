//! What tells a retransmission from another request, in one keyed number. It is taken of all that the
//! two must have in common, bodies too, so it has to be quick over a thousand bytes.

use std::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher24};
use zeroize::Zeroizing;

/// How many pairs of words are summed up before the sums are hashed: 1,024 bytes.
const PAIRS: usize = 64;

/// Makes fingerprints under one key.
///
/// The parts are cut into pairs of 64-bit words and each pair is multiplied after a secret word was
/// added to either; the products are added up. That is NH of UMAC (RFC 4418 §5.2) in words of 64
/// bits: two different texts of one length have one sum with a probability of at most 2^-64 over
/// the choice of the key. It is done twice with keys that overlap but for a pair, for 2^-128.
/// SipHash-2-4 then takes the sums and the length of each part. Nobody ever sees a fingerprint, so
/// nothing can be learnt about the key but by a collision.
pub(crate) struct Fingerprints {
    pairs: Box<Zeroizing<[[u64; 2]; PAIRS + 1]>>,
    outer: Zeroizing<[u8; 16]>,
}

impl Fingerprints {
    /// `key` must be random, secret, and used for nothing else.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let block = |number: usize| -> Zeroizing<[u8; 32]> {
            let number = u64::try_from(number).unwrap_or_default();
            let hash = Sha256::new_with_prefix(key).chain_update(number.to_le_bytes());
            Zeroizing::new(hash.finalize().into())
        };
        let half = |block: &[u8; 32], second: bool| -> [u8; 16] {
            let (halves, _) = block.as_chunks();
            halves.get(usize::from(second)).copied().unwrap_or_default()
        };
        let word = |pair: &[u8; 16], second: bool| {
            let (words, _) = pair.as_chunks();
            words.get(usize::from(second)).map_or(0, |word| u64::from_le_bytes(*word))
        };
        let pairs = std::array::from_fn(|number| {
            let pair = half(&block(1 + number / 2), number % 2 == 1);
            [word(&pair, false), word(&pair, true)]
        });
        let outer = Zeroizing::new(half(&block(0), false));
        Self { pairs: Box::new(Zeroizing::new(pairs)), outer }
    }

    /// The fingerprint of parts in a row. Rows that differ in a part, or in where one ends and the
    /// next begins, have different ones.
    pub(crate) fn of(&self, parts: &[&[u8]]) -> u128 {
        let mut outer = SipHasher24::new_with_key(&self.outer);
        let mut sums = [0_u128; 2];
        let mut keys = self.pairs.windows(2);
        for part in parts {
            outer.write(&part.len().to_le_bytes());
            let (chunks, rest) = part.as_chunks::<16>();
            let mut last = [0; 16];
            // the length tells these zeros from any that were sent
            last.iter_mut().zip(rest).for_each(|(byte, sent)| *byte = *sent);
            for chunk in chunks.iter().chain((!rest.is_empty()).then_some(&last)) {
                let key = match keys.next() {
                    Some(key) => key,
                    None => {
                        flush(&mut outer, &mut sums);
                        keys = self.pairs.windows(2);
                        keys.next().unwrap_or_default()
                    }
                };
                let [low @ .., _, _, _, _, _, _, _, _] = *chunk;
                let [_, _, _, _, _, _, _, _, high @ ..] = *chunk;
                add(&mut sums, key, u64::from_le_bytes(low), u64::from_le_bytes(high));
            }
        }
        flush(&mut outer, &mut sums);
        outer.finish128().as_u128()
    }
}

#[inline(always)]
fn add(sums: &mut [u128; 2], key: &[[u64; 2]], low: u64, high: u64) {
    for (sum, [a, b]) in sums.iter_mut().zip(key) {
        let product = u128::from(low.wrapping_add(*a)) * u128::from(high.wrapping_add(*b));
        *sum = sum.wrapping_add(product);
    }
}

fn flush(outer: &mut SipHasher24, sums: &mut [u128; 2]) {
    for sum in sums {
        outer.write(&std::mem::take(sum).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn fingerprints() -> Fingerprints {
        Fingerprints::new(b"0123456789abcdef0123456789abcdef")
    }

    /// The same, plainly: one text of whole pairs, cut where the key ends.
    fn oracle(prints: &Fingerprints, parts: &[&[u8]]) -> u128 {
        let mut outer = SipHasher24::new_with_key(&prints.outer);
        let (mut seen, mut sums) = (0, [0_u128; 2]);
        for part in parts {
            outer.write(&(part.len() as u64).to_le_bytes());
            let mut text = part.to_vec();
            text.resize(part.len().next_multiple_of(16), 0);
            for pair in text.chunks(16) {
                if seen == PAIRS {
                    for sum in sums {
                        outer.write(&sum.to_le_bytes());
                    }
                    (seen, sums) = (0, [0; 2]);
                }
                let word = |at: usize| u64::from_le_bytes(pair[at..at + 8].try_into().unwrap());
                for (pass, sum) in sums.iter_mut().enumerate() {
                    let [a, b] = prints.pairs[seen + pass];
                    let (left, right) = (word(0).wrapping_add(a), word(8).wrapping_add(b));
                    *sum = sum.wrapping_add(u128::from(left) * u128::from(right));
                }
                seen += 1;
            }
        }
        for sum in sums {
            outer.write(&sum.to_le_bytes());
        }
        outer.finish128().as_u128()
    }

    #[test]
    fn every_bit_every_end_and_every_key_counts() {
        let prints = fingerprints();
        let body = vec![b'a'; 2_500];
        let parts: [&[u8]; 4] = [b"nonce", b"", b"\0\0", &body];
        let print = prints.of(&parts);
        assert_eq!(print, prints.of(&parts));
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1 << (at % 8);
            assert_ne!(prints.of(&[parts[0], parts[1], parts[2], &changed]), print, "{at}");
        }
        for other in [
            [&b"nonc"[..], b"e", b"\0\0", &body],
            [b"nonce", b"\0", b"\0", &body],
            [b"nonce", b"\0\0", b"", &body],
            [b"nonce", b"", b"\0\0", &body[1..]],
            [b"nonce\0", b"", b"\0\0", &body],
        ] {
            assert_ne!(prints.of(&other), print);
        }
        assert_ne!(Fingerprints::new(&[7; 32]).of(&parts), print);
        let pairs: std::collections::HashSet<_> = prints.pairs.iter().flatten().collect();
        assert_eq!(pairs.len(), 2 * (PAIRS + 1), "every word of the key is its own");
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_form(parts in vec(vec(any::<u8>(), 0..700), 0..8)) {
            let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
            let prints = fingerprints();
            prop_assert_eq!(prints.of(&parts), oracle(&prints, &parts));
        }
    }
}
