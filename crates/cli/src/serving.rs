//! The resources that `serve` decides by: where they come from, and the HTTP server over them.

pub(crate) mod api;
pub(crate) mod demo;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "etcd")]
mod fleet;
pub(crate) mod follow;
pub(crate) mod open;
pub(crate) mod resources;
