//! Tests of the REST API against the field tables of Twilio's reference, through the router in process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod bulk;
mod callers;
mod decisions;
mod edges;
mod fields;
mod fleet;
mod hashes;
mod health;
mod on_accept;
mod own;
mod paging;
mod refusals;
mod site;
mod tables;
mod upgrade;
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
use sip_authz::{Authorizer, Decision, Invite, Transport};
use sip_authz_directory::{Directory, Limits, Settings};
use sip_authz_rest::{AdminToken, RestOptions, router};
use sip_authz_store::Follower;
use sip_authz_store::{MemoryStore, Store};
use tower::ServiceExt;

use refusals::refused;
use site::*;
use tables::*;
