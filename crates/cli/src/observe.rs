//! Output for operators: the log, the decision log, metrics, and errors of HTTP requests.

mod accounts;
pub(crate) mod audit;
pub(crate) mod cause;
pub(crate) mod expiry;
pub(crate) mod http_errors;
pub(crate) mod limits;
mod lines;
pub(crate) mod log;
pub(crate) mod logins;
pub(crate) mod method;
pub(crate) mod metrics;
pub(crate) mod observers;
mod reasons;
pub(crate) mod recent;
pub(crate) mod record;
pub(crate) mod reloads;
mod selection;
pub(crate) mod targets;
pub(crate) mod totals;
pub(crate) mod writer;
