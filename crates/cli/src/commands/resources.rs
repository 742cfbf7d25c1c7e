//! `sip-authz domain`, `trunk`, `list`, `user`, `role`, `map` and `unmap`: records of one account, by name.
//!
//! All of them go through the REST API of a running server. [`kind`] has the paths and fields of each kind,
//! and [`names`] finds a record by its name.

mod api;
mod ask;
mod kind;
mod lists;
mod mappings;
mod names;
mod policy;
mod roles;
mod show;
mod table;
mod targets;
mod users;

pub(crate) use lists::run as list;
pub(crate) use mappings::{run_map as map, run_unmap as unmap};
pub(crate) use roles::run as role;
pub(crate) use table::aligned;
pub(crate) use targets::{run_domain as domain, run_trunk as trunk};
pub(crate) use users::run as user;
