//! The HTTP surface against the tables of its reference, through the router in this process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "rest/callers.rs"]
mod callers;
#[path = "rest/fields.rs"]
mod fields;
#[path = "rest/own.rs"]
mod own;
#[path = "rest/paging.rs"]
mod paging;
#[path = "rest/refusals.rs"]
mod refusals;
#[path = "rest/site.rs"]
mod site;
#[path = "rest/tables.rs"]
mod tables;
#[path = "rest/waiting.rs"]
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream::iter;
use serde_json::Value;
use sip_authz::directory::{Directory, Limits, Settings};
use sip_authz::rest::{AdminToken, RestOptions, router};
use sip_authz::store::{MemoryStore, Store};
use sip_authz::{Authorizer, Decision, Follower, Invite, Transport};
use tower::ServiceExt;

use refusals::refused;
use site::*;
use tables::*;
