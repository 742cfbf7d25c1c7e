//! What the replay, repeat and guess tables are built with, named in one place: `tests/interleavings`
//! builds the tables with locks under a scheduler that tries interleavings.

pub(super) use sip_authz_arch::prefetch;
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
