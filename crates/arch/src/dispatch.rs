//! Which instructions the lanes use, chosen at run time, and the only unsafe code of the library:
//! calls of functions that were compiled for instructions this processor was seen to have.
//!
//! The lanes are written once, portably. Here they are compiled for each set of instructions, in
//! the numbers of lanes that suit it: as many groups of a vector each as the processor can work at
//! beside one another without the compiler moving too much in and out of registers.
#![allow(unsafe_code)]

#[cfg(feature = "hold-width")]
use std::sync::atomic::{AtomicU8, Ordering};

use crate::message::{self, Message};
use crate::{md5, sha};

/// A set of instructions that this machine has. There is no other way to one than
/// [`Width::available`], which asks the processor; that is what makes the calls below sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Instructions {
    /// One message after the other.
    Scalar,
    /// Vectors of 128 bits that every processor of the architecture has: SSE2 or NEON.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Base,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Width {
    /// Every width that this machine has, narrowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [
            Some(Instructions::Scalar),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Some(Instructions::Base),
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx2").then_some(Instructions::Avx2),
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx512f").then_some(Instructions::Avx512),
        ]
        .into_iter()
        .flatten()
        .map(Self)
    }

    /// The widest. The standard library asks the processor once and remembers the answer; from then on
    /// this reads one word. With the feature `hold-width`, not wider than [`hold_width`] allows.
    #[must_use]
    pub fn widest() -> Self {
        let widths = Self::available();
        #[cfg(feature = "hold-width")]
        let widths = widths.filter(|width| width.0 as u8 <= HELD.load(Ordering::Relaxed));
        widths.last().unwrap_or(Self(Instructions::Scalar))
    }

    /// The best for SHA-256. Eight lanes of AVX2 are no faster than the instructions that a processor
    /// has for SHA-256; the sha2 crate uses those, one message after the other.
    #[must_use]
    pub fn for_sha256() -> Self {
        let widest = Self::widest();
        #[cfg(target_arch = "x86_64")]
        if widest.0 == Instructions::Avx2 && is_x86_feature_detected!("sha") {
            return Self(Instructions::Scalar);
        }
        widest
    }

    /// What the instructions are called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Instructions::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Instructions::Base => "sse2",
            #[cfg(target_arch = "aarch64")]
            Instructions::Base => "neon",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "avx512f",
        }
    }
}

#[cfg(feature = "hold-width")]
pub use held::{HeldWidth, hold_width};

/// A limit on the choice of instructions, for benches that measure what a machine with fewer would do.
#[cfg(feature = "hold-width")]
mod held {
    use super::{AtomicU8, Ordering, Width};

    /// The limit of [`Width::widest`].
    pub(super) static HELD: AtomicU8 = AtomicU8::new(u8::MAX);

    /// Limits [`Width::widest`] until it is dropped.
    #[must_use]
    #[derive(Debug)]
    pub struct HeldWidth(());

    /// Limits [`Width::widest`] to `width` in the whole process.
    pub fn hold_width(width: Width) -> HeldWidth {
        HELD.store(width.0 as u8, Ordering::Relaxed);
        HeldWidth(())
    }

    impl Drop for HeldWidth {
        fn drop(&mut self) {
            HELD.store(u8::MAX, Ordering::Relaxed);
        }
    }
}
#[cfg(feature = "hold-width")]
use held::HELD;

/// The rounds of a hash function in groups of lanes, compiled for instructions.
macro_rules! kernels {
    ($($name:ident: $words:literal words, $groups:literal of $lanes:literal, $feature:literal, $rounds:expr;)*) => {$(
        #[target_feature(enable = $feature)]
        fn $name(
            state: &mut [[[u32; $lanes]; $groups]; $words],
            words: &[[[u32; $lanes]; $groups]; 16],
            k: &[u32; 64],
        ) {
            $rounds(state, words, k);
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
kernels! {
    md5_avx2_2: 4 words, 2 of 8, "avx2", md5::compress_lanes::<2, 8, false>;
    md5_avx2_3: 4 words, 3 of 8, "avx2", md5::compress_lanes::<3, 8, false>;
    md5_avx512_1: 4 words, 1 of 16, "avx512f", md5::compress_lanes::<1, 16, false>;
    md5_avx512_2: 4 words, 2 of 16, "avx512f", md5::compress_lanes::<2, 16, false>;
    md5_avx512_4: 4 words, 4 of 16, "avx512f", md5::compress_lanes::<4, 16, false>;
    sha256_avx2_1: 8 words, 1 of 8, "avx2", sha::compress_lanes::<1, 8>;
    sha256_avx512_1: 8 words, 1 of 16, "avx512f", sha::compress_lanes::<1, 16>;
    sha256_avx512_2: 8 words, 2 of 16, "avx512f", sha::compress_lanes::<2, 16>;
}

/// Three vectors of the kind that needs no asking.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(never)]
fn md5_base_3(state: &mut [[[u32; 4]; 3]; 4], words: &[[[u32; 4]; 3]; 16], k: &[u32; 64]) {
    md5::compress_lanes::<3, 4, false>(state, words, k);
}

impl Width {
    /// How many of `waiting` messages to hash at once.
    pub(crate) fn md5_lanes(self, waiting: usize) -> usize {
        match (self.0, waiting) {
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 4..) => 64,
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, 5..) => 24,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            (Instructions::Base, 6..) => 12,
            _ => 2,
        }
    }

    /// Hashes at most as many padded messages as [`Self::md5_lanes`] says.
    pub(crate) fn md5_messages<const B: usize>(
        self,
        messages: &[Message<B>],
        out: &mut [[u8; 16]],
    ) {
        let k = md5::constants();
        match (self.0, messages.len()) {
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 33..) => message::md5_run::<4, 16, B>(messages, out, |s, w| {
                // SAFETY: there is no `Width` of AVX-512F on a machine without.
                unsafe { md5_avx512_4(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 17..) => message::md5_run::<2, 16, B>(messages, out, |s, w| {
                // SAFETY: there is no `Width` of AVX-512F on a machine without.
                unsafe { md5_avx512_2(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 3..) => message::md5_run::<1, 16, B>(messages, out, |s, w| {
                // SAFETY: there is no `Width` of AVX-512F on a machine without.
                unsafe { md5_avx512_1(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, 17..) => message::md5_run::<3, 8, B>(messages, out, |s, w| {
                // SAFETY: there is no `Width` of AVX2 on a machine without.
                unsafe { md5_avx2_3(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, 3..) => message::md5_run::<2, 8, B>(messages, out, |s, w| {
                // SAFETY: there is no `Width` of AVX2 on a machine without.
                unsafe { md5_avx2_2(s, w, k) }
            }),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            (Instructions::Base, 3..) => {
                message::md5_run::<3, 4, B>(messages, out, |s, w| md5_base_3(s, w, k));
            }
            _ => message::md5_run::<2, 1, B>(messages, out, |s, w| md5::compress_two(s, w, k)),
        }
    }

    /// How many messages to hash at once.
    pub(crate) fn sha256_lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => 8,
            _ => 32,
        }
    }

    /// Hashes at most as many padded messages as [`Self::sha256_lanes`] says.
    pub(crate) fn sha256_messages<const B: usize>(
        self,
        messages: &[Message<B>],
        out: &mut [[u8; 32]],
    ) {
        let k = sha::constants();
        match (self.0, messages.len()) {
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 17..) => {
                message::sha256_run::<2, 16, B>(messages, out, |s, w| {
                    // SAFETY: there is no `Width` of AVX-512F on a machine without.
                    unsafe { sha256_avx512_2(s, w, k) }
                });
            }
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 8..) => {
                message::sha256_run::<1, 16, B>(messages, out, |s, w| {
                    // SAFETY: there is no `Width` of AVX-512F on a machine without.
                    unsafe { sha256_avx512_1(s, w, k) }
                });
            }
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, 4..) => message::sha256_run::<1, 8, B>(messages, out, |s, w| {
                // SAFETY: there is no `Width` of AVX2 on a machine without.
                unsafe { sha256_avx2_1(s, w, k) }
            }),
            _ => {
                for (message, out) in messages.iter().zip(out) {
                    *out = message::sha256_padded(message);
                }
            }
        }
    }
}
