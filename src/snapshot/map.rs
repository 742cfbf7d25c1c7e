//! A persistent hash map: a clone shares everything, and a change copies only the way to the place
//! that it touches, so publishing costs the same in a large snapshot as in a small one.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// How many bits of the hash choose among a branch's children.
const BITS: u32 = 5;
const FANOUT: usize = 1 << BITS;
/// A leaf with more entries than this becomes a branch.
const LEAF: usize = 16;

/// Keys are hashed under a key of this map's own, so that whoever chooses names cannot choose where
/// they fall.
pub(crate) struct Map<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
    hasher: RandomState,
}

#[derive(Clone)]
enum Node<K, V> {
    /// Entries with their hashes, in no order.
    Leaf(Vec<(u64, K, V)>),
    Branch(Box<[Arc<Node<K, V>>; FANOUT]>),
}

impl<K, V> Node<K, V> {
    /// Whether this is a leaf without an entry.
    fn is_bare(&self) -> bool {
        matches!(self, Self::Leaf(entries) if entries.is_empty())
    }
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len, hasher: self.hasher.clone() }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        let root = Arc::new(Node::Leaf(Vec::new()));
        Self { root, len: 0, hasher: RandomState::new() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Map<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let mut node = &*self.root;
        let mut path = hash;
        loop {
            match node {
                Node::Leaf(entries) => {
                    return entries
                        .iter()
                        .find(|(other, k, _)| *other == hash && k.borrow() == key)
                        .map(|(_, _, value)| value);
                }
                Node::Branch(children) => node = children.get(slot(path))?,
            }
            path >>= BITS;
        }
    }

    /// The value under `key` and true; on a miss another key's value and false, found and compared
    /// on a way as long, so that time hardly tells the two apart. `None` where there is no other key
    /// nearby, as in an empty map.
    pub(crate) fn get_or_near<Q>(&self, key: &Q) -> Option<(&V, bool)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let mut node = &*self.root;
        let mut path = hash;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let (other, k, value) =
                        entries.iter().min_by_key(|(other, ..)| other ^ hash)?;
                    let is_hit = k.borrow() == key;
                    if !is_hit && *other == hash {
                        // two keys with one hash
                        return Some(self.get(key).map_or((value, false), |value| (value, true)));
                    }
                    return Some((value, is_hit));
                }
                Node::Branch(children) => {
                    let mut nearest =
                        (0..FANOUT as u64).filter_map(|n| children.get(slot(path.wrapping_add(n))));
                    node = nearest.find(|child| !child.is_bare())?;
                }
            }
            path >>= BITS;
        }
    }

    /// Puts `value` under `key` and returns what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(&key);
        let previous = insert(&mut self.root, 0, hash, key, value);
        self.len += usize::from(previous.is_none());
        previous
    }

    /// Takes what is under `key` out.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // a miss must not copy the way to where the key would be
        self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let mut node = &mut self.root;
        let mut path = hash;
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(entries) => {
                    let at =
                        entries.iter().position(|(h, k, _)| *h == hash && k.borrow() == key)?;
                    self.len -= 1;
                    return Some(entries.swap_remove(at).2);
                }
                Node::Branch(children) => node = children.get_mut(slot(path))?,
            }
            path >>= BITS;
        }
    }

    /// Changes the value under `key` in place, if there is one. Nobody who holds a clone sees it.
    pub(crate) fn change<Q>(&mut self, key: &Q, change: impl FnOnce(&mut V))
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.get(key).is_none() {
            return;
        }
        let hash = self.hasher.hash_one(key);
        let mut node = &mut self.root;
        let mut path = hash;
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(entries) => {
                    if let Some((_, _, value)) =
                        entries.iter_mut().find(|(h, k, _)| *h == hash && (*k).borrow() == key)
                    {
                        change(value);
                    }
                    return;
                }
                Node::Branch(children) => match children.get_mut(slot(path)) {
                    Some(child) => node = child,
                    None => return,
                },
            }
            path >>= BITS;
        }
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        let mut nodes = vec![&*self.root];
        std::iter::from_fn(move || {
            loop {
                match nodes.pop()? {
                    Node::Leaf(entries) => return Some(entries.iter().map(|(_, _, value)| value)),
                    Node::Branch(children) => nodes.extend(children.iter().map(|child| &**child)),
                }
            }
        })
        .flatten()
    }
}

fn slot(path: u64) -> usize {
    // five bits fit any usize
    usize::try_from(path % FANOUT as u64).unwrap_or_default()
}

fn insert<K: Eq + Clone, V: Clone>(
    mut node: &mut Arc<Node<K, V>>,
    mut shift: u32,
    hash: u64,
    key: K,
    value: V,
) -> Option<V> {
    loop {
        if let Node::Leaf(entries) = &**node
            && entries.len() >= LEAF
            && shift < u64::BITS
        {
            *node = Arc::new(split(entries, shift));
        }
        match Arc::make_mut(node) {
            Node::Leaf(entries) => {
                let found = entries.iter_mut().find(|(h, k, _)| *h == hash && *k == key);
                if let Some((_, _, present)) = found {
                    return Some(std::mem::replace(present, value));
                }
                entries.push((hash, key, value));
                return None;
            }
            Node::Branch(children) => node = children.get_mut(slot(hash >> shift))?,
        }
        shift += BITS;
    }
}

/// The branch that holds a leaf's entries, chosen by the bits of their hashes from `shift` up.
fn split<K: Clone, V: Clone>(entries: &[(u64, K, V)], shift: u32) -> Node<K, V> {
    let mut leaves: [Vec<(u64, K, V)>; FANOUT] = std::array::from_fn(|_| Vec::new());
    for entry in entries {
        if let Some(leaf) = leaves.get_mut(slot(entry.0 >> shift)) {
            leaf.push(entry.clone());
        }
    }
    Node::Branch(Box::new(leaves.map(|leaf| Arc::new(Node::Leaf(leaf)))))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut map = Map::default();
        for n in 0..10_000_u32 {
            assert_eq!(map.insert(n, n), None);
        }
        let before = map.clone();
        for n in 0..5_000 {
            assert_eq!(map.remove(&n), Some(n));
            assert_eq!(map.insert(n + 5_000, 0), Some(n + 5_000));
        }
        assert_eq!((before.len(), map.len()), (10_000, 5_000));
        assert!((0..10_000).all(|n| before.get(&n) == Some(&n)));
        assert_eq!(map.values().filter(|value| **value == 0).count(), 5_000);
    }

    #[test]
    fn equal_hashes_share_a_leaf() {
        #[derive(Clone, PartialEq, Eq)]
        struct Same(u32);
        impl Hash for Same {
            fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
        }
        let mut map = Map::default();
        for n in 0..100 {
            map.insert(Same(n), n);
        }
        assert!((0..100).all(|n| map.get(&Same(n)) == Some(&n)));
        assert!((0..100).all(|n| map.get_or_near(&Same(n)) == Some((&n, true))));
        assert!(map.get_or_near(&Same(100)).is_some_and(|(_, is_hit)| !is_hit));
        assert!((0..100).all(|n| map.remove(&Same(n)) == Some(n)));
        assert_eq!(map.len(), 0);
    }

    proptest! {
        #[test]
        fn does_what_a_hash_map_does(
            steps in prop::collection::vec((any::<bool>(), 0_u16..300, any::<u8>()), 0..2_000)
        ) {
            let mut map = Map::default();
            let mut oracle = HashMap::new();
            for (put, key, value) in steps {
                if put {
                    prop_assert_eq!(map.insert(key, value), oracle.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), oracle.remove(&key));
                }
                prop_assert_eq!(map.get(&key), oracle.get(&key));
                match (map.get_or_near(&key), oracle.get(&key)) {
                    (near, Some(value)) => prop_assert_eq!(near, Some((value, true))),
                    (Some((near, is_hit)), None) => {
                        prop_assert!(!is_hit && oracle.values().any(|value| value == near));
                    }
                    (None, None) => {}
                }
                prop_assert_eq!(map.len(), oracle.len());
            }
            let mut values: Vec<_> = map.values().copied().collect();
            let mut expected: Vec<_> = oracle.values().copied().collect();
            values.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(values, expected);
        }
    }
}
