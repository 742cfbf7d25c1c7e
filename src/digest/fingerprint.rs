//! What tells a retransmission from another request, in one keyed number. It is taken of all that the
//! two must have in common, bodies too, so it has to be quick over a thousand bytes.

use std::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher24};
use zeroize::Zeroizing;

/// How many pairs of words are summed up before the sums are hashed.
const PAIRS: usize = 64;
/// The same in bytes.
const ROUND: usize = 16 * PAIRS;

/// Makes fingerprints under one key.
///
/// The parts are cut into pairs of 64-bit words and each pair is multiplied after a secret word was
/// added to either; the products are added up. That is NH of UMAC (RFC 4418 §5.2) in words of 64
/// bits: two different texts of one length have one sum with a probability of at most 2^-64 over
/// the choice of the key. It is done twice with keys that overlap but for a pair, for 2^-128.
/// The length of each part is put before the texts, and SipHash-2-4 takes the sums of each round and
/// the length of the whole. Nobody ever sees a fingerprint, so nothing can be learnt about the key
/// but by a collision.
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

    /// The fingerprint of parts in a row. Rows of as many parts that differ in a part, or in where
    /// one ends and the next begins, have different ones.
    pub(crate) fn of<const N: usize>(&self, parts: &[&[u8]; N]) -> u128 {
        let outer = SipHasher24::new_with_key(&self.outer);
        let mut text = Text { pairs: &self.pairs, round: [0; ROUND], len: 0, total: 0, outer };
        // the lengths come first, so that nothing has to stand between the parts; no message is
        // longer than 32 bits can tell
        let lengths = parts.map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        text.push(lengths.as_flattened());
        for part in parts {
            text.push(part);
        }
        text.finish()
    }
}

/// A text that is summed up a round at a time.
struct Text<'k> {
    pairs: &'k [[u64; 2]; PAIRS + 1],
    round: [u8; ROUND],
    /// How much of `round` is filled; never all of it.
    len: usize,
    total: usize,
    outer: SipHasher24,
}

impl Text<'_> {
    #[inline]
    fn push(&mut self, mut part: &[u8]) {
        self.total = self.total.wrapping_add(part.len());
        loop {
            let Some(room) = self.round.get_mut(self.len..) else { return };
            if part.len() < room.len() {
                if let Some(place) = room.get_mut(..part.len()) {
                    place.copy_from_slice(part);
                }
                self.len += part.len();
                return;
            }
            let Some((now, later)) = part.split_at_checked(room.len()) else { return };
            room.copy_from_slice(now);
            self.sum_up(ROUND);
            self.len = 0;
            part = later;
        }
    }

    /// Sums up the first `len` bytes of the round, a number of whole pairs, and hashes the sums.
    #[inline]
    fn sum_up(&mut self, len: usize) {
        let (chunks, _) = self.round.get(..len).unwrap_or_default().as_chunks::<16>();
        let (mut first, mut second) = (0_u128, 0_u128);
        for (chunk, [one, other]) in chunks.iter().zip(self.pairs.array_windows()) {
            let [low @ .., _, _, _, _, _, _, _, _] = *chunk;
            let [_, _, _, _, _, _, _, _, high @ ..] = *chunk;
            let (low, high) = (u64::from_le_bytes(low), u64::from_le_bytes(high));
            let product = |[a, b]: &[u64; 2]| {
                u128::from(low.wrapping_add(*a)) * u128::from(high.wrapping_add(*b))
            };
            first = first.wrapping_add(product(one));
            second = second.wrapping_add(product(other));
        }
        let mut sums = [0; 32];
        let (halves, _) = sums.as_chunks_mut();
        for (half, sum) in halves.iter_mut().zip([first, second]) {
            *half = sum.to_le_bytes();
        }
        self.outer.write(&sums);
    }

    fn finish(mut self) -> u128 {
        let end = self.len.next_multiple_of(16);
        // an earlier round may have left something there
        if let Some(rest) = self.round.get_mut(self.len..end) {
            rest.fill(0);
        }
        self.sum_up(end);
        // only texts of one length are told apart by their sums
        self.outer.write(&(self.total as u64).to_le_bytes());
        self.outer.finish128().as_u128()
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
        let lengths =
            parts.iter().flat_map(|part| u32::try_from(part.len()).unwrap().to_le_bytes());
        let mut text: Vec<u8> = lengths.chain(parts.concat()).collect();
        let total = text.len() as u64;
        text.resize(text.len().next_multiple_of(16), 0);
        let mut outer = SipHasher24::new_with_key(&prints.outer);
        // a last round that is empty has sums too
        let empty = [&text[text.len()..]];
        let rounds = text
            .chunks(ROUND)
            .chain(empty.into_iter().filter(|_| total.is_multiple_of(ROUND as u64)));
        for round in rounds {
            for pass in 0..2 {
                let products = round.chunks(16).enumerate().map(|(at, pair)| {
                    let word = |at: usize| u64::from_le_bytes(pair[at..at + 8].try_into().unwrap());
                    let [a, b] = prints.pairs[at + pass];
                    u128::from(word(0).wrapping_add(a)) * u128::from(word(8).wrapping_add(b))
                });
                let sum = products.fold(0_u128, u128::wrapping_add);
                outer.write(&sum.to_le_bytes());
            }
        }
        outer.write(&total.to_le_bytes());
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
        fn agrees_with_the_plain_form(parts: [Vec<u8>; 6], long in vec(any::<u8>(), 0..3_000)) {
            let [a, b, c, d, e, f] = &parts;
            let parts: [&[u8]; 7] = [a, b, c, &long, d, e, f];
            let prints = fingerprints();
            prop_assert_eq!(prints.of(&parts), oracle(&prints, &parts));
        }
    }
}
