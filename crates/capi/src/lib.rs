//! The C library `libsip_authz`. `docs/c-library.md` shows its use, and `include/sip_authz.h` is its
//! header, which cbindgen makes from this crate.
//!
//! A handle decides by an engine in its process, or asks a decision service over a socket. Both end in
//! the bytes of an answer frame, which one reader turns into the flat struct of C.
//!
//! `cargo cbuild -p sip-authz-capi` (cargo-c) builds the library. The crate is empty on systems other
//! than Linux and the BSDs.
#![cfg(all(unix, not(target_vendor = "apple")))]

mod answer;
mod codes;
mod counts;
mod engine;
mod entry;
mod failure;
mod guard;
mod handle;
mod raw;
mod request;
mod service;
mod types;

pub use codes::*;
pub use entry::*;
pub use handle::Handle;
pub use types::*;
