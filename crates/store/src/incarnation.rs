//! The identity of a store's history. A restored store has another one.

use std::fmt;

/// An id of the history of commits in a store.
///
/// A store that was restored from a backup repeats commit numbers for other commits. So the first process
/// that notices draws a new incarnation, and numbers are compared within one incarnation only. A store that
/// serves one process, or has no commits yet, has the default one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation {
    /// The number of incarnations before this one. Of two that a process has seen, the greater is newer.
    pub generation: u64,
    /// Random, so that two restores from one backup differ.
    pub id: u128,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.generation, self.id)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
