//! The unsafe code of sip-authz behind a safe API: hash kernels compiled for the instructions of the
//! processor, and prefetch.
//!
//! Only sip-authz itself should depend on this crate. It makes no semver promise: depend on an exact
//! version.
//!
//! The hash functions are those of digest authentication (RFC 7616 §6.1), over messages that lie whole
//! in memory: one at a time, and many side by side. They do not allocate and do not panic. Their time
//! depends on lengths alone; only public values may choose a length. Each module says which parts of
//! a secret it leaves on the stack.
//!
//! Unsafe code is in `dispatch` (calls of kernels compiled for instructions that the processor was seen
//! to have), `transpose` (SSE2) and `prefetch`.

mod batch;
mod dispatch;
mod md5;
mod message;
mod prefetch;
mod sha;
mod transpose;

pub use batch::{md5_messages, md5_messages_with, sha256_messages, sha256_messages_with};
pub use dispatch::Width;
#[cfg(feature = "hold-width")]
pub use dispatch::{HeldWidth, hold_width};
pub use md5::md5;
pub use message::{Begun, Message, sha256_message};
pub use prefetch::prefetch;
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
