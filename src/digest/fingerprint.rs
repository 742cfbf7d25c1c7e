//! Keyed fingerprints that identify retransmissions. A fingerprint covers the whole message, so it
//! must be fast for about a thousand bytes.

use std::hash::Hasher as _;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use zeroize::Zeroizing;

use super::framed::{octets, words_of as words};
use crate::method::Method;

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
/// The length of the message precedes it. After each round, SipHash-1-3 hashes the sums and the
/// number of pairs so far. Fingerprints never leave the process, so an attacker learns about
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

    /// The fingerprint of a request from a source. Two requests with different methods have different
    /// ones, even if `message` is a text of the caller that leaves the method out.
    pub(crate) fn of_request(
        &self,
        source: SocketAddr,
        method: Method<'_>,
        message: &[u8],
    ) -> u128 {
        let print = self.of(source, message);
        match method.other() {
            None => print,
            Some(method) => self.with_method(print, method),
        }
    }

    #[cold]
    fn with_method(&self, print: u128, method: &str) -> u128 {
        let [low, high] = *self.outer;
        let mut hasher = SipHasher13::new_with_keys(low, high);
        hasher.write(&print.to_le_bytes());
        hasher.write(method.as_bytes());
        // longer than the texts that `outer` hashes under this key
        hasher.write(&[0; 64]);
        hasher.finish128().as_u128()
    }

    /// The fingerprint of a message from a source.
    fn of(&self, source: SocketAddr, message: &[u8]) -> u128 {
        let mut place = [0; 16];
        let (port, len) = place.split_at_mut(8);
        port.copy_from_slice(&u64::from(source.port()).to_le_bytes());
        len.copy_from_slice(&(message.len() as u64).to_le_bytes());

        // the first round starts with these two pairs
        let start = [octets(source.ip()), place];
        let mut sums = add([0; 2], &start, &**self.keys);
        let (mut free, mut pairs) = (PAIRS - start.len(), start.len());
        let (mut chunks, rest) = message.as_chunks();
        // A message that does not end with a pair adds its last 16 bytes, which overlap the pair
        // before. The length is hashed too, so these bytes identify the text.
        let last = message.last_chunk().copied().unwrap_or_else(|| short(message));
        let last = if rest.is_empty() { &[][..] } else { &[last][..] };
        loop {
            let (round, after) = chunks.split_at_checked(free).unwrap_or((chunks, &[]));
            sums = add(sums, round, self.keys.get(PAIRS - free..).unwrap_or_default());
            free -= round.len();
            pairs += round.len();
            chunks = after;
            if chunks.is_empty() && (free > 0 || last.is_empty()) {
                break;
            }
            sums = [self.outer(sums, pairs); 2];
            free = PAIRS;
        }
        sums = add(sums, last, self.keys.get(PAIRS - free..).unwrap_or_default());
        self.outer(sums, pairs + last.len())
    }

    /// A short fingerprint of a flow and two SIDs. As they have fixed lengths, one pass of NH
    /// suffices.
    pub(crate) fn of_flow(&self, flow: SocketAddr, sids: [&[u8; 16]; 2]) -> u64 {
        let mut place = [0; 16];
        if let Some(port) = place.first_chunk_mut() {
            *port = flow.port().to_le_bytes();
        }
        let [first, second] = sids;
        let text = [octets(flow.ip()), place, *first, *second];
        let products = text.iter().zip(&**self.keys).map(|(pair, key)| product(words(pair), key));
        let sum = products.fold(0_u128, u128::wrapping_add);
        let [low, high] = words(&sum.to_le_bytes());
        low ^ high
    }

    /// Hashes the sums of a round, which ends after `pairs` pairs of the text. The next round
    /// starts with the result: the probability that the sums of two texts differ by a given number
    /// is no higher than the probability that they are equal.
    #[inline(never)]
    fn outer(&self, sums: [u128; 2], pairs: usize) -> u128 {
        let mut text = [0; 40];
        let (halves, last) = text.as_chunks_mut();
        for (half, sum) in halves.iter_mut().zip(sums) {
            *half = sum.to_le_bytes();
        }
        // the sums alone distinguish only texts of one length
        last.copy_from_slice(&(pairs as u64).to_le_bytes());
        let [low, high] = *self.outer;
        SipHasher13::new_with_keys(low, high).hash(&text).as_u128()
    }
}

/// Adds the products of pairs of words to the sums of two passes. A pair uses two keys, of which the
/// next pair uses the second too.
#[inline(always)]
fn add([first, second]: [u128; 2], pairs: &[[u8; 16]], keys: &[[u64; 2]]) -> [u128; 2] {
    // one pass after the other: the sums of both together do not fit into the registers
    [sum(first, pairs, keys), sum(second, pairs, keys.get(1..).unwrap_or_default())]
}

/// Adds the products of pairs of words with one key each, in four sums that do not wait for each other.
#[inline(always)]
fn sum(start: u128, pairs: &[[u8; 16]], keys: &[[u64; 2]]) -> u128 {
    let add = |sum: u128, (pair, key): (&_, &_)| sum.wrapping_add(product(words(pair), key));
    let (fours, rest) = pairs.as_chunks::<4>();
    let (keys_of_fours, _) = keys.as_chunks::<4>();
    let mut sums = [start, 0, 0, 0];
    for (four, keys) in fours.iter().zip(keys_of_fours) {
        for (sum, pair) in sums.iter_mut().zip(four.iter().zip(keys)) {
            *sum = add(*sum, pair);
        }
    }
    let sum = sums.into_iter().fold(0, u128::wrapping_add);
    let keys_of_rest = keys.get(pairs.len() - rest.len()..).unwrap_or_default();
    rest.iter().zip(keys_of_rest).fold(sum, add)
}

#[inline(always)]
fn product([low, high]: [u64; 2], [a, b]: &[u64; 2]) -> u128 {
    u128::from(low.wrapping_add(*a)) * u128::from(high.wrapping_add(*b))
}

/// Less than sixteen bytes as a pair, unique among texts of the same length.
fn short(text: &[u8]) -> [u8; 16] {
    let mut pair = [0; 16];
    if let Some(start) = pair.get_mut(..text.len()) {
        start.copy_from_slice(text);
    }
    pair
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn fingerprints() -> Fingerprints {
        Fingerprints::new(b"0123456789abcdef0123456789abcdef")
    }

    /// A simple reference implementation: builds the whole text and splits it into rounds.
    fn oracle(prints: &Fingerprints, source: SocketAddr, message: &[u8]) -> u128 {
        let address = match source.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let (len, whole) = (message.len(), message.len() / 16 * 16);
        let mut text = address.to_vec();
        text.extend_from_slice(&u64::from(source.port()).to_le_bytes());
        text.extend_from_slice(&(len as u64).to_le_bytes());
        text.extend_from_slice(&message[..whole]);
        if len > whole {
            let mut end = [0; 16];
            match len {
                16.. => end.copy_from_slice(&message[len - 16..]),
                _ => end[..len].copy_from_slice(message),
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

    #[test]
    fn every_bit_length_and_key_changes_the_fingerprint() {
        let (prints, source) = (fingerprints(), "192.0.2.1:5060".parse().unwrap());
        let message = vec![b'a'; 2_500];
        let print = prints.of(source, &message);
        assert_eq!(print, prints.of(source, &message));
        for other in ["192.0.2.2:5060", "192.0.2.1:5061", "[::192.0.2.1]:5060"] {
            assert_ne!(print, prints.of(other.parse().unwrap(), &message));
        }
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1 << (at % 8);
            assert_ne!(prints.of(source, &changed), print, "{at}");
            assert_ne!(prints.of(source, &message[..at]), print, "{at}");
        }
        assert_ne!(prints.of(source, b""), prints.of(source, b"\0"));
        assert_ne!(Fingerprints::new(&[7; 32]).of(source, &message), print);
        let keys: std::collections::HashSet<_> = prints.keys.iter().flatten().collect();
        assert_eq!(keys.len(), 2 * (PAIRS + 1), "every word of the key is its own");
    }

    #[test]
    fn each_method_has_its_own_fingerprint() {
        let (prints, source) = (fingerprints(), "192.0.2.1:5060".parse().unwrap());
        let of = |method, message: &[u8]| prints.of_request(source, Method::new(method), message);
        for message in [&b""[..], b"all fields but the method"] {
            assert_eq!(of("INVITE", message), prints.of(source, message));
            let methods = [
                "INVITE",
                "MESSAGE",
                "OPTIONS",
                "invite",
                "MESSAG",
                "M",
                "123456789012345678901234",
            ];
            let all: std::collections::HashSet<_> =
                methods.iter().map(|method| of(method, message)).collect();
            assert_eq!(all.len(), methods.len());
            assert_eq!(of("MESSAGE", message), of("MESSAGE", message));
        }
    }

    #[test]
    fn agrees_with_the_reference_at_every_length_of_two_rounds() {
        let (prints, source) = (fingerprints(), "192.0.2.1:5060".parse().unwrap());
        let long = [7; 2 * 16 * PAIRS];
        for len in 0..long.len() {
            let message = &long[..len];
            assert_eq!(prints.of(source, message), oracle(&prints, source, message), "{len}");
        }
    }

    #[test]
    fn each_bit_of_the_print_of_a_flow_is_set_for_half_of_the_flows() {
        let prints = fingerprints();
        let mut set = [0; 64];
        for port in 0..1_000 {
            let flow = SocketAddr::from(([192, 0, 2, 1], port));
            let print = prints.of_flow(flow, [&[1; 16], &[2; 16]]);
            set.iter_mut().enumerate().for_each(|(bit, count)| *count += (print >> bit) & 1);
        }
        assert!(set.iter().all(|count| (400..600).contains(count)), "{set:?}");
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(source: SocketAddr, message in vec(any::<u8>(), 0..3_000)) {
            let prints = fingerprints();
            let print = prints.of(source, &message);
            prop_assert_eq!(print, oracle(&prints, source, &message));
        }
    }
}
