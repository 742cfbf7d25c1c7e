//! Where among the cuts to look for an address: a tree of nodes that each spread their part of the
//! address space evenly over slots.
//!
//! A node covers a run of cuts. It divides the space from the first to the last of them into slots
//! of one width, a power of two; an address below falls into the first slot, one above into the
//! last. So the slot never descends as the address ascends, and for an address in a slot the cuts of
//! the slots before are at lower addresses, those of the slots after at higher ones. What is left is
//! to look among the slot's own cuts and the one just before them:
//!
//! - A slot with few cuts is a window: the lookup compares [`WINDOW`] cuts from there on, without a
//!   branch. Those beyond the slot are at higher addresses and change nothing.
//! - A slot with more leads to a node of its own. That begins at the first of its cuts and ends at
//!   the last, so a list that is crowded in a few networks takes a step or two more, no matter how
//!   far apart they are.
//! - Where more nodes would take more memory than they may, or where cuts lie in such a way that
//!   nodes do not tell them apart (prefixes nested many times), a slot leads to a run of cuts for
//!   binary search.
//!
//! A small table has a root with one slot, so that small and large ones take the same path.
//!
//! All but the head of the root is kept in one row of words, each node after its parent: its head
//! (lowest address, shift, last slot), then its slots. The tag of a slot tells what the rest of it numbers: a cut, or the
//! word where a node begins, or that where the first cut of a run and its length stand.

use std::collections::VecDeque;

use super::address::Address;
use super::cuts::Cut;

/// How many cuts are compared at the end of most lookups: the last before the slot, which is at the
/// address or below, and those of the slot.
pub(super) const WINDOW: usize = 5;
/// How many levels of nodes there are at most, so that a lookup is bounded.
const LEVELS: usize = 6;
/// The tags of a slot; without one it is a window.
const FAR: u32 = 1 << 31;
const RUN: u32 = 1 << 30;
const TAGS: u32 = FAR | RUN;
/// The words of a run.
const RUN_WORDS: usize = 2;
/// A table may have this many words, whatever its size.
const MIN_WORDS: usize = 16;

/// The cuts to look among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The [`WINDOW`] cuts from this one on.
    Window(usize),
    /// So many cuts from this one on.
    Run { from: usize, len: usize },
}

/// What a slot of the root leads to.
#[derive(Clone, Copy)]
pub(super) struct Slot(u32);

impl Slot {
    /// The window that it is, if it is one.
    #[inline]
    pub(super) fn window(self) -> Option<usize> {
        (self.0 & FAR == 0).then_some(self.0 as usize)
    }
}

/// How a node spreads addresses over its slots.
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

    /// The head that `words` begin with, and what comes after.
    #[inline]
    fn read(words: &[u32]) -> Option<(Self, &[u32])> {
        let (lower, words) = A::read(words)?;
        let (&[shift, last], slots) = words.split_first_chunk()?;
        Some((Self { lower, shift, last }, slots))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Index<A> {
    /// The head of the root, whose slots are the first words.
    root: Head<A>,
    words: Box<[u32]>,
}

impl<A: Address> Index<A> {
    /// The slot of the root that `addr` falls into. None if there are no cuts.
    #[inline]
    pub(super) fn slot(&self, addr: A) -> Option<Slot> {
        self.words.get(self.root.slot(addr)).copied().map(Slot)
    }

    /// Where the last cut at `addr` or below is, by the slot that it falls into.
    #[inline]
    pub(super) fn place(&self, Slot(mut slot): Slot, addr: A) -> Option<Place> {
        while slot & FAR != 0 {
            let words = self.words.get((slot & !TAGS) as usize..)?;
            if slot & RUN != 0 {
                let [from, len] = *words.first_chunk::<RUN_WORDS>()?;
                return Some(Place::Run { from: from as usize, len: len as usize });
            }
            let (head, slots) = Head::read(words)?;
            slot = *slots.get(head.slot(addr))?;
        }
        Some(Place::Window(slot as usize))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// The index of `cuts`, with about one word for each.
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

/// A slot that is not filled yet, as it has more cuts than a window.
struct Crowd {
    /// Where its slot is.
    slot: usize,
    from: usize,
    to: usize,
    level: usize,
}

struct Builder<'a, A: Address> {
    cuts: &'a [Cut<A>],
    words: Vec<u32>,
    /// Breadth first, so that memory goes to the nodes that most addresses pass.
    queue: VecDeque<Crowd>,
}

/// How a node divides its cuts.
#[derive(Clone, Copy)]
struct Shape<A> {
    head: Head<A>,
    /// How many slots have cuts.
    occupied: usize,
    /// How many have more than a window.
    crowded: usize,
}

impl<A: Address> Builder<'_, A> {
    fn build(mut self) -> Index<A> {
        // the first cut is at the lowest address, so the last cut before any slot exists
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
                // from the last cut before the slot on
                self.words.extend([word(from - 1), word(to - from + 1)]);
            }
        }
        Index { root, words: self.words.into() }
    }

    /// Appends the slots of a node of the cuts `from..to`, and queues those that are crowded.
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

    /// How best to divide the cuts `from..to`, if that is possible in the words that are left.
    fn shape(&self, from: usize, to: usize) -> Option<Shape<A>> {
        let reserved = self.words.len() + RUN_WORDS * self.queue.len();
        // a little less than a word for each cut, as the first cut and those after the last are extra
        let words = self.cuts.len() - self.cuts.len() / 64;
        let room = words.max(MIN_WORDS).checked_sub(reserved)?;
        let cuts = self.cuts.get(from..to)?;
        let (lower, upper) = (cuts.first()?.start(), cuts.last()?.start());
        let bits = upper.distance_bits(lower);
        // no more slots than cuts
        let mut shift = bits.saturating_sub(cuts.len().ilog2());
        let mut best: Option<Shape<A>> = None;
        while shift < bits {
            let head = Head { lower, shift, last: upper.slot(lower, shift, u32::MAX) };
            let shape = Shape::of(cuts, head);
            // half the slots, where they tell nearly as much apart, leave more for further nodes
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

/// The number of a word or cut. There are fewer than 2<sup>30</sup> cuts, and not more words than
/// cuts, or the table would not have been built.
fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX) & !TAGS
}
