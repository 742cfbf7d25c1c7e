//! The hash functions of digest authentication over messages that lie whole in memory: one at a
//! time, and many side by side.
//!
//! Nothing here allocates or panics, and time depends on lengths alone. Only public values may be
//! chosen by length. See each part for what of a secret is left on the stack.

mod dispatch;
mod md5;
mod message;
mod sha;
mod transpose;

use subtle::ConstantTimeEq;

pub(crate) use dispatch::prefetch;
pub use dispatch::{HeldWidth, Width, hold_width};
pub use md5::md5;
pub(crate) use message::sha256_message;
pub use message::{
    Begun, Message, md5_messages, md5_messages_with, sha256_messages, sha256_messages_with,
};
pub use sha::{sha256, sha512_256};

/// A message cut into blocks of 64 bytes, padded with a one bit, zeros and the length in bits. Whole
/// blocks are borrowed, the last one or two are made in a buffer.
struct Blocks<'a> {
    rest: &'a [u8],
    bits: [u8; 8],
    ahead: Ahead,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ahead {
    Message,
    Length,
    Nothing,
}

impl<'a> Blocks<'a> {
    /// The blocks of `rest`, which ends a message of `total_len` bytes and begins at a block of it, with
    /// the order of bytes that the length is written in.
    #[inline(always)]
    fn new(rest: &'a [u8], total_len: usize, order: fn(u64) -> [u8; 8]) -> Self {
        // no message in memory has 2^61 bytes
        let bits = order((total_len as u64).wrapping_mul(8));
        Self { rest, bits, ahead: Ahead::Message }
    }

    #[inline(always)]
    fn next<'b>(&mut self, buffer: &'b mut [u8; 64]) -> Option<&'b [u8; 64]>
    where
        'a: 'b,
    {
        match self.ahead {
            Ahead::Nothing => return None,
            Ahead::Message => {
                if let Some((block, rest)) = self.rest.split_first_chunk() {
                    self.rest = rest;
                    return Some(block);
                }
                *buffer = [0; 64];
                // what is left is shorter than a block
                let (text, padding) = buffer.split_at_mut_checked(self.rest.len())?;
                text.copy_from_slice(self.rest);
                if let Some(first) = padding.first_mut() {
                    *first = 0x80;
                }
                if padding.len() < 9 {
                    self.ahead = Ahead::Length;
                    return Some(buffer);
                }
            }
            Ahead::Length => *buffer = [0; 64],
        }
        self.ahead = Ahead::Nothing;
        if let Some(bits) = buffer.last_chunk_mut() {
            *bits = self.bits;
        }
        Some(buffer)
    }
}

/// Lower-case hexadecimal of a hash of 16 bytes.
pub fn hex16(hash: &[u8; 16]) -> [u8; 32] {
    let mut text = [0; 32];
    write_hex(hash, &mut text);
    text
}

/// Lower-case hexadecimal of a hash of 32 bytes.
pub fn hex32(hash: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    write_hex(hash, &mut text);
    text
}

/// By arithmetic on both digits of a byte at once, which the compiler turns into vectors; a table
/// would be read at places that the hash tells.
#[inline(always)]
fn write_hex(hash: &[u8], text: &mut [u8]) {
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(hash) {
        let byte = u16::from(*byte);
        let halves = byte >> 4 | (byte & 15) << 8;
        // a one in each byte that is more than nine
        let letters = (halves.wrapping_add(0x0606) >> 4) & 0x0101;
        let up = letters.wrapping_mul(u16::from(b'a' - b'9' - 1));
        *pair = halves.wrapping_add(0x3030).wrapping_add(up).to_le_bytes();
    }
}

/// Whether `sent` is `expected`, which is lower-case hexadecimal, in either case. The time depends
/// on lengths alone. `N` is 32 or 64.
#[inline]
pub fn same_hex<const N: usize>(expected: &[u8; N], sent: &[u8]) -> bool {
    // by eight bytes, as subtle goes through a slice byte by byte
    let ((ours, rest), (theirs, _)) = (expected.as_chunks(), sent.as_chunks());
    let differ = ours.iter().zip(theirs).fold(0, |differ, (ours, theirs)| {
        // letters in lower case; some other bytes change too, but none of them into a digit
        let lower = |word: u64| word | ((word & 0x4040_4040_4040_4040) >> 1);
        differ | (u64::from_ne_bytes(*ours) ^ lower(u64::from_ne_bytes(*theirs)))
    });
    sent.len() == N && rest.is_empty() && differ.ct_eq(&0).into()
}
