//! Tests of the whole program over real sockets: start, requests, signals, end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api;
mod broken;
mod check;
mod config;
mod connections;
mod data;
#[cfg(unix)]
mod decision_log;
mod ending;
mod http;
mod http_bounds;
mod import;
#[cfg(unix)]
mod keys;
mod lifecycle;
mod listeners;
mod metrics;
mod next_hops;
#[cfg(target_os = "linux")]
mod notify;
mod packaging;
mod proxies;
#[cfg(unix)]
mod reload;
mod replies;
mod support;
mod tcp;
#[cfg(unix)]
mod text_log;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_files;
mod torture;
mod udp;
