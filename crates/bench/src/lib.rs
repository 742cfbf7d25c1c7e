//! Shared code of the benches and of the load tools.

pub mod message;
pub mod processor;
