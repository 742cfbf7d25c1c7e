//! The commands of the program, a file for each, and what the commands share that speak to a running
//! `serve`.

pub(crate) mod account;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod progress;
pub(crate) mod serve;
