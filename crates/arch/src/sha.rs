//! SHA-256 and SHA-512/256 (FIPS 180-4) of contiguous messages, and the SHA-256 rounds for any
//! number of lanes. Single messages use the sha2 crate, which has the SHA instructions of the
//! processor.
//!
//! As with MD5, the words and states of the last message remain on the stack.
#![expect(
    clippy::indexing_slicing,
    reason = "arrays of constant lengths under constant indexes and loops over exactly those lengths"
)]

use std::hint::black_box;

use sha2::block_api::{compress256, compress512};

use crate::Blocks;

/// The initial state of SHA-256.
pub(crate) const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The initial state of SHA-512/256 (FIPS 180-4 §5.3.6.2).
const INITIAL_512_256: [u64; 8] = [
    0x2231_2194_fc2b_f72c,
    0x9f55_5fa3_c84c_64c2,
    0x2393_b86b_6f53_b151,
    0x9638_7719_5940_eabd,
    0x9628_3ee2_a88e_ffe3,
    0xbe5e_1e25_5386_3992,
    0x2b01_99fc_2c85_b8aa,
    0x0eb7_2ddc_81c5_2ca2,
];

/// The constants of the 64 rounds (FIPS 180-4 §4.2.2).
static CONSTANTS: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// The constants, hidden from the optimizer as in `md5::constants`.
#[inline(always)]
pub(crate) fn constants() -> &'static [u32; 64] {
    black_box(&CONSTANTS)
}

/// Computes the SHA-256 of padded blocks.
pub(crate) fn of_blocks(blocks: &[[u8; 64]]) -> [u8; 32] {
    let mut state = INITIAL;
    compress256(&mut state, blocks);
    to_bytes(&state)
}

/// Computes the SHA-256 of one message.
pub fn sha256(message: &[u8]) -> [u8; 32] {
    let mut state = INITIAL;
    let (whole, rest) = message.as_chunks::<64>();
    compress256(&mut state, whole);
    let mut blocks = Blocks::new(rest, message.len(), u64::to_be_bytes);
    let mut buffer = [0; 64];
    while let Some(block) = blocks.next(&mut buffer) {
        compress256(&mut state, std::slice::from_ref(block));
    }
    to_bytes(&state)
}

/// Converts the final state to the hash.
#[inline]
pub(crate) fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let (chunks, _) = hash.as_chunks_mut::<4>();
    for (chunk, part) in chunks.iter_mut().zip(state) {
        *chunk = part.to_be_bytes();
    }
    hash
}

/// Computes the SHA-512/256 of one message.
pub fn sha512_256(message: &[u8]) -> [u8; 32] {
    let mut state = INITIAL_512_256;
    let (whole, rest) = message.as_chunks::<128>();
    compress512(&mut state, whole);
    let mut last = [[0; 128]; 2];
    let needed = if rest.len() < 112 { 1 } else { 2 };
    let bytes = last.as_flattened_mut();
    if let Some((text, padding)) = bytes.split_at_mut_checked(rest.len()) {
        text.copy_from_slice(rest);
        if let Some(first) = padding.first_mut() {
            *first = 0x80;
        }
    }
    // no message in memory has 2^61 bytes
    let bits = (message.len() as u64).wrapping_mul(8).to_be_bytes();
    if let Some(end) = bytes.get_mut(needed * 128 - 8..needed * 128) {
        end.copy_from_slice(&bits);
    }
    compress512(&mut state, last.get(..needed).unwrap_or_default());
    let mut hash = [0; 32];
    let (chunks, _) = hash.as_chunks_mut::<8>();
    for (chunk, part) in chunks.iter_mut().zip(state) {
        *chunk = part.to_be_bytes();
    }
    hash
}

/// One round in each of `G` chains, including the message schedule. `at` holds the positions of a
/// to h, `word` the position of the round's word among the last sixteen.
#[inline(always)]
fn step<const G: usize, const EXPAND: bool>(
    chains: &mut [[u32; 8]; G],
    words: &mut [[u32; 16]; G],
    at: [usize; 8],
    word: usize,
    constant: u32,
) {
    let [a, b, c, d, e, f, g, h] = at;
    for (v, w) in chains.iter_mut().zip(words) {
        if EXPAND {
            let (x, y) = (w[(word + 1) % 16], w[(word + 14) % 16]);
            let x = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let y = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            let before = w[word].wrapping_add(w[(word + 9) % 16]);
            w[word] = before.wrapping_add(x).wrapping_add(y);
        }
        let choice = v[g] ^ (v[e] & (v[f] ^ v[g]));
        let majority = (v[a] & v[b]) | (v[c] & (v[a] | v[b]));
        let from_e = v[e].rotate_right(6) ^ v[e].rotate_right(11) ^ v[e].rotate_right(25);
        let from_a = v[a].rotate_right(2) ^ v[a].rotate_right(13) ^ v[a].rotate_right(22);
        let x = v[h].wrapping_add(w[word].wrapping_add(constant));
        let x = x.wrapping_add(choice).wrapping_add(from_e);
        v[d] = v[d].wrapping_add(x);
        v[h] = x.wrapping_add(majority).wrapping_add(from_a);
    }
}

macro_rules! sixteen {
    ($expand:literal, $base:literal, $chains:ident, $words:ident, $k:ident) => {
        sixteen!(@eight $expand, $base, $chains, $words, $k, 0, 8)
    };
    (@eight $expand:literal, $base:literal, $chains:ident, $words:ident, $k:ident, $($i:literal),*) => {$(
        step::<G, $expand>($chains, $words, [0, 1, 2, 3, 4, 5, 6, 7], $i, $k[$base + $i]);
        step::<G, $expand>($chains, $words, [7, 0, 1, 2, 3, 4, 5, 6], $i + 1, $k[$base + $i + 1]);
        step::<G, $expand>($chains, $words, [6, 7, 0, 1, 2, 3, 4, 5], $i + 2, $k[$base + $i + 2]);
        step::<G, $expand>($chains, $words, [5, 6, 7, 0, 1, 2, 3, 4], $i + 3, $k[$base + $i + 3]);
        step::<G, $expand>($chains, $words, [4, 5, 6, 7, 0, 1, 2, 3], $i + 4, $k[$base + $i + 4]);
        step::<G, $expand>($chains, $words, [3, 4, 5, 6, 7, 0, 1, 2], $i + 5, $k[$base + $i + 5]);
        step::<G, $expand>($chains, $words, [2, 3, 4, 5, 6, 7, 0, 1], $i + 6, $k[$base + $i + 6]);
        step::<G, $expand>($chains, $words, [1, 2, 3, 4, 5, 6, 7, 0], $i + 7, $k[$base + $i + 7]);
    )*};
}

#[inline(always)]
fn rounds<const G: usize>(chains: &mut [[u32; 8]; G], words: &mut [[u32; 16]; G], k: &[u32; 64]) {
    sixteen!(false, 0, chains, words, k);
    sixteen!(true, 16, chains, words, k);
    sixteen!(true, 32, chains, words, k);
    sixteen!(true, 48, chains, words, k);
}

/// Hashes one block in each lane of each group, see `md5::compress_lanes`.
#[inline(always)]
pub(crate) fn compress_lanes<const G: usize, const N: usize>(
    state: &mut [[[u32; N]; G]; 8],
    words: &[[[u32; N]; G]; 16],
    k: &[u32; 64],
) {
    for lane in 0..N {
        let (mut chains, mut schedule) = ([[0; 8]; G], [[0; 16]; G]);
        for group in 0..G {
            for part in 0..8 {
                chains[group][part] = state[part][group][lane];
            }
            for word in 0..16 {
                schedule[group][word] = words[word][group][lane];
            }
        }
        rounds::<G>(&mut chains, &mut schedule, k);
        for group in 0..G {
            for part in 0..8 {
                let sum = state[part][group][lane].wrapping_add(chains[group][part]);
                state[part][group][lane] = sum;
            }
        }
    }
}
