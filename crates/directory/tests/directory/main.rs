//! The commands on resources, and the follower that puts them in force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod follower;
mod import;
mod interleaved;
mod merge;
mod paging;
mod roles;
mod rules;
