//! Tests of the whole program over real sockets: start, requests, signals, end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api;
mod broken;
mod check;
mod check_sources;
mod client;
mod config;
mod connections;
mod console;
mod data;
#[cfg(unix)]
mod decide;
#[cfg(unix)]
mod decide_http;
#[cfg(unix)]
mod decision_log;
mod decision_stream;
mod domain_metrics;
mod ending;
mod failed_logins;
mod http;
mod http_bounds;
mod import;
#[cfg(unix)]
mod keys;
mod large_import;
mod lifecycle;
mod limits;
mod lines;
mod listeners;
mod metrics;
mod next_hops;
#[cfg(target_os = "linux")]
mod notify;
mod output;
mod packaging;
mod proxies;
mod recent;
#[cfg(unix)]
mod registrations;
#[cfg(unix)]
mod reload;
mod replies;
mod resources;
#[cfg(target_os = "linux")]
mod resources_terminal;
mod status;
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
#[cfg(unix)]
mod why;
