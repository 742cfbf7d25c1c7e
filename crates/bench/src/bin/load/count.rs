//! What came of the requests that were sent.

use std::time::Duration;

/// What came of the requests of one kind.
pub(crate) struct Count {
    pub(crate) statuses: Vec<u64>,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// How long answers took, where that is told.
    pub(crate) times: Vec<Duration>,
}
