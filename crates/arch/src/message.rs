//! Hash input that is built, padded and hashed in place, without another copy.

use zeroize::optimization_barrier;

use crate::md5::{self, Md5State};
use crate::sha;
use crate::transpose::transpose;

/// A message to hash, of at most `B` blocks including its padding.
///
/// It may hold H(A1). The functions that hash several messages wipe them; otherwise the caller must
/// call [`Message::wipe`].
#[derive(Clone)]
#[repr(align(64))]
pub struct Message<const B: usize> {
    /// The text, followed by zeros.
    blocks: [[u8; 64]; B],
    len: usize,
}

impl<const B: usize> Message<B> {
    /// A message without text.
    pub const EMPTY: Self = Self { blocks: [[0; 64]; B], len: 0 };

    /// Appends `text` if it fits and returns whether it does. Otherwise the message is unchanged.
    #[must_use]
    #[inline(always)]
    pub fn push(&mut self, text: &[u8]) -> bool {
        let end = self.len.saturating_add(text.len());
        if end.saturating_add(9) > B * 64 {
            return false;
        }
        let Some(place) = self.blocks.as_flattened_mut().get_mut(self.len..end) else {
            return false;
        };
        place.copy_from_slice(text);
        self.len = end;
        true
    }

    /// The number of bytes that still fit.
    #[must_use]
    pub fn spare(&self) -> usize {
        (B * 64).saturating_sub(self.len + 9)
    }

    /// The text, without padding.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.blocks.as_flattened().get(..self.len).unwrap_or_default()
    }

    /// The first block, if it is full.
    fn full_block(&self) -> Option<&[u8; 64]> {
        self.blocks.first().filter(|_| self.len >= 64)
    }

    /// Empties the message and overwrites it with zeros.
    pub fn wipe(&mut self) {
        *self = Self::EMPTY;
        optimization_barrier(self);
    }

    fn block_count(&self) -> usize {
        (self.len + 9).div_ceil(64)
    }

    /// Adds the padding of MD5. The caller must not append text afterwards.
    #[inline(always)]
    pub(crate) fn pad(&mut self) {
        self.padded(u64::to_le_bytes);
    }

    /// Adds the padding and returns the blocks. `order` is the byte order of the length in bits.
    /// The caller must not append text afterwards.
    #[inline(always)]
    pub(crate) fn padded(&mut self, order: fn(u64) -> [u8; 8]) -> &[[u8; 64]] {
        let (len, count) = (self.len, self.block_count());
        // `push` reserves nine bytes for the padding
        if let Some(first) = self.blocks.as_flattened_mut().get_mut(len) {
            *first = 0x80;
        }
        let blocks = self.blocks.get_mut(..count).unwrap_or_default();
        if let Some(length) = blocks.last_mut().and_then(|block| block.last_chunk_mut()) {
            *length = order((len as u64).wrapping_mul(8));
        }
        blocks
    }
}

/// The MD5 of part of a message.
#[derive(Clone, Default)]
pub struct PartialMd5 {
    state: Md5State,
    /// The number of blocks hashed so far.
    taken: usize,
}

impl PartialMd5 {
    /// Computes the MD5 of `message`. In the same time, it hashes the first block of `other` if
    /// that is full. A digest verification computes H(A2) together with the start of the response,
    /// which does not depend on it: `HA1:nonce:nc:` fills a block if the nonce has 22 characters.
    #[inline(always)]
    pub fn hash_interleaved<const B: usize>(
        message: &mut Message<B>,
        other: &Message<B>,
    ) -> ([u8; 16], Self) {
        let (mut hash, mut partial) = (Md5State::new(), Self::default());
        let mut blocks = message.padded(u64::to_le_bytes);
        if let (Some((first, rest)), Some(other)) = (blocks.split_first(), other.full_block()) {
            hash.compress_both(first, &mut partial.state, other);
            (blocks, partial.taken) = (rest, 1);
        }
        blocks.iter().for_each(|block| hash.compress(block));
        (hash.bytes(), partial)
    }

    /// Completes the hash. `message` is the `other` of [`PartialMd5::hash_interleaved`], with more
    /// text.
    #[inline(always)]
    pub fn finalize<const B: usize>(mut self, message: &mut Message<B>) -> [u8; 16] {
        let blocks = message.padded(u64::to_le_bytes);
        blocks.iter().skip(self.taken).for_each(|block| self.state.compress(block));
        self.state.bytes()
    }
}

/// Computes the SHA-256 of a message.
pub fn sha256_message<const B: usize>(message: &mut Message<B>) -> [u8; 32] {
    sha::of_blocks(message.padded(u64::to_be_bytes))
}

/// Computes the SHA-256 of a padded message.
pub(crate) fn sha256_padded<const B: usize>(message: &Message<B>) -> [u8; 32] {
    sha::of_blocks(message.blocks.get(..message.block_count()).unwrap_or_default())
}

/// Computes the MD5 of padded messages, at most as many as there are lanes.
#[inline(always)]
pub(crate) fn md5_run<const G: usize, const N: usize, const B: usize>(
    messages: &[Message<B>],
    out: &mut [[u8; 16]],
    compress: impl Fn(&mut [[[u32; N]; G]; 4], &[[[u32; N]; G]; 16]),
) {
    run::<G, N, B, 4, false, _>(messages, out, (md5::INITIAL, md5::to_bytes), compress);
}

/// Computes the SHA-256 of padded messages, at most as many as there are lanes.
#[inline(always)]
pub(crate) fn sha256_run<const G: usize, const N: usize, const B: usize>(
    messages: &[Message<B>],
    out: &mut [[u8; 32]],
    compress: impl Fn(&mut [[[u32; N]; G]; 8], &[[[u32; N]; G]; 16]),
) {
    run::<G, N, B, 8, true, _>(messages, out, (sha::INITIAL, sha::to_bytes), compress);
}

/// Computes hashes of `W` words for padded messages, at most as many as there are lanes. Lanes
/// without a message, and lanes after the end of theirs, compute a hash that is not used.
#[inline(always)]
fn run<const G: usize, const N: usize, const B: usize, const W: usize, const BIG: bool, H>(
    messages: &[Message<B>],
    out: &mut [H],
    (initial, to_bytes): ([u32; W], impl Fn(&[u32; W]) -> H),
    compress: impl Fn(&mut [[[u32; N]; G]; W], &[[[u32; N]; G]; 16]),
) {
    let mut state = initial.map(|part| [[part; N]; G]);
    let mut words = [[[0; N]; G]; 16];
    let most = messages.iter().map(Message::block_count).max().unwrap_or_default();
    for number in 0..most {
        let block = |lane: usize| -> &[u8; 64] {
            let message = messages.get(lane);
            message.and_then(|message| message.blocks.get(number)).unwrap_or(&[0; 64])
        };
        transpose::<G, N, BIG>(block, &mut words);
        compress(&mut state, &words);
        for (lane, (message, out)) in messages.iter().zip(&mut *out).enumerate() {
            if message.block_count() == number + 1 {
                let part = |row: &[[u32; N]; G]| row.as_flattened().get(lane).copied();
                *out = to_bytes(&state.each_ref().map(|row| part(row).unwrap_or_default()));
            }
        }
    }
    words = [[[0; N]; G]; 16];
    optimization_barrier(&words);
}
