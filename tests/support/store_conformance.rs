//! What every store must do, for tests of one (feature `store-conformance`).
#![allow(unused_imports, unreachable_pub)]

pub use sip_authz::store::conformance::conforms;
