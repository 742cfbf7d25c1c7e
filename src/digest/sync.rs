//! The synchronization primitives of the replay, retransmission and guess tables.
//! `tests/interleavings` replaces them with locks under a scheduler that explores interleavings.

pub(super) use sip_authz_arch::prefetch;
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
