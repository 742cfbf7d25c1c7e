//! What operators see: the log, the decision log, metrics, and errors of the HTTP surface.

pub(crate) mod audit;
pub(crate) mod faults;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod totals;
pub(crate) mod watch;
pub(crate) mod writer;
