//! What operators see: figures, events, and no secret in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod events;
mod metrics;
mod secrets;
