//! The store in memory, and the encoding of keys and records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod encoding;
mod memory;
