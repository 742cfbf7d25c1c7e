//! The program as others see it: started, spoken to over real sockets, signalled, and ended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "program/api.rs"]
mod api;
#[path = "program/check.rs"]
mod check;
#[path = "program/config.rs"]
mod config;
#[path = "program/data.rs"]
mod data;
#[cfg(unix)]
#[path = "program/decision_log.rs"]
mod decision_log;
#[path = "program/ending.rs"]
mod ending;
#[path = "program/http.rs"]
mod http;
#[path = "program/http_bounds.rs"]
mod http_bounds;
#[path = "program/import.rs"]
mod import;
#[path = "program/lifecycle.rs"]
mod lifecycle;
#[path = "program/metrics.rs"]
mod metrics;
#[path = "program/support.rs"]
mod support;
#[path = "program/tcp.rs"]
mod tcp;
#[cfg(feature = "tls")]
#[path = "program/tls.rs"]
mod tls;
#[path = "program/torture.rs"]
mod torture;
#[path = "support/torture.rs"]
mod torture_messages;
#[path = "program/udp.rs"]
mod udp;
