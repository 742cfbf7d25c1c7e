//! Inputs that broke other systems, numbered as in `docs/hostile-cases.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod algorithms;
mod connections;
mod cost;
mod credentials;
mod fallback;
mod headers;
mod identity;
mod lists;
mod neighbours;
mod nonce;
mod proxies;
mod redirects;
mod registrations;
mod replay;
