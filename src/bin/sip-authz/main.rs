//! The runnable edge.

fn main() {}
