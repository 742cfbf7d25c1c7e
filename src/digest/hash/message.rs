//! Messages written in place, padded and hashed without another copy: what a batch of digest
//! verifications is made of.

use zeroize::optimization_barrier;

use super::transpose::transpose;
use super::{Width, md5};

/// A message of at most `B` blocks, its padding included, that MD5 is to be made of.
///
/// It may hold HA1. [`md5_messages`] empties it with zeros.
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

    /// Empties the message with zeros.
    pub fn wipe(&mut self) {
        *self = Self::EMPTY;
        optimization_barrier(self);
    }

    fn block_count(&self) -> usize {
        (self.len + 9).div_ceil(64)
    }

    #[inline(always)]
    fn pad(&mut self) {
        let (len, bits) = (self.len, (self.len as u64).wrapping_mul(8));
        let end = self.block_count() * 64;
        // `push` left room for both
        let bytes = self.blocks.as_flattened_mut();
        if let Some(first) = bytes.get_mut(len) {
            *first = 0x80;
        }
        if let Some(length) = bytes.get_mut(end - 8..end) {
            length.copy_from_slice(&bits.to_le_bytes());
        }
    }
}

/// MD5 of every message, in their order; the messages are empty afterwards. Where there are more
/// than places in `out`, the last ones are left as they are.
pub fn md5_messages<const B: usize>(messages: &mut [Message<B>], out: &mut [[u8; 16]]) {
    md5_messages_with(Width::widest(), messages, out);
}

/// The same by these instructions.
pub fn md5_messages_with<const B: usize>(
    width: Width,
    messages: &mut [Message<B>],
    out: &mut [[u8; 16]],
) {
    let count = messages.len().min(out.len());
    let (Some(mut messages), Some(mut out)) = (messages.get_mut(..count), out.get_mut(..count))
    else {
        return;
    };
    while !messages.is_empty() {
        let lanes = width.md5_lanes(messages.len()).clamp(1, messages.len());
        let (Some((now, later)), Some((hashes, rest))) =
            (messages.split_at_mut_checked(lanes), out.split_at_mut_checked(lanes))
        else {
            return;
        };
        if let ([message], [hash]) = (&mut *now, &mut *hashes) {
            *hash = md5::md5(message.text());
        } else {
            now.iter_mut().for_each(Message::pad);
            width.md5_messages(now, hashes);
        }
        now.iter_mut().for_each(Message::wipe);
        (messages, out) = (later, rest);
    }
}

/// MD5 of as many messages as there are lanes, or fewer. Lanes without a message, or whose message
/// has ended, hash something that nobody asks for.
#[inline(always)]
pub(super) fn run<const G: usize, const N: usize, const B: usize>(
    messages: &[Message<B>],
    out: &mut [[u8; 16]],
    compress: impl Fn(&mut [[[u32; N]; G]; 4], &[[[u32; N]; G]; 16]),
) {
    let mut state = md5::INITIAL.map(|part| [[part; N]; G]);
    let mut words = [[[0; N]; G]; 16];
    let most = messages.iter().map(Message::block_count).max().unwrap_or_default();
    for number in 0..most {
        let block = |lane: usize| -> &[u8; 64] {
            let message = messages.get(lane);
            message.and_then(|message| message.blocks.get(number)).unwrap_or(&[0; 64])
        };
        transpose::<G, N, false>(block, &mut words);
        compress(&mut state, &words);
        for (lane, (message, out)) in messages.iter().zip(&mut *out).enumerate() {
            if message.block_count() == number + 1 {
                let part = |row: &[[u32; N]; G]| row.as_flattened().get(lane).copied();
                *out = md5::to_bytes(&state.each_ref().map(|row| part(row).unwrap_or_default()));
            }
        }
    }
    words = [[[0; N]; G]; 16];
    optimization_barrier(&words);
}
