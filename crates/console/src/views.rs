//! The views, each with its pages.

pub(crate) mod advice;
pub(crate) mod candidates;
pub(crate) mod confirm;
pub(crate) mod credentials;
pub(crate) mod decision;
pub(crate) mod decisions;
pub(crate) mod entries;
pub(crate) mod explain;
pub(crate) mod limits;
pub(crate) mod lists;
pub(crate) mod mapping;
pub(crate) mod state;
pub(crate) mod steps;
pub(crate) mod stream;
pub(crate) mod targets;
pub(crate) mod unknown;
