//! Index over the cuts: a tree of nodes that each divide their part of the address space into equal
//! slots.
//!
//! A node covers a run of cuts. It divides the space from the first to the last of them into slots
//! of equal width, a power of two. An address below falls into the first slot, one above into the
//! last. The slot number is therefore monotonic in the address. For an address in a slot, all cuts
//! of earlier slots are lower and all cuts of later slots higher. The search is thus limited to the
//! slot's own cuts and the one before them:
//!
//! - A slot with few cuts is a window: the lookup compares [`WINDOW`] cuts from there on, without a
//!   branch. Cuts beyond the slot are higher and do not affect the result.
//! - A slot with more cuts points to a node of its own, which covers exactly its cuts. A list
//!   clustered in a few networks takes a step or two more, at any distance between them.
//! - If the memory limit is reached, or nodes cannot separate the cuts (prefixes nested many
//!   times), a slot points to a run of cuts for binary search.
//!
//! A small table has a root with one slot, so small and large tables use the same code path.
//!
//! All nodes are in one array of words, each after its parent: its head (lowest address, shift,
//! last slot), then its slots. The head of the root is stored apart. The tag of a slot says what
//! its number refers to: a cut, the word where a node starts, or the word with the start and length
//! of a run.

use std::collections::VecDeque;

use super::address::Address;
use super::cuts::Cut;

/// Number of cuts that end most lookups: the last cut before the slot and those of the slot.
pub(super) const WINDOW: usize = 5;
/// Maximum depth of nodes, which bounds a lookup.
const LEVELS: usize = 6;
/// The tags of a slot; an untagged slot is a window.
const FAR: u32 = 1 << 31;
const RUN: u32 = 1 << 30;
const TAGS: u32 = FAR | RUN;
/// Number of words of a run.
const RUN_WORDS: usize = 2;
/// Minimum limit on the words of a table.
const MIN_WORDS: usize = 16;

/// The cuts that can contain the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutIndex {
    /// The [`WINDOW`] cuts from this index on.
    Window(usize),
    /// `len` cuts from index `from` on.
    Run { from: usize, len: usize },
}

/// A slot of the root.
#[derive(Clone, Copy)]
pub(super) struct Slot(u32);

impl Slot {
    /// The index of the window, if the slot is one.
    #[inline]
    pub(super) fn window(self) -> Option<usize> {
        (self.0 & FAR == 0).then_some(self.0 as usize)
    }
}

/// Maps addresses to the slots of a node.
#[derive(Clone, Copy, Debug)]
struct Head<A> {
    lower: A,
    shift: u32,
    last: u32,
}

impl<A: Address> Head<A> {
    const WORDS: usize = A::WORDS + 2;

    #[inline]
    fn slot(&self, addr: A) -> usize {
        addr.slot(self.lower, self.shift, self.last) as usize
    }

    fn write(&self, words: &mut Vec<u32>) {
        self.lower.write(words);
        words.extend([self.shift, self.last]);
    }

    /// Reads a head from the start of `words`; also returns the rest.
    #[inline]
    fn read(words: &[u32]) -> Option<(Self, &[u32])> {
        let (lower, words) = A::read(words)?;
        let (&[shift, last], slots) = words.split_first_chunk()?;
        Some((Self { lower, shift, last }, slots))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Index<A> {
    /// The head of the root; its slots are the first words.
    root: Head<A>,
    words: Box<[u32]>,
}

impl<A: Address> Index<A> {
    /// The root slot of `addr`; none if there are no cuts.
    #[inline]
    pub(super) fn slot(&self, addr: A) -> Option<Slot> {
        self.words.get(self.root.slot(addr)).copied().map(Slot)
    }

    /// Follows the slot of `addr` to the cuts that can contain it.
    #[inline]
    pub(super) fn find(&self, Slot(mut slot): Slot, addr: A) -> Option<CutIndex> {
        while slot & FAR != 0 {
            let words = self.words.get((slot & !TAGS) as usize..)?;
            if slot & RUN != 0 {
                let [from, len] = *words.first_chunk::<RUN_WORDS>()?;
                return Some(CutIndex::Run { from: from as usize, len: len as usize });
            }
            let (head, slots) = Head::read(words)?;
            slot = *slots.get(head.slot(addr))?;
        }
        Some(CutIndex::Window(slot as usize))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Builds the index of `cuts`, with about one word for each.
    pub(super) fn build(cuts: &[Cut<A>]) -> Self {
        if cuts.is_empty() {
            return Self::default();
        }
        Builder { cuts, words: Vec::new(), queue: VecDeque::new() }.build()
    }
}

impl<A: Address> Default for Index<A> {
    fn default() -> Self {
        Self { root: Head { lower: A::ZERO, shift: 0, last: 0 }, words: Box::default() }
    }
}

/// A slot with more cuts than a window, to be filled later.
struct Crowd {
    /// Index of the slot's word.
    slot: usize,
    from: usize,
    to: usize,
    level: usize,
}

struct Builder<'a, A: Address> {
    cuts: &'a [Cut<A>],
    words: Vec<u32>,
    /// Breadth first, so that the memory limit favours the nodes that most lookups visit.
    queue: VecDeque<Crowd>,
}

/// A candidate division of a node's cuts.
#[derive(Clone, Copy)]
struct Shape<A> {
    head: Head<A>,
    /// Number of slots with cuts.
    occupied: usize,
    /// Number of slots with more cuts than a window.
    crowded: usize,
}

impl<A: Address> Builder<'_, A> {
    fn build(mut self) -> Index<A> {
        // start at 1: the first cut is at the lowest address, so every slot has a cut before it
        let (from, to) = (1, self.cuts.len());
        let shape = if to - from >= WINDOW { self.shape(from, to) } else { None };
        let root = shape.map_or(Head { lower: A::ZERO, shift: 0, last: 0 }, |shape| shape.head);
        self.slots(root, from, to, 1);
        while let Some(Crowd { slot, from, to, level }) = self.queue.pop_front() {
            let shape = if level < LEVELS { self.shape(from, to) } else { None };
            let tag = if shape.is_some() { FAR } else { TAGS };
            let at = word(self.words.len());
            if let Some(slot) = self.words.get_mut(slot) {
                *slot = tag | at;
            }
            if let Some(Shape { head, .. }) = shape {
                head.write(&mut self.words);
                self.slots(head, from, to, level + 1);
            } else {
                // starts with the last cut before the slot
                self.words.extend([word(from - 1), word(to - from + 1)]);
            }
        }
        Index { root, words: self.words.into() }
    }

    /// Appends the slots of a node for the cuts `from..to`, and queues the crowded ones.
    fn slots(&mut self, head: Head<A>, from: usize, to: usize, level: usize) {
        let mut at = from;
        for number in 0..=head.last as usize {
            let slot = self.words.len();
            self.words.push(word(at - 1));
            let cuts = self.cuts.get(at..to).unwrap_or_default();
            let next = at + cuts.iter().take_while(|cut| head.slot(cut.start()) == number).count();
            if next - at >= WINDOW {
                self.queue.push_back(Crowd { slot, from: at, to: next, level });
            }
            at = next;
        }
    }

    /// The best division of the cuts `from..to` that fits the memory limit, if any.
    fn shape(&self, from: usize, to: usize) -> Option<Shape<A>> {
        let reserved = self.words.len() + RUN_WORDS * self.queue.len();
        // a bit less than a word a cut, to make up for the first cut and the padding after the last
        let words = self.cuts.len() - self.cuts.len() / 64;
        let room = words.max(MIN_WORDS).checked_sub(reserved)?;
        let cuts = self.cuts.get(from..to)?;
        let (lower, upper) = (cuts.first()?.start(), cuts.last()?.start());
        let bits = upper.distance_bits(lower);
        // at most as many slots as cuts
        let mut shift = bits.saturating_sub(cuts.len().ilog2());
        let mut best: Option<Shape<A>> = None;
        while shift < bits {
            let head = Head { lower, shift, last: upper.slot(lower, shift, u32::MAX) };
            let shape = Shape::of(cuts, head);
            // halve the slots while they separate the cuts nearly as well, to leave memory for more
            // nodes
            if best.is_some_and(|best| shape.occupied * 4 < best.occupied * 3) {
                break;
            }
            let cost = Head::<A>::WORDS + head.last as usize + 1 + RUN_WORDS * shape.crowded;
            if cost <= room && head.last > 0 {
                best = Some(shape);
            }
            shift += 1;
        }
        best
    }
}

impl<A: Address> Shape<A> {
    fn of(cuts: &[Cut<A>], head: Head<A>) -> Self {
        let mut shape = Self { head, occupied: 0, crowded: 0 };
        let (mut slot, mut here) = (0, 0);
        for cut in cuts {
            let its = head.slot(cut.start());
            here = if its == slot { here + 1 } else { 1 };
            slot = its;
            shape.occupied += usize::from(here == 1);
            shape.crowded += usize::from(here == WINDOW);
        }
        shape
    }
}

/// A word or cut number without tag bits. There are fewer than 2<sup>30</sup> cuts, and at most as
/// many words.
fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX) & !TAGS
}
