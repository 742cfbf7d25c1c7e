//! What a keyed hash is taken of, put together in a fixed buffer: hashing one text in one go costs
//! half of hashing it part by part.

use arrayvec::ArrayVec;
use zeroize::Zeroizing;

/// A key of SipHash in words, as it is taken up with each text.
pub(super) type Key = Zeroizing<[u64; 2]>;

pub(super) fn words(key: &[u8; 16]) -> Key {
    let (halves, _) = key.as_chunks();
    let mut words = Key::default();
    for (word, half) in words.iter_mut().zip(halves) {
        *word = u64::from_le_bytes(*half);
    }
    words
}

/// Parts in a row. Whoever puts them in sees to it that no two different rows are alike: each part is
/// of fixed length or comes after its length.
#[derive(Default)]
pub(super) struct Framed<const N: usize>(ArrayVec<u8, N>);

impl<const N: usize> Framed<N> {
    /// Another part.
    #[inline(always)]
    pub(super) fn push(&mut self, part: &[u8]) {
        let fits = self.0.try_extend_from_slice(part).is_ok();
        debug_assert!(fits, "every part has its bound, and N is the sum of them");
    }

    #[inline(always)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
