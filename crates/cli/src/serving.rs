//! The resources that `serve` decides by: where they come from, and the HTTP server over them.

pub(crate) mod api;
pub(crate) mod demo;
#[cfg(feature = "etcd")]
pub(crate) mod fleet;
pub(crate) mod follow;
pub(crate) mod resources;
