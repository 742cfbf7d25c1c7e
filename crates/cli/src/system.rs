//! The process: output and exit codes, signals, limits, TLS certificates and key files.

pub(crate) mod key_file;
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
