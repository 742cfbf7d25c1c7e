//! Code that the benches share: requests of each kind, large snapshots and lists, and callgrind.

pub mod callgrind;
pub mod large;
pub mod lists;
pub mod support;
