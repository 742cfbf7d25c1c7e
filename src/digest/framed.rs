//! Input of a keyed hash, concatenated in a fixed buffer: hashing it in one call takes half the
//! time of hashing part by part.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use zeroize::Zeroizing;

/// A SipHash key as two words.
pub(super) type Key = Zeroizing<[u64; 2]>;

pub(super) fn words(key: &[u8; 16]) -> Key {
    let (halves, _) = key.as_chunks();
    let mut words = Key::default();
    for (word, half) in words.iter_mut().zip(halves) {
        *word = u64::from_le_bytes(*half);
    }
    words
}

/// Sixteen bytes as two words.
#[inline(always)]
pub(super) fn words_of(bytes: &[u8; 16]) -> [u64; 2] {
    let [low @ .., _, _, _, _, _, _, _, _] = *bytes;
    let [_, _, _, _, _, _, _, _, high @ ..] = *bytes;
    [u64::from_le_bytes(low), u64::from_le_bytes(high)]
}

/// An address as 16 bytes. IPv4 and IPv4-mapped IPv6 give the same.
#[inline(always)]
pub(super) fn octets(ip: IpAddr) -> [u8; 16] {
    // as a number in both cases; the compiler would join two arrays byte by byte
    let bits = match ip {
        IpAddr::V4(address) => 0xffff_0000_0000 | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    bits.to_be_bytes()
}

/// Concatenated hash input. The caller must make the encoding injective: each part must have a
/// fixed length or follow its length.
#[derive(Default)]
pub(super) struct Framed<const N: usize>(ArrayVec<u8, N>);

impl<const N: usize> Framed<N> {
    /// Appends a part.
    #[inline(always)]
    pub(super) fn push(&mut self, part: &[u8]) {
        let fits = self.0.try_extend_from_slice(part).is_ok();
        debug_assert!(fits, "N must be the sum of the maximum lengths of the parts");
    }

    #[inline(always)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
