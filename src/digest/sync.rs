//! The locks of the replay, repeat and guess tables, named in one place: `tests/interleavings` builds
//! the tables with locks under a scheduler that tries interleavings.

pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
