//! A persistent array. A clone shares all nodes; a change copies one leaf and the few nodes above
//! it, at nearly the same cost for any size.
//!
//! The bits of an index select the path. Leaves store values inline, and the upper nodes usually
//! stay in the cache, so a read costs at most about one cache miss.

use std::sync::Arc;

/// Bits of an index that select a child of a node. Small nodes keep copies cheap: a copy increments
/// the reference count of each child, which may miss the cache.
const NODE_BITS: u32 = 5;
const NODE: usize = 1 << NODE_BITS;
/// Bits of an index that select a value in a leaf.
const LEAF_BITS: u32 = 4;
const LEAF: usize = 1 << LEAF_BITS;

/// A sparse array: any `u32` is a valid index, and memory is allocated for set values only.
pub(super) struct Array<T> {
    root: Option<Arc<Node<T>>>,
    /// The highest index that the tree is high enough for.
    last: u32,
    /// First bit of an index that selects a child of the root.
    shift: u32,
}

type Leaf<T> = [Option<T>; LEAF];

enum Node<T> {
    Inner([Option<Arc<Node<T>>>; NODE]),
    Outer([Option<Arc<Leaf<T>>>; NODE]),
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Inner(children) => Self::Inner(children.clone()),
            Self::Outer(leaves) => Self::Outer(leaves.clone()),
        }
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), ..*self }
    }
}

impl<T> Default for Array<T> {
    fn default() -> Self {
        Self { root: None, last: last_below(LEAF_BITS), shift: LEAF_BITS }
    }
}

impl<T> Array<T> {
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        if number > self.last {
            return None;
        }
        let (mut node, mut shift) = (self.root.as_deref()?, self.shift);
        loop {
            match node {
                Node::Inner(children) => {
                    node = children.get(place(number, shift, NODE))?.as_deref()?;
                }
                Node::Outer(leaves) => {
                    let leaf = leaves.get(place(number, shift, NODE))?.as_deref()?;
                    return leaf.get(place(number, 0, LEAF))?.as_ref();
                }
            }
            shift = shift.saturating_sub(NODE_BITS);
        }
    }

    /// All values in index order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        let mut nodes: Vec<&Node<T>> = self.root.as_deref().into_iter().collect();
        std::iter::from_fn(move || {
            loop {
                match nodes.pop()? {
                    Node::Inner(children) => {
                        nodes.extend(children.iter().rev().filter_map(Option::as_deref));
                    }
                    Node::Outer(leaves) => return Some(leaves.iter().flatten()),
                }
            }
        })
        .flatten()
        .flat_map(|leaf| leaf.iter().flatten())
    }
}

impl<T: Clone> Array<T> {
    /// Changes the value in place, if there is one. Clones are not affected.
    pub(super) fn change<R>(&mut self, number: u32, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        // return early: `place` would copy the path even if there is no value
        self.get(number)?;
        self.place(number).as_mut().map(change)
    }

    /// Stores a value and returns the previous one.
    pub(super) fn set(&mut self, number: u32, value: T) -> Option<T> {
        self.place(number).replace(value)
    }

    /// Removes and returns the value.
    pub(super) fn take(&mut self, number: u32) -> Option<T> {
        self.get(number)?;
        self.place(number).take()
    }

    /// The place for this index, in a leaf that no clone shares.
    fn place(&mut self, number: u32) -> &mut Option<T> {
        while number > self.last {
            self.add_row();
        }
        let shift = self.shift;
        let root = self.root.get_or_insert_with(|| Arc::new(Node::of_row(shift)));
        place_below(root, number, shift)
    }

    fn add_row(&mut self) {
        self.shift += NODE_BITS;
        self.last = last_below(self.shift);
        if let Some(below) = self.root.take() {
            let mut children = [const { None }; NODE];
            children[0] = Some(below);
            self.root = Some(Arc::new(Node::Inner(children)));
        }
    }
}

impl<T> Node<T> {
    fn inner() -> Self {
        Self::Inner([const { None }; NODE])
    }

    fn outer() -> Self {
        Self::Outer([const { None }; NODE])
    }

    /// A new node whose children are selected by the bits from `shift` up.
    fn of_row(shift: u32) -> Self {
        if shift > LEAF_BITS { Self::inner() } else { Self::outer() }
    }
}

fn place_below<T: Clone>(node: &mut Arc<Node<T>>, number: u32, shift: u32) -> &mut Option<T> {
    // `place` masks both indices below the array length
    #[allow(clippy::indexing_slicing)]
    match Arc::make_mut(node) {
        Node::Inner(children) => {
            let below = shift.saturating_sub(NODE_BITS);
            let child = &mut children[place(number, shift, NODE)];
            place_below(child.get_or_insert_with(|| Arc::new(Node::of_row(below))), number, below)
        }
        Node::Outer(leaves) => {
            let leaf = &mut leaves[place(number, shift, NODE)];
            let leaf = leaf.get_or_insert_with(|| Arc::new([const { None }; LEAF]));
            &mut Arc::make_mut(leaf)[place(number, 0, LEAF)]
        }
    }
}

/// The highest index of a tree whose root has its children at `shift`.
fn last_below(shift: u32) -> u32 {
    u32::MAX.checked_shl(shift + NODE_BITS).map_or(u32::MAX, |above| !above)
}

/// Index of a child or value: the bits of `number` from `shift` up, modulo `len`, a power of two.
#[inline]
fn place(number: u32, shift: u32, len: usize) -> usize {
    // a shift is below 32, which the compiler cannot know: it would check it on each lookup
    debug_assert!(shift < u32::BITS);
    // `usize` has at least 32 bits on every supported target
    usize::try_from(number.wrapping_shr(shift)).unwrap_or_default() & (len - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_u32_is_a_valid_index() {
        let mut array = Array::default();
        let numbers = [0, 15, 16, 511, 512, 513, 1 << 14, 1 << 20, u32::MAX - 1, u32::MAX];
        for number in numbers {
            assert_eq!(array.get(number), None);
            assert_eq!(array.take(number), None);
            assert_eq!(array.set(number, number), None);
            assert_eq!(array.get(number), Some(&number));
        }
        assert!(array.values().eq(&numbers));
        let before = array.clone();
        for number in numbers {
            assert_eq!(array.change(number, |value| *value /= 2), Some(()));
            assert_eq!(array.set(number, 7), Some(number / 2));
            assert_eq!(array.take(number), Some(7));
            assert_eq!(array.change(number, |_| ()), None);
        }
        assert_eq!(array.values().count(), 0);
        assert!(before.values().eq(&numbers));
    }

    proptest! {
        /// Compares with a map; earlier clones must stay unchanged.
        #[test]
        fn does_what_a_map_does(
            steps in prop::collection::vec((0..4_u8, 0..3_u8, 0..200_u32, any::<u8>()), 0..500)
        ) {
            let mut array = Array::default();
            let mut oracle = BTreeMap::new();
            let mut kept = Vec::new();
            for (step, far, number, value) in steps {
                let number = number << (9 * far);
                match step {
                    0 => prop_assert_eq!(array.take(number), oracle.remove(&number)),
                    1 => kept.push((array.clone(), oracle.clone())),
                    _ => prop_assert_eq!(array.set(number, value), oracle.insert(number, value)),
                }
                prop_assert_eq!(array.get(number), oracle.get(&number));
            }
            kept.push((array, oracle));
            for (array, oracle) in kept {
                prop_assert!(array.values().eq(oracle.values()));
                prop_assert!(oracle.iter().all(|(number, value)| array.get(*number) == Some(value)));
            }
        }
    }
}
