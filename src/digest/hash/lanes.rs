//! Independent messages hashed side by side, a lane each. A lane whose message has ended takes the
//! next one; once none is left and few lanes still work, the rest goes on in fewer lanes.
//!
//! Messages may hold HA1. Their words lie here once more, transposed, and that copy is wiped once a
//! call, as are the blocks it is made from. States, and what the compiler puts from registers on the
//! stack, are not: they are of blocks that were hashed already, and the next call writes over them.

use arrayvec::ArrayVec;
use zeroize::optimization_barrier;

use super::transpose::transpose;
use super::{Blocks, Sha256Midstate, Width, md5, sha};

/// The most lanes there are of anything.
pub(super) const MAX_LANES: usize = 64;

/// A message in work: its place among all, the state before what is left of it, and that.
pub(super) struct Job<'a, const S: usize> {
    place: usize,
    state: [u32; S],
    blocks: Blocks<'a>,
}

/// What waits to be hashed: messages that nobody began, and before them those put back.
pub(super) struct Queue<'a, const S: usize, I> {
    fresh: I,
    put_back: ArrayVec<Job<'a, S>, MAX_LANES>,
}

impl<'a, const S: usize, I: ExactSizeIterator<Item = Job<'a, S>>> Queue<'a, S, I> {
    fn new(fresh: I) -> Self {
        Self { fresh, put_back: ArrayVec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.put_back.len()
    }

    fn next(&mut self) -> Option<Job<'a, S>> {
        self.put_back.pop().or_else(|| self.fresh.next())
    }

    /// Hashes one message to its end.
    pub(super) fn run_one(
        &mut self,
        compress: impl Fn(&mut [u32; S], &[u8; 64]),
        mut done: impl FnMut(usize, &[u32; S]),
    ) {
        let Some(Job { place, mut state, mut blocks }) = self.next() else { return };
        let mut buffer = [0; 64];
        while let Some(block) = blocks.next(&mut buffer) {
            compress(&mut state, block);
        }
        done(place, &state);
        buffer = [0; 64];
        optimization_barrier(&buffer);
    }

    /// Hashes in `G` groups of `N` lanes until nothing waits and no more than `few` lanes work; what those have is
    /// put back. `BIG` tells that words are
    /// big-endian.
    #[inline(always)]
    pub(super) fn run<const G: usize, const N: usize, const BIG: bool>(
        &mut self,
        few: usize,
        compress: impl Fn(&mut [[[u32; N]; G]; S], &[[[u32; N]; G]; 16]),
        mut done: impl FnMut(usize, &[u32; S]),
    ) {
        let mut lanes = [const { [const { None::<Job<'a, S>> }; N] }; G];
        let lanes = lanes.as_flattened_mut();
        let (mut state, mut words) = ([[[0; N]; G]; S], [[[0; N]; G]; 16]);
        let mut blocks = [[[0; 64]; N]; G];
        loop {
            let mut working = 0;
            let buffers = blocks.as_flattened_mut();
            for (at, (lane, buffer)) in lanes.iter_mut().zip(buffers).enumerate() {
                if lane.is_none()
                    && let Some(job) = self.next()
                {
                    write_column(&mut state, at, job.state);
                    *lane = Some(job);
                }
                if let Some(job) = lane {
                    job.blocks.write(buffer);
                    working += 1;
                }
            }
            if working == 0 {
                break;
            }
            let flat = blocks.as_flattened();
            let block = |lane: usize| flat.get(lane).unwrap_or(&[0; 64]);
            transpose::<G, N, BIG>(block, &mut words);
            compress(&mut state, &words);
            for (at, lane) in lanes.iter_mut().enumerate() {
                if let Some(job) = lane
                    && job.blocks.is_empty()
                {
                    done(job.place, &column(&state, at));
                    *lane = None;
                    working -= 1;
                }
            }
            if working <= few && self.len() == 0 {
                for (at, lane) in lanes.iter_mut().enumerate() {
                    if let Some(mut job) = lane.take() {
                        job.state = column(&state, at);
                        self.put_back.push(job);
                    }
                }
                break;
            }
        }
        words = [[[0; N]; G]; 16];
        optimization_barrier(&words);
        blocks = [[[0; 64]; N]; G];
        optimization_barrier(&blocks);
    }
}

#[inline(always)]
fn column<const S: usize, const G: usize, const N: usize>(
    rows: &[[[u32; N]; G]; S],
    at: usize,
) -> [u32; S] {
    rows.each_ref().map(|row| row.as_flattened().get(at).copied().unwrap_or_default())
}

#[inline(always)]
fn write_column<const S: usize, const G: usize, const N: usize>(
    rows: &mut [[[u32; N]; G]; S],
    at: usize,
    column: [u32; S],
) {
    for (row, part) in rows.iter_mut().zip(column) {
        if let Some(place) = row.as_flattened_mut().get_mut(at) {
            *place = part;
        }
    }
}

/// MD5 of every message, in the order of `messages`. Where there are more messages than places in
/// `out`, the last ones are left out.
pub fn md5_many(messages: &[&[u8]], out: &mut [[u8; 16]]) {
    md5_many_with(Width::widest(), messages, out);
}

/// The same by these instructions.
pub fn md5_many_with(width: Width, messages: &[&[u8]], out: &mut [[u8; 16]]) {
    let jobs = messages.iter().take(out.len()).enumerate().map(|(place, message)| Job {
        place,
        state: md5::INITIAL,
        blocks: Blocks::new(message, message.len(), u64::to_le_bytes),
    });
    width.md5(&mut Queue::new(jobs), |place, state| {
        if let Some(out) = out.get_mut(place) {
            *out = md5::to_bytes(state);
        }
    });
}

/// SHA-256 of every message, in the order of `messages`. Where there are more messages than places
/// in `out`, the last ones are left out.
pub fn sha256_many(messages: &[&[u8]], out: &mut [[u8; 32]]) {
    sha256_many_with(Width::for_sha256(), messages, out);
}

/// The same by these instructions.
pub fn sha256_many_with(width: Width, messages: &[&[u8]], out: &mut [[u8; 32]]) {
    let jobs = messages.iter().take(out.len()).enumerate().map(|(place, message)| Job {
        place,
        state: sha::INITIAL,
        blocks: Blocks::new(message, message.len(), u64::to_be_bytes),
    });
    run_sha256(width, Queue::new(jobs), out);
}

/// SHA-256 of every message that goes on with a tail after the block of a midstate.
pub fn sha256_many_from(messages: &[(Sha256Midstate, &[u8])], out: &mut [[u8; 32]]) {
    sha256_many_from_with(Width::for_sha256(), messages, out);
}

/// The same by these instructions.
pub fn sha256_many_from_with(
    width: Width,
    messages: &[(Sha256Midstate, &[u8])],
    out: &mut [[u8; 32]],
) {
    let jobs = messages.iter().take(out.len()).enumerate().map(|(place, (before, tail))| Job {
        place,
        state: before.state(),
        blocks: Blocks::new(tail, tail.len().wrapping_add(64), u64::to_be_bytes),
    });
    run_sha256(width, Queue::new(jobs), out);
}

fn run_sha256<'a>(
    width: Width,
    mut queue: Queue<'a, 8, impl ExactSizeIterator<Item = Job<'a, 8>>>,
    out: &mut [[u8; 32]],
) {
    width.sha256(&mut queue, |place, state| {
        if let Some(out) = out.get_mut(place) {
            *out = sha::to_bytes(state);
        }
    });
}
