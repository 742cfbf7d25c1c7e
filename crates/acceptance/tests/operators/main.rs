//! What operators see: figures, events, and no secret in them; and files of earlier releases that still open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod events;
mod metrics;
mod old_files;
mod secrets;
