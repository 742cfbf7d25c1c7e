//! The client of a service against servers that the tests write themselves, and that break the rules.
#![cfg(all(unix, not(target_vendor = "apple")))]
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::undocumented_unsafe_blocks)]

mod client;
mod errors;
mod pool;
mod server;
mod success;
