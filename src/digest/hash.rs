//! Hexadecimal hashes: conversion, and comparison in constant time.

use subtle::ConstantTimeEq;

use super::bytes::Bytes;
use crate::words::lower;

/// Writes lower-case hexadecimal. Computes both digits of a byte at once, which the compiler
/// vectorizes. A table lookup would leak the hash through its memory accesses.
#[inline(always)]
pub(crate) fn write_hex(hash: &[u8], text: &mut [u8]) {
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(hash) {
        let byte = u16::from(*byte);
        let halves = byte >> 4 | (byte & 15) << 8;
        // one in each byte above nine
        let letters = (halves.wrapping_add(0x0606) >> 4) & 0x0101;
        let up = letters.wrapping_mul(u16::from(b'a' - b'9' - 1));
        *pair = halves.wrapping_add(0x3030).wrapping_add(up).to_le_bytes();
    }
}

/// Whether `sent`, in either case, equals the lower-case hexadecimal `expected`. The time depends
/// only on the lengths. The length of `expected` must be a multiple of eight.
#[inline]
pub(crate) fn same_hex<H: Bytes>(expected: &H, sent: &[u8]) -> bool {
    // compares eight bytes at once, because subtle compares slices byte by byte
    let ((ours, rest), (theirs, _)) = (expected.as_bytes().as_chunks(), sent.as_chunks());
    let differ = ours.iter().zip(theirs).fold(0, |differ, (ours, theirs)| {
        differ | (u64::from_ne_bytes(*ours) ^ lower(u64::from_ne_bytes(*theirs)))
    });
    sent.len() == H::LEN && rest.is_empty() && differ.ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex16(hash: &[u8; 16]) -> [u8; 32] {
        let mut text = [0; 32];
        write_hex(hash, &mut text);
        text
    }

    fn hex32(hash: &[u8; 32]) -> [u8; 64] {
        let mut text = [0; 64];
        write_hex(hash, &mut text);
        text
    }

    /// Pseudo-random bytes from `seed`.
    fn text<const N: usize>(seed: u64) -> [u8; N] {
        let mut state = seed;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
    }

    #[test]
    fn hexadecimal_is_compared_case_insensitively() {
        for seed in 0..50 {
            let (short, long): ([u8; 16], [u8; 32]) = (text(seed), text(seed));
            assert_eq!(hex16(&short), hex::encode(short).as_bytes());
            assert_eq!(hex32(&long), hex::encode(long).as_bytes());
            let expected = hex32(&long);
            assert!(same_hex(&expected, hex::encode(long).as_bytes()));
            assert!(same_hex(&expected, hex::encode_upper(long).as_bytes()));
            for at in 0..64 {
                for bit in 0..8 {
                    let mut sent = expected;
                    sent[at] ^= 1 << bit;
                    let same = sent[at].eq_ignore_ascii_case(&expected[at]);
                    assert_eq!(same_hex(&expected, &sent), same, "bit {bit} of {at}");
                }
            }
            // two differences must not cancel each other out
            for at in 0..56 {
                let mut sent = expected;
                sent[at] ^= 1;
                sent[at + 8] ^= 1;
                assert!(!same_hex(&expected, &sent), "{at}");
            }
            assert!(!same_hex(&expected, &expected[..63]) && !same_hex(&expected, b""));
            assert!(!same_hex(&expected, &[&expected[..], b"0"].concat()));
            assert!(same_hex(&hex16(&short), hex::encode(short).as_bytes()));
        }
    }
}
