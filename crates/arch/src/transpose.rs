//! Transposes blocks into lanes: the first words of all blocks side by side, then the second words,
//! and so on.
#![expect(
    clippy::indexing_slicing,
    reason = "arrays of constant lengths under constant indexes and loops over exactly those lengths"
)]

/// Writes the words of all blocks into their lanes. `block` returns the block of a lane; `BIG`
/// selects big-endian order.
#[inline(always)]
pub(crate) fn transpose<'a, const G: usize, const N: usize, const BIG: bool>(
    block: impl Fn(usize) -> &'a [u8; 64],
    words: &mut [[[u32; N]; G]; 16],
) {
    for group in 0..G {
        let at = group * N;
        let mut lane = 0;
        while lane + 4 <= N {
            let take = |next: usize| block(at + lane + next).as_chunks::<16>().0;
            let [a, b, c, d] = [take(0), take(1), take(2), take(3)];
            for part in 0..4 {
                let rows = square([&a[part], &b[part], &c[part], &d[part]]);
                for (row, four) in rows.into_iter().enumerate() {
                    let row = &mut words[part * 4 + row][group];
                    for (next, word) in four.into_iter().enumerate() {
                        row[lane + next] = if BIG { word.swap_bytes() } else { word };
                    }
                }
            }
            lane += 4;
        }
        for lane in lane..N {
            for (row, bytes) in words.iter_mut().zip(block(at + lane).as_chunks::<4>().0) {
                row[group][lane] =
                    if BIG { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
            }
        }
    }
}

/// Transposes four words of four lanes. The compiler alone would move single words.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn square_sse2(lanes: [&[u8; 16]; 4]) -> [[u32; 4]; 4] {
    use std::arch::x86_64::{
        __m128i, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_unpackhi_epi32, _mm_unpackhi_epi64,
        _mm_unpacklo_epi32, _mm_unpacklo_epi64,
    };

    // each closure compiles to one load or store
    let load = |bytes: &[u8; 16]| {
        let halves = bytes.as_chunks::<8>().0;
        _mm_set_epi64x(i64::from_le_bytes(halves[1]), i64::from_le_bytes(halves[0]))
    };
    let store = |row: __m128i| {
        let low = _mm_cvtsi128_si64(row).to_le_bytes();
        let high = _mm_cvtsi128_si64(_mm_unpackhi_epi64(row, row)).to_le_bytes();
        let ([a, b], [c, d]) = (halves(low), halves(high));
        [a, b, c, d]
    };
    let [a, b, c, d] = lanes.map(load);
    let (low, low_too) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
    let (high, high_too) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
    [
        store(_mm_unpacklo_epi64(low, low_too)),
        store(_mm_unpackhi_epi64(low, low_too)),
        store(_mm_unpacklo_epi64(high, high_too)),
        store(_mm_unpackhi_epi64(high, high_too)),
    ]
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn halves(bytes: [u8; 8]) -> [u32; 2] {
    let words = bytes.as_chunks::<4>().0;
    [u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1])]
}

/// Transposes four words of four lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code)]
fn square(lanes: [&[u8; 16]; 4]) -> [[u32; 4]; 4] {
    // SAFETY: every x86-64 has SSE2.
    unsafe { square_sse2(lanes) }
}

/// Transposes four words of four lanes.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn square(lanes: [&[u8; 16]; 4]) -> [[u32; 4]; 4] {
    let lanes = lanes.map(|lane| lane.as_chunks::<4>().0);
    [0, 1, 2, 3].map(|word| lanes.map(|lane| u32::from_le_bytes(lane[word])))
}
