//! The process: output and exit codes, signals, limits, TLS certificates and key files.

pub(crate) mod api_url;
#[cfg(feature = "tls")]
mod expiry;
pub(crate) mod journal;
pub(crate) mod json;
pub(crate) mod key_file;
pub(crate) mod local_time;
pub(crate) mod output;
#[cfg(feature = "tls")]
pub(crate) mod pem;
pub(crate) mod private_file;
pub(crate) mod process;
pub(crate) mod secure;
pub(crate) mod service;
pub(crate) mod signals;
#[cfg(test)]
#[cfg(feature = "tls")]
pub(crate) mod test_authority;
#[cfg(test)]
pub(crate) mod test_clock;
pub(crate) mod threads;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod words;
