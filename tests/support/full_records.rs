//! Records of each kind (feature `store-conformance`).
#![allow(unused_imports, unreachable_pub)]

pub use sip_authz::store::conformance::full_records;
