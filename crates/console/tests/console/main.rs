//! Tests of the console through its router in process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod changes;
mod forgery;
mod markup;
mod pages;
mod scope;
mod sessions;
mod site;
