//! Shared code of the tests, benches and fuzz targets of sip-authz: snapshots, independent clients,
//! slow oracles for the fast structures, and the bodies of the fuzz targets.
//!
//! Not published, and not a dependency of any published crate.
#![allow(
    missing_docs,
    clippy::len_without_is_empty,
    clippy::new_without_default,
    clippy::should_implement_trait,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[cfg(feature = "bench")]
pub mod bench;
pub mod cause_oracle;
pub mod commits;
pub mod digest_header_oracle;
#[cfg(feature = "directory")]
pub mod directory_oracle;
#[cfg(feature = "directory")]
pub mod etcd_cluster;
pub mod folder;
pub mod forward_oracle;
pub mod fuzzing;
pub mod kit;
pub mod loopback;
pub mod many_records;
pub mod message_oracle;
pub mod probes;
pub mod proxy_world;
mod reads_of;
#[cfg(feature = "directory")]
pub mod site;
pub mod torture;
#[cfg(feature = "directory")]
pub mod virtual_time;
