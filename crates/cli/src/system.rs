//! The process: how it speaks and ends, its signals, and the certificates it reads.

pub(crate) mod failure;
pub(crate) mod process;
pub(crate) mod secure;
pub(crate) mod signals;
#[cfg(feature = "tls")]
pub(crate) mod tls;
