//! The records that `serve` decides by: the stores, the follower and the HTTP server.

pub(crate) mod api;
pub(crate) mod console;
pub(crate) mod decisions;
pub(crate) mod demo;
pub(crate) mod edge_name;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
pub(crate) mod explain;
#[cfg(feature = "etcd")]
mod fleet;
pub(crate) mod follow;
pub(crate) mod forwarding;
mod limits;
pub(crate) mod open;
#[cfg(any(feature = "etcd", test))]
pub(crate) mod peers;
pub(crate) mod resources;
pub(crate) mod state;
pub(crate) mod summary;
