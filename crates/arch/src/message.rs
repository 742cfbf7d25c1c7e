//! Messages written in place, padded and hashed without another copy: what digest verifications are
//! made of.

use zeroize::optimization_barrier;

use crate::md5::{self, Md5State};
use crate::sha;
use crate::transpose::transpose;

/// A message of at most `B` blocks, its padding included, that a hash is to be made of.
///
/// It may hold HA1. What hashes many of them empties them with zeros; one is left to the caller.
#[derive(Clone)]
#[repr(align(64))]
pub struct Message<const B: usize> {
    /// Zeros behind the text.
    blocks: [[u8; 64]; B],
    len: usize,
}

impl<const B: usize> Message<B> {
    /// No text.
    pub const EMPTY: Self = Self { blocks: [[0; 64]; B], len: 0 };

    /// Writes `text` at the end, and tells whether it fits; if not, the message is as it was.
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

    /// How many bytes still fit.
    #[must_use]
    pub fn spare(&self) -> usize {
        (B * 64).saturating_sub(self.len + 9)
    }

    /// What was written.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.blocks.as_flattened().get(..self.len).unwrap_or_default()
    }

    /// The first block, once it is full.
    fn full_block(&self) -> Option<&[u8; 64]> {
        self.blocks.first().filter(|_| self.len >= 64)
    }

    /// Empties the message with zeros.
    pub fn wipe(&mut self) {
        *self = Self::EMPTY;
        optimization_barrier(self);
    }

    fn block_count(&self) -> usize {
        (self.len + 9).div_ceil(64)
    }

    /// Pads for MD5. Nothing can be written afterwards.
    #[inline(always)]
    pub(crate) fn pad(&mut self) {
        self.padded(u64::to_le_bytes);
    }

    /// The blocks with their padding, the length in bits written in the order of bytes of the hash
    /// function. Nothing can be written afterwards.
    #[inline(always)]
    pub(crate) fn padded(&mut self, order: fn(u64) -> [u8; 8]) -> &[[u8; 64]] {
        let (len, count) = (self.len, self.block_count());
        // `push` left room for both
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

/// MD5 of a message under way.
#[derive(Clone, Default)]
pub struct Begun {
    state: Md5State,
    /// How many blocks it has taken.
    taken: usize,
}

impl Begun {
    /// MD5 of `message`, and beside it, in the same time, MD5 of `other` begun with its first block, if
    /// that is full. So H(A2) is made together with the part of the response that does not wait for
    /// it: `HA1:nonce:nc:` fills a block where the nonce has 22 characters.
    #[inline(always)]
    pub fn beside<const B: usize>(
        message: &mut Message<B>,
        other: &Message<B>,
    ) -> ([u8; 16], Self) {
        let (mut hash, mut begun) = (Md5State::new(), Self::default());
        let mut blocks = message.padded(u64::to_le_bytes);
        if let (Some((first, rest)), Some(beside)) = (blocks.split_first(), other.full_block()) {
            hash.compress_both(first, &mut begun.state, beside);
            (blocks, begun.taken) = (rest, 1);
        }
        blocks.iter().for_each(|block| hash.compress(block));
        (hash.bytes(), begun)
    }

    /// MD5 of the whole message.
    #[inline(always)]
    pub fn finish<const B: usize>(mut self, message: &mut Message<B>) -> [u8; 16] {
        let blocks = message.padded(u64::to_le_bytes);
        blocks.iter().skip(self.taken).for_each(|block| self.state.compress(block));
        self.state.bytes()
    }
}

/// SHA-256 of a message.
pub fn sha256_message<const B: usize>(message: &mut Message<B>) -> [u8; 32] {
    sha::of_blocks(message.padded(u64::to_be_bytes))
}

/// SHA-256 of a message that was padded.
pub(crate) fn sha256_padded<const B: usize>(message: &Message<B>) -> [u8; 32] {
    sha::of_blocks(message.blocks.get(..message.block_count()).unwrap_or_default())
}

/// MD5 of as many padded messages as there are lanes, or fewer.
#[inline(always)]
pub(crate) fn md5_run<const G: usize, const N: usize, const B: usize>(
    messages: &[Message<B>],
    out: &mut [[u8; 16]],
    compress: impl Fn(&mut [[[u32; N]; G]; 4], &[[[u32; N]; G]; 16]),
) {
    run::<G, N, B, 4, false, _>(messages, out, (md5::INITIAL, md5::to_bytes), compress);
}

/// SHA-256 of as many padded messages as there are lanes, or fewer.
#[inline(always)]
pub(crate) fn sha256_run<const G: usize, const N: usize, const B: usize>(
    messages: &[Message<B>],
    out: &mut [[u8; 32]],
    compress: impl Fn(&mut [[[u32; N]; G]; 8], &[[[u32; N]; G]; 16]),
) {
    run::<G, N, B, 8, true, _>(messages, out, (sha::INITIAL, sha::to_bytes), compress);
}

/// Hashes of `W` words, of as many padded messages as there are lanes, or fewer. Lanes without a
/// message, or whose message has ended, hash something that nobody asks for.
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
