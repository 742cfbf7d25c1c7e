//! Prefetching of cache lines.
#![allow(unsafe_code)]

/// Prefetches the cache lines of a value. Does nothing on architectures without a stable
/// instruction.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        let start = std::ptr::from_ref(value).cast::<i8>();
        for line in (0..size_of::<T>()).step_by(64).chain([size_of::<T>().saturating_sub(1)]) {
            // SAFETY: every x86-64 has SSE.
            unsafe { prefetch_line(start.wrapping_add(line)) }
        }
    }
    // other architectures have no stable intrinsic
    let _ = value;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse")]
#[inline]
fn prefetch_line(at: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    _mm_prefetch::<_MM_HINT_T0>(at);
}
