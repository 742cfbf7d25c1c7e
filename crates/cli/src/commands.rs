//! The commands of the program, one file each, and the HTTP client and progress bar that they share.

pub(crate) mod account;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod completions;
pub(crate) mod decisions;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod progress;
pub(crate) mod resources;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod upgrade;
pub(crate) mod why;
