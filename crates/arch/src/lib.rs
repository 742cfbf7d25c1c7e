//! The unsafe code of sip-authz behind a safe API: hash kernels for the instructions of the
//! processor, prefetch, and a guard that recognises a process.
//!
//! Only sip-authz itself should depend on this crate. It makes no semver promise: depend on an
//! exact version.
//!
//! It has the hash functions of digest authentication (RFC 7616 §6.1) for messages that are
//! complete in memory: one at a time, and several in parallel lanes. They do not allocate and do
//! not panic. Their time depends only on lengths, so a secret must not determine a length. Each
//! module documents which parts of a secret remain on the stack.
//!
//! Unsafe code is in `dispatch` (calls of kernels for detected instructions), `transpose` (SSE2),
//! `prefetch`, and `fork/unix` (a page that the kernel empties in a child, and a fork handler).

mod batch;
mod dispatch;
mod fork;
mod md5;
mod message;
mod prefetch;
mod sha;
mod transpose;

pub use batch::{md5_messages, md5_messages_with, sha256_messages, sha256_messages_with};
pub use dispatch::Width;
#[cfg(feature = "hold-width")]
pub use dispatch::{HeldWidth, hold_width};
pub use fork::ForkGuard;
pub use md5::md5;
pub use message::{Message, PartialMd5, sha256_message};
pub use prefetch::prefetch;
pub use sha::{sha256, sha512_256};

/// The padded blocks of a message, 64 bytes each: a one bit, zeros and the length in bits follow
/// the text. Complete blocks are borrowed; the last one or two are built in a buffer.
struct Blocks<'a> {
    rest: &'a [u8],
    bits: [u8; 8],
    next: NextBlock,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NextBlock {
    Text,
    Length,
    End,
}

impl<'a> Blocks<'a> {
    /// Splits `rest`, the end of a message of `total_len` bytes, which must start at a block
    /// boundary. `order` is the byte order of the length.
    #[inline(always)]
    fn new(rest: &'a [u8], total_len: usize, order: fn(u64) -> [u8; 8]) -> Self {
        // no message in memory has 2^61 bytes
        let bits = order((total_len as u64).wrapping_mul(8));
        Self { rest, bits, next: NextBlock::Text }
    }

    #[inline(always)]
    fn next<'b>(&mut self, buffer: &'b mut [u8; 64]) -> Option<&'b [u8; 64]>
    where
        'a: 'b,
    {
        match self.next {
            NextBlock::End => return None,
            NextBlock::Text => {
                if let Some((block, rest)) = self.rest.split_first_chunk() {
                    self.rest = rest;
                    return Some(block);
                }
                *buffer = [0; 64];
                // the rest is shorter than a block
                let (text, padding) = buffer.split_at_mut_checked(self.rest.len())?;
                text.copy_from_slice(self.rest);
                if let Some(first) = padding.first_mut() {
                    *first = 0x80;
                }
                if padding.len() < 9 {
                    self.next = NextBlock::Length;
                    return Some(buffer);
                }
            }
            NextBlock::Length => *buffer = [0; 64],
        }
        self.next = NextBlock::End;
        if let Some(bits) = buffer.last_chunk_mut() {
            *bits = self.bits;
        }
        Some(buffer)
    }
}
