//! The bodies of the fuzz targets, and the snapshot that they use.

pub mod batch;
pub mod commits;
mod decide_frames;
mod digest_header;
pub mod fields;
pub mod forward;
pub mod from_datagram;
mod lanes;
mod prefix_table;
pub mod proxy;
mod request;
#[cfg(feature = "directory")]
mod store_record;
pub mod world;

pub use batch::fuzz_batch;
pub use commits::fuzz_commits;
pub use decide_frames::fuzz_decide_frames;
pub use digest_header::{fuzz_digest_header, in_oracle_terms};
pub use fields::fuzz_fields;
pub use forward::fuzz_forward;
pub use from_datagram::fuzz_from_datagram;
pub use lanes::fuzz_lanes;
pub use prefix_table::fuzz_prefix_table;
pub use proxy::fuzz_proxy;
pub use request::fuzz_request;
#[cfg(feature = "rest")]
pub use sip_authz_rest::internals::{fuzz_rest_form, fuzz_rest_params};
#[cfg(feature = "directory")]
pub use store_record::fuzz_store_record;
pub use world::{FUZZ_REALM, fuzz_authorizer};
