//! The records that `serve` decides by: the stores, the follower and the HTTP server.

pub(crate) mod api;
pub(crate) mod demo;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "etcd")]
mod fleet;
pub(crate) mod follow;
pub(crate) mod forwarding;
pub(crate) mod open;
pub(crate) mod resources;
pub(crate) mod summary;
