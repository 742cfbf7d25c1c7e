//! The output for operators: metrics, events without secrets, and files of earlier releases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod events;
mod metrics;
mod old_files;
mod secrets;
