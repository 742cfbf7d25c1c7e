//! Tests of the commands on resources, and of the follower that applies their commits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod confirm;
mod follower;
mod grouped;
mod ignorable;
mod import;
mod interleaved;
mod merge;
mod mirror;
mod paging;
mod roles;
mod rules;
mod upgrade;
mod world;
