//! What the tests, benches and fuzz targets of sip-authz share: worlds to decide in, clients that are
//! someone else's code, slow oracles beside the fast structures, and the bodies of the fuzz targets.
//!
//! Never published, and never compiled by an embedder.
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
pub mod commits;
pub mod digest_header_oracle;
#[cfg(feature = "directory")]
pub mod directory_oracle;
#[cfg(feature = "directory")]
pub mod etcd_cluster;
pub mod folder;
pub mod fuzzing;
pub mod kit;
pub mod many_records;
pub mod message_oracle;
pub mod probes;
#[cfg(feature = "directory")]
pub mod site;
pub mod torture;
#[cfg(feature = "directory")]
pub mod virtual_time;
