//! Selects the instruction set of the lanes at run time. The unsafe code calls kernels that are
//! compiled for instructions that the processor was found to have.
//!
//! The lanes are written once, in portable Rust, and compiled here for each instruction set. The
//! number of vectors per kernel is the highest that the processor executes in parallel without
//! spilling too many registers.
#![allow(unsafe_code)]

#[cfg(feature = "hold-width")]
use std::sync::atomic::{AtomicU8, Ordering};

use crate::message::{self, Message};
use crate::{md5, sha};

/// An instruction set that this machine has. Only [`Width::available`] creates one, after asking
/// the processor, which makes the unsafe calls in this module sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Instructions {
    /// No vectors: one message after the other.
    Scalar,
    /// The 128-bit vectors of every processor of the architecture: SSE2 or NEON.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Base,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Width {
    /// All widths that this machine has, narrowest first.
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

    /// The widest instruction set. The standard library caches the answer of the processor, so this
    /// reads one word. With the feature `hold-width`, not wider than the limit of `hold_width`.
    #[must_use]
    pub fn widest() -> Self {
        let widths = Self::available();
        #[cfg(feature = "hold-width")]
        let widths = widths.filter(|width| width.0 as u8 <= HELD.load(Ordering::Relaxed));
        widths.last().unwrap_or(Self(Instructions::Scalar))
    }

    /// The fastest instruction set for SHA-256. Eight lanes of AVX2 are no faster than the SHA
    /// instructions of a processor, which the sha2 crate uses for one message after the other.
    #[must_use]
    pub fn for_sha256() -> Self {
        let widest = Self::widest();
        #[cfg(target_arch = "x86_64")]
        if widest.0 == Instructions::Avx2 && is_x86_feature_detected!("sha") {
            return Self(Instructions::Scalar);
        }
        widest
    }

    /// The name of the instruction set.
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

/// A limit on the instruction set, for benches that simulate a machine with fewer instructions.
#[cfg(feature = "hold-width")]
mod held {
    use super::{AtomicU8, Ordering, Width};

    /// The current limit of [`Width::widest`].
    pub(super) static HELD: AtomicU8 = AtomicU8::new(u8::MAX);

    /// Ends the limit of [`hold_width`] when it is dropped.
    #[must_use]
    #[derive(Debug)]
    pub struct HeldWidth(());

    /// Limits [`Width::widest`] to `width` in the whole process, until the result is dropped.
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

/// Declares kernels: the rounds of a hash function over groups of lanes, for one instruction set
/// each.
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

/// Three vectors of the base instruction set, which needs no detection.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(never)]
fn md5_base_3(state: &mut [[[u32; 4]; 3]; 4], words: &[[[u32; 4]; 3]; 16], k: &[u32; 64]) {
    md5::compress_lanes::<3, 4, false>(state, words, k);
}

impl Width {
    /// The number of messages to hash at once if `waiting` are left.
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

    /// Hashes padded messages, at most [`Self::md5_lanes`] of them.
    pub(crate) fn md5_messages<const B: usize>(
        self,
        messages: &[Message<B>],
        out: &mut [[u8; 16]],
    ) {
        let k = md5::constants();
        match (self.0, messages.len()) {
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 33..) => message::md5_run::<4, 16, B>(messages, out, |s, w| {
                // SAFETY: a `Width` of AVX-512F exists only on machines that have it.
                unsafe { md5_avx512_4(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 17..) => message::md5_run::<2, 16, B>(messages, out, |s, w| {
                // SAFETY: a `Width` of AVX-512F exists only on machines that have it.
                unsafe { md5_avx512_2(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 3..) => message::md5_run::<1, 16, B>(messages, out, |s, w| {
                // SAFETY: a `Width` of AVX-512F exists only on machines that have it.
                unsafe { md5_avx512_1(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, 17..) => message::md5_run::<3, 8, B>(messages, out, |s, w| {
                // SAFETY: a `Width` of AVX2 exists only on machines that have it.
                unsafe { md5_avx2_3(s, w, k) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, 3..) => message::md5_run::<2, 8, B>(messages, out, |s, w| {
                // SAFETY: a `Width` of AVX2 exists only on machines that have it.
                unsafe { md5_avx2_2(s, w, k) }
            }),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            (Instructions::Base, 3..) => {
                message::md5_run::<3, 4, B>(messages, out, |s, w| md5_base_3(s, w, k));
            }
            _ => message::md5_run::<2, 1, B>(messages, out, |s, w| md5::compress_two(s, w, k)),
        }
    }

    /// The number of messages to hash at once.
    pub(crate) fn sha256_lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => 8,
            _ => 32,
        }
    }

    /// Hashes padded messages, at most [`Self::sha256_lanes`] of them.
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
                    // SAFETY: a `Width` of AVX-512F exists only on machines that have it.
                    unsafe { sha256_avx512_2(s, w, k) }
                });
            }
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx512, 8..) => {
                message::sha256_run::<1, 16, B>(messages, out, |s, w| {
                    // SAFETY: a `Width` of AVX-512F exists only on machines that have it.
                    unsafe { sha256_avx512_1(s, w, k) }
                });
            }
            #[cfg(target_arch = "x86_64")]
            (Instructions::Avx2, 4..) => message::sha256_run::<1, 8, B>(messages, out, |s, w| {
                // SAFETY: a `Width` of AVX2 exists only on machines that have it.
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
