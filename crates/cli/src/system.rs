//! The process: output and exit codes, signals, limits and TLS certificates.

pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod secure;
pub(crate) mod service;
pub(crate) mod signals;
#[cfg(feature = "tls")]
pub(crate) mod tls;
