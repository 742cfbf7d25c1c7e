//! The results of the requests.

use std::time::Duration;

/// The results of the requests of one kind.
pub(crate) struct Count {
    pub(crate) statuses: Vec<u64>,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// The times until answered, if they are measured.
    pub(crate) times: Vec<Duration>,
}
