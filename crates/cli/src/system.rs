//! The process: output and exit codes, signals, limits and TLS certificates.

pub(crate) mod output;
#[cfg(feature = "tls")]
pub(crate) mod pem;
pub(crate) mod process;
pub(crate) mod secure;
pub(crate) mod service;
pub(crate) mod signals;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod words;
