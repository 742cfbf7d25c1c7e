//! Keyed fingerprints that identify retransmissions. A fingerprint covers every part that a
//! retransmission has in common with its original, including the body, so it must be fast for about
//! a thousand bytes.

use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};
use siphasher::sip128::SipHasher13;
use zeroize::Zeroizing;

/// Pairs of words in a round. The sums are hashed after each round.
const PAIRS: usize = 64;

/// Computes fingerprints under one key.
///
/// The hash is NH of UMAC (RFC 4418 §5.2) with 64-bit words, followed by SipHash-1-3. The input is
/// cut into pairs of words. Each word is added to a secret word, the two sums of a pair are
/// multiplied, and the products are added up. Two different texts of the same length have the same
/// sum with a probability of at most 2^-64 over the choice of the key. A second pass with the keys
/// shifted by one pair makes that 2^-128.
///
/// The lengths of the parts precede the texts. After each round, SipHash-1-3 hashes the sums and
/// the number of pairs so far. Fingerprints never leave the process, so an attacker learns about
/// the key only from a collision.
pub(crate) struct Fingerprints {
    keys: Box<Zeroizing<[[u64; 2]; PAIRS + 1]>>,
    outer: Zeroizing<[u64; 2]>,
}

impl Fingerprints {
    /// Creates fingerprints under `key`, which must be random, secret, and used for nothing else.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let block = |number: usize| -> Zeroizing<[u8; 32]> {
            let number = u64::try_from(number).unwrap_or_default();
            let hash = Sha256::new_with_prefix(key).chain_update(number.to_le_bytes());
            Zeroizing::new(hash.finalize().into())
        };
        let half = |block: &[u8; 32], second: bool| -> [u64; 2] {
            let (halves, _) = block.as_chunks();
            words(halves.get(usize::from(second)).unwrap_or(&[0; 16]))
        };
        let keys = std::array::from_fn(|number| half(&block(1 + number / 2), number % 2 == 1));
        let outer = Zeroizing::new(half(&block(0), false));
        Self { keys: Box::new(Zeroizing::new(keys)), outer }
    }

    /// The fingerprint of a source, a number and a list of parts. For lists of the same number of
    /// parts, the input is unique: moving a byte from one part to the next changes it.
    pub(crate) fn of<const N: usize>(
        &self,
        source: SocketAddr,
        number: u32,
        parts: &[&[u8]; N],
    ) -> u128 {
        let address = match source.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        // the lengths come first, so no separator is needed; no message is longer than u32::MAX
        // bytes
        let lengths = parts.map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        let numbers = [u32::from(source.port()).to_le_bytes(), number.to_le_bytes()];
        let mut text = Text { print: self, keys: &**self.keys, sums: [0; 2], rounds: 0 };
        text.pair(words(&address.octets()));
        text.push(numbers.as_flattened());
        text.push(lengths.as_flattened());
        for part in parts {
            text.push(part);
        }
        text.end()
    }

    /// Hashes the sums of a round, which ends after `pairs` pairs of the text. The next round
    /// starts with the result: the probability that the sums of two texts differ by a given number
    /// is no higher than the probability that they are equal.
    #[inline(never)]
    fn outer(&self, sums: [u128; 2], pairs: u64) -> u128 {
        let mut text = [0; 40];
        let (halves, last) = text.as_chunks_mut();
        for (half, sum) in halves.iter_mut().zip(sums) {
            *half = sum.to_le_bytes();
        }
        // the sums alone distinguish only texts of one length
        last.copy_from_slice(&pairs.to_le_bytes());
        let [low, high] = *self.outer;
        SipHasher13::new_with_keys(low, high).hash(&text).as_u128()
    }
}

/// A text that is added up round by round.
struct Text<'k> {
    print: &'k Fingerprints,
    /// The unused keys of the round. A pair uses the first two and removes the first.
    keys: &'k [[u64; 2]],
    sums: [u128; 2],
    /// The number of completed rounds.
    rounds: u64,
}

impl Text<'_> {
    /// Adds a part. Each part starts a new pair.
    #[inline(always)]
    fn push(&mut self, part: &[u8]) {
        let (chunks, rest) = part.as_chunks();
        for chunk in chunks {
            self.pair(words(chunk));
        }
        // A part that does not end with a pair adds its last 16 bytes, which overlap the pair
        // before. The length is hashed too, so these words identify the text. A copy of the rest
        // would cost a call.
        if !rest.is_empty() {
            self.pair(part.last_chunk().map_or_else(|| short(part), words));
        }
    }

    #[inline(always)]
    fn pair(&mut self, pair: [u64; 2]) {
        let [first, second] = self.sums;
        if self.keys.len() < 2 {
            self.rounds += 1;
            self.sums = [self.print.outer([first, second], self.rounds * PAIRS as u64); 2];
            self.keys = &**self.print.keys;
        }
        let [one, rest @ ..] = self.keys else { return };
        let [other, ..] = rest else { return };
        self.keys = rest;
        let [first, second] = self.sums;
        self.sums =
            [first.wrapping_add(product(pair, one)), second.wrapping_add(product(pair, other))];
    }

    #[inline(always)]
    fn end(&self) -> u128 {
        let last = PAIRS + 1 - self.keys.len();
        self.print.outer(self.sums, self.rounds * PAIRS as u64 + last as u64)
    }
}

#[inline(always)]
fn product([low, high]: [u64; 2], [a, b]: &[u64; 2]) -> u128 {
    u128::from(low.wrapping_add(*a)) * u128::from(high.wrapping_add(*b))
}

fn words(pair: &[u8; 16]) -> [u64; 2] {
    let [a @ .., _, _, _, _, _, _, _, _] = *pair;
    let [_, _, _, _, _, _, _, _, b @ ..] = *pair;
    [u64::from_le_bytes(a), u64::from_le_bytes(b)]
}

/// One to fifteen bytes as two words, unique among texts of the same length.
#[inline(always)]
fn short(text: &[u8]) -> [u64; 2] {
    if let (Some(start), Some(end)) = (text.first_chunk(), text.last_chunk()) {
        return [u64::from_le_bytes(*start), u64::from_le_bytes(*end)];
    }
    if let (Some(start), Some(end)) = (text.first_chunk(), text.last_chunk()) {
        return [u32::from_le_bytes(*start).into(), u32::from_le_bytes(*end).into()];
    }
    [text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0]
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn fingerprints() -> Fingerprints {
        Fingerprints::new(b"0123456789abcdef0123456789abcdef")
    }

    /// A simple reference implementation: builds the whole text and splits it into rounds.
    fn oracle(prints: &Fingerprints, source: SocketAddr, number: u32, parts: &[&[u8]]) -> u128 {
        let lengths: Vec<u8> = parts
            .iter()
            .flat_map(|part| u32::try_from(part.len()).unwrap().to_le_bytes())
            .collect();
        let address = match source.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let numbers = [u32::from(source.port()).to_le_bytes(), number.to_le_bytes()].concat();
        let mut text = Vec::new();
        for part in [&address[..], &numbers, &lengths].iter().chain(parts) {
            let (len, whole) = (part.len(), part.len() / 16 * 16);
            text.extend_from_slice(&part[..whole]);
            let mut end = [0; 16];
            match len {
                _ if len == whole => continue,
                16.. => end.copy_from_slice(&part[len - 16..]),
                8.. => {
                    end[..8].copy_from_slice(&part[..8]);
                    end[8..].copy_from_slice(&part[len - 8..]);
                }
                4.. => {
                    end[..4].copy_from_slice(&part[..4]);
                    end[8..12].copy_from_slice(&part[len - 4..]);
                }
                _ => part.iter().rev().zip(&mut end).for_each(|(byte, place)| *place = *byte),
            }
            text.extend_from_slice(&end);
        }
        let (mut chain, mut pairs) = (0_u128, 0_u64);
        for round in text.chunks(16 * PAIRS) {
            pairs += round.len() as u64 / 16;
            let mut hashed = Vec::new();
            for pass in 0..2 {
                let products = round.chunks(16).enumerate().map(|(at, pair)| {
                    let word = |at: usize| u64::from_le_bytes(pair[at..at + 8].try_into().unwrap());
                    let [a, b] = prints.keys[at + pass];
                    u128::from(word(0).wrapping_add(a)) * u128::from(word(8).wrapping_add(b))
                });
                let sum = products.fold(chain, u128::wrapping_add);
                hashed.extend(sum.to_le_bytes());
            }
            hashed.extend(pairs.to_le_bytes());
            let [low, high] = *prints.outer;
            chain = SipHasher13::new_with_keys(low, high).hash(&hashed).as_u128();
        }
        chain
    }

    /// All texts over two byte values, by length.
    #[test]
    fn short_texts_have_unique_words() {
        let mut seen = std::collections::HashSet::new();
        for len in 1..16_usize {
            for number in 0..1_u32 << len {
                let text: Vec<u8> = (0..len).map(|at| (number >> at & 1) as u8).collect();
                assert!(seen.insert((len, short(&text))), "{text:?}");
            }
        }
    }

    #[test]
    fn every_bit_length_and_key_changes_the_fingerprint() {
        let (prints, source) = (fingerprints(), "192.0.2.1:5060".parse().unwrap());
        let of = |parts: &[&[u8]; 4]| prints.of(source, 1, parts);
        let body = vec![b'a'; 2_500];
        let parts: [&[u8]; 4] = [b"nonce", b"", b"\0\0", &body];
        let print = of(&parts);
        assert_eq!(print, of(&parts));
        assert_ne!(print, prints.of(source, 2, &parts));
        for other in ["192.0.2.2:5060", "192.0.2.1:5061", "[::192.0.2.1]:5060"] {
            assert_ne!(print, prints.of(other.parse().unwrap(), 1, &parts));
        }
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1 << (at % 8);
            assert_ne!(of(&[parts[0], parts[1], parts[2], &changed]), print, "{at}");
        }
        for other in [
            [&b"nonc"[..], b"e", b"\0\0", &body],
            [b"nonce", b"\0", b"\0", &body],
            [b"nonce", b"\0\0", b"", &body],
            [b"nonce", b"", b"\0\0", &body[1..]],
            [b"nonce\0", b"", b"\0\0", &body],
        ] {
            assert_ne!(of(&other), print);
        }
        assert_ne!(Fingerprints::new(&[7; 32]).of(source, 1, &parts), print);
        let keys: std::collections::HashSet<_> = prints.keys.iter().flatten().collect();
        assert_eq!(keys.len(), 2 * (PAIRS + 1), "every word of the key is its own");
    }

    #[test]
    fn agrees_with_the_reference_at_every_length_of_two_rounds() {
        let (prints, source) = (fingerprints(), "192.0.2.1:5060".parse().unwrap());
        let long = [7; 2 * 16 * PAIRS];
        for len in 0..long.len() {
            let parts: [&[u8]; 1] = [&long[..len]];
            assert_eq!(prints.of(source, 1, &parts), oracle(&prints, source, 1, &parts), "{len}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(
            source: SocketAddr,
            number: u32,
            parts: [Vec<u8>; 6],
            long in vec(any::<u8>(), 0..3_000),
        ) {
            let [a, b, c, d, e, f] = &parts;
            let parts: [&[u8]; 7] = [a, b, c, &long, d, e, f];
            let prints = fingerprints();
            let print = prints.of(source, number, &parts);
            prop_assert_eq!(print, oracle(&prints, source, number, &parts));
        }
    }
}
