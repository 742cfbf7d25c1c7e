//! Circles in a directed graph.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A directed graph with numbered nodes.
pub(crate) struct Graph {
    next: BTreeMap<usize, BTreeSet<usize>>,
}

/// The state of Tarjan's search for strongly connected components.
#[derive(Default)]
struct Search {
    /// The order in which each node was reached.
    order: BTreeMap<usize, usize>,
    /// The earliest node on the stack that each node leads to.
    low: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    components: Vec<Vec<usize>>,
}

impl Graph {
    /// Makes a graph from its edges.
    pub(crate) fn new(edges: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (from, to) in edges {
            next.entry(from).or_default().insert(to);
        }
        Self { next }
    }

    fn after(&self, node: usize) -> impl Iterator<Item = usize> {
        self.next.get(&node).into_iter().flatten().copied()
    }

    /// The strongly connected components of two nodes or more, each sorted.
    pub(crate) fn components(&self) -> Vec<Vec<usize>> {
        let mut search = Search::default();
        for node in self.next.keys() {
            if !search.order.contains_key(node) {
                self.visit(*node, &mut search);
            }
        }
        let mut components = search.components;
        components.retain(|component| component.len() > 1);
        components.iter_mut().for_each(|component| component.sort_unstable());
        components.sort();
        components
    }

    /// Visits a node and returns the earliest node on the stack that it leads to.
    fn visit(&self, node: usize, search: &mut Search) -> usize {
        let own = search.order.len();
        search.order.insert(node, own);
        search.stack.push(node);
        let mut low = own;
        for next in self.after(node) {
            match search.order.get(&next) {
                None => low = low.min(self.visit(next, search)),
                Some(order) if search.stack.contains(&next) => low = low.min(*order),
                Some(_) => {}
            }
        }
        search.low.insert(node, low);
        if low == own {
            let begin = search.stack.iter().position(|on_stack| *on_stack == node);
            search.components.push(search.stack.split_off(begin.unwrap_or_default()));
        }
        low
    }

    /// A shortest circle among the nodes of a component.
    pub(crate) fn shortest_circle(&self, component: &[usize]) -> Vec<usize> {
        let circles = component.iter().filter_map(|start| self.circle_from(*start));
        circles.min_by_key(Vec::len).unwrap_or_default()
    }

    /// A shortest circle through a node, by a breadth-first search.
    fn circle_from(&self, start: usize) -> Option<Vec<usize>> {
        let mut before = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in self.after(node) {
                if next == start {
                    let mut circle = vec![node];
                    let mut at = node;
                    while let Some(previous) = before.get(&at) {
                        circle.push(*previous);
                        at = *previous;
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if let Entry::Vacant(entry) = before.entry(next) {
                    entry.insert(node);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_found_apart() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (4, 5), (6, 0)];
        let graph = Graph::new(edges.into_iter());
        assert_eq!(graph.components(), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(graph.shortest_circle(&[0, 1, 2]), [0, 1, 2]);
    }

    #[test]
    fn a_graph_without_circles_has_no_components() {
        let graph = Graph::new([(0, 1), (0, 2), (1, 3), (2, 3)].into_iter());
        assert!(graph.components().is_empty());
    }

    #[test]
    fn the_shortest_of_several_circles_is_named() {
        let edges = [(0, 1), (1, 2), (2, 3), (3, 0), (2, 1)];
        let graph = Graph::new(edges.into_iter());
        assert_eq!(graph.components(), [vec![0, 1, 2, 3]]);
        assert_eq!(graph.shortest_circle(&[0, 1, 2, 3]), [1, 2]);
    }
}
