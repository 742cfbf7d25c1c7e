//! MD5 (RFC 1321) of contiguous messages: one at a time, two interleaved, and the rounds for any
//! number of lanes.
//!
//! The hashers of general crates copy into a buffer, count and wipe. A verification has the
//! complete message in memory and needs none of that. The words and states of the last message
//! remain on the stack. The caller wipes the buffer with the secret itself.
#![expect(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "arrays of constant lengths under constant indexes and loops over exactly those lengths"
)]

use std::hint::black_box;

use crate::Blocks;

/// The initial state.
pub(crate) const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The additive constants of the 64 steps (RFC 1321 §3.4).
static CONSTANTS: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// The additive constants, hidden from the optimizer. It would add known constants last, on the
/// critical path of each step; it adds unknown ones to the word while that path is busy.
#[inline(always)]
pub(crate) fn constants() -> &'static [u32; 64] {
    black_box(&CONSTANTS)
}

/// `x` plus the function of round `R`. In the second round, `HALVES` adds the function in two
/// parts, one of which does not wait for the previous step. This is faster for a single chain, but
/// costs one more instruction with many chains.
#[inline(always)]
fn mix<const R: usize, const HALVES: bool>(x: u32, b: u32, c: u32, d: u32) -> u32 {
    match R {
        0 => x.wrapping_add(d ^ (b & (c ^ d))),
        1 if HALVES => x.wrapping_add(c & !d).wrapping_add(b & d),
        1 => x.wrapping_add(c ^ (d & (b ^ c))),
        2 => x.wrapping_add(b ^ (c ^ d)),
        _ => x.wrapping_add(c ^ (b | !d)),
    }
}

/// Words in lanes: `G` groups with `N` lanes each.
type Lanes<const G: usize, const N: usize> = [[u32; N]; G];

/// One step in each of `G` chains. `at` holds the positions of a, b, c and d.
#[inline(always)]
fn step<const G: usize, const N: usize, const R: usize, const S: u32, const HALVES: bool>(
    chains: &mut [[u32; 4]; G],
    [a, b, c, d]: [usize; 4],
    words: &Lanes<G, N>,
    lane: usize,
    constant: u32,
) {
    for group in 0..G {
        let [v, word] = [chains[group][a], words[group][lane]];
        let x = v.wrapping_add(word.wrapping_add(constant));
        let (vb, vc, vd) = (chains[group][b], chains[group][c], chains[group][d]);
        chains[group][a] = vb.wrapping_add(mix::<R, HALVES>(x, vb, vc, vd).rotate_left(S));
    }
}

/// The sixteen steps of round `$r`: the shifts, and the factor and offset that select each word.
macro_rules! round {
    ($r:literal, $shifts:tt, $factor:literal, $offset:literal, $chains:ident, $words:ident, $lane:ident, $k:ident) => {
        round!(@four $r, $shifts, $factor, $offset, $chains, $words, $lane, $k, 0);
        round!(@four $r, $shifts, $factor, $offset, $chains, $words, $lane, $k, 4);
        round!(@four $r, $shifts, $factor, $offset, $chains, $words, $lane, $k, 8);
        round!(@four $r, $shifts, $factor, $offset, $chains, $words, $lane, $k, 12);
    };
    (@four $r:literal, [$s0:literal, $s1:literal, $s2:literal, $s3:literal], $factor:literal, $offset:literal,
     $chains:ident, $words:ident, $lane:ident, $k:ident, $i:literal) => {
        round!(@one $r, $s0, $factor, $offset, $chains, [0, 1, 2, 3], $words, $lane, $k, $i);
        round!(@one $r, $s1, $factor, $offset, $chains, [3, 0, 1, 2], $words, $lane, $k, ($i + 1));
        round!(@one $r, $s2, $factor, $offset, $chains, [2, 3, 0, 1], $words, $lane, $k, ($i + 2));
        round!(@one $r, $s3, $factor, $offset, $chains, [1, 2, 3, 0], $words, $lane, $k, ($i + 3));
    };
    (@one $r:literal, $shift:literal, $factor:literal, $offset:literal,
     $chains:ident, $at:tt, $words:ident, $lane:ident, $k:ident, $i:tt) => {
        step::<G, N, $r, $shift, HALVES>(
            $chains, $at, &$words[($factor * $i + $offset) % 16], $lane, $k[16 * $r + $i],
        );
    };
}

/// All 64 steps of lane `lane` in each of `G` groups. Each step runs in all groups before the next
/// step, so that one chain works while another waits.
#[inline(always)]
fn rounds<const G: usize, const N: usize, const HALVES: bool>(
    chains: &mut [[u32; 4]; G],
    words: &[Lanes<G, N>; 16],
    lane: usize,
    k: &[u32; 64],
) {
    round!(0, [7, 12, 17, 22], 1, 0, chains, words, lane, k);
    round!(1, [5, 9, 14, 20], 5, 1, chains, words, lane, k);
    round!(2, [4, 11, 16, 23], 3, 5, chains, words, lane, k);
    round!(3, [6, 10, 15, 21], 7, 0, chains, words, lane, k);
}

/// Hashes one block in each lane. The code is portable: the compiler turns the loop over the lanes
/// of a group into vectors of the enabled instructions. The constants are an argument, so the
/// compiler knows that they do not change.
#[inline(always)]
pub(crate) fn compress_lanes<const G: usize, const N: usize, const HALVES: bool>(
    state: &mut [Lanes<G, N>; 4],
    words: &[Lanes<G, N>; 16],
    k: &[u32; 64],
) {
    for lane in 0..N {
        let mut chains = [[0; 4]; G];
        for group in 0..G {
            for part in 0..4 {
                chains[group][part] = state[part][group][lane];
            }
        }
        rounds::<G, N, HALVES>(&mut chains, words, lane, k);
        for group in 0..G {
            for part in 0..4 {
                let sum = state[part][group][lane].wrapping_add(chains[group][part]);
                state[part][group][lane] = sum;
            }
        }
    }
}

#[inline(always)]
fn words(block: &[u8; 64]) -> [u32; 16] {
    let (chunks, _) = block.as_chunks::<4>();
    let mut words = [0; 16];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_le_bytes(*chunk);
    }
    words
}

#[inline(never)]
fn compress(state: &mut [u32; 4], block: &[u8; 64], k: &[u32; 64]) {
    let words = words(block).map(|word| [[word]]);
    let mut chains = [*state];
    rounds::<1, 1, true>(&mut chains, &words, 0, k);
    for (part, add) in state.iter_mut().zip(chains[0]) {
        *part = part.wrapping_add(add);
    }
}

/// Hashes one block into each of two states, interleaved in scalar registers.
#[inline(never)]
pub(crate) fn compress_two(state: &mut [Lanes<2, 1>; 4], words: &[Lanes<2, 1>; 16], k: &[u32; 64]) {
    compress_lanes::<2, 1, true>(state, words, k);
}

/// The state of a hash after a number of complete blocks.
#[derive(Clone)]
pub(crate) struct Md5State([u32; 4]);

impl Default for Md5State {
    fn default() -> Self {
        Self::new()
    }
}

impl Md5State {
    /// The state before the first block.
    pub(crate) const fn new() -> Self {
        Self(INITIAL)
    }

    /// Adds a block.
    pub(crate) fn compress(&mut self, block: &[u8; 64]) {
        compress(&mut self.0, block, constants());
    }

    /// Adds a block to each of two hashes, interleaved: it takes little longer than one block.
    pub(crate) fn compress_both(&mut self, block: &[u8; 64], other: &mut Self, others: &[u8; 64]) {
        let (a, b) = (&mut self.0, &mut other.0);
        let [first, second] = [block, others].map(words);
        let mut both = [[[0]; 2]; 16];
        for (both, (first, second)) in both.iter_mut().zip(first.into_iter().zip(second)) {
            *both = [[first], [second]];
        }
        let mut state = [0, 1, 2, 3].map(|part| [[a[part]], [b[part]]]);
        compress_two(&mut state, &both, constants());
        *a = state.map(|[[part], _]| part);
        *b = state.map(|[_, [part]]| part);
    }

    /// The hash, after the padding was added.
    pub(crate) fn bytes(&self) -> [u8; 16] {
        to_bytes(&self.0)
    }
}

/// Converts the final state to the hash.
#[inline]
pub(crate) fn to_bytes(state: &[u32; 4]) -> [u8; 16] {
    let mut hash = [0; 16];
    let (chunks, _) = hash.as_chunks_mut::<4>();
    for (chunk, part) in chunks.iter_mut().zip(state) {
        *chunk = part.to_le_bytes();
    }
    hash
}

/// Computes the MD5 of one message.
pub fn md5(message: &[u8]) -> [u8; 16] {
    let mut state = Md5State::new();
    let mut blocks = Blocks::new(message, message.len(), u64::to_le_bytes);
    let mut buffer = [0; 64];
    while let Some(block) = blocks.next(&mut buffer) {
        state.compress(block);
    }
    state.bytes()
}
